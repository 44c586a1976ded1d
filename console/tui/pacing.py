"""Paints no faster than the terminal takes it in. Pure but for the clock it is given.

Over a slow line the bytes of a frame wait in buffers that nobody sees; keys are answered behind them (5.5 s
at 20 kB/s was measured). So after each frame the terminal is asked a question that it answers when it has
read that far: DECRQM of mode 2026 (``CSI ? 2026 $ p``), which Textual reads anyway. Until the answer no
further frame is painted.

Not every terminal answers: after ``GIVE_UP`` silences in a row no more is asked, and frames follow one
another at the screen's own rate. Inside a multiplexer the multiplexer answers; then what it holds back for
its own client is not seen, and it paces that itself.

An answer can also be late because this console was not scheduled: by so much as its own turns came late in that
time, the line is not blamed. The terminal's program may have been starved as well, which nobody can see from here;
so a line is no longer slow when it has taken ``ENOUGH`` in less than ``SLOW_S``.
"""

from __future__ import annotations

from console.core.clock import Clock

QUESTION = "\x1b[?2026$p"
TIMEOUT_S = 3.0
"""A frame of 40 kB takes two seconds at 20 kB/s."""
GIVE_UP = 3
FIRST_S = 0.3
"""So long the second frame waits for the first answer; the pictures of a start are 60 kB."""
SLOW_S, LATELY_S = 0.2, 300.0
"""A line is slow when a frame took so long to get there within this time; most frames are small and tell nothing of the line."""
ENOUGH = 10_000
"""Characters; in ``SLOW_S`` they are 50 kB/s, at which a view of 25 to 45 kB is there within a second."""


class Pacer:
    """Ask ``may_paint`` before drawing; call ``painted`` after a frame and ``answered`` on the reply."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_at: float | None = None
        self._silences = 0
        self.heard = False
        """Whether this terminal ever answered."""
        self.slow_s = 0.0
        """How long the newest frame took to get there, 0 while not known."""
        self._slow_at = float("-inf")
        self._awake_at: float | None = None
        self._every_s = self._blocked_s = self._lost_s = self._lost_before_s = 0.0
        self._size = self._asked_size = self._owed = 0
        self._sure = False
        self._taken, self._taking_s = 0, 0.0

    @property
    def asking(self) -> bool:
        """Whether frames are still followed by a question."""
        return self._silences < GIVE_UP

    @property
    def slow(self) -> bool:
        """Whether the line was slow lately."""
        return self.asking and self._clock.mono_s() - self._slow_at < LATELY_S

    @property
    def unsure(self) -> bool:
        """Whether the very first answer may be on its way: until then nobody knows whether the line is slow."""
        return not self.heard and self._asked_at is not None and self._clock.mono_s() - self._asked_at < FIRST_S

    def may_paint(self) -> bool:
        """Whether the terminal has taken in the last frame, as far as can be told."""
        if self._asked_at is None:
            return True
        if self._clock.mono_s() - self._asked_at < TIMEOUT_S:
            return False
        self._asked_at = None
        self._silences += 1
        return True

    def awake(self, every_s: float) -> None:
        """The console has its turn, which it should have every ``every_s`` seconds."""
        now_s = self._clock.mono_s()
        self._lost_s += self._late_s(now_s)
        self._awake_at, self._every_s, self._blocked_s = now_s, every_s, 0.0

    def _late_s(self, now_s: float) -> float:
        """By how much our turn is late at this moment, but for what the line took of it."""
        return max(0.0, now_s - self._awake_at - self._every_s - self._blocked_s) if self._awake_at is not None else 0.0

    def wrote(self, size: int, blocked_s: float) -> None:
        """So many characters were written, and for so long nothing was taken."""
        self._size += size
        self._blocked_s += blocked_s

    def painted(self) -> str:
        """A frame was written; returns what to write behind it."""
        size, self._size = self._size, 0
        # One question at a time: the frame of a key press goes out while an answer is awaited.
        if not self.asking or self._asked_at is not None:
            return ""
        self._asked_at, self._asked_size = self._clock.mono_s(), size
        self._lost_before_s = self._lost_s + self._late_s(self._asked_at)
        self._sure, self._owed = self._owed == 0, self._owed + 1
        return QUESTION

    def answered(self) -> None:
        """The terminal's answer came."""
        self.heard, self._silences, self._owed = True, 0, max(0, self._owed - 1)
        if self._asked_at is None:
            return
        now_s = self._clock.mono_s()
        took_s, self._asked_at = now_s - self._asked_at, None
        self.slow_s = max(0.0, took_s - (self._lost_s + self._late_s(now_s) - self._lost_before_s))
        if self.slow_s >= SLOW_S:
            self._slow_at = now_s
        if self.slow_s >= SLOW_S or self._taking_s + took_s >= SLOW_S:
            self._taken, self._taking_s = 0, 0.0
        if took_s >= SLOW_S or not self._sure:  # an older question's answer says nothing of this frame
            return
        self._taken, self._taking_s = self._taken + self._asked_size, self._taking_s + took_s
        if self._taken >= ENOUGH:
            self._slow_at, self._taken, self._taking_s = float("-inf"), 0, 0.0
