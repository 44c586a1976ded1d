"""Saving and loading: torch_dist checkpoints that are either whole or not there.

A save is written under a name that no reader takes for a checkpoint (``iter_0000010.saving``), its
manifest last and flushed to disk, then renamed, and only then named by the tracker. Whatever kills the
trainer in between leaves the checkpoints of before. What is loaded is the newest that ``manifest.judge``
calls complete; one that is not is passed over and said so. An asynchronous save copies the state and
writes it from a thread while training goes on; it counts once ``finish`` has made it.

The mends that loading needs in megatron-core's optimizer are rows of ``adjust.TABLE``. Storage is
shared: every rank reads and writes the same directory, which ``Checkpoints`` makes sure of at the start.
What is written may be read by any other layout, interleaved pipelines and expert parallelism included.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.dist_checkpointing.mapping import ShardedObject
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from megatron.core.optimizer.optimizer import param_group_identifier_keys
from megatron.core.tensor_parallel import get_cuda_rng_tracker
from torch.distributed.checkpoint.api import CheckpointException

from trainer.runtime import fitting, report, shelf
from trainer.runtime.errors import TrainerError
from trainer.runtime.model import inner
from trainer.runtime.shelf import SAVING_SUFFIX, newest
from trainer.spec import manifest

__all__ = ["Checkpoints", "Position", "newest"]

RESHARDABLE = "fully_reshardable"
"""Optimizer state by parameter, gathered within a data-parallel group: may be read by any layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands."""

    iteration: int = 0
    consumed_samples: int = 0
    losses: tuple[float, ...] = field(default=(), compare=False)
    """The last losses, which a spike is told by."""


@dataclass(slots=True, kw_only=True)
class _Pending:
    """An asynchronous save on its way."""

    request: Any
    thread: threading.Thread | None
    failed: list[BaseException]
    position: Position
    partial: Path


class Checkpoints:
    """The checkpoints of one run. Every method but ``written`` is a collective: all ranks call it, with the same arguments."""

    def __init__(self, directory: str, *, layout: Mapping[str, Any], keep: int = 0) -> None:
        self.directory = Path(directory).expanduser()
        self._layout, self._keep = dict(layout), keep
        self._pending: _Pending | None = None
        self.current: int | None = None
        """The iteration last saved or loaded here."""
        self.blocked_s = 0.0
        """How long training stood still for the last save."""

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
            shelf.clear(self.directory)

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
        self.begin(model, optimizer, position, apart=False)
        self.finish()

    def begin(self, model: Any, optimizer: Any, position: Position, *, apart: bool = True) -> None:
        """Start writing the checkpoint of ``position``; apart: in a thread, from a copy of the state.

        A save that is still on its way is finished first. Raises TrainerError as ``save`` does.
        """
        self.finish()
        if self.current == position.iteration:
            return
        began = time.monotonic()
        final = self.directory / manifest.directory_name(position.iteration)
        partial = final.with_name(final.name + SAVING_SUFFIX)
        if dist.get_rank() == 0:
            report.say(report.saving(position.iteration, str(self.directory)))
        self._on_rank_0(lambda: shelf.begin(partial), "the checkpoint cannot be begun", "Check checkpoint.dir, its owner and its space")
        pending = _Pending(request=None, thread=None, failed=[], position=position, partial=partial)
        with self._writing(partial):
            pending.request = dist_checkpointing.save(
                _content(model, optimizer, position, loading=False, layout=self._layout),
                str(partial),
                sharded_strategy=TorchDistSaveShardedStrategy("torch_dist", 1, thread_count=1),
                async_sharded_save=True,
            )
        writing = _writing_of(pending, copy=apart)
        if apart:
            pending.thread = threading.Thread(target=writing, name="checkpoint", daemon=True)
            pending.thread.start()
        else:
            writing()
        self._pending = pending
        self.blocked_s = time.monotonic() - began

    @property
    def written(self) -> bool:
        """Whether this rank has written its part of the save that was begun (or none was)."""
        return self._pending is None or self._pending.thread is None or not self._pending.thread.is_alive()

    @property
    def pending(self) -> bool:
        """Whether a save was begun and not finished; the same on all ranks."""
        return self._pending is not None

    def finish(self) -> None:
        """Make the save that was begun count, waiting for it; nothing when there is none. Raises TrainerError."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        began = time.monotonic()
        if pending.thread:
            pending.thread.join()
        with self._writing(pending.partial):
            # All ranks go on, or none: the next is a collective.
            failures: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(failures, _last_line(pending.failed[0]) if pending.failed else None)
            told = [text for text in failures if text]
            if told:
                raise CheckpointException(told[0], {})
            for step in pending.request.finalize_fns:
                step()
        listed: list[Any] = [None] * dist.get_world_size()
        # Each rank says what it wrote itself, so that a file another machine sees short is found out here.
        dist.all_gather_object(listed, _own_files(pending.partial))
        files = [entry for one in listed for entry in one]
        final = self.directory / manifest.directory_name(pending.position.iteration)
        layout = {**self._layout, "consumed_samples": pending.position.consumed_samples}
        self._on_rank_0(
            lambda: shelf.publish(pending.partial, final, files, pending.position.iteration, layout),
            "the checkpoint cannot be finished", "Check the space of checkpoint.dir")
        self._on_rank_0(lambda: shelf.prune(self.directory, self._keep), "an old checkpoint cannot be taken away", "Check the owner of checkpoint.dir")
        self.current = pending.position.iteration
        self.blocked_s += time.monotonic() - began
        if dist.get_rank() == 0:
            report.say(report.saved(pending.position.iteration, str(self.directory), self._layout))

    def load(self, model: Any, optimizer: Any) -> Position | None:
        """Load the newest complete checkpoint and say where it stands; None when there is none.

        Raises TrainerError for one that this layout cannot read.
        """
        self.finish()
        found: list[Any] = [None, [], {}]
        if dist.get_rank() == 0:
            found = [*newest(self.directory), {}]
            for text in found[1]:
                report.say(f" passing over checkpoint {text}")
            if found[0] is not None:
                found[2] = shelf.manifest_of(self.directory / manifest.directory_name(found[0]))["layout"]
        dist.broadcast_object_list(found, src=0)
        iteration, layout = found[0], found[2]
        if iteration is None:
            return None
        path = self.directory / manifest.directory_name(iteration)
        if dist.get_rank() == 0:
            report.say(report.loading(iteration, str(self.directory)))
        if layout.get("optimizer_format", RESHARDABLE) != RESHARDABLE:
            raise TrainerError(
                "the optimizer's state is in a format that this trainer does not read", where=str(path), got=str(layout["optimizer_format"]),
                expected=RESHARDABLE, fix="Load the weights alone (checkpoint.load_dir, and checkpoint.load: weights)",
            )
        _refuse_another(model if isinstance(model, list) else [model], path, whole=False, weights_alone=False,
                        fix="Set the model block to what the run began with, or choose another checkpoint directory")
        content = dist_checkpointing.load(_content(model, optimizer, Position(), loading=True, layout=layout), str(path))
        _take_model(model, content)
        with torch.no_grad():  # it copies into parameters, and of its formats only some say so themselves
            optimizer.load_state_dict(_divided(content["optimizer"], optimizer))
        if "rng_state" in content:
            _restore_random(content["rng_state"][0])
        if dist.get_rank() == 0:
            report.say(report.loaded(iteration, str(self.directory), self._layout))
        self.current = iteration
        return Position(iteration=content["iteration"], consumed_samples=content["consumed_samples"], losses=tuple(content.get("losses", ())))

    def _writing(self, partial: Path) -> _Refusing:
        return _Refusing(self.directory, partial)

    def _on_rank_0(self, action: Callable[[], Any], what: str, fix: str) -> None:
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


class _Refusing:
    """Around what writes: its failure is a TrainerError that tells of the space, and leaves no rest."""

    def __init__(self, directory: Path, partial: Path) -> None:
        self._directory, self._partial = directory, partial

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        # The second is none of the first.
        if not isinstance(error, (Exception, CheckpointException)) or isinstance(error, dist.DistError):
            return
        # On this disk there may be little room, and this is of no more use.
        shutil.rmtree(self._partial, ignore_errors=True)
        raise TrainerError(
            "the checkpoint cannot be written", where=str(self._directory),
            got=f"{_last_line(error)}; {shutil.disk_usage(self._directory).free / 1e6:.0f} MB free there",
            fix="Make room, or check the owner of checkpoint.dir",
        ) from error


def load_weights(chunks: list[Any], path: Path, *, whole: bool = True) -> None:
    """The parameters of a torch_dist checkpoint directory, of any TP and PP, into bare chunks. A collective.

    Not whole: where there are adapters, only those.

    Raises TrainerError for a directory that holds no such checkpoint, or one of another model.
    """
    try:
        _refuse_another(chunks, path, whole=whole, weights_alone=True, fix="Check checkpoint.load_dir and the model block")
        _take_model(chunks, dist_checkpointing.load(_model_state(chunks, whole=whole), str(path)))
    except (Exception, CheckpointException) as error:
        if isinstance(error, (dist.DistError, TrainerError)):
            raise
        raise TrainerError("the weights cannot be loaded", where=str(path), got=_last_line(error), expected="a torch_dist checkpoint of this model", fix="Check checkpoint.load_dir and the model block") from error


def save_weights(chunks: list[Any], path: Path) -> None:
    """The parameters of bare chunks as a torch_dist directory without optimizer; ``path`` must be there and empty. A collective."""
    content = {"checkpoint_version": 3.0, "iteration": 0, **_model_state(chunks, whole=True)}
    dist_checkpointing.save(content, str(path), sharded_strategy=TorchDistSaveShardedStrategy("torch_dist", 1, thread_count=1))


def _divided(found: dict[Any, Any], optimizer: Any) -> dict[Any, Any]:
    """The loaded state of the optimizer for as many as there are here.

    megatron-core has one optimizer, or with expert parallelism two: one for the experts. Tensors are found by the
    names of parameters in any case; what is said of parameter groups (rates, step) stands where it was written,
    and is the same for experts and others.
    """
    here = optimizer.chained_optimizers
    written = [found[number] for number in sorted(key for key in found if isinstance(key, int)) if "optimizer" in found[number]] or [found]
    if len(written) == len(here):
        return found

    def kind(group: Any) -> tuple[Any, ...]:
        return tuple(group[name] for name in param_group_identifier_keys if name != "is_expert_parallel")

    groups = {kind(group): group for one in written for group in one["optimizer"]["param_groups"]}
    made = {}
    for number, one in enumerate(here):
        own = [{**groups[kind(group)], "is_expert_parallel": group["is_expert_parallel"]} for group in one.optimizer.param_groups]
        made[number] = {
            **{key: value for key, value in written[0].items() if not isinstance(key, int)},
            "optimizer": {**written[0]["optimizer"], "param_groups": own},
            "param_state": (found if len(here) == 1 else found[number])["param_state"],
        }
    return made[0] if len(here) == 1 else made


def _content(model: Any, optimizer: Any, position: Position, *, loading: bool, layout: Mapping[str, Any]) -> dict[str, Any]:
    chunks = model if isinstance(model, list) else [model]
    # The tape's own tensors as keys: the optimizer finds its parameters in here.
    state = _model_state(chunks, whole=False)
    metadata = {"distrib_optim_sharding_type": RESHARDABLE, "chained_optim_avoid_prefix": True}
    state["optimizer"] = optimizer.sharded_state_dict(state, is_loading=loading, metadata=metadata)
    state.update({"checkpoint_version": 3.0, "iteration": position.iteration, "consumed_samples": position.consumed_samples, "losses": list(position.losses)})
    pp, tp = parallel_state.get_pipeline_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_world_size()
    if not loading or all(layout.get(name, size) == size for name, size in _cut().items()):
        # One state for all data-parallel ranks, as Megatron keeps it unless told otherwise.
        state["rng_state"] = ShardedObject(
            "rng_state", [_random_state()], (pp, tp),
            (parallel_state.get_pipeline_model_parallel_rank(), parallel_state.get_tensor_model_parallel_rank()),
            replica_id=parallel_state.get_data_parallel_rank(with_context_parallel=True))
    return state


def _model_state(chunks: list[Any], *, whole: bool) -> dict[str, Any]:
    """The sharded state of the chunks; not whole: where only adapters are trained, only those."""
    states: dict[str, Any] = {}
    for number, chunk in enumerate(chunks):
        gpt = inner(chunk)
        found = gpt.sharded_state_dict(metadata={"distrib_optim_sharding_type": RESHARDABLE})
        trained = {name for name, parameter in gpt.named_parameters() if parameter.requires_grad}
        if not whole and len(trained) < len(list(gpt.named_parameters())):
            found = {name: value for name, value in found.items() if name in trained}
        states[f"model{number}" if len(chunks) > 1 else "model"] = found
    return states


def _refuse_another(chunks: list[Any], path: Path, *, whole: bool, weights_alone: bool, fix: str) -> None:
    adapters = not whole and not all(parameter.requires_grad for chunk in chunks for parameter in inner(chunk).parameters())
    fitting.refuse_another(_model_state(chunks, whole=whole).values(), path, adapters=adapters, weights_alone=weights_alone, fix=fix)


def _take_model(model: Any, content: Mapping[str, Any]) -> None:
    chunks = model if isinstance(model, list) else [model]
    for number, chunk in enumerate(chunks):
        found = content[f"model{number}" if len(chunks) > 1 else "model"]
        gpt = inner(chunk)
        missing, unexpected = gpt.load_state_dict(found, strict=False)
        # Adapters alone leave the rest as it is; layers without parameters have an empty extra state.
        lost = [name for name in missing if name in dict(gpt.named_parameters()) and gpt.get_parameter(name).requires_grad]
        assert not lost and not unexpected, f"missing {lost}, unexpected {unexpected}"


def _writing_of(pending: _Pending, *, copy: bool) -> Callable[[], None]:
    request = pending.request
    arguments = list(request.async_fn_args)
    if request.preload_fn:
        arguments[1] = request.preload_fn()
        if copy:
            arguments[1] = [
                (file, key, (texts, [(item, tensor.clone()) for item, tensor in tensors])) for file, key, (texts, tensors) in arguments[1]]

    def writing() -> None:
        try:
            if request.async_fn is not None:
                request.async_fn(*arguments, **request.async_fn_kwargs)
        except Exception as error:  # noqa: BLE001 - told by finish, on the thread that can
            pending.failed.append(error)

    return writing


def _cut() -> dict[str, int]:
    return {
        "tensor_model_parallel_size": parallel_state.get_tensor_model_parallel_world_size(),
        "pipeline_model_parallel_size": parallel_state.get_pipeline_model_parallel_world_size(),
    }


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _own_files(path: Path) -> list[tuple[str, int]]:
    rank = dist.get_rank()
    return [
        (name, size) for name, size in shelf.sizes(path).items()
        if (name.startswith(f"__{rank}_") if name.endswith(".distcp") else rank == 0)
    ]


def _random_state() -> dict[str, Any]:
    return {"torch": torch.get_rng_state(), "tracker": get_cuda_rng_tracker().get_states()}


def _restore_random(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    get_cuda_rng_tracker().set_states(state["tracker"])
