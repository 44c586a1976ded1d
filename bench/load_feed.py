"""What the load's screens are fed with: 128 nodes of 8 NPUs, every value new once a second, and a log of 10,000 lines a second.

It comes by threads as links bring it: one makes it, and where a history is kept another hands it on in batches and writes
it to the store's file, as the console's own delivery does; the screen folds in what was stored.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from console.core.events import Answer, FleetEvent, LaunchProgress, LinkChanged, LogLines, News, RecordArrived
from console.core.fleet.state import FleetState, apply
from console.remote.delivery import Delivery
from console.store import LogRing, Store

NODES, DEVICES = 128, 8
LINES_S = 10_000
ARRIVAL_S = 0.02
"""Between two messages of a link."""
JOB, ATTEMPT = "bench", "20261122T050000Z-0001"
LOG = ("node000", "/w/launcher.log")


def node_name(number: int) -> str:
    """The node of that number, from 0."""
    return f"node{number:03d}"


class SystemClock:
    """``console.core.clock.Clock``; ``ahead`` is what somebody let go by at once."""

    ahead = 0.0

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.ahead  # noqa: TID251  a real clock is what this is

    def mono_s(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()


class Readings:
    """Values that nobody has seen before, made cheaply: an hour of them is half a million readings."""

    def __init__(self) -> None:
        rng = random.Random(1)
        self._shares = [rng.randrange(100) for _ in range(4099)]
        self._at = 0

    def _new(self, low: float, span: float) -> list[float]:
        self._at = (self._at + DEVICES) % (len(self._shares) - DEVICES)
        return [low + span * share for share in self._shares[self._at : self._at + DEVICES]]

    def columns(self) -> dict[str, list[object]]:
        """One node's readings, all of them its own."""
        return {"npu_id": list(range(DEVICES)), "chip_id": [0] * DEVICES, "health": ["OK"] * DEVICES, "aicore_pct": [*map(int, self._new(0, 1))],
                "temperature_c": [*map(int, self._new(30, 0.6))], "power_w": [*self._new(90.0, 2.9)], "hbm_used_mb": [*map(int, self._new(300, 655))],
                "hbm_total_mb": [65536] * DEVICES}


class _Memory:
    """A store without a file, for a widget on its own."""

    def __init__(self) -> None:
        self.state, self.logs = FleetState(), {LOG: LogRing()}
        self._pending: deque[FleetEvent] = deque()

    def ingest(self, events: Sequence[FleetEvent]) -> None:
        """Take events."""
        self._pending.extend(events)

    def drain(self, most: int = 0) -> bool:
        """Fold them in."""
        count = min(most or len(self._pending), len(self._pending))
        for _ in range(count):
            event = self._pending.popleft()
            if isinstance(event, LogLines):
                self.logs[LOG].add(event)
            self.state = apply(self.state, event)
        return count > 0


class LoadFeed:
    """``console.tui.feed.Feed``. ``start`` lets things arrive; with ``hour`` a second of the fleet's goes by at every look.

    ``history``: the file that all of it is written to; None: it is kept in memory alone.
    """

    def __init__(self, clock: SystemClock, *, fleet: bool, log: bool, hour: bool = False, history: Path | None = None) -> None:
        self.clock, self._fleet, self._log, self._hour = clock, fleet, log, hour
        self._store: Store | _Memory = _Memory() if history is None else Store(history, "bench")
        self._delivery = Delivery(self._store.ingest)
        self._readings, self._number, self._seq = Readings(), 0, 1
        self.seconds = 0
        self._given = False
        now = clock.wall_s()
        self._store.ingest([
            *(LinkChanged(node=node_name(number), at=now, state="up", rtt_s=0.01) for number in range(NODES)),
            LaunchProgress(job=JOB, attempt=ATTEMPT, node=LOG[0], phase="start", state="done", at=now),
            RecordArrived(node=LOG[0], spool_id="s", seq=1, kind="job", key="a", time=now, at=now,
                          data={"job": JOB, "attempt": ATTEMPT, "dir": "/w", "state": "running", "node_index": 0}),
            *self._sample()])
        self._store.drain()

    @property
    def state(self) -> FleetState:
        """The newest state."""
        return self._store.state

    @property
    def logs(self) -> Mapping[tuple[str, str], LogRing]:
        """The one log."""
        return self._store.logs

    def start(self) -> None:
        """Let the links bring something from now on."""
        self._delivery.start()
        threading.Thread(target=self._bring, daemon=True).start()

    def _bring(self) -> None:
        began = time.monotonic()
        sampled = 0
        while True:
            time.sleep(ARRIVAL_S)
            past = time.monotonic() - began
            if self._fleet and not self._hour and int(past) > sampled:
                sampled = int(past)
                for event in self._sample():
                    self._delivery.put(event.node, [event])
            if self._log:
                self._delivery.put(LOG[0], [self._lines(int(past * LINES_S) - self._number)])

    def _sample(self) -> list[RecordArrived]:
        self._seq += 1
        now = self.clock.wall_s()
        return [RecordArrived(node=node_name(number), spool_id="s", seq=self._seq, kind="sample", key=None, time=now, at=now,
                              data={"columns": self._readings.columns(), "complete": True}) for number in range(NODES)]

    def _lines(self, count: int) -> LogLines:
        text = tuple(f" [2026-11-22 05:10:01.{at % 1000:03d}] worker line {at:9d} | elapsed time per iteration (ms): 123.4 | grad norm: 1.234 | padded to a usual length"
                     for at in range(self._number, self._number + count))
        self._number += count
        return LogLines(node=LOG[0], path=LOG[1], file_id="f", offset=self._number * 130, next_offset=self._number * 130 + 1, size=self._number * 130 + 1,
                        lines=text, at=self.clock.wall_s())

    def drain(self, most: int = 0) -> bool:
        """Fold in what arrived."""
        if self._hour and not self._given:
            self.clock.ahead += 1.0
            self.seconds += 1
            self._store.ingest(self._sample())
        self._given = self._store.drain(most)
        return self._given

    def answers(self) -> Sequence[Answer | News]:
        """None."""
        return ()
