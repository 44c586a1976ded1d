"""Pane ``timeline``: one time line over all nodes, of everything that tells an incident."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from console.core.fleet.fleet_look import matcher
from console.core.fleet.happenings import Happening, timeline_rows
from console.core.fleet.state import FleetState
from console.core.i18n import say
from console.tui.widgets.listings import Happenings, told


class Timeline(Happenings):
    """Newest first; what the fleet's filter leaves out is left out here."""

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
            return rows
        # As it is read, and as it is written down.
        return [row for row in rows if (found.search(f"{row.node} {row.badge.text} {row.what} {row.detail} {say(row.badge.text)} {told(row.what)}") is not None)
                != pattern.startswith("!")]
