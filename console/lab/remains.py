"""What a demo leaves behind, and its end: every process, socket and file of one demo root.

Everything that runs for a demo carries ``RANKDECK_DEMO_ROOT`` in its environment, because the fleet server
sets it for itself and for all that its nodes run. So whoever it is that died without cleaning up, the next
one finds all of it: processes by their environment, directories by their name. Nothing is ever ended by
its name, and nothing outside this user's processes is looked at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from console.core import i18n

MARK = "RANKDECK_DEMO_ROOT"
GRACE_S = 3.0
KILL_S = 10.0
_POLL_S = 0.05


def root_prefix() -> str:
    """How the names of this user's demo roots begin."""
    return f"rankdeck-demo-{os.getuid()}-"


def marked(proc: Path = Path("/proc")) -> dict[int, Path]:
    """pid -> demo root, of all processes that belong to a demo (this process excepted)."""
    found = {}
    mark = f"{MARK}=".encode()
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            raw = (entry / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile, or not ours
        for pair in raw.split(b"\0") if mark in raw else ():
            if pair.startswith(mark):
                found[int(entry.name)] = Path(os.fsdecode(pair[len(mark):]))
    return found


def roots() -> list[Path]:
    """This user's demo roots, alive or dead: those in the directory for temporary files, and those of which a
    process still runs."""
    found = {path for path in Path(tempfile.gettempdir()).glob(root_prefix() + "*") if is_root(path)}
    found.update(path for path in marked().values() if path.name.startswith(root_prefix()))
    return sorted(found)


def is_root(path: Path) -> bool:
    """Whether a directory is one this user's demo made; what others put there is not touched."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return path.name.startswith(root_prefix()) and path.is_dir() and not path.is_symlink() and status.st_uid == os.getuid()


def end_all(root: Path) -> list[int]:
    """End every process of a demo: SIGTERM, ``GRACE_S``, SIGKILL. Returns the pids that would not die."""
    deadline = time.monotonic() + GRACE_S
    told: set[int] = set()
    while (left := _of(root)) and time.monotonic() < deadline:
        for pid in left:
            if pid not in told:  # also those that a launcher started after its first worker was told
                told.add(pid)
                _send(pid, signal.SIGTERM)
        time.sleep(_POLL_S)
    deadline = time.monotonic() + KILL_S
    while (left := _of(root)) and time.monotonic() < deadline:
        for pid in left:
            _send(pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    return left


def clear(root: Path, *, say: Callable[[str], None] = lambda text: None) -> bool:
    """End a demo and remove its directory; True when nothing is left. Safe to call twice, and by two at once."""
    left = end_all(root)
    if left:
        say(i18n.say("processes of the demo that would not end: {pids}", pids=", ".join(map(str, left))))
    for _ in range(3):
        shutil.rmtree(root, ignore_errors=True)
        if not root.exists():
            break
        time.sleep(_POLL_S)
    if root.exists():
        say(i18n.say("cannot remove {root}", root=root))
    return not left and not root.exists()


def _of(root: Path) -> list[int]:
    return sorted(pid for pid, owner in marked().items() if owner == root)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
