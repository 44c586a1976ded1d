"""When an iteration was, and which iteration was at a time: the bridge between the curves' axis and the clock. Pure.

The history keeps no time for each iteration (a million of them would double its size). What has both, saves,
attempts' starts and the newest iteration, are the piers; in between time runs evenly. Where steps take
equally long, as they do in training, this is off by less than a save takes.
"""

from __future__ import annotations

from bisect import bisect_right

from console.core.fleet.happenings import our_time
from console.core.fleet.run_views import current_iteration, usual_step_s
from console.core.fleet.state import FleetState, RunState


def piers(state: FleetState, run: RunState) -> list[tuple[float, int]]:
    """(time on our clock, iteration), by time; an attempt's start stands at the iteration it loaded."""
    found: list[tuple[float, int]] = []
    for attempt in run.attempts.values():
        if attempt.started_at:
            loaded = max((iteration for name, _, iteration in run.loads if name == attempt.attempt), default=0)
            found.append((attempt.started_at, loaded))
    for seen in run.checkpoints.values():
        found.append((our_time(state, seen.node, seen.time) - (seen.seconds or 0.0), seen.iteration))
    newest = current_iteration(run)
    if newest is not None and run.last_iteration_time is not None:
        offsets = sorted(node.met.clock_offset_s for node in state.nodes.values() if node.met is not None)
        found.append((run.last_iteration_time - (offsets[len(offsets) // 2] if offsets else 0.0), newest))
    return sorted(found)


def iteration_at(state: FleetState, run: RunState, time: float) -> int | None:
    """The iteration the run had come to at ``time``; None before its beginning and while nothing is known."""
    known = piers(state, run)
    at = bisect_right(known, (time, 1 << 62))
    if at == 0:
        return None
    (before, low) = known[at - 1]
    step_s = usual_step_s(run.series["step_time_ms"])
    if at == len(known):
        return low
    after, high = known[at]
    if high <= low:  # a restart: it went on from here, at its usual pace, until it broke
        return min(low + int((time - before) / step_s), max(low, _came_to(run, time))) if step_s else low
    return low + int((high - low) * (time - before) / max(1e-9, after - before))


def _came_to(run: RunState, time: float) -> int:
    """The furthest iteration of the attempt that ran at ``time`` which a later one has trained again."""
    then = max((name for name, attempt in run.attempts.items() if attempt.started_at and attempt.started_at <= time), default="")
    return max((series["loss"].x[-1] for (name, _), series in run.overtaken.items() if name == then and len(series["loss"])), default=0)


def time_of(state: FleetState, run: RunState, iteration: int) -> float | None:
    """When the run last came to ``iteration`` (our clock); None while not known."""
    known = piers(state, run)
    step_s = usual_step_s(run.series["step_time_ms"]) or 0.0
    for at in range(len(known) - 1, -1, -1):
        before, low = known[at]
        if low > iteration:
            continue
        if at + 1 == len(known):
            return before + (iteration - low) * step_s if iteration == low or step_s else before
        after, high = known[at + 1]
        if high <= low:
            return before + (iteration - low) * step_s
        if iteration <= high:
            return before + (after - before) * (iteration - low) / (high - low)
    return None
