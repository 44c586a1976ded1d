"""Many links at once: loss, back-off, refusal, intents, and the end of it all."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest

from console.core.errors import ConnectError, HostKeyError
from console.core.events import Answer, LinkChanged, RecordArrived
from console.core.intents import FollowLog, ReconnectNode, StopJob, UnfollowLog
from console.core.launch.inventory import Node
from console.remote.heartbeat import Beat
from console.remote.link import Timing
from console.remote.supervisor import Supervisor, transports
from console.remote.transport import LoginError, Transport, UnreachableError
from tests.console.remote.fakes import FakeTransport, MemoryStore, RealClock, until
from tests.patience import PATIENCE_S

TIMING = Timing(retry_s=0.01, retry_most_s=0.05, connect_s=PATIENCE_S, greet_s=PATIENCE_S, beat=Beat(every_s=0.1, dead_after_s=PATIENCE_S))


class Fleet:
    """Supervisors over a fake transport and one store."""

    def __init__(self, *names: str) -> None:
        self.transport = FakeTransport(*names)
        self.nodes = self.transport.nodes
        self.store = MemoryStore()
        self.armed = False
        self.started: list[Supervisor] = []

    def start(self, timing: Timing = TIMING) -> Supervisor:
        def transport_for(node: Node) -> Transport:
            return self.transport

        supervisor = Supervisor(self.transport.inventory, transport_for=transport_for, emit=self.store.emit, cursor=self.store.cursor,
                                clock=RealClock(), operator="op", armed=lambda: self.armed, timing=timing, random=lambda: 0.5)
        supervisor.start()
        self.started.append(supervisor)
        return supervisor

    def up(self, node: str) -> bool:
        links = self.store.links(node)
        return bool(links) and links[-1] == "up"

    def answers(self, op: str) -> list[Answer]:
        return [event for event in self.store.of(Answer) if event.op == op]

    def close(self) -> None:
        self.store.gate.set()
        for node in self.nodes.values():
            if node.stuck is not None:
                node.stuck.set()
        for supervisor in self.started:
            supervisor.stop(5.0)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet("n1", "n2", "n3")
    yield fleet
    fleet.close()


def test_all_nodes_come_up_and_their_records_arrive(fleet: Fleet) -> None:
    for node in fleet.nodes.values():
        node.add(30)
    fleet.start()
    for name in fleet.nodes:
        until(lambda name=name: fleet.store.seqs(name) == list(range(1, 31)))
        assert fleet.store.links(name)[:2] == ["connecting", "up"]


def test_a_lost_link_is_told_and_made_anew_without_gap_or_duplicate(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    fleet.start()
    for cut in (3, 9, 17):
        node.cut_inside = cut
        node.add(8)
        until(lambda: len(fleet.store.seqs("n1")) == len(node.records))
    assert fleet.store.seqs("n1") == list(range(1, 25))
    assert node.connects == 4
    assert fleet.store.links("n1").count("down") == 3
    lost = next(event for event in fleet.store.of(LinkChanged, "n1") if event.state == "down")
    assert "link was lost" in lost.why


def test_a_dead_link_is_left_and_made_anew(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    fleet.start(dataclasses.replace(TIMING, beat=Beat(every_s=0.1, dead_after_s=0.5)))
    until(lambda: fleet.up("n1"))
    node.wedge()
    node.add(5)
    until(lambda: fleet.store.seqs("n1") == [1, 2, 3, 4, 5])
    links = fleet.store.links("n1")
    assert links.index("up") < links.index("silent") < links.index("down") < len(links) - 1
    until(lambda: fleet.up("n1"))


def test_no_record_comes_twice_although_the_store_is_slow_at_the_moment_of_the_loss(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    fleet.start()
    until(lambda: fleet.up("n1"))
    fleet.store.gate.clear()
    node.add(10)
    until(lambda: node.channel is not None and node.channel.sent_seq == 10)
    assert node.channel is not None
    node.channel.end()
    until(lambda: node.connects == 2)
    assert len(node.hellos) == 1  # it waits with "go on behind ..." until it knows behind what
    fleet.store.gate.set()
    until(lambda: len(node.hellos) == 2)
    assert node.hellos[1]["after"] == {"spool_id": "spool-n1", "seq": 10}
    node.add(5)
    until(lambda: fleet.store.seqs("n1") == list(range(1, 16)))


def test_one_hanging_node_delays_no_other(fleet: Fleet) -> None:
    fleet.nodes["n1"].stuck = threading.Event()
    fleet.nodes["n2"].greets = False
    fleet.nodes["n3"].add(3)
    supervisor = fleet.start()
    until(lambda: fleet.store.seqs("n3") == [1, 2, 3])
    assert supervisor.request("n3", "facts") == {}
    with pytest.raises(ConnectError, match=r"not connected|hello"):
        supervisor.session("n1", 0.05)


def test_more_hanging_nodes_than_places_still_let_the_others_in() -> None:
    fleet = Fleet(*(f"dead{number}" for number in range(4)), "alive")
    for name, node in fleet.nodes.items():
        node.stuck = threading.Event() if name.startswith("dead") else None
    try:
        fleet.start(Timing(parallel_connects=2, slot_s=0.05, retry_s=0.01))
        until(lambda: fleet.up("alive"))
    finally:
        fleet.close()


def test_no_more_connections_are_made_at_once_than_there_are_places() -> None:
    fleet = Fleet(*(f"n{number}" for number in range(12)))
    busy, most, lock = 0, [0], threading.Lock()
    connect = fleet.transport.connect

    def counted(node: Node, *, timeout_s: float = 15.0) -> object:
        nonlocal busy
        with lock:
            busy += 1
            most[0] = max(most[0], busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        return connect(node, timeout_s=timeout_s)

    fleet.transport.connect = counted  # type: ignore[method-assign, assignment]
    try:
        fleet.start(Timing(parallel_connects=3, slot_s=60.0))
        for name in fleet.nodes:
            until(lambda name=name: fleet.up(name))
        assert 1 < most[0] <= 3
    finally:
        fleet.close()


def test_failed_attempts_back_off_and_tell_why_once(fleet: Fleet) -> None:
    fleet.nodes["n1"].connect_errors = [ConnectError("no route") for _ in range(5)]
    fleet.start()
    until(lambda: fleet.up("n1"))
    assert fleet.nodes["n1"].connects == 6
    told = [event for event in fleet.store.of(LinkChanged, "n1") if event.state == "down"]
    assert [event.why for event in told] == ["no route"]


@pytest.mark.parametrize("error", [
    HostKeyError("host key of n1 is not known", fingerprint="SHA256:abc", got="ssh-ed25519 SHA256:abc"),
    LoginError("op@n1:22 does not let us in"),
])
def test_a_refusal_waits_for_the_operator(fleet: Fleet, error: ConnectError) -> None:
    fleet.nodes["n1"].connect_errors = [error]
    supervisor = fleet.start()
    until(lambda: fleet.store.links("n1")[-1:] == ["refused"])
    with pytest.raises(type(error)):
        supervisor.session("n1", 60.0)  # says so at once
    until(lambda: fleet.up("n2"))
    assert fleet.nodes["n1"].connects == 1
    supervisor.submit(ReconnectNode(node="n1"))
    until(lambda: fleet.up("n1"))
    assert fleet.nodes["n1"].connects == 2


def test_reconnect_cuts_a_back_off_short(fleet: Fleet) -> None:
    fleet.nodes["n1"].connect_errors = [ConnectError("no route")]
    supervisor = fleet.start(Timing(retry_s=3600.0, retry_most_s=3600.0))
    until(lambda: fleet.store.links("n1")[-1:] == ["down"])
    supervisor.submit(ReconnectNode(node="n1"))
    until(lambda: fleet.up("n1"))


def test_the_agent_is_installed_where_it_is_missing_and_only_there(fleet: Fleet) -> None:
    fleet.nodes["n1"].installed = False
    fleet.start()
    until(lambda: fleet.up("n1") and fleet.up("n2"))
    assert len(fleet.nodes["n1"].files) == 1
    assert fleet.nodes["n2"].files == {}
    assert len(fleet.nodes["n2"].commands) == 1  # attach, and nothing else


def test_stopping_needs_arms(fleet: Fleet) -> None:
    supervisor = fleet.start()
    until(lambda: fleet.up("n1") and fleet.up("n2"))
    stop = StopJob(job="j", attempt="a1", nodes=("n1", "n2"), grace_s=5.0)
    supervisor.submit(stop)
    until(lambda: len(fleet.answers("stop")) == 2)
    assert not any(answer.ok for answer in fleet.answers("stop"))
    assert all("read-only" in answer.error for answer in fleet.answers("stop"))
    assert fleet.nodes["n1"].requests == []

    fleet.armed = True
    fleet.nodes["n1"].handlers["stop"] = lambda args: {"state": "stopping"}
    supervisor.submit(stop)
    until(lambda: len(fleet.answers("stop")) == 4)
    assert fleet.nodes["n1"].requests == [("stop", {"attempt": "a1", "grace_s": 5.0, "why": stop.why})]
    answer = next(answer for answer in fleet.answers("stop") if answer.ok and answer.node == "n1")
    assert answer.result == {"state": "stopping"}


def test_a_stop_on_a_node_that_is_down_says_so_at_once(fleet: Fleet) -> None:
    fleet.armed = True
    fleet.nodes["n1"].stuck = threading.Event()
    supervisor = fleet.start()
    until(lambda: fleet.up("n2"))
    supervisor.submit(StopJob(job="j", attempt="a", nodes=("n1", "n2", "nowhere")))
    until(lambda: len(fleet.answers("stop")) == 3)
    assert {answer.node: answer.ok for answer in fleet.answers("stop")} == {"n1": False, "n2": True, "nowhere": False}


def test_an_open_log_is_followed_again_after_a_reconnect_and_a_closed_one_is_not(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    node.handlers["tail"] = lambda args: {"stream": "log:" + args["path"]}
    supervisor = fleet.start()
    until(lambda: fleet.up("n1"))
    for path in ("/a", "/b"):
        supervisor.submit(FollowLog(node="n1", path=path, lines=50))
    supervisor.submit(UnfollowLog(node="n1", path="/a"))
    until(lambda: ("untail", {"stream": "log:/a"}) in node.requests)
    node.requests.clear()
    assert node.channel is not None
    node.channel.end()
    until(lambda: node.requests == [("tail", {"path": "/b", "lines": 50})])


def test_a_log_that_cannot_be_followed_is_answered(fleet: Fleet) -> None:
    def missing(args: dict[str, object]) -> dict[str, object]:
        raise ConnectError("there is no such file")

    fleet.nodes["n1"].handlers["tail"] = missing
    supervisor = fleet.start()
    until(lambda: fleet.up("n1"))
    supervisor.submit(FollowLog(node="n1", path="/none"))
    answer = until(lambda: fleet.answers("tail"))[0]
    assert not answer.ok and "no such file" in answer.error


def test_stop_ends_all_threads_also_with_peers_that_hang(fleet: Fleet) -> None:
    fleet.nodes["n2"].greets = False
    before = set(threading.enumerate())
    supervisor = fleet.start(Timing(greet_s=3600.0))
    until(lambda: fleet.up("n1") and fleet.up("n3") and fleet.nodes["n2"].connects)
    assert fleet.nodes["n1"].channel is not None
    fleet.nodes["n1"].wedge()
    assert supervisor.stop(PATIENCE_S) == []
    until(lambda: not [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()])


def test_stop_does_not_wait_for_ever_for_a_connection_attempt(fleet: Fleet) -> None:
    fleet.nodes["n1"].stuck = threading.Event()
    supervisor = fleet.start()
    until(lambda: fleet.up("n2") and fleet.nodes["n1"].connects)
    assert "n1" in supervisor.stop(0.5)
    until(lambda: supervisor.stop(0.0) == ["n1"])  # the others only need the time


def test_what_came_before_the_end_is_stored(fleet: Fleet) -> None:
    supervisor = fleet.start()
    until(lambda: fleet.up("n1"))
    fleet.nodes["n1"].add(5)
    until(lambda: fleet.nodes["n1"].channel is not None and fleet.nodes["n1"].channel.sent_seq == 5)
    until(lambda: len(fleet.store.seqs("n1")) == 5)
    supervisor.stop(5.0)
    assert fleet.store.seqs("n1") == [1, 2, 3, 4, 5]


def test_a_tap_sees_its_nodes_and_no_others(fleet: Fleet) -> None:
    supervisor = fleet.start()
    seen: list[object] = []
    supervisor.tap(["n1"], seen.append)
    fleet.nodes["n1"].add(2)
    fleet.nodes["n2"].add(2)
    until(lambda: fleet.store.seqs("n1") and fleet.store.seqs("n2"))
    until(lambda: len([event for event in seen if isinstance(event, RecordArrived)]) == 2)
    assert {event.node for event in seen} == {"n1"}  # type: ignore[attr-defined]


def test_a_fault_of_ours_at_one_node_is_told_and_tried_again(fleet: Fleet) -> None:
    fleet.nodes["n1"].connect_errors = [ZeroDivisionError("bug")]
    fleet.start()
    until(lambda: fleet.up("n1"))
    assert "ZeroDivisionError" in next(event.why for event in fleet.store.of(LinkChanged, "n1") if event.state == "down")


def test_a_hundred_and_twenty_eight_nodes() -> None:
    fleet = Fleet(*(f"n{number:03}" for number in range(128)))
    try:
        for node in fleet.nodes.values():
            node.add(20)
        supervisor = fleet.start(Timing())
        until(lambda: all(len(fleet.store.seqs(name)) == 20 for name in fleet.nodes))
        assert supervisor.stop(PATIENCE_S) == []
    finally:
        fleet.close()


def test_the_transport_is_chosen_in_one_place_and_shared() -> None:
    transport_for = transports()
    assert transport_for(Node(name="a", host="a")) is transport_for(Node(name="b", host="b"))
    by_system = transport_for(Node(name="c", host="c", transport="openssh"))
    assert by_system is transport_for(Node(name="d", host="d", transport="openssh"))
    assert by_system is not transport_for(Node(name="a", host="a"))
    with pytest.raises(ConnectError, match="no transport carrier"):
        transport_for(Node(name="e", host="e", transport="carrier"))  # type: ignore[arg-type]


def test_a_node_that_is_known_to_be_away_is_not_waited_for(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    node.connect_errors = [UnreachableError("no connection to n1 port 22", got="Connection refused") for _ in range(10_000)]
    supervisor = fleet.start()
    with pytest.raises(UnreachableError):
        supervisor.session("n1", PATIENCE_S)
    assert node.connects >= 3  # not by the first word: an sshd may be starting
    with pytest.raises(ConnectError, match="no connection to n1"):
        supervisor.session("n1", PATIENCE_S)


def test_one_word_that_took_long_is_enough(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    node.connect_errors = [UnreachableError("the jump host cannot reach n1", got="No route to host")]
    supervisor = fleet.start(dataclasses.replace(TIMING, retry_s=3600.0, retry_most_s=3600.0, absent_s=0.0))
    with pytest.raises(UnreachableError):
        supervisor.session("n1", PATIENCE_S)
    assert node.connects == 1


def test_a_node_that_was_up_a_moment_ago_is_waited_for(fleet: Fleet) -> None:
    node = fleet.nodes["n1"]
    supervisor = fleet.start()
    first = supervisor.session("n1", PATIENCE_S)
    node.connect_errors = [UnreachableError("no connection", got="Connection refused") for _ in range(8)]
    assert node.channel is not None
    node.channel.end()
    until(lambda: not first.alive)
    assert supervisor.session("n1", PATIENCE_S) is not first and node.connect_errors == []


def test_silence_is_waited_out_to_the_limit(fleet: Fleet) -> None:
    fleet.nodes["n1"].connect_errors = [ConnectError("no answer from n1 port 22") for _ in range(10_000)]
    supervisor = fleet.start()
    until(lambda: fleet.nodes["n1"].connects > 5)
    with pytest.raises(ConnectError, match="no answer"):
        supervisor.session("n1", 0.3)
    assert fleet.nodes["n1"].connects > 5
