"""The checkpoints of a directory as files: what is there, making one count, taking old ones away.

One process does this (rank 0 of a run); nothing here is a collective. A checkpoint counts from the moment
its manifest is in place under its final name; the tracker that names it comes after. What is taken away
first loses its name, so that nothing half deleted is ever taken for a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.spec import manifest

SAVING_SUFFIX = ".saving"
REPLACED_SUFFIX = ".replaced"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``inspect``."""
    parser.add_argument("directory", metavar="DIR", help="a checkpoint directory (checkpoint.dir)")


def command(given: argparse.Namespace) -> int:
    """``python -m trainer inspect``: what is in a directory, as JSON; 1 when nothing can be resumed from."""
    directory = Path(given.directory).expanduser()
    if not directory.is_dir():
        print(f"rankdeck: {directory}: there is no such directory", file=sys.stderr, flush=True)
    tracker = manifest.tracker_iteration(text(directory / manifest.TRACKER_NAME))
    found = []
    for iteration in iterations(directory):
        path = directory / manifest.directory_name(iteration)
        made = manifest_of(path)
        whole, why = manifest.judge(made, sizes(path), tracker, iteration)
        found.append({"iteration": iteration, "complete": whole, "why": why, "bytes": sum(sizes(path).values()), "layout": made.get("layout") if isinstance(made, dict) else None})
    resume_from = newest(directory)[0]
    print(json.dumps({"directory": str(directory), "tracker": tracker, "resume_from": resume_from, "checkpoints": found}, indent=1))
    return 0 if resume_from is not None else 1


def newest(directory: Path) -> tuple[int | None, list[str]]:
    """The newest complete iteration in a directory (None: none), and a text for each newer one passed over."""
    tracker = manifest.tracker_iteration(text(directory / manifest.TRACKER_NAME))
    passed = []
    for iteration in reversed(iterations(directory)):
        path = directory / manifest.directory_name(iteration)
        whole, why = manifest.judge(manifest_of(path), sizes(path), tracker, iteration)
        if whole:
            return iteration, passed
        passed.append(f"{path}: {why}")
    return None, passed


def iterations(directory: Path) -> list[int]:
    """Every iteration that has a directory, complete or not, ascending."""
    if not directory.is_dir():
        return []
    return sorted(n for n in map(manifest.iteration_of, os.listdir(directory)) if n is not None)


def clear(directory: Path) -> None:
    """Take away what an interrupted save or removal left."""
    for suffix in (SAVING_SUFFIX, REPLACED_SUFFIX):
        for left in directory.glob(f"iter_*{suffix}"):
            shutil.rmtree(left, ignore_errors=True)


def begin(partial: Path) -> None:
    """An empty directory to write a checkpoint into. Raises OSError."""
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)


def publish(partial: Path, final: Path, files: list[tuple[str, int]], iteration: int, layout: Mapping[str, Any]) -> None:
    """Make what was written a checkpoint: manifest, flush, rename, tracker, in this order. Raises OSError."""
    made = manifest.build(files, iteration, layout)
    whole, why = manifest.judge(made, sizes(partial), None, iteration)
    if not whole:
        raise OSError(f"what was written is not what is there: {why}")
    for name in sizes(partial):
        sync(partial / name)
    write(partial / manifest.MANIFEST_NAME, json.dumps(made, indent=1) + "\n")
    sync(partial)
    replaced = final.with_name(final.name + REPLACED_SUFFIX)
    if final.exists():
        # Of another history (the tracker was set back) or damaged: it would be gone soon in any case.
        os.rename(final, replaced)
    os.rename(partial, final)
    sync(final.parent)
    write(final.parent / manifest.TRACKER_NAME, str(iteration))
    sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def prune(directory: Path, keep: int) -> list[int]:
    """Take away all but the ``keep`` newest complete checkpoints (0: none); the iterations taken away.

    Those newer than the tracker are of no use to anybody and do not count.
    """
    if keep <= 0:
        return []
    tracker = manifest.tracker_iteration(text(directory / manifest.TRACKER_NAME))
    complete = []
    for iteration in iterations(directory):
        path = directory / manifest.directory_name(iteration)
        if manifest.judge(manifest_of(path), sizes(path), tracker, iteration)[0]:
            complete.append(iteration)
    gone = complete[:-keep]
    for iteration in gone:
        path = directory / manifest.directory_name(iteration)
        nameless = path.with_name(path.name + REPLACED_SUFFIX)
        shutil.rmtree(nameless, ignore_errors=True)
        os.rename(path, nameless)
        shutil.rmtree(nameless, ignore_errors=True)
    return gone


def manifest_of(path: Path) -> Any:
    """The decoded manifest of a checkpoint; None when there is none or it is not JSON."""
    found = text(path / manifest.MANIFEST_NAME)
    try:
        return json.loads(found) if found is not None else None
    except ValueError:
        return None


def text(path: Path) -> str | None:
    """A file's text; None when it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def sizes(path: Path) -> dict[str, int]:
    """Name -> bytes of the files in a directory; empty when there is none."""
    return {entry.name: entry.stat().st_size for entry in os.scandir(path) if entry.is_file()} if path.is_dir() else {}


def write(path: Path, content: str) -> None:
    """Under another name, flushed to disk, then renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(beside, "w", encoding="utf-8") as stream:  # noqa: PTH123 - its descriptor is wanted
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)


def sync(path: Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
