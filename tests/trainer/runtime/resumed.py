"""Save under one layout, go on under the same or another, and compare with a run that was never left.

Children of four processes take part in one world after another, as ``trainer.runtime.layouts`` does it; every world has
a fresh model and optimizer, so that all that is known of the steps before comes from the checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from trainer.runtime import layouts
from trainer.runtime.layouts import MODEL
from trainer.spec.job import JobSpec, from_mapping

BEFORE, AFTER = 4, 4
"""Steps to the checkpoint, and from it: optimizer state that is wrong shows in the second step at the earliest."""

MIXTURE = {**MODEL, "num_experts": 4, "moe_ffn_hidden_size": 64}

LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "single": (1, {}),
    "DP2": (2, {}),
    "TP2 x PP2": (4, {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}),
    "interleaved": (2, {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 2}),
    "interleaved x DP2": (4, {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 2}),
    "CP2": (2, {"context_parallel_size": 2}),
    "CP2 x DP2": (4, {"context_parallel_size": 2}),
    "EP2": (2, {"expert_model_parallel_size": 2}),
    "EP2 x DP2": (4, {"expert_model_parallel_size": 2}),
    "EP2 x PP2": (4, {"expert_model_parallel_size": 2, "pipeline_model_parallel_size": 2}),
    "EP2 x TP2": (4, {"expert_model_parallel_size": 2, "tensor_model_parallel_size": 2, "sequence_parallel": True}),
}

_COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from tests.trainer.runtime.resumed import work; work(sys.argv[2])"


def compare(groups: list[dict[str, Any]], *, timeout_s: float = 800.0) -> list[dict[tuple[str, str], dict[str, Any]]]:
    """Of each group (``pairs``, ``model``, ``precision``), (saved under, gone on under) -> what came of it.

    That is {"whole", "resumed": losses of the steps after the checkpoint, "same state"}. One set of processes takes
    part in all groups, as their start takes the longest. Raises RuntimeError with the output of what failed.
    """
    with tempfile.TemporaryDirectory(prefix="rankdeck-resumed-") as directory:
        plan = Path(directory) / "plan.json"
        plan.write_text(json.dumps(groups))
        layouts.together(_COMMAND, plan, max(LAYOUTS[name][0] for group in groups for pair in group["pairs"] for name in pair), timeout_s=timeout_s)
        told = json.loads(plan.with_name("out.json").read_text())
    return [{(one, other): entry for (one, other), entry in zip(group["pairs"], entries, strict=True)} for group, entries in zip(groups, told, strict=True)]


def work(plan_path: str) -> None:
    """One of the processes; rank 0 writes what came of it."""
    from trainer.runtime import device as devices

    ready = devices.prepare(local_rank=0, threads=1, deterministic=True)
    told = [_group(group, ready, Path(plan_path).with_name(f"group-{number}")) for number, group in enumerate(json.loads(Path(plan_path).read_text()))]
    if int(os.environ["RANK"]) == 0:
        Path(plan_path).with_name("out.json").write_text(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)


def _group(group: dict[str, Any], ready: Any, directory: Path) -> list[dict[str, Any]]:
    directory.mkdir(exist_ok=True)
    whole: dict[str, Any] = {}
    told = []
    for number, (one, other) in enumerate(group["pairs"]):
        kept = directory / f"ck-{[first for first, _ in group['pairs']].index(one)}"
        if one not in whole:
            whole[one] = _world(group, one, ready, directory / f"a-{number}", kept, save=True)
        resumed: Any = _world(group, other, ready, directory / f"b-{number}", kept, save=False)
        if int(os.environ["RANK"]) == 0:
            told.append({"whole": whole[one][0], "resumed": resumed[0], "same state": whole[one][1] == resumed[1] is not None})
    return told


def _spec(group: dict[str, Any], name: str, directory: Path) -> JobSpec:
    ranks, cut = LAYOUTS[name]
    return from_mapping({
        "run": {"name": "resumed"}, "paths": {"work": "."}, "fleet": {"nodes": ["here"], "npus_per_node": ranks},
        "model": group["model"], "parallel": cut, "checkpoint": {"dir": str(directory)},
        "train": {"iterations": BEFORE + AFTER, "global_batch_size": 8, "seq_length": 32, "learning_rate": 2e-3, "precision": group.get("precision", "fp32")},
    })


def _world(group: dict[str, Any], name: str, ready: Any, meeting: Path, directory: Path, *, save: bool) -> Any:
    """[losses of the steps after the checkpoint, hash of the state]; None on a rank that has no part in it."""
    spec = _spec(group, name, directory)
    ranks = spec.fleet.npus_per_node
    if int(os.environ["RANK"]) >= ranks:
        return None
    os.environ["WORLD_SIZE"] = str(ranks)
    return layouts.apart(lambda: _lived(spec, ready, meeting, directory, save))


def _lived(spec: JobSpec, ready: Any, meeting: Path, directory: Path, save: bool) -> tuple[list[float], str | None]:
    import torch.distributed as dist

    from trainer.runtime.train import process_group

    with process_group(spec, ready, store=dist.FileStore(str(meeting), spec.fleet.npus_per_node)):
        from trainer.runtime import batches, fingerprint, start
        from trainer.runtime.checkpoint import Checkpoints, Position
        from trainer.runtime.step import Step
        from trainer.runtime.train import _layout

        checkpoints = Checkpoints(str(directory), layout=_layout(spec))
        checkpoints.open()
        modules, optimizer, position = start.state(spec, ready.name, checkpoints)
        assert position.iteration == (0 if save else BEFORE), position
        step = Step(spec, ready.name, batches.source_of(spec), modules, optimizer)
        losses = []
        for iteration in range(position.iteration + 1, BEFORE + AFTER + 1):
            losses.append(step(iteration, (iteration - 1) * 8, judge=lambda loss, norm: "").loss)
            if save and iteration == BEFORE:
                checkpoints.save(modules, optimizer, Position(iteration=BEFORE, consumed_samples=BEFORE * 8))
        return losses[-AFTER:], fingerprint.state_sha256(modules, optimizer)
