"""What a saved iteration must consist of, of those that lie beside ``checkpoint_formats``: verl, NeMo 2, zarr. Pure; Python 3.7 syntax.

Each ``judge_*`` takes the iteration's own files and returns a ``Verdict``. Formats as written by verl 0.4 to 0.6,
NeMo 2 (a torch_dist save in ``weights/``), and Megatron core 0.5 to 0.8 with ``--dist-ckpt-format zarr``. Refuses to
find iterations or to weigh one against another (``checkpoint``).
"""

from __future__ import annotations

import json
import re
from typing import Dict, Set, Tuple

from agent.parse.checkpoint_formats import TABLE_LIMIT, Folder, Verdict, damage, is_foreign, judge_dcp, megatron_layout

_VERL = re.compile(r"(model|optim|extra_state)_world_size_(\d{1,6})_rank_(\d{1,6})\.pt\Z")

_TRIED = 64
"""So many arrays' descriptions are read; a save has thousands."""


def is_self_contained(folder: Folder) -> bool:
    """Whether a distributed checkpoint has the trainer's own state in its table (``torch_dcp``, ``fsdp_dtensor``, MindSpeed's FSDP2), or in files
    of its own, and so neither ``common.pt`` nor ``metadata.json``."""
    if any(name.startswith("extra_state") for name in folder.names()):
        return True
    size = folder.files.get(".metadata", 0)
    table = folder.read(".metadata", 0, size) if 0 < size <= TABLE_LIMIT else b""
    return b"checkpoint_version" in table or b"extra_state" in table or is_foreign(table)    # what cannot be read may have it


def judge_verl(folder: Folder) -> Verdict:
    """verl's ``global_step_N``: in ``actor/`` (and ``critic/``) a file of each kind for every rank, or Megatron's ``dist_ckpt/``."""
    verdict = Verdict("verl")
    for part in sorted(folder.names() & {"actor", "critic"}):
        inner = folder.inside(part)
        if "dist_ckpt" in inner.names():
            below = judge_dcp(inner.inside("dist_ckpt"), True)
            verdict.problems += ["%s: %s" % (part, problem) for problem in below.problems]
            verdict.unread += ["%s/dist_ckpt/%s" % (part, one) for one in below.unread]
            continue
        ranks: Dict[Tuple[str, int], Set[int]] = {}
        for match in filter(None, map(_VERL.match, inner.files)):
            ranks.setdefault((match.group(1), int(match.group(2))), set()).add(int(match.group(3)))
        if not ranks:
            verdict.problems.append("%s: no rank's file" % part)
        world = max((size for _, size in ranks), default=0)
        verdict.layout["world_size"] = world or verdict.layout["world_size"]
        kinds = {kind for kind, _ in ranks}
        for kind in sorted(kinds):
            if not verdict.can_be(world):
                continue
            names = ["%s/%s_world_size_%d_rank_%d.pt" % (part, kind, world, rank) for rank in range(world)]
            verdict.missing([name for name in names if name not in folder.files], world, "%s files of ranks" % kind)
        if part == "actor" and ranks:
            verdict.resumable = {"model", "optim", "extra_state"} <= kinds
    verdict.problems += damage(folder, list(folder.files), verdict.unread)
    return verdict


def judge_nemo(folder: Folder) -> Verdict:
    """NeMo 2: Megatron's torch_dist in ``weights/``; ``context/`` beside it is not needed to go on."""
    verdict = judge_dcp(folder.inside("weights"), True)
    verdict.unread = ["weights/" + one for one in verdict.unread]
    return verdict


def judge_zarr(folder: Folder) -> Verdict:
    """Megatron's zarr: a directory with ``.zarray`` for each tensor, ``common.pt`` and ``metadata.json``."""
    verdict = Verdict("zarr")
    verdict.missing([name for name in ("common.pt", "metadata.json") if name not in folder.files], 2, "of Megatron's own files")
    arrays = {name.rpartition("/")[0] for name in folder.files if "/" in name}
    bare = sorted(name for name in arrays if name + "/.zarray" not in folder.files)
    verdict.missing(bare, len(arrays), "arrays' descriptions (.zarray)")
    torn = [name for name in sorted(arrays)[:_TRIED] if name + "/.zarray" in folder.files and not _is_object(folder.whole(name + "/.zarray"))]
    if torn:
        verdict.problems.append("%s is no whole JSON" % (torn[0] + "/.zarray"))
    empty = sorted(arrays - {name.rpartition("/")[0] for name in folder.files if not name.endswith("/.zarray")})
    if empty:
        verdict.problems.append("%d of %d arrays have no data: %s" % (len(empty), len(arrays), empty[0]))
    verdict.layout.update(megatron_layout(folder, "common.pt"))
    verdict.problems += damage(folder, list(folder.files), verdict.unread)
    return verdict


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        return False
