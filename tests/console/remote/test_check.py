"""Collecting facts: all at once, and each node's trouble its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from console.core.errors import ConnectError, RequestError
from console.core.launch.inventory import Node
from console.core.preflight.facts import Case
from console.core.preflight.finding import Finding, Remedy
from console.remote.check import Check, mend
from tests.console.core.preflight.facts import parts, path, process_job
from tests.console.remote.fakes import RealClock

Handler = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]


class FakeSession:
    def __init__(self, name: str, links: FakeLinks) -> None:
        self._name, self._links = name, links

    def request(self, op: str, args: Mapping[str, Any] | None = None, timeout_s: float = 15.0) -> dict[str, Any]:
        self._links.asked.append((self._name, op, dict(args or {})))
        if (self._name, op) in self._links.hanging:
            self._links.released.wait(timeout_s)
            raise RequestError(f"{op} was not answered", where=self._name, got=f"nothing in {timeout_s:g} s")
        return self._links.handler(self._name, op, args or {})


class FakeLinks:
    """Nodes that answer by ``handler``; those in ``dead`` cannot be reached, those in ``hanging`` do not answer an op."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.dead: set[str] = set()
        self.hanging: set[tuple[str, str]] = set()
        self.released = threading.Event()

    def session(self, node: str, timeout_s: float = 15.0) -> Any:
        if node in self.dead:
            self.released.wait(timeout_s)
            raise ConnectError(f"no answer from {node} port 22", where=node, fix="Is the machine up?")
        return FakeSession(node, self)


def nodes(count: int) -> list[Node]:
    return [Node(name=f"n{number}", host=f"10.0.0.{number}", npus=2) for number in range(count)]


def told(name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
    assert op == "check_facts"
    return {"parts": parts(), "absent": {}}


def collect(links: FakeLinks, count: int, **how: Any) -> Case:
    return Check(**{"links": links, "nodes": nodes(count), "clock": RealClock(), "timeout_s": 5.0, "level": "quick", **how}).carry_out()


@pytest.mark.parametrize("state", ["told", "hangs"])
def test_one_node_is_asked_what_is_saved_where_the_job_goes_on_from(state: str) -> None:
    job = process_job(run={"mode": "retrain"}, runner={"kind": "env-script", "entry": "/w/t.sh", "trainer_dir": ""}, checkpoint={"load_dir": "/w/saved"})
    survey = {"iterations": [], "tracker": None, "tracker_state": "missing", "why": ""}
    links = FakeLinks(lambda name, op, args: survey if op == "checkpoints" else told(name, "check_facts", args))
    if state == "hangs":
        links.hanging.add(("n0", "checkpoints"))
        links.released.set()
    case = Check(links=links, nodes=nodes(2), clock=RealClock(), job=job, writes=False).carry_out()
    assert [(name, args) for name, op, args in links.asked if op == "checkpoints"] == [("n0", {"dir": "/w/saved"})]
    assert case.saved["/w/saved"] == survey if state == "told" else "not answered" in str(case.saved["/w/saved"]["why"])


def test_many_nodes_are_asked_at_the_same_time() -> None:
    together = threading.Barrier(32, timeout=10.0)

    def meet(name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        together.wait()  # breaks, and fails the node, unless all 32 are there at once
        return told(name, op, args)

    case = collect(FakeLinks(meet), 32)
    assert [node.name for node in case.nodes] == [f"n{number}" for number in range(32)] and all(node.reached for node in case.nodes)


def test_a_dead_and_a_hanging_node_are_told_and_cost_nobody_else_anything() -> None:
    links = FakeLinks(told)
    links.dead, links.hanging = {"n1"}, {("n2", "check_facts")}
    done: list[str] = []
    all_others = threading.Event()

    def tell(name: str, text: str) -> None:
        done.append(name)
        if len([name for name in done if name not in ("n1", "n2")]) == 6:
            all_others.set()

    result: list[Case] = []
    thread = threading.Thread(target=lambda: result.append(collect(links, 8, tell=tell, timeout_s=60.0)))
    thread.start()
    try:
        assert all_others.wait(10.0)  # while the two are still being waited for
        assert thread.is_alive() and "n1" not in done and "n2" not in done
    finally:
        links.released.set()
        thread.join(10.0)
    (case,) = result
    assert [node.name for node in case.nodes if not node.reached] == ["n1", "n2"]
    assert case.nodes[1].why == "no answer from n1 port 22" and case.nodes[1].fix == "Is the machine up?"
    assert "check_facts was not answered" in case.nodes[2].why and case.nodes[3].parts["host"]["ip_forward"] == 1


def test_time_limits_hold_for_connecting_and_asking_together() -> None:
    links = FakeLinks(told)
    links.dead, links.hanging = {"n0"}, {("n1", "check_facts")}
    started = time.monotonic()
    case = collect(links, 2, timeout_s=0.4)
    assert not any(node.reached for node in case.nodes)
    assert time.monotonic() - started < 5.0  # a bound against waiting without end, not a measurement


class Storage:
    """Nodes whose checkpoint directory is shared, or each one's own."""

    def __init__(self, shared: bool, refuses: str = "") -> None:
        self.shared, self.refuses, self.files = shared, refuses, dict[tuple[str, str], str]()

    def handle(self, name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if op == "check_facts":
            return {"parts": {**parts(), "path:/w/ckpt": path("/w/ckpt")}, "absent": {}}
        if op == "nonce":
            if self.refuses:
                raise RequestError("the proof file cannot be written", got=self.refuses)
            place = ("all" if self.shared else name, f"{args['dir']}/{args['name']}")
            if args["text"]:
                self.files[place] = args["text"]
            else:
                del self.files[place]
            return {"path": place[1]}
        assert op == "read"
        found = self.files.get(("all" if self.shared else name, args["path"]))
        if found is None:
            raise RequestError("the file cannot be read", where=name, got="No such file or directory")
        return {"text": found, "offset": 0, "next_offset": len(found), "size": len(found)}


@pytest.mark.parametrize(("shared", "state"), [(True, "seen"), (False, "not there")])
def test_the_nonce_proves_whether_storage_is_shared_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch, shared: bool, state: str) -> None:
    monkeypatch.setattr("console.remote.check.SETTLE_S", 0.1)
    storage = Storage(shared)
    (proof,) = collect(FakeLinks(storage.handle), 3, level="standard", job=process_job()).proofs
    assert (proof.dir, proof.writer, proof.written) == ("/w/ckpt", "n0", True)
    assert proof.readers == {"n1": state, "n2": state} and storage.files == {}


def test_a_directory_that_cannot_be_written_proves_nothing() -> None:
    (proof,) = collect(FakeLinks(Storage(True, "Read-only file system").handle), 2, level="standard", job=process_job()).proofs
    assert not proof.written and "Read-only" in proof.why


def test_a_nonce_is_removed_also_when_a_reader_hangs() -> None:
    storage = Storage(True)
    links = FakeLinks(storage.handle)
    links.hanging = {("n1", "read")}
    links.released.set()
    (proof,) = collect(links, 3, level="standard", job=process_job()).proofs
    assert proof.readers["n2"] == "seen" and "not answered" in proof.readers["n1"] and storage.files == {}


def test_only_a_deep_check_pings_and_writes() -> None:
    def handle(name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if op == "npu_ping":
            if name == "n1":
                raise RequestError("npu_ping was not answered", where=name)
            return {"pings": [{"device": device, "address": address, "sent": 3, "received": 3, "why": ""} for device, address in args["pairs"]]}
        if op == "write_speed":
            return {"mb": args["mb"], "seconds": 1.0, "mb_s": float(args["mb"])}
        return Storage(True).handle(name, op, args) if op == "check_facts" else storage.handle(name, op, args)

    storage = Storage(True)
    links = FakeLinks(handle)
    case = collect(links, 2, level="deep", job=process_job())
    assert len(case.pings["n0"]) == 4 and {row["why"] for row in case.pings["n1"]} == {"timeout"}
    assert case.speeds["n0"]["mb_s"] == 256.0
    links.asked.clear()
    collect(links, 2, level="standard", job=process_job())
    assert not {op for _, op, _ in links.asked} & {"npu_ping", "write_speed"}


def test_a_remedy_goes_to_its_node_with_the_command_that_was_shown() -> None:
    links = FakeLinks(lambda name, op, args: {"output": "done"})
    mend(links, Finding(node="n1", what="x", remedy=Remedy(name="mkdir", subject="/w")), 5.0)
    assert links.asked == [("n1", "remedy", {"name": "mkdir", "subject": "/w", "argv": ["mkdir", "-p", "--", "/w"]})]
