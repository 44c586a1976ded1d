"""When to ask a peer whether it is alive, and what its silence means; and how far its clock is from ours.

Pure: every method takes the time. An SSH library calls a link alive until TCP gives up, which may take a
quarter of an hour; this decides in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

Pulse: TypeAlias = Literal["up", "silent", "dead"]
KEPT_TRIPS = 64
"""Round trips among which the best one counts: at one every 3 s the last 3 minutes, in which two node
clocks drift apart by at most some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """How often to ask, and how long to wait."""

    every_s: float = 3.0
    dead_after_s: float = 10.0
    """Without any byte from the peer while a question is open."""


class Heartbeat:
    """The open questions of one session. Times are monotonic seconds."""

    def __init__(self, beat: Beat, now_s: float) -> None:
        self._beat = beat
        self._heard_s = now_s
        self._asked_s = now_s - beat.every_s
        self._open: dict[int, float] = {}
        self._next_id = 0

    def ask(self, now_s: float) -> int | None:
        """The id of a ping to send now, None when none is due."""
        if now_s - self._asked_s < self._beat.every_s:
            return None
        self._asked_s = now_s
        self._next_id += 1
        self._open[self._next_id] = now_s
        return self._next_id

    def heard(self, now_s: float) -> None:
        """Something came from the peer: it lives, whatever it said."""
        self._heard_s = max(self._heard_s, now_s)

    def answered(self, ping: int, now_s: float) -> tuple[float, float] | None:
        """When that ping was sent, and its round trip in s; None for one that we do not know."""
        sent_s = self._open.get(ping)
        if sent_s is None:
            return None
        # An answer to a later question answers the earlier ones too.
        self._open = {number: at for number, at in self._open.items() if number > ping}
        return sent_s, now_s - sent_s

    def overslept(self, by_s: float) -> None:
        """We ourselves did not run for so long (suspended, starved): the peer's silence then proves nothing."""
        self._heard_s += by_s
        self._open = {number: at + by_s for number, at in self._open.items()}

    def pulse(self, now_s: float) -> Pulse:
        """What the silence so far means."""
        unanswered = [at for at in self._open.values() if at >= self._heard_s]
        if not unanswered or self._beat.every_s > now_s - min(unanswered):
            return "up"
        return "dead" if now_s - self._heard_s >= self._beat.dead_after_s else "silent"

    def wait_s(self, now_s: float) -> float:
        """How long nothing can become due."""
        return max(0.01, self._asked_s + self._beat.every_s - now_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset:
    """A node's wall clock minus ours, and how far that may be off, both in s."""

    offset_s: float
    error_s: float


class ClockEstimate:
    """The offset of a node's clock, from the smallest of the recent round trips.

    The node read its clock at some moment between our sending and our receiving; with the middle as the
    guess, half the round trip bounds the error (Cristian's algorithm).
    """

    def __init__(self) -> None:
        self._trips: deque[Offset] = deque(maxlen=KEPT_TRIPS)
        self._told: Offset | None = None

    def add(self, sent_wall_s: float, received_wall_s: float, node_time_s: float) -> None:
        """One round trip: our wall clock before and after, and the node's in between."""
        error_s = max(0.0, received_wall_s - sent_wall_s) / 2
        self._trips.append(Offset(offset_s=node_time_s - (sent_wall_s + received_wall_s) / 2, error_s=error_s))

    def best(self) -> Offset:
        """The best of the recent ones. Raises ValueError before the first."""
        return min(self._trips, key=lambda trip: trip.error_s)

    def news(self) -> Offset | None:
        """The best one, when it says something that was not told before: much surer, or a clock that moved."""
        best, told = self.best(), self._told
        if told is not None and best.error_s > told.error_s / 2 and abs(best.offset_s - told.offset_s) <= best.error_s + told.error_s:
            return None
        self._told = best
        return best
