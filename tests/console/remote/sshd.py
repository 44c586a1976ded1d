"""Real SSH servers on loopback (asyncssh, in a thread), and a TCP relay that can fall silent, for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from console.lab.ports import free_port
from tests.patience import PATIENCE_S

Result = TypeVar("Result")


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test sshd", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        async def end() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            if tasks:
                _, left = await asyncio.wait(tasks, timeout=PATIENCE_S / 2)
                assert not left, left
            await self.loop.shutdown_asyncgens()

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


class Sshd:
    """One server: commands run by sh with HOME at ``home``, files there too, tunnels when ``tunnels``."""

    def __init__(self, loop: Loop, home: Path, authorized: list[asyncssh.SSHKey], *, tunnels: bool = False, host_key: asyncssh.SSHKey | None = None,
                 env: dict[str, str] | None = None, sftp: bool = True, second_factor: str = "") -> None:
        """``second_factor``: what keyboard-interactive has to answer, instead of a key."""
        self._loop = loop
        self._second_factor = second_factor
        self.home, self.tunnels, self.env = home, tunnels, env or {}
        self.authorized = {key.public_data for key in authorized}
        self.host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        self.other_host_keys: list[asyncssh.SSHKey] = []
        self.logins: list[str] = []
        self.met = 0
        """Connections so far; ``logins`` may hold one twice (a key is offered, then used)."""
        self.tunnelled: list[int] = []
        self.commands: list[str] = []
        self.connections: list[asyncssh.SSHServerConnection] = []
        self._sftp = sftp
        self.port = free_port("127.0.0.1")  # it may stop and come back
        self._acceptor: asyncssh.SSHAcceptor | None = None
        home.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        sshd = self

        class Login(asyncssh.SSHServer):  # type: ignore[misc]
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self._conn = conn
                sshd.connections.append(conn)
                sshd.met += 1

            def connection_lost(self, exc: Exception | None) -> None:
                sshd.connections.remove(self._conn)

            def public_key_auth_supported(self) -> bool:
                return not sshd._second_factor

            def kbdint_auth_supported(self) -> bool:
                return bool(sshd._second_factor)

            def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
                return "One-time code", "Look at your token.", "en", [("Code: ", False)]

            def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
                return responses == [sshd._second_factor]

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                if key.public_data in sshd.authorized:
                    sshd.logins.append(username)
                    return True
                return False

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
                if sshd.tunnels:
                    sshd.tunnelled.append(dest_port)
                return sshd.tunnels

        class Files(asyncssh.SFTPServer):  # type: ignore[misc]
            def map_path(self, path: bytes) -> bytes:
                return os.path.join(os.fsencode(sshd.home), path)

        async def begin() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen("127.0.0.1", self.port, server_factory=Login, server_host_keys=[self.host_key, *self.other_host_keys], process_factory=self._run,
                                         encoding=None, sftp_factory=Files if self._sftp else None)

        self._acceptor = self._loop.do(begin())
        self.port = self._acceptor.get_port()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command or ""
        self.commands.append(command)
        env = {"HOME": str(self.home), "PATH": os.environ["PATH"], **self.env}
        child = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, cwd=self.home, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, start_new_session=True)
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None

        async def feed() -> None:
            with contextlib.suppress(OSError, asyncssh.Error):
                while data := await process.stdin.read(1 << 15):
                    child.stdin.write(data)  # type: ignore[union-attr]
                    await child.stdin.drain()  # type: ignore[union-attr]
            child.stdin.close()  # type: ignore[union-attr]

        async def copy(source: asyncio.StreamReader, target: Any) -> None:
            with contextlib.suppress(OSError, asyncssh.Error):
                while data := await source.read(1 << 15):
                    target.write(data)
                    await target.drain()

        feeding = asyncio.ensure_future(feed())
        try:
            await asyncio.gather(copy(child.stdout, process.stdout), copy(child.stderr, process.stderr))
            with contextlib.suppress(OSError, asyncssh.Error):
                process.exit(await child.wait())
        finally:
            feeding.cancel()
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # its own session, so its own group
                await child.wait()

    def stop(self) -> None:
        """No new connections, and the ones there are dropped."""

        async def end() -> None:
            if self._acceptor is not None:
                self._acceptor.close()
                await self._acceptor.wait_closed()
            for connection in list(self.connections):
                connection.abort()
                with contextlib.suppress(Exception):
                    await connection.wait_closed()

        self._loop.do(end())
        self._acceptor = None

    def drop(self) -> None:
        """Break all connections; new ones are welcome."""

        async def end() -> None:
            for connection in list(self.connections):
                connection.abort()

        self._loop.do(end())


class Relay:
    """A TCP relay to a port that can stop forwarding without closing anything: a dead link."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.silent = False
        self._applied = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="test relay", daemon=True)
        self._thread.start()

    def go_silent(self) -> None:
        """Connections made so far carry nothing from now on, in either direction; so do new ones."""
        self.silent = True
        assert self._applied.wait(PATIENCE_S)

    def resume(self) -> None:
        """New connections are carried again; the old ones stay dead, as behind a firewall that forgot them."""
        self._applied.clear()
        self.silent = False

    def _run(self) -> None:
        selector = selectors.DefaultSelector()
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, None)
        peer: dict[socket.socket, socket.socket] = {}
        dead: set[socket.socket] = set()
        while not self._stop.is_set():
            if self.silent:
                for sock in peer:
                    if sock not in dead:
                        dead.add(sock)
                        selector.unregister(sock)
                self._applied.set()
            for key, _ in selector.select(0.02):
                if key.data is None:
                    near, _address = self._listener.accept()
                    far = socket.create_connection(("127.0.0.1", self._target))
                    peer[near], peer[far] = far, near
                    for sock in (near, far):
                        selector.register(sock, selectors.EVENT_READ, True)
                    continue
                sock: socket.socket = key.fileobj  # type: ignore[assignment]
                if self.silent or sock in dead:
                    continue
                try:
                    data = sock.recv(1 << 16)
                    if data:
                        peer[sock].sendall(data)
                        continue
                except OSError:
                    pass
                for end in (sock, peer[sock]):
                    if end not in dead:
                        dead.add(end)
                        selector.unregister(end)
                    end.close()
        for sock in (*peer, self._listener):
            sock.close()
        selector.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
