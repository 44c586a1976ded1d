"""Which start of a job each point of its curves comes from. Pure.

A ``Place`` is (attempt, round); places compare by time. Kept as a column of a byte or two a point beside an
axis of ``Steps``, because a million entries of a dict would cost more than all curves together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from operator import lt
from typing import TypeAlias

from console.core.fleet.steps import Steps

Place: TypeAlias = tuple[str, int]
"""(attempt, round)."""
_WIDER = {1 << 8: "H", 1 << 16: "L"}


class Standing:
    """iteration -> place, in the order of iterations. Grows in place."""

    __slots__ = ("_column", "_index", "places", "x")

    def __init__(self) -> None:
        self.x = Steps()
        self.places: list[Place] = []
        """Every place that ever had a point, in order of arrival."""
        self._index: dict[Place, int] = {}
        self._column = array("B")

    def get(self, x: int, default: Place) -> Place:
        """The place whose value stands at x; ``default`` where there is none."""
        at = self.x.find(x)
        return self.places[self._column[at]] if at < len(self.x) and self.x[at] == x else default

    def __setitem__(self, x: int, place: Place) -> None:
        number = self._number(place)
        if not len(self.x) or x > self.x[-1]:
            self.x.append(x)
            self._column.append(number)
            return
        at = self.x.find(x)
        if self.x[at] == x:
            self._column[at] = number
        else:
            self._column.insert(self.x.insert(x), number)

    def extend(self, x: Sequence[int], place: Place) -> None:
        """Ascending iterations beyond all known ones, all of one place. Raises ValueError when they are not."""
        if (len(self.x) and len(x) and x[0] <= self.x[-1]) or not all(map(lt, x, x[1:])):
            raise ValueError("not beyond the known ones, ascending")
        number = self._number(place)
        self.x.extend(x)
        self._column.extend(array(self._column.typecode, [number]) * len(x))

    def _number(self, place: Place) -> int:
        number = self._index.get(place)
        if number is None:
            number = self._index[place] = len(self.places)
            self.places.append(place)
            if number in _WIDER:
                self._column = array(_WIDER[number], self._column)
        return number

    def values(self) -> Iterator[Place]:
        """The place of each point, in the order of iterations."""
        return (self.places[number] for number in self._column)

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[tuple[int, Place]]:
        return ((x, self.places[number]) for x, number in zip(self.x, self._column, strict=True))
