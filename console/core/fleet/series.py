"""One metric over the iterations of a run, as columns. Pure.

A ``Series`` keeps x ascending and unique: a point at an x that is already there replaces the old one, so
an iteration trained again after a restart appears once, with its latest value. ``Read the run`` adds the
min/max pyramid here; the interface stays.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from math import isfinite


class Series:
    """x (iteration) -> y (value), y may be nan or infinite. Grows in place."""

    __slots__ = ("generation", "x", "y")

    def __init__(self) -> None:
        self.x = array("q")
        self.y = array("d")
        self.generation = 0
        """Rises with every change; a view that drew this generation need not draw again."""

    def put(self, x: int, y: float) -> None:
        """Set the value at x."""
        self.generation += 1
        if not self.x or x > self.x[-1]:
            self.x.append(x)
            self.y.append(y)
            return
        at = bisect_left(self.x, x)
        if self.x[at] == x:
            self.y[at] = y
        else:
            self.x.insert(at, x)
            self.y.insert(at, y)

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return zip(self.x, self.y, strict=True)

    def last(self) -> tuple[int, float] | None:
        """The newest point, or None."""
        return (self.x[-1], self.y[-1]) if self.x else None

    def bins(self, count: int, first: int | None = None, last: int | None = None) -> list[tuple[float, float] | None]:
        """(min, max) of the finite values in each of ``count`` equal stretches of [first, last] (x, inclusive;
        default: all). None where a stretch has none."""
        found: list[tuple[float, float] | None] = [None] * count
        if not self.x:
            return found
        low = self.x[0] if first is None else first
        high = self.x[-1] if last is None else last
        span = max(1, high - low + 1)
        for at in range(bisect_left(self.x, low), bisect_left(self.x, high + 1)):
            value = self.y[at]
            if not isfinite(value):
                continue
            box = min(count - 1, (self.x[at] - low) * count // span)
            old = found[box]
            found[box] = (value, value) if old is None else (min(old[0], value), max(old[1], value))
        return found
