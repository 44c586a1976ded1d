"""``rankdeck inspect checkpoint DIR``: what is saved below a directory, whole or not, and what to go on from. Offline.

Owns the look at the files. Refuses to judge (``agent.parse.checkpoint`` does, the same code as on the nodes)
and to change a tracker. Several directories are taken for the parts of one that lie on several nodes' disks.
"""

from __future__ import annotations

import argparse
import os
import stat
import time
from pathlib import Path
from typing import Any

from agent.parse import checkpoint
from console.cli.desk import put, put_json, speak
from console.core import i18n
from console.core.errors import FileError
from console.core.launch.report import table
from console.core.spoken import spoken_list, spoken_text

FILES_MAX = 200_000
"""More files than any checkpoint tree has."""
HEADS = ("iteration", "format", "complete", "layout", "size", "saved (UTC)", "took", "why")
UNREAD = "unknown kind"
INCOMPLETE = ", which is not complete"
"""Of ``agent.parse.checkpoint``'s sentences."""


def run(args: argparse.Namespace) -> int:
    """Exit status 0 when there is a save to go on from, or whole weights, and nothing is wrong; 1 otherwise. Raises FileError."""
    speak(args)
    found = document([str(name) for name in args.dirs], at=args.at, step_s=args.step_s)
    if args.json:
        put_json(found)
    else:
        put(text(found))
    return 0 if found["ok"] else 1


def document(dirs: list[str], *, at: int | None = None, step_s: float | None = None) -> dict[str, Any]:
    """The promised shape (schema/inspect-checkpoint.schema.json). ``at``: iteration the job has reached; ``step_s``: of one. Raises FileError."""
    files: dict[str, tuple[int, float]] = {}
    holders: dict[str, str] = {}
    folders: set[str] = set()
    for directory in dirs:
        for name, entry in _listing(directory, folders).items():
            # The same file in two copies: the longer one, a copy that was cut off is not what the node has.
            if name not in files or entry[0] > files[name][0]:
                files[name], holders[name] = entry, directory

    def read(name: str, start: int, length: int) -> bytes:
        try:
            with (Path(holders[name]) / name).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except (OSError, KeyError):
            return b""

    found = checkpoint.survey(files, read, sorted(folders), Path(dirs[0]).resolve().name, _free(dirs[0]))
    found.pop("why")
    for row in found["iterations"]:
        row["path"] = str(Path(dirs[0]) / row["path"]) if row["path"] else dirs[0]
        for name in ("holds", "absent", "sound"):  # all parts are here together
            del row[name]
    lost = None
    if at is not None:
        behind = max(0, at - (found["resume_from"] or 0))
        lost = {"at": at, "iterations": behind, "seconds": round(behind * step_s, 3) if step_s is not None else None}
    whole = [row for row in found["iterations"] if row["complete"]]
    ok = bool(whole) and not found["problems"] and (found["resume_from"] is not None or not any(row["resumable"] for row in found["iterations"]))
    return {"ok": ok, "dirs": dirs, **found, "lost": lost}


def text(found: dict[str, Any]) -> str:
    """The document for people, in the language in use."""
    rows = [tuple(i18n.say(head).upper() for head in HEADS)]
    for row in found["iterations"]:
        layout = " ".join(f"{name}={row['layout'][name]}" for name in ("tp", "pp", "ep", "fsdp", "world_size") if row["layout"].get(name))
        saved = time.strftime("%m-%d %H:%M:%S", time.gmtime(row["saved_at"])) if row["saved_at"] else "-"
        resumable = row["resumable"]
        whole = i18n.say("yes" if resumable else "weights") if row["complete"] else i18n.say("NO")
        why = "" if row["complete"] and UNREAD not in row["why"] else _why(row["why"])
        rows.append((str(row["iteration"]) if row["iteration"] is not None else "-", row["format"], whole, layout or "-", _size(row["bytes"]), saved,
                     f"{row['seconds']:.1f} s" if row["seconds"] is not None else "-", why))
    lines = [*(table(rows) if found["iterations"] else [i18n.say("no save found")]), "", _tracker(found)]
    lines.append(i18n.say("go on from: {n}", n=found["resume_from"]) if found["resume_from"] is not None else i18n.say("nothing here to go on from"))
    nearby = found["next_save"]
    if nearby and nearby["free_bytes"] is not None:
        lines.append(i18n.say("the next save needs about {size}, {free} free here", size=_size(nearby["bytes"]), free=_size(nearby["free_bytes"])) + ("" if nearby["fits"] else i18n.say(": it will NOT fit")))
    if found["lost"]:
        lost = found["lost"]
        lines.append(i18n.say("lost if the job died now, at {at}: {n} iterations", at=lost["at"], n=lost["iterations"]) + (i18n.say(", {s:.0f} s of work", s=lost["seconds"]) if lost["seconds"] is not None else ""))
    lines += [i18n.say("problem: {what}", what=_problem(problem)) for problem in found["problems"]]
    return "\n".join(lines)


def _tracker(found: dict[str, Any]) -> str:
    state = found["tracker_state"]
    if state == "ok":
        return i18n.say("tracker: {n}", n=found["tracker"])
    if state == "torn":
        return i18n.say("tracker torn: {text!r}", text=found["tracker_text"])
    released = state == "release"
    return i18n.say("tracker: release" if released else "no tracker")


def _why(text: str) -> str:
    """Why a save is not whole: one sentence about files that were not looked into, else several reasons."""
    return spoken_text(text) if UNREAD in text else spoken_list(text)


def _problem(text: str) -> str:
    """What is wrong with the directory; it may end with why the save is not whole that the tracker names."""
    what, between, why = text.partition(f"{INCOMPLETE}: ")
    return i18n.say("{what}: {why}", what=spoken_text(what + INCOMPLETE), why=_why(why)) if between else spoken_text(text)


def _listing(directory: str, folders: set[str]) -> dict[str, tuple[int, float]]:
    if not Path(directory).is_dir():
        raise FileError("there is no such directory", where=directory, got="a file" if Path(directory).exists() else "nothing",
                        expected="a directory with checkpoints", fix="Check the path")
    files: dict[str, tuple[int, float]] = {}

    def trouble(error: OSError) -> None:
        raise FileError("the directory cannot be read", where=str(error.filename or directory), got=error.strerror or str(error), fix="Check its owner and mode")

    for base, inner, names in os.walk(directory, onerror=trouble):
        below = os.path.relpath(base, directory)
        prefix = "" if below == "." else below + "/"
        folders.update(prefix + name for name in inner)
        for name in names:
            try:
                status = (Path(base) / name).stat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                files[prefix + name] = (status.st_size, status.st_mtime)
        if len(files) > FILES_MAX:
            raise FileError("the directory holds more files than any checkpoint", where=directory, got=f"more than {FILES_MAX}", fix="Name the checkpoint directory itself")
    return files


def _free(directory: str) -> int | None:
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError(unit)


__all__ = ["document", "run", "text"]
