"""A node for the agent's tests: a state and a work directory, a real resident, clients that speak the wire.

Everything that was started is ended by its pid when the test ends, and what it left in /proc with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from agent import processes, wire
from agent.home import Home
from tests.patience import PATIENCE_S

ROOT = str(Path(__file__).resolve().parent.parent.parent)
BEGIN = "import sys; sys.path.insert(0, %r); from agent.__main__ import main; sys.exit(main())"
LINE = (" [2026-11-22 05:10:01.%06d] iteration %8d/  100000 | consumed samples: %12d | elapsed time per iteration (ms): 5.0 | "
        "learning rate: 1.000000E-03 | global batch size:     8 | lm loss: %.9E | loss scale: 1.0 | grad norm: 1.234 | "
        "number of skipped iterations:   0 | number of nan iterations:   0 |")


def until(condition: Callable[[], Any], what: str = "the condition", patience_s: float = PATIENCE_S) -> Any:
    """What the condition returns once it is true; fails after a while. A file that it looks for may come later."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            found = condition()
        except FileNotFoundError:
            found = None
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("%s did not come about within %d s" % (what, patience_s))


class Console:
    """One client of a resident. ``got`` holds every message that came, in order."""

    def __init__(self, link: socket.socket, after: dict | None = None, operator: str = "tester", credit: int = 1 << 30, meet: bool = True) -> None:
        self.link = link
        self.got: list[dict[str, Any]] = []
        self._kept = b""
        self._id = 0
        self.closed = False
        if meet:
            self.send(t="hello", proto=1, min_proto=1, operator=operator, console="test", after=after)
            self.hello = self.wait(lambda m: m["t"] == "hello")
            if credit:
                self.send(t="credit", stream="records", n=credit)

    def send(self, **message: Any) -> None:
        """Send it, or leave it to the reading side to find that the resident has hung up."""
        try:
            self.link.sendall(wire.encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return  # what it said before is still to be read, and a wait for more fails with "closed: True"

    def pull(self, wait_s: float = 0.05) -> int:
        """Take in what has come, waiting a moment for it; how many messages."""
        if self.closed or not select.select([self.link], [], [], wait_s)[0]:
            return 0
        try:
            data = self.link.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return 0
        lines = (self._kept + data).split(b"\n")
        self._kept = lines.pop()
        self.got += [wire.decode(line) for line in lines]
        return len(lines)

    def wait(self, fits: Callable[[dict[str, Any]], Any], patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The first message that fits, past or future."""
        end, seen = time.monotonic() + patience_s, 0
        while time.monotonic() < end:
            for message in self.got[seen:]:
                if fits(message):
                    return message
            seen = len(self.got)
            if not self.pull() and self.closed:
                break
        raise AssertionError("no such message; closed: %s; the last ones: %r" % (self.closed, self.got[-5:]))

    def record(self, kind_of_record: str, patience_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """The data of the first record of that kind whose fields are those."""
        found = self.wait(lambda m: m["t"] == "rec" and m["kind"] == kind_of_record and all(m["data"].get(k) == v for k, v in fields.items()), patience_s)
        data: dict[str, Any] = found["data"]
        return data

    def records(self, kind: str | None = None) -> list[dict[str, Any]]:
        return [m for m in self.got if m["t"] == "rec" and kind in (None, m["kind"])]

    def settle(self) -> None:
        """Wait until everything that is in the spool now has come."""
        newest = self.do("stats")["newest_seq"]
        self.wait(lambda m: m["t"] == "rec" and m["seq"] >= newest)

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        """The whole answer to a request."""
        self._id += 1
        number = self._id
        self.send(t="req", id=number, op=op, args=args)
        return self.wait(lambda m: m["t"] == "res" and m["id"] == number)

    def do(self, op: str, **args: Any) -> dict[str, Any]:
        """The result of a request, which must succeed."""
        answer = self.ask(op, **args)
        assert answer["ok"], answer
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        self.closed = True
        self.link.close()


class Node:
    """One simulated node: own state directory, own work directory."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.state = base / "state"
        self.work = base / "work"
        self.work.mkdir(parents=True)
        self.started: list[subprocess.Popen] = []
        self.consoles: list[Console] = []
        self.pids: set[int] = set()

    @property
    def home(self) -> Home:
        return Home(str(self.state))

    def command(self, role: str, root: str = ROOT, **options: Any) -> list[str]:
        words = [sys.executable, "-I", "-c", BEGIN % root, role, "--state", str(self.state)]
        for name, value in options.items():
            words += ["--" + name.replace("_", "-"), str(value)]
        return words

    def spawn(self, words: list[str], **how: Any) -> subprocess.Popen:
        child = subprocess.Popen(words, **how)
        self.started.append(child)
        return child

    def start(self, **options: Any) -> subprocess.Popen:
        """A resident in the foreground of this test; returns once it answers."""
        options = dict({"npu_s": 3600, "host_s": 3600}, **options)
        with open(str(self.base / "resident.err"), "ab") as log:
            child = self.spawn(self.command("resident", **options), stdin=subprocess.DEVNULL, stderr=log)
        until(lambda: self._answers(child), "a resident that answers")
        return child

    def _answers(self, child: subprocess.Popen) -> bool:
        assert child.poll() is None, (self.base / "resident.err").read_text()
        try:
            with self.home.connect(5.0) as link:
                line = link.makefile("rb").readline()
        except OSError:
            return False
        return bool(line) and json.loads(line)["pid"] == child.pid

    def console(self, **how: Any) -> Console:
        found = Console(self.home.connect(PATIENCE_S), **how)
        self.consoles.append(found)
        return found

    def dir(self, attempt: str, node: str = "n0") -> str:
        return str(self.work / ".rankdeck" / "job" / attempt / node)

    def prepare(self, console: Any, attempt: str, script: str = "true\n", epoch: int = 1, ttl_s: float = 60.0, devices: Any = ()) -> dict[str, Any]:
        """Lock and prepare over the wire; the answer to prepare."""
        result: dict[str, Any] = console.do("lock", job="job", attempt=attempt, epoch=epoch, devices=list(devices), ttl_s=ttl_s)
        return console.ask("prepare", **self.prepare_args(attempt, script, epoch, ttl_s)) if result else {}

    def prepare_args(self, attempt: str, script: str = "true\n", epoch: int = 1, ttl_s: float = 60.0) -> dict[str, Any]:
        return {"job": "job", "attempt": attempt, "epoch": epoch, "node": "n0", "node_index": 0, "dir": self.dir(attempt),
                "files": {"job.json": "{}"}, "script": script, "ttl_s": ttl_s}

    def launch(self, console: Console, attempt: str, script: str, epoch: int = 1) -> str:
        """Prepare and commit; the attempt's directory."""
        assert self.prepare(console, attempt, script, epoch)["ok"]
        console.do("commit", attempt=attempt, epoch=epoch)
        return self.dir(attempt)

    def clean(self) -> None:
        for console in self.consoles:
            console.close()
        for child in self.started:
            if child.poll() is None:
                child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
        # Residents that attach started, shims, and what they run: all mention a path of ours.
        marks = (os.fsencode(str(self.base)),)
        for _ in range(200):
            left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != os.getpid() and _mentions(pid, marks)]
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        raise AssertionError("processes %r do not end" % left)


def _mentions(pid: int, marks: tuple) -> bool:
    status = processes.stat_of(pid)
    if status is None or status[0] in "ZX":
        return False
    for name in ("cmdline", "environ"):
        try:
            with open("/proc/%d/%s" % (pid, name), "rb") as file:
                text = file.read()
        except OSError:
            continue
        # The tests' own runner has the base directory neither in its words nor in its environment.
        if any(mark in text for mark in marks):
            return True
    return False


def rank_script(argv: str, ranks: int = 1, before: str = "") -> str:
    """A command.sh that does what torchrun does for one node: starts each worker once under the shim, and waits."""
    lines = ["export RANKDECK_JOB=job RANKDECK_NODE=n0 RANKDECK_NODE_INDEX=0", before]
    for local_rank in range(ranks):
        lines.append("RANK=%d LOCAL_RANK=%d GROUP_RANK=0 WORLD_SIZE=%d LOCAL_WORLD_SIZE=%d TORCHELASTIC_RESTART_COUNT=0 %s -I \"$RANKDECK_DIR/shim.py\" rank -- %s &"
                     % (local_rank, local_rank, ranks, ranks, sys.executable, argv))
    return "\n".join(lines) + "\nwait\n"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.clean()
