"""One client of the resident: its socket, its buffers, its credit. Refuses to buffer without end.

A client that does not read costs at most ``HIGH_BYTES`` of records and lines plus the answers to what it
asked; while more than that waits for it, nothing further is read from it, so it cannot ask on. Others are
not delayed: all sockets are non-blocking.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from agent import clock, wire

HIGH_BYTES = 1 << 18
# Requests of one client that are being worked on; the next is read when one of them is answered.
IN_FLIGHT_MAX = 8
CREDIT_MAX = 1 << 40
WAITING_EVERY_S = 1.0
_READ_BYTES = 1 << 16


class Gone(Exception):
    """The client has hung up or broken the protocol; the text says what to tell it, if anything."""


class Stream:
    """Credit of one stream, and when its client was last told what waits."""

    def __init__(self) -> None:
        self.credit = 0
        self.granted = False
        self._told_at = 0.0
        self._told = 0

    def grant(self, count: int) -> None:
        """Add credit."""
        self.credit = min(CREDIT_MAX, self.credit + count)
        self.granted = True

    def is_due(self) -> bool:
        """Whether it is time to say again that something waits for want of credit."""
        return self.granted and self.credit <= 0 and clock.mono_s() >= self._told_at + WAITING_EVERY_S

    def told(self, count: int) -> bool:
        """Note what waits; whether the client has to be told."""
        changed = count != self._told
        self._told, self._told_at = count, clock.mono_s()
        return changed and count > 0


class Client:
    """One connection. The loop calls ``receive`` and ``flush``; everything else only fills buffers."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self.link = link
        pid, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        self.pid: int = pid
        self.uid: int = uid
        self.operator = ""
        self.console = ""
        self.since = clock.wall_s()
        self.armed_until = 0.0
        self.met = False
        self.cursor = 0
        self.records = Stream()
        self.streams: dict[str, tuple[Stream, Any]] = {}
        self.stream_count = 0
        self.in_flight = 0
        self.heard_at = clock.mono_s()
        self.closing = False
        self._in = bytearray()
        self._out = bytearray()

    @property
    def out_bytes(self) -> int:
        """How much waits to be sent."""
        return len(self._out)

    @property
    def has_room(self) -> bool:
        """Whether records and lines may be added."""
        return len(self._out) < HIGH_BYTES and not self.closing

    @property
    def wants_read(self) -> bool:
        """Whether more of the client's words are welcome now."""
        return not self.closing and len(self._out) < HIGH_BYTES and self.in_flight < IN_FLIGHT_MAX

    @property
    def wants_write(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._out)

    def receive(self) -> None:
        """Take in what has arrived. Raises Gone."""
        try:
            data = self.link.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise Gone(str(error))
        if not data:
            raise Gone("")
        self.heard_at = clock.mono_s()
        self._in += data

    def next(self) -> dict[str, Any] | None:
        """The next whole message, None when there is none or it is not its turn yet. Raises Gone."""
        while self.wants_read:
            end = self._in.find(b"\n")
            if end < 0:
                if len(self._in) > wire.MAX_LINE_BYTES:
                    raise Gone("line of more than %d bytes" % wire.MAX_LINE_BYTES)
                return None
            line = bytes(self._in[: end + 1])
            del self._in[: end + 1]
            if line.strip():
                try:
                    return wire.decode(line)
                except wire.WireError as error:
                    raise Gone(str(error))
        return None

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message. One that is too long for a line is turned into an error, or dropped."""
        try:
            self._out += wire.encode(message)
        except (ValueError, TypeError) as error:
            if message.get("t") == "res":
                self._out += wire.encode({"t": "res", "id": message.get("id"), "ok": False, "error": {
                    "what": "the answer cannot be sent", "where": "", "got": str(error), "expected": "at most %d bytes" % wire.MAX_LINE_BYTES,
                    "next": "Ask for less"}})

    def flush(self) -> None:
        """Send what the socket takes. Raises Gone."""
        if not self._out:
            return
        try:
            sent = self.link.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise Gone(str(error))
        del self._out[:sent]

    def close(self) -> None:
        """Hang up."""
        self.link.close()
