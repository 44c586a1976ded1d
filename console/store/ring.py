"""The newest lines of an open log, bounded, with a count of what is not among them. Never written anywhere."""

from __future__ import annotations

from collections import deque

from console.core.events import LogBehind, LogLines

KEPT_LOG_LINES = 20_000
"""Lines kept per open log."""


class LogRing:
    """The newest lines of one followed log, with how many were pushed out at the top."""

    __slots__ = ("at", "behind", "dropped", "file_id", "first_offset", "generation", "lines", "next_offset", "size")

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self.dropped = 0
        """Lines that were here and made room for newer ones."""
        self.behind = 0
        """Lines that are on the node and still to come, at least; 0 when up to date."""
        self.first_offset: int | None = None
        """Byte at which what was asked for begins: so much of the file before it is not shown."""
        self.generation = 0
        self.file_id = ""
        self.next_offset: int | None = None
        self.size = 0
        self.at = 0.0
        """When the last lines came, our clock, s."""

    def add(self, event: LogLines) -> None:
        """Append the lines; a chunk that starts before the last one's end is a repeat and is ignored."""
        if self.next_offset is not None and event.offset < self.next_offset and event.next_offset <= self.next_offset:
            return
        if self.first_offset is None:
            self.first_offset = event.offset
        self.dropped += max(0, len(self.lines) + len(event.lines) - KEPT_LOG_LINES)
        self.lines.extend(event.lines)
        self.next_offset, self.size, self.file_id, self.at = event.next_offset, event.size, event.file_id, event.at
        if self.next_offset >= self.size:
            self.behind = 0
        self.generation += 1

    def wait(self, event: LogBehind) -> None:
        """Note that lines are held back."""
        self.behind = event.count
        self.generation += 1
