"""Raw lines of one file for an open log pane, and pieces of files on request. Refuses to parse or to keep them.

Bytes become text here and nothing else happens to them: control characters are left for the console to
make harmless, invalid UTF-8 is replaced, a line over 4 KiB is cut with a mark. Only whole lines are sent.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from agent import digest, follow
from agent.refusal import Refused

LINE_MAX_BYTES = 4096
CUT_MARK = "…[cut]"
_CHUNK_BYTES = 1 << 16
_BACK_MAX_BYTES = 8 << 20
# Every byte of it may need six in JSON, and it has to fit into one line.
READ_MAX_BYTES = 1 << 17


class Tail:
    """One file being watched from its last ``lines`` lines on. Used from one thread at a time."""

    def __init__(self, path: str, lines: int) -> None:
        """Raises Refused when there is no such file to read."""
        self.path = checked(path)
        with open_file(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            self.file_id = identity(file.fileno())
            self._key = _key(file.fileno())
            self.offset = _start_of_last(file, size, max(0, lines))
        self._in_long_line = False

    def read(self, most: int) -> dict[str, Any] | None:
        """The next lines, at most ``most``, as the fields of a ``lines`` message; None when there are none now.

        ``more`` tells whether there are further ones already. After a rotation or truncation it goes on at
        the new file's beginning.
        """
        try:
            with open_file(self.path) as file:
                status = os.fstat(file.fileno())
                if _key(file.fileno()) != self._key or status.st_size < self.offset:
                    self._key, self.offset, self._in_long_line = _key(file.fileno()), 0, False
                    self.file_id = identity(file.fileno())
                elif not self.offset:
                    self.file_id = identity(file.fileno())
                file.seek(self.offset)
                data = file.read(_CHUNK_BYTES)
        except (OSError, Refused):
            return None
        start, lines = self.offset, []
        for raw in data.split(b"\n")[:-1][: max(0, most)]:
            self.offset += len(raw) + 1
            if self._in_long_line:
                self._in_long_line = False  # the rest of a line whose beginning was sent
            else:
                lines.append(as_text(raw))
        if self.offset == start and len(data) == _CHUNK_BYTES and most > 0:
            self.offset += len(data)
            if not self._in_long_line:
                self._in_long_line = True
                lines.append(as_text(data))
        if self.offset == start:
            return None
        return {"path": self.path, "file_id": self.file_id, "offset": start, "next_offset": self.offset, "size": status.st_size,
                "lines": lines, "more": self.offset < start + len(data) or len(data) == _CHUNK_BYTES}

    def waiting(self) -> int:
        """How many lines could be sent now, counted over at most 64 KiB."""
        try:
            with open_file(self.path) as file:
                file.seek(self.offset)
                return int(file.read(_CHUNK_BYTES).count(b"\n"))
        except (OSError, Refused):
            return 0


def read_piece(path: str, offset: int, length: int) -> dict[str, Any]:
    """The answer to ``read``: at most 128 KiB from a byte offset; a negative offset counts from the end. Raises Refused."""
    with open_file(checked(path)) as file:
        size = os.fstat(file.fileno()).st_size
        start = max(0, size + offset) if offset < 0 else offset
        file.seek(start)
        data = file.read(max(0, min(length, READ_MAX_BYTES)))
    return {"text": data.decode("utf-8", "replace"), "offset": start, "next_offset": start + len(data), "size": size}


def as_text(raw: bytes) -> str:
    """One line as text, without its line end, cut after 4 KiB."""
    if raw.endswith(b"\r"):
        raw = raw[:-1]
    if len(raw) <= LINE_MAX_BYTES:
        return raw.decode("utf-8", "replace")
    # Cut between characters: a continuation byte never begins one.
    end = LINE_MAX_BYTES
    while end > LINE_MAX_BYTES - 4 and raw[end] & 0xC0 == 0x80:
        end -= 1
    return raw[:end].decode("utf-8", "replace") + CUT_MARK


def checked(path: str) -> str:
    """The path with ~ expanded. Raises Refused when it is not absolute then."""
    full = os.path.expanduser(path)
    if not os.path.isabs(full) or "\0" in full:
        raise Refused("not a path on this node", got=repr(path)[:200], expected="an absolute path", move="Correct the request")
    return full


def open_file(path: str) -> Any:
    """A regular file, opened for reading bytes. Raises Refused for anything else."""
    try:
        # O_NONBLOCK: a pipe in its place must not hold us.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise Refused("the file cannot be read", where=path, got=error.strerror or str(error), expected="a readable file", move="Check the path")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused("the file cannot be read", where=path, got="not a regular file", expected="a readable file", move="Check the path")
    return os.fdopen(fd, "rb", buffering=0)


def identity(fd: int) -> str:
    """The file id that records of this file carry (agent.follow): device, inode, hash of the first line."""
    status = os.fstat(fd)
    head = os.pread(fd, follow.HEAD_BYTES, 0)
    newline = head.find(b"\n")
    if newline >= 0:
        head = head[: newline + 1]
    known = newline >= 0 or len(head) == follow.HEAD_BYTES
    return "%d:%d:%s" % (status.st_dev, status.st_ino, digest.hex_of(head)[:12] if known else "")


def _key(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _start_of_last(file: Any, size: int, lines: int) -> int:
    """Offset at which the last ``lines`` whole lines begin, looking back over at most 8 MiB."""
    place, tail, wanted = size, b"", lines + 1
    while place > 0 and tail.count(b"\n") < wanted and size - place < _BACK_MAX_BYTES:
        step = min(_CHUNK_BYTES, place)
        place -= step
        file.seek(place)
        tail = file.read(step) + tail
    found = len(tail)
    if not tail.endswith(b"\n"):
        # The unfinished last line is not one of them; it is sent when it ends.
        found = tail.rfind(b"\n") + 1
    for _ in range(lines):
        previous = tail.rfind(b"\n", 0, max(0, found - 1))
        found = previous + 1
        if previous < 0:
            break
    if found == 0 and place > 0 and lines:
        # Longer than what was looked through: begin at a line's beginning.
        return place + tail.find(b"\n") + 1
    return place + found
