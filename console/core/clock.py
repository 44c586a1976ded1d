"""Time as a parameter: what needs the time takes a ``Clock``, so that tests and replay supply their own."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two readings of now."""

    def wall_s(self) -> float:
        """Seconds since the epoch."""

    def mono_s(self) -> float:
        """Seconds since an arbitrary start, never going back."""


class FixedClock:
    """A clock that stands still until moved; for tests, snapshots and replay."""

    def __init__(self, wall_s: float = 1_760_000_000.0) -> None:
        self._wall_s = wall_s

    def wall_s(self) -> float:
        return self._wall_s

    def mono_s(self) -> float:
        return self._wall_s

    def move_to(self, wall_s: float) -> None:
        """Set both readings."""
        self._wall_s = wall_s
