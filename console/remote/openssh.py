"""The transport over the system's own ``ssh``: for second factors, security keys, ``Match`` and ProxyCommand.

Owns one master connection a node (ControlMaster, in a short private directory of ours) and what runs over
it. The master carries a remote ``cat`` on our pipe: it answers once when the login is through, and when
this process dies, however, the pipe closes, ``cat`` ends and with it the master. Commands go through the
master's socket and can never make a connection of their own.

Everything is decided by ssh and the user's configuration; ours says only what must hold on every hop: host
keys are checked and unknown ones refused, nobody is asked unless ``prompt`` is given, dead links are noticed.
The fleet file's user, port and key are the node's. Needs OpenSSH 7.6 or later (StrictHostKeyChecking
accept-new), 8.4 for prompts without a display.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from console.core.errors import ConnectError
from console.core.launch.commands import path_word
from console.core.launch.inventory import Node
from console.remote import known_hosts, openssh_says
from console.remote.deploy import sh_command
from console.remote.openssh_channel import CHUNK_BYTES, ProcessChannel, end, ready
from console.remote.prompts import AskDesk, Prompt

PUT_TIMEOUT_S = 60.0
CLOSE_WAIT_S = 2.0
SOCKET_PATH_BYTES = 80
"""A socket's name holds 107 bytes, and ssh first makes it under a name 17 bytes longer."""
DEFAULT_CONFIG = "~/.ssh/config"
SYSTEM_CONFIG = "/etc/ssh/ssh_config"
_FOR_SHELLS = re.compile(r"""['"`$;&<>|(){}\s\x00-\x1f\x7f]|\\$""")
"""What OpenSSH 9.6's valid_hostname and valid_ruser refuse, and ``$``; a backslash parts a domain from a user."""
# On every command that uses the master: no configuration is read, and without the master there is no way out.
_THROUGH = ("-F", "none", "-T", "-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "ProxyCommand=exit 1", "-o", "LogLevel=ERROR")


class OpenSshTransport:
    """Opens connections; holds nothing itself."""

    def __init__(self, *, known_hosts_path: str = "", accept_new: bool = False, config_path: str | None = None,
                 prompt: Prompt | None = None, program: str = "ssh") -> None:
        """``known_hosts_path``: the fleet file's own, before the user's. ``config_path``: instead of
        ``~/.ssh/config`` and the system's. ``prompt``: who answers what a login asks; None: nobody, and a login
        that asks fails."""
        self._known_hosts, self._accept_new, self._config_path = known_hosts_path, accept_new, config_path
        self._prompt, self._program = prompt, program

    def connect(self, node: Node, *, timeout_s: float = 15.0) -> OpenSshConnection:
        """A verified, logged-in connection. Raises HostKeyError, LoginError, ConnectError."""
        folder = _private_folder(node)
        desk: AskDesk | None = None
        try:
            (folder / "config").write_text(self._configuration(node, timeout_s))
            desk = AskDesk(folder, node.name, self._prompt) if self._prompt is not None else None
            master = Master([self._program, *_master_words(node, folder)], node.name, folder, desk)
            try:
                master.await_login(timeout_s)
            except BaseException:
                master.close()
                raise
        except OSError as error:
            _remove(folder, desk)
            raise ConnectError("the system's ssh cannot be started", where=node.name, got=str(error), expected="OpenSSH's client",
                               fix="Install openssh-client, or set `transport: paramiko`.")
        except BaseException:
            _remove(folder, desk)
            raise
        return OpenSshConnection(master, self._program, (self._known_hosts or "~/.ssh/known_hosts",))

    def _configuration(self, node: Node, timeout_s: float) -> str:
        """What holds on every hop (``-J`` hands this file on), before the user's own: the first word counts."""
        lines = [
            f"BatchMode {'no' if self._prompt is not None else 'yes'}",
            f"StrictHostKeyChecking {'accept-new' if self._accept_new else 'yes'}",
            f"ConnectTimeout {max(1, int(timeout_s))}", "ServerAliveInterval 5", "ServerAliveCountMax 3", "TCPKeepAlive yes",
            "NumberOfPasswordPrompts 2", "RemoteCommand none", "PermitLocalCommand no", "ForwardAgent no", "ForwardX11 no",
            # Names the key a server shows; what is not for people is filtered.
            "LogLevel DEBUG1"]
        if self._known_hosts:
            files = (self._known_hosts, "~/.ssh/known_hosts", "~/.ssh/known_hosts2")
            lines.append("UserKnownHostsFile " + " ".join(_config_path(file, node) for file in files))
        if node.key:
            lines.append(f"IdentityFile {_config_path(node.key, node)}")
        own = [self._config_path] if self._config_path is not None else [DEFAULT_CONFIG, SYSTEM_CONFIG]
        # An absolute name, as a relative one would be looked for in ~/.ssh.
        lines += [f"Include {_config_path(str(Path(path).expanduser().absolute()), node)}" for path in own]
        return "\n".join(lines) + "\n"


class Master:
    """One node's master process and its directory, until closed."""

    def __init__(self, argv: list[str], name: str, folder: Path, desk: AskDesk | None) -> None:
        """Raises OSError."""
        self.name, self.folder, self._desk = name, folder, desk
        self.socket = folder / "s"
        self._said: deque[bytes] = deque(maxlen=256)
        self._closing = threading.Lock()
        self._closed = False
        self._token = secrets.token_hex(8).encode()
        self.fingerprint, self.key_files = "", list[str]()
        """Of the host key that the node has shown, and where ssh has found such keys; known after the login."""
        env = {**os.environ, **(desk.environment() if desk is not None else {})}
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                                         start_new_session=True, env=env)
        assert self._process.stdin is not None and self._process.stdout is not None and self._process.stderr is not None
        self._stdin, self._out, self._err = self._process.stdin, self._process.stdout.fileno(), self._process.stderr.fileno()
        self._drain: threading.Thread | None = None

    def await_login(self, timeout_s: float) -> None:
        """Wait until the far end answers. Raises HostKeyError, LoginError, ConnectError."""
        deadline = time.monotonic() + timeout_s
        heard = b""
        talking = True
        with contextlib.suppress(OSError):
            self._stdin.write(self._token + b"\n")
        while self._token not in heard:
            left = deadline + (self._desk.waited_s() if self._desk is not None else 0.0) - time.monotonic()
            if left <= 0:
                raise ConnectError("the login was not through in time", where=self.name, got=openssh_says.said(self._text()) or f"nothing in {timeout_s:.0f} s",
                                   fix="The node or the bastion may be overloaded; it is tried again.")
            waiting = ready([self._out, self._err] if talking else [self._out], [], min(left, 0.5))
            if self._err in waiting:
                words = os.read(self._err, CHUNK_BYTES)
                talking = bool(words)
                self._said.append(words)
            if self._out in waiting:
                data = os.read(self._out, CHUNK_BYTES)
                if not data:
                    self._read_last_words()
                    raise openssh_says.error(self._text(), self.name)
                heard = (heard + data)[-CHUNK_BYTES:]
        # Now: what is said later pushes it out.
        self.fingerprint, self.key_files = openssh_says.key_shown(self._text())
        self._drain = threading.Thread(target=self._read_on, name=f"ssh {self.name}", daemon=True)
        self._drain.start()

    def _read_last_words(self) -> None:
        end_s = time.monotonic() + CLOSE_WAIT_S
        while time.monotonic() < end_s and ready([self._err], [], 0.2):
            data = os.read(self._err, CHUNK_BYTES)
            if not data:
                return
            self._said.append(data)

    def _read_on(self) -> None:
        """Keep its pipes empty; a master that blocks on one would carry nothing."""
        fds = {self._out, self._err}
        while fds:
            for fd in ready(sorted(fds), [], 60.0):
                try:
                    data = os.read(fd, CHUNK_BYTES)
                except OSError:
                    data = b""
                if not data:
                    fds.discard(fd)
                elif fd == self._err:
                    self._said.append(data)

    def _text(self) -> str:
        return b"".join(self._said).decode("utf-8", "replace")

    def dead(self) -> bool:
        """Whether it is known to have ended."""
        return self._closed or self._process.poll() is not None

    def last_words(self) -> str:
        """The end of what it had to say."""
        return openssh_says.said(self._text())

    def close(self) -> None:
        """End it, and with it everything that runs over it. Safe to call twice and from another thread."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        # SIGTERM, not the end of `cat`: that would wait for every command that still runs.
        self._process.terminate()
        end(self._process, CLOSE_WAIT_S)
        with contextlib.suppress(OSError):
            self._stdin.close()
        if self._drain is not None:
            self._drain.join(CLOSE_WAIT_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None and (self._drain is None or not self._drain.is_alive()):
                pipe.close()
        _remove(self.folder, self._desk)


class OpenSshConnection:
    """One logged-in connection to one node: commands through its master."""

    def __init__(self, master: Master, program: str, key_files: Sequence[str] = ()) -> None:
        """``key_files``: where the node's host key may be, besides where ssh says that it has found it."""
        self._master, self._program, self._key_files = master, program, key_files

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        """Run a shell command to its end: exit status, stdout, stderr. Raises ConnectError."""
        deadline = time.monotonic() + timeout_s
        channel = self.open(command)
        try:
            return channel.converse(stdin, deadline, command)
        finally:
            channel.close()

    def open(self, command: str) -> ProcessChannel:
        """Start a shell command and talk to it. Raises ConnectError."""
        if self._master.dead():
            raise ConnectError("the connection is gone", where=self._master.name, got=self._master.last_words(), fix="It is made anew.")
        argv = [self._program, *_THROUGH, "-o", f"ControlPath={self._master.socket}", "--", "node", command]
        return ProcessChannel(argv, self._master.name, self._master.dead)

    @property
    def host_key(self) -> str:
        """Type and key that the node has shown and ssh has verified, as known_hosts writes them; "" when no file has it."""
        # ssh tells its fingerprint alone; a key just accepted is in the first file.
        files = dict.fromkeys(str(Path(file).expanduser()) for file in (*self._master.key_files, *self._key_files))
        with contextlib.suppress(ConnectError):
            for known in known_hosts.read(files):
                if not known.revoked and known_hosts.fingerprint(known.blob) == self._master.fingerprint:
                    return f"{known.key_type} {base64.b64encode(known.blob).decode()}"
        return ""

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        """Write a file whole, to a path (relative to the login's home). Raises ConnectError."""
        word = path_word(path)
        # Through a command and not SFTP: one process less, and it works where SFTP is switched off.
        script = f"umask 077; cat > {word} && chmod {mode:o} {word} && wc -c < {word}"
        status, out, err = self.run(sh_command(script), stdin=data, timeout_s=PUT_TIMEOUT_S)
        size = out.split()[-1:] or [b"nothing"]
        if status != 0 or size[0] != str(len(data)).encode():
            raise ConnectError("a file did not arrive whole", where=f"{self._master.name}:{path}",
                               got=err.decode("utf-8", "replace").strip() or f"{size[0].decode('ascii', 'replace')} bytes",
                               expected=f"{len(data)} bytes", fix="Look at the free space there, and who may write.")

    def close(self) -> None:
        """Hang up. Safe to call twice and from another thread."""
        self._master.close()


def _master_words(node: Node, folder: Path) -> list[str]:
    for what, value in (("host", node.host), ("user", node.user), ("jump", node.jump)):
        if value.startswith("-"):
            raise ConnectError(f"{what} looks like an option of ssh", where=node.name, got=value, fix="Correct the fleet file.")
        # Before 9.6 ssh put them as they are into lines that it gives to a shell (ProxyCommand, Match exec, its own -J).
        if found := _FOR_SHELLS.search(value):
            raise ConnectError(f"{what} has a character that a shell would read as its own", where=node.name, got=f"{value!r}, with {found[0]!r}",
                               expected="a name or an address", fix="Correct the fleet file.")
    words = ["-F", str(folder / "config"), "-T", "-o", "ControlMaster=yes", "-o", f"ControlPath={folder / 's'}", "-o", "ControlPersist=no",
             "-o", "ClearAllForwardings=yes", "-o", "EscapeChar=none"]
    words += ["-p", str(node.port)] if node.port else []
    words += ["-l", node.user] if node.user else []
    words += ["-J", node.jump] if node.jump else []
    return [*words, "--", node.host.strip("[]"), "exec cat"]


def _config_path(path: str, node: Node) -> str:
    """A path as ssh_config(5) reads it: in quotes, home spelled out, no tokens."""
    full = str(Path(path).expanduser())
    if any(mark in full for mark in ('"', "\n", "\r", "\\")):
        raise ConnectError("a path that ssh's configuration cannot say", where=node.name, got=repr(path), fix="Rename the file.")
    return f'"{full}"'.replace("%", "%%")


def _private_folder(node: Node) -> Path:
    """A new directory of ours, 0700, with a short path."""
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):
        if base and len(os.fsencode(base)) <= SOCKET_PATH_BYTES - 16:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="rdk-", dir=base))
    raise ConnectError("there is no directory for ssh's sockets", where=node.name, got=tempfile.gettempdir(), expected="a short path that can be written",
                       fix="Set TMPDIR.")


def _remove(folder: Path, desk: AskDesk | None) -> None:
    if desk is not None:
        desk.close()
    shutil.rmtree(folder, ignore_errors=True)
