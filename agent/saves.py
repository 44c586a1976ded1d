"""The checkpoint directories of the attempts that are open here, looked at now and then, told when they change.

Owns the cadence and what is worth a record: the saves themselves, the tracker, what is wrong; free space only
when it decides something or has moved by a tenth. Refuses to judge (``agent.parse.checkpoint``) and to store
(the resident does). A look may hang with its file system; it is taken in a lane of its own.
"""

from __future__ import annotations

import os
from typing import Any

from agent import attempt as attempts
from agent import checkpoints, clock, disk, wire
from agent.attempt import Pointer
from agent.home import Home

LOOK_S = 15.0
KEPT_ROWS = 64
"""Newest saves in a record; a directory may hold thousands."""
PARTS_ROWS, PARTS_NAMES = 8, 1024
"""Newest saves of which names are told, and most names of one, with storage that is each node's own."""


class Saves:
    """What has been told of each directory. ``look`` returns the records that are due."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._seen: dict[tuple[str, str], Any] = {}
        self._told: dict[tuple[str, str], dict[str, Any]] = {}
        self._open: set[str] = set()
        """Attempts that were open at the last look: one that has ended since, perhaps with a save, is looked at once more."""
        self._last: set[str] = set()
        """Attempts of which the last look was that once more."""

    def look(self) -> list[dict[str, Any]]:
        """One look at the directory of every attempt that is open, or was at the last look; records of kind ``saves``."""
        records, known, still = [], set(), set()
        self._last.clear()
        for pointer in attempts.load_all(self._home.attempts):
            if not (pointer.closed or pointer.ended):
                still.add(pointer.attempt)
            elif pointer.attempt in self._open:
                self._last.add(pointer.attempt)
            else:
                continue
            folder = directory_of(pointer) if pointer.has("shim.json") else ""
            if not folder:
                continue
            place = (pointer.attempt, folder)
            known.add(place)
            found = self._scan(place, folder, storage_of(pointer) == "per-node")
            data = record_of(pointer, folder, found)
            if self._is_news(place, data):
                self._told[place] = data
                records.append(wire.record("saves", clock.wall_s(), clock.mono_s(), data, "saves:%s:%s" % place))
        self._open = still
        for place in set(self._seen) - known:
            self._seen.pop(place, None)
            self._told.pop(place, None)
        return records

    def forget(self) -> None:
        """What was returned last could not be stored: tell it again."""
        self._told.clear()
        self._open |= self._last

    def _scan(self, place: tuple[str, str], folder: str, parts: bool) -> dict[str, Any]:
        # A tree of a thousand rank directories is read only when something in it has changed.
        mark = _mark(folder)
        kept = self._seen.get(place)
        if kept is not None and mark and kept[0] == mark:
            found = dict(kept[1])
            if found["next_save"]:
                free = _free(folder)
                found["next_save"] = dict(found["next_save"], free_bytes=free, fits=None if free is None else free >= found["next_save"]["bytes"])
            return found
        found = checkpoints.scan(folder, parts)
        self._seen[place] = (mark, found)
        return found

    def _is_news(self, place: tuple[str, str], data: dict[str, Any]) -> bool:
        told = self._told.get(place)
        if told is None or {name: value for name, value in told.items() if name != "free_bytes"} != {name: value for name, value in data.items() if name != "free_bytes"}:
            return True
        before, now = told["free_bytes"], data["free_bytes"]
        return (before is None) != (now is None) or (before is not None and abs(now - before) > 0.1 * max(before, 1))


def directory_of(pointer: Pointer) -> str:
    """Where an attempt saves to, as its job says; "" where it does not."""
    job = disk.read_json(pointer.path("job.json")) or {}
    block = job.get("checkpoint")
    named = block.get("dir") if isinstance(block, dict) else None
    if not isinstance(named, str) or not named:
        return ""
    full = os.path.expanduser(named)
    return full if os.path.isabs(full) else ""


def storage_of(pointer: Pointer) -> str:
    """What the job says of its checkpoints' storage: shared | per-node; "" where it does not."""
    block = (disk.read_json(pointer.path("job.json")) or {}).get("checkpoint")
    said = block.get("storage") if isinstance(block, dict) else None
    return said if said in ("shared", "per-node") else ""


def record_of(pointer: Pointer, folder: str, found: dict[str, Any]) -> dict[str, Any]:
    """The data of a ``saves`` record."""
    rows = found["iterations"][-KEPT_ROWS:]
    nearby = found["next_save"] or {}
    columns = {name: [row[name] for row in rows] for name in ("iteration", "format", "complete", "why", "resumable", "bytes", "seconds", "saved_at", "path")}
    storage = storage_of(pointer)
    if storage == "per-node":
        told = [at >= len(rows) - PARTS_ROWS and len(row["holds"]) + len(row["absent"]) <= PARTS_NAMES for at, row in enumerate(rows)]
        columns.update({name: [row[name] if is_told else None for row, is_told in zip(rows, told)] for name in checkpoints.PARTS})
    return {"job": pointer.job, "attempt": pointer.attempt, "dir": folder, "storage": storage, "why": found["why"], "iterations": columns,
            "layout": rows[-1]["layout"] if rows else {}, "count": len(found["iterations"]), "tracker": found["tracker"], "tracker_state": found["tracker_state"],
            "resume_from": found["resume_from"], "problems": found["problems"], "save_seconds": found["save_seconds"],
            "next_bytes": nearby.get("bytes"), "free_bytes": nearby.get("free_bytes"), "fits": nearby.get("fits")}


def _mark(folder: str) -> Any:
    """Changes whenever a save is begun, goes on or ends: names, times and numbers of entries, two levels deep; None: look again."""
    found = []
    try:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            status = entry.stat()
            found.append((entry.name, status.st_mtime_ns, status.st_size))
            if entry.is_dir():
                for inner in sorted(os.scandir(entry.path), key=lambda inner: inner.name):
                    status = inner.stat()
                    found.append((entry.name + "/" + inner.name, status.st_mtime_ns, status.st_size))
                    if inner.is_dir():
                        # A rank's directory: its files are few, and grow while the save goes on.
                        found += [(leaf.path, leaf.stat().st_mtime_ns, leaf.stat().st_size) for leaf in sorted(os.scandir(inner.path), key=lambda leaf: leaf.name)]
    except OSError:
        return None
    return hash(tuple(found))


def _free(folder: str) -> Any:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
