"""A running remote command over paramiko: bytes in, bytes out, neither side able to wedge the other.

Owns the reading and writing of one channel. What paramiko leaves to its user: standard error shares the
channel's window with standard output, so it is always drained; the channel has one timeout for both
directions, so writing never relies on it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from console.core.errors import ConnectError

if TYPE_CHECKING:
    import paramiko

CHUNK_BYTES = 1 << 15
SEND_TIMEOUT_S = 30.0
"""How long a peer may take nothing at all of what we send."""
STDERR_BYTES = 64 << 10
STATUS_WAIT_S = 1.0
"""How long after the end of a command's output its exit status is waited for."""
_POLL_S = 0.02


class ParamikoChannel:
    """See ``transport.Channel``. ``recv`` is for one thread, ``send`` for one (other) thread."""

    def __init__(self, channel: paramiko.Channel, where: str) -> None:
        self._channel, self._where = channel, where
        self._stderr: deque[bytes] = deque()
        self._stderr_bytes = 0

    def send(self, data: bytes) -> None:
        """Write all of it. Raises ConnectError when the link is gone or nothing was taken for SEND_TIMEOUT_S."""
        at = 0
        deadline = time.monotonic() + SEND_TIMEOUT_S
        while at < len(data):
            sent = self._send_some(data[at:at + CHUNK_BYTES])
            if sent:
                at += sent
                deadline = time.monotonic() + SEND_TIMEOUT_S
            elif time.monotonic() > deadline:
                raise ConnectError("the node takes nothing more", where=self._where, got=f"nothing in {SEND_TIMEOUT_S:.0f} s",
                                   fix="The connection is made anew.")
            else:
                time.sleep(_POLL_S)

    def _send_some(self, data: bytes) -> int:
        """How much of it went out without waiting for the peer."""
        try:
            if self._channel.closed:
                raise OSError("channel closed")
            # With room in the window `send` does not wait for any.
            return self._channel.send(data) if self._channel.send_ready() else 0
        except (OSError, EOFError) as error:
            raise ConnectError("the connection is gone", where=self._where, got=str(error), fix="It is made anew.")

    def recv(self, timeout_s: float) -> bytes | None:
        """Some bytes of its standard output; b"" at the end; None when nothing came in time."""
        try:
            self._channel.settimeout(max(timeout_s, 0.001))
            data = self._channel.recv(CHUNK_BYTES)
            if not data:
                # Whoever reads to the end asks how it ended next, and that is another message.
                self._wait_for_status(time.monotonic() + STATUS_WAIT_S)
            return data
        except TimeoutError:
            return None
        except (OSError, EOFError):
            return b""
        finally:
            self._drain_stderr()

    def _drain_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            data = self._channel.recv_stderr(CHUNK_BYTES)
            if not data:
                return
            self._stderr.append(data)
            self._stderr_bytes += len(data)
            while self._stderr_bytes - len(self._stderr[0]) >= STDERR_BYTES:
                self._stderr_bytes -= len(self._stderr.popleft())

    def stderr_text(self) -> str:
        """What it has written to standard error so far (the last 64 KiB)."""
        return b"".join(self._stderr)[-STDERR_BYTES:].decode("utf-8", "replace")

    def exit_status(self) -> int | None:
        """Its exit status, None while it runs or when the link died first."""
        if not self._channel.exit_status_ready() or self._channel.exit_status < 0:
            return None
        return self._channel.exit_status

    def converse(self, stdin: bytes, deadline: float, command: str) -> tuple[int, bytes, bytes]:
        """Feed it ``stdin``, read it to its end: exit status, stdout, stderr. Raises ConnectError.

        ``deadline``: on the monotonic clock. Writing and reading take turns, so that a command that writes
        before it has read everything cannot stop us both.
        """
        out: list[bytes] = []
        at = 0
        ended = False
        while True:
            if not ended and at < len(stdin):
                at += self._send_some(stdin[at:at + CHUNK_BYTES])
            if not ended and at >= len(stdin):
                ended = True
                self._channel.shutdown_write()
            data = self.recv(_POLL_S if not ended else 0.5)
            if data == b"":
                break
            out.append(data or b"")
            if time.monotonic() > deadline:
                raise ConnectError("a command took too long", where=self._where, got=command[:200],
                                   fix="The node may be overloaded; it is tried again.")
        status = self._await_status(deadline)
        self._drain_stderr()
        return status, b"".join(out), b"".join(self._stderr)[-STDERR_BYTES:]

    def _wait_for_status(self, deadline: float) -> None:
        # The end of output and the exit status are two messages, and a dead link sends neither.
        while not self._channel.exit_status_ready() and not self._channel.closed and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _await_status(self, deadline: float) -> int:
        self._wait_for_status(deadline)
        status = self.exit_status()
        if status is None:
            raise ConnectError("a command ended without telling how", where=self._where, got="no exit status",
                               fix="The connection broke, or a signal ended the command; it is tried again.")
        return status

    def close(self) -> None:
        """Hang up. Safe to call twice and from another thread."""
        try:
            self._channel.close()
        except (OSError, EOFError):
            return
