"""The one time cursor: the moment that all panes show, and what was known at that moment. Pure.

Live, the cursor is nowhere (``at`` is None) and panes show the newest state. Moved back, every pane shows
the same moment: those that draw the present draw what was known then (``Moments``), those that draw history
mark the place. In a replay the cursor moves by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from console.core.fleet.state import FleetState

if TYPE_CHECKING:
    from console.core.fleet.happenings import Happening

KEPT_MOMENTS = 4096
"""States kept, at one a second over an hour. They share what did not change between them."""
KEPT_NODES, FEWEST = 64_000, 256
"""Nodes in all of them together: where every value is new every second, a node in a state takes 2 kB. But some are kept of any fleet."""
KEPT_CHANGES = 2000


@dataclass(slots=True)
class Moments:
    """States by time, oldest first; when there are too many every second one of the older half goes."""

    times: list[float] = field(default_factory=list)
    states: list[FleetState] = field(default_factory=list)
    changes: deque[Happening] = field(default_factory=lambda: deque(maxlen=KEPT_CHANGES))
    """Health and link changes between the states, oldest first."""

    def add(self, time: float, state: FleetState) -> None:
        """Keep what was known at ``time``; times ascend."""
        if self.states:
            from console.core.fleet.changes import changes

            self.changes.extend(changes(self.states[-1], state, time))
        if self.times and time <= self.times[-1]:
            self.states[-1] = state
            return
        self.times.append(time)
        self.states.append(state)
        most = max(FEWEST, min(KEPT_MOMENTS, KEPT_NODES // max(1, len(state.nodes))))
        if len(self.times) > most:
            half = most // 2
            self.times[:half] = self.times[:half:2]
            self.states[:half] = self.states[:half:2]

    def at(self, time: float) -> FleetState | None:
        """What was known at ``time``; None before the first."""
        place = bisect_right(self.times, time)
        return self.states[place - 1] if place else None

    @property
    def first(self) -> float | None:
        """The earliest moment, None while there is none."""
        return self.times[0] if self.times else None


@dataclass(slots=True, kw_only=True)
class TimeCursor:
    """``at``: the moment shown (our clock, s), None for now. ``speed``: seconds a second while playing, 0 paused."""

    at: float | None = None
    speed: float = 0.0
    first: float = 0.0
    """There is nothing before this."""
    usual_speed: float = 1.0
    """At which ``play`` goes on."""
    replay: bool = False
    """Whether there is no now to come back to."""

    def move(self, by_s: float, now: float) -> None:
        """Go earlier (below zero) or later; going past now is now."""
        self.go(max(self.first, (now if self.at is None else self.at) + by_s), now)

    def go(self, to: float, now: float) -> None:
        """Show that moment."""
        self.at = min(to, now) if self.replay else (to if to < now - 0.5 else None)

    def live(self) -> bool:
        """Back to now; False when there was nothing to come back from."""
        if self.at is None or self.replay:
            return False
        self.at, self.speed = None, 0.0
        return True

    def tick(self, elapsed_s: float, now: float) -> bool:
        """Let time pass while playing; True when the moment changed."""
        if self.at is None or self.speed == 0:
            return False
        before = self.at
        self.go(max(self.first, self.at + elapsed_s * self.speed), now)
        if self.at is None or (self.replay and self.at >= now):
            self.speed = 0.0
        return self.at != before
