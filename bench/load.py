"""A large fleet at full tilt: 128 nodes of 8 NPUs, every value new once a second, and an open log of 10,000 lines a second.

On a pseudo-terminal of 120 columns and 36 rows, read as fast as it comes, with the console's question after a frame
answered as a terminal does. The console writes its history to a file meanwhile, as it does on a real fleet. Each thing is
measured against Textual itself in the same run:

- key to paint, of a letter typed into the console's prompt, and into an idle application of one line that shows what is typed;
- key to paint, of keys that change a view of grid, node table and log: the log scrolled, the next pane in focus, the cursor
  moved in the table, the nodes in another order, another view; and of the same keys in an idle application of Textual's
  table and log;
- CPU: the console's, against the sum of the log's and the grid's alone, each with its half of the feed and no history;
- memory after an hour of the fleet that goes by as fast as it is taken in (the log at its own rate: what it keeps is full after ten seconds).

A key is painted when the frame that shows what it did has come out to its end. On a busy machine keys wait for a processor,
in the console and in the idle application by chance: run it on an idle one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles

from bench.bare_screens import ORDERS
from bench.load_feed import node_name
from bench.result import Ratio, Result, Samples

COLUMNS, ROWS = 120, 36
QUESTION, REPLY = b"\x1b[?2026$p", b"\x1b[?2026;2$y"
FRAME_END = b"\x1b[?2026l"
TIMEOUT_S = 30.0
WARM_S, CPU_S, HOUR_LIMIT_S = 1.5, 3.5, 180.0
PRESSES, LETTER_TURNS = 78, 5  # as many as the prompt shows; a tail of 78 alone is four keys, so several pairs of turns
VIEW_PRESSES, VIEW_TURNS = 30, 2
LETTERS = b"zyxwvutsrqponmlkjihgfedcba"
CURSOR = re.compile(rb"\x1b\[36;2H")
"""Where it is when the prompt is open."""
FOCUSED = "┏".encode() + rb"[^\n]{0,80} %s\b"
"""A frame that is heavy around the pane of that title."""
SELECTED = rb"\x1b\[(?:\d+;)*7(?:;\d+)*m[^\n]{0,80}%s"
"""A node's line, reversed."""
KEY_TARGET, CPU_TARGET, MEMORY_MB = 1.2, 1.5, 300.0


class Screen:
    """One of ``bench.load_screen`` on a terminal."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-load-")
        self.terminal, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "TEXTUAL_ANIMATIONS": "none", **environ}
        self.process = subprocess.Popen([sys.executable, "-m", "bench.load_screen", *arguments, "--history", f"{self._folder.name}/history.db"], stdin=theirs, stdout=theirs, stderr=theirs,
                                        env=environ, start_new_session=True)
        os.close(theirs)
        self._tail = b""

    def read(self, wait_s: float) -> bytes:
        """What comes within the time."""
        if not select.select([self.terminal], [], [], max(0.0, wait_s))[0]:
            return b""
        data = os.read(self.terminal, 65536)
        asked = (self._tail + data).count(QUESTION)
        self._tail = (self._tail + data)[-len(QUESTION) + 1 :]
        if asked:
            os.write(self.terminal, REPLY * asked)
        return data

    def watch(self, seconds: float) -> bytes:
        """What comes in so many seconds, its end."""
        seen, end = b"", time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            seen = (seen + self.read(left))[-100_000:]
        return seen

    def press(self, key: bytes, *shown: re.Pattern[bytes]) -> float:
        """Seconds from the key until the frame that has the last of what it makes has come out."""
        began = time.perf_counter()
        os.write(self.terminal, key)
        seen = b""
        while True:
            found = [each.search(seen) for each in shown]
            if all(found) and seen.find(FRAME_END, max(each.end() for each in found if each)) >= 0:
                return time.perf_counter() - began
            seen = (seen + self.read(0.05))[-100_000:]
            if time.perf_counter() - began > TIMEOUT_S:
                raise TimeoutError(f"{shown!r} was not painted; the end: {seen[-300:]!r}")

    def cpu_s(self) -> float:
        """What the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.terminal)
        self._folder.cleanup()


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
        taken.append(screen.press(key, re.compile(re.escape(typed))))
    return taken


def view_keys(screen: Screen, *, bare: bool) -> dict[str, list[float]]:
    """Seconds from key to paint, by what the key does; the log is in focus at the beginning."""
    taken: dict[str, list[float]] = {}

    def press(kind: str, turn: int, key: bytes, *shown: bytes) -> None:
        screen.watch(0.06 + 0.011 * (turn % 7))
        taken.setdefault(kind, []).append(screen.press(key, *map(re.compile, shown)))

    for key in (b"\x1b[A", b"\x1b[F"):  # Textual's log takes the first keys to see where its end is
        os.write(screen.terminal, key)
        screen.watch(0.3)
    for turn in range(VIEW_PRESSES):
        away = turn % 2 == 0
        press("log scrolled", turn, b"\x1b[A" if away else b"\x1b[F", b"worker line", *(() if bare else (b"held, " if away else b" following ",)))
    titles = (b"Nodes", b"Log") if bare else (b"Fleet", b"Nodes", b"Log")
    for turn in range(VIEW_PRESSES):
        press("next pane", turn, b"\t", FOCUSED % titles[turn % len(titles)])
    while (turn := turn + 1) and titles[(turn - 1) % len(titles)] != b"Nodes":
        screen.press(b"\t", re.compile(FOCUSED % titles[turn % len(titles)]))
    for turn in range(VIEW_PRESSES):
        name = node_name(turn + bare).encode()  # Textual's own begins on the first line
        press("cursor in the table", turn, b"\x1b[B", name if bare else SELECTED % name)
    for turn in range(VIEW_PRESSES):
        press("other order", turn, b"o", b"nodes by " + ORDERS[(turn + 1) % len(ORDERS)].encode())
    for turn in range(VIEW_PRESSES):
        press("other view", turn, *((b"5", b"5 Logs", b"worker line") if turn % 2 else (b"1", b"1 Fleet", b"Nodes", b"node0")))
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
    ours, bare, console, ratios, letters = [], [], [], [], []
    alone: dict[str, list[float]] = {"log": [], "grid": []}
    by_key: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for _ in range(max(1, rounds // 15)):
        for _ in range(LETTER_TURNS):
            with running("bare") as screen:
                bare += keys(screen)
            with running("console") as screen:
                console.append(cpu(screen))
                screen.press(b":", CURSOR)
                ours += keys(screen)
            letters.append(p95(ours[-PRESSES:]) / p95(bare[-PRESSES:]))
        for _ in range(VIEW_TURNS):
            for is_bare, known in by_key.items():
                with running("bare-views" if is_bare else "views") as screen:
                    for kind, values in view_keys(screen, bare=is_bare).items():
                        known.setdefault(kind, []).extend(values)
        for name, values in alone.items():
            with running(name) as screen:
                values.append(cpu(screen))
        ratios.append(median(console[-LETTER_TURNS:]) / (alone["log"][-1] + alone["grid"][-1]))
    now, most = memory_mb()
    both = {"a letter typed": (ours, bare), **{kind: (by_key[False][kind], by_key[True][kind]) for kind in by_key[True]}}
    return Result(
        samples=(*(Samples(name=f"key to paint, {kind}, {who}", unit="s", values=tuple(values))
                   for kind, pair in both.items() for who, values in zip(("console under load", "bare and idle"), pair, strict=True)),
                 Samples(name="CPU, console", unit="of a core", values=tuple(console)), Samples(name="CPU, log alone", unit="of a core", values=tuple(alone["log"])),
                 Samples(name="CPU, grid alone", unit="of a core", values=tuple(alone["grid"])), Samples(name="memory after an hour", unit="MiB", values=(now,))),
        ratios=(Ratio(name="p95 over bare idle, a letter typed", values=tuple(letters), at_most=KEY_TARGET),
                *(Ratio(name=f"p95 over bare idle, {kind}", values=(p95(by_key[False][kind]) / p95(bare_values),), at_most=KEY_TARGET) for kind, bare_values in by_key[True].items()),
                Ratio(name="CPU over log and grid alone", values=tuple(ratios), at_most=CPU_TARGET),
                Ratio(name=f"memory over {MEMORY_MB:g} MiB", values=(now / MEMORY_MB,), at_most=1.0)),
        notes=(*(f"p95 {kind}: {p95(ours) * 1000:.1f} ms, bare {p95(bare) * 1000:.1f} ms" for kind, (ours, bare) in both.items()), f"most memory {most:.0f} MiB"))
