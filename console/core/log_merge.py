"""Lines of many logs in one order: by the time each prints, corrected by its node's clock. Pure.

A line that prints no time belongs to the one before it in its own log (a traceback, a table), so it keeps
that one's time. Within a log the file's order is kept, whatever times it prints. Printed times name no zone;
all nodes are taken to print in the same one.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from agent.parse.text import printed_time


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedLine:
    """A line and where it came from."""

    log: str
    text: str
    time_s: float | None
    """By our clock, s, in the nodes' zone; None before the first line of its log that prints one."""
    own_time: bool
    """Whether the line itself prints it."""
    late: bool = False
    """It belongs before something that has been given out already."""


_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}:[0-9]{2})\Z")


def time_of(text: str) -> float | None:
    """The time a line prints, s since the epoch as if it were UTC; None without one."""
    found = printed_time(text[:512])
    if found is None:
        return None
    # Zones are passed over: a log prints all its times in one, and of most that one is not known.
    head, _, fraction = _ZONE.sub("", found).partition(".")
    try:
        at = datetime.strptime(head, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None
    return at + (float(f"0.{fraction}") if fraction else 0.0)


def merge(logs: Mapping[str, Sequence[str]], offsets_s: Mapping[str, float]) -> list[MergedLine]:
    """All lines of all logs in one order. ``offsets_s``: log -> its node's clock minus ours."""
    merger = Merger(offsets_s)
    for log, lines in logs.items():
        merger.add(log, lines)
    return merger.take(None)


@dataclass(slots=True, kw_only=True)
class _Log:
    offset_s: float
    last_s: float | None = None
    waiting: list[tuple[float | None, bool, str]] = field(default_factory=list)


class Merger:
    """Merges as lines arrive. Grows by what has not been taken."""

    def __init__(self, offsets_s: Mapping[str, float]) -> None:
        self._logs = {log: _Log(offset_s=offset_s) for log, offset_s in offsets_s.items()}
        self._given_s: float | None = None
        self.late = 0
        """Lines that came when later ones had been given out already."""

    @property
    def newest_s(self) -> float | None:
        """The latest corrected time of any line so far."""
        return max((known.last_s for known in self._logs.values() if known.last_s is not None), default=None)

    def add(self, log: str, lines: Iterable[str]) -> None:
        """Take in the next lines of one log."""
        known = self._logs.setdefault(log, _Log(offset_s=0.0))
        for text in lines:
            printed_s = time_of(text)
            if printed_s is not None:
                corrected_s = printed_s - known.offset_s
                known.last_s = corrected_s if known.last_s is None else max(corrected_s, known.last_s)
            known.waiting.append((known.last_s, printed_s is not None, text))

    def take(self, until_s: float | None) -> list[MergedLine]:
        """What is due: all lines before ``until_s`` (our clock), in order; None: all there are."""
        streams = []
        for name, known in self._logs.items():
            ready: list[tuple[float, str, float | None, bool, str]] = []
            for time_s, own, text in known.waiting:
                if until_s is not None and time_s is not None and time_s >= until_s:
                    break
                ready.append((float("-inf") if time_s is None else time_s, name, time_s, own, text))
            del known.waiting[:len(ready)]
            streams.append(ready)
        found = []
        for _, name, time_s, own, text in heapq.merge(*streams, key=lambda row: row[0]):
            late = time_s is not None and self._given_s is not None and time_s < self._given_s
            self.late += late
            if time_s is not None and not late:
                self._given_s = time_s
            found.append(MergedLine(log=name, text=text, time_s=time_s, own_time=own, late=late))
        return found
