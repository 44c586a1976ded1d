"""What belongs to a checkpoint, and whether all of it is there. Pure; Python 3.7 syntax.

Trainer, agent and console all judge a checkpoint with ``judge`` and nothing else, so that no two of them
can disagree about what may be resumed from. The agent ships this file; it must not import anything of the
trainer. It refuses to guess: a directory without a manifest is never complete, however full it looks.

Layout of a checkpoint directory (Megatron's torch_dist, megatron-core 0.16.1)::

    <dir>/latest_checkpointed_iteration.txt        the tracker, written last
    <dir>/iter_0000010/.metadata  common.pt  metadata.json  __<rank>_<n>.distcp
                       rankdeck-manifest.json      written after all others, before the tracker

The manifest is one JSON object::

    {"version": 1, "iteration": 10, "layout": {...}, "bytes": 123, "files": {"common.pt": 45, ...}}

``layout`` is what the writer ran as (world_size, data_parallel_size, ...); ``files`` maps the name within
the iteration's directory to its size in bytes and does not list the manifest itself.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Mapping, Optional, Tuple

MANIFEST_VERSION = 1
MANIFEST_NAME = "rankdeck-manifest.json"
TRACKER_NAME = "latest_checkpointed_iteration.txt"

# "iter_0000010"; Megatron writes seven digits and more when they do not suffice.
_DIRECTORY = re.compile(r"\Aiter_([0-9]{7,})\Z")


def directory_name(iteration: int) -> str:
    """The directory of an iteration's checkpoint, e.g. ``iter_0000010``."""
    return "iter_%07d" % iteration


def iteration_of(name: str) -> Optional[int]:
    """The iteration a directory name stands for; None for every other name (also of half-written ones)."""
    match = _DIRECTORY.match(name)
    return int(match.group(1)) if match else None


def tracker_iteration(text: Optional[str]) -> Optional[int]:
    """The iteration in the tracker's text; None when there is no tracker or it holds no number.

    Megatron writes ``release`` for converted weights, which resume nothing: None as well.
    """
    stripped = (text or "").strip()
    return int(stripped) if re.match(r"\A[0-9]{1,18}\Z", stripped) else None


def build(files: Iterable[Tuple[str, int]], iteration: int, layout: Mapping[str, Any]) -> Dict[str, Any]:
    """The manifest of a checkpoint whose files are ``files`` (name, size in bytes).

    Raises ValueError for a name given twice with different sizes.
    """
    sizes = {}  # type: Dict[str, int]
    for name, size in files:
        if name == MANIFEST_NAME:
            continue
        if sizes.setdefault(name, size) != size:
            raise ValueError("file %r is listed with %d and with %d bytes" % (name, sizes[name], size))
    return {
        "version": MANIFEST_VERSION,
        "iteration": iteration,
        "layout": dict(layout),
        "bytes": sum(sizes.values()),
        "files": {name: sizes[name] for name in sorted(sizes)},
    }


def judge(
    manifest: Optional[Mapping[str, Any]],
    files: Mapping[str, int],
    tracker_iteration: Optional[int],
    iteration: int,
) -> Tuple[bool, str]:
    """Whether a checkpoint may be resumed from, and why (not), as a short text.

    ``manifest`` is the decoded manifest, None when there is none or it is not JSON; ``files`` maps names to
    sizes in bytes as found (with per-node storage: the union over the nodes); ``iteration`` is the one the
    directory's name says. Anything may stand in the manifest: it is read, not trusted.

    A checkpoint newer than the tracker does not count: the tracker is written last, so either that save
    did not end, or somebody set the tracker back to resume from an older one. Without a tracker the
    manifest alone decides.
    """
    if manifest is None:
        return False, "no readable manifest"
    found = _problem_of(manifest, iteration)
    if found:
        return False, found
    expected = manifest["files"]
    missing = sorted(name for name in expected if name not in files)
    if missing:
        return False, "%d of %d files missing: %s" % (len(missing), len(expected), _some(missing))
    wrong = sorted(name for name in expected if files[name] != expected[name])
    if wrong:
        first = wrong[0]
        return False, "%d of %d files have another size: %s has %d bytes, manifest says %d" % (
            len(wrong), len(expected), first, files[first], expected[first])
    if tracker_iteration is not None and iteration > tracker_iteration:
        return False, "newer than the tracker (%d): not finished, or the tracker was set back" % tracker_iteration
    if tracker_iteration is None:
        return True, "all %d files as in the manifest (no tracker)" % len(expected)
    return True, "all %d files as in the manifest" % len(expected)


def _problem_of(manifest: Any, iteration: int) -> str:
    if not isinstance(manifest, Mapping):
        return "manifest is not an object"
    version = manifest.get("version")
    if version != MANIFEST_VERSION:
        return "manifest of version %r, this program reads %d" % (version, MANIFEST_VERSION)
    if manifest.get("iteration") != iteration:
        return "manifest is of iteration %r" % (manifest.get("iteration"),)
    files = manifest.get("files")
    if not isinstance(files, Mapping) or not files:
        return "manifest lists no files"
    for name, size in files.items():
        if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
            return "manifest lists %r with size %r" % (name, size)
    return ""


def _some(names: Any, limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
