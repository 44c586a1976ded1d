"""A checkpoint is whole or not there: in a world of one rank within the test's own process."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.runtime.started import SPEC
from trainer.runtime.errors import TrainerError
from trainer.spec import manifest

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


@pytest.fixture
def made(world: SimpleNamespace, tmp_path: Path) -> Any:
    from trainer.runtime.checkpoint import Checkpoints

    checkpoints = Checkpoints(str(tmp_path / "ck"), layout={"world_size": 1})
    checkpoints.open()
    return checkpoints


def position(iteration: int) -> Any:
    from trainer.runtime.checkpoint import Position

    return Position(iteration=iteration, consumed_samples=2 * iteration)


def saved(made: Any, world: SimpleNamespace, *iterations: int) -> None:
    for iteration in iterations:
        made.save(world.module, world.optimizer, position(iteration))


def state(world: SimpleNamespace) -> str | None:
    from trainer.runtime.fingerprint import state_sha256

    return state_sha256(world.module, world.optimizer)


def names(made: Any) -> list[str]:
    return sorted(os.listdir(made.directory))


def test_what_was_saved_is_loaded(made: Any, world: SimpleNamespace) -> None:
    before = state(world)
    saved(made, world, 10)
    world.step(2, 2)
    assert state(world) != before
    assert made.load(world.module, world.optimizer) == position(10)
    assert state(world) == before
    assert names(made) == ["iter_0000010", manifest.TRACKER_NAME]
    told = json.loads((made.directory / "iter_0000010" / manifest.MANIFEST_NAME).read_text())
    assert told["layout"] == {"world_size": 1, "consumed_samples": 20}


def test_where_nothing_is_nothing_is_loaded(made: Any, world: SimpleNamespace) -> None:
    assert made.load(world.module, world.optimizer) is None


def test_saving_the_same_again_does_nothing(made: Any, world: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    saved(made, world, 10, 10)
    assert capsys.readouterr().out.count("successfully saved") == 1


def test_a_checkpoint_of_another_history_is_replaced(made: Any, world: SimpleNamespace) -> None:
    saved(made, world, 10, 20)
    (made.directory / "iter_0000020" / "left.from.before").touch()
    # Somebody sets the tracker back: what is newer no longer counts, and the run comes to it again.
    (made.directory / manifest.TRACKER_NAME).write_text("10")
    assert made.load(world.module, world.optimizer) == position(10)
    saved(made, world, 20)
    assert names(made) == ["iter_0000010", "iter_0000020", manifest.TRACKER_NAME]
    assert not (made.directory / "iter_0000020" / "left.from.before").exists()


@pytest.mark.parametrize("dies_in", ["checkpoint.dist_checkpointing.save", "shelf.manifest.build", "shelf.sync", "shelf.os.rename", "shelf.write"])
def test_whatever_interrupts_a_save_leaves_the_one_before(dies_in: str, made: Any, world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.runtime import checkpoint

    saved(made, world, 10)
    before = state(world)

    def die(*_: Any, **__: Any) -> None:
        raise SystemExit("killed")

    world.step(2, 2)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(f"trainer.runtime.{dies_in}", die)
        saved(made, world, 20)
    assert names(made) == ["iter_0000010", "iter_0000020.saving", manifest.TRACKER_NAME]
    again = checkpoint.Checkpoints(str(made.directory), layout={})
    again.open()
    assert names(made) == ["iter_0000010", manifest.TRACKER_NAME]
    assert again.load(world.module, world.optimizer) == position(10)
    assert state(world) == before


def test_killed_between_the_checkpoint_and_its_tracker(made: Any, world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.runtime import shelf

    saved(made, world, 10)
    write = shelf.write

    def die_at_tracker(path: Path, text: str) -> None:
        if path.name == manifest.TRACKER_NAME:
            raise SystemExit("killed")
        write(path, text)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(shelf, "write", die_at_tracker)
        saved(made, world, 20)
    assert names(made) == ["iter_0000010", "iter_0000020", manifest.TRACKER_NAME]
    assert made.load(world.module, world.optimizer) == position(10)


def test_a_full_disk_at_the_end_is_said_and_leaves_the_one_before(made: Any, world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(made, world, 10)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(TrainerError, match="No space left on device"):
        patch.setattr("trainer.runtime.shelf.write", full)
        saved(made, world, 20)
    assert made.load(world.module, world.optimizer) == position(10)


def damage_missing(path: Path) -> None:
    (path / "__0_0.distcp").unlink()


def damage_truncated(path: Path) -> None:
    os.truncate(path / "common.pt", 10)


def damage_no_manifest(path: Path) -> None:
    (path / manifest.MANIFEST_NAME).unlink()


def damage_half_manifest(path: Path) -> None:
    os.truncate(path / manifest.MANIFEST_NAME, 40)


def damage_empty(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def damage_other_iteration(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name("iter_0000010"), path)


@pytest.mark.parametrize("damage", [damage_missing, damage_truncated, damage_no_manifest, damage_half_manifest, damage_empty, damage_other_iteration])
def test_an_incomplete_newest_is_passed_over(damage: Any, made: Any, world: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    from trainer.runtime.checkpoint import newest

    saved(made, world, 10, 20)
    assert newest(made.directory) == (20, [])
    damage(made.directory / "iter_0000020")
    iteration, (passed,) = newest(made.directory)
    assert iteration == 10
    assert passed.startswith(f"{made.directory}/iter_0000020: ")
    assert made.load(world.module, world.optimizer) == position(10)
    assert f" passing over checkpoint {passed}" in capsys.readouterr().out


def test_a_directory_that_cannot_be_made_is_an_error(world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime.checkpoint import Checkpoints

    (tmp_path / "file").touch()
    with pytest.raises(TrainerError, match="the checkpoint directory cannot be used"):
        Checkpoints(str(tmp_path / "file" / "ck"), layout={}).open()


def test_a_rank_that_sees_another_directory_is_found_out(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(everybodys: list[Any], mine: Any) -> None:
        everybodys[:] = [mine, False]

    monkeypatch.setattr("trainer.runtime.checkpoint.dist.all_gather_object", gather)
    with pytest.raises(TrainerError, match="rank 1 sees another one"):
        made.open()
    assert names(made) == []


def test_a_load_directory_is_used_when_there_is_nothing_else(made: Any, world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime.start import elsewhere

    def spec(load_dir: Path) -> Any:
        return dataclasses.replace(SPEC, checkpoint=dataclasses.replace(SPEC.checkpoint, load_dir=str(load_dir)))

    with pytest.raises(TrainerError, match="no complete checkpoint to start from"):
        elsewhere(spec(tmp_path / "none"), world.module, world.optimizer)
    saved(made, world, 10)
    assert elsewhere(spec(made.directory), world.module, world.optimizer) == position(10)


def test_the_hash_is_of_every_bit(world: SimpleNamespace) -> None:
    import torch

    before = state(world)
    assert before == state(world)
    inner = world.inner.optimizer
    for tensor in (next(iter(world.module.parameters())).data, *(next(iter(inner.state.values()))[key] for key in ("exp_avg", "exp_avg_sq", "step"))):
        kept = tensor.clone()
        with torch.no_grad():
            tensor.view(-1)[0] += 1.0
            assert state(world) != before
            tensor.copy_(kept)
    assert state(world) == before
