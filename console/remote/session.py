"""One node's conversation: hello, records against credit, requests and answers, heartbeat.

Speaks ``agent.wire`` over a ``Channel`` and turns what it hears into ``core.events``. Two threads: the
caller's, in ``run``, reads and never writes; a second one writes and never reads, so that a peer that
stops taking our bytes cannot stop us from noticing that it is dead. Any thread may ``request``,
``follow`` and ``close``.

Records: at most ``WINDOW`` of them are on the way at any time. Credit for as many again is granted when
they are stored (``deliver`` tells), so a store that is slow leaves them on the node's disk. Refuses to
guess: a line that is no message, or a record out of order, ends the session; the next one starts again
behind what is stored.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from agent import wire
from console.core.clock import Clock
from console.core.errors import ConnectError, RequestError
from console.core.events import FleetEvent, LinkChanged, LogBehind, LogLines, NodeMet, RecordArrived, Waiting
from console.remote.deploy import AGENT_MISSING_STATUS
from console.remote.heartbeat import Beat, ClockEstimate, Heartbeat
from console.remote.transport import Channel, LoginError

WINDOW = 512
"""Records on the way. At 50 ms round trip about 10 000 records/s, more than any store takes."""
LOG_WINDOW = 1000
"""Lines of an open log on the way."""
GREETING_BYTES = 1 << 16
"""What a login script may print before the agent's hello."""
OVERSLEPT_S = 2.0
RTT_EVERY_S = 30.0
"""How often a measured round trip is told."""
CLOSE_WAIT_S = 1.0

Deliver: TypeAlias = Callable[[list[FleetEvent], Callable[[], None] | None], None]


class AgentMissingError(ConnectError):
    """There is no agent of our content hash on the node yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What we say of ourselves, and where to go on."""

    operator: str
    console: str
    after: Mapping[str, Any] | None
    """{"spool_id", "seq"} of the newest record that is stored, or None."""


class _Asked:
    """A request on the way."""

    __slots__ = ("done", "error", "result")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: dict[str, Any] = {}
        self.error: RequestError | None = None


class Session:
    """See the module. ``greet`` first, then ``run`` in a thread of its own until it returns."""

    def __init__(self, node: str, channel: Channel, *, clock: Clock, deliver: Deliver, beat: Beat | None = None, window: int = WINDOW,
                 opened_wall_s: float | None = None) -> None:
        """``opened_wall_s``: our wall clock before the channel was opened; the agent says hello unasked, so its
        clock may have been read at any time since. Default: now."""
        self.node = node
        self.hello: Mapping[str, Any] = {}
        self._channel, self._clock, self._deliver = channel, clock, deliver
        self._beat, self._window = beat or Beat(), window
        self._heartbeat = Heartbeat(self._beat, clock.mono_s())
        self._offset = ClockEstimate()
        self._opened_wall_s = clock.wall_s() if opened_wall_s is None else opened_wall_s
        self._sent_wall_s: dict[int, float] = {}
        self._buffer = bytearray()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._asked: dict[int, _Asked] = {}
        self._logs: dict[str, str] = {}
        self._spool_id, self._last_seq = "", 0
        self._link = "up"
        self._rtt_told_s: float | None = None
        self._why = ""
        self._closed = threading.Event()
        self._writer = threading.Thread(target=self._write, name=f"write {node}", daemon=True)

    # --- hello ---------------------------------------------------------------------------------------

    def greet(self, greeting: Greeting, timeout_s: float) -> None:
        """Exchange hellos and grant the first credit; then NodeMet and LinkChanged(up) are delivered.

        Raises AgentMissingError, LoginError (versions that cannot talk), ConnectError.
        """
        deadline_s = self._clock.mono_s() + timeout_s
        self._writer.start()
        self._say({"t": "hello", "proto": wire.PROTOCOL, "min_proto": wire.MIN_PROTOCOL, "operator": greeting.operator,
                   "console": greeting.console, "after": dict(greeting.after) if greeting.after else None})
        hello = self._read_hello(deadline_s, timeout_s)
        if _whole(hello.get("min_proto")) > wire.PROTOCOL or _whole(hello.get("proto")) < wire.MIN_PROTOCOL:
            raise LoginError("this console and the node's agent cannot understand each other", where=self.node,
                             got=f"protocol {hello.get('min_proto')} to {hello.get('proto')}",
                             expected=f"{wire.MIN_PROTOCOL} to {wire.PROTOCOL}", fix="Use the newer console.")
        self.hello = hello
        self._spool_id = str(hello.get("spool_id", ""))
        if greeting.after and greeting.after.get("spool_id") == self._spool_id:
            self._last_seq = int(greeting.after["seq"])
        self._offset.add(self._opened_wall_s, self._clock.wall_s(), _number(hello.get("node_time"), self._opened_wall_s))
        self._heartbeat.heard(self._clock.mono_s())
        self._tell_met()
        self._tell_link("up")
        self._say({"t": "credit", "stream": wire.RECORDS, "n": self._window})

    def _read_hello(self, deadline_s: float, timeout_s: float) -> dict[str, Any]:
        skipped = 0
        while True:
            left_s = deadline_s - self._clock.mono_s()
            if left_s <= 0:
                raise ConnectError("the agent does not say hello", where=self.node, got=f"nothing in {timeout_s:.0f} s",
                                   fix="The node may be overloaded; it is tried again.")
            if self._closed.is_set():
                raise ConnectError("closed", where=self.node)
            data = self._channel.recv(min(left_s, 1.0))
            if data == b"":
                raise self._no_agent()
            self._buffer += data or b""
            while (end := self._buffer.find(b"\n")) >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[:end + 1]
                try:
                    message = wire.decode(line)
                except wire.WireError:
                    message = {"t": ""}
                if message["t"] == "hello":
                    return message
                if message["t"] == "bye":
                    raise ConnectError("the agent turned us away", where=self.node, got=str(message.get("why", "")))
                skipped += len(line)
            if skipped + len(self._buffer) > GREETING_BYTES:
                raise ConnectError("the node's login scripts print too much", where=self.node, got=f"{skipped} bytes before the agent's hello",
                                   fix="Let them print only in interactive shells.")

    def _no_agent(self) -> ConnectError:
        status, said = self._channel.exit_status(), self._channel.stderr_text().strip()[-500:]
        if status == AGENT_MISSING_STATUS:
            return AgentMissingError("the agent is not installed", where=self.node)
        if status == 127:
            return ConnectError("the node has no such Python", where=self.node, got=said, expected="Python 3.7 or later",
                                fix="Set `python` for the node in the fleet file.")
        return ConnectError("the agent did not start", where=self.node, got=said or f"exit status {status}",
                            fix="Run the command by hand on the node if this stays.")

    # --- reading -------------------------------------------------------------------------------------

    def run(self) -> str:
        """Read until the session ends; why it ended. Call after ``greet``."""
        try:
            if self._buffer:
                self._take(b"")
            while not self._closed.is_set():
                self._listen_once()
        except (wire.WireError, ValueError, TypeError, KeyError, AttributeError) as error:
            # A peer that speaks wrongly; what it meant cannot be known.
            self._end(f"the agent said something that is no message: {error}")
        self.close(self._why)
        return self._why

    def _listen_once(self) -> None:
        before_s = self._clock.mono_s()
        wait_s = min(self._heartbeat.wait_s(before_s), 1.0)
        ping = self._heartbeat.ask(before_s)
        if ping is not None:
            self._sent_wall_s = {ping: self._clock.wall_s(), **dict(list(self._sent_wall_s.items())[-8:])}
            self._say({"t": "ping", "id": ping})
        data = self._channel.recv(wait_s)
        now_s = self._clock.mono_s()
        if data == b"":
            return self._end(self._channel.stderr_text().strip()[-500:] or "the connection was closed by the node")
        if data:
            self._heartbeat.heard(now_s)
            self._take(data)
        elif now_s - before_s > wait_s + OVERSLEPT_S:
            self._heartbeat.overslept(now_s - before_s - wait_s)
        pulse = self._heartbeat.pulse(now_s)
        if pulse == "dead":
            return self._end(f"no answer for {self._beat.dead_after_s:g} s")
        if pulse != self._link:
            self._tell_link(pulse)
        return None

    def _take(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > wire.MAX_LINE_BYTES:
            raise wire.WireError("a line without end")
        records: list[FleetEvent] = []
        count = 0
        at = self._clock.wall_s()
        for line in lines:
            if not line.strip():
                continue
            message = wire.decode(line)
            if message["t"] == "rec":
                count += 1
                record = self._record(message, at)
                if record is not None:
                    records.append(record)
            else:
                self._hear(message, at)
        if count:
            self._deliver(records, lambda: self._grant(wire.RECORDS, count))

    def _record(self, message: dict[str, Any], at: float) -> RecordArrived | None:
        seq = message["seq"]
        if seq <= self._last_seq:
            return None  # sent again; it is already stored or on its way there
        self._last_seq = seq
        data = message["data"]
        if not isinstance(data, dict):
            raise wire.WireError(f"record {seq} without data")
        return RecordArrived(node=self.node, spool_id=self._spool_id, seq=seq, kind=str(message["kind"]), key=message.get("key"),
                             time=_number(message.get("time"), at), at=at, data=data, version=int(message.get("v", 1)))

    def _hear(self, message: dict[str, Any], at: float) -> None:
        kind = message["t"]
        if kind == "pong":
            self._pong(message)
        elif kind == "res":
            self._answer(message)
        elif kind == "waiting" and message.get("stream") == wire.RECORDS:
            self._deliver([Waiting(node=self.node, at=at, count=int(message["n"]))], None)
        elif kind == "waiting":
            with self._lock:
                path = next((path for path, stream in self._logs.items() if stream == message.get("stream")), None)
            if path is not None:
                self._deliver([LogBehind(node=self.node, at=at, path=path, count=int(message["n"]))], None)
        elif kind == "lines":
            stream = str(message["stream"])
            lines = LogLines(node=self.node, at=at, path=str(message["path"]), file_id=str(message["file_id"]), offset=message["offset"],
                             next_offset=message["next_offset"], size=message["size"], lines=tuple(message["lines"]))
            self._deliver([lines], lambda: self._grant(stream, len(lines.lines)))
        elif kind == "bye":
            self._end(f"the agent left: {message.get('why', '')}")

    def _pong(self, message: dict[str, Any]) -> None:
        now_s = self._clock.mono_s()
        answered = self._heartbeat.answered(message["id"], now_s)
        sent_wall_s = self._sent_wall_s.pop(message["id"], None)
        if answered is None or sent_wall_s is None:
            return
        received_wall_s = self._clock.wall_s()
        self._offset.add(sent_wall_s, received_wall_s, _number(message.get("node_time"), received_wall_s))
        self._tell_met()
        if self._rtt_told_s is None or now_s - self._rtt_told_s >= RTT_EVERY_S:
            self._rtt_told_s = now_s
            self._tell_link("up", rtt_s=answered[1])

    def _tell_met(self) -> None:
        news = self._offset.news()
        if news is None:
            return
        hello = self.hello
        met = NodeMet(
            node=self.node, at=self._clock.wall_s(), agent=str(hello.get("agent", "")), revision=_whole(hello.get("revision")),
            spool_id=self._spool_id, boot_id=str(hello.get("boot_id", "")), oldest_seq=_whole(hello.get("oldest_seq")),
            newest_seq=_whole(hello.get("newest_seq")), clock_offset_s=news.offset_s, clock_error_s=news.error_s)
        self._deliver([met], None)

    def _tell_link(self, state: str, rtt_s: float | None = None) -> None:
        self._link = state
        silent = state == "silent"
        self._deliver([LinkChanged(node=self.node, at=self._clock.wall_s(), state="silent" if silent else "up", rtt_s=rtt_s,
                                   why=f"no answer for {self._beat.every_s:g} s" if silent else "")], None)

    # --- asking --------------------------------------------------------------------------------------

    def request(self, op: str, args: Mapping[str, Any] | None = None, timeout_s: float = 15.0) -> dict[str, Any]:
        """The result of one request (``agent.wire.OPS``). Raises RequestError; blocks, so not from the UI."""
        asked, number = _Asked(), next(self._ids)
        with self._lock:
            if self._closed.is_set():
                raise self._lost(op)
            self._asked[number] = asked
        try:
            self._say({"t": "req", "id": number, "op": op, "args": dict(args or {})})
            if not asked.done.wait(timeout_s):
                raise RequestError(f"{op} was not answered", where=self.node, got=f"nothing in {timeout_s:g} s",
                                   fix="The node may still carry it out; look before you ask again.")
        except (wire.WireError, ValueError) as error:
            raise RequestError(f"{op} cannot be sent", where=self.node, got=str(error), fix="Make what is sent smaller.")
        finally:
            with self._lock:
                self._asked.pop(number, None)
        if asked.error is not None:
            raise asked.error
        return asked.result

    def follow(self, path: str, lines: int, timeout_s: float = 15.0) -> None:
        """Let the end of a file on the node flow as LogLines; a second time: from its end again. Raises RequestError."""
        self.unfollow(path, timeout_s)
        stream = str(self.request("tail", {"path": path, "lines": lines}, timeout_s).get("stream", ""))
        with self._lock:
            self._logs[path] = stream
        self._grant(stream, LOG_WINDOW)

    def unfollow(self, path: str, timeout_s: float = 15.0) -> None:
        """End what ``follow`` began; nothing when it never did. Raises RequestError."""
        with self._lock:
            stream = self._logs.pop(path, None)
        if stream is not None:
            self.request("untail", {"stream": stream}, timeout_s)

    def _answer(self, message: dict[str, Any]) -> None:
        with self._lock:
            asked = self._asked.get(message["id"])
        if asked is None:
            return
        if message.get("ok"):
            asked.result = dict(message.get("result") or {})
        else:
            error = message.get("error") or {}
            asked.error = RequestError(str(error.get("what", "the agent refused")), got=_text(error.get("got")), expected=_text(error.get("expected")),
                                       where=f"{self.node}: {_text(error.get('where'))}".rstrip(": "), fix=_text(error.get("next")))
        asked.done.set()

    def _lost(self, op: str) -> RequestError:
        return RequestError(f"{op}: the link was lost before the answer came", where=self.node, got=self._why,
                            fix="Whether it was carried out is not known; look before you ask again.")

    # --- writing and ending --------------------------------------------------------------------------

    def _grant(self, stream: str, count: int) -> None:
        if count:
            self._say({"t": "credit", "stream": stream, "n": count})

    def _say(self, message: dict[str, Any]) -> None:
        self._outgoing.put(wire.encode(message))

    def _write(self) -> None:
        try:
            while (data := self._outgoing.get()) is not None:
                self._channel.send(data)
        except ConnectError as error:
            self._end(str(error))

    @property
    def clock_offset(self) -> tuple[float, float] | None:
        """(node's clock minus ours, its error) in s, the best of the recent round trips; None before the first."""
        try:
            best = self._offset.best()
        except (ValueError, RuntimeError):
            return None  # RuntimeError: the reading thread adds one this very moment
        return best.offset_s, best.error_s

    @property
    def alive(self) -> bool:
        """Not ended yet."""
        return not self._closed.is_set()

    def _end(self, why: str) -> None:
        """Mark as ended; the first reason counts. Whoever waits for an answer is told."""
        with self._lock:
            if self._closed.is_set():
                return
            self._why = why
            self._closed.set()
            waiting = list(self._asked.values())
        for asked in waiting:
            asked.error = asked.error or self._lost("request")
            asked.done.set()

    def close(self, why: str) -> None:
        """Say goodbye if the peer still listens, and hang up. Safe to call twice and from any thread."""
        self._end(why)
        self._say({"t": "bye", "why": why[:200]})
        self._outgoing.put(None)
        if self._writer.is_alive() and self._writer is not threading.current_thread():
            self._writer.join(CLOSE_WAIT_S)
        self._channel.close()


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return "" if value is None else str(value)
