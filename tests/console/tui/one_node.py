"""One node behind a real SSH server on loopback, and the screen's desk in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from console.cli.screen import ScreenDesk
from console.core.launch.inventory import Inventory, Node
from console.remote import known_hosts
from tests.console.remote.sshd import Loop, Sshd


class OneNode:
    """The server with its home directory, the fleet that has it as n1, and a desk. ``node``: more of the fleet file's entry."""

    def __init__(self, folder: Path, keys: Sequence[Any] = (), *, second_factor: str = "", env: dict[str, str] | None = None, **node: Any) -> None:
        self.folder, self.home, self.loop = folder, folder / "node", Loop()
        self.home.mkdir()
        self.sshd = Sshd(self.loop, self.home, list(keys), second_factor=second_factor, env=env)
        hosts = folder / "known_hosts"
        known_hosts.add(hosts, "127.0.0.1", self.sshd.port, "ssh-ed25519", self.sshd.host_key.public_data)
        self.history = folder / "history.db"
        entry = Node(name="n1", host="127.0.0.1", port=self.sshd.port, user="ops", **node)
        self.desk = ScreenDesk(Inventory(name="lab", nodes=(entry,), known_hosts=str(hosts)), operator="op", store_path=self.history, ssh_config="/dev/null")

    def close(self) -> None:
        self.desk.end()
        self.sshd.stop()
        self.loop.close()


Made = TypeVar("Made", bound=OneNode)


def kept(make: Callable[[Path], Made], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """For a fixture: what ``make`` makes in the folder, where the operator's home is too; closed afterwards."""
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    made = make(folder)
    try:
        yield made
    finally:
        made.close()
