"""Iterations into a run's columns: which metrics there are, and whose value stands after a restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console.core.fleet.series import Series
from console.core.fleet.standing import Place

if TYPE_CHECKING:
    from console.core.fleet.state import RunState

METRICS: Mapping[str, str] = {
    "loss": "lm_loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "step_time_ms": "elapsed_ms",
    "tokens_per_s_per_device": "tokens_per_s_per_device",
    "tflops_per_device": "tflops",
    "skipped": "skipped",
    "nan": "nan",
}
"""Series name -> field of an ``iteration`` record."""
COUNTS = ("skipped", "nan")
"""Metrics that are small whole numbers: iterations skipped and iterations with a NaN since the line before."""


def no_series() -> dict[str, Series]:
    """An empty series for each of ``METRICS``."""
    return {name: Series(counts=name in COUNTS) for name in METRICS}


def number(value: Any) -> float | None:
    """A record's number as float: "nan", "inf" and "-inf" (DESIGN section 8) read as what they say."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return float(value)
    return float(value) if value in ("nan", "inf", "-inf") else None


def put_point(run: RunState, place: Place, iteration: int, values: Mapping[str, float | None]) -> None:
    """Put one iteration's metrics into the run's columns, in place."""
    # Trained again after a restart: the later attempt or round stands, whichever record came first.
    stands = run.standing.get(iteration, place)
    if stands > place:
        into = run.overtaken.setdefault(place, no_series())
    else:
        into = dict(run.series)
        if stands != place:
            _overtake(run, stands, iteration)
        run.standing[iteration] = place
    for name, value in values.items():
        if value is not None:
            into[name].put(iteration, value)


def _overtake(run: RunState, place: Place, iteration: int) -> None:
    kept = run.overtaken.setdefault(place, no_series())
    for name, series in run.series.items():
        value = series.get(iteration)
        if value is not None:
            kept[name].put(iteration, value)


def put_points(run: RunState, place: Place, iterations: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
    """``put_point`` for many of one place in order of arrival; quick while they ascend beyond all that are there.

    ``columns``: metric -> values as records carry them, one for each iteration.
    """
    try:
        run.standing.extend(iterations, place)
    except ValueError:
        for at, iteration in enumerate(iterations):
            put_point(run, place, iteration, {name: number(column[at]) for name, column in columns.items()})
        return
    for name, column in columns.items():
        try:
            run.series[name].extend(iterations, column)
        except TypeError:  # some are missing, or are words
            known = [(iteration, found) for iteration, value in zip(iterations, column, strict=True)
                     if value is not None and (found := number(value)) is not None]
            run.series[name].extend([iteration for iteration, _ in known], [value for _, value in known])
