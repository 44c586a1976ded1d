"""What operators say to one another: notes, alarms acknowledged and muted (record kind ``remark``). Pure.

A remark is said on many nodes under one id, and counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.core.records import dataclass

KEPT_REMARKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """One thing that was said. ``what``: note | acknowledge | mute | unmute (agent.wire.REMARKS)."""

    id: str
    what: str
    subject: str
    """An alarm's key, or a pattern of keys (* and ?); empty for a note."""
    text: str
    operator: str
    time: float
    """When, our clock as well as it is known."""
    until: float | None = None


def remarked(known: Mapping[str, Remark], data: Mapping[str, Any], time: float) -> Mapping[str, Remark]:
    """The remarks with the one of a ``remark`` record among them, the newest ``KEPT_REMARKS``."""
    id_, until = str(data.get("id") or ""), data.get("until")
    if not id_:
        return known
    old = known.get(id_)
    said = Remark(id=id_, what=str(data.get("what") or ""), subject=str(data.get("subject") or ""), text=str(data.get("text") or ""),
                  operator=str(data.get("operator") or ""), time=min(time, old.time) if old is not None else time,
                  until=float(until) if isinstance(until, (int, float)) else None)
    return dict(sorted({**known, id_: said}.items(), key=lambda item: item[1].time)[-KEPT_REMARKS:])
