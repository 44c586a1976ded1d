"""Small JSON files on the node: written whole or not at all, never over one another. Refuses to know their meaning.

A record that must not be overwritten is written beside its place, flushed to the disk, then linked to its
name; the link fails when the name is taken, so that of two writers one wins and the other knows.
``agent.shim`` has the same few lines of its own, because it travels alone.
"""

from __future__ import annotations

import errno
import json
import os
import re
from typing import Any

# What _write_beside writes to, until it has its name.
_BESIDE = re.compile(r"\..+\.[0-9a-f]{8}\Z")


def write_new(path: str, data: dict[str, Any] | str, mode: int = 0o644) -> bool:
    """Write a new file, JSON for a dict and the text itself for a str; False when the name is taken.

    Raises OSError (no space, no permission); nothing is left behind then.
    """
    beside = _write_beside(path, data, mode)
    try:
        os.link(beside, path)
    except FileExistsError:
        return False
    except OSError as error:
        # A file system without hard links (some FUSE and object-store mounts): the name alone is exclusive there.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        except FileExistsError:
            return False
        os.rename(beside, path)
        return True
    finally:
        _remove(beside)
    return True


def replace(path: str, data: dict[str, Any] | str, mode: int = 0o600) -> None:
    """Put a file in the place of whatever has that name; a reader sees the old one or the new one. Raises OSError."""
    beside = _write_beside(path, data, mode)
    try:
        os.replace(beside, path)
    finally:
        _remove(beside)


def read_json(path: str) -> dict[str, Any] | None:
    """The object in a JSON file; None when it is missing, unreadable or not an object."""
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def remove(path: str) -> bool:
    """Remove a file; whether it was there. Raises OSError for anything but a missing file."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def sweep(folder: str) -> None:
    """Remove what a killed process was about to give a name in a directory that nobody else writes to now.

    Raises OSError for anything but a missing directory."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in filter(_BESIDE.match, names):
        remove(os.path.join(folder, name))


def _write_beside(path: str, data: dict[str, Any] | str, mode: int) -> str:
    text = data if isinstance(data, str) else json.dumps(data, indent=1, sort_keys=True) + "\n"
    beside = os.path.join(os.path.dirname(path), ".%s.%s" % (os.path.basename(path), os.urandom(4).hex()))
    fd = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        _remove(beside)
        raise
    return beside


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
