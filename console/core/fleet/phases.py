"""The last three phases of a launch, read from the nodes' records: rendezvous, loading, training. Pure.

The launcher tells of the phases that it carries out itself. Whether the ranks have met, have loaded and train
is only in what they write, and any console may be the one that reads it: so these cells of the node x phase
matrix are made from records, the same for everybody. An exit status alone never says that training is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from console.core.events import LaunchPhase, LaunchProgress, PhaseState, RecordArrived

if TYPE_CHECKING:
    from console.core.fleet.state import AttemptState

Cells = Mapping[tuple[str, str], LaunchProgress]
KINDS = ("job", "rank_map", "iteration", "exit")
TOO_EARLY = "exit status 0 before the last iteration"
_LATER: tuple[LaunchPhase, ...] = ("rendezvous", "loading", "training")


def advance(attempt: AttemptState, event: RecordArrived, is_finished: bool) -> Cells:
    """The attempt's cells after one more record; the same object when it changes nothing.

    ``is_finished``: the final iteration has been seen, by any node.
    """
    node, cells = event.node, attempt.phases
    if event.kind == "iteration":
        cells = _told_late(cells, event)
        # One rank prints for all; what it prints has been reached by every node.
        if _state(cells, node, "training") in ("running", "done"):
            return cells
        found = dict(cells)
        for name in attempt.node_states:
            if _state(cells, name, "training") is None or _state(cells, name, "loading") == "running":
                _reach(found, attempt, name, "training", event.time)
        return found
    if event.kind == "rank_map":
        if event.data.get("complete") is not True or _state(cells, node, "rendezvous") == "done":
            return cells
        found = dict(cells)
        _reach(found, attempt, node, "loading", event.time)
        return found
    if event.kind == "job":
        if event.data.get("state") != "running" or _state(cells, node, "rendezvous") is not None:
            return cells
        found = dict(cells)
        _put(found, attempt, node, "rendezvous", "running", event.time)
        return found
    if event.data.get("scope") != "command":
        return cells
    return _ended(attempt, event, is_finished)


def _ended(attempt: AttemptState, event: RecordArrived, is_finished: bool) -> Cells:
    data, node = event.data, event.node
    phase = next((phase for phase in reversed(_LATER) if _state(attempt.phases, node, phase) == "running"), None)
    if phase is None:
        return attempt.phases
    found = dict(attempt.phases)
    how = f"signal {data['signal']}" if data.get("signal") else f"exit status {data.get('code')}"
    if data.get("asked"):
        _put(found, attempt, node, phase, "undone", event.time, "stopped")
    elif phase == "training" and is_finished and data.get("code") == 0:
        _put(found, attempt, node, phase, "done", event.time)
    else:
        _put(found, attempt, node, phase, "failed", event.time, how if data.get("code") != 0 else TOO_EARLY)
    return found


def _told_late(cells: Cells, event: RecordArrived) -> Cells:
    """One node's end can arrive before the last line that another wrote: ends without an error are then no failures."""
    iteration, total = event.data.get("iteration"), event.data.get("total")
    if not isinstance(iteration, int) or not isinstance(total, int) or iteration < total:
        return cells
    early = {key: replace(cell, state="done", why="") for key, cell in cells.items() if cell.state == "failed" and cell.why == TOO_EARLY}
    return {**cells, **early} if early else cells


def _reach(cells: dict[tuple[str, str], LaunchProgress], attempt: AttemptState, node: str, phase: LaunchPhase, at: float) -> None:
    """That phase runs, and those before it are done."""
    for before in _LATER[:_LATER.index(phase)]:
        if _state(cells, node, before) != "done":
            _put(cells, attempt, node, before, "done", at)
    if _state(cells, node, phase) != "running":
        _put(cells, attempt, node, phase, "running", at)


def _put(cells: dict[tuple[str, str], LaunchProgress], attempt: AttemptState, node: str, phase: LaunchPhase, state: PhaseState, at: float, why: str = "") -> None:
    before = cells.get((node, phase))
    took_s = max(0.0, at - before.at) if before is not None and before.state == "running" and state != "running" else None
    cells[node, phase] = LaunchProgress(job=attempt.job, attempt=attempt.attempt, node=node, phase=phase, state=state, at=at, why=why, took_s=took_s)


def _state(cells: Cells, node: str, phase: str) -> str | None:
    seen = cells.get((node, phase))
    return seen.state if seen is not None else None
