"""The braille chart."""

from __future__ import annotations

from math import inf, nan

import pytest

from console.core.fleet.run_views import Mark
from console.core.fleet.series import Series
from console.tui.lines import width_of
from console.tui.widgets.curve import Look, braille, draw_curve, ticks


def series(*points: tuple[int, float]) -> Series:
    made = Series()
    for x, y in points:
        made.put(x, y)
    return made


def dots(lines: list[str]) -> set[tuple[int, int]]:
    """(column, row) of every dot, from the top left."""
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
    return {(2 * x + c, 4 * y + r) for y, line in enumerate(lines) for x, character in enumerate(line) if character != " "
            for r in range(4) for c in range(2) if (ord(character) - 0x2800) & bits[r][c]}


def test_a_dot_where_the_value_is() -> None:
    assert dots(braille([(1.0, 1.0), None, None, (0.0, 0.0)], 1, 0.0, 1.0)) >= {(0, 0), (3, 3)}
    assert dots(braille([(0.0, 1.0), None], 2, 0.0, 1.0)) == {(0, row) for row in range(8)}


def test_neighbours_are_joined_into_one_line() -> None:
    found = dots(braille([(1.0, 1.0), None, None, None, None, None, None, (0.0, 0.0)], 2, 0.0, 1.0))
    assert {column for column, _ in found} == set(range(8)), "no gap between two points"
    jump = dots(braille([(1.0, 1.0), (0.0, 0.0)], 3, 0.0, 1.0))
    assert {row for _, row in jump} == set(range(12)), "a jump is drawn as a stroke"


def test_values_outside_stick_to_the_edge() -> None:
    assert dots(braille([(9.0, 9.0), (-9.0, -9.0)], 1, 0.0, 1.0)) >= {(0, 0), (1, 3)}


@pytest.mark.parametrize(("low", "high", "count", "expected"), [
    (0.0, 10.0, 5, [0, 2, 4, 6, 8, 10]), (2.1, 6.3, 3, [4, 6]), (0.0013, 0.0057, 4, [0.002, 0.003, 0.004, 0.005]), (3.0, 5.5, 2, [3, 4, 5]), (2.97, 5.55, 3, [3, 4, 5]), (5.0, 5.0, 3, [5.0]), (0.0, inf, 3, [0.0])])
def test_ticks_are_round(low: float, high: float, count: int, expected: list[float]) -> None:
    assert ticks(low, high, count) == pytest.approx(expected)


@pytest.mark.parametrize("size", [(120, 30), (40, 6), (20, 3), (14, 3), (8, 2), (3, 1)])
@pytest.mark.parametrize("log_y", [False, True])
def test_it_keeps_its_place_at_every_size(size: tuple[int, int], log_y: bool) -> None:
    width, height = size
    points = series(*((n, 10 / n) for n in range(1, 500)))
    lines = draw_curve(points, [Mark(iteration=100, kind="saved"), Mark(iteration=200, kind="restarted")], width, height, Look(log_y=log_y))
    assert len(lines) <= max(1, height)
    assert all(width_of(line) <= width for line in lines)


def test_marks_stand_under_their_iteration_and_a_restart_wins() -> None:
    points = series(*((n, 1.0 / n) for n in range(1, 101)))
    lines = draw_curve(points, [Mark(iteration=50, kind="saved"), Mark(iteration=50, kind="restarted"), Mark(iteration=25, kind="saved"),
                                Mark(iteration=900, kind="saved")], 109, 10)
    axis = "".join(text for text, _ in lines[-2])
    assert axis.index("↻") - 9 == 49 and axis.index("◆") - 9 == 24 and axis.count("◆") == 1
    assert any(("┊", "restarted") in line for line in lines), "the restart is drawn through the chart"


@pytest.mark.parametrize("points", [[(1, 2.0)], [(1, 2.0), (2, 2.0)], [(1, nan), (2, 2.0), (3, inf)], [(5, 0.0)], [(1, -1.0), (2, -2.0)]])
@pytest.mark.parametrize("log_y", [False, True])
def test_few_or_odd_values_are_drawn(points: list[tuple[int, float]], log_y: bool) -> None:
    assert draw_curve(series(*points), [], 60, 8, Look(log_y=log_y))


def test_nothing_all_the_time_stands_on_an_axis_that_begins_at_nothing() -> None:
    labels = [line[0][0].strip() for line in draw_curve(series((1, 0.0), (2, 0.0)), [], 60, 8)]
    assert "0" in labels and not any(label.startswith("-") for label in labels)


def test_only_nan_says_so() -> None:
    assert "finite" in draw_curve(series((1, nan)), [], 60, 8)[0][0][0]


def test_what_an_abandoned_round_left_is_dim() -> None:
    points = series(*((n, 1.0) for n in range(1, 101)))
    line = next(line for line in draw_curve(points, [], 109, 6, Look(current=50)) if any(tone == "curve" for _, tone in line))
    assert sum(len(text) for text, tone in line if tone == "off") == 50
    full = next(line for line in draw_curve(points, [], 109, 6, Look(current=100)) if any(tone == "curve" for _, tone in line))
    assert not [1 for _, tone in full if tone == "off"]
