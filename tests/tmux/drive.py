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

from console.core.intents import Intent  # noqa: E402
from console.core.layout import from_mapping  # noqa: E402
from console.tui.app import run  # noqa: E402
from tests.console.tui import scene  # noqa: E402


class SystemClock:
    def wall_s(self) -> float:
        return time.time()  # noqa: TID251  a real clock is what this script is for

    def mono_s(self) -> float:
        return time.monotonic()


class MovingFeed(scene.FakeFeed):
    """The recorded fleet, and after it an iteration with its log line every quarter second."""

    def __init__(self, now: float) -> None:
        super().__init__(scene.fleet_events(now))
        self.logs[scene.LOG] = scene.Tail(scene.log_lines(), maxlen=2000)
        self._next, self._at, self._record = 97, now, scene.Recorder()

    def drain(self) -> bool:
        if hasattr(self, "_next") and time.time() > self._at + 0.25 and self._next <= 119:  # noqa: TID251
            self._at = time.time()  # noqa: TID251
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

    def submit(intent: Intent) -> None:
        note(repr(intent))

    ending = run(MovingFeed(time.time()), submit, SystemClock(), from_mapping(yaml.safe_load(text), where=options.layout), css)  # noqa: TID251
    note(repr(ending))
    print(ending.text)


if __name__ == "__main__":
    main()
