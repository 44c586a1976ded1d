"""The resident's clients: who is there, what they may still be sent, and sending it. Refuses to answer requests.

Records are read from the spool when a client has credit and room for them, so that nothing is kept in
memory for anybody. A log line is an item of its own stream; records and lines never wait for one another.
"""

from __future__ import annotations

import functools
import socket
import sys
from typing import Any, Callable

from agent import clock, wire
from agent.loop import Lane, LaneFull, Loop
from agent.serve import Client, Gone, Stream
from agent.spool import Spool
from agent.tails import Tail

_BATCH = 256
_LINES = 500
_TAIL_S = 0.25
_HELLO_S = 30.0
_STREAMS_MAX = 256
# A console pings every few seconds; one that says nothing for so long has lost its link without our hearing it.
SILENT_S = 900.0

Answer = Callable[[Client, Any, str, Any], None]


class Clients:
    """All connections of one listening socket. ``answer(client, id, op, args)`` is called for every request."""

    def __init__(self, loop: Loop, listener: socket.socket, spool: Spool, hello: Callable[[], dict[str, Any]],
                 answer: Answer, silent_s: float = SILENT_S) -> None:
        self._loop, self._listener, self._spool = loop, listener, spool
        self._hello, self._answer, self._silent_s = hello, answer, silent_s
        self._tails = Lane(loop, "tails", threads=2, limit=1024)
        self._reading: set[tuple[int, str]] = set()
        self._calls: dict[int, Callable[[int], None]] = {}
        self.all: list[Client] = []
        loop.watch(listener, True, False, self._accept)
        loop.every(_TAIL_S, self._tail_all)
        loop.every(5.0, self._drop_silent)

    def pump(self) -> None:
        """Send what may be sent. Called after every turn of the loop."""
        newest = self._spool.bounds()[1] if self.all else 0
        for client in list(self.all):
            if client.met and client.records.credit > 0 and client.has_room and client.cursor < newest:
                rows = self._spool.read(client.cursor, min(client.records.credit, _BATCH))
                for row in rows:
                    client.send(row)
                    client.cursor = row["seq"]
                client.records.credit -= len(rows)
                if len(rows) == _BATCH:
                    self._loop.wake()
            if client.met and client.has_room and client.records.is_due():
                count = self._spool.behind(client.cursor) if client.cursor < newest else 0
                if client.records.told(count):
                    client.send({"t": "waiting", "stream": wire.RECORDS, "n": count})
            self._work(client)

    def tail(self, client: Client, tail: Tail) -> str:
        """Open a stream for a tail; its name."""
        client.stream_count += 1
        name = "log:%d" % client.stream_count
        client.streams[name] = (Stream(), tail)
        return name

    def say_bye(self, why: str) -> None:
        """Part from everybody; what was queued for them is sent as far as their sockets take it."""
        for client in list(self.all):
            client.send({"t": "bye", "why": why})
            self._attend(client)
            self._drop(client)

    def close(self) -> None:
        """Take no more connections."""
        self._loop.watch(self._listener, False, False, self._accept)
        self._listener.close()

    def _accept(self, mask: int) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        client = Client(link)
        self.all.append(client)
        self._calls[id(client)] = functools.partial(self._ready, client)
        client.send(self._hello())
        self._attend(client)

    def _attend(self, client: Client) -> None:
        if client not in self.all:
            return
        try:
            client.flush()
        except Gone:
            self._drop(client)
            return
        if client.closing and not client.wants_write:
            self._drop(client)
            return
        self._loop.watch(client.link, client.wants_read, client.wants_write, self._calls[id(client)])

    def _ready(self, client: Client, mask: int) -> None:
        if client not in self.all:
            return
        try:
            if client.wants_read:
                client.receive()
        except Gone as error:
            self._part(client, str(error))
            return
        self._work(client)

    def _work(self, client: Client) -> None:
        """Do what a client has said, as far as there is room for the answers."""
        try:
            message = client.next()
            while message is not None:
                self._take(client, message)
                message = client.next()
        except Gone as error:
            self._part(client, str(error))
        self._attend(client)

    def _part(self, client: Client, why: str) -> None:
        if why:
            client.send({"t": "bye", "why": why})
            client.closing = True
            self._attend(client)
        self._drop(client)

    def _take(self, client: Client, message: dict[str, Any]) -> None:
        kind = message["t"]
        if not client.met:
            if kind != "hello":
                raise Gone("the first line must be a hello")
            self._meet(client, message)
        elif kind == "credit":
            self._grant(client, message)
        elif kind == "ping":
            client.send({"t": "pong", "id": message.get("id"), "node_time": clock.wall_s(), "mono": clock.mono_s()})
        elif kind == "req":
            self._answer(client, message.get("id"), str(message.get("op")), message.get("args"))
        elif kind == "bye":
            raise Gone("")

    def _meet(self, client: Client, hello: dict[str, Any]) -> None:
        proto, least = hello.get("proto"), hello.get("min_proto")
        if not isinstance(proto, int) or not isinstance(least, int) or proto < wire.MIN_PROTOCOL or least > wire.PROTOCOL:
            raise Gone("protocols %s to %s are not spoken here, but %d to %d" % (least, proto, wire.MIN_PROTOCOL, wire.PROTOCOL))
        client.operator, client.console = str(hello.get("operator") or ""), str(hello.get("console") or "")
        after = hello.get("after")
        if isinstance(after, dict) and after.get("spool_id") == self._spool.spool_id and isinstance(after.get("seq"), int):
            # A number beyond ours would be from another life of this spool: nothing of it counts.
            client.cursor = after["seq"] if 0 <= after["seq"] <= self._spool.bounds()[1] else 0
        client.met = True

    def _grant(self, client: Client, message: dict[str, Any]) -> None:
        count, name = message.get("n"), message.get("stream")
        if not isinstance(count, int) or isinstance(count, bool) or count <= 0:
            return
        if name == wire.RECORDS:
            client.records.grant(count)
        elif isinstance(name, str) and name in client.streams:
            client.streams[name][0].grant(count)
            self._tail_one(client, name)

    def _tail_all(self) -> None:
        for client in self.all:
            for name in list(client.streams):
                self._tail_one(client, name)

    def _tail_one(self, client: Client, name: str) -> None:
        stream, tail = client.streams[name]
        if (id(client), name) in self._reading or not client.has_room:
            return
        if stream.credit > 0:
            self._lane(client, name, functools.partial(tail.read, min(stream.credit, _LINES)), self._send_lines)
        elif stream.is_due():
            self._lane(client, name, tail.waiting, self._send_waiting)

    def _lane(self, client: Client, name: str, work: Callable[[], Any], then: Callable[[Client, str, Any], None]) -> None:
        def end(result: Any, error: Exception | None) -> None:
            self._reading.discard((id(client), name))
            if client in self.all and name in client.streams and error is None:
                then(client, name, result)

        try:
            self._tails.do(work, end)
        except LaneFull:
            return
        self._reading.add((id(client), name))

    def _send_lines(self, client: Client, name: str, found: dict[str, Any] | None) -> None:
        if found is None:
            return
        stream, more = client.streams[name][0], found.pop("more")
        stream.credit -= len(found["lines"])
        client.send(dict(found, t="lines", stream=name))
        self._attend(client)
        if more and client in self.all:
            self._tail_one(client, name)

    def _send_waiting(self, client: Client, name: str, count: int) -> None:
        if client.streams[name][0].told(count):
            client.send({"t": "waiting", "stream": name, "n": count})
            self._attend(client)

    def _drop(self, client: Client) -> None:
        if client in self.all:
            self.all.remove(client)
            self._loop.watch(client.link, False, False, self._calls.pop(id(client)))
            client.streams.clear()
            client.close()

    def _drop_silent(self) -> None:
        now = clock.mono_s()
        for client in list(self.all):
            if now > client.heard_at + (self._silent_s if client.met else min(_HELLO_S, self._silent_s)):
                sys.stderr.write("client of uid %d, pid %d: nothing heard for too long, parted\n" % (client.uid, client.pid))
                self._drop(client)


def room_for_stream(client: Client) -> bool:
    """Whether a client may open one more tail."""
    return len(client.streams) < _STREAMS_MAX
