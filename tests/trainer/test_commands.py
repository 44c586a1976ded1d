"""The command line as people use it: every command once, on a small run, as processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.trainer.runtime.started import ENTRY, Trainers, final, losses
from trainer.spec import manifest

TRAIN = {"iterations": 12, "global_batch_size": 4, "seq_length": 52, "learning_rate": 5e-3}


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ENTRY), *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A run of 12 iterations that chose its saves itself and exported on the way and at the end."""
    pytest.importorskip("megatron.core")
    directory = tmp_path_factory.mktemp("base")
    trainers = Trainers(directory)
    job = trainers.job(
        train={**TRAIN, "eval_interval": 6, "eval_iterations": 1}, checkpoint={"dir": str(directory / "ck"), "interval": 0, "mode": "auto", "mtbf_s": 1e-6},
        export={"dir": str(directory / "hf"), "interval": 5}, logging={"tensorboard": True, "tensorboard_dir": str(directory / "events")})
    run = trainers.alone(job)
    assert run.finish() == 0, run.text
    yield SimpleNamespace(directory=directory, job=job, run=run, text=run.text)
    trainers.end()


def test_a_dry_run_says_what_follows_and_writes_nothing(tmp_path: Path) -> None:
    trainers = Trainers(tmp_path)
    job = trainers.job(npus=4, parallel={"tensor_model_parallel_size": 2}, model={"preset": "tiny-qwen3"}, checkpoint={"dir": str(tmp_path / "ck"), "interval": 15})
    # Without torch: as on the machine that a job is written on.
    told = subprocess.run([sys.executable, "-c", f"import sys, runpy; sys.modules['torch'] = sys.modules['numpy'] = None\nsys.argv = ['trainer', 'train', '--dry-run', '--job', {str(job)!r}]\nrunpy.run_path({str(ENTRY)!r}, run_name='__main__')"], capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert {name: found[name] for name in ("world_size", "data_parallel_size", "num_microbatches", "consumed_samples", "save_iterations")} == {
        "world_size": 4, "data_parallel_size": 2, "num_microbatches": 2, "consumed_samples": 160, "save_iterations": [15, 30, 40]}
    assert found["parameters"] == 2 * (64 * 32 * 8 + 4 * 32 * 64 + 3 * 64 * 256 + 2 * 64 + 2 * 32) + 64 + 2 * 256 * 64
    assert [path.name for path in tmp_path.iterdir()] == [job.name]
    refused = command("train", "--dry-run", "--job", trainers.job(train={"iterations": 5, "precision": "fp8"}), cwd=tmp_path)
    assert refused.returncode == 3
    assert "train.precision: the built-in trainer does not train in it [B1]" in refused.stderr
    assert "[S8r]" in refused.stderr
    assert "[B1]" in command("train", "--dry-run", "--job", trainers.job(train={"iterations": 5, "precision": "fp16"}), cwd=tmp_path).stderr


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_an_automatic_interval_comes_from_the_cost_of_a_save(base: SimpleNamespace) -> None:
    saved = [int(number) for number in re.findall(r"successfully saved checkpoint from iteration +(\d+) to", base.text)]
    announced = [int(number) for number in re.findall(r"the next checkpoint is due at iteration (\d+)", base.text)]
    # Measured at iteration 10 (and by the first export, at 5); failures every microsecond want a save every step.
    assert saved == [5, 10, 11, 12]
    assert announced == [11, 12], "and none behind the end"


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_failures_that_are_rare_are_saved_for_rarely(tmp_path: Path) -> None:
    pytest.importorskip("megatron.core")
    trainers = Trainers(tmp_path)
    try:
        block = {"dir": str(tmp_path / "ck"), "interval": 0, "mode": "auto", "async_save": True}
        first = trainers.alone(trainers.job(train={**TRAIN, "exit_after_iterations": 11}, checkpoint=block))
        assert first.finish() == 0, first.text
        (due,) = re.findall(r"the next checkpoint is due at iteration (\d+), behind the last, 12", first.text)
        assert int(due) > 11 + 10, "hours between failures: many steps between saves"
        second = trainers.alone(trainers.job(train=TRAIN, checkpoint=block))
        assert second.finish() == 0, second.text
        assert set(losses(second)) == {12}
        assert (tmp_path / "ck" / manifest.TRACKER_NAME).read_text() == "12", "the end is saved in any case"
    finally:
        trainers.end()


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_weights_are_exported_on_the_way_and_at_the_end(base: SimpleNamespace) -> None:
    assert sorted(path.name for path in (base.directory / "hf").iterdir()) == ["iter_0000005", "iter_0000010", "iter_0000012"]
    for path in (base.directory / "hf").iterdir():
        assert {"config.json", "model.safetensors"} <= {entry.name for entry in path.iterdir()}
    assert re.findall(r" exported weights of iteration (\d+) to", base.text) == ["5", "10", "12"]
    told = command("export", "--job", base.job, "--save-dir", base.directory / "hf" / "iter_0000012", "--json", cwd=base.directory)
    assert (told.returncode, json.loads(told.stdout)) == (0, {"out_is_there": str(base.directory / "hf" / "iter_0000012")})
    again = command("export", "--job", base.job, "--checkpoint", base.directory / "ck" / "iter_0000005", "--save-dir", base.directory / "five", cwd=base.directory)
    assert again.returncode == 0, again.stderr
    (one, other) = ((base.directory / name / "model.safetensors").read_bytes() for name in ("five", "hf/iter_0000005"))
    assert one == other


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_tensorboard_has_the_figures_of_the_log(base: SimpleNamespace) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    (path,) = (base.directory / "events").iterdir()
    found: dict[str, dict[int, float]] = {}
    for event in loader.EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, {})[event.step] = value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value
    logged = {iteration: float(loss) for iteration, (loss,) in losses(base.run).items()}
    assert found["lm loss"] == pytest.approx(logged, rel=1e-6)
    assert set(found["grad-norm"]) == set(found["learning-rate"]) == set(logged)
    judged = {int(iteration): float(loss) for iteration, loss in re.findall(r"validation loss at iteration (\d+) \| lm loss value: (\S+) ", base.text)}
    assert found["lm loss validation"] == pytest.approx(judged, rel=1e-6)
    assert set(judged) == {6, 12}


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_inspect_says_what_can_be_resumed_from(base: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(base.directory / "ck", tmp_path / "ck")
    (tmp_path / "ck" / "iter_0000012" / manifest.MANIFEST_NAME).unlink()
    told = command("inspect", tmp_path / "ck", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["tracker"], found["resume_from"]) == (12, 11)
    assert [(entry["iteration"], entry["complete"]) for entry in found["checkpoints"]] == [(5, True), (10, True), (11, True), (12, False)]
    assert found["checkpoints"][-1]["why"] == "no readable manifest"
    assert found["checkpoints"][0]["layout"]["consumed_samples"] == 20
    missing = command("inspect", tmp_path / "none", cwd=tmp_path)
    assert missing.returncode == 1
    assert missing.stderr == f"rankdeck: {tmp_path}/none: there is no such directory\n"


@pytest.mark.torch
@pytest.mark.timeout(900)
def test_adapters_are_trained_merged_and_exported_from_the_command_line(base: SimpleNamespace) -> None:
    trainers = Trainers(base.directory / "lora")
    trainers.directory.mkdir()
    blocks: dict[str, Any] = {
        "run": {"name": "tuned", "mode": "lora"}, "model": {"peft": {"type": "lora", "rank": 4, "alpha": 8}}, "train": {**TRAIN, "iterations": 6},
        "checkpoint": {"dir": str(trainers.directory / "ck"), "interval": 0, "load_dir": str(base.directory / "ck")}}
    job = trainers.job(**blocks)
    run = trainers.alone(job)
    assert run.finish() == 0, run.text
    assert f"loaded weights from {base.directory}/ck/iter_0000012" in run.text
    for words in (
        ("merge-lora", "--job", job, "--out", trainers.directory / "merged"),
        ("convert", "--load-dir", trainers.directory / "merged", "--save-dir", trainers.directory / "one", "--to", "hf", "--job", job),
        ("export", "--job", job, "--save-dir", trainers.directory / "other"),
    ):
        told = command(*words, cwd=base.directory)
        assert told.returncode == 0, told.stdout + told.stderr
    one, other = ((trainers.directory / name / "model.safetensors").read_bytes() for name in ("one", "other"))
    assert one == other
    assert one != (base.directory / "hf" / "iter_0000012" / "model.safetensors").read_bytes()
    twice = command("merge-lora", "--job", job, "--out", trainers.directory / "merged", cwd=base.directory)
    assert twice.returncode == 3
    assert "there is something already" in twice.stderr


@pytest.mark.torch
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("load", "first", "says"), [
    ("none", 1, "checkpoint.load_dir is set and not used"),
    ("weights", 1, "loaded weights from"),
    ("resume", 13, "loading checkpoint from"),
])
def test_what_is_taken_from_load_dir_and_that_the_runs_own_checkpoints_go_first(load: str, first: int, says: str, base: SimpleNamespace, tmp_path: Path) -> None:
    trainers = Trainers(tmp_path)
    mode = "retrain" if load == "resume" else "pretrain"
    block = {"dir": str(tmp_path / "ck"), "interval": 0, "load_dir": str(base.directory / "ck"), "load": load}
    try:
        run = trainers.alone(trainers.job(run={"name": "next", "mode": mode}, train={**TRAIN, "iterations": 16, "exit_after_iterations": 2}, checkpoint=block))
        assert run.finish() == 0, run.text
        assert set(losses(run)) == {first, first + 1}
        assert says in run.text
        ((loss,),) = [values for iteration, values in losses(run).items() if iteration == first]
        assert (float(loss) > 5.4) == (load == "none"), "from the seed, or from what was learnt"
        # Whatever is said of load_dir: what the run has saved itself is gone on with.
        again = trainers.alone(trainers.job(run={"name": "next", "mode": mode}, train={**TRAIN, "iterations": 16, "exit_after_iterations": 1}, checkpoint=block))
        assert again.finish() == 0, again.text
        assert set(losses(again)) == {first + 2}
        assert f"successfully loaded checkpoint from {tmp_path / 'ck'} " in again.text
        assert final(again)["reason"] == "exit_after_iterations"
    finally:
        trainers.end()
