"""What ``bench.load`` runs on a terminal: ``python -m bench.load_screen console|log|grid|bare [--hour]``.

One feed for all of them: 128 nodes of 8 NPUs, every value new once a second, and a log of 10,000 lines a second, brought by
a thread of its own as links bring it. ``log`` and ``grid`` are an application with that one widget and its half of the feed,
``bare`` one without a feed. With ``--hour`` an hour of the fleet goes by as fast as the console takes it in, each second of it
drawn, and the process then says how much memory it has.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widgets import Static

from console.core.events import Answer, FleetEvent, LaunchProgress, LinkChanged, LogLines, News, RecordArrived
from console.core.fleet.state import FleetState, apply
from console.store.ring import LogRing

NODES, DEVICES = 128, 8
LINES_S = 10_000
ARRIVAL_S = 0.02
"""Between two messages of a link."""
HOUR_S = 3600
JOB, ATTEMPT = "bench", "20261122T050000Z-0001"
LOG = ("node000", "/w/launcher.log")


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


class LoadFeed:
    """``console.tui.feed.Feed``; ``start`` lets things arrive, ``hour`` makes a second of the fleet's go by at every look."""

    def __init__(self, clock: SystemClock, *, fleet: bool, log: bool, hour: bool = False) -> None:
        self.clock, self._fleet, self._log, self._hour = clock, fleet, log, hour
        self.state = FleetState()
        self.logs: dict[tuple[str, str], LogRing] = {LOG: LogRing()}
        self._pending: deque[FleetEvent] = deque()
        self._readings, self._number, self._seq = Readings(), 0, 0
        self.seconds = 0
        self._given = False
        now = clock.wall_s()
        for number in range(NODES):
            self._pending.append(LinkChanged(node=f"node{number:03d}", at=now, state="up", rtt_s=0.01))
        self._pending.append(LaunchProgress(job=JOB, attempt=ATTEMPT, node="node000", phase="start", state="done", at=now))
        self._pending.append(RecordArrived(node="node000", spool_id="s", seq=1, kind="job", key="a", time=now, at=now, data={
            "job": JOB, "attempt": ATTEMPT, "dir": "/w", "state": "running", "node_index": 0}))
        self._sample()
        self.drain()

    def start(self) -> None:
        """Let the links bring something from now on."""
        threading.Thread(target=self._bring, daemon=True).start()

    def _bring(self) -> None:
        began = time.monotonic()
        while True:
            time.sleep(ARRIVAL_S)
            past = time.monotonic() - began
            if self._fleet and not self._hour and int(past) > self._seq - 1:
                self._sample()
            if self._log:
                self._lines(int(past * LINES_S) - self._number)

    def _sample(self) -> None:
        self._seq += 1
        now = self.clock.wall_s()
        self._pending.extend(RecordArrived(node=f"node{number:03d}", spool_id="s", seq=self._seq, kind="sample", key=None, time=now, at=now,
                                           data={"columns": self._readings.columns(), "complete": True}) for number in range(NODES))

    def _lines(self, count: int) -> None:
        text = tuple(f" [2026-11-22 05:10:01.{at % 1000:03d}] worker line {at:9d} | elapsed time per iteration (ms): 123.4 | grad norm: 1.234 | padded to a usual length"
                     for at in range(self._number, self._number + count))
        self._number += count
        self._pending.append(LogLines(node=LOG[0], path=LOG[1], file_id="f", offset=self._number * 130, next_offset=self._number * 130 + 1, size=self._number * 130 + 1,
                                      lines=text, at=self.clock.wall_s()))

    def drain(self, most: int = 0) -> bool:
        """Fold in what arrived."""
        if self._hour and not self._given:
            self.clock.ahead += 1.0
            self.seconds += 1
            self._sample()
        count = min(most or len(self._pending), len(self._pending))
        for _ in range(count):
            event = self._pending.popleft()
            if isinstance(event, LogLines):
                self.logs[LOG].add(event)
            self.state = apply(self.state, event)
        self._given = count > 0
        return count > 0

    def answers(self) -> Sequence[Answer | News]:
        """None."""
        return ()


class Bare(App[None]):
    """An application that shows what is typed, at the bottom as the console does."""

    def __init__(self) -> None:
        super().__init__()
        self._typed = ":"

    def compose(self) -> ComposeResult:
        yield Static(self._typed, markup=False)

    CSS = "Static { dock: bottom; width: 100%; height: 1; }"

    def on_key(self, event: Key) -> None:
        """Show the key."""
        self._typed += event.character or ""
        self.query_one(Static).update(self._typed, layout=False)  # a line's repaint, as in the console


def alone(pane: str, feed: LoadFeed, clock: SystemClock) -> App[None]:
    """An application with that one pane, drawn at the console's rate."""
    from console.tui import panes

    class Alone(App[None]):
        CSS = ".pane { height: 1fr; }"

        def compose(self) -> ComposeResult:
            self.pane = panes.make(pane, feed)
            yield self.pane

        def on_mount(self) -> None:
            self.set_interval(0.1, self.tick)

        def tick(self) -> None:
            if feed.drain():
                self.pane.show(feed.state, clock.wall_s())

    return Alone()


def main() -> None:
    """Run the one that was asked for until the terminal goes away, or the hour is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["console", "log", "grid", "bare"])
    parser.add_argument("--hour", action="store_true")
    options = parser.parse_args()
    clock = SystemClock()
    if options.what == "bare":
        Bare().run(mouse=False)
        return
    feed = LoadFeed(clock, fleet=options.what != "log", log=options.what != "grid", hour=options.hour)
    feed.start()
    if options.what != "console":
        alone({"log": "logs", "grid": "fleet-grid"}[options.what], feed, clock).run(mouse=False)
        return
    from console.core.layout import Box, LayoutSpec
    from console.tui.app import Options, run

    layout = LayoutSpec(name="bench", root=Box(children=(Box(pane="fleet-grid", size="1fr"), Box(pane="logs", size="1fr"))))
    if options.hour:
        from console.tui import slices

        slices.SLICE_S = 1.0  # nobody types

        def tell() -> None:
            while feed.seconds < HOUR_S:
                time.sleep(0.1)
            now = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
            os.write(2, f"\nMEMORY {now:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} END\n".encode())

        threading.Thread(target=tell, daemon=True).start()
    # A look at every second of the hour: the console keeps one state a second for the time cursor.
    run(feed, lambda wish: None, clock, layout, options=Options(fps=1000.0 if options.hour else 10.0))


if __name__ == "__main__":
    main()
