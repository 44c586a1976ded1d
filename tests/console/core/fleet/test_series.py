"""The axis and the pyramid say what plain lists say, whatever was put where and when somebody looked."""

from __future__ import annotations

from bisect import bisect_left
from math import inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.core.fleet.series import FAN, Series
from console.core.fleet.steps import Steps


@given(st.lists(st.integers(-50, 400), unique=True), st.lists(st.integers(-60, 420), max_size=8))
def test_steps_are_a_sorted_list(values: list[int], asked: list[int]) -> None:
    steps, plain = Steps(), []
    for value in values:
        steps.insert(value)
        plain.insert(bisect_left(plain, value), value)
        assert steps == plain
    assert list(steps[2:7]) == plain[2:7] and list(steps[::-2]) == plain[::-2] and list(reversed(steps)) == plain[::-1]
    for x in asked:
        assert steps.find(x) == bisect_left(plain, x)
    if plain:
        assert (steps[0], steps[-1]) == (plain[0], plain[-1])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 5), st.integers(1, 9)), max_size=6))
def test_steps_extended_by_stretches(stretches: list[tuple[int, int, int]]) -> None:
    steps, plain = Steps(), [0]
    steps.append(0)
    for count, stride, gap in stretches:
        more = [plain[-1] + gap + stride * at for at in range(count)]
        steps.extend(more)
        plain += more
        assert list(steps) == plain


def test_a_million_regular_steps_are_a_few_numbers() -> None:
    steps = Steps(range(10, 10_000_001, 10))
    assert len(steps) == 1_000_000 and steps[999_999] == 10_000_000 and len(steps._begin) == 1
    with pytest.raises(ValueError, match="does not come after"):
        steps.append(10_000_000)


def bins_of(points: dict[int, float], count: int, low: int, high: int) -> list[tuple[float, float] | None]:
    found: list[tuple[float, float] | None] = [None] * count
    span = max(1, high - low + 1)
    for x in sorted(points):
        if low <= x <= high and isfinite(points[x]):
            box, y = min(count - 1, (x - low) * count // span), points[x]
            old = found[box]
            found[box] = (y, y) if old is None else (min(old[0], y), max(old[1], y))
    return found


VALUES = st.one_of(st.sampled_from([nan, inf, -inf, 0.0, 1e308]), st.floats(-1e3, 1e3))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 300), VALUES), min_size=1, max_size=12),
       st.integers(1, 90), st.integers(-10, 9400), st.integers(0, 9400))
def test_bins_are_those_of_a_plain_pass(runs: list[tuple[int, int, float]], count: int, low: int, width: int) -> None:
    series, points = Series(), {}
    for start, length, value in runs:
        for x in range(start, start + length):
            y = value + x % 7
            series.put(x, y)
            points[x] = y
        assert series.bins(count, low, low + width) == bins_of(points, count, low, low + width)
    assert series.bins(count) == bins_of(points, count, min(points), max(points))
    assert [x for x, _ in series] == sorted(points)


def test_a_change_deep_in_a_long_series_is_seen() -> None:
    series = Series()
    series.extend(range(1, 300_001), [1.0] * 300_000)
    assert series.bins(3) == [(1.0, 1.0)] * 3
    series.put(150_000, 9.0)
    series.put(7 * FAN, -4.0)
    assert series.bins(3) == [(-4.0, 1.0), (1.0, 9.0), (1.0, 1.0)]
    assert series.get(150_000) == 9.0 and series.get(300_001) is None


def test_a_picture_touches_few_values_however_many_there_are() -> None:
    class Counted(Series):
        seen = 0

    series = Counted()
    series.extend(range(1_000_000), [float(x % 1000) for x in range(1_000_000)])
    series.bins(400)
    import console.core.fleet.series as module

    ends, taken = module._ends, []
    try:
        module._ends = lambda lows, highs, start, stop: taken.append(max(0, stop - start)) or ends(lows, highs, start, stop)  # type: ignore[func-returns-value]
        series.bins(400)
    finally:
        module._ends = ends
    assert sum(taken) < 400 * 4 * FAN


def test_extend_that_goes_back_replaces() -> None:
    series = Series()
    series.extend([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0])
    series.extend([3, 4, 5], [30.0, 40.0, 50.0])
    assert list(series) == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0), (5, 50.0)]


def test_counts_stay_small_until_they_cannot() -> None:
    series = Series(counts=True)
    series.extend([1, 2], [0.0, 3.0])
    assert series.y.itemsize == 1 and series.last() == (2, 3)
    series.put(3, 70_000.0)
    series.put(4, nan)
    assert [y for _, y in series][:3] == [0.0, 3.0, 70_000.0]
