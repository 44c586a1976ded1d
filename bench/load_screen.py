"""What ``bench.load`` runs on a terminal: ``python -m bench.load_screen console|log|grid|bare [--hour S]``.

One feed for all of them: 128 nodes of 8 NPUs, every value new once a second, and a log of 10,000 lines a second.
``log`` and ``grid`` are an application with that one widget and its half of the feed, ``bare`` one without a feed.
With ``--hour S`` an hour of the feed goes by in S seconds, and the process then says how much memory it has.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from textual.app import App, ComposeResult
from textual.events import Key
from textual.widgets import Static

from console.core.events import Answer, LaunchProgress, LinkChanged, LogLines, News, RecordArrived
from console.core.fleet.state import FleetState, apply
from console.store.ring import LogRing

NODES, DEVICES = 128, 8
LINES_S = 10_000
JOB, ATTEMPT = "bench", "20261122T050000Z-0001"
LOG = ("node000", "/w/launcher.log")


class SystemClock:
    """``console.core.clock.Clock``, ``speed`` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed, self._wall, self._mono = speed, time.time(), time.monotonic()  # noqa: TID251  a real clock is what this is

    def wall_s(self) -> float:
        """Seconds since the epoch."""
        return self._wall + (self.mono_s() - self._mono)

    def mono_s(self) -> float:
        """Seconds since some moment."""
        return self._mono + (time.monotonic() - self._mono) * self._speed


def columns(rng: random.Random) -> dict[str, list[object]]:
    """One node's readings, all of them its own."""
    count = range(DEVICES)
    return {"npu_id": list(count), "chip_id": [0] * DEVICES, "health": ["OK"] * DEVICES, "aicore_pct": [rng.randrange(101) for _ in count],
            "temperature_c": [rng.randrange(30, 90) for _ in count], "power_w": [rng.uniform(90, 380) for _ in count],
            "hbm_used_mb": [rng.randrange(65536) for _ in count], "hbm_total_mb": [65536] * DEVICES}


class LoadFeed:
    """``console.tui.feed.Feed`` that makes what the fleet would have sent since the last call."""

    def __init__(self, clock: SystemClock, *, fleet: bool, log: bool) -> None:
        self.clock, self._fleet, self._log = clock, fleet, log
        self.state = FleetState()
        self.logs: dict[tuple[str, str], LogRing] = {LOG: LogRing()}
        self.answered: list[Answer | News] = []
        self._rng = random.Random(1)
        self._second, self._lines_at, self._number = int(clock.mono_s()), time.monotonic(), 0
        now = clock.wall_s()
        for number in range(NODES):
            self.state = apply(self.state, LinkChanged(node=f"node{number:03d}", at=now, state="up", rtt_s=0.01))
        self.state = apply(self.state, LaunchProgress(job=JOB, attempt=ATTEMPT, node="node000", phase="start", state="done", at=now))
        self.state = apply(self.state, RecordArrived(node="node000", spool_id="s", seq=1, kind="job", key="a", time=now, at=now, data={
            "job": JOB, "attempt": ATTEMPT, "dir": "/w", "state": "running", "node_index": 0}))
        self._sample()

    def _sample(self) -> None:
        now = self.clock.wall_s()
        for number in range(NODES):
            self.state = apply(self.state, RecordArrived(node=f"node{number:03d}", spool_id="s", seq=self._second, kind="sample", key=None, time=now, at=now,
                                                         data={"columns": columns(self._rng), "complete": True}))

    def drain(self, most: int = 0) -> bool:
        """Up to now."""
        changed, mono = False, self.clock.mono_s()
        while self._fleet and int(mono) > self._second:
            self._second += 1
            self._sample()
            changed = True
        # At its own rate in an accelerated hour too: what a log keeps is full after ten seconds.
        count = int((time.monotonic() - self._lines_at) * LINES_S) if self._log else 0
        if count:
            self._lines_at += count / LINES_S
            ring, text = self.logs[LOG], []
            for at in range(self._number, self._number + count):
                text.append(f" [2026-11-22 05:10:01.{at % 1000:03d}] worker line {at:9d} | elapsed time per iteration (ms): 123.4 | grad norm: 1.234 | padded to a usual length")
            self._number += count
            ring.add(LogLines(node=LOG[0], path=LOG[1], file_id="f", offset=self._number * 130, next_offset=self._number * 130 + 1, size=self._number * 130 + 1,
                              lines=tuple(text), at=self.clock.wall_s()))
            changed = True
        return changed

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

    def on_key(self, event: Key) -> None:
        """Show the key."""
        self._typed += event.character or ""
        self.query_one(Static).update(self._typed)


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
    parser.add_argument("--hour", type=float, default=0.0)
    options = parser.parse_args()
    clock = SystemClock(3600.0 / options.hour if options.hour else 1.0)
    if options.what == "bare":
        Bare().run(mouse=False)
        return
    feed = LoadFeed(clock, fleet=options.what != "log", log=options.what != "grid")
    if options.what != "console":
        alone({"log": "logs", "grid": "fleet-grid"}[options.what], feed, clock).run(mouse=False)
        return
    from console.core.layout import Box, LayoutSpec
    from console.tui.app import Options, run

    layout = LayoutSpec(name="bench", root=Box(children=(Box(pane="fleet-grid", size="1fr"), Box(pane="logs", size="1fr"))))
    if options.hour:
        import threading

        def tell() -> None:
            now = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
            os.write(2, f"\nMEMORY {now:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} END\n".encode())

        timer = threading.Timer(options.hour, tell)
        timer.daemon = True
        timer.start()
    # A look at every second of the hour: the console keeps one state a second for the time cursor.
    run(feed, lambda wish: None, clock, layout, options=Options(fps=60.0 if options.hour else 10.0))


if __name__ == "__main__":
    main()
