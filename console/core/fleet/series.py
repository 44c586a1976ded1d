"""One metric over the iterations of a run, as columns with a min/max pyramid over them. Pure.

A ``Series`` keeps x ascending and unique: a point at an x that is already there replaces the old one, so
an iteration trained again after a restart appears once, with its latest value. A picture of any stretch
costs its width times the logarithm of the points, not the points: extremes are kept for each 64 values,
for each 64 of those, and so on, and are brought up to date when somebody looks.

A point costs 8 bytes (1 for small counts) and the axis nearly nothing (``steps``).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from math import inf, isfinite

from console.core.fleet.steps import Steps

FAN = 64
"""Values under one entry of the pyramid. ``min`` and ``max`` over a slice of so many run at C speed."""


class Series:
    """x (iteration) -> y (value), y may be nan or infinite. Grows in place."""

    __slots__ = ("_dirty", "_high", "_low", "generation", "x", "y")

    def __init__(self, *, counts: bool = False) -> None:
        """``counts``: the values are small whole numbers, almost always; others cost more, and are kept as well."""
        self.x = Steps()
        self.y: array[float] | array[int] = array("B") if counts else array("d")
        self.generation = 0
        """Rises with every change; a view that drew this generation need not draw again."""
        self._low: list[array[float]] = []
        self._high: list[array[float]] = []
        # Full blocks of the first level whose values were changed after they had been looked at.
        self._dirty: set[int] = set()

    def put(self, x: int, y: float) -> None:
        """Set the value at x."""
        self.generation += 1
        if not len(self.x) or x > self.x[-1]:
            fitted = self._fitted([y])
            self.y.extend(fitted)  # type: ignore[arg-type]  # whole where they are counts
            self.x.append(x)
            return
        at = self.x.find(x)
        if self.x[at] == x:
            value = self._fitted([y])[0]
            self.y[at] = value  # type: ignore[call-overload]  # whole where they are counts
            self._dirty.add(at // FAN)
        else:
            value = self._fitted([y])[0]
            self.x.insert(x)
            self.y.insert(at, value)  # type: ignore[arg-type]
            self._forget_from(at)

    def extend(self, x: Sequence[int], y: Sequence[float]) -> None:
        """Set many values, quickest when x ascends beyond all that are there. Raises TypeError, nothing done, for no numbers."""
        if not x:
            return
        fitted = self._fitted(y)
        try:
            before = len(self.x)
            self.x.extend(x)
        except ValueError:
            self.x = Steps(self.x[:before])
            for one, value in zip(x, y, strict=True):
                self.put(one, value)
            return
        self.generation += 1
        self.y.extend(fitted)  # type: ignore[arg-type]  # whole where they are counts

    def get(self, x: int) -> float | None:
        """The value at exactly x, or None."""
        at = self.x.find(x)
        return self.y[at] if at < len(self.x) and self.x[at] == x else None

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.x, self.y, strict=True)

    def last(self) -> tuple[int, float] | None:
        """The newest point, or None."""
        return (self.x[-1], self.y[-1]) if len(self.x) else None

    def bins(self, count: int, first: int | None = None, last: int | None = None) -> list[tuple[float, float] | None]:
        """(min, max) of the finite values in each of ``count`` equal stretches of [first, last] (x, inclusive;
        default: all). None where a stretch has none."""
        found: list[tuple[float, float] | None] = [None] * count
        if not len(self.x) or not count:
            return found
        low = self.x[0] if first is None else first
        high = self.x[-1] if last is None else last
        span = max(1, high - low + 1)
        self._catch_up()
        start, end = self.x.find(low), self.x.find(high + 1)
        while start < end:
            box = min(count - 1, (self.x[start] - low) * count // span)
            # The first x that no longer falls into this box.
            stop = end if box == count - 1 else min(end, self.x.find(low - (-(box + 1) * span // count)))
            found[box] = self._extremes(start, stop)
            start = stop
        return found

    # --- the pyramid ---------------------------------------------------------------------------------

    def _fitted(self, values: Sequence[float]) -> Sequence[float]:
        """The values as the column takes them; a column of counts becomes a common one when they are none."""
        if self.y.typecode == "d":
            return array("d", values)
        try:
            return array("B", values)  # takes whole numbers of 0 to 255 and nothing else
        except (TypeError, OverflowError):
            pass
        if all(value == value and 0 <= value <= 255 and value == int(value) for value in values):
            return array("B", [int(value) for value in values])
        self.y = array("d", self.y)
        return array("d", values)

    def _forget_from(self, at: int) -> None:
        block = at // FAN
        for low, high in zip(self._low, self._high, strict=True):
            del low[block:], high[block:]
            block //= FAN
        self._dirty = {known for known in self._dirty if known < at // FAN}

    def _catch_up(self) -> None:
        dirty, self._dirty = self._dirty, set()
        values_low: Sequence[float] = self.y
        values_high: Sequence[float] = self.y
        level = 0
        while len(values_low) >= FAN:
            if level == len(self._low):
                self._low.append(array("d"))
                self._high.append(array("d"))
            low, high = self._low[level], self._high[level]
            for block in dirty:
                if block < len(low):
                    low[block], high[block] = _ends(values_low, values_high, block * FAN, (block + 1) * FAN)
            for block in range(len(low), len(values_low) // FAN):
                ends = _ends(values_low, values_high, block * FAN, (block + 1) * FAN)
                low.append(ends[0])
                high.append(ends[1])
            values_low, values_high = low, high
            dirty = {block // FAN for block in dirty}
            level += 1

    def _extremes(self, start: int, stop: int) -> tuple[float, float] | None:
        lows: Sequence[float] = self.y
        highs: Sequence[float] = self.y
        low, high = inf, -inf
        level = 0
        while True:
            inner, outer = -(-start // FAN), stop // FAN
            if level == len(self._low) or inner >= outer:
                ends = [_ends(lows, highs, start, stop)]
            else:
                ends = [_ends(lows, highs, start, inner * FAN), _ends(lows, highs, outer * FAN, stop)]
            for least, most in ends:
                low, high = min(low, least), max(high, most)
            if len(ends) == 1:
                return (low, high) if low <= high else None
            lows, highs = self._low[level], self._high[level]
            start, stop, level = inner, outer, level + 1


def _ends(lows: Sequence[float], highs: Sequence[float], start: int, stop: int) -> tuple[float, float]:
    """(min, max) of the finite values; (inf, -inf) where there are none, which changes no other's min and max."""
    if start >= stop:
        return inf, -inf
    least, most = lows[start:stop], highs[start:stop]
    # A sum that is finite has no nan and no infinity in it; one that is not may be a mere overflow, and is only slower.
    if isfinite(sum(least)) and isfinite(sum(most)):
        return min(least), max(most)
    return min((value for value in least if isfinite(value)), default=inf), max((value for value in most if isfinite(value)), default=-inf)
