"""The transport over paramiko: connects to a node, through jump hosts where it must, and lets nobody fool it.

Owns connecting, verifying, logging in, and what a connection can do (run, open, put). The decisions lie
elsewhere: which way (``ssh_config``), which host keys (``known_hosts``), which keys of ours
(``identities``), which jump connection (``jumps``). Refuses passwords and unverified hosts, and asks nobody
anything unless it was given a ``prompt``.

Every stage has a time limit: resolving and TCP, banner and key exchange, login, channel. paramiko waits
without limit for some answers (exec, subsystem); those are made under ``_within``, which closes the
connection when time is up. paramiko also believes in a dead link for ever; the session's heartbeat
is what finds out.

paramiko takes 0.2 s to import, so it is imported on first use.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from console.core.errors import ConnectError, HostKeyError
from console.core.launch.inventory import Node
from console.remote import known_hosts
from console.remote.identities import gather
from console.remote.jumps import Closable, JumpPool, Lease
from console.remote.paramiko_channel import ParamikoChannel
from console.remote.prompts import Prompt, Question
from console.remote.ssh_config import Endpoint, Route, SshConfig
from console.remote.transport import LoginError, UnreachableError

if TYPE_CHECKING:
    import paramiko

SYSTEM_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"
CHANNEL_TIMEOUT_S = 15.0
PUT_TIMEOUT_S = 60.0
"""For a file of any size that we send (agent archives are under 1 MB)."""
CLOSE_WAIT_S = 2.0
ASKING = "keyboard-interactive"
ANSWER_S = 120.0
MAX_REFUSED_KEYS = 3
"""A server that hangs up after so many refused keys has refused us (OpenSSH: MaxAuthTries, default 6)."""


NOBODY = frozenset((errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN))
"""What the network says when nobody is there."""


class ParamikoTransport:
    """Opens connections; one for all nodes of a fleet, so that they can share jump connections."""

    def __init__(self, *, known_hosts_path: str = "", accept_new: bool = False, config_path: str | None = None,
                 system_known_hosts: str = SYSTEM_KNOWN_HOSTS, prompt: Prompt | None = None) -> None:
        """``known_hosts_path``: the fleet file's own (Inventory.known_hosts). ``accept_new``: write down host
        keys never seen before, there or in the user's file, instead of refusing them. ``config_path``:
        instead of ``~/.ssh/config``. ``prompt``: who answers a server's further questions (keyboard-interactive);
        None: nobody, and a login that asks fails."""
        self._prompt = prompt
        self._known_hosts = known_hosts_path
        self._accept_new = accept_new
        self._config_path = config_path
        self._system_known_hosts = system_known_hosts
        self._pool = JumpPool()
        self._adding = threading.Lock()
        # Without a handler of its own paramiko's complaints would land on the screen's terminal.
        logging.getLogger("paramiko").addHandler(logging.NullHandler())

    def connect(self, node: Node, *, timeout_s: float = 15.0) -> ParamikoConnection:
        """A verified, logged-in connection. Raises HostKeyError, LoginError, ConnectError."""
        # Read anew each time: whoever mends the file and says "reconnect" expects it to count.
        route = SshConfig(self._config_path).route(node)
        deadline = time.monotonic() + (route.target.connect_timeout_s or timeout_s)
        lease = self._through(route.jumps, deadline)
        try:
            transport = self._arrive(route.target, lease, deadline, node.name)
        except BaseException:
            if lease is not None:
                lease.release()
            raise
        return ParamikoConnection(transport, route, lease, node.name)

    def _through(self, jumps: tuple[Endpoint, ...], deadline: float) -> Lease | None:
        """A lease on the last of these jump hosts, reached through the others; None when there are none."""
        if not jumps:
            return None

        def open_it() -> Closable:
            below = self._through(jumps[:-1], deadline)
            try:
                return _Hop(self._arrive(jumps[-1], below, deadline, f"jump host {jumps[-1].host}"), below)
            except BaseException:
                if below is not None:
                    below.release()
                raise

        return self._pool.take(jumps, open_it, _left(deadline))

    def _arrive(self, end: Endpoint, lease: Lease | None, deadline: float, where: str) -> paramiko.Transport:
        from console.remote.paramiko_login import LoginTransport

        sock = _tcp(end, deadline, where) if lease is None else _tunnel(end, lease, deadline, where)
        known = known_hosts.read(self._files(end))
        transport = LoginTransport(cast("Any", sock))
        transport.daemon = True
        try:
            _prefer(transport, known_hosts.key_types(known, known_hosts.name_of(end.key_name, end.key_port)))
            _shake_hands(transport, end, deadline, where)
            self._verify(transport.get_remote_server_key(), end, known, where)
            _log_in(transport, end, deadline, where, self._prompt)
        except BaseException:
            _hang_up(transport)
            raise
        return transport

    def _files(self, end: Endpoint) -> list[str]:
        files = [*end.known_hosts, self._system_known_hosts]
        return [*files, str(Path(self._known_hosts).expanduser())] if self._known_hosts else files

    def _verify(self, key: paramiko.PKey, end: Endpoint, known: list[known_hosts.Known], where: str) -> None:
        blob, key_type = key.asbytes(), key.get_name()
        if known_hosts.verify(known, end.key_name, end.key_port, key_type, blob):
            return
        name = known_hosts.name_of(end.key_name, end.key_port)
        shown = known_hosts.fingerprint(blob)
        target = self._known_hosts or (end.known_hosts[0] if end.known_hosts else "")
        if not self._accept_new or not target:
            raise HostKeyError(f"host key of {name} is not known", where=where, fingerprint=shown, got=f"{key_type} {shown}",
                               expected="a key from known_hosts",
                               fix="Compare the fingerprint with the host's own, then connect once with --accept-new.")
        with self._adding:
            # Another thread may have added this host a moment ago, and with another key.
            if not known_hosts.verify(known_hosts.read(self._files(end)), end.key_name, end.key_port, key_type, blob):
                known_hosts.add(Path(target).expanduser(), end.key_name, end.key_port, key_type, blob)


class _Hop:
    """A jump connection, with the lease of the one it goes through."""

    def __init__(self, transport: paramiko.Transport, below: Lease | None) -> None:
        self.transport = transport
        self._below = below

    def alive(self) -> bool:
        return self.transport.is_active()

    def close(self) -> None:
        _hang_up(self.transport)
        if self._below is not None:
            self._below.release()


class ParamikoConnection:
    """One logged-in connection to one node, and the jump connection under it."""

    def __init__(self, transport: paramiko.Transport, route: Route, lease: Lease | None, name: str) -> None:
        self._transport, self._lease, self._name = transport, lease, name
        self.route = route

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        """Run a shell command to its end: exit status, stdout, stderr. Raises ConnectError."""
        deadline = time.monotonic() + timeout_s
        channel = self._start(command, timeout_s)
        try:
            return channel.converse(stdin, deadline, command)
        finally:
            channel.close()

    def open(self, command: str) -> ParamikoChannel:
        """Start a shell command and talk to it. Raises ConnectError."""
        return self._start(command, CHANNEL_TIMEOUT_S)

    @property
    def host_key(self) -> str:
        """Type and key that the node has shown and that was verified, as known_hosts writes them; "" when it is gone."""
        try:
            key = self._transport.get_remote_server_key()
        except paramiko.SSHException:
            return ""
        return f"{key.get_name()} {key.get_base64()}"

    def _start(self, command: str, timeout_s: float) -> ParamikoChannel:
        timeout_s = min(timeout_s, CHANNEL_TIMEOUT_S)
        with _within(self._transport, timeout_s, f"starting a command on {self._name}", self._name):
            channel = self._transport.open_session(timeout=timeout_s)
            channel.exec_command(command)
        return ParamikoChannel(channel, self._name)

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        """Write a file whole, over SFTP, to a path (relative to the login's home). Raises ConnectError."""
        import paramiko

        # SFTP knows no tilde; it starts in the login's home.
        remote = path[2:] if path.startswith("~/") else path
        with _within(self._transport, PUT_TIMEOUT_S, f"writing {path} on {self._name}", self._name):
            client = paramiko.SFTPClient.from_transport(self._transport)
            if client is None:
                raise paramiko.SSHException("no SFTP channel")
            with client:
                with client.open(remote, "wb") as file:
                    client.chmod(remote, mode)
                    file.set_pipelined(True)
                    file.write(data)
                size = client.stat(remote).st_size
        if size != len(data):
            raise ConnectError("a file did not arrive whole", where=f"{self._name}:{path}", got=f"{size} bytes",
                               expected=f"{len(data)} bytes", fix="Look at the free space there.")

    def close(self) -> None:
        """Hang up, and let go of the jump connection. Safe to call twice and from another thread."""
        _hang_up(self._transport)
        if self._lease is not None:
            self._lease.release()


def _left(deadline: float) -> float:
    return max(0.05, deadline - time.monotonic())


def _tcp(end: Endpoint, deadline: float, where: str) -> socket.socket:
    try:
        sock = socket.create_connection((end.host, end.port), timeout=_left(deadline))
    except TimeoutError:
        raise ConnectError(f"no answer from {end.host} port {end.port}", where=where,
                           fix="Is the machine up, and does a firewall drop the connection?")
    except socket.gaierror as error:
        raise UnreachableError(f"the name {end.host} cannot be resolved", where=where, got=str(error.strerror),
                           fix="Check `host` in the fleet file and the resolver on this machine.")
    except OSError as error:
        raise (UnreachableError if error.errno in NOBODY else ConnectError)(
            f"no connection to {end.host} port {end.port}", where=where, got=str(error.strerror or error), fix="Is sshd running there, on that port?")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _tunnel(end: Endpoint, lease: Lease, deadline: float, where: str) -> paramiko.Channel:
    import paramiko

    hop = cast("_Hop", lease.held)
    try:
        return hop.transport.open_channel("direct-tcpip", (end.host, end.port), ("127.0.0.1", 0), timeout=_left(deadline))
    except paramiko.ChannelException as error:
        raise UnreachableError(f"the jump host cannot reach {end.host} port {end.port}", where=where, got=error.text,
                               fix="Is the machine up, and does the jump host's sshd allow TCP forwarding?")
    except (paramiko.SSHException, EOFError, OSError) as error:
        # It did not even answer: nobody else should be sent this way.
        lease.discard()
        raise ConnectError("the jump host does not answer", where=where, got=str(error), fix="A new connection to it is made.")


def _prefer(transport: paramiko.Transport, known_types: list[str]) -> None:
    """Ask first for host keys of a type that we can verify."""
    options = transport.get_security_options()
    wanted = {name for known in known_types for name in ((known,) if known != "ssh-rsa" else ("rsa-sha2-512", "rsa-sha2-256"))}
    options.key_types = tuple(sorted(options.key_types, key=lambda name: name not in wanted))


def _shake_hands(transport: paramiko.Transport, end: Endpoint, deadline: float, where: str) -> None:
    import paramiko

    left = _left(deadline)
    transport.banner_timeout = transport.handshake_timeout = left
    try:
        transport.start_client(timeout=left)
        # paramiko 5 returns as if all were well when the time is up; asking for the key tells.
        transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectError(f"{end.host} port {end.port} does not speak SSH with us", where=where,
                           got=str(error) or type(error).__name__, expected=f"a key exchange within {left:.0f} s",
                           fix="Is it an SSH server, and does it take new connections (MaxStartups)?")


def _log_in(transport: paramiko.Transport, end: Endpoint, deadline: float, where: str, prompt: Prompt | None) -> None:
    import paramiko

    ours = gather(end)
    refused: list[str] = []
    for identity in ours.offered:
        transport.auth_timeout = _left(deadline)
        try:
            more = transport.auth_publickey(end.user, identity.key)
        except paramiko.BadAuthenticationType as error:
            if prompt is not None and ASKING in error.allowed_types:
                return _answer_questions(transport, end, where, prompt)
            raise LoginError(f"{end} takes no keys", where=where, got=", ".join(error.allowed_types), expected="publickey",
                             fix="Passwords are not supported; allow public keys on that server.")
        except (paramiko.SSHException, EOFError, OSError) as error:
            refused.append(identity.label)
            if transport.is_active() and time.monotonic() < deadline:
                continue
            if not transport.is_active() and len(refused) >= MAX_REFUSED_KEYS:
                break
            raise ConnectError(f"the login as {end} was cut short", where=where, got=str(error) or type(error).__name__,
                               fix="It is tried again; look at the server's log if this stays.")
        if not more:
            return None
        if prompt is not None and ASKING in more:
            return _answer_questions(transport, end, where, prompt)
        raise LoginError(f"{end} wants more than a key", where=where, got=", ".join(more), expected="publickey alone",
                         fix="A second factor needs somebody to ask: connect from a terminal, or set `transport: openssh`.")
    if prompt is not None and transport.is_active() and time.monotonic() < deadline and _takes_questions(transport, end):
        return _answer_questions(transport, end, where, prompt)
    tried = "; ".join([f"{label}: refused" for label in refused] + list(ours.notes))
    if ours.locked:
        fix = f"Unlock it once: ssh-add {ours.locked[0]}"
    elif not ours.offered:
        fix = "Name a key in the fleet file (`key`), or load one with ssh-add."
    else:
        fix = f"Put the public key into ~{end.user}/.ssh/authorized_keys there, or name the right `key` or `user` in the fleet file."
    raise LoginError(f"{end} does not let us in", where=where, got=tried or "no keys to offer", fix=fix)


def _takes_questions(transport: paramiko.Transport, end: Endpoint) -> bool:
    """Whether the server would ask instead of taking a key: it says so when offered nothing (RFC 4252, section 5.2)."""
    import paramiko

    try:
        transport.auth_none(end.user)
    except paramiko.BadAuthenticationType as error:
        return ASKING in error.allowed_types
    except (paramiko.SSHException, EOFError, OSError):
        return False
    return False


def _answer_questions(transport: paramiko.Transport, end: Endpoint, where: str, prompt: Prompt) -> None:
    """The second factor: RFC 4256, any number of rounds with any number of questions. Raises LoginError."""
    import paramiko

    def answer(title: str, instructions: str, questions: list[tuple[str, bool]]) -> list[str]:
        head = " ".join(part.strip() for part in (title, instructions) if part.strip())
        answers = []
        for text, echo in questions:
            given = prompt(Question(node=where, text=f"{head} {text}".strip(), echo=echo))
            if given is None:
                raise LoginError(f"the login as {end} was given up", where=where, got="no answer to the server's question", fix="Reconnect to try again.")
            answers.append(given)
        return answers

    # A person's time, not the network's; the server has a limit of its own (LoginGraceTime, 120 s).
    transport.auth_timeout = ANSWER_S
    try:
        more = transport.auth_interactive(end.user, answer)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise LoginError(f"{end} does not let us in", where=where, got=f"the answers were refused: {str(error) or type(error).__name__}",
                         fix="Reconnect to try again.")
    if more:
        raise LoginError(f"{end} wants still more", where=where, got=", ".join(more), fix="Set `transport: openssh` for this node.")


@contextlib.contextmanager
def _within(transport: paramiko.Transport, timeout_s: float, what: str, where: str) -> Iterator[None]:
    """Turn paramiko's errors into ConnectError, and its endless waits into one by closing the connection."""
    import paramiko

    fired = threading.Event()

    def give_up() -> None:
        fired.set()
        transport.close()

    timer = threading.Timer(timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        if fired.is_set():
            raise ConnectError(f"{what}: no answer in {timeout_s:.0f} s", where=where, fix="The connection was given up; it is made anew.")
        raise ConnectError(f"{what} failed", where=where, got=str(error) or type(error).__name__,
                           fix="Look at the server's log if this stays.")
    finally:
        timer.cancel()


def _hang_up(transport: paramiko.Transport) -> None:
    def close() -> None:
        # The jump host's connection may be gone already, and paramiko then fails at saying goodbye through it.
        with contextlib.suppress(EOFError, OSError):
            transport.close()

    # Over a jump host closing writes to that one's socket, which may be stuck.
    closing = threading.Thread(target=close, name="ssh-close", daemon=True)
    closing.start()
    closing.join(CLOSE_WAIT_S)
