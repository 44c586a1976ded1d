"""A console of the tests: ``driver.py`` in the client's namespace, spoken to over its pipes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.hosts.rig.rig import Rig
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]


def eventually(condition: Callable[[], Any], timeout_s: float, what: str | Callable[[], str]) -> Any:
    """The first true value of ``condition``, asked over and over; fails the test after ``timeout_s``, or what a busy machine may need."""
    timeout_s = max(timeout_s, PATIENCE_S)
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.05)


class ConsoleProcess:
    """One running console. ``folder`` keeps its home and store, so that the next one finds them."""

    def __init__(self, rig: Rig, folder: Path, python: str, known_hosts: Path, *, accept_new: bool = False,
                 agent_from: Path | None = None) -> None:
        """``agent_from``: a folder whose ``agent`` package is sent to the nodes instead of our own."""
        self.folder = folder
        self.store = folder / "store.db"
        self.links: dict[str, list[tuple[str, str]]] = {}
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._asked = 0
        home = folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        fleet = folder / "fleet.yaml"
        fleet.write_text(yaml.safe_dump(rig.fleet_mapping(python), sort_keys=False))
        environ = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": "root", "PYTHONPATH": str(ROOT)}
        self._errors = (folder / "driver.err").open("ab")
        self.process = subprocess.Popen(
            [*rig.network.enter("client"), sys.executable, "-m", "tests.hosts.driver", str(fleet), str(self.store), "--known-hosts", str(known_hosts),
             *(["--accept-new"] if accept_new else [])],
            # -m puts the working directory before PYTHONPATH.
            cwd=agent_from or ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, bufsize=1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = json.loads(line)
            if "id" in message:
                self._answers[message["id"]].put(message)
            else:
                self.links.setdefault(message["node"], []).append((message["state"], message["why"]))

    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        return (self.folder / "driver.err").read_text()[-3000:]

    def request(self, node: str, op: str, /, timeout_s: float = PATIENCE_S, **args: Any) -> dict[str, Any]:
        """The result of one request to a node's agent. Fails the test when it is refused."""
        assert self.process.stdin is not None
        self._asked += 1
        box: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers[self._asked] = box
        self.process.stdin.write(json.dumps({"id": self._asked, "node": node, "op": op, "args": args}) + "\n")
        self.process.stdin.flush()
        try:
            answer = box.get(timeout=timeout_s)
        except queue.Empty:
            raise AssertionError(f"{op} on {node} was not answered in {timeout_s:g} s; {self.recent()}") from None
        assert answer["ok"], f"{op} on {node}: {answer['error']}"
        return dict(answer["result"])

    def recent(self) -> str:
        """The last few states of every link and what went to standard error, for a failure's message."""
        links = {node: [(state, why[:300]) for state, why in states[-3:]] for node, states in self.links.items()}
        return f"links, newest last: {links}; standard error: {self.errors() or 'empty'}"

    def link(self, node: str) -> tuple[str, str]:
        """The newest state of a node's link and why."""
        return self.links.get(node, [("none", "")])[-1]

    def wait_for_link(self, node: str, *states: str, timeout_s: float = 30.0) -> str:
        """Wait until a node's link is in one of these states; why it is."""
        eventually(lambda: self.link(node)[0] in states, timeout_s, lambda: f"{node} {' or '.join(states)}: {self.recent()}")
        return self.link(node)[1]

    def wait_until_up(self, nodes: Sequence[str]) -> None:
        """Wait until these nodes' agents have answered."""
        for node in nodes:
            self.wait_for_link(node, "up", timeout_s=60.0)

    def kill(self) -> None:
        """SIGKILL, as the machine's memory killer would."""
        self.process.kill()
        self._end()

    def leave(self) -> None:
        """The orderly way. Fails the test when it takes more than 20 s."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self.errors()
        self._end()

    def close(self) -> None:
        """Whatever state it is in, end it."""
        if self.process.poll() is None:
            self.process.kill()
        self._end()

    def _end(self) -> None:
        self.process.wait(20)
        self._reader.join(5)
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
