"""One node's conversation, against an agent in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from agent import wire
from console.core.errors import ConnectError, RequestError
from console.core.events import FleetEvent, LinkChanged, LogLines, NodeMet, RecordArrived, Waiting
from console.remote.delivery import Delivery
from console.remote.heartbeat import Beat
from console.remote.session import AgentMissingError, Greeting, Session
from console.remote.transport import LoginError
from tests.console.remote.fakes import FakeChannel, FakeNode, MemoryStore, RealClock, until
from tests.patience import PATIENCE_S

SLOW = Beat(every_s=60.0, dead_after_s=120.0)
QUICK = Beat(every_s=0.05, dead_after_s=0.3)


class Bench:
    """A node, a store and sessions between them."""

    def __init__(self) -> None:
        self.node = FakeNode("n1")
        self.store = MemoryStore()
        self.delivery = Delivery(self.store.emit)
        self.delivery.start()
        self.sessions: list[Session] = []
        self.ended: list[str] = []

    def session(self, *, beat: Beat = SLOW, window: int = 4, opened_wall_s: float | None = None) -> Session:
        before_wall_s = RealClock().wall_s()
        channel = FakeChannel(self.node)
        self.node.opened(channel, "attach")

        def deliver(events: list[FleetEvent], stored: Callable[[], None] | None) -> None:
            self.delivery.put("n1", events, stored)

        session = Session("n1", channel, clock=RealClock(), deliver=deliver, beat=beat, window=window,
                          opened_wall_s=before_wall_s if opened_wall_s is None else opened_wall_s)
        self.sessions.append(session)
        return session

    def greeted(self, *, beat: Beat = SLOW, window: int = 4) -> Session:
        session = self.session(beat=beat, window=window)
        session.greet(Greeting(operator="op", console="c", after=self.store.cursor("n1")), PATIENCE_S)
        return session

    def running(self, *, beat: Beat = SLOW, window: int = 4) -> Session:
        session = self.greeted(beat=beat, window=window)
        threading.Thread(target=lambda: self.ended.append(session.run()), daemon=True).start()
        return session

    def close(self) -> None:
        self.store.gate.set()
        for session in self.sessions:
            session.close("test over")
        self.delivery.stop(5.0)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_a_hello_that_waited_for_us_does_not_make_the_node_late(bench: Bench) -> None:
    """The agent says hello unasked: what it read of its clock may be as old as the channel."""
    bench.node.clock_ahead_s = -0.5
    session = bench.session(opened_wall_s=RealClock().wall_s() - 1.0)
    session.greet(Greeting(operator="op", console="c", after=None), PATIENCE_S)
    met = until(lambda: bench.store.of(NodeMet))[0]
    assert abs(met.clock_offset_s) <= met.clock_error_s


def test_hello_both_ways_tells_who_and_whose_clock(bench: Bench) -> None:
    bench.node.clock_ahead_s = 100.0
    bench.store.cursors["n1"] = {"spool_id": "spool-n1", "seq": 7}
    bench.greeted()
    met = until(lambda: bench.store.of(NodeMet))[0]
    assert (met.spool_id, met.agent, met.boot_id) == ("spool-n1", "abc", "boot")
    assert abs(met.clock_offset_s - 100.0) <= met.clock_error_s + 0.001
    hello = until(lambda: bench.node.hellos)[0]
    assert hello["proto"] == wire.PROTOCOL and hello["operator"] == "op"
    assert hello["after"] == {"spool_id": "spool-n1", "seq": 7}
    assert until(lambda: bench.store.links("n1")) == ["up"]


def test_records_flow_in_order_and_credit_follows_the_store(bench: Bench) -> None:
    bench.running(window=4)
    bench.node.add(50)
    until(lambda: len(bench.store.seqs("n1")) == 50)
    assert bench.store.seqs("n1") == list(range(1, 51))
    record = bench.store.of(RecordArrived)[9]
    assert (record.kind, record.data, record.spool_id) == ("host", {"n": 10}, "spool-n1")
    until(lambda: sum(bench.node.channel.granted) == 54)  # type: ignore[union-attr]


def test_a_slow_store_holds_the_rest_on_the_node_and_nothing_else(bench: Bench) -> None:
    session = bench.running(window=4)
    until(lambda: any(event.rtt_s is not None for event in bench.store.of(LinkChanged)))
    bench.store.gate.clear()
    bench.node.add(50)
    until(lambda: bench.node.channel.sent_seq == 4)  # type: ignore[union-attr]
    # Not one more is granted while nothing is stored, and the rest of the conversation goes on.
    assert session.request("stats", {}, PATIENCE_S) == {}
    assert bench.node.channel is not None and bench.node.channel.granted == [4] and bench.node.channel.sent_seq == 4
    bench.store.gate.set()
    until(lambda: bench.store.seqs("n1") == list(range(1, 51)))


def test_what_the_store_failed_to_take_is_offered_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.remote.delivery.RETRY_S", 0.01)
    bench.running(window=4)
    bench.store.fail = 3
    bench.node.add(10)
    until(lambda: bench.store.seqs("n1") == list(range(1, 11)))


def test_a_link_lost_inside_a_record_goes_on_behind_the_stored_ones(bench: Bench) -> None:
    bench.running()
    bench.node.cut_inside = 8
    bench.node.add(20)
    until(lambda: bench.ended)
    until(lambda: bench.store.seqs("n1") == list(range(1, 8)))
    bench.running()
    until(lambda: bench.store.seqs("n1") == list(range(1, 21)))
    assert bench.node.hellos[1]["after"] == {"spool_id": "spool-n1", "seq": 7}


def test_a_record_that_is_sent_again_is_dropped(bench: Bench) -> None:
    bench.store.cursors["n1"] = {"spool_id": "spool-n1", "seq": 2}
    bench.running(window=10)
    bench.node.add(3)
    channel = bench.node.channel
    assert channel is not None
    for record in bench.node.records:
        channel.say(record)  # all three again, the first two from before our time
    bench.node.records.append({**wire.record("host", 0.0, 0.0, {}), "seq": 4})
    bench.node.add(0)
    until(lambda: bench.store.seqs("n1") == [3, 4])


def test_another_spool_is_read_from_its_beginning(bench: Bench) -> None:
    bench.store.cursors["n1"] = {"spool_id": "of an earlier life", "seq": 900}
    bench.running()
    bench.node.add(3)
    until(lambda: bench.store.seqs("n1") == [1, 2, 3])


def test_an_unknown_kind_and_an_unknown_message_are_carried_along(bench: Bench) -> None:
    bench.running()
    assert bench.node.channel is not None
    bench.node.channel.say({"t": "from-the-future", "x": 1})
    bench.node.add(1, kind="brand-new")
    until(lambda: [event.kind for event in bench.store.of(RecordArrived)] == ["brand-new"])


def test_requests_are_answered_by_id_and_errors_keep_their_four_parts(bench: Bench) -> None:
    def refuse(args: dict[str, object]) -> dict[str, object]:
        raise ConnectError("device 3 is in use", where="/locks", got="attempt a", expected="a free device", fix="Stop it")

    bench.node.handlers.update(facts=lambda args: {"cores": 2}, lock=refuse)
    session = bench.running()
    assert session.request("facts") == {"cores": 2}
    with pytest.raises(RequestError) as caught:
        session.request("lock", {"devices": [3]})
    error = caught.value
    assert (error.what, error.got, error.expected, error.fix) == ("device 3 is in use", "attempt a", "a free device", "Stop it")
    assert error.where == "n1: /locks"


def test_a_request_that_nobody_answers_ends_in_time_and_its_late_answer_is_nobodys(bench: Bench) -> None:
    bench.node.handlers["jobs"] = lambda args: None
    session = bench.running()
    with pytest.raises(RequestError, match="not answered"):
        session.request("jobs", {}, 0.05)
    assert bench.node.channel is not None
    bench.node.channel.say({"t": "res", "id": 1, "ok": True, "result": {"late": True}})
    assert session.request("facts", {}, PATIENCE_S) == {}


def test_who_waits_for_an_answer_is_told_when_the_link_dies(bench: Bench) -> None:
    bench.node.handlers["jobs"] = lambda args: None
    session = bench.running()
    failures: list[RequestError] = []

    def ask() -> None:
        try:
            session.request("jobs", {}, PATIENCE_S)
        except RequestError as error:
            failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: bench.node.requests)
    assert bench.node.channel is not None
    bench.node.channel.end()
    asking.join(PATIENCE_S)
    assert "lost before the answer" in str(failures[0])
    with pytest.raises(RequestError):
        session.request("facts", {}, PATIENCE_S)


def test_a_request_too_long_for_the_wire_is_refused_here(bench: Bench) -> None:
    session = bench.running()
    with pytest.raises(RequestError, match="cannot be sent"):
        session.request("prepare", {"files": {"big": "x" * wire.MAX_LINE_BYTES}})
    assert session.request("facts") == {}


def test_a_dead_link_falls_silent_and_ends_the_session(bench: Bench) -> None:
    bench.running(beat=QUICK)
    until(lambda: any(event.rtt_s is not None for event in bench.store.of(LinkChanged)))
    bench.node.wedge()
    until(lambda: bench.ended)
    assert "no answer for 0.3 s" in bench.ended[0]
    until(lambda: bench.store.links("n1")[-1] == "silent")


def test_a_missed_beat_is_silent_and_the_next_byte_makes_it_up_again(bench: Bench) -> None:
    bench.running(beat=Beat(every_s=0.05, dead_after_s=PATIENCE_S))
    until(lambda: "up" in bench.store.links("n1"))
    bench.node.answers_pings = False
    until(lambda: bench.store.links("n1")[-1] == "silent")
    bench.node.answers_pings = True
    until(lambda: bench.store.links("n1")[-1] == "up")
    assert not bench.ended


def test_a_peer_that_takes_nothing_more_does_not_keep_us_from_noticing_its_death(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.running(beat=QUICK)
    stuck = threading.Event()
    monkeypatch.setattr(bench.node, "heard", lambda channel, message: stuck.wait(PATIENCE_S))
    with pytest.raises(RequestError):
        session.request("facts", {}, PATIENCE_S)  # ended by the heartbeat, not by its own time limit
    until(lambda: bench.ended)
    stuck.set()


def test_log_lines_flow_by_credit_in_lines(bench: Bench) -> None:
    bench.node.handlers["tail"] = lambda args: {"stream": "log:1"}
    session = bench.running()
    session.follow("/a.log", 10)
    channel = bench.node.channel
    assert channel is not None
    until(lambda: channel.credit.get("log:1") == 1000)
    channel.say({"t": "lines", "stream": "log:1", "path": "/a.log", "file_id": "f", "offset": 0, "next_offset": 6, "size": 6, "lines": ["ab", "cd"]})
    lines = until(lambda: bench.store.of(LogLines))[0]
    assert (lines.path, lines.lines, lines.next_offset) == ("/a.log", ("ab", "cd"), 6)
    until(lambda: channel.credit["log:1"] == 1002)
    session.unfollow("/a.log")
    session.unfollow("/a.log")
    assert [op for op, _ in bench.node.requests] == ["tail", "untail"]


def test_how_much_is_held_back_is_told(bench: Bench) -> None:
    bench.running()
    assert bench.node.channel is not None
    bench.node.channel.say({"t": "waiting", "stream": "records", "n": 300})
    assert until(lambda: bench.store.of(Waiting))[0].count == 300


@pytest.mark.parametrize("said", [b"this is no message\n", b'{"t":"rec","seq":"x"}\n', b'{"t":"rec","seq":1,"kind":"k","data":3}\n', b'{"t":"lines","stream":"s"}\n'])
def test_a_peer_that_speaks_wrongly_is_left(bench: Bench, said: bytes) -> None:
    bench.running()
    assert bench.node.channel is not None
    bench.node.channel.push(said)
    until(lambda: bench.ended)
    assert "no message" in bench.ended[0]
    assert bench.node.channel.closed.is_set()


def test_what_login_scripts_print_before_the_hello_is_passed_over(bench: Bench) -> None:
    bench.node.greets = False
    session = bench.session()
    channel = bench.node.channel
    assert channel is not None
    channel.push(b"Welcome to node 1\n\nquota: 90%\n")
    bench.node.greets = True
    bench.node.opened(channel, "attach")
    session.greet(Greeting(operator="o", console="c", after=None), PATIENCE_S)
    assert session.hello["spool_id"] == "spool-n1"


def test_an_agent_that_says_no_hello_is_given_up(bench: Bench) -> None:
    bench.node.greets = False
    session = bench.session()
    with pytest.raises(ConnectError, match="does not say hello"):
        session.greet(Greeting(operator="o", console="c", after=None), 0.1)


def test_a_missing_agent_a_missing_python_and_a_crash_are_told_apart(bench: Bench) -> None:
    bench.node.greets = False

    def attempt(status: int, stderr: str) -> ConnectError:
        session = bench.session()
        assert bench.node.channel is not None
        bench.node.channel.stderr = stderr
        bench.node.channel.end(status)
        with pytest.raises(ConnectError) as caught:
            session.greet(Greeting(operator="o", console="c", after=None), PATIENCE_S)
        return caught.value

    assert isinstance(attempt(96, ""), AgentMissingError)
    assert "Python" in str(attempt(127, "sh: python3: not found"))
    assert "Traceback" in str(attempt(1, "Traceback: no space left"))


@pytest.mark.parametrize(("lowest", "highest", "fits"), [(1, 1, True), (1, 5, True), (2, 3, False), (0, 0, False)])
def test_versions_that_cannot_talk_are_refused(bench: Bench, lowest: int, highest: int, fits: bool) -> None:
    bench.node.proto = (lowest, highest)
    if fits:
        bench.greeted()
    else:
        with pytest.raises(LoginError, match="cannot understand"):
            bench.greeted()


def test_closing_says_goodbye_and_leaves_no_thread(bench: Bench) -> None:
    session = bench.running()
    assert bench.node.channel is not None
    session.close("leaving")
    session.close("twice")
    until(lambda: bench.ended)
    assert bench.ended == ["leaving"]
    until(lambda: not session._writer.is_alive())
    assert bench.node.channel.closed.is_set()


def test_the_clock_is_told_better_when_a_quicker_round_trip_comes(bench: Bench) -> None:
    bench.node.greets = False
    session = bench.session(beat=Beat(every_s=0.05, dead_after_s=PATIENCE_S))
    channel = bench.node.channel
    assert channel is not None

    def late_hello() -> None:
        time.sleep(0.3)
        bench.node.greets = True
        bench.node.opened(channel, "attach")

    threading.Thread(target=late_hello).start()
    session.greet(Greeting(operator="o", console="c", after=None), PATIENCE_S)
    threading.Thread(target=session.run, daemon=True).start()
    first, second = until(lambda: bench.store.of(NodeMet)[:2] if len(bench.store.of(NodeMet)) > 1 else None)
    assert first.clock_error_s >= 0.14 and second.clock_error_s <= first.clock_error_s / 2
