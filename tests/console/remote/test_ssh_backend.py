"""Two-phase launches on nodes in memory: all or none, whatever fails."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from console.core.errors import ConnectError, LaunchError, RequestError
from console.core.events import FleetEvent, LaunchProgress, RecordArrived
from console.core.launch.plan import LaunchPlan, NodeCommand, NodePlan, Problem
from console.remote.backend import Submission
from console.remote.gate import NotFitError
from console.remote.heartbeat import Beat
from console.remote.link import Timing
from console.remote.session import Session
from console.remote.ssh_backend import SshBackend
from console.remote.supervisor import Supervisor
from tests.console.core.preflight.facts import parts, process_job
from tests.console.remote.fakes import FakeNode, FakeTransport, MemoryStore, RealClock, until
from tests.patience import PATIENCE_S
from trainer.spec.job import to_mapping


class Desk:
    """What an agent does about attempts, in memory. ``refuse``: op -> error to give."""

    def __init__(self, node: FakeNode, log: list[tuple[str, str]]) -> None:
        self.node, self.log = node, log
        self.state: dict[str, str] = {}
        self.prepared: dict[str, Any] = {}
        self.locked: dict[str, list[int]] = {}
        self.refuse: dict[str, ConnectError] = {}
        self.hang: set[str] = set()
        self.trouble: str | None = None
        self.settled = False
        self.commits: list[Mapping[str, Any]] = []
        self.containers: dict[str, dict[str, Any]] = {}
        self.parts = parts()
        for op in ("lock", "prepare", "container", "commit", "abort", "stop", "jobs", "facts", "check_facts", "note"):
            node.handlers[op] = self._handler(op)

    def _handler(self, op: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
        def handle(args: dict[str, Any]) -> dict[str, Any] | None:
            self.log.append((self.node.name, op))
            if op in self.refuse:
                raise self.refuse[op]
            if op in self.hang:
                return None
            return getattr(self, op)(args)  # type: ignore[no-any-return]

        return handle

    def facts(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"hostname": self.node.name, "python": "3.9.1", "dir_trouble": self.trouble}

    def check_facts(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"parts": self.parts, "absent": {}}

    def note(self, args: dict[str, Any]) -> dict[str, Any]:
        return {}

    def jobs(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"attempts": [{"job": "j", "attempt": attempt, "state": state, "dir": "/w"} for attempt, state in self.state.items()]}

    def lock(self, args: dict[str, Any]) -> dict[str, Any]:
        self.locked[args["attempt"]] = args["devices"]
        return {"locked": args["devices"]}

    def prepare(self, args: dict[str, Any]) -> dict[str, Any]:
        self.prepared = args
        self.state[args["attempt"]] = "prepared"
        return {"dir": args["dir"]}

    def container(self, args: dict[str, Any]) -> dict[str, Any]:
        self.containers[args["attempt"]] = args
        return {"said": ""}

    def commit(self, args: dict[str, Any]) -> dict[str, Any]:
        self.commits.append(args)
        if args.get("settled"):
            if "settle" in self.refuse:
                raise self.refuse["settle"]
            self.settled = True
        self.state[args["attempt"]] = "running"
        return {"pid": 1}

    def abort(self, args: dict[str, Any]) -> dict[str, Any]:
        if self.state.get(args["attempt"]) == "running":
            raise ConnectError("it was committed")
        self.locked.pop(args["attempt"], None)
        self.state.pop(args["attempt"], None)
        self.containers.pop(args["attempt"], None)
        return {}

    def stop(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["attempt"] not in self.state:
            raise ConnectError("not known here")
        self.locked.pop(args["attempt"], None)
        self.state[args["attempt"]] = "stopped"
        self.containers.pop(args["attempt"], None)
        return {"state": "stopping"}

    @property
    def clean(self) -> bool:
        return not self.locked and not self.containers and not set(self.state.values()) & {"prepared", "running"}


class Site:
    """Three nodes with desks, a supervisor, a backend."""

    def __init__(self) -> None:
        self.transport = FakeTransport("n1", "n2", "n3")
        self.nodes = self.transport.nodes
        self.log: list[tuple[str, str]] = []
        self.desks = {name: Desk(node, self.log) for name, node in self.nodes.items()}
        self.store = MemoryStore()
        self.supervisor = Supervisor(
            self.transport.inventory, transport_for=lambda node: self.transport, emit=self.store.emit, cursor=self.store.cursor, clock=RealClock(),
            operator="op", timing=Timing(retry_s=0.01, retry_most_s=0.05, beat=Beat(every_s=0.2, dead_after_s=PATIENCE_S)))
        self.supervisor.start()
        self.armed = True
        self.backend = SshBackend(self.supervisor, RealClock(), armed=lambda: self.armed)
        self.told: list[LaunchProgress] = []
        self._lock = threading.Lock()

    def emit(self, event: FleetEvent) -> None:
        assert isinstance(event, LaunchProgress)
        with self._lock:
            self.told.append(event)

    def submit(self, plan: LaunchPlan) -> Submission:
        return self.backend.submit(plan, self.emit)

    def fails(self, plan: LaunchPlan) -> LaunchError:
        with pytest.raises(LaunchError) as caught:
            self.submit(plan)
        return caught.value

    def hangs(self, monkeypatch: pytest.MonkeyPatch, node: str, *ops: str) -> None:
        """These requests are not answered by that node; nobody waits long for them, and as long as ever for the others."""
        real = Session.request

        def request(session: Session, op: str, args: Mapping[str, Any] | None = None, timeout_s: float = 15.0) -> dict[str, Any]:
            return real(session, op, args, 0.2 if session.node == node and op in ops else timeout_s)

        monkeypatch.setattr(Session, "request", request)
        self.desks[node].hang |= set(ops)

    def matrix(self) -> dict[tuple[str, str], str]:
        return {(event.node, event.phase): event.state for event in self.told}

    def asked(self, op: str) -> list[str]:
        return [node for node, asked in self.log if asked == op]


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.supervisor.stop(5.0)


def make_plan(nodes: Iterable[str] = ("n3", "n1", "n2"), ttl_s: float = 60.0, problems: tuple[Problem, ...] = ()) -> LaunchPlan:
    return LaunchPlan(
        job="j", attempt="20260101T000000Z-abcd", problems=problems, derived={}, ttl_s=ttl_s,
        nodes=tuple(NodePlan(node=name, node_index=index, dir=f"~/w/.rankdeck/j/20260101T000000Z-abcd/{name}", files={"job.json": "{}\n"},
                             devices=(0, 1), commands=(NodeCommand(phase="start", script="#!/bin/bash\nexec true\n"),))
                    for index, name in enumerate(nodes)))


def test_a_launch_goes_through_its_phases_in_order(site: Site) -> None:
    submission = site.submit(make_plan())
    assert submission.nodes == ("n3", "n1", "n2")
    assert all(desk.state == {"20260101T000000Z-abcd": "running"} for desk in site.desks.values())
    assert set(site.matrix().values()) == {"done"}
    assert {phase for _, phase in site.matrix()} == {"preflight", "prepare", "start"}
    # Each phase ends everywhere before the next begins anywhere; locks are taken in an order all consoles share.
    order = [op for _, op in site.log if op in ("jobs", "lock", "prepare", "commit")]
    assert order == ["jobs"] * 3 + ["lock"] * 3 + ["prepare"] * 3 + ["commit"] * 6  # begin, then: it has begun everywhere
    assert site.asked("lock") == ["n1", "n2", "n3"]
    sent = site.desks["n1"].prepared
    assert sent["script"] == "#!/bin/bash\nexec true\n" and sent["files"] == {"job.json": "{}\n"} and sent["node_index"] == 1
    assert sent["epoch"] == submission.epoch and sent["ttl_s"] == 60.0
    states = [event.state for event in site.told if (event.node, event.phase) == ("n1", "prepare")]
    assert states[0] == "waiting" and states[-1] == "done" and "running" in states


@pytest.mark.parametrize("op", ["lock", "prepare", "commit"])
def test_a_refusal_in_any_phase_undoes_everything(site: Site, op: str) -> None:
    site.desks["n2"].refuse[op] = ConnectError("device 3 is in use", got="attempt x", expected="a free device", fix="Stop it.")
    error = site.fails(make_plan())
    assert error.node == "n2" and error.phase == ("start" if op == "commit" else "prepare")
    assert "device 3 is in use" in str(error) and error.got == "attempt x" and "Stop it." in error.fix
    assert all(desk.clean for desk in site.desks.values())
    assert site.matrix()["n2", error.phase] == "failed"
    assert site.matrix()["n1", error.phase] == "undone"
    told = next(event for event in site.told if event.state == "failed")
    assert "device 3 is in use" in told.why


JOB = {"container": {"keep": True}, "run": {"time_limit": "0-01:00:00"}, "recovery": {"stop_grace_s": 33.0}}


def contained(plan: LaunchPlan) -> LaunchPlan:
    """The same plan in containers."""
    return dataclasses.replace(plan, nodes=tuple(
        dataclasses.replace(node, files={"job.json": json.dumps(JOB)}, commands=(NodeCommand(phase="container", script=f"make {node.node}\n"), *node.commands),
                            undo=(NodeCommand(phase="container", script=f"remove {node.node}\n"),)) for node in plan.nodes))


def test_a_start_is_confirmed_when_all_nodes_have_begun_and_undone_where_it_cannot_be(site: Site) -> None:
    site.desks["n1"].refuse["commit"] = ConnectError("no room")
    site.fails(make_plan())
    assert not any(desk.settled for desk in site.desks.values()) and all(desk.clean for desk in site.desks.values())
    del site.desks["n1"].refuse["commit"]
    site.desks["n2"].refuse["settle"] = ConnectError("told to stop meanwhile")
    error = site.fails(make_plan())
    assert error.phase == "start" and error.node == "n2" and all(desk.clean for desk in site.desks.values())
    del site.desks["n2"].refuse["settle"]
    site.submit(make_plan())
    assert all(desk.settled for desk in site.desks.values())


def test_what_is_held_is_given_its_time_anew_and_not_confirmed(site: Site) -> None:
    site.backend.submit(make_plan(ttl_s=30.0), site.emit, held=True)
    for desk in site.desks.values():
        assert not desk.settled and [(args.get("settle_s"), args.get("hold_s")) for args in desk.commits] == [(30.0, None), (None, 30.0)]


def test_containers_are_made_everywhere_before_anything_starts(site: Site) -> None:
    site.submit(contained(make_plan()))
    order = [op for _, op in site.log if op in ("prepare", "container", "commit")]
    assert order == ["prepare"] * 3 + ["container"] * 3 + ["commit"] * 6
    assert {phase for _, phase in site.matrix()} == {"preflight", "prepare", "container", "start"} and set(site.matrix().values()) == {"done"}
    asked = site.desks["n2"].containers["20260101T000000Z-abcd"]
    assert asked["script"] == "make n2\n" and asked["undo"] == "remove n2\n" and asked["keep"] is True and asked["limit_s"] > 600
    assert site.desks["n2"].prepared["time_limit_s"] == 3600 and site.desks["n2"].prepared["stop_grace_s"] == 33.0


def test_a_container_that_does_not_come_up_takes_the_others_with_it(site: Site) -> None:
    site.desks["n1"].refuse["container"] = ConnectError("the container did not come up", got="exit status 125 of: docker run: no such image")
    error = site.fails(contained(make_plan()))
    assert (error.node, error.phase) == ("n1", "container") and "docker run: no such image" in error.got
    assert all(desk.clean for desk in site.desks.values()) and site.asked("commit") == []
    assert site.matrix()["n1", "container"] == "failed" and site.matrix()["n3", "container"] == "undone"


def test_a_link_that_breaks_while_a_container_is_made_is_waited_for(site: Site) -> None:
    desk = site.desks["n2"]

    def make_and_die(args: dict[str, Any]) -> dict[str, Any] | None:
        site.nodes["n2"].handlers["container"] = desk.container
        assert site.nodes["n2"].channel is not None
        site.nodes["n2"].channel.end()
        return None

    site.nodes["n2"].handlers["container"] = make_and_die
    site.submit(contained(make_plan()))
    assert desk.containers and desk.state == {"20260101T000000Z-abcd": "running"}


def test_preflight_touches_nothing(site: Site) -> None:
    site.desks["n1"].trouble = "/w cannot be written"
    error = site.fails(make_plan())
    assert (error.node, error.phase) == ("n1", "preflight")
    assert "/w cannot be written" in error.got
    assert not {op for _, op in site.log} & {"lock", "prepare", "commit", "abort", "stop"}


def checked(plan: LaunchPlan, **preflight: Any) -> LaunchPlan:
    """The same plan for a job that says how it is checked."""
    text = json.dumps(to_mapping(process_job(fleet={"nodes": [node.node for node in plan.nodes]}, preflight=preflight, checkpoint={"storage": "per-node"})))
    return dataclasses.replace(plan, nodes=tuple(dataclasses.replace(node, files={"job.json": text}) for node in plan.nodes))


def test_what_the_checks_find_stops_a_launch_before_anything_is_touched(site: Site) -> None:
    site.desks["n2"].parts["path:/w"]["writable"] = False
    error = site.fails(checked(make_plan(), level="quick"))
    assert isinstance(error, NotFitError) and (error.node, error.phase, error.where) == ("n2", "preflight", "n2: /w")
    assert "the work directory cannot be written" in str(error) and "work-dir" in error.fix
    assert {node: state for (node, phase), state in site.matrix().items() if phase == "preflight"} == dict.fromkeys(("n1", "n2", "n3"), "failed")
    why = {event.node: event.why for event in site.told if event.state == "failed"}
    assert "cannot be written" in why["n2"] and why["n1"] == "another node is not fit"
    assert not {op for _, op in site.log} & {"lock", "prepare", "commit", "abort", "stop", "note"}
    site.submit(checked(make_plan(), level="quick", waive=[{"id": "work-dir", "reason": "it is mounted by the job"}]))
    assert set(site.asked("check_facts")) == {"n1", "n2", "n3"}


def test_a_launch_without_checks_is_noted_on_every_node(site: Site) -> None:
    site.submit(checked(make_plan(), level="none"))
    notes = {node: args["text"] for node, fake in site.nodes.items() for op, args in fake.requests if op == "note"}
    assert set(notes) == {"n1", "n2", "n3"} and all("without checks (preflight.level: none" in text for text in notes.values())
    assert site.asked("check_facts") == []


def test_a_node_that_is_down_fails_the_preflight(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.remote.ssh_backend.CONNECT_S", 0.2)
    until(lambda: all(site.store.links(node)[-1:] == ["up"] for node in site.nodes))
    site.nodes["n1"].connect_errors = [ConnectError("no route") for _ in range(1000)]
    assert site.nodes["n1"].channel is not None
    site.nodes["n1"].channel.end()
    until(lambda: site.store.links("n1")[-1:] == ["down"])
    error = site.fails(make_plan())
    assert (error.node, error.phase) == ("n1", "preflight")
    assert "no route" in str(error)


@pytest.mark.parametrize(("state", "refused"), [("running", True), ("prepared", True), ("stopping", True), ("exited", False), ("stopped", False)])
def test_a_second_launch_of_a_live_job_is_refused(site: Site, state: str, refused: bool) -> None:
    site.desks["n2"].state["20250101T000000Z-0000"] = state
    if refused:
        error = site.fails(make_plan())
        assert (error.node, error.phase) == ("n2", "preflight")
        assert "already there" in str(error) and "20250101T000000Z-0000" in error.got
        assert site.desks["n2"].state["20250101T000000Z-0000"] == state
    else:
        site.submit(make_plan())


def test_a_commit_that_nobody_answers_is_taken_back_on_all_nodes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hangs(monkeypatch, "n2", "commit")
    error = site.fails(make_plan())
    assert (error.node, error.phase) == ("n2", "start")
    assert all(desk.clean for desk in site.desks.values())


def test_a_link_that_breaks_at_the_commit_is_waited_for(site: Site) -> None:
    desk = site.desks["n2"]

    def commit_and_die(args: dict[str, Any]) -> dict[str, Any] | None:
        desk.commit(args)
        site.nodes["n2"].handlers["commit"] = desk.commit
        assert site.nodes["n2"].channel is not None
        site.nodes["n2"].channel.end()
        return None

    site.nodes["n2"].handlers["commit"] = commit_and_die
    site.submit(make_plan())
    assert desk.state == {"20260101T000000Z-abcd": "running"}


def test_a_node_that_cannot_be_told_to_undo_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hangs(monkeypatch, "n1", "stop", "abort")
    site.desks["n2"].refuse["commit"] = ConnectError("too late")
    error = site.fails(make_plan())
    assert "it may run on n1" in error.fix
    assert site.desks["n3"].clean


def test_an_interrupt_undoes_the_launch_too(site: Site) -> None:
    def emit(event: FleetEvent) -> None:
        assert isinstance(event, LaunchProgress)
        if event.phase == "start" and event.state == "running":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.backend.submit(make_plan(), emit)
    assert all(desk.clean for desk in site.desks.values())


def test_a_plan_with_errors_is_not_submitted(site: Site) -> None:
    error = site.fails(make_plan(problems=(Problem(rule="P1", severity="error", where="job.yaml:3", message="no"),)))
    assert "has problems" in str(error)
    assert site.log == []


def test_a_read_only_console_launches_and_stops_nothing(site: Site) -> None:
    site.armed = False
    with pytest.raises(RequestError, match="read-only"):
        site.submit(make_plan())
    with pytest.raises(RequestError, match="read-only"):
        site.backend.cancel(Submission(job="j", attempt="a", epoch=1, nodes=("n1",)), 1.0, "x")
    assert site.log == []


def test_cancel_stops_all_nodes_and_names_those_that_failed(site: Site) -> None:
    submission = site.submit(make_plan())
    site.desks["n2"].refuse["stop"] = ConnectError("it will not")
    with pytest.raises(RequestError) as caught:
        site.backend.cancel(submission, 5.0, "enough")
    assert caught.value.where == "n2" and "it will not" in caught.value.got
    assert site.desks["n1"].state == site.desks["n3"].state == {submission.attempt: "stopped"}
    assert ("stop", {"attempt": submission.attempt, "grace_s": 5.0, "why": "enough"}) in site.nodes["n1"].requests


def test_observe_shows_the_submissions_nodes(site: Site) -> None:
    seen: list[FleetEvent] = []
    site.backend.observe(Submission(job="j", attempt="a", epoch=1, nodes=("n1", "n2")), seen.append)
    for node in site.nodes.values():
        node.add(1)
    until(lambda: {event.node for event in seen if isinstance(event, RecordArrived)} == {"n1", "n2"})
    until(lambda: site.store.seqs("n3") == [1])
    assert not [event for event in seen if event.node == "n3"]
