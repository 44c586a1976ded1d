"""Which keys to offer a server, in which order, and why one could not be offered.

Owns key files, their public halves and the ssh-agent. Refuses to ask for anything: a key that is
protected by a passphrase is used through the agent or not at all.

Order, as in OpenSSH: the keys that were asked for (from the agent where it holds them, else from their
file), then whatever else the agent has, unless IdentitiesOnly says not to.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from console.remote.ssh_config import Endpoint

if TYPE_CHECKING:
    import paramiko

AGENT_TIMEOUT_S = 5.0
"""An agent that was forwarded over a dead link never answers."""
_MAGIC = b"openssh-key-v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A key that can sign, and what to call it."""

    label: str
    key: paramiko.PKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """What there is to offer. ``notes``: why others are not among them, one line each."""

    offered: tuple[Identity, ...]
    notes: tuple[str, ...]
    locked: tuple[str, ...]
    """Files that are protected by a passphrase and not in the agent."""


def gather(endpoint: Endpoint) -> Identities:
    """The keys to offer to that server. Never raises; what is wrong with a key becomes a note."""
    notes: list[str] = []
    agent = _agent_keys(notes)
    offered: list[Identity] = []
    locked: list[str] = []
    used: set[bytes] = set()
    for path in endpoint.identities:
        if not Path(path).exists() and not Path(path + ".pub").exists():
            if endpoint.explicit:
                notes.append(f"{path}: not there")
            continue
        public = public_blob(path)
        if public is not None and public in agent:
            offered.append(Identity(label=f"{path} (agent)", key=agent[public]))
            used.add(public)
            continue
        found = _load(path, notes, locked)
        if found is not None:
            offered.append(Identity(label=path, key=found))
            used.add(found.asbytes())
    if not endpoint.identities_only:
        offered += [Identity(label=f"agent key {key.get_name()}", key=key) for blob, key in agent.items() if blob not in used]
    return Identities(offered=tuple(offered), notes=tuple(notes), locked=tuple(locked))


def _load(path: str, notes: list[str], locked: list[str]) -> paramiko.PKey | None:
    import paramiko

    try:
        try:
            return paramiko.PKey.from_path(path)
        except paramiko.PasswordRequiredException:
            raise
        except paramiko.SSHException:
            return _converted(path)
    except (paramiko.PasswordRequiredException, TypeError):
        # TypeError is what the crypto library says of a protected key when it gets no passphrase.
        locked.append(path)
        notes.append(f"{path}: protected by a passphrase and not in the ssh-agent")
    except OSError as error:
        notes.append(f"{path}: {error.strerror or error}")
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError) as error:
        notes.append(f"{path}: not a usable private key ({type(error).__name__})")
    except Exception as error:  # noqa: BLE001 - the crypto library's own exceptions, which differ by version
        notes.append(f"{path}: not a usable private key ({type(error).__name__})")
    return None


def _converted(path: str) -> paramiko.PKey:
    """A key in a form that paramiko does not read itself (PKCS#8, and some OpenSSH files of other makers)."""
    import paramiko
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    data = Path(path).read_bytes()
    try:
        loaded: object = serialization.load_ssh_private_key(data, password=None)
    except ValueError:
        loaded = serialization.load_pem_private_key(data, password=None)
    for kind, made in ((ed25519.Ed25519PrivateKey, paramiko.Ed25519Key), (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey), (rsa.RSAPrivateKey, paramiko.RSAKey)):
        if isinstance(loaded, kind):
            text = loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
            return made.from_private_key(io.StringIO(text.decode()))
    raise ValueError(f"a key of a kind that is not supported: {type(loaded).__name__}")


def _agent_keys(notes: list[str]) -> dict[bytes, paramiko.PKey]:
    """public blob -> key of the running agent; empty when there is none or it does not answer in time."""
    import paramiko

    answer: list[tuple[paramiko.AgentKey, ...]] = []

    def ask() -> None:
        try:
            answer.append(paramiko.Agent().get_keys())
        except (paramiko.SSHException, OSError) as error:
            notes.append(f"ssh-agent: {error}")

    asking = threading.Thread(target=ask, name="ssh-agent", daemon=True)
    asking.start()
    asking.join(AGENT_TIMEOUT_S)
    if asking.is_alive():
        notes.append(f"ssh-agent: no answer in {AGENT_TIMEOUT_S:.0f} s")
    return {key.asbytes(): key for keys in answer for key in keys}


def public_blob(path: str) -> bytes | None:
    """The public key belonging to a private key file, without its passphrase; None when it cannot be told.

    From ``path``.pub, else from the file's own clear header (PROTOCOL.key of OpenSSH: magic, cipher, kdf,
    kdf options, number of keys, then the public key).
    """
    for candidate in (path if path.endswith(".pub") else path + ".pub", path):
        try:
            text = Path(candidate).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        try:
            if candidate.endswith(".pub"):
                return base64.b64decode(text.split()[1], validate=True)
            lines = text.strip().splitlines()
            if lines and lines[0] == "-----BEGIN OPENSSH PRIVATE KEY-----":
                return _public_part(base64.b64decode("".join(lines[1:-1])))
        except (binascii.Error, ValueError, IndexError, struct.error):
            continue
    return None


def _public_part(data: bytes) -> bytes | None:
    if not data.startswith(_MAGIC):
        return None
    at = len(_MAGIC)
    for _ in range(3):  # cipher, kdf, kdf options
        (size,) = struct.unpack_from(">I", data, at)
        at += 4 + size
    count, size = struct.unpack_from(">II", data, at)
    return data[at + 8:at + 8 + size] if count == 1 else None
