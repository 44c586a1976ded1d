"""How long until something is on the screen, against a Textual app that only shows a word.

Both run on a pseudo-terminal of 120 columns and 36 rows; the time is from the start of the process until
the text that tells that the screen is painted has come out: the word, and the name of the fleet's first
node. The fleet's nodes cannot be reached, which is what a console meets first in any case. Both run from compiled
bytecode, as pip installs it and ``make`` leaves it. The console is started twice in each round: on an empty history, and on
one of a run of 100,000 iterations, of which the first picture has to have the last.
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
import tempfile
import termios
import time
from collections.abc import Mapping
from pathlib import Path

from bench.result import Result, Samples, ratio
from console.core.events import RecordArrived
from console.store import Store

COLUMNS, ROWS = 120, 36
TIMEOUT_S = 30.0
BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    def compose(self):
        yield Static("painted")
Bare().run()
"""
# Nobody listens on the port of the discard protocol.
FLEET = """
name: bench
defaults: {user: nobody, port: 9, npus: 8}
nodes:
  - {name: paintednode, host: 127.0.0.1}
  - {name: second, host: 127.0.0.1}
  - {name: third, host: 127.0.0.1}
  - {name: fourth, host: 127.0.0.1, role: spare}
"""


RUN, ITERATIONS, BATCH = "paintedrun", 100_000, 5_000
"""A run in the history; its last iteration is on its line."""


class NotPainted(RuntimeError):
    """The text did not appear; the message has the end of what did."""


def seconds_until(needle: str, argv: list[str], environ: Mapping[str, str]) -> float:
    """Wall seconds from starting a command on a terminal until it has written ``needle``. The command is then killed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    wanted, seen = needle.encode(), b""
    began = time.perf_counter()
    process = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True)
    os.close(theirs)
    try:
        while wanted not in seen:
            left = began + TIMEOUT_S - time.perf_counter()
            if left <= 0 or not select.select([ours], [], [], left)[0]:
                raise NotPainted(f"{argv[:3]}: {needle!r} did not appear within {TIMEOUT_S:g} s; the end: {seen[-300:]!r}")
            try:
                seen += os.read(ours, 65536)
            except OSError as error:  # the other side is closed: it ended
                raise NotPainted(f"{argv[:3]} ended before {needle!r} appeared; the end: {seen[-1500:]!r}") from error
        return time.perf_counter() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)


def fill(path: Path) -> None:
    """A history of that run at that place."""
    store = Store(path, "bench")
    place = {"job": RUN, "attempt": "20261122T050000Z-aaaa", "round": 0, "rank": 0, "local_rank": 0, "file": "/w/log"}
    store.ingest([RecordArrived(node="paintednode", spool_id="s", seq=1, kind="job", key="a", time=1.7e9, at=1.7e9, data={
        "job": RUN, "attempt": place["attempt"], "dir": "/w", "state": "running", "node_index": 0})])
    for first in range(1, ITERATIONS + 1, BATCH):
        store.ingest([RecordArrived(node="paintednode", spool_id="s", seq=at + 1, kind="iteration", key=f"1:2:h:{at * 330}:iteration", time=1.7e9 + at, at=1.7e9 + at, version=2,
                                    data={**place, "file_id": "1:2:h", "offset": at * 330, "line": at, "iteration": at, "total": ITERATIONS, "lm_loss": 9.0 - at / ITERATIONS,
                                          "learning_rate": 1e-4, "elapsed_ms": 5000.0 + at % 7, "grad_norm": 1.0 + at % 5, "skipped": 0, "nan": 0, "extra": {},
                                          "time": "2026-11-22T05:10:01.123456"}) for at in range(first, first + BATCH)])
    store.close()


def run(rounds: int) -> Result:
    """Wall seconds to the first paint of both. Two rounds before the counted ones fill the caches."""
    taken: dict[str, list[float]] = {"rankdeck open": [], "rankdeck open, 100,000 iterations": [], "bare Textual app": []}
    with tempfile.TemporaryDirectory(prefix="rankdeck-bench-") as folder:
        fleet = Path(folder) / "fleet.yaml"
        fleet.write_text(FLEET)
        environ = {**os.environ, "TERM": "xterm-256color", "XDG_STATE_HOME": f"{folder}/state", "XDG_CONFIG_HOME": f"{folder}/config"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        fill(Path(folder) / "long" / "rankdeck" / "rankdeck.db")
        command = [str(Path(sys.executable).with_name("rankdeck")), "open", "-i", str(fleet)]
        commands = {
            "rankdeck open": ("paintednode", command, environ),
            "rankdeck open, 100,000 iterations": (f"{ITERATIONS}/{ITERATIONS}", command, {**environ, "XDG_STATE_HOME": f"{folder}/long"}),
            "bare Textual app": ("painted", [sys.executable, "-c", BARE], environ),
        }
        for turn in range(-2, rounds):
            for name, (needle, argv, where) in commands.items():
                took = seconds_until(needle, argv, where)
                if turn >= 0:
                    taken[name].append(took)
    ours, long, bare = (Samples(name=name, unit="s", values=tuple(values)) for name, values in taken.items())
    return Result(samples=(ours, long, bare), ratios=(ratio("first paint over bare", ours, bare, at_most=1.8), ratio("first paint over bare, 100,000 iterations", long, bare, at_most=1.8)))
