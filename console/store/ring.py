"""The newest lines of an open log, bounded, with a count of what is not among them. Never written anywhere."""

from __future__ import annotations

from collections import deque

from console.core.events import LogBehind, LogLines

KEPT_LOG_LINES = 20_000
"""Lines kept per open log."""


def _another(old: str, new: str) -> bool:
    """Whether a log's file was replaced or begun anew; the hash of the first line is not there before that line is whole."""
    return any(one != other for one, other in zip(old.split(":"), new.split(":"), strict=False) if one and other)


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
        """Append the lines; what is here already is left out: a log that is followed again begins with its last lines."""
        lines = event.lines
        if self.next_offset is not None and event.offset < self.next_offset and not _another(self.file_id, event.file_id):
            if event.next_offset <= self.next_offset:
                return
            lines = lines[self._known(event, self.next_offset):]
        if self.first_offset is None:
            self.first_offset = event.offset
        self.dropped += max(0, len(self.lines) + len(lines) - KEPT_LOG_LINES)
        self.lines.extend(lines)
        self.next_offset, self.size, self.file_id, self.at = event.next_offset, event.size, event.file_id, event.at
        if self.next_offset >= self.size:
            self.behind = 0
        self.generation += 1

    def _known(self, event: LogLines, end: int) -> int:
        """How many of the chunk's lines lie before the byte ``end``, up to which all are here."""
        offset = event.offset
        for at, line in enumerate(event.lines):
            if offset >= end:
                return at if offset == end else self._alike(event.lines)
            offset += len(line.encode("utf-8", "surrogatepass")) + 1
        return self._alike(event.lines)

    def _alike(self, lines: tuple[str, ...]) -> int:
        """The same by their text alone: a line that was cut or replaced in part is not as long as its bytes."""
        newest = list(self.lines)[-len(lines):]
        return next((many for many in range(len(newest), 0, -1) if newest[-many:] == list(lines[:many])), 0)

    def wait(self, event: LogBehind) -> None:
        """Note that lines are held back."""
        self.behind = event.count
        self.generation += 1
