"""The iterations saved below a directory, whole or not and why, and the one to go on from. Pure; Python 3.7 syntax.

Takes a listing and a way to read bytes, so that the node's agent and ``rankdeck inspect checkpoint`` on a
laptop say the same of the same files. Where a save has the project's manifest, ``trainer.spec.manifest.judge``
alone decides, as for the trainer itself; and where any save beside it has one, a save without is not complete.
All other formats are judged by ``checkpoint_formats``. Refuses to change anything and to guess an iteration.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from agent.parse.checkpoint_formats import (
    Folder,
    Read,
    Verdict,
    judge_dcp,
    judge_deepspeed,
    judge_hf,
    judge_hyperpod_auto,
    judge_hyperpod_manual,
    judge_legacy,
)
from agent.parse.checkpoint_kin import is_self_contained, judge_nemo, judge_verl, judge_zarr
from trainer.spec import manifest

VERSION = 1
DEPTH = 4
"""An iteration's own directory is looked for so many levels below the one that is asked about."""

Files = Mapping[str, Tuple[int, float]]
"""Name below the directory -> (bytes, time of last change, s)."""

_DEEPSPEED_TRACKER = "latest"
# What a component of a path says of the directory it names. In this order: the first that fits.
_NAMES = (
    ("megatron", re.compile(r"iter_(\d{7,})\Z")),
    ("megatron", re.compile(r"release()\Z")),
    ("hf", re.compile(r"checkpoint-(\d+)\Z")),
    ("unfinished", re.compile(r"tmp-checkpoint-(\d+)\Z")),
    ("titan", re.compile(r"step-(\d+)\Z")),
    ("nemo", re.compile(r"[^/]{1,200}-step=(\d+)(?:-[^/]{1,200})?\Z")),
    ("deepspeed", re.compile(r"global_step(\d+)\Z")),
    ("verl", re.compile(r"global_step_(\d+)\Z")),
    ("hyperpod-full", re.compile(r"steps_(\d+)\Z")),
)
_SHARD_DIR = re.compile(r"tp\d+_ep\d+(?:_fsdp\d+)?\Z")
_RANK_DIR = re.compile(r"mp_rank_\d{2,}(?:_\d{3,}){0,2}\Z")
_MONITOR = re.compile(r"(?:step|steps|global_step)_(\d+)\Z")


def survey(files: Files, read: Read, folders: Iterable[str] = (), name: str = "", free_bytes: Optional[int] = None) -> Dict[str, Any]:
    """What is saved below a directory.

    ``folders``: names of directories in it (empty ones have no file to be found by). ``name``: of the directory
    itself, for the case that it is one iteration's. ``free_bytes``: of its file system.

    Returns {iterations, tracker, tracker_state, tracker_text, resume_from, why, problems, save_seconds,
    next_save}. ``iterations``, ascending: [{iteration, format, complete, why, resumable, layout: {tp, pp, ep,
    world_size, ...}, bytes, files, path, saved_at, seconds, holds, absent, sound}]; ``path`` is below the directory;
    ``seconds`` is from the first to the last change of its files, a lower bound. With storage that is each node's own,
    ``holds`` are the names within the save that are here, ``absent`` those that must be somewhere and are not here, and
    ``sound`` says that nothing else is wrong. ``tracker_state``: ok | missing | torn |
    release. ``next_save``: {bytes, free_bytes, fits} after the newest complete one, or None.
    """
    found = _find(files, folders, name)
    text = _text(files, read, manifest.TRACKER_NAME)
    if text is None:
        text = _text(files, read, _DEEPSPEED_TRACKER)
    tracker, tracker_state = _tracker(text)
    has_manifest = any(_under(root, manifest.MANIFEST_NAME) in files for root in found)
    rows = [_row(root, what, number, files, read, tracker, has_manifest) for root, (what, number) in found.items()]
    _compare_grids(rows)
    rows.sort(key=lambda row: (row["iteration"] is None, row["iteration"] or 0, row["path"]))
    complete = [row for row in rows if row["complete"]]
    resumable = [row for row in complete if row["resumable"] and row["iteration"] is not None]
    newest = max(complete, key=lambda row: (row["iteration"] or 0, row["saved_at"] or 0.0)) if complete else None
    return {
        "iterations": rows, "tracker": tracker, "tracker_state": tracker_state, "tracker_text": text,
        "resume_from": max((row["iteration"] for row in resumable), default=None), "why": "",
        "problems": _problems(rows, tracker, tracker_state, text, resumable),
        "save_seconds": newest["seconds"] if newest else None,
        "next_save": {"bytes": newest["bytes"], "free_bytes": free_bytes, "fits": None if free_bytes is None else free_bytes >= newest["bytes"]}
        if newest else None}


def _find(files: Files, folders: Iterable[str], name: str) -> Dict[str, Tuple[str, Optional[int]]]:
    """Directory of each iteration, below the one asked about -> (what its name says it is, its number)."""
    own = _named(name)
    if own is not None and files:
        return {"": own}
    found: Dict[str, Tuple[str, Optional[int]]] = {}
    seen = set()
    for path in list(files) + [folder.rstrip("/") + "/" for folder in folders]:
        parts = path.split("/")[:-1]
        place = "/".join(parts[:DEPTH + 1])
        if place in seen:
            continue
        seen.add(place)
        for depth, part in enumerate(parts[:DEPTH]):
            root = "/".join(parts[:depth + 1])
            named = _named(part)
            if named is not None:
                found.setdefault(root, named)
                break
            if _SHARD_DIR.match(part) or _RANK_DIR.match(part):
                above = "/".join(parts[:depth])
                holder = parts[depth - 1] if depth else name
                match = _MONITOR.match(holder)
                found.setdefault(above, ("shards", int(match.group(1)) if match else None))
                break
    if not found and _is_one(files):
        found[""] = ("", None)
    return found


def _named(part: str) -> Optional[Tuple[str, Optional[int]]]:
    for what, pattern in _NAMES:
        match = pattern.match(part)
        if match:
            return what, int(match.group(1)) if match.group(1) else None
    return None


def _is_one(files: Files) -> bool:
    """Whether the directory asked about is itself what a save made."""
    return any("/" not in name and (name.endswith((".distcp", ".safetensors", ".bin", ".pt")) or name == ".metadata"
                                    or name == manifest.MANIFEST_NAME) for name in files)


def _row(root: str, what: str, number: Optional[int], files: Files, read: Read, tracker: Optional[int], has_manifest: bool) -> Dict[str, Any]:
    prefix = root + "/" if root else ""
    own = {name[len(prefix):]: entry for name, entry in files.items() if name.startswith(prefix)}
    folder = Folder({name: entry[0] for name, entry in own.items()}, lambda name, start, length: read(prefix + name, start, length))
    if what == "nemo" and number is not None and "weights" in folder.names():
        number += 1    # NeMo 2's names count from 0
    verdict = _judge(what, number, folder, tracker, has_manifest)
    if root and root + "-unfinished" in files:
        verdict.problems.insert(0, "its mark says that it is not finished")
    times = [entry[1] for entry in own.values() if entry[1]]
    iteration = verdict.iteration if number is None else number
    if number is not None and verdict.iteration not in (None, number):
        verdict.problems.append("it says it is of iteration %s" % verdict.iteration)
    holds = folder.names() | set(folder.files)
    return {"holds": sorted(holds), "absent": sorted(set(verdict.absent) - holds), "sound": all(problem in verdict.gaps for problem in verdict.problems),
            "iteration": iteration, "format": verdict.format, "complete": not verdict.problems, "why": verdict.why, "resumable": verdict.resumable,
            "layout": verdict.layout, "bytes": sum(size for name, size in folder.files.items() if name != manifest.MANIFEST_NAME), "files": len(own), "path": root,
            "saved_at": max(times) if times else None, "seconds": round(max(times) - min(times), 3) if times else None}


def _judge(what: str, number: Optional[int], folder: Folder, tracker: Optional[int], has_manifest: bool) -> Verdict:
    names = folder.names()
    if manifest.MANIFEST_NAME in names or (has_manifest and what == "megatron"):
        return _by_manifest(folder, number, tracker)
    if not folder.files:
        verdict = Verdict("unknown")
        verdict.problems.append("an empty directory: the save had only begun")
    elif any(re.match(r"tp\d+_ep\d+_fsdp\d+\Z", part) for part in names):
        verdict = judge_hyperpod_auto(folder)
    elif any(_SHARD_DIR.match(part) for part in names):
        verdict = judge_hyperpod_manual(folder)
    elif any(_RANK_DIR.match(part) for part in names):
        verdict = judge_legacy(folder)
    elif what == "hyperpod-full":
        verdict = judge_hf(folder)
        verdict.format, verdict.resumable = "hyperpod-full", False
    elif what == "unfinished":
        verdict = judge_hf(folder)
        verdict.problems.insert(0, "its name says that it is not finished")
    elif what == "verl" and names & {"actor", "critic"}:
        verdict = judge_verl(folder)
    elif what == "nemo" and "weights" in names:
        verdict = judge_nemo(folder)
    elif any(path.endswith("/.zarray") for path in folder.files):
        verdict = judge_zarr(folder)
    elif what == "hf" or "config.json" in names or "adapter_config.json" in names or any(part.endswith(".safetensors") for part in names):
        verdict = judge_hf(folder)
    elif ".metadata" in names or any(part.endswith(".distcp") for part in names):
        verdict = judge_dcp(folder, bool(names & {"metadata.json", "common.pt"}) or (what == "megatron" and not is_self_contained(folder)))
    elif what == "deepspeed" or any(part.endswith(("_model_states.pt", "_optim_states.pt")) for part in names):
        verdict = judge_deepspeed(folder)
    else:
        verdict = Verdict("unknown")
        verdict.problems.append("none of the formats known here: %s" % ", ".join(sorted(names)[:4]))
    if what == "megatron" and number is None:
        verdict.resumable = False  # "release": converted weights
    elif what in ("megatron", "deepspeed") and number is not None and tracker is not None and number > tracker:
        verdict.problems.append("newer than the tracker (%d): not finished, or the tracker was set back" % tracker)
    return verdict


def _by_manifest(folder: Folder, number: Optional[int], tracker: Optional[int]) -> Verdict:
    verdict = Verdict("torch_dist")
    written: Any = None
    if manifest.MANIFEST_NAME in folder.files:
        try:
            written = json.loads(folder.whole(manifest.MANIFEST_NAME, 16 << 20).decode("utf-8"))
        except (ValueError, RecursionError):
            verdict.problems.append("its manifest cannot be read")
            return verdict
        if not isinstance(written, dict):
            verdict.problems.append("its manifest is not an object")
            return verdict
    layout = written.get("layout") if written else None
    if isinstance(layout, dict):
        verdict.layout.update(layout, tp=layout.get("tensor_model_parallel_size"), pp=layout.get("pipeline_model_parallel_size"),
                              ep=layout.get("expert_model_parallel_size"), world_size=layout.get("world_size"))
    files = {name: size for name, size in folder.files.items() if name != manifest.MANIFEST_NAME}
    of = number if number is not None else (written or {}).get("iteration")
    complete, why = manifest.judge(written, files, tracker, of if isinstance(of, int) else -1)
    if complete:
        verdict.good = why
    elif written is None:
        verdict.gap(why, [manifest.MANIFEST_NAME])
    elif "files missing" in why:
        # Their sizes are not compared where some are missing: what is here must be as it should be as well.
        listed = written["files"]
        verdict.gap(why, [name for name in listed if name not in files])
        verdict.problems += ["%s has another size than in the manifest" % name for name in sorted(listed) if name in files and files[name] != listed[name]][:1]
    else:
        verdict.problems.append(why)
    verdict.iteration = of if isinstance(of, int) else None
    return verdict


def _compare_grids(rows: List[Dict[str, Any]]) -> None:
    """A save that has fewer ranks than the others of its format may lack its last ones, which nothing in it tells."""
    for row in rows:
        if row["format"] not in ("legacy", "hyperpod-auto", "hyperpod-manual"):
            continue
        keys = [key for key in ("tp", "pp", "ep", "fsdp") if key in row["layout"]]
        mine = [row["layout"][key] or 1 for key in keys]
        for other in rows:
            theirs = [other["layout"].get(key) or 1 for key in keys]
            if other["format"] == row["format"] and other["complete"] and row["complete"] and all(a <= b for a, b in zip(mine, theirs)) and mine != theirs:
                row["complete"] = row["sound"] = False
                row["why"] = "fewer ranks (%s) than in %s (%s): its last ones are missing, or it was saved with another layout" % (
                    _shape(keys, mine), other["path"], _shape(keys, theirs))
                break


def _shape(keys: List[str], sizes: List[int]) -> str:
    return " ".join("%s=%d" % pair for pair in zip(keys, sizes))


def _problems(rows: List[Dict[str, Any]], tracker: Optional[int], state: str, text: Optional[str], resumable: List[Dict[str, Any]]) -> List[str]:
    """What is wrong with the directory as a whole."""
    found = []
    tracked = [row for row in rows if row["format"] in ("legacy", "torch_dist", "deepspeed") and row["iteration"] is not None and row["path"]]
    if state == "torn":
        found.append("the tracker is torn: it says %r; Megatron would not start from it" % (text or "")[:40])
    elif state == "missing" and tracked and all(row["format"] != "deepspeed" for row in tracked):
        found.append("no tracker: Megatron would start from random weights, silently")
    elif tracker is not None:
        named = [row for row in tracked if row["iteration"] == tracker]
        newest = max((row["iteration"] for row in resumable), default=None)
        if not named:
            found.append("the tracker names iteration %d, which is not there" % tracker)
        elif not any(row["complete"] for row in named):
            found.append("the tracker names iteration %d, which is not complete: %s" % (tracker, named[0]["why"]))
        if newest is not None and newest != tracker and (not named or not named[0]["complete"]):
            found.append("go on from %d: set the tracker to it, or Megatron will try %d" % (newest, tracker))
    return found


def _tracker(text: Optional[str]) -> Tuple[Optional[int], str]:
    if text is None:
        return None, "missing"
    if text.strip() == "release":
        return None, "release"
    match = re.match(r"\s*global_step(\d{1,18})\s*\Z", text)
    iteration = int(match.group(1)) if match else manifest.tracker_iteration(text)
    return (iteration, "ok") if iteration is not None else (None, "torn")


def _text(files: Files, read: Read, name: str) -> Optional[str]:
    return read(name, 0, 64).decode("ascii", "replace").strip() if name in files else None


def _under(root: str, name: str) -> str:
    return "%s/%s" % (root, name) if root else name
