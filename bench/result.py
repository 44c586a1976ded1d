"""What a bench found: samples, and ratios between two kinds of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any


class Skipped(Exception):
    """This machine lacks what the bench needs; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Repeated measurements of one thing."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile; both the value itself when there is only one."""
        return quartiles(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """One thing's samples over another's, round by round. ``at_most``: the target, or None."""

    name: str
    values: tuple[float, ...]
    at_most: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        return quartiles(self.values)

    @property
    def met(self) -> bool:
        """Whether the median keeps the target; true when there is none."""
        return self.at_most is None or self.median <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that one bench found. ``notes``: what a reader must know to believe it."""

    samples: tuple[Samples, ...]
    ratios: tuple[Ratio, ...] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """First and third quartile of at least one value."""
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    return first, third


def ratio(name: str, of: Samples, against: Samples, *, at_most: float | None = None) -> Ratio:
    """``of`` over ``against``, round by round; both must have been taken in the same rounds."""
    return Ratio(name=name, values=tuple(a / b for a, b in zip(of.values, against.values, strict=True)), at_most=at_most)


def as_mapping(result: Result) -> dict[str, Any]:
    """The result for JSON, with the figures worked out and every single value kept."""
    def figures(item: Samples | Ratio) -> dict[str, Any]:
        low, high = item.quartiles
        return {"name": item.name, "median": item.median, "first_quartile": low, "third_quartile": high, "values": list(item.values)}

    return {
        "samples": [{**figures(samples), "unit": samples.unit} for samples in result.samples],
        "ratios": [{**figures(found), "at_most": found.at_most, "met": found.met} for found in result.ratios],
        "notes": list(result.notes),
    }
