"""Which nodes of a fleet are looked at and in which order: filter, sort key, group label, value in the cells. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from console.core.fleet.views import NodeRow
from console.core.records import dataclass

Value: TypeAlias = Literal["load", "hbm", "temperature", "power"]
VALUES: tuple[Value, ...] = ("load", "hbm", "temperature", "power")
"""What a cell of the grid shows: AICore load (beside HBM where there is room), HBM, temperature, power."""
Order: TypeAlias = Literal["name", "trouble", "load", "temperature", "age"]
ORDERS: tuple[Order, ...] = ("name", "trouble", "load", "temperature", "age")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLook:
    """How the fleet is looked at."""

    filter: str = ""
    """A text in the node's name, link, note or labels; ``!text`` for those without, ``-f text`` letters in order,
    ``-l key=value`` a label."""
    order: Order = "name"
    group: str = ""
    """A label to group by; empty: not grouped."""
    value: Value = "load"


def matcher(pattern: str) -> re.Pattern[str] | None:
    """``text``, a regular expression where it is one; ``-f text``: its letters in order; None for everything."""
    text = pattern[3:].strip() if pattern.startswith("-f ") else pattern
    if not text:
        return None
    if pattern.startswith("-f "):
        return re.compile(".*?".join(map(re.escape, text)), re.IGNORECASE)
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error:
        return re.compile(re.escape(text), re.IGNORECASE)


def arranged(rows: Sequence[NodeRow], look: FleetLook, labels: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, tuple[NodeRow, ...]], ...]:
    """(group, its rows) in order; one group named "" when not grouped."""
    kept = [row for row in rows if _passes(row, look.filter, labels.get(row.name, {}))] if look.filter else list(rows)
    if look.order != "name":
        kept.sort(key=lambda row: _rank(row, look.order))  # stable: equal ones stay in the order of their names
    if not look.group:
        return (("", tuple(kept)),)
    groups: dict[str, list[NodeRow]] = {}
    for row in kept:
        groups.setdefault(labels.get(row.name, {}).get(look.group, "-"), []).append(row)
    return tuple((name, tuple(groups[name])) for name in sorted(groups))


def _passes(row: NodeRow, pattern: str, labels: Mapping[str, str]) -> bool:
    inverse = pattern.startswith("!")
    pattern = pattern[1:].lstrip() if inverse else pattern
    if pattern.startswith("-l "):
        key, _, value = pattern[3:].strip().partition("=")
        return (key in labels and (not value or labels[key] == value)) != inverse
    found = matcher(pattern)
    if found is None:
        return True
    health = {cell.health.text for cell in row.cells if cell.health.tone != "good"}
    words = " ".join((row.name, row.link.text, row.note, row.job, *health, *(f"{key}={value}" for key, value in labels.items())))
    return (found.search(words) is not None) != inverse


def _rank(row: NodeRow, order: Order) -> float:
    if order == "trouble":
        worst = max((("good", "off", "warn", "bad").index(cell.health.tone) for cell in row.cells if cell.health.tone in ("good", "off", "warn", "bad")), default=0)
        return -(100 * (row.link.tone == "bad") + 50 * (not row.trusted) + worst)
    if order == "age":
        return -(row.age_s if row.age_s is not None else float("inf"))
    values = [value for cell in row.cells if (value := cell.aicore_pct if order == "load" else cell.temperature_c) is not None]
    return -max(values, default=-1.0)
