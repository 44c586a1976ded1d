"""Curves in braille: two by four dots a character, from the min and max of each dot column.

Drawing needs one pass over ``Series.bins`` whatever the number of points, and no plotting library (those
were measured ten to ten thousand times slower).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite, log10

from console.core.fleet.run_views import Mark
from console.core.fleet.series import Series
from console.core.fleet.views import value_text
from console.core.i18n import say
from console.core.records import dataclass
from console.tui.lines import Line, fit

Bins = Sequence[tuple[float, float] | None]
# Bit of each dot of a braille character (Unicode 1.1, U+2800 block): [row][column].
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_LABEL = 8


# Four dots of one column of a character, from the top, as bits 0 to 3 -> the bits of U+2800.
_LEFT = tuple(sum(_DOTS[row][0] for row in range(4) if bits >> row & 1) for bits in range(16))
_RIGHT = tuple(sum(_DOTS[row][1] for row in range(4) if bits >> row & 1) for bits in range(16))


def braille(bins: Bins, height: int, low: float, high: float) -> list[str]:
    """``height`` lines of ``len(bins) // 2`` braille characters; bins between known neighbours are joined.

    ``low`` and ``high`` are the values of the lowest and the highest dot; values outside stick to the edge.
    """
    rows = height * 4
    columns = [0] * (len(bins) // 2 * 2)  # of each dot column the dots that are set, row n as bit n
    scale = (rows - 1) / ((high - low) or 1.0)
    last: tuple[int, int, int] | None = None  # dot column, upper and lower row of the newest known bin
    for column, pair in enumerate(bins[: len(columns)]):
        if pair is None:
            continue
        upper = max(0, min(rows - 1, round((high - pair[1]) * scale)))
        lower = max(0, min(rows - 1, round((high - pair[0]) * scale)))
        if last is not None:
            _join(columns, last, (column, upper, lower))
        columns[column] |= _stroke(upper, lower)
        last = (column, upper, lower)
    lines = []
    pairs = list(zip(columns[::2], columns[1::2], strict=True))
    for shift in range(0, rows, 4):
        codes = [_LEFT[left >> shift & 15] | _RIGHT[right >> shift & 15] for left, right in pairs]
        lines.append("".join([chr(0x2800 + code) if code else " " for code in codes]))
    return lines


def _stroke(one: int, other: int) -> int:
    """The dots from one row to the other, both included."""
    upper, lower = (one, other) if one <= other else (other, one)
    return ((1 << (lower - upper + 1)) - 1) << upper


def _join(columns: list[int], old: tuple[int, int, int], new: tuple[int, int, int]) -> None:
    """Draw from the middle of one bin to the middle of the next; of each step half in the one column, half in the other."""
    (from_column, from_upper, from_lower), (to_column, to_upper, to_lower) = old, new
    steps = to_column - from_column
    if steps == 1 and from_upper <= to_lower + 1 and to_upper <= from_lower + 1:
        return
    start, end = (from_upper + from_lower) / 2, (to_upper + to_lower) / 2
    previous = round(start)
    for step in range(1, steps + 1):
        row = round(start + (end - start) * step / steps)
        middle = (previous + row) // 2 if row > previous else (previous + row + 1) // 2
        columns[from_column + step - 1] |= _stroke(previous, middle)
        columns[from_column + step] |= _stroke(row, middle + (row > middle) - (row < middle))
        previous = row


def ticks(low: float, high: float, count: int) -> list[float]:
    """About ``count`` round values (1, 2 or 5 times a power of ten apart) within [low, high], at least two of them
    where there are any."""
    span = high - low
    if count < 1 or not span > 0 or not isfinite(span):
        return [low]
    power = 10.0 ** floor(log10(span / count))
    best: list[float] = []
    for step in (power * scale * unit for scale in (0.1, 1.0, 10.0) for unit in (1, 2, 5)):
        first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
        many = last - first + 1
        if 2 <= many <= count + 2 and (not best or abs(many - count) <= abs(len(best) - count)):  # of two as good, the coarser
            best = [at * step for at in range(first, last + 1)]
    return best or [low]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a curve is drawn. first, last: the iterations shown, None for all; ``smoothing``: weight of what was
    before, 0 to 1; ``cursor``: an iteration to mark."""

    log_y: bool = False
    smoothing: float = 0.0
    first: int | None = None
    last: int | None = None
    cursor: int | None = None
    current: int | None = None
    """What lies beyond it belongs to a round that was given up, or to the future; it is drawn dim."""


_PLAIN = Look()


def draw_curve(series: Series, notes: Sequence[Mark], width: int, height: int, look: Look = _PLAIN, given_up: Sequence[Series] = (),
               beside: Sequence[Series] = ()) -> list[Line]:
    """Chart, axis and a line of marks in ``width`` x ``height`` cells. ``given_up``: what was trained again later;
    ``beside``: other runs' curves, at most three, each with its letter at its end (A, B, C)."""
    columns, deep = width - _LABEL - 1, height - 2
    if columns < 4 or deep < 1:
        return [[(fit(_values(series), width), "plain")]]
    shown = [series, *(other for other in beside if len(other))]
    first = min(one.x[0] for one in shown) if look.first is None else look.first
    last = max(max(one.x[-1] for one in shown) if look.last is None else look.last, first)
    raw = series.bins(columns * 2, first, last)
    bins = _scaled(raw, look.log_y)
    others = [_scaled(other.bins(columns * 2, first, last), look.log_y) if len(other) else [] for other in beside]
    known = [pair for each in (bins, *others) for pair in each if pair is not None]
    if not known:
        return [[("  " + say("no finite value here"), "warn")]]
    low, high = min(pair[0] for pair in known), max(pair[1] for pair in known)
    if low == high == 0 and not look.log_y:
        high = 1.0  # nothing all the time; an axis through it would speak of less than nothing
    elif high - low < 1e-12:
        low, high = low - 0.05 * max(abs(low), 1e-6), high + 0.05 * max(abs(high), 1e-6)
    labels = _labels(low, high, deep, look.log_y)
    span = max(1, last - first + 1)
    places: dict[int, Mark] = {}
    for mark in sorted(notes, key=lambda mark: mark.kind == "restarted"):  # a restart is drawn over the save it came from
        if first <= mark.iteration <= last:
            places[(mark.iteration - first) * columns // span] = mark
    stale_from = columns if look.current is None or look.current >= last else max(0, (look.current + 1 - first) * columns // span)
    layers = [(braille(bins, deep, low, high), "curve")]
    if look.smoothing:
        layers = [(braille(_scaled(smooth(raw, look.smoothing), look.log_y), deep, low, high), "smooth"), (layers[0][0], "dim")]
    for other in given_up:
        layers.append((braille(_scaled(other.bins(columns * 2, first, last), look.log_y), deep, low, high), "off"))
    ends: dict[int, dict[int, tuple[str, str]]] = {}
    for number, each in enumerate(others):
        layers.append((braille(each, deep, low, high) if each else [" " * columns] * deep, f"beside{number % 3}"))
        end = max((column for column, pair in enumerate(each) if pair is not None), default=None)
        if end is not None:
            pair = each[end]
            assert pair is not None
            row = max(0, min(deep * 4 - 1, round((high - sum(pair) / 2) * (deep * 4 - 1) / ((high - low) or 1.0)))) // 4
            ends.setdefault(row, {})[min(end // 2, columns - 1)] = (chr(ord("A") + number), f"beside{number % 3}")
    at_cursor = (look.cursor - first) * columns // span if look.cursor is not None and first <= look.cursor <= last else None
    lines = []
    for at in range(deep):
        label = labels.get(at, "")
        line: Line = [(fit(label, _LABEL - 1, right=True) + " ", "axis"), ("┤" if label else "│", "axis")]
        drawn = _layered([(rows[at], tone) for rows, tone in layers], places, stale_from, at_cursor)
        lines.append(line + (_lettered(drawn, ends[at]) if at in ends else drawn))
    lines.append(_axis(columns, places))
    lines.append(_numbers_below(first, last, columns))
    return lines


def smooth(bins: Bins, weight: float) -> Bins:
    """An exponential moving average of the middles of the bins; ``weight`` of what was before, 0 to below 1."""
    found: list[tuple[float, float] | None] = []
    mean: float | None = None
    for pair in bins:
        if pair is None:
            found.append(None)
            continue
        middle = (pair[0] + pair[1]) / 2
        mean = middle if mean is None else mean * weight + middle * (1 - weight)
        found.append((mean, mean))
    return found


def _scaled(bins: Bins, log_y: bool) -> Bins:
    if not log_y:
        return bins
    # On a log axis what is not above zero has no place.
    return [None if pair is None or pair[1] <= 0 else (log10(pair[0] if pair[0] > 0 else pair[1]), log10(pair[1])) for pair in bins]


def _labels(low: float, high: float, deep: int, log_y: bool) -> dict[int, str]:
    span = high - low
    found: dict[int, str] = {}
    wanted = max(3, deep // 3)
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


def _layered(layers: Sequence[tuple[str, str]], places: dict[int, Mark], stale_from: int, cursor: int | None) -> Line:
    """One line of the chart: of the layers the first that has dots in a cell, under the cursor and the marks."""
    (top, tone), *below = layers
    if not below and cursor is None and stale_from >= len(top) and not any(mark.kind == "restarted" for mark in places.values()):
        return [(top, tone)]
    line: Line = []
    for column, character in enumerate(top):
        used = "off" if column >= stale_from else tone
        for rows, under in below:
            if character == " " and rows[column] != " ":
                character, used = rows[column], under
        mark = places.get(column)
        if column == cursor:
            character, used = ("│", "past") if character == " " else (character, "past")
        elif character == " " and mark is not None and mark.kind == "restarted":
            character, used = "┊", "restarted"
        if line and line[-1][1] == used:
            line[-1] = (line[-1][0] + character, used)
        else:
            line.append((character, used))
    return line


def _lettered(line: Line, letters: dict[int, tuple[str, str]]) -> Line:
    """The line with letters in place of the characters of those columns."""
    cells = [(character, tone) for text, tone in line for character in text]
    for column, letter in letters.items():
        cells[column] = letter
    return [*cells]


def _axis(columns: int, places: dict[int, Mark]) -> Line:
    line: Line = [(" " * _LABEL + "└", "axis")]
    for column in range(columns):
        mark = places.get(column)
        if mark is None:
            line.append(("─", "axis"))
        else:
            line.append(("◆", "saved") if mark.kind == "saved" else ("↻", "restarted"))
    return line


def _numbers_below(first: int, last: int, columns: int) -> Line:
    start, end = str(first), str(last)
    middle = str((first + last) // 2) if columns >= 40 and last - first >= 4 else ""
    left = max(1, columns - len(start) - len(end))
    return [(" " * (_LABEL + 1) + start + middle.center(left) + end, "axis")]


def _values(series: Series) -> str:
    last = series.last()
    return "" if last is None else f"{value_text(last[1], 5)} @ {last[0]}"
