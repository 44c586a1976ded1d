"""Saving and loading: torch_dist checkpoints that are either whole or not there.

A save is written under a name that no reader takes for a checkpoint (``iter_0000010.saving``), its
manifest last and flushed to disk, then renamed, and only then named by the tracker. Whatever kills the
trainer in between leaves the checkpoints of before. What is loaded is the newest that ``manifest.judge``
calls complete; one that is not is passed over and said so.

The three mends that loading needs in megatron-core's optimizer are rows of ``adjust.TABLE``. Storage is
shared: every rank reads and writes the same directory, which ``Checkpoints`` makes sure of at the start.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from torch.distributed.checkpoint.api import CheckpointException

from trainer.runtime import report
from trainer.runtime.errors import TrainerError
from trainer.spec import manifest

SHARDING = {"distrib_optim_sharding_type": "dp_reshardable"}
"""Every rank writes its own shard of the optimizer and no other; may be read by another data-parallel size."""

SAVING_SUFFIX = ".saving"
REPLACED_SUFFIX = ".replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands."""

    iteration: int = 0
    consumed_samples: int = 0


class Checkpoints:
    """The checkpoints of one run. Every method is a collective: all ranks call it, with the same arguments."""

    def __init__(self, directory: str, *, layout: Mapping[str, Any]) -> None:
        self.directory = Path(directory).expanduser()
        self._layout = dict(layout)
        self.current: int | None = None
        """The iteration last saved or loaded here."""

    def open(self) -> None:
        """Make the directory, clear away what an interrupted save left, and see that all ranks share it.

        Raises TrainerError when it cannot be written or some rank sees another directory.
        """
        token = [f".rankdeck-shared-{secrets.token_hex(8)}"]
        dist.broadcast_object_list(token, src=0)
        probe = self.directory / token[0]

        def write() -> None:
            self.directory.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            for left in (*self.directory.glob(f"iter_*{SAVING_SUFFIX}"), *self.directory.glob(f"iter_*{REPLACED_SUFFIX}")):
                shutil.rmtree(left, ignore_errors=True)

        self._on_rank_0(write, "the checkpoint directory cannot be used", "Check checkpoint.dir, its owner and its space")
        # Listing, not stat: a network file system may remember for a while that a name was not there.
        seen: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(seen, self.directory.is_dir() and token[0] in os.listdir(self.directory))
        if dist.get_rank() == 0:
            probe.unlink()
        if not all(seen):
            blind = [rank for rank, saw in enumerate(seen) if not saw]
            raise TrainerError(
                "not all ranks see the same checkpoint directory", where=str(self.directory),
                got=f"rank {', '.join(map(str, blind))} sees another one", expected="storage shared by all nodes",
                fix="Put checkpoint.dir on shared storage",
            )

    def save(self, model: Any, optimizer: Any, position: Position) -> None:
        """Write the checkpoint of ``position``; it is whole and named by the tracker when this returns.

        Nothing is done when this very iteration was saved or loaded last. Raises TrainerError, on all
        ranks, when it cannot be written; the checkpoints of before are then untouched.
        """
        if self.current == position.iteration:
            return
        final = self.directory / manifest.directory_name(position.iteration)
        partial = final.with_name(final.name + SAVING_SUFFIX)
        where = str(self.directory)
        if dist.get_rank() == 0:
            report.say(report.saving(position.iteration, where))

        def begin() -> None:
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir(parents=True)

        self._on_rank_0(begin, "the checkpoint cannot be begun", "Check checkpoint.dir, its owner and its space")
        try:
            dist_checkpointing.save(
                self._content(model, optimizer, position, loading=False),
                str(partial),
                sharded_strategy=TorchDistSaveShardedStrategy("torch_dist", 1, thread_count=1),
            )
        except (Exception, CheckpointException) as error:  # the second is none of the first
            if isinstance(error, dist.DistError):
                raise
            # On this disk there may be little room, and this is of no more use.
            shutil.rmtree(partial, ignore_errors=True)
            raise TrainerError(
                "the checkpoint cannot be written", where=where,
                got=f"{_last_line(error)}; {shutil.disk_usage(self.directory).free / 1e6:.0f} MB free there",
                fix="Make room, or check the owner of checkpoint.dir",
            ) from error
        listed: list[Any] = [None] * dist.get_world_size()
        # Each rank says what it wrote itself, so that a file another machine sees short is found out here.
        dist.all_gather_object(listed, _own_files(partial))
        files = [entry for one in listed for entry in one]
        self._on_rank_0(lambda: self._publish(partial, final, files, position), "the checkpoint cannot be finished", "Check the space of checkpoint.dir")
        self.current = position.iteration
        if dist.get_rank() == 0:
            report.say(report.saved(position.iteration, where))

    def load(self, model: Any, optimizer: Any) -> Position | None:
        """Load the newest complete checkpoint and say where it stands; None when there is none."""
        found: list[Any] = [None, []]
        if dist.get_rank() == 0:
            found = list(newest(self.directory))
            for text in found[1]:
                report.say(f" passing over checkpoint {text}")
        dist.broadcast_object_list(found, src=0)
        iteration = found[0]
        if iteration is None:
            return None
        path = self.directory / manifest.directory_name(iteration)
        if dist.get_rank() == 0:
            report.say(report.loading(iteration, str(self.directory)))
        content = dist_checkpointing.load(self._content(model, optimizer, Position(), loading=True), str(path))
        _inner(model).load_state_dict(content["model"])
        with torch.no_grad():  # it copies into parameters, and of its formats only some say so themselves
            optimizer.load_state_dict(content["optimizer"])
        _restore_random(content["rng_state"][0])
        if dist.get_rank() == 0:
            report.say(report.loaded(iteration, str(self.directory)))
        self.current = iteration
        return Position(iteration=content["iteration"], consumed_samples=content["consumed_samples"])

    def _content(self, model: Any, optimizer: Any, position: Position, *, loading: bool) -> dict[str, Any]:
        state: dict[str, Any] = {
            "checkpoint_version": 3.0,
            "iteration": position.iteration,
            "consumed_samples": position.consumed_samples,
            "model": _inner(model).sharded_state_dict(metadata=SHARDING),
            # One state for all data-parallel ranks, as Megatron keeps it unless told otherwise.
            "rng_state": ShardedObject("rng_state", [_random_state()], (1,), (0,), replica_id=parallel_state.get_data_parallel_rank()),
        }
        state["optimizer"] = optimizer.sharded_state_dict(state["model"], is_loading=loading, metadata=SHARDING)
        return state

    def _publish(self, partial: Path, final: Path, files: list[tuple[str, int]], position: Position) -> None:
        made = manifest.build(files, position.iteration, {**self._layout, "consumed_samples": position.consumed_samples})
        whole, why = manifest.judge(made, _sizes(partial), None, position.iteration)
        if not whole:
            raise OSError(f"what was written is not what is there: {why}")
        for name in _sizes(partial):
            _sync(partial / name)
        _write(partial / manifest.MANIFEST_NAME, json.dumps(made, indent=1) + "\n")
        _sync(partial)
        replaced = final.with_name(final.name + REPLACED_SUFFIX)
        if final.exists():
            # Of another history (the tracker was set back) or damaged: it would be gone soon in any case.
            os.rename(final, replaced)
        os.rename(partial, final)
        _sync(self.directory)
        _write(self.directory / manifest.TRACKER_NAME, str(position.iteration))
        _sync(self.directory)
        shutil.rmtree(replaced, ignore_errors=True)

    def _on_rank_0(self, action: Any, what: str, fix: str) -> None:
        """Do it on rank 0, and fail on every rank if it fails there."""
        outcome: list[str | None] = [None]
        if dist.get_rank() == 0:
            try:
                action()
            except OSError as error:
                outcome = [str(error)]
        dist.broadcast_object_list(outcome, src=0)
        if outcome[0] is not None:
            raise TrainerError(what, where=str(self.directory), got=outcome[0], fix=fix)


def newest(directory: Path) -> tuple[int | None, list[str]]:
    """The newest complete iteration in a directory (None: none), and a text for each newer one passed over."""
    iterations = []
    if directory.is_dir():
        iterations = [n for n in map(manifest.iteration_of, os.listdir(directory)) if n is not None]
    tracker = manifest.tracker_iteration(_text(directory / manifest.TRACKER_NAME))
    passed = []
    for iteration in sorted(iterations, reverse=True):
        path = directory / manifest.directory_name(iteration)
        whole, why = manifest.judge(_manifest(path), _sizes(path), tracker, iteration)
        if whole:
            return iteration, passed
        passed.append(f"{path}: {why}")
    return None, passed


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _manifest(path: Path) -> Any:
    text = _text(path / manifest.MANIFEST_NAME)
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _sizes(path: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_size for entry in os.scandir(path) if entry.is_file()} if path.is_dir() else {}


def _own_files(path: Path) -> list[tuple[str, int]]:
    rank, sizes = dist.get_rank(), _sizes(path)
    return [
        (name, size) for name, size in sizes.items()
        if (name.startswith(f"__{rank}_") if name.endswith(".distcp") else rank == 0)
    ]


def _write(path: Path, text: str) -> None:
    """Under another name, flushed to disk, then renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8") as stream:  # noqa: PTH123 - its descriptor is wanted
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inner(model: Any) -> Any:
    while hasattr(model, "module"):
        model = model.module
    return model


def _random_state() -> dict[str, Any]:
    return {"torch": torch.get_rng_state(), "tracker": get_cuda_rng_tracker().get_states()}


def _restore_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    get_cuda_rng_tracker().set_states(state["tracker"])
