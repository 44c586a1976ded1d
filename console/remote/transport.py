"""The seam to a node: open a connection, run a command on its pipes, move a file. No SSH library here.

``paramiko_ssh`` and ``openssh`` implement it; tests use a fake. All calls block and are made from threads
of their own, never from the UI's. Every call that can wait takes or has a time limit.
"""

from __future__ import annotations

from typing import Protocol

from console.core.errors import ConnectError
from console.core.launch.inventory import Node


class LoginError(ConnectError):
    """The node was reached and would not let us in; trying again without the operator changes nothing."""


class UnreachableError(ConnectError):
    """Somebody said that nobody is there: refused, no route, no such name. Unlike silence, it needs no patience."""


class Channel(Protocol):
    """A running remote command: bytes in, bytes out."""

    def send(self, data: bytes) -> None:
        """Write all of it to the command's standard input. Raises ConnectError."""

    def recv(self, timeout_s: float) -> bytes | None:
        """Some bytes of its standard output; b"" at the end; None when nothing came in time."""

    def stderr_text(self) -> str:
        """What it has written to standard error so far (the last 64 KiB)."""

    def exit_status(self) -> int | None:
        """Its exit status, None while it runs or when the link died first."""

    def close(self) -> None:
        """Hang up. Safe to call twice and from another thread."""


class Connection(Protocol):
    """One authenticated connection to one node."""

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        """Run a shell command to its end: exit status, stdout, stderr. Raises ConnectError."""

    def open(self, command: str) -> Channel:
        """Start a shell command and talk to it. Raises ConnectError."""

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        """Write a file whole, over SFTP, to a path (relative to the login's home). Raises ConnectError."""

    def close(self) -> None:
        """Hang up. Safe to call twice and from another thread."""


class Transport(Protocol):
    """Opens connections."""

    def connect(self, node: Node, *, timeout_s: float = 15.0) -> Connection:
        """Raises HostKeyError (unknown or changed key), ConnectError (everything else)."""
