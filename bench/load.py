"""A large fleet at full tilt: 128 nodes of 8 NPUs, every value new once a second, and an open log of 10,000 lines a second.

On a pseudo-terminal of 120 columns and 36 rows, read as fast as it comes, with the console's question after a frame
answered as a terminal does. Three things, each against Textual itself in the same run:

- key to paint: a letter typed into the console's prompt, and into an idle application of one line that shows what is typed;
  the same letters at the same pace, each measured until all that was typed so far has come out;
  the prompt's line is painted alone and at once, so keys that change a view are not what this measures;
- CPU: the console's, against the sum of the log's and the grid's alone, each with its half of the feed;
- memory after an hour of the fleet that goes by as fast as it is taken in (the log at its own rate: what it keeps is full after ten seconds).

On a busy machine keys wait for a processor, in the console and in the idle application by chance: run it on an idle one, or
with ``chrt -r 10``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

from bench.result import Ratio, Result, Samples

COLUMNS, ROWS = 120, 36
QUESTION, REPLY = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
TIMEOUT_S = 30.0
WARM_S, CPU_S, HOUR_LIMIT_S = 1.5, 3.5, 180.0
PRESSES = 78  # as many as the prompt shows
LETTERS = b"zyxwvutsrqponmlkjihgfedcba"
CURSOR = b"\x1b[36;2H"
"""Where it is when the prompt is open."""
KEY_TARGET, CPU_TARGET, MEMORY_MB = 1.2, 1.5, 300.0


class Screen:
    """One of ``bench.load_screen`` on a terminal."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", **environ}
        self.process = subprocess.Popen([sys.executable, "-m", "bench.load_screen", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=environ, start_new_session=True)
        os.close(theirs)
        self._tail = b""

    def read(self, wait_s: float) -> bytes:
        """What comes within the time."""
        if not select.select([self._ours], [], [], max(0.0, wait_s))[0]:
            return b""
        data = os.read(self._ours, 65536)
        asked = (self._tail + data).count(QUESTION)
        self._tail = (self._tail + data)[-len(QUESTION) + 1 :]
        if asked:
            os.write(self._ours, REPLY * asked)
        return data

    def watch(self, seconds: float) -> bytes:
        """What comes in so many seconds, its end."""
        seen, end = b"", time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            seen = (seen + self.read(left))[-100_000:]
        return seen

    def press(self, key: bytes, shown: bytes) -> float:
        """Seconds from the key until what it makes has come out."""
        began = time.perf_counter()
        os.write(self._ours, key)
        seen = b""
        while shown not in seen:
            seen = (seen + self.read(0.05))[-100_000:]
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError(f"{shown!r} was not painted; the end: {seen[-300:]!r}")
        return time.perf_counter() - began

    def cpu_s(self) -> float:
        """What the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[Screen]:
    """A screen that has been up for a while."""
    screen = Screen(*arguments)
    try:
        screen.watch(WARM_S)
        yield screen
    finally:
        screen.close()


def keys(screen: Screen) -> list[float]:
    """Seconds from key to paint, for each of so many."""
    taken, typed = [], b""
    for turn in range(PRESSES):
        screen.watch(0.06 + 0.011 * (turn % 7))  # at no fixed place in the console's own rhythm
        key = LETTERS[turn % len(LETTERS) :][:1]
        typed += key
        taken.append(screen.press(key, typed))
    return taken


def cpu(screen: Screen) -> float:
    """Of a core, while nobody types."""
    began, at = time.perf_counter(), screen.cpu_s()
    screen.watch(CPU_S)
    return (screen.cpu_s() - at) / (time.perf_counter() - began)


def memory_mb() -> tuple[float, float]:
    """Resident memory at the end of the hour, and the most it ever was, MiB."""
    screen, seen, end = Screen("console", "--hour", TEXTUAL_FPS="4"), b"", time.perf_counter() + HOUR_LIMIT_S
    try:
        while time.perf_counter() < end:
            seen = (seen + screen.read(0.5))[-20_000:]
            if b"MEMORY " in seen and b" END" in seen.partition(b"MEMORY ")[2]:
                now, most = seen.partition(b"MEMORY ")[2].split()[:2]
                return float(now), float(most)
    finally:
        screen.close()
    raise TimeoutError(f"the hour did not end: {seen[-300:]!r}")


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[18]


def run(rounds: int) -> Result:
    """Keys and CPU in turn, so that a busy machine is busy for all; the hour once."""
    ours, bare, console, ratios = [], [], [], []
    alone: dict[str, list[float]] = {"log": [], "grid": []}
    for _ in range(max(1, rounds // 15)):
        with running("bare") as screen:
            bare += keys(screen)
        with running("console") as screen:
            console.append(cpu(screen))
            screen.press(b":", CURSOR)
            ours += keys(screen)
        for name, values in alone.items():
            with running(name) as screen:
                values.append(cpu(screen))
        ratios.append(console[-1] / (alone["log"][-1] + alone["grid"][-1]))
    now, most = memory_mb()
    return Result(
        samples=(Samples(name="key to paint, console under load", unit="s", values=tuple(ours)), Samples(name="key to paint, bare and idle", unit="s", values=tuple(bare)),
                 Samples(name="CPU, console", unit="of a core", values=tuple(console)), Samples(name="CPU, log alone", unit="of a core", values=tuple(alone["log"])),
                 Samples(name="CPU, grid alone", unit="of a core", values=tuple(alone["grid"])), Samples(name="memory after an hour", unit="MiB", values=(now,))),
        ratios=(Ratio(name="p95 key to paint over bare idle", values=(p95(ours) / p95(bare),), at_most=KEY_TARGET),
                Ratio(name="CPU over log and grid alone", values=tuple(ratios), at_most=CPU_TARGET),
                Ratio(name=f"memory over {MEMORY_MB:g} MiB", values=(now / MEMORY_MB,), at_most=1.0)),
        notes=(f"p95 key to paint {p95(ours) * 1000:.0f} ms, bare {p95(bare) * 1000:.0f} ms; most memory {most:.0f} MiB",))
