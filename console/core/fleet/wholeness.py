"""Whether a save is whole, from all nodes' looks at its files: one answer where they agree or look at one directory. Pure.

A node judges what lies on it (``agent.parse.checkpoint``). On storage of their own, nodes hold parts, and a save is
whole here only when every node calls its part so; ``rankdeck inspect checkpoint`` joins copies of the parts.
"""

from __future__ import annotations

from console.core.fleet.state import RunState
from console.core.records import dataclass

SURE_S = 5.0
"""Nodes' clocks may differ by so much before a save that is not listed yet is called removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wholeness:
    """Of one save. ``complete`` None: nobody has looked; ``why``: what is missing, with its node where they differ."""

    complete: bool | None
    why: str = ""


def wholeness(run: RunState) -> dict[int, Wholeness]:
    """Iteration -> what the looks at the files say of it."""
    global _kept
    # Drawn ten times a second, changed once in a quarter of a minute; the mapping is replaced when it changes.
    if _kept[0] is not run.saves:
        _kept = (run.saves, _read(run))
    return _kept[1]


_kept: tuple[object, dict[int, Wholeness]] = (None, {})


def _read(run: RunState) -> dict[int, Wholeness]:
    told: dict[int, list[tuple[float, str, str, bool, str]]] = {}
    for node, taken in run.saves.items():
        columns = taken.data.get("iterations") or {}
        for iteration, complete, why, path in zip(*(columns.get(name) or () for name in ("iteration", "complete", "why", "path")), strict=False):
            if isinstance(iteration, int):
                told.setdefault(iteration, []).append((taken.at, node, str(path), bool(complete), str(why or "")))
    return {iteration: _joined(sorted(looks)) for iteration, looks in told.items()}


def removed(run: RunState) -> frozenset[int]:
    """Saves that were printed as such and that no node finds any more: all that looked since list others only."""
    looks = [(taken.time, taken.data) for taken in run.saves.values() if not taken.data.get("why")]
    listed = [set((data.get("iterations") or {}).get("iteration") or ()) for _, data in looks]
    if not looks or any(len(mine) != data.get("count") for mine, (_, data) in zip(listed, looks, strict=True)):
        return frozenset()  # a record lists the newest saves only
    there, since = set().union(*listed), min(time for time, _ in looks)
    return frozenset(seen.iteration for seen in run.checkpoints.values() if seen.state == "saved" and seen.iteration not in there and seen.time < since - SURE_S)


def _joined(looks: list[tuple[float, str, str, bool, str]]) -> Wholeness:
    """Of looks at one save, the oldest first."""
    whole = {complete for _, _, _, complete, _ in looks}
    if len(whole) == 1:
        _, _, _, complete, why = looks[-1]
        return Wholeness(complete=complete, why=why)
    if len({path for _, _, path, _, _ in looks}) == 1 and _unfinished(looks):
        # One directory: who looked before the save ended has not looked again yet.
        return Wholeness(complete=True)
    missing = [f"{node}: {why or 'not whole'}" for _, node, _, complete, why in looks if not complete]
    return Wholeness(complete=False, why="; ".join(missing[:4]) + (f"; and {len(missing) - 4} more" if len(missing) > 4 else ""))


def _unfinished(looks: list[tuple[float, str, str, bool, str]]) -> bool:
    """Whether all who call it whole looked after all who do not."""
    return min(at for at, _, _, complete, _ in looks if complete) > max(at for at, _, _, complete, _ in looks if not complete)
