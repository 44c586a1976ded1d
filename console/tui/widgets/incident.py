"""Pane ``timeline``: one time line over all nodes, of everything that tells an incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from console.core.fleet.fleet_look import matcher
from console.core.fleet.happenings import Happening, timeline_rows
from console.core.fleet.state import FleetState
from console.core.i18n import phrase, say, told
from console.tui.widgets.listings import Happenings, clock_text


class Timeline(Happenings):
    """Newest first; what the fleet's filter leaves out is left out here. Without one, saves that followed each other well are one line."""

    pane_name: ClassVar[str] = "timeline"
    title, empty = "Time line", "nothing has happened yet"

    def rows(self, state: FleetState) -> Sequence[Happening]:
        rows = list(timeline_rows(state, state.current)) if state.current is not None else []
        seen = {(row.time, row.node, row.what) for row in rows}
        rows += [row for row in self.context.moments.changes if (row.time, row.node, row.what) not in seen]
        rows.sort(key=lambda row: -row.time)
        pattern = self.context.look.filter
        found = matcher(pattern.removeprefix("!"))
        if found is None:
            return folded(rows)
        # As it is read, and as it is written down.
        return [row for row in rows if (found.search(f"{row.node} {row.badge.text} {row.what} {row.detail} {say(row.badge.text)} {told(row.what)}") is not None)
                != pattern.startswith("!")]


def folded(rows: Sequence[Happening]) -> list[Happening]:
    """The newest of each row of good saves by itself, three and more before it as one: what went wrong must not scroll out of sight for what went well."""
    found: list[Happening] = []
    at = 0
    while at < len(rows):
        end = at + 1
        while end < len(rows) and _is_plain_save(rows[at]) and _is_plain_save(rows[end]):
            end += 1
        found.append(rows[at])
        older = rows[at + 1:end]
        if len(older) >= 3:
            newest = older[0]
            found.append(replace(newest, what=phrase("{n} saves before it", n=len(older)), detail=phrase("since {time}", time=clock_text(older[-1].time, newest.time))))
        else:
            found += older
        at = end
    return found


def _is_plain_save(row: Happening) -> bool:
    return row.badge.text == "save" and row.badge.tone == "good"
