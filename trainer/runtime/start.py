"""From a job to a state that can be stepped: check, build, load. In the order that the seeds' runners have.

What a run starts from, first that applies:

1. the newest complete checkpoint of ``checkpoint.dir``: all of it (a restart goes on, whatever else is set;
   S2's ``train_auto_resume``, which the project's trainer always has on);
2. ``checkpoint.load_dir`` by ``checkpoint.load``: ``none`` (S2's ckpt_load_type 0), ``weights`` (1),
   ``resume`` (2: weights, optimizer, iteration), ``auto`` (as the mode needs: pretrain none, sft and lora
   weights, retrain resume);
3. parameters from the seed.

A lora run always takes its frozen base from load_dir, since its own checkpoints hold adapters only.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from trainer.runtime import report
from trainer.runtime.errors import TrainerError
from trainer.spec import families, manifest, parallel, rules
from trainer.spec.job import JobSpec

AUTO = {"pretrain": "none", "retrain": "resume", "sft": "weights", "lora": "weights"}


def resolved(spec: JobSpec) -> JobSpec:
    """The job with its model's shape filled in from its preset or config.json, and checked.

    Raises TrainerError for a job that cannot run.
    """
    try:
        shape = families.preset(spec.model)
        if shape.hf_config:
            path = Path(shape.hf_config).expanduser()
            path = path / "config.json" if path.is_dir() else path
            shape = families.from_hf(json.loads(path.read_text("utf-8")), shape)
    except (OSError, ValueError) as error:
        raise TrainerError("the model cannot be built", where="model.hf_config" if spec.model.hf_config else "model.preset", got=str(error), fix="Check the model block") from error
    spec = dataclasses.replace(spec, model=shape)
    errors = [finding for finding in rules.check(spec) if finding.severity == "error"]
    if errors:
        raise TrainerError(
            "; ".join(f"{'.'.join(finding.path)}: {finding.message} [{finding.rule}]" for finding in errors),
            where="job.json", got=", ".join(finding.got for finding in errors),
            expected=", ".join(finding.expected for finding in errors), fix=errors[0].fix,
        )
    return spec


def check_world(spec: JobSpec) -> None:
    """Raises TrainerError when torchrun started another number of ranks than the job says."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != parallel.world_size(spec):
        raise TrainerError(
            "another number of ranks was started than the job says", where="WORLD_SIZE", got=str(world),
            expected=f"{parallel.nnodes(spec)} nodes x {spec.fleet.npus_per_node} = {parallel.world_size(spec)}",
            fix="Start it with rankdeck launch, or change fleet in the job file",
        )


def state(spec: JobSpec, device: str, checkpoints: Any) -> tuple[list[Any], Any, Any]:
    """The modules of this rank, their optimizer and the position, as the module says. A collective.

    ``checkpoints`` are those of ``checkpoint.dir``, opened.
    """
    import torch.distributed as dist

    from trainer.runtime import checkpoint, lora, model

    chunks = model.bare(spec, device)
    found = [checkpoint.newest(checkpoints.directory)[0] if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(found, src=0)
    wanted = AUTO[spec.run.mode] if spec.checkpoint.load == "auto" else spec.checkpoint.load
    adapters = spec.run.mode == "lora" or spec.model.peft.type == "lora"
    if spec.checkpoint.load_dir and wanted == "none" and found[0] is None and dist.get_rank() == 0:
        report.say(f" checkpoint.load_dir is set and not used: checkpoint.load is {spec.checkpoint.load} and the mode {spec.run.mode}")
    if dist.get_rank() == 0 and (said := without_a_base(spec, found[0])):
        report.say(said)
    if spec.checkpoint.load_dir and (adapters or (wanted == "weights" and found[0] is None)):
        path = weights_in(Path(spec.checkpoint.load_dir).expanduser())
        checkpoint.load_weights(chunks, path)
        if dist.get_rank() == 0:
            report.say(f" loaded weights from {path}")
    if adapters:
        made = lora.attach(chunks, spec.model.peft, seed=spec.run.seed)
        if dist.get_rank() == 0:
            report.say(f" {made} adapters of rank {spec.model.peft.rank} on this rank; the rest of the model is frozen")
    modules, optimizer = model.wrap(spec, chunks, device)
    position = checkpoints.load(modules, optimizer)
    if position is None and wanted == "resume" and spec.checkpoint.load_dir and not adapters:
        position = elsewhere(spec, modules, optimizer)
    return modules, optimizer, position or checkpoint.Position()


def without_a_base(spec: JobSpec, newest: int | None) -> str:
    """What the log says where a mode builds on weights and is given none; else empty. ``newest``: of its own checkpoints."""
    adapters = spec.run.mode == "lora" or spec.model.peft.type == "lora"
    if spec.checkpoint.load_dir or not (adapters or (spec.run.mode == "sft" and newest is None)):
        return ""
    return f" checkpoint.load_dir is not set: {'adapters are trained on' if adapters else 'answers are taught to'} weights that are drawn from the seed"


def elsewhere(spec: JobSpec, modules: list[Any], optimizer: Any) -> Any:
    """All of the newest checkpoint of load_dir. Raises TrainerError when it has no complete one."""
    from trainer.runtime.checkpoint import Checkpoints

    other = Checkpoints(spec.checkpoint.load_dir, layout={})
    position = other.load(modules, optimizer)
    if position is None:
        raise TrainerError("no complete checkpoint to start from", where=str(other.directory), got="none", expected="one with a manifest", fix="Check checkpoint.load_dir (rankdeck inspect checkpoint DIR says what is there)")
    return position


def weights_in(directory: Path) -> Path:
    """The torch_dist directory with the weights of load_dir: its newest complete checkpoint, its ``release``, or itself.

    Raises TrainerError when there is none.
    """
    from trainer.runtime.shelf import newest

    iteration, _ = newest(directory)
    if iteration is not None:
        return directory / manifest.directory_name(iteration)
    for path in (directory / "release", directory):
        if (path / ".metadata").is_file():
            return path
    hint = "Convert it first: python -m trainer convert" if (directory / "config.json").is_file() else "Check checkpoint.load_dir"
    raise TrainerError("no weights to start from", where=str(directory), got="none", expected="a complete checkpoint, or converted weights", fix=hint)
