"""A fleet in memory for the tests of ``console.remote``: a transport whose nodes speak ``agent.wire``."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from agent import wire
from console.core.errors import ConnectError
from console.core.events import FleetEvent, RecordArrived
from console.core.launch.inventory import Node
from console.remote.deploy import AGENT_MISSING_STATUS
from tests.patience import PATIENCE_S


def until(condition: Callable[[], Any], what: str = "condition") -> Any:
    """Poll until it holds; fails the test after a bounded time."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come about in {PATIENCE_S:.0f} s")


class RealClock:
    """The clock of the machine."""

    def wall_s(self) -> float:
        return time.time()  # noqa: TID251

    def mono_s(self) -> float:
        return time.monotonic()


class FakeChannel:
    """A channel whose other end is a FakeNode."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self._out: queue.Queue[bytes] = queue.Queue()
        self._partial = b""
        self._ended = False
        self.status: int | None = None
        self.stderr = ""
        self.hello: dict[str, Any] | None = None
        self.credit: dict[str, int] = {}
        self.sent_seq = 0
        self.granted: list[int] = []
        self.deaf = False
        self.closed = threading.Event()

    def send(self, data: bytes) -> None:
        if self.closed.is_set():
            raise ConnectError("channel closed")
        self._partial += data
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            if not self.deaf:
                self._node.heard(self, wire.decode(line))

    def push(self, data: bytes) -> None:
        if not self.deaf:
            self._out.put(data)

    def say(self, message: Mapping[str, Any]) -> None:
        self.push(wire.encode(dict(message)))

    def end(self, status: int | None = None) -> None:
        self.status = status
        self._out.put(b"")

    def recv(self, timeout_s: float) -> bytes | None:
        if self._ended:
            return b""
        try:
            data = self._out.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._ended = data == b""
        return data

    def stderr_text(self) -> str:
        return self.stderr

    def exit_status(self) -> int | None:
        return self.status

    def close(self) -> None:
        self.closed.set()
        self._out.put(b"")


class FakeConnection:
    """What FakeTransport hands out."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node
        self.channels: list[FakeChannel] = []
        self.closed = False

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        self._node.commands.append(command)
        if " install " in command:
            self._node.installed = True
        return self._node.run_result

    def open(self, command: str) -> FakeChannel:
        channel = FakeChannel(self._node)
        self.channels.append(channel)
        self._node.opened(channel, command)
        return channel

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        self._node.files[path] = data

    def close(self) -> None:
        self.closed = True
        for channel in self.channels:
            channel.close()


class FakeNode:
    """A node's agent and sshd. Tests turn its knobs; all of it runs in the caller's threads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.installed = True
        self.commands: list[str] = []
        self.files: dict[str, bytes] = {}
        self.run_result: tuple[int, bytes, bytes] = (0, b"", b"")
        self.connects = 0
        self.connect_errors: list[Exception] = []
        self.stuck: threading.Event | None = None
        self.spool_id = f"spool-{name}"
        self.records: list[dict[str, Any]] = []
        self.proto = (wire.MIN_PROTOCOL, wire.PROTOCOL)
        self.clock_ahead_s = 0.0
        self.greets = True
        self.answers_pings = True
        self.cut_inside: int | None = None
        self.handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {}
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.channel: FakeChannel | None = None
        self.hellos: list[dict[str, Any]] = []
        self.logs: dict[str, list[str]] = {}
        self._lock = threading.RLock()

    def connect(self) -> FakeConnection:
        self.connects += 1
        if self.stuck is not None:
            self.stuck.wait()
        if self.connect_errors:
            raise self.connect_errors.pop(0)
        return FakeConnection(self)

    def opened(self, channel: FakeChannel, command: str) -> None:
        self.commands.append(command)
        if not self.installed:
            channel.end(AGENT_MISSING_STATUS)
            return
        with self._lock:
            self.channel = channel
        if self.greets:
            newest = len(self.records)
            channel.say({"t": "hello", "proto": self.proto[1], "min_proto": self.proto[0], "agent": "abc", "revision": 1,
                         "node_time": RealClock().wall_s() + self.clock_ahead_s, "boot_id": "boot", "spool_id": self.spool_id,
                         "oldest_seq": 1, "newest_seq": newest, "pid": 1, "user": "u", "hostname": self.name})

    def heard(self, channel: FakeChannel, message: dict[str, Any]) -> None:
        with self._lock:
            kind = message["t"]
            if kind == "hello":
                channel.hello = message
                self.hellos.append(message)
                after = message["after"]
                channel.sent_seq = after["seq"] if after and after["spool_id"] == self.spool_id else 0
            elif kind == "credit":
                channel.credit[message["stream"]] = channel.credit.get(message["stream"], 0) + message["n"]
                if message["stream"] == wire.RECORDS:
                    channel.granted.append(message["n"])
                self._flow(channel)
            elif kind == "ping" and self.answers_pings:
                channel.say({"t": "pong", "id": message["id"], "node_time": RealClock().wall_s() + self.clock_ahead_s, "mono": 0.0})
            elif kind == "req":
                self._request(channel, message)

    def _request(self, channel: FakeChannel, message: dict[str, Any]) -> None:
        op, args = message["op"], message["args"]
        self.requests.append((op, args))
        try:
            result = self.handlers[op](args) if op in self.handlers else {}
        except ConnectError as error:
            parts = {"what": error.args[0], "where": error.where, "got": error.got, "expected": error.expected, "next": error.fix}
            channel.say({"t": "res", "id": message["id"], "ok": False, "error": parts})
            return
        if result is not None:
            channel.say({"t": "res", "id": message["id"], "ok": True, "result": result})

    def add(self, count: int = 1, kind: str = "host") -> None:
        """So many more records; they flow as far as there is credit."""
        with self._lock:
            for _ in range(count):
                seq = len(self.records) + 1
                self.records.append({**wire.record(kind, RealClock().wall_s(), 0.0, {"n": seq}), "seq": seq})
            if self.channel is not None:
                self._flow(self.channel)

    def _flow(self, channel: FakeChannel) -> None:
        if channel.hello is None:
            return
        while channel.sent_seq < len(self.records) and channel.credit.get(wire.RECORDS, 0) > 0:
            record = self.records[channel.sent_seq]
            if self.cut_inside == record["seq"]:
                # The link dies in the middle of this record's line.
                self.cut_inside = None
                channel.push(wire.encode(record)[:20])
                channel.end()
                channel.deaf = True
                return
            channel.sent_seq += 1
            channel.credit[wire.RECORDS] -= 1
            channel.say(record)

    def wedge(self) -> None:
        """From now on the link is dead without either end being told."""
        assert self.channel is not None
        self.channel.deaf = True


class FakeTransport:
    """Nodes by name."""

    def __init__(self, *names: str) -> None:
        self.nodes = {name: FakeNode(name) for name in names}
        self.inventory = [Node(name=name, host=name) for name in names]

    def connect(self, node: Node, *, timeout_s: float = 15.0) -> FakeConnection:
        return self.nodes[node.name].connect()


class MemoryStore:
    """Takes events and knows where to go on, like console.store, and remembers every record it was given."""

    def __init__(self) -> None:
        self.events: list[FleetEvent] = []
        self.cursors: dict[str, dict[str, Any]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.fail = 0
        self._lock = threading.Lock()

    def emit(self, events: list[FleetEvent]) -> None:
        self.gate.wait()
        if self.fail > 0:
            self.fail -= 1
            raise OSError("disk full")
        with self._lock:
            for event in events:
                if isinstance(event, RecordArrived):
                    self.cursors[event.node] = {"spool_id": event.spool_id, "seq": event.seq}
            self.events = [*self.events, *events]

    def cursor(self, node: str) -> dict[str, Any] | None:
        return self.cursors.get(node)

    def seqs(self, node: str) -> list[int]:
        return [event.seq for event in self.events if isinstance(event, RecordArrived) and event.node == node]

    def of(self, kind: type, node: str = "") -> list[Any]:
        return [event for event in self.events if isinstance(event, kind) and (not node or event.node == node)]  # type: ignore[union-attr]

    def links(self, node: str) -> list[str]:
        from console.core.events import LinkChanged

        return [event.state for event in self.of(LinkChanged, node)]
