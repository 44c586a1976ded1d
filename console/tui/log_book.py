"""The lines of one log, or of several merged by corrected time, filtered and searched. Pure.

Lines are taken from the feed's rings once, in order, and numbered for good: what is marked, found or on the
screen keeps its number while the ring goes on at the other end. A line without a time of its own belongs to
the one before it. A node's clock offset is taken off; printed times are taken as UTC, unless the lines that
arrive now show that the node prints another zone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from console.core.fleet.fleet_look import matcher
from console.tui.feed import LogTail

KEPT_LINES = 100_000
"""Over all merged logs."""
ZONE_STEP_S = 900.0
"""Time zones are quarters of an hour apart."""
# " [2026-11-22 05:10:01.123456] iteration ...", "[ERROR] RUNTIME(4711,python):2026-11-22-05:10:01.123.456",
# "2026-11-22 05:10:01,123 - INFO - ...", "[2026-11-22T05:10:01Z] ..."
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T-](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")
_STAMP_WITHIN = 90
"""Characters from the start of a line in which its time stands."""
# What a line is, by its words. Sample lines:
#   "torch.OutOfMemoryError: NPU out of memory", "[ERROR] RUNTIME(4711,python):2026-...", "Traceback (most recent"
BAD = re.compile(r"\b\w*(?:Error|Exception)\b|\bERROR\b|\bFATAL\b|\bCRITICAL\b|Traceback \(most|Segmentation fault|\bSIG(?:KILL|SEGV|ABRT|BUS)\b")
BAD_WORDS = ("Error", "Exception", "ERROR", "FATAL", "CRITICAL", "Traceback (most", "Segmentation fault", "SIG")
"""One of them is in all that ``BAD`` finds; looking for a word costs a tenth of it."""


class Row(NamedTuple):
    """One line. ``time``: seconds since the epoch on our clock, 0 before the first time that was printed."""

    time: float
    source: int
    text: str


class Stamp(NamedTuple):
    """A printed second: where it begins in its line, its text, how many digits of a fraction follow, and the time that it is."""

    at: int
    text: str
    digits: int
    time: float


def printed_stamp(text: str) -> tuple[Stamp, float] | None:
    """The first time in a line, read as UTC, and with its fraction; None when there is none."""
    if "-" not in text[:_STAMP_WITHIN]:
        return None
    found = _STAMP.search(text, 0, _STAMP_WITHIN)
    whole = _second(*found.group(1, 2, 3, 4, 5, 6)) if found is not None else None
    if found is None or whole is None:
        return None
    fraction = found[7] or ""
    stamp = Stamp(found.start(), text[found.start() : found.end(6)], len(fraction), whole)
    return stamp, whole + int(fraction) / 10 ** len(fraction) if fraction else whole


def next_time(text: str, stamp: Stamp) -> float | None:
    """The time in a line that has the second of the one before at its place, and a fraction as long; None: look for it.

    A log prints the same second thousands of times, and to look for it costs three times as much as to see that it is there."""
    at, whole, digits, time = stamp
    if not text.startswith(whole, at) or (at and "-" in text[:at]):
        return None
    end = at + len(whole)
    if not digits:
        return None if text[end : end + 1] in (".", ",") else time
    fraction = text[end + 1 : end + 1 + digits]
    if text[end : end + 1] not in (".", ",") or not fraction.isdecimal() or len(fraction) < digits or (digits < 6 and text[end + 1 + digits : end + 2 + digits].isdecimal()):
        return None
    return time + int(fraction) / 10.0 ** digits


@lru_cache(maxsize=256)
def _second(*parts: str) -> float | None:
    """A printed second as time."""
    year, month, day, hour, minute, second = map(int, parts)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


@dataclass(slots=True)
class Source:
    """One log: its name in a merged view, its node's clock offset (s), its ring, and how far it was taken."""

    name: str
    offset_s: float
    tail: LogTail | None = None
    taken: int = 0
    started: bool = False
    time: float = 0.0
    zone_s: float = 0.0
    stamp: Stamp | None = None
    """The second that was printed last."""
    missed: int = 0
    """Lines that the ring pushed out before they were taken."""

    def times_of(self, lines: Sequence[str], now: float) -> list[float]:
        """When each of the lines that come next was printed, on our clock, which says ``now``."""
        times, stamp, time, shift_s = [], self.stamp, self.time, self.offset_s + self.zone_s
        for text in lines:
            printed = next_time(text, stamp) if stamp is not None else None
            if printed is None:
                found = printed_stamp(text)
                if found is not None:
                    stamp, printed = found
                    self._look_for_zone(printed, now)
                    shift_s = self.offset_s + self.zone_s
            if printed is not None:
                time = printed - shift_s
            times.append(time)
        self.stamp, self.time = stamp, time
        return times

    def _look_for_zone(self, printed: float, now: float) -> None:
        """Learn the node's time zone from a line that has just come."""
        if self.started and abs(printed - now) > ZONE_STEP_S / 2:
            zone = round((printed - now) / ZONE_STEP_S) * ZONE_STEP_S
            if abs(printed - now - zone) < 60 and abs(zone) <= 14 * 3600:
                self.zone_s = zone


@dataclass(slots=True)
class LogBook:
    """Lines, oldest first; line i has the number ``base + i``. In columns: a row of its own for each of 10,000 lines a second
    is as many objects for the garbage collector to look at."""

    sources: list[Source]
    texts: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    """Which source each line is of."""
    base: int = 0
    pattern: str = ""
    visible: list[int] | None = None
    """Numbers of the lines that pass the filter; None: all do."""
    generation: int = 0

    def take(self, tails: Sequence[LogTail | None], now: float, most: int = 0) -> bool:
        """Take in what the rings have got since, of each at most so many lines (0: all); True when there was anything."""
        texts: list[str] = []
        times: list[float] = []
        owners: list[int] = []
        for at, (source, tail) in enumerate(zip(self.sources, tails, strict=True)):
            if tail is None:
                continue
            source.tail = tail
            end = tail.dropped + len(tail.lines)
            if source.taken < tail.dropped:
                source.missed += tail.dropped - source.taken if source.started else 0
                source.taken = tail.dropped
            if most:
                end = min(end, source.taken + most)
            lines = _between(tail, source.taken, end)
            texts += lines
            times += source.times_of(lines, now)
            owners += [at] * len(lines)
            if end > source.taken:
                source.taken, source.started = end, True
        if not texts:
            return False
        self.generation += 1
        self._put(texts, times, owners)
        return True

    def behind(self, tails: Sequence[LogTail | None]) -> bool:
        """Whether the rings have lines that were not taken in."""
        return any(tail is not None and tail.dropped + len(tail.lines) > source.taken for source, tail in zip(self.sources, tails, strict=True))

    def _put(self, texts: list[str], times: list[float], owners: list[int]) -> None:
        place = len(self.texts)
        if len(self.sources) > 1:
            place = bisect_right(self.times, min(times))
            texts, times, owners = [*self.texts[place:], *texts], [*self.times[place:], *times], [*self.owners[place:], *owners]
            order = sorted(range(len(times)), key=times.__getitem__)
            texts, times, owners = [texts[at] for at in order], [times[at] for at in order], [owners[at] for at in order]
        self.texts[place:], self.times[place:], self.owners[place:] = texts, times, owners
        if self.visible is not None:
            del self.visible[bisect_right(self.visible, self.base + place - 1) :]
            self._filter_from(place)
        extra = len(self.texts) - KEPT_LINES
        if extra > KEPT_LINES // 10:
            del self.texts[:extra], self.times[:extra], self.owners[:extra]
            self.base += extra
            if self.visible is not None:
                del self.visible[: bisect_right(self.visible, self.base - 1)]

    def filter(self, pattern: str) -> None:
        """Show only what passes: text (a regular expression), ``!`` in front for the others, ``-f`` for letters in order."""
        self.pattern = pattern
        self.generation += 1
        self.visible = [] if pattern else None
        if pattern:
            self._filter_from(0)

    def _filter_from(self, place: int) -> None:
        inverse = self.pattern.startswith("!")
        found = matcher(self.pattern[1:].lstrip() if inverse else self.pattern)
        if found is None or self.visible is None:
            self.visible = None
            return
        search = found.search
        self.visible += [self.base + at for at in range(place, len(self.texts)) if (search(self.texts[at]) is not None) != inverse]

    def __len__(self) -> int:
        """How many lines can be shown."""
        return len(self.texts) if self.visible is None else len(self.visible)

    def number(self, at: int) -> int:
        """The number of the at-th line shown."""
        return self.base + at if self.visible is None else self.visible[at]

    def place(self, number: int) -> int:
        """Where the line of that number is among those shown, or the one before it."""
        if self.visible is None:
            return max(0, min(len(self.texts) - 1, number - self.base))
        return max(0, bisect_right(self.visible, number) - 1)

    def row(self, number: int) -> Row | None:
        """The line of that number, None when it is gone."""
        at = number - self.base
        return Row(self.times[at], self.owners[at], self.texts[at]) if 0 <= at < len(self.texts) else None

    def find(self, pattern: re.Pattern[str], start: int, step: int) -> int | None:
        """The number of the next shown line (step 1) or the one before (-1) that has the pattern, from place ``start`` on."""
        at = start
        while 0 <= at < len(self):
            number = self.number(at)
            row = self.row(number)
            if row is not None and pattern.search(row.text):
                return number
            at += step
        return None

    def at_time(self, time: float) -> int | None:
        """The place of the last shown line that is not later than ``time``; None when all are."""
        at = bisect_right(self.times, time)
        if at == 0 or not len(self):
            return None
        return self.place(self.base + at - 1)

    @property
    def missed(self) -> int:
        """Lines that came and went unseen."""
        return sum(source.missed for source in self.sources)


def _between(tail: LogTail, start: int, end: int) -> list[str]:
    """Lines ``start`` to ``end`` of all that ever came. From the new end, where they are: a deque is slow in its middle."""
    newer = tail.dropped + len(tail.lines) - end
    return list(islice(reversed(tail.lines), newer, newer + end - start))[::-1]
