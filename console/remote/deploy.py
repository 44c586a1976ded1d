"""The agent on its way to a node: packed by content, sent once, started by the node's own Python.

Owns the archive's make-up and the shell commands that install and start it. ``agent install`` (on the
node) owns the unpacking. Nothing of a running agent is touched: a new one lies beside it under its
own hash, and which of the two is resident is their own business.

The archive is exactly what a node may run: ``agent/`` (sources, catalogue) and the one file of the
trainer that judges checkpoints. Same sources, same bytes, same hash, on every bastion.
"""

from __future__ import annotations

import functools
import hashlib
import io
import secrets
import shlex
import zipfile
from pathlib import Path

import agent
import trainer
from console.core.errors import ConnectError
from console.core.launch.commands import path_word
from console.core.launch.inventory import Node
from console.remote.transport import Connection

AGENT_MISSING_STATUS = 96
"""Exit status of the attach command when no agent of this hash is installed; no shell or Python uses it."""
INSTALL_TIMEOUT_S = 60.0
TRAINER_FILES = ("__init__.py", "spec/__init__.py", "spec/manifest.py")
_MAIN = b"""import sys

from agent.__main__ import main

sys.exit(main())
"""
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


@functools.lru_cache(maxsize=1)
def build_archive() -> tuple[str, bytes]:
    """Content hash (16 hex digits) and zip bytes of the agent, from the installed sources."""
    files = _contents()
    digest = hashlib.sha256()
    for path, data in sorted(files.items()):
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in sorted(files.items()):
            entry = zipfile.ZipInfo(path, _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return digest.hexdigest()[:16], buffer.getvalue()


def _contents() -> dict[str, bytes]:
    root = Path(next(iter(agent.__path__)))
    found = {"__main__.py": _MAIN}
    for path in (*root.rglob("*.py"), *(root / "catalogue").glob("*.json")):
        found[f"agent/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    trainer_root = Path(next(iter(trainer.__path__)))
    for name in TRAINER_FILES:
        found[f"trainer/{name}"] = (trainer_root / name).read_bytes()
    return found


def attach_command(node: Node) -> str:
    """The command line that talks to the node's agent; ends with AGENT_MISSING_STATUS when it is not there."""
    content_hash, _ = build_archive()
    state = f" --state {path_word(node.state_dir)}" if node.state_dir else ""
    return sh_command(f"d={path_word(node.agent_dir)}/{content_hash}; [ -f \"$d/__main__.py\" ] || exit {AGENT_MISSING_STATUS}; "
                  f"exec {as_agent(node)}{path_word(node.python)} -I \"$d\" attach{state} --hash {content_hash}")


def as_agent(node: Node) -> str:
    """What goes before a command that runs as the agent's user; empty where that is the login's own.

    -n: it never asks for a password, as there is nobody to ask. -H: ``~`` is that user's home.
    """
    return "sudo -n -H -- " if node.become == "sudo" else ""


def install_agent(connection: Connection, node: Node) -> None:
    """Send the archive and have it unpacked. Harmless when it is there already. Raises ConnectError."""
    content_hash, data = build_archive()
    directory = path_word(node.agent_dir)
    name = f".{content_hash}.zip.{secrets.token_hex(8)}"
    _check(connection, f"umask 077; mkdir -p {directory}", node, "making the agent's directory")
    try:
        connection.put(data, f"{node.agent_dir}/{name}")
    except ConnectError:
        # Some sites switch SFTP off. When it was the link that failed, this fails too, and says so.
        _check(connection, f"umask 077; cat > {directory}/{name}", node, "sending the agent", stdin=data)
    _check(connection, f"d={directory}; {path_word(node.python)} -I \"$d/{name}\" install \"$d\" {content_hash}; s=$?; rm -f \"$d/{name}\"; exit $s",
           node, "installing the agent")


def ensure_agent(connection: Connection, node: Node) -> str:
    """The command line that talks to the node's agent, which is installed first where it is missing.

    Costs one round trip when it is there. A session saves even that: it starts ``attach_command`` at once
    and installs only when that says the agent is missing. Raises ConnectError.
    """
    content_hash, _ = build_archive()
    status, _, _ = connection.run(sh_command(f"[ -f {path_word(node.agent_dir)}/{content_hash}/__main__.py ]"))
    if status != 0:
        install_agent(connection, node)
    return attach_command(node)


def _check(connection: Connection, script: str, node: Node, what: str, stdin: bytes = b"") -> None:
    status, out, err = connection.run(sh_command(script), stdin=stdin, timeout_s=INSTALL_TIMEOUT_S)
    if status == 0:
        return
    said = (err or out).decode("utf-8", "replace").strip()[-500:]
    fix = "Set `python` for the node in the fleet file." if status == 127 else "Look at `agent_dir`, its permissions and the free space there."
    raise ConnectError(f"{what} failed", where=f"{node.name}:{node.agent_dir}", got=f"exit status {status}: {said}", expected="exit status 0", fix=fix)


def sh_command(script: str, before: str = "") -> str:
    """The command line that has ``script`` run by sh; ``before``: of ``as_agent``."""
    # The login shell may be of any kind; what we write is for sh.
    return f"exec {before}/bin/sh -c {shlex.quote(script)}"
