"""The plan of a job on 64 nodes in containers: worked out, and as the whole command."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.result import Ratio, Result, Samples

NODES = 64
LIMIT_S = 0.5
"""Issue "Launch for real": 64 nodes, plan under 0.5 s."""

JOB = """\
defaults: [hardware: ascend-a2-8, recipe: qwen-14b]
run: {name: many, mode: lora}
paths: {work: /home/ma-user/ws}
fleet: {nodes: [NAMES], nic: bond0}
container: {runtime: docker, image: "registry.example/pytorch:2.1"}
runner: {kind: env-script, entry: scripts/qwen/qwen.sh, workdir: "${paths.work}/llm_train/AscendSpeed"}
model: {tokenizer: "${paths.work}/tokenizers/Qwen-14B"}
train: {iterations: 300, global_batch_size: 256, micro_batch_size: 4}
data: {format: megatron-bin, prefix: "${paths.work}/data/alpaca_ft"}
checkpoint: {dir: "${paths.work}/out", interval: 100, load_dir: "${paths.work}/weights"}
"""


def run(rounds: int) -> Result:
    """In this process: from typed job and fleet to the printed plan. As a command: from the shell to the last byte."""
    from console import files
    from console.core.launch.plan import make_plan, plan_text

    worked: list[float] = []
    whole: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        job_path, fleet_path = Path(directory, "job.yaml"), Path(directory, "fleet.yaml")
        job_path.write_text(JOB.replace("NAMES", ", ".join(f"node{at:03d}" for at in range(NODES))))
        fleet_path.write_text(f'nodes: [{{name: "node[000-{NODES - 1:03d}]", host: "10.0.0.[1-{NODES}]"}}]\n')
        for _ in range(rounds):
            job, fleet = files.read_job(str(job_path)), files.read_fleet(str(fleet_path))
            begin = time.perf_counter()
            plan = make_plan(job.spec, fleet, "20261122T051001Z-1a2b", job.locate)
            plan_text(plan)
            worked.append(time.perf_counter() - begin)
            assert plan.ok and len(plan.nodes) == NODES
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "console", "plan", str(job_path), "-i", str(fleet_path)], check=True, stdout=subprocess.DEVNULL)
            whole.append(time.perf_counter() - begin)
    return Result(samples=(Samples(name="plan worked out and printed", unit="s", values=tuple(worked)), Samples(name="rankdeck plan, whole", unit="s", values=tuple(whole))),
                  ratios=(Ratio(name="worked out, of the limit", values=tuple(value / LIMIT_S for value in worked), at_most=1.0),
                          Ratio(name="whole command, of the limit", values=tuple(value / LIMIT_S for value in whole), at_most=1.0)),
                  notes=(f"{NODES} nodes, containers, env-script; interpolation in every path",))
