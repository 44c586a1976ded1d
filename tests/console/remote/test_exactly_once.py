"""A job numbers its lines while agent, log, link and console are disturbed in random order: each line arrives exactly once.

The console is a process of its own (``tests.hosts.driver``: supervisor, SSH and store, without a screen) and is
killed as one; the agent is killed with SIGKILL; the log is rotated by its writer; the link is broken or falls
silent. RANKDECK_DISTURBANCES sets how many (default 20), RANKDECK_SEED which.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from console.store import Store, read_records
from tests.console.remote.sshd import Loop
from tests.console.remote.test_end_to_end import Site
from tests.hosts.writer import LINE, loss

ROOT = Path(__file__).resolve().parents[3]
ATTEMPT = "20260101T000000Z-abcd"
LINES_PER_S = 400.0
# Renames its log when a file "rotate" appears, twice at once when that says so; ends when "finish" appears.
WRITER = r"""
import os, sys, time
path, rate = sys.argv[1], float(sys.argv[2])
def loss(i): return 10.0 + (i * 7919 % 100003) / 100003.0
folder = os.path.dirname(path)
made, turned, began = open(path, "a"), 0, time.monotonic()
i = 0
def write():
    global i
    i += 1
    made.write(LINE % (i, i, 99999999, i * 8, loss(i)) + "\n")
    made.flush()
while not os.path.exists(os.path.join(folder, "finish")):
    time.sleep(max(0.0, began + (i + 1) / rate - time.monotonic()))
    write()
    try:
        times = int(open(os.path.join(folder, "rotate")).read() or 1)
        os.unlink(os.path.join(folder, "rotate"))
    except (OSError, ValueError):
        continue
    for _ in range(times):
        for _ in range(5):
            write()
        turned += 1
        made.close()
        os.rename(path, path + ".%d" % turned)
        made = open(path, "a")
open(os.path.join(folder, "written"), "w").write(str(i))
"""


def eventually(condition: Callable[[], Any], timeout_s: float, what: Callable[[], str]) -> None:
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, what()
        time.sleep(0.05)


class Console:
    """The driver as a child, and its answers."""

    def __init__(self, folder: Path, fleet: Path) -> None:
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.ups = 0
        self._errors = (folder / "driver.err").open("ab")
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.hosts.driver", str(fleet), str(folder / "store.db"), "--known-hosts", str(folder / "known_hosts")],
            cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "id" in message:
                self.answers.put(message)
            elif message["state"] == "up":
                self.ups += 1

    def request(self, op: str, **args: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": 1, "node": "n1", "op": op, "args": args}) + "\n")
        answer = self.answers.get(timeout=40)
        assert answer["ok"], answer
        return dict(answer["result"])

    def kill(self) -> None:
        """SIGKILL, if it still lives."""
        self.process.kill()
        self.process.wait(20)
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Run:
    """One job that writes, one node, and a console after another."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.store = folder / "store.db"
        node = site.node
        fleet: dict[str, Any] = {"name": "rig", "known_hosts": str(folder / "known_hosts"), "nodes": [
            {"name": "n1", "host": node.host, "port": node.port, "user": "ops", "key": node.key, "python": node.python, "state_dir": node.state_dir}]}
        self._fleet = folder / "fleet.yaml"
        self._fleet.write_text(yaml.safe_dump(fleet))
        self.console = Console(folder, self._fleet)
        self.dir = site.home / "work" / ".rankdeck" / "numbers" / ATTEMPT / "n1"
        self.round = self.dir / "round-00"
        self.agents_killed = 0

    def launch(self) -> None:
        script = (f"export RANKDECK_ATTEMPT={ATTEMPT} RANKDECK_DIR={self.dir}\nmkdir -p {self.round}\n"
                  f"exec {sys.executable} -I {self.dir}/writer.py {self.round}/local_rank-0.log {LINES_PER_S}\n")
        identity = {"job": "numbers", "attempt": ATTEMPT, "epoch": 1}
        self.console.request("lock", **identity, devices=[], ttl_s=60)
        self.console.request("prepare", **identity, node="n1", node_index=0, dir=str(self.dir), script=script, ttl_s=60, files={"writer.py": f"LINE = {LINE!r}\n{WRITER}", "job.json": "{}"})
        self.console.request("commit", attempt=ATTEMPT, epoch=1)

    def arrived(self) -> list[dict[str, Any]]:
        try:
            return [dict(event.data) for event in read_records(self.store, "rig", kinds=["iteration"])]
        except sqlite3.Error:  # not there yet
            return []

    def resident(self) -> int | None:
        mark = os.fsencode(str(self.site.state))
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"resident" in words and mark in b"\0".join(words):
                    return int(name)
        return None

    # Disturbances

    def kill_agent(self) -> None:
        pid = self.resident()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.agents_killed += 1

    def rotate(self) -> None:
        (self.round / "rotate").write_text("1")

    def rotate_twice_while_nobody_looks(self) -> None:
        self.kill_agent()
        (self.round / "rotate").write_text("2")

    def break_link(self) -> None:
        self.site.sshd.drop()

    def silence_link(self) -> None:
        self.site.relay.go_silent()
        time.sleep(0.5)
        self.site.relay.resume()

    def kill_console(self) -> None:
        self.console.kill()
        self.console = Console(self.folder, self._fleet)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loop = Loop()
    site = Site(tmp_path, loop)
    running = Run(site, tmp_path)
    yield running
    running.console.kill()
    if running.round.exists():
        (running.round / "finish").touch()
    pid = running.resident()
    if pid is not None:
        site.pids.add(pid)
    site.close()
    loop.close()


@pytest.mark.timeout(300)
def test_each_line_arrives_exactly_once_whatever_is_disturbed(run: Run) -> None:
    seed = int(os.environ.get("RANKDECK_SEED", "") or Random().randrange(1 << 30))
    random, count = Random(seed), int(os.environ.get("RANKDECK_DISTURBANCES", "") or 20)
    run.launch()
    eventually(lambda: len(run.arrived()) > 20, 60, lambda: "no line arrives at all")
    kinds = [run.kill_agent, run.rotate, run.rotate_twice_while_nobody_looks, run.break_link, run.silence_link, run.kill_console]
    order = [kinds[at % len(kinds)] for at in range(count)]
    random.shuffle(order)
    for disturb in order:
        disturb()
        # Sometimes the next one comes before this one is over, sometimes after.
        time.sleep(random.choice((0.0, 0.1, 0.7, 1.5)))
    (run.round / "finish").touch()
    eventually(lambda: (run.round / "written").exists() and (run.round / "written").read_text(), 30, lambda: "the writer does not end")
    written = int((run.round / "written").read_text())
    eventually(lambda: len(run.arrived()) >= written, 90, lambda: f"seed {seed}: {len(run.arrived())} of {written} lines; {_holes(run, written)}")
    time.sleep(1.0)  # what came twice would come now
    found = run.arrived()
    times = Counter(int(data["iteration"]) for data in found)
    assert {number: seen for number, seen in times.items() if seen != 1} == {}, f"seed {seed}"
    assert sorted(times) == list(range(1, written + 1)), f"seed {seed}: {_holes(run, written)}"
    places = Counter((data["file_id"], data["offset"]) for data in found)
    assert max(places.values()) == 1 and len(places) == written
    assert _offsets(run) == {data["offset"]: int(data["iteration"]) for data in found if data["file_id"].split(":")[1] == str(_inode(run))}
    assert run.agents_killed >= 1, "none was there at the moment when it was to be killed"
    run.console.kill()
    state = Store(run.store, "rig").state
    assert not any(node.gaps for node in state.nodes.values())
    curve = list(state.runs["numbers"].series["loss"])
    assert [x for x, _ in curve] == list(range(1, written + 1)) and all(abs(y - loss(x)) < 5e-9 for x, y in curve)


def _inode(run: Run) -> int:
    return (run.round / "local_rank-0.log").stat().st_ino


def _offsets(run: Run) -> dict[int, int]:
    """Offset of each line in the log as it is now -> its number."""
    found, at = {}, 0
    for line in (run.round / "local_rank-0.log").read_bytes().splitlines(keepends=True):
        found[at] = int(line.split(b"iteration")[1].split(b"/")[0])
        at += len(line)
    return found


def _holes(run: Run, written: int) -> str:
    have = {int(data["iteration"]) for data in run.arrived()}
    missing = [number for number in range(1, written + 1) if number not in have]
    return f"missing {len(missing)}: {missing[:3]}..{missing[-3:]}"
