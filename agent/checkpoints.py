"""What is in a checkpoint directory on this node, and which iteration a job may go on from.

Owns the look at the files. Refuses to judge: that is ``agent.parse.checkpoint``, for the node and for offline
inspection alike. Never raises for what it finds on disk.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, List, Tuple

from agent.parse import checkpoint
from agent.parse.checkpoint_formats import Read
from trainer.spec import manifest

FILES_MAX = 200000
"""More files than any checkpoint tree has; a directory given by mistake must not be walked for ever."""


PARTS = ("holds", "absent", "sound")
"""What only a joint look at several nodes' parts needs; thousands of names where many ranks share a directory."""


def scan(directory: str, parts: bool = False) -> Dict[str, Any]:
    """The answer to the wire's ``checkpoints``: what ``agent.parse.checkpoint.survey`` says, with full paths; PARTS if asked for.

    ``why``: "" or why the directory could not be read (missing | denied | error: ...). ``tracker_state`` may also be denied.
    """
    path = os.path.expanduser(directory)
    files, folders, why = listing(path)
    found = checkpoint.survey(files, reader(path), folders, os.path.basename(path.rstrip("/")), _free(path))
    for row in found["iterations"]:
        row["path"] = os.path.join(path, row["path"]) if row["path"] else path
        for name in () if parts else PARTS:
            del row[name]
    tracker = os.path.join(path, manifest.TRACKER_NAME)
    if found["tracker_state"] == "torn" and not os.access(tracker, os.R_OK):
        found["tracker_state"] = "denied"
    found["why"] = why
    return found


def listing(path: str) -> Tuple[Dict[str, Tuple[int, float]], List[str], str]:
    """({name below: (bytes, changed at)} of the regular files, names of the directories in it, why it could not all be read)."""
    files: Dict[str, Tuple[int, float]] = {}
    folders: List[str] = []
    trouble: List[OSError] = []
    for base, inner, names in os.walk(path, onerror=trouble.append):
        below = os.path.relpath(base, path)
        prefix = "" if below == "." else below + "/"
        folders += [prefix + name for name in inner]
        for name in names:
            try:
                status = os.stat(os.path.join(base, name))
            except OSError:
                continue  # removed meanwhile; what is missing then is said of its iteration
            if stat.S_ISREG(status.st_mode):
                files[prefix + name] = (status.st_size, status.st_mtime)
        if len(files) > FILES_MAX:
            return files, folders, "error: more than %d files, only some were looked at" % FILES_MAX
    if not trouble:
        return files, folders, ""
    first = trouble[0]
    reason = {FileNotFoundError: "missing", PermissionError: "denied"}.get(type(first))
    return files, folders, reason or "error: %s" % (first.strerror or first)


def reader(path: str) -> Read:
    """Reads pieces of files below a directory; nothing where that cannot be done."""

    def read(name: str, start: int, length: int) -> bytes:
        try:
            with open(os.path.join(path, name), "rb", buffering=0) as file:
                file.seek(start)
                parts = []
                while length > 0:
                    part = file.read(length)
                    if not part:
                        break
                    parts.append(part)
                    length -= len(part)
                return b"".join(parts)
        except OSError:
            return b""

    return read


def _free(path: str) -> Any:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
