"""Collecting what preflight judges: every node at once, each with its own time limit.

Owns the order (facts, then the shared-storage proof, then what only a deep check does) and the patience. A
node that is dead or hangs is given up for itself after its time and is reported as such; what the others
have said is not lost by it. Refuses to judge (``core.preflight``) and to mend.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from console.core.clock import Clock
from console.core.errors import ConsoleError
from console.core.i18n import Phrase, phrase, worded
from console.core.launch.inventory import Node
from console.core.preflight import asking, saved_checks
from console.core.preflight.facts import Case, Level, NodeFacts, Proof
from console.core.preflight.finding import Finding
from console.remote.session import Session
from trainer.spec.job import JobSpec

AT_ONCE = 256
CONNECT_S = 15.0
"""For a session; an agent that has to be installed first is there within a few seconds."""
PROOF_S = 10.0
SETTLE_S = 3.0
"""How long a file written elsewhere may take to show: caches of network file systems."""
SAVED_S = 30.0
"""For a listing of a large checkpoint tree on a network file system."""
PING_S, SPEED_S = 60.0, 45.0
SPEED_MB = 256

T = TypeVar("T")


class Nodes(Protocol):
    """What is needed of the supervisor."""

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session. Raises ConnectError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One run of preflight's questions. ``carry_out`` once."""

    links: Nodes
    nodes: Sequence[Node]
    clock: Clock
    level: Level = "standard"
    job: JobSpec | None = None
    timeout_s: float = 30.0
    """For one node's facts, connecting included."""
    tell: Callable[[str, str], None] = lambda node, text: None
    """Progress: (node, what)."""
    writes: bool = True
    """Whether the proof file may be written and the disk's speed measured: what leaves a trace for a moment."""

    def carry_out(self) -> Case:
        """Ask, prove and measure; clock offsets are the caller's to add. Never raises for what a node does."""
        facts = self._each([node.name for node in self.nodes], self._facts)
        case = Case(nodes=tuple(facts[node.name] for node in self.nodes), level=self.level, job=self.job)
        if self.level != "quick" and self.job is not None:
            case = replace(case, saved=self._saved(case, self.job))
        if self.level != "quick" and self.writes:
            case = replace(case, proofs=self._prove(case))
        if self.level == "deep":
            case = replace(case, pings=self._ping(case), speeds=self._speeds(case) if self.writes else {})
        return case

    def _facts(self, name: str) -> NodeFacts:
        node = next(each for each in self.nodes if each.name == name)
        started_s = self.clock.mono_s()
        try:
            session = self.links.session(name, min(CONNECT_S, self.timeout_s))
            left_s = max(1.0, self.timeout_s - (self.clock.mono_s() - started_s))
            told = session.request("check_facts", {"ask": asking.ask_for(self.job, self.level, left_s)}, left_s)
        except ConsoleError as error:
            took_s = self.clock.mono_s() - started_s
            self.tell(name, phrase("no answer ({s:.1f} s)", s=took_s))
            return NodeFacts(node=node, reached=False, why=said(error), fix=error.fix, took_s=round(took_s, 2))
        took_s = self.clock.mono_s() - started_s
        self.tell(name, phrase("answered ({s:.1f} s)", s=took_s))
        return NodeFacts(node=node, parts=told.get("parts") or {}, absent=told.get("absent") or {}, took_s=round(took_s, 2))

    def _saved(self, case: Case, job: JobSpec) -> dict[str, Mapping[str, Any]]:
        """What is saved where the job would go on from, as the first node that answered has it."""
        node = next(case.reached, None)

        def look(path: str) -> Mapping[str, Any]:
            assert node is not None
            try:
                return self._ask(node.name, "checkpoints", {"dir": path}, SAVED_S)
            except ConsoleError as error:
                return {"why": said(error)}

        return self._each(saved_checks.saved_places(job).values(), look) if node is not None else {}

    def _prove(self, case: Case) -> tuple[Proof, ...]:
        """Write a nonce on one node, and look for it on the others."""
        places = asking.proof_places(case)
        if len(places) < 2:
            return ()
        writer, folder = next(iter(places.items()))
        name, text = f".rankdeck-nonce-{secrets.token_hex(8)}", secrets.token_hex(32)
        try:
            self._ask(writer, "nonce", {"dir": folder, "name": name, "text": text}, PROOF_S)
        except ConsoleError as error:
            return (Proof(dir=folder, writer=writer, written=False, why=said(error)),)
        try:
            readers = self._each([node for node in places if node != writer], lambda node: self._seen(node, f"{places[node]}/{name}", text))
        finally:
            try:
                self._ask(writer, "nonce", {"dir": folder, "name": name, "text": ""}, PROOF_S)
            except ConsoleError as error:
                self.tell(writer, phrase("the proof file {path} is left there: {error}", path=f"{folder}/{name}", error=str(error)))
        return (Proof(dir=folder, writer=writer, written=True, readers=readers),)

    def _seen(self, node: str, path: str, text: str) -> str:
        until_s = self.clock.mono_s() + SETTLE_S
        while True:
            try:
                found = self._ask(node, "read", {"path": path, "offset": 0, "length": 4096}, PROOF_S)
            except ConsoleError as error:
                state = "not there" if "No such file" in error.got or "no such file" in str(error).lower() else said(error)
            else:
                state = "seen" if found.get("text") == text else "not there"
            if state != "not there" or self.clock.mono_s() >= until_s:
                return state
            time.sleep(0.3)

    def _ping(self, case: Case) -> dict[str, tuple[Mapping[str, Any], ...]]:
        wanted = asking.ping_pairs(case)

        def ping(node: str) -> tuple[Mapping[str, Any], ...]:
            self.tell(node, phrase("pings {n} devices", n=len(wanted[node])))
            try:
                return tuple(self._ask(node, "npu_ping", {"pairs": wanted[node], "limit_s": PING_S}, PING_S + 15.0).get("pings") or ())
            except ConsoleError:
                return tuple({"device": device, "address": address, "sent": None, "received": None, "why": "timeout"} for device, address in wanted[node])

        return self._each(list(wanted), ping)

    def _speeds(self, case: Case) -> dict[str, Mapping[str, Any]]:
        places = asking.proof_places(case)

        def measure(node: str) -> Mapping[str, Any]:
            self.tell(node, phrase("writes {n} MB", n=SPEED_MB))
            try:
                return self._ask(node, "write_speed", {"dir": places[node], "name": f".rankdeck-nonce-{secrets.token_hex(8)}", "mb": SPEED_MB}, SPEED_S)
            except ConsoleError as error:
                return {"why": said(error)}

        return self._each(list(places), measure)

    def _ask(self, node: str, op: str, args: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        return self.links.session(node, 1.0).request(op, args, timeout_s)

    def _each(self, names: Iterable[str], do: Callable[[str], T]) -> dict[str, T]:
        """Do it for all nodes at once."""
        wanted = list(names)
        with ThreadPoolExecutor(max_workers=max(1, min(AT_ONCE, len(wanted))), thread_name_prefix="check") as pool:
            running: dict[str, Future[T]] = {name: pool.submit(do, name) for name in wanted}
        return {name: done.result() for name, done in running.items()}


def mend(links: Nodes, finding: Finding, timeout_s: float) -> dict[str, Any]:
    """Carry out a finding's remedy on its node; what the agent says. Raises ConsoleError."""
    assert finding.remedy is not None
    args = {"name": finding.remedy.name, "subject": finding.remedy.subject, "argv": list(finding.remedy.argv)}
    return links.session(finding.node, CONNECT_S).request("remedy", args, timeout_s)


def said(error: ConsoleError) -> Phrase:
    """What failed and what was got, without the place and the advice."""
    what = worded(error.what)
    got = phrase(error.got) if " " in error.got else error.got  # words, or a value
    return phrase("{what} ({got})", what=what, got=got) if error.got else what
