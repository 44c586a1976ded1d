"""Who else watches this fleet, and what they said: notes, alarms acknowledged and muted. Pure.

All of it comes from the nodes (records ``presence`` and ``remark``): what one console says, every other hears.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from console.core.fleet.alarms import Alarm, alarms
from console.core.fleet.remarks import Remark
from console.core.records import dataclass

if TYPE_CHECKING:
    from console.core.fleet.state import FleetState

SHIFT_S = 8 * 3600.0
"""An acknowledgement, and a mute without an end, holds for a shift: whoever comes next must see what is wrong."""
_SPAN = re.compile(r"([0-9]{1,4})(m|h|d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Colleague:
    """One console that is attached somewhere."""

    operator: str
    console: str
    """Its host and process."""
    nodes: tuple[str, ...]
    since: float
    armed_until: float | None = None


def span_s(text: str) -> float:
    """30m, 8h or 2d in seconds. Raises ValueError for anything else."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text}: expected a time such as 30m, 8h or 2d")
    return int(found[1]) * {"m": 60.0, "h": 3600.0, "d": 86400.0}[found[2]]


def colleagues(state: FleetState, own: str = "") -> tuple[Colleague, ...]:
    """Every console attached to a node that we reach, the armed ones first; ``own`` is left out."""
    found: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = {}
    for node in state.nodes.values():
        if node.link == "up":
            for each in node.consoles:
                found.setdefault((str(each.get("operator") or ""), str(each.get("console") or "")), []).append((node.name, each))
    made = [Colleague(operator=operator, console=console, nodes=tuple(name for name, _ in seen), since=min(_number(each.get("since")) for _, each in seen),
                      armed_until=max((_number(each.get("armed_until")) for _, each in seen), default=0.0) or None)
            for (operator, console), seen in found.items() if console != own]
    return tuple(sorted(made, key=lambda one: (one.armed_until is None, one.operator, one.console)))


def answered(alarm: Alarm, remarks: Sequence[Remark], now: float) -> Remark | None:
    """What was said of the alarm and still holds: the newest acknowledgement or mute, or None.

    An acknowledgement is of the alarm as it was then: one that began anew since wants another.
    """
    for said in reversed(remarks):
        if said.what not in ("acknowledge", "mute", "unmute") or not fnmatchcase(alarm.key, said.subject):
            continue
        if said.what == "unmute":
            return None
        if said.what == "mute" and now < (said.until if said.until is not None else said.time + SHIFT_S):
            return said
        if said.what == "acknowledge" and now < said.time + SHIFT_S and (alarm.since is None or alarm.since <= said.time):
            return said
    return None


def standing(state: FleetState, now: float) -> tuple[tuple[Alarm, Remark | None], ...]:
    """Every alarm with what was said of it, those that nobody has answered first."""
    remarks = tuple(state.remarks.values())
    found = [(alarm, answered(alarm, remarks, now)) for alarm in alarms(state, now)]
    return tuple(sorted(found, key=lambda pair: pair[1] is not None))


def notes(state: FleetState) -> tuple[Remark, ...]:
    """What was said, the newest first."""
    return tuple(reversed(tuple(state.remarks.values())))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
