"""The loop: start or go on, step by step, save, stop when asked, leave cleanly.

One function a stage; the order of the stages is ``run``. A lost peer shows as an error of a collective:
it ends this process at once and with a traceback, so that torchrun can start the group again and the log
says why.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from trainer.runtime import device as devices
from trainer.runtime import report
from trainer.runtime.errors import TrainerError
from trainer.spec import batch, parallel, rules
from trainer.spec.job import JobSpec

FINAL_NAME = "final.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How a run ended, as ``final.json`` and the last line of the log have it."""

    iteration: int
    iterations: int
    consumed_samples: int
    world_size: int
    reason: str
    """finished | asked (SIGTERM) | exit_after_iterations"""
    state_sha256: str | None
    """Over all parameters and optimizer state; null above fingerprint.PARAMETERS_LIMIT."""


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
    _validate(spec)
    stop = Stop()
    signal.signal(signal.SIGTERM, stop)
    device = devices.prepare(
        local_rank=int(os.environ.get("LOCAL_RANK", "0")), threads=spec.train.threads, deterministic=spec.run.deterministic
    )
    with _process_group(spec, device):
        return _train(spec, device, stop)


def _validate(spec: JobSpec) -> None:
    errors = [finding for finding in rules.check(spec) if finding.severity == "error"]
    if errors:
        raise TrainerError(
            "; ".join(f"{'.'.join(finding.path)}: {finding.message} [{finding.rule}]" for finding in errors),
            where="job.json", got=", ".join(finding.got for finding in errors),
            expected=", ".join(finding.expected for finding in errors), fix=errors[0].fix,
        )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != parallel.world_size(spec):
        raise TrainerError(
            "another number of ranks was started than the job says", where="WORLD_SIZE", got=str(world),
            expected=f"{parallel.nnodes(spec)} nodes x {spec.fleet.npus_per_node} = {parallel.world_size(spec)}",
            fix="Start it with rankdeck launch, or change fleet in the job file",
        )


@contextmanager
def _process_group(spec: JobSpec, device: devices.Device) -> Iterator[None]:
    """The process groups, torn down in the end unless something went wrong in between."""
    import torch.distributed as dist
    from megatron.core import parallel_state, tensor_parallel

    for name, alone in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "0")):
        os.environ.setdefault(name, alone)
    limit = timedelta(seconds=spec.train.timeout_s)
    dist.init_process_group(device.backend, timeout=limit)
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=spec.parallel.tensor_model_parallel_size,
        pipeline_model_parallel_size=spec.parallel.pipeline_model_parallel_size,
        context_parallel_size=spec.parallel.context_parallel_size,
        expert_model_parallel_size=spec.parallel.expert_model_parallel_size,
        distributed_timeout_minutes=spec.train.timeout_s / 60.0,  # type: ignore[arg-type]
        create_gloo_process_groups=False,
    )
    tensor_parallel.model_parallel_cuda_manual_seed(spec.run.seed)
    yield
    dist.barrier()
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()


def _train(spec: JobSpec, device: devices.Device, stop: Stop) -> Final:
    import torch
    import torch.distributed as dist

    from trainer.runtime import batches, fingerprint, model
    from trainer.runtime.checkpoint import Checkpoints, Position

    source = batches.source_of(spec)
    torch.manual_seed(spec.run.seed)
    module, optimizer = model.build(spec, device.name)
    checkpoints = Checkpoints(spec.checkpoint.dir, layout=_layout(spec))
    checkpoints.open()
    position = checkpoints.load(module, optimizer) or _load_elsewhere(spec, module, optimizer) or Position()
    if dist.get_rank() == 0:
        _announce(spec, device, position)

    step = _stepper(spec, device, source, module, optimizer)
    progress = report.Progress(
        iterations=spec.train.iterations,
        log_interval=spec.train.log_interval,
        global_batch_size=spec.train.global_batch_size,
        flops_per_iteration=parallel.flops_per_sample(spec.model, spec.train.seq_length) * spec.train.global_batch_size / dist.get_world_size(),
    )
    saves = set(batch.save_iterations(spec))
    last_rank = dist.get_rank() == dist.get_world_size() - 1
    first, reason = position.iteration, "finished"
    while position.iteration < spec.train.iterations:
        began = time.monotonic()
        iteration = position.iteration + 1
        outcome = step(iteration, position.consumed_samples)
        position = Position(iteration=iteration, consumed_samples=position.consumed_samples + spec.train.global_batch_size)
        asked = _agreed(stop, device.name)
        time.sleep(max(0.0, spec.train.min_step_s - (time.monotonic() - began)))
        line = progress.add(
            iteration=iteration, consumed_samples=position.consumed_samples, elapsed_s=time.monotonic() - began, **outcome
        )
        if line and last_rank:
            report.say(line)
        if iteration in saves:
            checkpoints.save(module, optimizer, position)
        if asked:
            reason = "asked"
            break
        if spec.train.exit_after_iterations and iteration - first >= spec.train.exit_after_iterations and iteration < spec.train.iterations:
            reason = "exit_after_iterations"
            break
    if reason != "finished":
        checkpoints.save(module, optimizer, position)
    final = Final(
        iteration=position.iteration, iterations=spec.train.iterations, consumed_samples=position.consumed_samples,
        world_size=dist.get_world_size(), reason=reason, state_sha256=fingerprint.state_sha256(module, optimizer),
    )
    if dist.get_rank() == 0:
        report.say(f"training ended: {json.dumps(asdict(final))}")
        _write_final(final)
    return final


def _stepper(
    spec: JobSpec, device: devices.Device, source: Any, module: Any, optimizer: Any
) -> Callable[[int, int], dict[str, Any]]:
    """One training step as a function of (iteration, consumed samples); what it returns goes to Progress.add."""
    import torch
    import torch.distributed as dist
    from megatron.core import parallel_state
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from trainer.runtime import batches, model

    forward_backward = get_forward_backward_func()
    rank = parallel_state.get_data_parallel_rank()
    size = parallel_state.get_data_parallel_world_size()

    def loss_of(mask: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        total = (output.float().view(-1) * mask.view(-1)).sum()
        tokens = mask.sum()
        return total, tokens.to(torch.int), {"lm loss": torch.stack([total.detach(), tokens])}

    def forward(iterator: Iterator[dict[str, torch.Tensor]], gpt: Any) -> Any:
        one = next(iterator)
        output = gpt(one["tokens"], one["position_ids"], None, labels=one["labels"])
        return output, lambda output: loss_of(one["loss_mask"], output)

    def step(iteration: int, consumed: int) -> dict[str, Any]:
        rate = batch.learning_rate(spec.train, iteration)
        model.set_rates(optimizer, learning_rate=rate, weight_decay=spec.train.weight_decay)
        module.zero_grad_buffer()
        optimizer.zero_grad()
        parts = forward_backward(
            forward_step_func=forward,
            data_iterator=batches.microbatches(
                source, spec, consumed=consumed, data_parallel_rank=rank, data_parallel_size=size, device=device.name
            ),
            model=[module],
            num_microbatches=spec.train.global_batch_size // (spec.train.micro_batch_size * size),
            seq_length=spec.train.seq_length,
            micro_batch_size=spec.train.micro_batch_size,
            forward_only=False,
        )
        updated, grad_norm, _ = optimizer.step()
        total = torch.stack([part["lm loss"] for part in parts]).sum(dim=0)
        dist.all_reduce(total, group=parallel_state.get_data_parallel_group())
        return {
            "loss": float(total[0]) / float(total[1]), "grad_norm": float(grad_norm or 0.0), "learning_rate": rate,
            "skipped": not updated,
        }

    return step


def _load_elsewhere(spec: JobSpec, module: Any, optimizer: Any) -> Any:
    """From ``checkpoint.load_dir``, where there is one. Raises TrainerError when it has no complete checkpoint."""
    from trainer.runtime.checkpoint import Checkpoints

    if not spec.checkpoint.load_dir:
        return None
    elsewhere = Checkpoints(spec.checkpoint.load_dir, layout={})
    position = elsewhere.load(module, optimizer)
    if position is None:
        raise TrainerError("no complete checkpoint to start from", where=str(elsewhere.directory), got="none", expected="one with a manifest", fix="Check checkpoint.load_dir (rankdeck inspect checkpoint DIR says what is there)")
    return position


def _agreed(stop: Stop, device: str) -> bool:
    """Whether any rank was asked to stop; the same answer on all of them."""
    import torch
    import torch.distributed as dist

    flag = torch.tensor([int(stop.asked)], dtype=torch.int32, device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def _layout(spec: JobSpec) -> dict[str, Any]:
    return {
        "format": "torch_dist",
        "megatron_core": devices.MEGATRON_CORE_VERSION,
        "job": spec.run.name,
        "attempt": os.environ.get("RANKDECK_ATTEMPT", ""),
        "world_size": parallel.world_size(spec),
        "data_parallel_size": parallel.data_parallel_size(spec),
        **asdict(spec.parallel),
    }


def _announce(spec: JobSpec, device: devices.Device, position: Any) -> None:
    sizes = ", ".join(f"{name} {value}" for name, value in _layout(spec).items() if name.endswith("size") and value != 1)
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
