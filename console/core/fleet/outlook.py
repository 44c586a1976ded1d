"""What would become of a run if it died now, and of its next save: from its logs and from its nodes' looks at the files. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.core.fleet.run_views import current_iteration, usual_step_s
from console.core.fleet.state import RunState
from console.core.fleet.wholeness import apart, wholeness
from console.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Of one run, at one moment."""

    iteration: int | None
    resume_from: int | None
    """Where a restart would begin; None: from the start, or nobody can say."""
    known_from: str
    """"files": a node's look at them; "log": only what was printed."""
    lost_iterations: int | None
    lost_s: float | None
    """Of wall time, at the usual step."""
    lost_device_s: float | None
    """Times the ranks of the newest round."""
    save_s: float | None
    """Of one save: the median of the newest ones that are known."""
    next_bytes: int | None
    free_bytes: int | None
    """The least of all nodes that look at the directory."""
    fits: bool | None
    problems: tuple[tuple[str, str], ...]
    """(node, what is wrong with the directory)."""


def outlook(run: RunState, come_to: int | None = None) -> Outlook:
    """The outlook of a run; ``come_to``: the iteration it had come to, where that is not the newest.

    With storage that nodes do not share, the save whose parts are all there counts, and the node with the least room.
    """
    looks = {node: taken.data for node, taken in run.saves.items() if not taken.data.get("why")}
    points = [look.get("resume_from") for look in looks.values()]
    whole = [point for point in points if isinstance(point, int)]
    if looks and any(look.get("storage") for look in looks.values()):
        # The job says what its nodes see, so that one look later than another's needs no guess.
        resume_from, known_from = max((iteration for iteration, found in wholeness(run).items() if found.complete and found.resumable), default=None), "files"
    elif looks:
        resume_from, known_from = (min(whole) if len(whole) == len(points) else max(whole) if whole and _shared(run) else None), "files"
    else:
        resume_from, known_from = max((seen.iteration for seen in run.checkpoints.values() if seen.state == "saved"), default=None), "log"
    iteration, step_s = current_iteration(run) if come_to is None else come_to, usual_step_s(run.series["step_time_ms"])
    lost = max(0, iteration - (resume_from or 0)) if iteration is not None else None
    lost_s = lost * step_s if lost is not None and step_s is not None else None
    attempt = run.latest
    ranks = attempt.world_size.get(max(attempt.world_size)) if attempt and attempt.world_size else None
    newest = sorted((seen.iteration, seen.seconds) for seen in run.checkpoints.values() if seen.state == "saved" and seen.seconds is not None)[-9:]
    seconds = sorted(seconds for _, seconds in newest)
    sizes = [size for look in looks.values() if isinstance(size := look.get("next_bytes"), int)]
    free = [size for look in looks.values() if isinstance(size := look.get("free_bytes"), int)]
    next_bytes = max(sizes) if sizes else None
    if apart(run):
        parts = [(size - room, size, room) for look in looks.values() if (size := _part_bytes(look, resume_from)) is not None and isinstance(room := look.get("free_bytes"), int)]
        next_bytes, free = (max(parts)[1], [max(parts)[2]]) if parts else (None, [])
    return Outlook(
        iteration=iteration, resume_from=resume_from, known_from=known_from, lost_iterations=lost, lost_s=lost_s,
        lost_device_s=lost_s * ranks if lost_s is not None and ranks else None, save_s=seconds[len(seconds) // 2] if seconds else None,
        next_bytes=next_bytes, free_bytes=min(free) if free else None, fits=min(free) >= next_bytes if free and next_bytes is not None else None,
        problems=tuple((node, str(problem)) for node in sorted(looks) for problem in looks[node].get("problems") or ()))


def _part_bytes(look: Mapping[str, Any], iteration: int | None) -> int | None:
    """How large a node's part of a save is; None where it holds none of it."""
    columns = look.get("iterations") or {}
    sizes = dict(zip(columns.get("iteration") or (), columns.get("bytes") or (), strict=False))
    found = sizes.get(iteration)
    return int(found) if isinstance(found, int | float) else None


def _shared(run: RunState) -> bool:
    """Whether the nodes look at one directory: some see the very same saves, others have not looked again yet."""
    seen = [tuple((taken.data.get("iterations") or {}).get("iteration") or ()) for taken in run.saves.values()]
    return any(set(one) & set(other) for one in seen for other in seen if one is not other) or len(seen) < 2
