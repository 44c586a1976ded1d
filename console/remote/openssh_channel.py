"""A remote command under the system's ``ssh``: the pipes of a local process, neither side able to wedge the other.

Owns reading, writing and ending that one process. Standard error is always drained along with standard
output. Exit status 255 is ssh's own word for "the connection" as well as a command's: ``dead`` (is the
master gone?) tells them apart.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from console.core.errors import ConnectError

CHUNK_BYTES = 1 << 16
SEND_TIMEOUT_S = 30.0
"""How long a peer may take nothing at all of what we send."""
STDERR_BYTES = 64 << 10
STATUS_WAIT_S = 1.0
"""How long after the end of a command's output its exit status is waited for."""
END_WAIT_S = 1.0
MASTER_WAIT_S = 2.0
"""How long a command's status of 255 is not believed: few commands end so, and lost links all do."""
SSH_FAILED = 255
_POLL_S = 0.02


class ProcessChannel:
    """See ``transport.Channel``. ``recv`` is for one thread, ``send`` for one (other) thread."""

    def __init__(self, argv: Sequence[str], where: str, dead: Callable[[], bool]) -> None:
        """Raises ConnectError when the program cannot be started."""
        self._where, self._dead = where, dead
        self._stderr: deque[bytes] = deque()
        self._stderr_bytes = 0
        self._reading = [True, True]
        self._closing = threading.Lock()
        self._closed = False
        self._link_died: bool | None = None
        try:
            # A session of its own: Ctrl-C at the console's terminal is the console's alone.
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True)
        except OSError as error:
            raise ConnectError("the system's ssh cannot be started", where=where, got=str(error), expected="OpenSSH's client",
                               fix="Install openssh-client, or set `transport: paramiko`.")
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._in, self._out, self._err = (pipe.fileno() for pipe in pipes if pipe is not None)
        os.set_blocking(self._in, False)

    def send(self, data: bytes) -> None:
        """Write all of it. Raises ConnectError when the link is gone or nothing was taken for SEND_TIMEOUT_S."""
        rest = memoryview(data)
        deadline = time.monotonic() + SEND_TIMEOUT_S
        while rest:
            sent = self._send_some(rest, _POLL_S * 10)
            rest = rest[sent:]
            if sent:
                deadline = time.monotonic() + SEND_TIMEOUT_S
            elif time.monotonic() > deadline:
                raise ConnectError("the node takes nothing more", where=self._where, got=f"nothing in {SEND_TIMEOUT_S:.0f} s",
                                   fix="The connection is made anew.")

    def _send_some(self, data: memoryview, wait_s: float) -> int:
        try:
            if self._closed or self._process.poll() is not None:
                raise BrokenPipeError("ssh has ended")
            return os.write(self._in, data[:CHUNK_BYTES]) if ready([], [self._in], wait_s) else 0
        except BlockingIOError:
            return 0
        except (OSError, ValueError) as error:
            raise ConnectError("the connection is gone", where=self._where, got=str(error), fix="It is made anew.")

    def recv(self, timeout_s: float) -> bytes | None:
        """Some bytes of its standard output; b"" at the end; None when nothing came in time."""
        deadline = time.monotonic() + max(timeout_s, 0.0)
        while True:
            if self._closed or not self._reading[0]:
                return b""
            fds = [fd for fd, open_ in zip((self._out, self._err), self._reading, strict=True) if open_]
            try:
                waiting = ready(fds, [], max(0.0, deadline - time.monotonic()))
                if self._err in waiting:
                    self._take_stderr()
                if self._out in waiting:
                    data = os.read(self._out, CHUNK_BYTES)
                    if not data:
                        self._reading[0] = False
                        self._await_end(time.monotonic() + STATUS_WAIT_S)
                    return data
            except (OSError, ValueError):
                return b""  # closed by another thread
            if time.monotonic() >= deadline:
                return None

    def _take_stderr(self) -> None:
        data = os.read(self._err, CHUNK_BYTES)
        if not data:
            self._reading[1] = False
            return
        self._stderr.append(data)
        self._stderr_bytes += len(data)
        while self._stderr_bytes - len(self._stderr[0]) >= STDERR_BYTES:
            self._stderr_bytes -= len(self._stderr.popleft())

    def _await_end(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self._reading[1] and ready([self._err], [], _POLL_S):
                self._take_stderr()
            elif self._process.poll() is not None:
                return
            elif not self._reading[1]:
                time.sleep(_POLL_S)

    def stderr_text(self) -> str:
        """What it has written to standard error so far (the last 64 KiB)."""
        return b"".join(self._stderr)[-STDERR_BYTES:].decode("utf-8", "replace")

    def exit_status(self) -> int | None:
        """Its exit status, None while it runs or when the link died first."""
        status = self._process.poll()
        if status is None or status < 0 or (status == SSH_FAILED and self._died()):
            return None
        return status

    def _died(self) -> bool:
        """Whether a status of 255 is the link's: the master may take a moment to go after the command's own ssh."""
        if self._link_died is None:
            deadline = time.monotonic() + MASTER_WAIT_S
            while not self._dead() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
            self._link_died = self._dead()
        return self._link_died

    def converse(self, stdin: bytes, deadline: float, command: str) -> tuple[int, bytes, bytes]:
        """Feed it ``stdin``, read it to its end: exit status, stdout, stderr. Raises ConnectError.

        ``deadline``: on the monotonic clock. Writing and reading take turns, so that a command that writes
        before it has read everything cannot stop us both.
        """
        out: list[bytes] = []
        rest = memoryview(stdin)
        ended = False
        while True:
            if rest and not ended:
                try:
                    rest = rest[self._send_some(rest, 0.0):]
                except ConnectError:
                    rest = rest[:0]  # it has ended without reading everything; how, its status says
            if not rest and not ended:
                ended = True
                self._close_stdin()
            data = self.recv(_POLL_S if rest else 0.5)
            if data == b"":
                break
            out.append(data or b"")
            if time.monotonic() > deadline:
                raise ConnectError("a command took too long", where=self._where, got=command[:200],
                                   fix="The node may be overloaded; it is tried again.")
        self._await_end(deadline)
        status = self.exit_status()
        if status is None:
            raise ConnectError("a command ended without telling how", where=self._where, got=self.stderr_text().strip()[-300:] or "no exit status",
                               fix="The connection broke; it is tried again.")
        return status, b"".join(out), b"".join(self._stderr)[-STDERR_BYTES:]

    def _close_stdin(self) -> None:
        with self._closing, contextlib.suppress(OSError):
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.close()

    def close(self) -> None:
        """Hang up. Safe to call twice and from another thread."""
        self._close_stdin()
        with self._closing:
            if self._closed:
                return
            self._closed = True
        end(self._process, END_WAIT_S)
        # Not closed: a thread in `recv` may be waiting on them, and their numbers would be somebody else's.
        # With the process gone they are at their end; the garbage collector takes them.


def ready(reading: Sequence[int], writing: Sequence[int], timeout_s: float) -> set[int]:
    """Which of these file descriptors can be read or written now. poll(2): a large fleet has more than select's 1024."""
    poller = select.poll()
    for fd in reading:
        poller.register(fd, select.POLLIN)
    for fd in writing:
        poller.register(fd, select.POLLOUT)
    return {fd for fd, _ in poller.poll(timeout_s * 1000)}


def end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    """Let a child that we started end, by itself, on SIGTERM, or by SIGKILL."""
    for step in (None, process.terminate, process.kill):
        if step is not None:
            step()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return
