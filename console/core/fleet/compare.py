"""Runs beside one another, and a run's starts each by itself. Pure.

A start is one (attempt, round). ``joined`` is the curve that a reader means: after a restart what was trained
again counts from the iteration it resumed at, and nothing of the start before it beyond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from console.core.fleet.points import COUNTS
from console.core.fleet.series import Series
from console.core.fleet.standing import Place
from console.core.fleet.state import RunState
from console.core.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a job: where it resumed, how far it came."""

    place: Place
    resumed_at: int | None
    """Iteration of the checkpoint it loaded; None: none that its log tells of."""
    first: int
    last: int
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One metric of several runs over the same stretches of iterations."""

    metric: str
    runs: tuple[str, ...]
    edges: tuple[int, ...]
    """First iteration of each stretch, and the end of the last."""
    means: tuple[tuple[float | None, ...], ...]
    """By run, by stretch; None where it has no finite value."""

    def difference(self, run: str, against: str) -> tuple[float | None, ...]:
        """By stretch, one run's mean minus another's; None where one of them has none."""
        ours, theirs = self.means[self.runs.index(run)], self.means[self.runs.index(against)]
        return tuple(None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True))


def starts(run: RunState) -> tuple[Start, ...]:
    """Every start that printed an iteration, oldest first."""
    loads: dict[Place, int] = {}
    for attempt, number, iteration in run.loads:
        loads[(attempt, number)] = max(iteration, loads.get((attempt, number), 0))
    found = []
    for place in sorted({*run.standing.places, *run.overtaken}):
        x = [*start_series(run, "loss", place).x] or [*start_series(run, "step_time_ms", place).x]
        if x:
            found.append(Start(place=place, resumed_at=loads.get(place), first=x[0], last=x[-1], points=len(x)))
    return tuple(found)


def start_series(run: RunState, metric: str, place: Place) -> Series:
    """What one start printed of a metric, also where a later one has trained it again."""
    series = run.series[metric]
    points = dict(run.overtaken[place][metric]) if place in run.overtaken else {}
    for x, standing in run.standing:
        if standing == place:
            value = series.get(x)
            if value is not None:
                points[x] = value
    found = Series(counts=metric in COUNTS)
    order = sorted(points)
    found.extend(order, [points[x] for x in order])
    return found


def attempt_series(run: RunState, metric: str, attempt: str) -> Series:
    """What one attempt printed of a metric, its rounds joined."""
    found = Series(counts=metric in COUNTS)
    for place in sorted({*run.standing.places, *run.overtaken}):
        if place[0] == attempt:
            for x, y in start_series(run, metric, place):
                found.put(x, y)
    return found


def joined(run: RunState, metric: str) -> Series:
    """The run's curve up to its newest start's newest iteration, every start cut off where the next one resumed."""
    known = starts(run)
    found = Series(counts=metric in COUNTS)
    for at, start in enumerate(known):
        # A start begins behind what it loaded, or where it first printed.
        ends = [later.resumed_at if later.resumed_at is not None else later.first - 1 for later in known[at + 1:]]
        end = min(ends, default=start.last)
        points = [(x, y) for x, y in start_series(run, metric, start.place) if x <= end]
        found.extend([x for x, _ in points], [y for _, y in points])
    return found


def compare(runs: Mapping[str, RunState], metric: str, stretches: int, first: int | None = None, last: int | None = None) -> Compared:
    """One metric of several runs in ``stretches`` equal stretches of iterations, over [first, last] or all they share any part of.

    A million points a run cost one pass over those in the window.
    """
    series = {name: run.series[metric] for name, run in runs.items()}
    filled = [one for one in series.values() if len(one)]
    low = first if first is not None else min((one.x[0] for one in filled), default=0)
    high = last if last is not None else max((one.x[-1] for one in filled), default=0)
    span = max(1, high - low + 1)
    count = max(1, stretches)
    edges = tuple(low + -(-at * span // count) for at in range(count + 1))
    return Compared(metric=metric, runs=tuple(series), edges=edges, means=tuple(_means(one, edges) for one in series.values()))


def _means(series: Series, edges: Sequence[int]) -> tuple[float | None, ...]:
    places = [series.x.find(edge) for edge in edges]
    found: list[float | None] = []
    for start, stop in pairwise(places):
        values = [value for value in series.y[start:stop] if value - value == 0]  # neither nan nor infinite
        found.append(sum(values) / len(values) if values else None)
    return tuple(found)
