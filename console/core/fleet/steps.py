"""The x axis of a run's curves: ascending iterations, kept as stretches of equal stride. Pure.

A trainer prints every iteration, or every tenth; a million of them are a handful of stretches, so the axis
costs nothing beside the values. Stretches that never repeat cost 24 bytes a point, no more. Refuses to hold
an iteration twice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import overload


class Steps(Sequence[int]):
    """Ascending whole numbers, read like a list."""

    __slots__ = ("_begin", "_count", "_first", "_stride")

    def __init__(self, values: Iterable[int] = ()) -> None:
        """Raises ValueError when ``values`` do not ascend."""
        # Of each stretch: its index in the whole, its first value, its stride (0 while it holds one value).
        self._begin, self._first, self._stride = array("q"), array("q"), array("q")
        self._count = 0
        self.extend(list(values))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> array[int]: ...
    def __getitem__(self, at: int | slice) -> int | array[int]:
        if isinstance(at, slice):
            start, stop, step = at.indices(self._count)
            if step == 1:
                return array("q", self._between(start, stop))
            return array("q", (self[index] for index in range(start, stop, step)))
        index = at + self._count if at < 0 else at
        if not 0 <= index < self._count:
            raise IndexError(at)
        stretch = bisect_right(self._begin, index) - 1
        return self._first[stretch] + (index - self._begin[stretch]) * self._stride[stretch]

    def __iter__(self) -> Iterator[int]:
        return self._between(0, self._count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence | array) and len(other) == self._count and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it grows

    def _between(self, start: int, stop: int) -> Iterator[int]:
        stretch = max(0, bisect_right(self._begin, start) - 1)
        while start < stop:
            end = min(stop, self._end(stretch))
            low, stride = self._first[stretch], self._stride[stretch]
            for index in range(start - self._begin[stretch], end - self._begin[stretch]):
                yield low + index * stride
            start, stretch = end, stretch + 1

    def _end(self, stretch: int) -> int:
        return self._begin[stretch + 1] if stretch + 1 < len(self._begin) else self._count

    def find(self, x: int) -> int:
        """The index of the first value that is not below x (as bisect_left)."""
        stretch = bisect_right(self._first, x) - 1
        if stretch < 0:
            return 0
        count = self._end(stretch) - self._begin[stretch]
        stride = self._stride[stretch]
        inside = -(-(x - self._first[stretch]) // stride) if stride else int(x > self._first[stretch])
        return self._begin[stretch] + min(count, inside)

    def append(self, x: int) -> None:
        """Add a value above all others. Raises ValueError when it is not."""
        if not self._count:
            self._new(x)
            return
        last = len(self._begin) - 1
        inside = self._count - self._begin[last]
        if x <= self._first[last] + (inside - 1) * self._stride[last]:
            raise ValueError(f"{x} does not come after {self[-1]}")
        if inside == 1:
            self._stride[last] = x - self._first[last]
        elif x != self._first[last] + inside * self._stride[last]:
            self._new(x)
            return
        self._count += 1

    def _new(self, x: int) -> None:
        self._begin.append(self._count)
        self._first.append(x)
        self._stride.append(0)
        self._count += 1

    def extend(self, values: Sequence[int]) -> None:
        """Add ascending values above all others; one regular stretch at once. Raises ValueError, the values before kept."""
        count = len(values)
        stride = values[1] - values[0] if count > 1 else 0
        regular = count > 2 and stride > 0 and list(values) == list(range(values[0], values[0] + stride * count, stride))
        for done, value in enumerate(values, 1):
            self.append(value)
            if regular and self._stride[-1] == stride:
                self._count += count - done
                return

    def insert(self, x: int) -> int:
        """Add a value that is not there yet, wherever it belongs; its index."""
        at = self.find(x)
        if at == self._count:
            self.append(x)
            return at
        stretch = bisect_right(self._begin, at) - 1
        inside = at - self._begin[stretch]
        pieces = [(at, x, 0)]
        if inside:
            # The stretch is cut in two: what is before keeps its place, what is behind begins one later.
            pieces.append((at + 1, self._first[stretch] + inside * self._stride[stretch], self._stride[stretch]))
            where = stretch + 1
        else:
            where = stretch
        for place in range(where, len(self._begin)):
            self._begin[place] += 1
        for offset, (begin, first, stride) in enumerate(pieces):
            self._begin.insert(where + offset, begin)
            self._first.insert(where + offset, first)
            self._stride.insert(where + offset, stride)
        self._count += 1
        for place in (where - 1, where, where + len(pieces) - 1):
            if 0 <= place < len(self._begin) and self._end(place) - self._begin[place] == 1:
                self._stride[place] = 0
        return at
