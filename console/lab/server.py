"""The demo's SSH servers: real SSH on loopback, one server a node, each with its own host key.

Owns what sshd would do for a node: public-key login with one key, exec requests run by ``sh`` in the
node's environment, SFTP relative to the node's home. Refuses passwords, agent and port forwarding
(direct-tcpip only where the node is a jump host, and only to its fellow nodes), and any environment the
client sends. It knows nothing of agents, jobs or training.

asyncssh is imported on first use: nothing of the console but the fleet server needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncssh

CHUNK_BYTES = 1 << 16
HANGUP_GRACE_S = 2.0
"""Between SIGHUP and SIGKILL to a command whose client has gone."""
TRAILING_OUTPUT_S = 1.0
"""How long output may stay silent, after its command has ended, before we stop waiting for its end: a
grandchild that kept the pipe open must not keep the channel open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeServer:
    """What one node's server needs to know."""

    name: str
    address: str
    """Loopback address to listen on."""
    home: Path
    confine: Path
    """SFTP sees nothing outside this directory."""
    env: Mapping[str, str]
    """The whole environment of every command."""
    host_key: Path
    client_key: Path
    """Public key of the one who may log in."""
    port: int = 0
    """0: any free one."""
    jump_to: tuple[str, ...] = ()
    """Addresses to which direct-tcpip is let through."""


class Presence:
    """How many authenticated connections there are, over all nodes."""

    def __init__(self) -> None:
        self.connections = 0


def make_key(path: Path, comment: str) -> None:
    """Write a new ed25519 key pair to ``path`` (mode 0600) and ``path``.pub."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.export_private_key("openssh"))
    path.with_name(path.name + ".pub").write_bytes(key.export_public_key("openssh"))


async def listen(node: NodeServer, presence: Presence) -> asyncssh.SSHAcceptor:
    """Start a node's server; ``acceptor.get_port()`` is where it listens. Raises OSError."""
    import asyncssh

    allowed = asyncssh.read_public_key(node.client_key).public_data

    class Login(asyncssh.SSHServer):  # type: ignore[misc]
        """One connection: who may log in, and what may be asked for besides commands and files."""

        def __init__(self) -> None:
            self._counted = False

        def auth_completed(self) -> None:
            self._counted = True
            presence.connections += 1

        def connection_lost(self, exc: Exception | None) -> None:
            if self._counted:
                presence.connections -= 1

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return bool(key.public_data == allowed)

        def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
            return dest_host in node.jump_to

    class Files(asyncssh.SFTPServer):  # type: ignore[misc]
        """Paths are the node's own; relative ones start at its home; what lies outside is not there."""

        def map_path(self, path: bytes) -> bytes:
            full = os.path.normpath(os.path.join(os.fsencode(node.home), path))
            inside = os.fsencode(node.confine)
            if full != inside and not full.startswith(inside + b"/"):
                raise asyncssh.SFTPPermissionDenied("outside the demo's directory")
            return full

    async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
        # An exception that leaves a process handler drops the whole connection with all its channels.
        try:
            await run_command(node, process)
        except (OSError, asyncssh.Error) as problem:
            with contextlib.suppress(Exception):
                process.stderr.write(f"{node.name}: {problem}\n".encode())
                process.exit(255)

    return await asyncssh.listen(
        node.address, node.port, server_factory=Login, server_host_keys=[str(node.host_key)],
        process_factory=handle, sftp_factory=Files, encoding=None, allow_scp=False, agent_forwarding=False,
        x11_forwarding=False, login_timeout=30, reuse_address=True)


class _Streams(asyncio.subprocess.SubprocessStreamProtocol):
    """Streams whose owner learns of the command's end at once. ``Process.wait`` of several Python releases
    waits for the pipes as well (cpython issue 119710), and a grandchild may hold those for days."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=CHUNK_BYTES, loop=loop)
        self.exited: asyncio.Future[None] = loop.create_future()

    def process_exited(self) -> None:
        super().process_exited()
        if not self.exited.done():
            self.exited.set_result(None)


async def run_command(node: NodeServer, process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run one exec request to its end: pipes pumped both ways, exit status or signal passed on.

    When the client goes first, the command's process group gets SIGHUP and then SIGKILL. Whoever left the
    group (setsid) stays, as under any sshd.
    """
    argv = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: _Streams(loop), *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, cwd=node.home, env=dict(node.env), start_new_session=True)
    child = asyncio.subprocess.Process(transport, protocol, loop)
    assert child.stdout is not None and child.stderr is not None
    process.channel.set_write_buffer_limits(0)  # drained means sent: the exit status must not overtake output
    feeding = asyncio.ensure_future(_feed(process, child))
    output = asyncio.gather(_drain(child.stdout, process.stdout, protocol.exited),
                            _drain(child.stderr, process.stderr, protocol.exited),
                            asyncio.shield(protocol.exited))  # the gather's cancellation must not reach it
    gone = asyncio.ensure_future(process.wait_closed())
    try:
        await asyncio.wait([gone, output], return_when=asyncio.FIRST_COMPLETED)
        if output.done() and not output.cancelled() and output.exception() is None:
            code = child.returncode or 0
            if code >= 0:
                process.exit(code)
            else:
                process.exit_with_signal(signal.Signals(-code).name[len("SIG"):])
    finally:
        for task in (feeding, gone, output):
            task.cancel()
        await _hang_up(child, protocol.exited)
        transport.close()


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """Client to command, until either end closes. Signals sent by the client go to the process group."""
    import asyncssh

    assert child.stdin is not None
    while True:
        try:
            data = await process.stdin.read(CHUNK_BYTES)
        except asyncssh.SignalReceived as asked:
            number = getattr(signal, f"SIG{asked.signal}", None)
            if number is not None:
                _signal_group(child.pid, number)
            continue
        except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
            continue
        if not data:
            break
        try:
            child.stdin.write(data)
            await child.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return  # the command closed its input; what the client still sends is read and dropped by SSH
    child.stdin.close()


async def _drain(source: asyncio.StreamReader, sink: Any, exited: asyncio.Future[None]) -> None:
    """Command to client, waiting whenever the client's window is full."""
    reading: asyncio.Future[bytes] | None = None
    try:
        while True:
            reading = reading or asyncio.ensure_future(source.read(CHUNK_BYTES))
            over = exited.done()
            waiting: list[asyncio.Future[Any]] = [reading] if over else [reading, exited]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=TRAILING_OUTPUT_S if over else None)
            if reading.done():
                data, reading = reading.result(), None
                if not data:
                    return
                sink.write(data)
                await sink.drain()
            elif over:
                return
    finally:
        if reading is not None:
            reading.cancel()


async def _hang_up(child: asyncio.subprocess.Process, exited: asyncio.Future[None]) -> None:
    for number in (signal.SIGHUP, signal.SIGKILL):
        if not exited.done():
            _signal_group(child.pid, number)
            await asyncio.wait([exited], timeout=HANGUP_GRACE_S)


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
