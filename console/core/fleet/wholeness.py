"""Whether a save is whole, and how large: one answer from all nodes' looks at its files. Pure.

A node judges what lies on it (``agent.parse.checkpoint``). Where nodes look at one directory they say the same, or
will when they have looked again. With storage that is each node's own, as the job says, a node holds parts: a save is
whole when nothing that is there is broken and every part that a node misses lies on another one, and it is as large as
its parts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.core.fleet.state import RunState, Taken
from console.core.records import dataclass

SURE_S = 5.0
"""Nodes' clocks may differ by so much before a save that is not listed yet is called removed."""
LOOKED_AGAIN_S = 60.0
"""By then every node has looked at its directory once more (``agent.saves.LOOK_S``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wholeness:
    """Of one save. ``complete`` None: nobody has looked, or not at all parts; ``why``: what is missing, with its node where
    they differ; ``size_bytes``: of all parts, None where one look tells it."""

    complete: bool | None
    why: str = ""
    resumable: bool = True
    size_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One node's, at one save."""

    at: float
    node: str
    path: str
    complete: bool
    why: str
    resumable: bool
    size_bytes: float
    holds: frozenset[str] | None
    """Names within the save that are on the node; None: not told."""
    absent: frozenset[str]
    sound: bool
    """Whether nothing is wrong but for what is absent."""


def wholeness(run: RunState) -> dict[int, Wholeness]:
    """Iteration -> what the looks at the files say of it."""
    global _kept
    # Drawn ten times a second, changed once in a quarter of a minute; the mapping is replaced when it changes.
    if _kept[0] is not run.saves:
        _kept = (run.saves, _read(run))
    return _kept[1]


_kept: tuple[object, dict[int, Wholeness]] = (None, {})


def apart(run: RunState) -> bool:
    """Whether the job says that its nodes save on storage of their own."""
    return any(taken.data.get("storage") == "per-node" for taken in run.saves.values())


def _read(run: RunState) -> dict[int, Wholeness]:
    told: dict[int, list[Look]] = {}
    for node, taken in run.saves.items():
        for iteration, look in _looks(node, taken):
            told.setdefault(iteration, []).append(look)
    together = apart(run)
    return {iteration: _together(run, iteration, looks, told) if together else _joined(sorted(looks, key=lambda look: (look.at, look.node)))
            for iteration, looks in told.items()}


def _looks(node: str, taken: Taken) -> list[tuple[int, Look]]:
    columns: Mapping[str, Any] = taken.data.get("iterations") or {}
    numbers = columns.get("iteration") or ()

    def column(name: str) -> list[Any]:
        values = list(columns.get(name) or ())
        return values if len(values) == len(numbers) else [None] * len(numbers)

    rows = zip(numbers, column("complete"), column("why"), column("path"), column("resumable"), column("bytes"), column("holds"), column("absent"), column("sound"), strict=True)
    return [(iteration, Look(at=taken.at, node=node, path=str(path), complete=bool(complete), why=str(why or ""), resumable=resumable is not False, size_bytes=size or 0,
                             holds=frozenset(map(str, holds)) if isinstance(holds, list) else None, absent=frozenset(map(str, absent or ())), sound=bool(sound)))
            for iteration, complete, why, path, resumable, size, holds, absent, sound in rows if isinstance(iteration, int)]


def removed(run: RunState) -> frozenset[int]:
    """Saves that were printed as such and that no node finds any more: all that looked since list others only."""
    looks = [(taken.time, taken.data) for taken in run.saves.values() if not taken.data.get("why")]
    listed = [set((data.get("iterations") or {}).get("iteration") or ()) for _, data in looks]
    if not looks or any(len(mine) != data.get("count") for mine, (_, data) in zip(listed, looks, strict=True)):
        return frozenset()  # a record lists the newest saves only
    there, since = set().union(*listed), min(time for time, _ in looks)
    return frozenset(seen.iteration for seen in run.checkpoints.values() if seen.state == "saved" and seen.iteration not in there and seen.time < since - SURE_S)


def _joined(looks: list[Look]) -> Wholeness:
    """Of looks at one directory, the oldest first."""
    resumable = all(look.resumable for look in looks)
    if len({look.complete for look in looks}) == 1:
        return Wholeness(complete=looks[-1].complete, why=looks[-1].why, resumable=resumable)
    if len({look.path for look in looks}) == 1 and _unfinished(looks):
        # Who looked before the save ended has not looked again yet.
        return Wholeness(complete=True, resumable=resumable)
    return Wholeness(complete=False, why=_some([f"{look.node}: {look.why or 'not whole'}" for look in looks if not look.complete]), resumable=resumable)


def _unfinished(looks: list[Look]) -> bool:
    """Whether all who call it whole looked after all who do not."""
    return min(look.at for look in looks if look.complete) > max(look.at for look in looks if not look.complete)


def _together(run: RunState, iteration: int, looks: list[Look], told: Mapping[int, list[Look]]) -> Wholeness:
    """Of parts on several nodes' own disks."""
    looks = sorted(looks, key=lambda look: look.node)
    size, resumable = sum(look.size_bytes for look in looks), all(look.resumable for look in looks)

    def verdict(complete: bool | None, why: list[str]) -> Wholeness:
        return Wholeness(complete=complete, why=_some(why), resumable=resumable, size_bytes=size)

    if any(look.holds is None for look in looks):
        # Only newest saves are told by name, and only by agents that do: each node's own judgement is all there is.
        return verdict(all(look.complete for look in looks), [f"{look.node}: {look.why or 'not whole'}" for look in looks if not look.complete])
    bad = [f"{look.node}: {look.why}" for look in looks if not look.sound]
    if bad:
        return verdict(False, bad)
    # A node that holds a part of another save and none of this one has not looked since, or could not write it.
    others = sorted({look.node for rows in told.values() for look in rows} - {look.node for look in looks})
    later = [node for node in others if _looked_since(run, node, iteration, looks)]
    if later:
        return verdict(False, [f"{node}: no part of it is there" for node in later])
    waited = others + sorted(name for name in _nodes(run) if name not in run.saves or run.saves[name].data.get("why") not in ("", "missing"))
    if waited:
        return verdict(None, [f"{node}: its part is not known" for node in waited])
    held = frozenset[str]().union(*(look.holds or () for look in looks))
    lost = sorted(frozenset[str]().union(*(look.absent for look in looks)) - held)
    return verdict(not lost, [f"on no node: {', '.join(lost[:3])}" + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")] if lost else [])


def _looked_since(run: RunState, node: str, iteration: int, looks: list[Look]) -> bool:
    """Whether a node has surely looked after the save was made."""
    taken = run.saves[node]
    newest = max((number for number, _ in _looks(node, taken)), default=-1)
    return newest > iteration or taken.at > min(look.at for look in looks) + LOOKED_AGAIN_S


def _nodes(run: RunState) -> set[str]:
    """The nodes of the attempt that the looks are of."""
    attempt = run.attempts.get(max((str(taken.data.get("attempt")) for taken in run.saves.values()), default=""))
    return set(attempt.node_states) if attempt is not None else set()


def _some(texts: list[str]) -> str:
    return "; ".join(texts[:4]) + (f"; and {len(texts) - 4} more" if len(texts) > 4 else "")
