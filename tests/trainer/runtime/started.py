"""Trainers as they are really started: processes by script path, alone or under torchrun agents."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.lab.ports import free_port
from tests.trainer.spec.test_arithmetic import job

SPEC = job(1, 1, train={"iterations": 5, "global_batch_size": 2, "seq_length": 16})
"""Of the world of one rank within the test's own process."""

ENTRY = Path(__file__).resolve().parents[3] / "trainer" / "__main__.py"
START_LIMIT_S = 300.0
"""How long a trainer on a busy machine may take for anything a test waits for."""

_ITERATION = re.compile(r"iteration +(\d+)/.*\| lm loss: (\S+) \|")


@dataclass
class Run:
    """One trainer or one torchrun agent: a process group of its own, its output in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def finish(self) -> int:
        return self.process.wait(START_LIMIT_S)


@dataclass
class Trainers:
    """Starts trainers in a directory and ends what is left of them."""

    directory: Path
    runs: list[Run] = field(default_factory=list)

    def job(self, *, nodes: int = 1, npus: int = 1, **blocks: dict[str, Any]) -> Path:
        """Write job.json of a quick job; blocks are merged in. Every call writes another file."""
        mapping: dict[str, Any] = {
            "run": {"name": "quick"},
            "paths": {"work": str(self.directory)},
            "fleet": {"nodes": [f"n{n}" for n in range(nodes)], "npus_per_node": npus},
            "train": {"iterations": 40, "global_batch_size": 4, "seq_length": 32},
            "checkpoint": {"dir": str(self.directory / "ck"), "interval": 10},
        }
        for name, block in blocks.items():
            mapping[name] = {**mapping.get(name, {}), **block}
        path = self.directory / f"job-{len(list(self.directory.glob('job-*')))}.json"
        path.write_text(json.dumps(mapping))
        return path

    def start(self, argv: list[str], **environ: str) -> Run:
        log = self.directory / f"log-{len(self.runs)}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                argv, cwd=self.directory, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "RANKDECK_DEVICE": "cpu", **environ},
            )
        self.runs.append(Run(process, log))
        return self.runs[-1]

    def alone(self, job: Path, **environ: str) -> Run:
        return self.start([sys.executable, str(ENTRY), "train", "--job", str(job)], **environ)

    def ranks(self, job: Path, world_size: int) -> list[Run]:
        """The ranks of one node without a torchrun above them, which is quicker."""
        port = str(free_port("127.0.0.1"))
        return [
            self.alone(job, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
            for rank in range(world_size)
        ]

    def agents(self, job: Path, *, nodes: int, npus: int = 1, restarts: int = 3, **environ: str) -> list[Run]:
        """torchrun as command.sh starts it: one agent a node, on loopback."""
        port = free_port("127.0.1.1")
        torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={nodes}", f"--nproc-per-node={npus}",
                    f"--max-restarts={restarts}", "--monitor-interval=0.5", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.1.1:{port}",
                    "--rdzv-id=attempt", "--rdzv-conf=join_timeout=90"]
        worker = ["--no-python", sys.executable, str(ENTRY), "train", "--job", str(job)]
        return [
            self.start([*torchrun, f"--local-addr=127.0.1.{node + 1}", *worker], TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1", **environ)
            for node in range(nodes)
        ]

    def end(self) -> None:
        for run in self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()


def losses(*runs: Run) -> dict[int, set[str]]:
    """Iteration -> the losses printed for it, over all logs."""
    found: dict[int, set[str]] = {}
    for run in runs:
        for iteration, loss in _ITERATION.findall(run.text):
            found.setdefault(int(iteration), set()).add(loss)
    return found


def final(*runs: Run) -> dict[str, Any]:
    """What the last line of a finished run says."""
    (line,) = [line for run in runs for line in run.text.splitlines() if line.startswith("training ended: ")]
    return dict(json.loads(line.partition(": ")[2]))


def wait_for(condition: Callable[[], Any], *, of: list[Run]) -> Any:
    """What the condition returns once it is true. Fails, with the logs, when a run ends or time is up before."""
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if value := condition():
            return value
        if any(run.process.poll() is not None for run in of):
            break
        time.sleep(0.05)
    value = condition()
    assert value, "\n".join(run.text[-3000:] for run in of)
    return value


def worker_of(run: Run) -> int:
    """The pid of the (first) trainer that a torchrun agent has running. Fails when there is none."""
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
    for pid in children:
        try:
            if str(ENTRY).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        except OSError:
            continue
    raise AssertionError(run.text[-3000:])


@dataclass
class Reference:
    """A run that nothing interrupted, and its checkpoints."""

    losses: dict[int, set[str]]
    final: dict[str, Any]
    checkpoints: Path


def uninterrupted(directory: Path, world_size: int) -> Reference:
    """The quick job from its first to its last iteration on that many ranks of one node."""
    made = Trainers(directory)
    try:
        runs = made.ranks(made.job(npus=world_size), world_size)
        assert [run.finish() for run in runs] == [0] * world_size, runs[0].text
        return Reference(losses(*runs), final(*runs), directory / "ck")
    finally:
        made.end()
