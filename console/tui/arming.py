"""Whether the console may change anything, and for how much longer. Pure but for the clock it is given."""

from __future__ import annotations

from console.core.clock import Clock


class Arming:
    """Read-only until armed; armed for a while; read-only again by itself.

    Counts on the monotonic clock: setting the bastion's time neither prolongs nor ends it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s: float | None = None

    def arm(self, for_s: float) -> None:
        """Armed from now on for ``for_s`` seconds, whatever was before."""
        self._until_s = self._clock.mono_s() + for_s

    def disarm(self) -> None:
        """Read-only from now on."""
        self._until_s = None

    @property
    def left_s(self) -> float:
        """Seconds left, 0 when read-only."""
        return max(0.0, self._until_s - self._clock.mono_s()) if self._until_s is not None else 0.0

    @property
    def armed(self) -> bool:
        """Whether a write may be asked for now."""
        return self.left_s > 0
