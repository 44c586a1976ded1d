"""The loss curve in braille: two by four dots a character, from the min and max of each dot column.

Drawing needs one pass over ``Series.bins`` whatever the number of points, and no plotting library (those
were measured ten to ten thousand times slower).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, isfinite, log10
from typing import ClassVar

from console.core.fleet.run_views import Mark, current_iteration, marks, value_at
from console.core.fleet.series import Series
from console.core.fleet.state import FleetState
from console.core.fleet.views import value_text
from console.core.i18n import say
from console.tui.feed import Feed
from console.tui.lines import Line, fit
from console.tui.widgets.line_pane import LinePane

Bins = Sequence[tuple[float, float] | None]
# Bit of each dot of a braille character (Unicode 1.1, U+2800 block): [row][column].
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LABEL = 8


def braille(bins: Bins, height: int, low: float, high: float) -> list[str]:
    """``height`` lines of ``len(bins) // 2`` braille characters; bins between known neighbours are joined.

    ``low`` and ``high`` are the values of the lowest and the highest dot; values outside stick to the edge.
    """
    rows = height * 4
    grid = [[0] * (len(bins) // 2) for _ in range(height)]
    span = (high - low) or 1.0

    def row_of(value: float) -> int:
        return max(0, min(rows - 1, round((high - value) / span * (rows - 1))))

    last: tuple[int, int, int] | None = None  # dot column, upper and lower row of the newest known bin
    for column, pair in enumerate(bins[: len(bins) // 2 * 2]):
        if pair is None:
            continue
        upper, lower = row_of(pair[1]), row_of(pair[0])
        if last is not None:
            _join(grid, last, (column, upper, lower))
        for row in range(upper, lower + 1):
            grid[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
        last = (column, upper, lower)
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in line) for line in grid]


def _join(grid: list[list[int]], old: tuple[int, int, int], new: tuple[int, int, int]) -> None:
    (from_column, from_upper, from_lower), (to_column, to_upper, to_lower) = old, new
    steps = to_column - from_column
    start, end = (from_upper + from_lower) / 2, (to_upper + to_lower) / 2
    if steps == 1 and from_upper <= to_lower + 1 and to_upper <= from_lower + 1:
        return
    previous = round(start)
    for step in range(1, steps + 1):
        row = round(start + (end - start) * step / steps)
        for dot in range(min(previous, row), max(previous, row) + 1):
            column = from_column + (step if dot == row or abs(dot - row) < abs(dot - previous) else step - 1)
            grid[dot // 4][column // 2] |= _DOTS[dot % 4][column % 2]
        previous = row


def ticks(low: float, high: float, count: int) -> list[float]:
    """At most ``count`` round values (1, 2 or 5 times a power of ten apart) within [low, high]."""
    span = high - low
    if count < 1 or not span > 0 or not isfinite(span):
        return [low]
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next((power * unit for unit in (1, 2, 5, 10) if power * unit >= raw), power * 10)
    first = floor(low / step + 1 - 1e-9)
    found: list[float] = []
    while first * step <= high + step * 1e-9 and len(found) <= count:
        found.append(first * step)
        first += 1
    return found


def draw_curve(series: Series, notes: Sequence[Mark], width: int, height: int, *, log_y: bool = False,
               current: int | None = None) -> list[Line]:
    """Chart, axis and a line of marks in ``width`` x ``height`` cells.

    ``current``: what lies beyond it belongs to a round that was given up; it is drawn dim.
    """
    columns, deep = width - _LABEL - 1, height - 2
    if columns < 4 or deep < 1:
        return [[(fit(_values(series), width), "plain")]]
    first, last = series.x[0], series.x[-1]
    bins = _scaled(series.bins(columns * 2, first, last), log_y)
    known = [pair for pair in bins if pair is not None]
    if not known:
        return [[("  " + say("no finite value yet"), "warn")]]
    low, high = min(pair[0] for pair in known), max(pair[1] for pair in known)
    if high - low < 1e-12:
        low, high = low - 0.5 * max(abs(low), 1e-6), high + 0.5 * max(abs(high), 1e-6)
    labels = _labels(low, high, deep, log_y)
    span = max(1, last - first + 1)
    places: dict[int, Mark] = {}
    for mark in sorted(notes, key=lambda mark: mark.kind == "restarted"):  # a restart is drawn over the save it came from
        if first <= mark.iteration <= last:
            places[(mark.iteration - first) * columns // span] = mark
    stale_from = columns if current is None or current >= last else (current + 1 - first) * columns // span
    lines = []
    for at, text in enumerate(braille(bins, deep, low, high)):
        label = labels.get(at, "")
        line: Line = [(fit(label, _LABEL - 1, right=True) + " ", "axis"), ("┤" if label else "│", "axis")]
        lines.append(line + _with_restarts(text, places, stale_from))
    lines.append(_axis(columns, places))
    lines.append(_numbers_below(first, last, columns, current))
    return lines


def _scaled(bins: Bins, log_y: bool) -> Bins:
    if not log_y:
        return bins
    # On a log axis what is not above zero has no place.
    return [None if pair is None or pair[1] <= 0 else (log10(pair[0] if pair[0] > 0 else pair[1]), log10(pair[1])) for pair in bins]


def _labels(low: float, high: float, deep: int, log_y: bool) -> dict[int, str]:
    span = high - low
    found: dict[int, str] = {}
    wanted = max(2, deep // 3)
    values = ticks(10**low, 10**high, wanted) if log_y else ticks(low, high, wanted)
    for value in values:
        if log_y and value <= 0:
            continue
        row = round(((high - (log10(value) if log_y else value)) / span) * (deep * 4 - 1)) // 4
        if 0 <= row < deep:
            found[row] = _short(value)
    return found


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.4g}" if abs(value) >= 1e-3 else value_text(value, 3)


def _with_restarts(text: str, places: dict[int, Mark], stale_from: int) -> Line:
    line: Line = []
    for column, character in enumerate(text):
        mark = places.get(column)
        if mark is not None and mark.kind == "restarted" and character == " ":
            line.append(("┊", "restarted"))
            continue
        tone = "off" if column >= stale_from else "curve"
        if line and line[-1][1] == tone:
            line[-1] = (line[-1][0] + character, tone)
        else:
            line.append((character, tone))
    return line


def _axis(columns: int, places: dict[int, Mark]) -> Line:
    line: Line = [(" " * _LABEL + "└", "axis")]
    for column in range(columns):
        mark = places.get(column)
        if mark is None:
            line.append(("─", "axis"))
        else:
            line.append(("◆", "saved") if mark.kind == "saved" else ("↻", "restarted"))
    return line


def _numbers_below(first: int, last: int, columns: int, current: int | None) -> Line:
    start, end = str(first), str(last)
    middle = str((first + last) // 2) if columns >= 40 and last - first >= 4 else ""
    left = max(1, columns - len(start) - len(end))
    return [(" " * (_LABEL + 1) + start + middle.center(left) + end, "axis")]


def _values(series: Series) -> str:
    last = series.last()
    return "" if last is None else f"{value_text(last[1], 5)} @ {last[0]}"


class Loss(LinePane):
    """Pane ``loss``."""

    pane_name: ClassVar[str] = "loss"

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.log_y = False
        self._drawn: tuple[object, ...] = ()

    def toggle_log_y(self) -> bool:
        """Switch between linear and logarithmic; returns whether it is logarithmic now."""
        self.log_y = not self.log_y
        self.redraw()
        return self.log_y

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        run = state.current
        series = run.series["loss"] if run is not None else None
        if run is None or series is None or not len(series):
            self.retitle(say("Loss"))
            self.resubtitle("")
            return [[("  " + say("waiting for the first iteration"), "dim")]]
        # Everything the drawing depends on; the run's other counters change every second.
        notes, current = marks(run), current_iteration(run)
        key = (run.job, series.generation, notes, current, width, height, self.log_y)
        if key == self._drawn:
            return self._lines
        self._drawn = key
        value = value_at(series, current)
        title = say("Loss")
        if value is not None:
            title += f"  {value_text(value, 5)} @ {current}"
        self.retitle(title)
        self.resubtitle("◆ " + say("saved") + "  ↻ " + say("restarted") + ("  log y" if self.log_y else ""))
        return draw_curve(series, notes, width, height, log_y=self.log_y, current=current)
