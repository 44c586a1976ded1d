"""What the panes of one screen share: the time cursor, how the fleet is arranged, node labels. No logic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.core.fleet.fleet_look import FleetLook
from console.tui.time_cursor import Moments, TimeCursor

if TYPE_CHECKING:
    from console.tui.sheets import Sheets


@dataclass(slots=True, kw_only=True)
class Context:
    """Changed by the app alone; panes read it when they draw."""

    cursor: TimeCursor = field(default_factory=TimeCursor)
    moments: Moments = field(default_factory=Moments)
    look: FleetLook = field(default_factory=FleetLook)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Node -> label -> value, from the fleet file."""
    console: str = ""
    """This console's name among the others."""
    fleet: str = ""
    """Name of the fleet."""
    sheets: Sheets | None = None
    """The newest check, the job file, open questions; None: nobody has asked for any."""
    generation: int = 0
    """Rises with every change."""

    @property
    def moment(self) -> float | None:
        """The time that the cursor is at; None: now."""
        return self.cursor.at
