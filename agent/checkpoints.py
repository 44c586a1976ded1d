"""What is in a checkpoint directory, and which iteration a job may go on from.

Owns the look at the files. Refuses to judge completeness itself: trainer, agent and console ask
``trainer.spec.manifest.judge``. Never raises for what it finds on disk.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, List, Optional, Tuple

from trainer.spec import manifest

MANIFEST_LIMIT = 16 << 20
"""Larger than any manifest; a file beyond it is not read."""


def scan(directory: str) -> Dict[str, Any]:
    """The answer to the wire's ``checkpoints``: {iterations, tracker, tracker_state, resume_from, why}.

    ``iterations``: [{iteration, complete, why, bytes, path}], ascending. ``tracker``: the iteration in the
    tracker file, or None; ``tracker_state``: ok | missing | torn | release | denied. ``resume_from``: the
    newest complete iteration, or None. ``why``: "" or why the directory could not be read.
    """
    path = os.path.expanduser(directory)
    tracker, state = _tracker(path)
    found: List[Dict[str, Any]] = []
    why = ""
    try:
        names = sorted(os.listdir(path))
    except FileNotFoundError:
        names, why = [], "missing"
    except PermissionError:
        names, why = [], "denied"
    except OSError as error:
        names, why = [], "error: %s" % (error.strerror or error)
    for name in names:
        iteration = manifest.iteration_of(name)
        if iteration is not None and os.path.isdir(os.path.join(path, name)):
            found.append(_iteration(os.path.join(path, name), iteration, tracker))
    found.sort(key=lambda row: row["iteration"])
    complete = [row["iteration"] for row in found if row["complete"]]
    return {"iterations": found, "tracker": tracker, "tracker_state": state,
            "resume_from": complete[-1] if complete else None, "why": why}


def _iteration(folder: str, iteration: int, tracker: Optional[int]) -> Dict[str, Any]:
    files, unreadable = _files(folder)
    written, trouble = _manifest(os.path.join(folder, manifest.MANIFEST_NAME))
    if unreadable or trouble:
        complete, why = False, unreadable or trouble
    else:
        files.pop(manifest.MANIFEST_NAME, None)
        complete, why = manifest.judge(written, files, tracker, iteration)
    return {"iteration": iteration, "complete": complete, "why": why, "bytes": sum(files.values()), "path": folder}


def _files(folder: str) -> Tuple[Dict[str, int], str]:
    """({relative name: size} of the regular files under the folder, why it could not all be read)."""
    files: Dict[str, int] = {}
    trouble: List[str] = []
    for base, _, names in os.walk(folder, onerror=lambda error: trouble.append(str(error.strerror or error))):
        for name in names:
            path = os.path.join(base, name)
            try:
                status = os.stat(path)
            except OSError as error:
                trouble.append("%s: %s" % (name, error.strerror or error))
                continue
            if stat.S_ISREG(status.st_mode):
                files[os.path.relpath(path, folder)] = status.st_size
    return files, trouble[0] if trouble else ""


def _manifest(path: str) -> Tuple[Optional[Dict[str, Any]], str]:
    """(the manifest or None where there is none, why it could not be read)."""
    try:
        with open(path, "rb") as opened:
            data = json.loads(opened.read(MANIFEST_LIMIT).decode("utf-8"))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError):
        return None, "its manifest cannot be read"
    return (data, "") if isinstance(data, dict) else (None, "its manifest is not an object")


def _tracker(directory: str) -> Tuple[Optional[int], str]:
    try:
        with open(os.path.join(directory, manifest.TRACKER_NAME), "rb") as opened:
            text = opened.read(64).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None, "missing"
    except PermissionError:
        return None, "denied"
    except OSError:
        return None, "missing"
    if text == "release":
        return None, "release"
    iteration = manifest.tracker_iteration(text)
    return (iteration, "ok") if iteration is not None else (None, "torn")
