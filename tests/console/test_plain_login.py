"""What a login asks, in text mode: put to the person at the terminal, also while the prompt waits, and never echoed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from console.remote import known_hosts
from tests.console.remote.sshd import Loop, Sshd
from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
CODE = "834215"


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, words: list[str], environ: dict[str, str]) -> None:
        self._near, far = pty.openpty()
        self.process = subprocess.Popen(words, stdin=far, stdout=far, stderr=far, cwd=ROOT, env=environ, start_new_session=True)
        os.close(far)
        self.text = ""

    def shows(self, words: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while words not in self.text:
            if time.monotonic() > end:
                pytest.fail(f"not in time: {words!r} in\n{self.text}")
            if select.select([self._near], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self._near, 4096).decode("utf-8", "replace")
                except OSError:
                    pytest.fail(f"it ended before {words!r}:\n{self.text}")

    def type(self, line: str) -> None:
        os.write(self._near, line.encode() + b"\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._near)


def test_the_code_is_asked_for_at_the_terminal_and_not_echoed(tmp_path: Path) -> None:
    loop = Loop()
    (tmp_path / "node").mkdir()
    sshd = Sshd(loop, tmp_path / "node", [], second_factor=CODE)
    hosts = tmp_path / "known_hosts"
    known_hosts.add(hosts, "127.0.0.1", sshd.port, "ssh-ed25519", sshd.host_key.public_data)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(f"known_hosts: {hosts}\nnodes:\n  - {{name: n1, host: 127.0.0.1, port: {sshd.port}, user: ops, python: /bin/false}}\n")
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    environ.pop("SSH_AUTH_SOCK", None)
    terminal = Terminal([sys.executable, "-m", "console", "open", "-i", str(fleet), "--plain"], environ)
    try:
        terminal.shows("rankdeck> ")
        terminal.shows("n1: One-time code")  # nobody pressed enter for it
        terminal.shows("Code: ")
        terminal.type(CODE)
        end = time.monotonic() + PATIENCE_S
        while not sshd.commands:
            assert time.monotonic() < end, terminal.text
            time.sleep(0.05)
        # There is no agent to be had on that node, so the link is tried again, and asks again.
        terminal.shows("Code: \r\nrankdeck> ")
        assert CODE not in terminal.text
    finally:
        terminal.close()
        sshd.stop()
        loop.close()
    assert CODE.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
