"""The fault injector: makes incidents on a demo fleet, from outside, as bad luck would.

It reads log files and /proc of the simulated nodes by itself. Neither it nor what it did is known to the
console's core, store, remote or screen (they cannot import this package), so what these say about an
incident they found out from the agents' records.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.core import i18n
from console.lab import npu_sim
from console.lab.fleet import DemoFleet, UsageError

READY = ("rank-killed",)
"""Faults that can be made now."""
PLANNED = ("npu-lost", "hbm-ecc", "link-down", "hang", "nan", "disk-full", "node-gone", "slow-node")
"""Faults of the design that are still to come."""
RANDOM = "random"
POLL_S = 0.05

# " [2026-11-22 05:10:01.123456] iteration       10/      60 | consumed samples: ..." (Megatron-LM's training log)
_ITERATION = re.compile(rb"\] iteration +([0-9]+)/ *[0-9]+ \|")


class FaultError(UsageError):
    """A ``--fault`` that cannot be meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault to make. Exactly one of ``iteration`` and ``after_s`` is set."""

    name: str
    iteration: int | None = None
    """When this iteration is seen in a log."""
    after_s: float | None = None
    """So long after the injector started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """What was done, to whom: truth that only the demo knows."""

    fault: Fault
    at: float
    """Wall clock, s."""
    node: str
    rank: int
    local_rank: int
    pid: int
    iteration: int
    """The newest in the logs at that moment; 0: none yet."""

    def mapping(self) -> dict[str, Any]:
        """For the JSON document."""
        return {"name": self.fault.name, "node": self.node, "rank": self.rank, "local_rank": self.local_rank,
                "pid": self.pid, "iteration": self.iteration, "time": self.at}


def parse(text: str, *, rng: random.Random, iterations: int, save_interval: int) -> Fault:
    """The fault that ``NAME@20``, ``NAME@30s`` or ``random`` means. Raises FaultError.

    ``random`` falls behind the first checkpoint and well before the end, so that there is something to
    resume from and something left to do.
    """
    if text == RANDOM:
        first = min(max(2, save_interval + 1), max(1, iterations - 1))
        last = max(first, iterations * 3 // 4)
        return Fault(name=rng.choice(READY), iteration=rng.randint(first, last))
    name, at, when = text.partition("@")
    if name in PLANNED:
        raise FaultError(f"the fault {name} is not there yet", where="--fault", got=text, expected=" or ".join((*READY, RANDOM)),
                         fix="It comes with a later version; rank-killed@20 can be tried now")
    if name not in READY:
        raise FaultError("no such fault", where="--fault", got=text, expected=", ".join((*READY, RANDOM)))
    found = re.fullmatch(r"([0-9]+)|([0-9]+(?:\.[0-9]+)?)s", when)
    if not at or found is None:
        raise FaultError("when should it happen?", where="--fault", got=text, expected=f"{name}@20 (iteration) or {name}@30s (time)")
    if found.group(1) is None:
        return Fault(name=name, after_s=float(found.group(2)))
    if not 1 <= int(found.group(1)) < iterations:
        raise FaultError("the job never gets to this iteration with something left to do", where="--fault", got=text,
                         expected=f"{name}@1 to {name}@{iterations - 1}", fix="Name an earlier one, or raise --iterations")
    return Fault(name=name, iteration=int(found.group(1)))


@dataclass(slots=True)
class LogWatch:
    """The newest iteration in a job's log files, each byte read once."""

    work_dir: Path
    job: str
    newest: int = 0
    _offsets: dict[Path, int] = field(default_factory=dict)

    def look(self) -> int:
        """Read what was added; the newest iteration ever seen, 0 before the first."""
        for path in (self.work_dir / ".rankdeck" / self.job).glob("*/*/round-*/local_rank-*.log"):
            offset = self._offsets.get(path, 0)
            with path.open("rb") as file:
                file.seek(offset)
                added = file.read()
            whole = added.rfind(b"\n") + 1
            self._offsets[path] = offset + whole
            for found in _ITERATION.finditer(added[:whole]):
                self.newest = max(self.newest, int(found.group(1)))
        return self.newest


class Injector(threading.Thread):
    """Makes the faults, one after the other, in a thread of its own. ``done`` lists what was done."""

    def __init__(self, fleet: DemoFleet, job: str, faults: Sequence[Fault], rng: random.Random, *,
                 say: Callable[[str], None] = lambda text: None) -> None:
        super().__init__(name="fault-injector", daemon=True)
        self.done: list[Injected] = []
        self._fleet, self._faults, self._rng, self._say = fleet, list(faults), rng, say
        self._log = LogWatch(fleet.work_dir, job)
        self._over = threading.Event()

    def skip_past(self) -> None:
        """Before ``start``, on a job that runs already: drop the faults whose iteration is over."""
        seen = self._log.look()
        self._faults = [fault for fault in self._faults if fault.iteration is None or fault.iteration > seen]

    def stop(self) -> None:
        """Make no more faults; returns when the thread has ended."""
        self._over.set()
        if self.is_alive():
            self.join(5)

    def run(self) -> None:
        began = time.monotonic()
        waiting = list(self._faults)
        while waiting and not self._over.wait(POLL_S):
            seen = self._log.look()
            for fault in list(waiting):
                due = time.monotonic() - began >= fault.after_s if fault.after_s is not None else seen >= (fault.iteration or 0)
                if due and self._make(fault, seen):
                    waiting.remove(fault)

    def _make(self, fault: Fault, seen: int) -> bool:
        """Do it to a worker drawn at random; False while there is none to do it to."""
        found = [(node, worker) for node in self._nodes() for worker in npu_sim.workers_of(str(self._fleet.node_dir(node)))]
        if not found:
            return False
        # Drawn by place, not by pid, so that the same seed means the same victim.
        node, worker = self._rng.choice(sorted(found, key=lambda pair: (pair[0], pair[1].local_rank)))
        try:
            os.kill(worker.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.done.append(Injected(fault=fault, at=time.time(), node=node, rank=worker.rank,  # noqa: TID251 - an edge
                                  local_rank=worker.local_rank, pid=worker.pid, iteration=seen))
        self._say(i18n.say("fault {name}: killed a rank at iteration {n}", name=fault.name, n=seen))
        return True

    def _nodes(self) -> Iterable[str]:
        return sorted(path.name for path in (self._fleet.root / "nodes").iterdir())
