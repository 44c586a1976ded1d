"""``python -m trainer layouts``: the same few steps under several layouts, losses and gradient norms side by side.

Four processes are started once, and a child of each takes part in one world after another (1, 2 or 4 of
them), on CPU and gloo. Every layout starts from the same parameters and sees the same samples, so what differs is rounding:
TOLERANCE is what is allowed, relative to the single process.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.runtime import device as devices
from trainer.runtime.train import process_group
from trainer.spec.job import JobSpec, from_mapping

TOLERANCE = 2e-5
"""Relative, in fp32, over STEPS steps: sums of some thousand products in another order differ by about 1e-6."""

STEPS = 6

LAYOUTS: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "single": (1, {}, {}),
    "TP2": (2, {"tensor_model_parallel_size": 2}, {}),
    "PP2": (2, {"pipeline_model_parallel_size": 2}, {}),
    "CP2": (2, {"context_parallel_size": 2}, {}),
    "DP2": (2, {}, {}),
    "TP2 x PP2": (4, {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}, {}),
    "TP2 x DP2 + SP": (4, {"tensor_model_parallel_size": 2, "sequence_parallel": True}, {}),
    "TP2 with SP": (2, {"tensor_model_parallel_size": 2, "sequence_parallel": True}, {}),
    "PP2 interleaved": (2, {"pipeline_model_parallel_size": 2, "virtual_pipeline_model_parallel_size": 2}, {}),
    "CP2 x DP2": (4, {"context_parallel_size": 2}, {}),
    "CP2 x TP2 + SP": (4, {"context_parallel_size": 2, "tensor_model_parallel_size": 2, "sequence_parallel": True}, {}),
    "full recompute": (1, {"recompute": "full"}, {}),
}
"""Name -> (processes, parallel block, model block on top of MODEL)."""

MODEL: dict[str, Any] = {"num_layers": 4, "hidden_size": 64, "ffn_hidden_size": 128, "num_query_groups": 2, "add_qkv_bias": True, "qk_layernorm": True, "untie_embeddings_and_output_weights": False}
"""Every part that a layout could get wrong: grouped queries, biases, norms of Q and K, tied embeddings."""

MIXTURE: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "mixture, single": (1, {}, {"num_experts": 4}),
    "mixture, DP2": (2, {}, {"num_experts": 4}),
    "mixture, EP2": (2, {"expert_model_parallel_size": 2}, {"num_experts": 4}),
    "mixture, CP2": (2, {"context_parallel_size": 2}, {"num_experts": 4}),
    "mixture, EP2 x PP2": (4, {"expert_model_parallel_size": 2, "pipeline_model_parallel_size": 2}, {"num_experts": 4}),
    "mixture, EP2 x TP2 + SP": (4, {"expert_model_parallel_size": 2, "tensor_model_parallel_size": 2, "sequence_parallel": True}, {"num_experts": 4}),
}
"""Another model, so these are compared with each other."""

HALF: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {f"bf16, {name}": LAYOUTS[name] for name in (
    "single", "TP2", "PP2", "CP2", "DP2", "TP2 x PP2", "TP2 x DP2 + SP", "PP2 interleaved")}
"""In bf16, compared with each other."""

HALF_TOLERANCE = 5e-3
"""Relative, of bf16: its numbers are 0.4 to 0.8% apart (8 bits of mantissa), and a layout rounds sums in other places."""

ALL = {**LAYOUTS, **MIXTURE, **HALF}

_COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); from trainer.runtime.layouts import work; work(sys.argv[2])"


def spec_of(name: str, *, mode: str = "pretrain", steps: int = STEPS) -> JobSpec:
    """The job of a layout."""
    ranks, cut, shape = ALL[name]
    return from_mapping({
        "run": {"name": "layouts", "mode": mode}, "paths": {"work": "."}, "fleet": {"nodes": ["here"], "npus_per_node": ranks},
        "model": {**MODEL, **shape}, "parallel": cut, "checkpoint": {"dir": "."},
        "train": {"iterations": steps, "global_batch_size": 8, "micro_batch_size": 1, "seq_length": 32, "learning_rate": 2e-3,
                  "precision": "bf16" if name in HALF else "fp32"},
    })


def measure(names: list[str], *, mode: str = "pretrain", steps: int = STEPS, timeout_s: float = 600.0) -> dict[str, list[tuple[float, float]]]:
    """(loss, gradient norm) of every step of each layout. Raises RuntimeError with the output of what failed."""
    told = measure_modes([(mode, name) for name in names], steps=steps, timeout_s=timeout_s)
    return {name: told[mode, name] for name in names}


def measure_modes(wanted: list[tuple[str, str]], *, steps: int = STEPS, timeout_s: float = 600.0) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """As ``measure``, of layouts each in a mode of its own: (mode, name). Raises RuntimeError."""
    with tempfile.TemporaryDirectory(prefix="rankdeck-layouts-") as directory:
        plan = Path(directory) / "plan.json"
        plan.write_text(json.dumps({"layouts": wanted, "steps": steps, "out": str(Path(directory) / "out.json")}))
        together(_COMMAND, plan, max(ALL[name][0] for _, name in wanted), timeout_s=timeout_s)
        found = json.loads((Path(directory) / "out.json").read_text())
        return {which: [(loss, norm) for loss, norm in pairs] for which, pairs in zip(wanted, found, strict=True)}


def together(command: str, plan: Path, count: int, *, timeout_s: float) -> None:
    """Run Python code in ``count`` processes at once, with RANK set; its arguments are where ``trainer`` is, and the plan.

    Logs go beside the plan. Raises RuntimeError with the output of what failed.
    """
    above = str(Path(__file__).resolve().parents[2])
    ranks = []
    for rank in range(count):
        with plan.with_name(f"log-{rank}").open("wb") as log:
            environ = {**os.environ, "RANK": str(rank), "RANKDECK_DEVICE": "cpu"}
            ranks.append(subprocess.Popen([sys.executable, "-c", command, above, str(plan)], env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True))
    limit = time.monotonic() + timeout_s
    try:
        # One that fails leaves the others waiting for it.
        while any(process.poll() is None for process in ranks) and not any(process.poll() for process in ranks) and time.monotonic() < limit:
            time.sleep(0.1)
    finally:
        for process in ranks:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failed = [rank for rank, process in enumerate(ranks) if process.returncode]
    if failed:
        raise RuntimeError("\n".join(plan.with_name(f"log-{rank}").read_text("utf-8", "replace")[-4000:] for rank in failed))


def apart(world: Callable[[], Any]) -> Any:
    """What a world comes to (of JSON), lived through in a child of this process; ends this process when that fails.

    megatron-core keeps the groups of a world that has ended, and gloo a polling thread for each: after twenty
    worlds in one process these take more of the processor than the twenty-first. The child has what was imported.
    """
    hear, tell = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(hear)
            with os.fdopen(tell, "w") as answer:
                json.dump(world(), answer)
            status = 0
        except BaseException:  # noqa: BLE001  # told in the log, and by the status
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(tell)
    with os.fdopen(hear) as answer:
        told = answer.read()
    _, ended = os.waitpid(child, 0)
    if ended:
        os._exit(1)
    return json.loads(told)


def work(plan_path: str) -> None:
    """One of the processes: take part in every world that it belongs to. Rank 0 writes what was measured."""
    plan = json.loads(Path(plan_path).read_text())
    rank = int(os.environ["RANK"])
    ready = devices.prepare(local_rank=rank, threads=1, deterministic=True)
    measured = []
    for number, (mode, name) in enumerate(plan["layouts"]):
        spec = spec_of(name, mode=mode, steps=plan["steps"])
        if rank >= spec.fleet.npus_per_node:
            continue
        os.environ["WORLD_SIZE"] = str(spec.fleet.npus_per_node)
        # A file, as a port that was free a minute ago need not be free now.
        measured.append(apart(lambda spec=spec, number=number: _steps(spec, ready, plan["steps"], Path(plan_path).with_name(f"store-{number}"))))  # type: ignore[misc]
    if rank == 0:
        Path(plan["out"]).write_text(json.dumps(measured))
    sys.stdout.flush()
    os._exit(0)


def _steps(spec: JobSpec, ready: devices.Device, steps: int, meeting: Path) -> list[tuple[float, float]]:
    import torch.distributed as dist

    with process_group(spec, ready, store=dist.FileStore(str(meeting), spec.fleet.npus_per_node)):
        from trainer.runtime import batches, lora, model
        from trainer.runtime.step import Step

        chunks = model.bare(spec, ready.name)
        if spec.run.mode == "lora":
            lora.attach(chunks, spec.model.peft, seed=spec.run.seed)
        modules, optimizer = model.wrap(spec, chunks, ready.name)
        step = Step(spec, ready.name, batches.source_of(spec), modules, optimizer)
        outcomes = [step(number + 1, number * spec.train.global_batch_size, judge=lambda loss, norm: "") for number in range(steps)]
        return [(outcome.loss, outcome.grad_norm) for outcome in outcomes]


def table(measured: dict[str, list[tuple[float, float]]]) -> str:
    """The measurements as a Markdown table: first and last step, and the largest relative difference."""
    first = next(iter(measured))
    lines = ["| layout | loss, first | loss, last | grad norm, first | grad norm, last | largest difference |", "|---|---|---|---|---|---|"]
    for name, pairs in measured.items():
        lines.append(
            f"| {name} | {pairs[0][0]:.6f} | {pairs[-1][0]:.6f} | {pairs[0][1]:.6f} | {pairs[-1][1]:.6f} | "
            + ("" if name == first else f"{difference(measured[first], pairs):.1e} of {first}") + " |")
    return "\n".join(lines)


def difference(one: list[tuple[float, float]], other: list[tuple[float, float]]) -> float:
    """The largest relative difference of a loss or gradient norm."""
    return max(abs(a - b) / max(abs(a), 1e-12) for pair, with_ in zip(one, other, strict=True) for a, b in zip(pair, with_, strict=True))


def arguments(parser: argparse.ArgumentParser) -> None:
    """None: the layouts are those of LAYOUTS, MIXTURE and HALF."""


def command(_: argparse.Namespace) -> int:
    """Print the tables; 0 when every layout is within its tolerance of the first of its table, else 1."""
    measured = measure(list(ALL))
    within = True
    for told, names, tolerance in (("fp32", LAYOUTS, TOLERANCE), ("fp32, a mixture of experts", MIXTURE, TOLERANCE), ("bf16", HALF, HALF_TOLERANCE)):
        here = {name: measured[name] for name in names}
        first = next(iter(here))
        print(f"{STEPS} steps, {told}, CPU (gloo), tolerance {tolerance:g} of {first}\n\n{table(here)}\n", flush=True)
        within = within and all(difference(here[first], pairs) <= tolerance for pairs in here.values())
    print("all within the tolerance" if within else "NOT all within the tolerance")
    return 0 if within else 1
