"""What keeps a launch on its nodes while it comes up, and what gives it to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from console.core.errors import ConnectError, LaunchError, RequestError
from console.core.fleet.state import FleetState
from console.core.launch.plan import LaunchPlan, NodePlan
from console.remote.backend import LaunchBackend, Submission
from console.remote.coming_up import ComingUp
from console.remote.hold import Hold
from console.remote.session import Session
from tests.console.remote.fakes import RealClock, until

SUBMISSION = Submission(job="j", attempt="A", epoch=7, nodes=("n0", "n1"))
PLAN = LaunchPlan(job="j", attempt="A", problems=(), derived={}, ttl_s=0.2, nodes=tuple(
    NodePlan(node=name, node_index=index, dir="/w", files={}, devices=(), commands=()) for index, name in enumerate(SUBMISSION.nodes)))


class Link:
    """A node's session. ``fails``: commits fail, and the link with them unless ``alive``; ``state``: the attempt's there."""

    def __init__(self) -> None:
        self.said: list[Mapping[str, Any]] = []
        self.fails, self.alive, self.state = False, True, "running"

    def request(self, op: str, args: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        if op == "jobs":
            return {"attempts": [{"attempt": "B", "state": "running"}, {"attempt": "A", "state": self.state}]}
        assert op == "commit" and (args["attempt"], args["epoch"]) == ("A", 7)
        self.said.append({name: value for name, value in args.items() if name not in ("attempt", "epoch")})
        if self.fails:
            raise RequestError("no")
        return {}


class Links:
    def __init__(self) -> None:
        self.of = {name: Link() for name in SUBMISSION.nodes}
        self.free = threading.Event()
        """Until then whoever asks for n1 waits, where ``stuck``."""
        self.stuck = False

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        if self.stuck and node == "n1":
            self.free.wait()
            raise ConnectError("not connected")
        return cast(Session, self.of[node])

    def said(self, node: str, what: str) -> int:
        return sum(what in each for each in list(self.of[node].said))


def holding(links: Links, limit_s: float = 0.2) -> Hold:
    hold = Hold(SUBMISSION, links, limit_s)
    hold.begin()
    return hold


def test_it_is_said_again_and_again_and_at_last_that_it_is_theirs() -> None:
    links = Links()
    hold = holding(links)
    until(lambda: all(links.said(node, "hold_s") > 2 for node in SUBMISSION.nodes))
    assert not any(links.said(node, "settled") for node in SUBMISSION.nodes)
    until(hold.confirm)
    assert [links.of[node].said[-1] for node in SUBMISSION.nodes] == [{"settled": True}] * 2 and hold.untold == ()


def test_a_node_without_a_link_is_told_when_it_is_back_and_the_others_once() -> None:
    links = Links()
    links.of["n1"].fails, links.of["n1"].alive = True, False
    hold = holding(links)
    hold.confirm()
    until(lambda: links.said("n1", "settled") > 1)
    assert hold.untold == ("n1",) and links.said("n0", "settled") == 1
    links.of["n1"].fails = False
    until(hold.confirm)


def test_who_leaves_does_not_wait_for_ever_and_says_no_more_afterwards() -> None:
    links = Links()
    links.of["n1"].fails, links.of["n1"].alive = True, False
    hold = holding(links)
    assert hold.hand_over(0.3) == ("n1",)
    until(lambda: not any(thread.name == "hold" for thread in threading.enumerate()))
    assert links.said("n0", "settled") == 1


def test_a_node_that_cannot_be_reached_keeps_nobody_from_hearing_that_it_is_theirs() -> None:
    links = Links()
    links.stuck = True
    hold = holding(links, 600.0)
    try:
        until(lambda: links.said("n0", "hold_s"))  # and the round goes on, as n1 is waited for
        assert not hold.confirm()
        until(lambda: hold.untold == ("n1",))
        assert links.said("n0", "settled") == 1 and hold.hand_over(0.05) == ("n1",)
    finally:
        links.free.set()


def test_an_agent_that_could_not_do_it_is_no_agent_that_has_heard() -> None:
    links = Links()
    links.of["n1"].fails = True  # as with a full disk, or with no answer in time; and the job runs there
    hold = holding(links)
    hold.confirm()
    until(lambda: links.said("n1", "settled") > 1)
    assert hold.untold == ("n1",)
    links.of["n1"].fails = False
    until(hold.confirm)


@pytest.mark.parametrize("state", ["stopping", "stopped", "exited"])
def test_a_node_where_it_has_ended_is_not_asked_again(state: str) -> None:
    links = Links()
    links.of["n1"].fails, links.of["n1"].state = True, state
    assert holding(links).hand_over(60.0) == () and links.said("n1", "settled") == 1


@pytest.mark.parametrize(("error", "settled"), [(None, True), (KeyboardInterrupt, True), (LaunchError("it failed", node="n0", phase="loading"), False)])
def test_whoever_stops_watching_leaves_the_job_to_its_nodes_unless_it_has_been_ended(error: type[BaseException] | BaseException | None, settled: bool) -> None:
    links = Links()

    def watch() -> None:
        with ComingUp(PLAN, SUBMISSION, links, cast(LaunchBackend, None), RealClock()) as coming:
            assert not coming.look(FleetState())
            until(lambda: links.said("n1", "hold_s"))
            if error is not None:
                raise error

    ends(watch, error)
    assert [bool(links.said(node, "settled")) for node in SUBMISSION.nodes] == [settled] * 2


def ends(do: Callable[[], None], error: type[BaseException] | BaseException | None) -> None:
    if error is None:
        do()
        return
    with pytest.raises(error if isinstance(error, type) else type(error)):
        do()
