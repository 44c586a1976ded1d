"""Where this agent finds a file that a process in a container names by a path of its own. Refuses to read it.

Through ``/proc/PID/root`` it would be found too, but only while that process lives, and its last words are
read when it is gone. So the mount is looked up: what lies on a volume has a path of the host's that stays.
Format: proc(5), ``/proc/PID/mountinfo``.
"""

from __future__ import annotations

import os
import re

_ESCAPED = re.compile(r"\\([0-7]{3})")


def on_host(pid: int, path: str) -> str:
    """The absolute path by which this agent sees what process ``pid`` calls ``path``; below /proc/PID/root where no mount of ours leads there."""
    if not _apart(pid):
        return path
    inside = "/proc/%d/root%s" % (pid, path)
    for seen in _through_mounts(_mounts(pid), _mounts(None), os.path.normpath(path)):
        if _same(seen, inside):
            return seen
    return inside


def _apart(pid: int) -> bool:
    """Whether a process has another view of the file system; where that cannot be told, it has not."""
    try:
        return os.readlink("/proc/%d/ns/mnt" % pid) != os.readlink("/proc/self/ns/mnt") or os.readlink("/proc/%d/root" % pid) != "/"
    except OSError:
        return False


def _mounts(pid: int | None) -> list[tuple[str, str, str]]:
    """(device, directory of that file system, where it is mounted) of each mount of a process, or of our own."""
    try:
        with open("/proc/%s/mountinfo" % ("self" if pid is None else pid), encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except OSError:
        return []
    return [(row[2], _plain(row[3]), _plain(row[4])) for row in rows if len(row) > 4]


def _through_mounts(theirs: list[tuple[str, str, str]], ours: list[tuple[str, str, str]], path: str) -> list[str]:
    """Paths of ours that lead to their ``path``, the most likely first."""
    above = [mount for mount in theirs if _below(path, mount[2]) is not None]
    if not above:
        return []
    device, root, point = max(above, key=lambda mount: len(mount[2]))
    rest = _below(path, point) or ""
    place = _at(root, rest)
    found = [(len(mount[1]), _at(mount[2], _below(place, mount[1]) or "")) for mount in ours
             if mount[0] == device and _below(place, mount[1]) is not None]
    return [seen for _, seen in sorted(found, reverse=True)]


def _at(folder: str, rest: str) -> str:
    return folder if not rest else folder.rstrip("/") + "/" + rest


def _below(path: str, folder: str) -> str | None:
    """The rest of a path behind a directory; None where it is not below it."""
    if folder == "/":
        return path.lstrip("/")
    if path == folder:
        return ""
    return path[len(folder) + 1:] if path.startswith(folder + "/") else None


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 8)), text)


def _same(seen: str, inside: str) -> bool:
    try:
        here = os.stat(seen)
    except OSError:
        return False
    try:
        there = os.stat(inside)
    except OSError:
        return True     # we may not look in; the mounts say that it is the place
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
