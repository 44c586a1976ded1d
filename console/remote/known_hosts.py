"""Host keys we trust: known_hosts files read, a shown key judged against them, a new one added.

Owns the file format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): plain and hashed names, ``[host]:port``,
``*`` and ``?`` patterns, negation, ``@revoked``. ``@cert-authority`` lines are passed over: a host that has
only a certificate is unknown to us. Refuses to decide anything silently: what is not known is an error,
and a key that differs from the known one is never accepted by any option.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from console.core.errors import ConnectError, HostKeyError

DEFAULT_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One line of a known_hosts file."""

    names: tuple[str, ...]
    """Patterns, or one hashed name (``|1|salt|hash``)."""
    key_type: str
    blob: bytes
    revoked: bool
    where: str
    """file:line."""


def fingerprint(blob: bytes) -> str:
    """The key's fingerprint as ``ssh-keygen -l`` prints it: ``SHA256:`` and unpadded base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def name_of(host: str, port: int) -> str:
    """The name under which a host's key is filed."""
    return host.lower() if port == DEFAULT_PORT else f"[{host.lower()}]:{port}"


def read(paths: Iterable[str | Path]) -> list[Known]:
    """All lines of those files that hold a key; files that are not there are passed over.

    Raises ConnectError when a file is there and cannot be read: without it nothing can be verified.
    """
    found: list[Known] = []
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConnectError("the known host keys cannot be read", where=str(path), got=str(error.strerror),
                               fix="Make the file readable for you, or name another one.")
        for number, line in enumerate(text.splitlines(), 1):
            known = _parse(line, f"{path}:{number}")
            if known is not None:
                found.append(known)
    return found


def _parse(line: str, where: str) -> Known | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Known(names=tuple(words[0].split(",")), key_type=words[1], blob=blob, revoked=bool(marker), where=where)


def _matches(known: Known, name: str) -> bool:
    hit = False
    for pattern in known.names:
        if pattern.startswith("|1|"):
            hit = hit or _hash_matches(pattern, name)
            continue
        negated = pattern.startswith("!")
        # Only * and ? are special, so fnmatch (which knows [...]) would misread "[host]:port".
        wanted = re.escape(pattern.lstrip("!").lower()).replace(r"\*", ".*").replace(r"\?", ".")
        if re.fullmatch(wanted, name):
            if negated:
                return False
            hit = True
    return hit


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        _, _, salt, digest = hashed.split("|")
        ours = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(ours, base64.b64decode(digest))
    except (binascii.Error, ValueError):
        return False


def key_types(known: Iterable[Known], name: str) -> list[str]:
    """The types of the keys we know of that host, so that the server can be asked for one of these."""
    return [entry.key_type for entry in known if not entry.revoked and _matches(entry, name)]


def verify(known: list[Known], host: str, port: int, key_type: str, blob: bytes) -> bool:
    """True when the host's key is the one we know, False when we know no key of that host.

    Raises HostKeyError when we know another key of it, or when this one is revoked. A key of a type that we
    do not know of a host we do know counts as another key: it is what an impostor without the real one
    would show.
    """
    name = name_of(host, port)
    shown = fingerprint(blob)
    for entry in known:
        if entry.revoked and entry.blob == blob and _matches(entry, name):
            raise HostKeyError(f"HOST KEY REVOKED: {name} shows a key that is marked as revoked", where=entry.where,
                               fingerprint=shown, got=f"{key_type} {shown}",
                               fix="Do not connect; ask who runs the host.")
    ours = [entry for entry in known if not entry.revoked and _matches(entry, name)]
    if any(entry.blob == blob for entry in ours):
        return True
    if not ours and port != DEFAULT_PORT:
        # As OpenSSH does: a key filed under the bare name also vouches for another port of that host.
        bare = name_of(host, DEFAULT_PORT)
        return any(entry.blob == blob for entry in known if not entry.revoked and _matches(entry, bare))
    if ours:
        raise HostKeyError(
            f"HOST KEY CHANGED: {name} does not show the key it had; someone may be listening in", where=ours[0].where,
            fingerprint=shown, got=f"{key_type} {shown}",
            expected=" or ".join(f"{entry.key_type} {fingerprint(entry.blob)}" for entry in ours),
            fix=f"If the host was really installed anew, remove the old line (ssh-keygen -R '{name}') and connect again.")
    return False


def add(path: str | Path, host: str, port: int, key_type: str, blob: bytes) -> None:
    """Append a key to a known_hosts file, which is created (0600, its directory 0700) when missing.

    Raises ConnectError when that fails. Safe against other writers of the same file.
    """
    line = f"{name_of(host, port)} {key_type} {base64.b64encode(blob).decode()}\n"
    path = Path(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            held = os.pread(descriptor, size, 0)
            if line.encode() in held:
                return
            # A file whose last line has no end would swallow ours.
            os.write(descriptor, (b"" if not held or held.endswith(b"\n") else b"\n") + line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConnectError("the new host key cannot be written down", where=str(path), got=str(error.strerror),
                           fix="Make the file writable for you, or name another known_hosts file in the fleet file.")
