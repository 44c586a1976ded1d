"""Where a node is and how to log in there: the fleet file's word over ``~/.ssh/config`` over SSH's defaults.

Owns the reading of the user's SSH configuration: HostName, HostKeyAlias, Port, User, IdentityFile,
IdentitiesOnly, ProxyJump, UserKnownHostsFile, ConnectTimeout, with Host and Match blocks (paramiko's
parser) and Include (ours: paramiko passes it over in silence). Refuses ProxyCommand, which it could only
run half: whoever needs it takes the system's ssh. Opens no connection.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.errors import ConnectError
from console.core.launch.inventory import Node
from console.remote.known_hosts import DEFAULT_PORT

if TYPE_CHECKING:
    import paramiko

DEFAULT_PATH = "~/.ssh/config"
DEFAULT_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
MAX_INCLUDES = 16
"""Depth at which an Include chain is taken for a loop; OpenSSH's own limit."""
MAX_JUMPS = 8
"""Depth at which jump hosts that need jump hosts are taken for a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One SSH server on the way, fully resolved."""

    host: str
    port: int
    user: str
    key_name: str
    """The name its host key is filed under (HostKeyAlias, else the host)."""
    key_port: int
    identities: tuple[str, ...]
    """Private key files to try, in order."""
    explicit: bool
    """The identities were asked for; false: SSH's default files, of which any may be missing."""
    identities_only: bool
    known_hosts: tuple[str, ...]
    """The user's known_hosts files; the first is the one that is added to."""
    connect_timeout_s: float | None

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The way to a node: the jump hosts in the order they are passed, then the node."""

    jumps: tuple[Endpoint, ...]
    target: Endpoint


class SshConfig:
    """The user's SSH configuration file, read once."""

    def __init__(self, path: str | None = None) -> None:
        """``path`` None: ``~/.ssh/config``, which may be missing. Raises ConnectError when it cannot be used."""
        import paramiko

        self._path = Path(path if path is not None else DEFAULT_PATH).expanduser()
        text = ""
        if path is not None or self._path.exists():
            text = _with_includes(self._path, self._path.parent, 0)
        try:
            self._config: paramiko.SSHConfig = paramiko.SSHConfig.from_text(text)
        except (paramiko.SSHException, ValueError) as error:
            raise self._unusable(error)

    def _unusable(self, error: BaseException) -> ConnectError:
        return ConnectError("the SSH configuration cannot be used", where=str(self._path), got=str(error) or type(error).__name__,
                            fix="Mend that line, or name another file.")

    def route(self, node: Node) -> Route:
        """The way to a node. Raises ConnectError for what cannot be followed."""
        options = self._lookup(node.host)
        target = _endpoint(node.host, options, user=node.user, port=node.port, key=node.key)
        jump = node.jump or options.get("proxyjump", "")
        if not jump and options.get("proxycommand", "none") != "none":
            raise ConnectError("ProxyCommand is not followed", where=f"{node.name} ({self._path})", got=options["proxycommand"],
                               expected="ProxyJump", fix="Write ProxyJump, or set `jump` in the fleet file.")
        return Route(jumps=tuple(self._jumps(jump, node.key, where=node.name, depth=0)), target=target)

    def _jumps(self, text: str, key: str, *, where: str, depth: int) -> list[Endpoint]:
        found: list[Endpoint] = []
        if text.lower() in ("", "none"):
            return found
        if depth >= MAX_JUMPS:
            raise ConnectError("the jump hosts on the way name each other", where=where, got=text,
                               fix=f"Look at ProxyJump in {self._path}.")
        for number, hop in enumerate(text.split(",")):
            user, host, port = _split_hop(hop.strip(), where)
            options = self._lookup(host)
            if number == 0:
                # As ssh does: how to get to the first jump host is that host's own block's business.
                found += self._jumps(options.get("proxyjump", ""), key, where=where, depth=depth + 1)
            # The fleet file has one key for the way and the node; the configuration's own come first.
            found.append(_endpoint(host, options, user=user, port=port, extra_key=key))
        return found

    def _lookup(self, host: str) -> Mapping[str, Any]:
        import paramiko

        try:
            return self._config.lookup(host)
        # ImportError: `Match exec` wants a package that we do not install.
        except (paramiko.SSHException, ValueError, KeyError, ImportError) as error:
            raise self._unusable(error)


def _split_hop(text: str, where: str) -> tuple[str, str, int]:
    """user, host and port of one ``[user@]host[:port]`` or ``ssh://`` part; empty and 0 where not said."""
    # [ops@]bastion[:2222], ops@[2001:db8::1]:22
    match = re.fullmatch(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]@\s/]+))(?::(?P<port>\d+))?/?", text)
    if match is None:
        raise ConnectError("a jump host is not readable", where=where, got=text, expected="[user@]host[:port]",
                           fix="Mend `jump` in the fleet file or ProxyJump in the SSH configuration.")
    return match["user"] or "", match["six"] or match["host"], int(match["port"] or 0)


def _endpoint(alias: str, options: Mapping[str, Any], *, user: str, port: int, key: str = "", extra_key: str = "") -> Endpoint:
    host = options.get("hostname", alias)
    port = port or int(options.get("port", DEFAULT_PORT))
    files = options.get("identityfile", [])
    named = [key] if key else [file for file in files if file.lower() != "none"]
    if extra_key and extra_key not in named:
        named.append(extra_key)
    known = options.get("userknownhostsfile", "")
    known_hosts = tuple(shlex.split(known)) if known else DEFAULT_KNOWN_HOSTS
    timeout = options.get("connecttimeout", "")
    name = options.get("hostkeyalias", "")
    return Endpoint(
        host=host, port=port, user=user or options.get("user", "") or getpass.getuser(),
        key_name=name or host, key_port=DEFAULT_PORT if name else port,
        identities=tuple(_expand(file) for file in (named or DEFAULT_IDENTITIES)), explicit=bool(named),
        identities_only=options.get("identitiesonly", "no").lower() == "yes",
        known_hosts=tuple(_expand(file) for file in known_hosts if file.lower() != "none"),
        connect_timeout_s=float(timeout) if timeout.isdigit() and int(timeout) > 0 else None,
    )


def _expand(path: str) -> str:
    return str(Path(path).expanduser())


def _with_includes(path: Path, base: Path, depth: int) -> str:
    """The file's text with Include lines replaced by what they name, the enclosing block taken up again after."""
    if depth > MAX_INCLUDES:
        raise ConnectError("Include lines of the SSH configuration go round in circles", where=str(path),
                           fix="Remove one of them.")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConnectError("the SSH configuration cannot be read", where=str(path), got=str(error.strerror),
                           fix="Make it readable for you, or name another file.")
    lines: list[str] = []
    block = "Host *"
    for line in text.splitlines():
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in ("host", "match"):
            block = line
        if keyword.lower() != "include":
            lines.append(line)
            continue
        for pattern in shlex.split(rest):
            # Relative names lie in the configuration's own directory (ssh_config(5), Include).
            full = os.path.join(base, os.path.expanduser(pattern))
            for name in sorted(glob.glob(full)):
                lines += [_with_includes(Path(name), base, depth + 1), block]
    return "\n".join(lines)
