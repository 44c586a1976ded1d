"""From a key to its paint, on a pseudo-terminal: as fast as it goes, and over a line of 20 kB/s.

The console runs on the recorded fleet of the terminal tests, with an iteration and a log line four times a
second. The reader answers the console's question after a frame (DECRQM 2026) once it has read that far, as a
terminal does; "unpaced" is a terminal that never answers. Keys change the view, so each paints a whole
screen.
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
from pathlib import Path

from bench.result import Ratio, Result, Samples

COLUMNS, ROWS = 120, 36
RATE = 20_000
CHUNK = 512
QUESTION, REPLY = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
TIMEOUT_S = 30.0
DRIVE = Path(__file__).resolve().parent.parent / "tests" / "tmux" / "drive.py"
KEYS = ((b"5", b"5 Logs"), (b"1", b"1 Fleet"), (b"3", b"3 Training"), (b"6", b"6 Incident"))
SLOW_P95_S = 1.0


class Reader:
    """The far end of a line of ``rate`` bytes a second (0: as fast as it goes)."""

    def __init__(self, ours: int, rate: int, answers: bool) -> None:
        self._ours, self._rate, self._answers = ours, rate, answers
        self._free_at = time.perf_counter()
        self._tail = b""

    def until(self, needle: bytes) -> float:
        """Seconds until ``needle`` has come through."""
        began = time.perf_counter()
        seen = b""
        while needle not in seen:
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError(f"{needle!r} did not come; the end: {seen[-200:]!r}")
            seen = (seen + self.read())[-20_000:]
        return time.perf_counter() - began

    def read(self) -> bytes:
        """What the line lets through now."""
        if self._rate and (left := self._free_at - time.perf_counter()) > 0:
            time.sleep(left)
        if not select.select([self._ours], [], [], 0.05)[0]:
            return b""
        data = os.read(self._ours, CHUNK if self._rate else 65536)
        if self._rate:
            self._free_at = max(self._free_at, time.perf_counter()) + len(data) / self._rate
        asked = (self._tail + data).count(QUESTION) - self._tail.count(QUESTION)
        self._tail = (self._tail + data)[-len(QUESTION) + 1 :]
        if asked and self._answers:
            os.write(self._ours, REPLY * asked)
        return data


def seconds(rate: int, answers: bool, presses: int) -> list[float]:
    """Key to paint, for so many keys."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environ = {**{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX")}, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    process = subprocess.Popen([sys.executable, str(DRIVE)], stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
    os.close(theirs)
    try:
        reader, taken = Reader(ours, rate, answers), []
        reader.until(b"read-only")
        for turn in range(presses + 2):
            end = time.perf_counter() + 0.7  # the operator looks
            while time.perf_counter() < end:
                reader.read()
            key, needle = KEYS[turn % len(KEYS)]
            os.write(ours, key)
            took = reader.until(needle)
            if turn >= 2:
                taken.append(took)
        return taken
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def run(rounds: int) -> Result:
    """Seconds from key to paint."""
    cases = {"key to paint, fast": (0, True), "key to paint, 20 kB/s, paced": (RATE, True), "key to paint, 20 kB/s, unpaced": (RATE, False)}
    samples = tuple(Samples(name=name, unit="s", values=tuple(seconds(rate, answers, max(4, rounds)))) for name, (rate, answers) in cases.items())
    paced = sorted(samples[1].values)
    p95 = paced[min(len(paced) - 1, int(0.95 * len(paced)))]
    return Result(samples=samples, ratios=(Ratio(name=f"p95 of 20 kB/s, paced, over {SLOW_P95_S:g} s", values=(p95 / SLOW_P95_S,), at_most=1.0),),
                  notes=(f"p95 fast {sorted(samples[0].values)[int(0.95 * len(paced)) - 1]:.3f} s, paced {p95:.3f} s", "a line that is read slowly; through a real ssh and tmux: bench far"))
