"""Runs the real screen on the terminal it is started in, over a recorded fleet that moves a little.

Used by the terminal tests: ``python drive.py [LAYOUT] [--log FILE]``. Submitted intents and the ending are
written to FILE, one a line. A new log line and a new iteration arrive four times a second.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import yaml  # noqa: E402

from console.core.intents import CheckNodes, PlanJob, Wish  # noqa: E402
from console.core.layout import from_mapping  # noqa: E402
from console.tui.app import Options, run  # noqa: E402
from tests.console.tui import errand_scene, scene  # noqa: E402


class SystemClock:
    def wall_s(self) -> float:
        return time.time()  # noqa: TID251  a real clock is what this script is for

    def mono_s(self) -> float:
        return time.monotonic()


class MovingFeed(scene.FakeFeed):
    """The recorded fleet, and after it an iteration with its log line every quarter second."""

    def __init__(self, now: float) -> None:
        super().__init__(scene.fleet_events(now))
        lines = scene.log_lines()
        for at in (10, 30):
            lines.insert(at, "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB")
        self.logs[scene.LOG] = scene.Tail(lines, maxlen=2000)
        self._next, self._at, self._record = 97, now, scene.Recorder()

    def drain(self, most: int = 0) -> bool:
        if hasattr(self, "_next") and time.time() > self._at + 0.25:  # noqa: TID251
            self._at = time.time()  # noqa: TID251
            if self._next > 119:
                # It never stands still: a busy machine may take a minute to come to where a test looks for that.
                self.logs[scene.LOG].add(f" evaluating after iteration 119, batch {self._next - 119}")
                self._next += 1
                super().drain()
                return True
            self.pending.append(scene.iteration(self._record, scene.SECOND, self._next, self._at))
            self.logs[scene.LOG].add(f" iteration {self._next:8d}/     120 | lm loss: {scene.loss_at(self._next):.9E} |")
            self._next += 1
        return super().drain()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", nargs="?", default="default")
    parser.add_argument("--log", default="")
    options = parser.parse_args()
    text = (ROOT / "layouts" / f"{options.layout}.yaml").read_text(encoding="utf-8")
    css = (ROOT / "layouts" / f"{options.layout}.tcss").read_text(encoding="utf-8")

    def note(line: str) -> None:
        if options.log:
            with open(options.log, "a", encoding="utf-8") as out:
                out.write(line + "\n")

    feed = MovingFeed(time.time())  # noqa: TID251

    def submit(intent: Wish) -> None:
        note(repr(intent))
        # What a desk would tell.
        if isinstance(intent, CheckNodes):
            feed.said += errand_scene.check_told()
        elif isinstance(intent, PlanJob):
            feed.said.append(errand_scene.planned(intent.path))

    labels = {"atlas-01": {"rack": "r1"}, "atlas-02": {"rack": "r1"}, "atlas-03": {"rack": "r2"}, "atlas-04": {"rack": "r2"}}
    more = Options(fleet="lab", labels=labels, shell=lambda node: ["sh", "-c", f"echo on-{node}; sleep 0.5"])
    ending = run(feed, submit, SystemClock(), from_mapping(yaml.safe_load(text), where=options.layout), css, options=more)
    note(repr(ending))
    print(ending.text)


if __name__ == "__main__":
    main()
