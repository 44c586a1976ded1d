"""The loop: start or go on, step by step, save, stop when asked, leave cleanly.

One function a stage; the order of the stages is ``run``. A lost peer shows as an error of a collective:
it ends this process at once and with a traceback, so that torchrun can start the group again and the log
says why.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from trainer.runtime import device as devices
from trainer.runtime import exports, pulse, report, start
from trainer.runtime.anomaly import Watch
from trainer.runtime.errors import TrainerError
from trainer.spec import batch, parallel
from trainer.spec.job import JobSpec
from trainer.spec.saving_rules import time_limit_s

FINAL_NAME = "final.json"

FIRST_AUTO_SAVE = 10
"""checkpoint.mode auto: the iteration whose save is measured first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How a run ended, as ``final.json`` and the last line of the log have it."""

    iteration: int
    iterations: int
    consumed_samples: int
    world_size: int
    reason: str
    """finished | asked (SIGTERM) | exit_after_iterations | time_limit"""
    state_sha256: str | None
    """Over all parameters and optimizer state; null above fingerprint.PARAMETERS_LIMIT."""
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    """report.Summary of the iterations of this start."""


class Stop:
    """Whether this process was asked to stop. The answer counts only when all ranks have agreed on it."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: Any) -> None:
        self.asked = True


def run(spec: JobSpec) -> Final:
    """Train the job on this rank until its last iteration, or until all are asked to stop.

    Rank and world come from torchrun's environment (alone: rank 0 of 1). Raises TrainerError for a job
    that cannot run; any other exception is a lost peer or a defect.
    """
    began = time.monotonic()
    spec = start.resolved(spec)
    start.check_world(spec)
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    device = devices.prepare(
        local_rank=int(os.environ.get("LOCAL_RANK", "0")), threads=spec.train.threads, deterministic=spec.run.deterministic, timeout_s=spec.train.timeout_s
    )
    with process_group(spec, device):
        final = _train(spec, device, stop, began)
    if final.reason == "finished" and spec.export.dir and spec.export.at_end and int(os.environ.get("RANK", "0")) == 0:
        exports.write(spec, final.iteration)
    return final


@contextmanager
def process_group(spec: JobSpec, device: devices.Device, *, store: Any = None) -> Iterator[None]:
    """The process groups, torn down in the end unless something went wrong in between.

    ``store``: what the ranks meet by, instead of MASTER_ADDR and MASTER_PORT.
    """
    import torch
    import torch.distributed as dist
    from megatron.core import parallel_state, tensor_parallel

    for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "0")):
        os.environ.setdefault(name, alone)
    limit = timedelta(seconds=spec.train.timeout_s)
    if store is None:
        dist.init_process_group(device.backend, timeout=limit)
    else:
        dist.init_process_group(device.backend, timeout=limit, store=store, rank=int(os.environ["RANK"]), world_size=parallel.world_size(spec))
    chunks = spec.parallel.virtual_pipeline_model_parallel_size
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=spec.parallel.tensor_model_parallel_size,
        pipeline_model_parallel_size=spec.parallel.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=chunks if chunks > 1 else None,
        context_parallel_size=spec.parallel.context_parallel_size,
        expert_model_parallel_size=spec.parallel.expert_model_parallel_size,
        distributed_timeout_minutes=spec.train.timeout_s / 60.0,  # type: ignore[arg-type]
        create_gloo_process_groups=False,
    )
    tensor_parallel.model_parallel_cuda_manual_seed(spec.run.seed)
    torch.manual_seed(spec.run.seed)
    yield
    dist.barrier()
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def _train(spec: JobSpec, device: devices.Device, stop: Stop, began: float) -> Final:
    import torch.distributed as dist

    from trainer.runtime import batches, fingerprint
    from trainer.runtime.checkpoint import Checkpoints

    rank, world = dist.get_rank(), dist.get_world_size()
    heart = pulse.Heartbeat(rank)
    heart.beat(0, "loading")
    source = batches.source_of(spec)
    checkpoints = Checkpoints(spec.checkpoint.dir, layout=_layout(spec), keep=spec.checkpoint.keep)
    checkpoints.open()
    modules, optimizer, position = start.state(spec, device.name, checkpoints)
    starts = _starts(spec, checkpoints.directory, position.iteration)
    if rank == 0:
        _announce(spec, device, position)
    loop = _Loop(spec, device, source, modules, optimizer, checkpoints, position, heart)
    reason = loop.go(stop, _deadline(spec, began))
    checkpoints.finish()
    if reason != "finished":
        checkpoints.save(modules, optimizer, loop.position)
    heart.beat(loop.position.iteration, "ended")
    final = Final(
        iteration=loop.position.iteration, iterations=spec.train.iterations, consumed_samples=loop.position.consumed_samples,
        world_size=world, reason=reason, state_sha256=fingerprint.state_sha256(modules, optimizer), summary=loop.summary.told(),
    )
    if rank == 0:
        starts.forget()
        report.say(f"training ended: {json.dumps(asdict(final))}")
        _write_final(final)
    return final


class _Loop:
    """Iterations until a reason to stop; saving, judging and telling on the way."""

    def __init__(self, spec: JobSpec, device: devices.Device, source: Any, modules: list[Any], optimizer: Any, checkpoints: Any, position: Any, heart: pulse.Heartbeat) -> None:
        import torch.distributed as dist

        from trainer.runtime.step import Step

        self._spec, self._modules, self._optimizer, self._checkpoints, self._heart = spec, modules, optimizer, checkpoints, heart
        self.position = position
        self._step = Step(spec, device.name, source, modules, optimizer)
        self._validation = None
        if spec.train.eval_interval:
            from trainer.runtime import validation

            self._validation = validation.Validation(spec, device.name, validation.source_of(spec), modules)
        self._watch = Watch(spec.train, position.losses)
        self._rank, self._last = dist.get_rank(), dist.get_rank() == dist.get_world_size() - 1
        flops = parallel.flops_per_sample(spec.model, spec.train.seq_length) * spec.train.global_batch_size / dist.get_world_size()
        self._progress = report.Progress(
            iterations=spec.train.iterations, log_interval=spec.train.log_interval, global_batch_size=spec.train.global_batch_size, flops_per_iteration=flops)
        self.summary = report.Summary(
            tokens_per_iteration=spec.train.global_batch_size * spec.train.seq_length, world_size=dist.get_world_size(), flops_per_iteration=flops)
        self._events = pulse.Events(_events_directory(spec)) if spec.logging.tensorboard and self._last else None
        self._saves = set(batch.save_iterations(spec))
        self._auto = spec.checkpoint.mode == "auto"
        self._next_auto = position.iteration + FIRST_AUTO_SAVE
        self._roll_backs = 0
        self._step_s = 0.0

    def go(self, stop: Stop, deadline: float) -> str:
        """Train; the reason why it ended. Raises TrainerError where the job's policy ends it for an anomaly."""
        train, first = self._spec.train, self.position.iteration
        while self.position.iteration < train.iterations:
            began = time.monotonic()
            iteration = self.position.iteration + 1
            self._heart.beat(iteration, "training")
            # A step and a save must still fit in before the limit.
            late = bool(deadline) and began + 2.0 * self._step_s + 2.0 * self._checkpoints.blocked_s > deadline
            outcome = self._step(
                iteration, self.position.consumed_samples, judge=self._watch.judge,
                flags=(float(stop.asked), float(late), float(not self._checkpoints.written)))
            self.position = dataclasses.replace(
                self.position, iteration=iteration, consumed_samples=self.position.consumed_samples + train.global_batch_size, losses=tuple(self._watch.losses))
            asked, over, writing = (count > 0 for count in outcome.flags)
            time.sleep(max(0.0, train.min_step_s - (time.monotonic() - began)))
            self._step_s = time.monotonic() - began
            self._tell(outcome)
            if outcome.anomaly:
                self._anomaly(outcome.anomaly)
            self._validate_if_due()
            if self._checkpoints.pending and not writing:
                self._checkpoints.finish()
            self._save_if_due()
            if exports.due(self._spec, self.position.iteration):
                # Exported is what is on disk: the checkpoint has to be whole.
                self._checkpoints.save(self._modules, self._optimizer, self.position)
                if self._rank == 0:
                    exports.on_the_way(self._spec, self.position.iteration)
            if asked:
                return "asked"
            if over:
                return "time_limit"
            if train.exit_after_iterations and self.position.iteration - first >= train.exit_after_iterations and self.position.iteration < train.iterations:
                return "exit_after_iterations"
        return "finished"

    def _tell(self, outcome: Any) -> None:
        told = {"loss": outcome.loss, "elapsed_s": self._step_s, "skipped": bool(outcome.anomaly)}
        self.summary.add(**told)
        line = self._progress.add(
            iteration=self.position.iteration, consumed_samples=self.position.consumed_samples, grad_norm=outcome.grad_norm,
            learning_rate=outcome.learning_rate, **told)
        if line and self._last:
            report.say(line)
        if self._events:
            train = self._spec.train
            self._events.add(self.position.iteration, {
                "lm loss": outcome.loss, "grad-norm": outcome.grad_norm, "learning-rate": outcome.learning_rate,
                "iteration-time": self._step_s, "tokens-per-second": train.global_batch_size * train.seq_length / self._step_s})

    def _validate_if_due(self) -> None:
        iteration = self.position.iteration
        if self._validation is None or iteration % self._spec.train.eval_interval:
            return
        self._heart.beat(iteration, "validating")
        loss = self.summary.validation_loss = self._validation()
        if self._last:
            for line in report.validation(iteration, loss):
                report.say(line)
        if self._events:
            self._events.add(iteration, {"lm loss validation": loss, "lm loss validation ppl": math.exp(min(20.0, loss))})

    def _anomaly(self, why: str) -> None:
        train = self._spec.train
        where = f"iteration {self.position.iteration}"
        if self._last:
            report.say(f" {where} was left out: {why}")
        if train.anomaly == "stop" or self._watch.exhausted or self._roll_backs >= train.anomaly_limit:
            self._checkpoints.finish()
            raise TrainerError(
                "training is not going well", where=where, got=why, expected="finite numbers and no spike",
                fix="Look at the data and the learning rate; train.anomaly and train.anomaly_limit say what is put up with")
        if train.anomaly == "roll-back":
            behind = self.position.consumed_samples
            loaded = self._checkpoints.load(self._modules, self._optimizer)
            self._roll_backs += 1
            if loaded is not None:
                self.position = dataclasses.replace(loaded, consumed_samples=behind)
                self._watch.losses = list(loaded.losses)
                if self._rank == 0:
                    report.say(f" rolled back to iteration {loaded.iteration}; going on with sample {behind}")

    def _save_if_due(self) -> None:
        iteration, checkpoint = self.position.iteration, self._spec.checkpoint
        due = iteration in self._saves
        if self._auto:
            due = iteration >= self._next_auto or (checkpoint.save_last and iteration == self._spec.train.iterations)
        if not due or self._checkpoints.current == iteration:
            return
        self._heart.beat(iteration, "saving")
        if checkpoint.async_save:
            self._checkpoints.begin(self._modules, self._optimizer, self.position)
        else:
            self._checkpoints.save(self._modules, self._optimizer, self.position)
        if self._auto:
            self._next_auto = iteration + _auto_interval(checkpoint.mtbf_s, self._checkpoints.blocked_s, self._step_s)
            if self._rank == 0 and iteration < self._spec.train.iterations:
                behind = f", behind the last, {self._spec.train.iterations}" if self._next_auto > self._spec.train.iterations else ""
                report.say(f" the next checkpoint is due at iteration {self._next_auto}{behind}")


def auto_interval(mtbf_s: float, save_s: float, step_s: float) -> int:
    """Iterations between saves that lose the least time to saving and to repeated work, at least 1.

    sqrt(2 x cost of a save x mean time between failures): Young, "A first order approximation to the optimum
    checkpoint interval", 1974.
    """
    return max(1, round(math.sqrt(2.0 * save_s * mtbf_s) / step_s)) if step_s > 0 else 1


def _auto_interval(mtbf_s: float, save_s: float, step_s: float) -> int:
    import torch.distributed as dist

    # The clocks of ranks differ: rank 0's counts.
    chosen = [auto_interval(mtbf_s, save_s, step_s)]
    dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def _starts(spec: JobSpec, directory: Path, iteration: int) -> pulse.Starts:
    """Count this start on rank 0; all ranks raise TrainerError when it is one too many."""
    import torch.distributed as dist

    starts = pulse.Starts(directory, spec.recovery.max_no_progress)
    refused: list[Any] = [None]
    if dist.get_rank() == 0 and iteration < spec.train.iterations:
        try:
            starts.count(iteration)
        except TrainerError as error:
            refused = [(error.what, error.where, error.got, error.expected, error.fix)]
    dist.broadcast_object_list(refused, src=0)
    if refused[0]:
        what, where, got, expected, fix = refused[0]
        raise TrainerError(what, where=where, got=got, expected=expected, fix=fix)
    return starts


def _deadline(spec: JobSpec, began: float) -> float:
    """When run.time_limit is over, on the monotonic clock; 0 for never. The rules have seen that it can be read."""
    limit_s = time_limit_s(spec.run.time_limit) if spec.run.time_limit else None
    return began + limit_s if limit_s else 0.0


def _events_directory(spec: JobSpec) -> Path:
    return Path(spec.logging.tensorboard_dir or f"{spec.checkpoint.dir}/tensorboard").expanduser()


def _layout(spec: JobSpec) -> dict[str, Any]:
    from trainer.runtime.checkpoint import RESHARDABLE

    return {
        "format": "torch_dist",
        "optimizer_format": RESHARDABLE,
        "megatron_core": devices.MEGATRON_CORE_VERSION,
        "job": spec.run.name,
        "mode": spec.run.mode,
        "attempt": os.environ.get("RANKDECK_ATTEMPT", ""),
        "world_size": parallel.world_size(spec),
        "data_parallel_size": parallel.data_parallel_size(spec),
        **asdict(spec.parallel),
    }


def _announce(spec: JobSpec, device: devices.Device, position: Any) -> None:
    sizes = ", ".join(f"{name} {value}" for name, value in _layout(spec).items() if name.endswith("size") and value not in (0, 1))
    report.say(f"rankdeck trainer: {device.kind} ({device.backend}), {parallel.parameter_count(spec.model)} parameters, {sizes or 'one rank'}")
    if not position.iteration:
        report.say(f" no complete checkpoint in {spec.checkpoint.dir}: starting from scratch")
    report.say("training ...")


def _write_final(final: Final) -> None:
    """``final.json`` in the attempt's directory; the first one stays."""
    directory = os.environ.get("RANKDECK_DIR")
    if not directory:
        return
    path = Path(directory) / FINAL_NAME
    beside = path.with_name(f".{FINAL_NAME}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8") as stream:  # noqa: PTH123 - its descriptor is wanted
        json.dump(asdict(final), stream)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(beside, path)
    except FileExistsError:
        print(f"{path} is there already and stays", file=sys.stderr)
    finally:
        beside.unlink()
