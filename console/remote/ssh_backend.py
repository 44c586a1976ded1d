"""The launch engine over SSH: two-phase, on the sessions that the supervisor keeps.

Owns the order of a launch: preflight everywhere (with the checks of ``gate``), lock node by node, prepare everywhere, containers everywhere
where the job has them, commit everywhere; a phase begins when the one before has ended on all nodes.
Until the first commit nothing runs; when all have begun that is said on all of them, and where it is not heard in
time the node ends what it began. A launch that is ``held`` is confirmed later, by whoever watches it come up
(``console.remote.hold``). Whatever fails, every node that was touched is told to undo it, and a
node that cannot be told any more undoes it by itself when the commit does not come (``plan.ttl_s``). From
the commit on the agents' records are the truth; this engine reports the phases it carries out itself
(preflight, prepare, container, start); rendezvous, loading and training are read from the records
(``console.core.launch.phases``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from console.core.clock import Clock
from console.core.errors import ConsoleError, LaunchError, RequestError
from console.core.events import FleetEvent, LaunchPhase, LaunchProgress, PhaseState
from console.core.i18n import phrase, worded
from console.core.launch import plan as plans
from console.core.launch.inventory import Inventory, Node
from console.core.launch.plan import LaunchPlan, NodePlan, Shipment
from console.remote.backend import Submission
from console.remote.code import folder_of, parcel_of
from console.remote.everywhere import each
from console.remote.gate import Gate, NotFitError, gate_of, place
from console.remote.session import Session
from console.remote.stage import Telling, give_name, stage
from console.remote.step_run import Say, see_through
from console.remote.transport import Connection
from trainer.spec.job import JobSpec
from trainer.spec.saving_rules import time_limit_s

LIVE_STATES = ("prepared", "committed", "running", "stopping")
REQUEST_S = 20.0
CONNECT_S = 20.0
CONTAINER_S = 3600.0
"""For a container and its setup steps (pip install over a slow mirror); the node gives up by itself then."""
UNDO_S = 30.0
UNDO_GRACE_S = 10.0
"""SIGTERM to SIGKILL for what an undone launch has started: it has nothing to save yet."""


class Nodes(Protocol):
    """What the engine needs of the supervisor."""

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session. Raises ConnectError."""

    def connection(self, node: str, timeout_s: float = 15.0) -> Connection:
        """The connection under it. Raises ConnectError."""

    def node(self, name: str) -> Node:
        """The node of this name as the fleet file has it. Raises KeyError."""

    def tap(self, nodes: Iterable[str], emit: Callable[[FleetEvent], None]) -> None:
        """Show these nodes' events to somebody else as well."""


class SshBackend:
    """See ``backend.LaunchBackend``."""

    def __init__(self, nodes: Nodes, clock: Clock, *, armed: Callable[[], bool] = lambda: True) -> None:
        """``armed``: asked once at the beginning of ``submit`` and ``cancel``; an undo is never refused."""
        self._nodes, self._clock, self._armed = nodes, clock, armed

    def plan(self, spec: JobSpec, inventory: Inventory, attempt: str) -> LaunchPlan:
        """What ``submit`` would do; no connection is made."""
        return plans.make_plan(spec, inventory, attempt)

    def submit(self, plan: LaunchPlan, emit: Callable[[FleetEvent], None], gate: Gate | None = None, say: Say = lambda node, line: None, *,
               held: bool = False) -> Submission:
        """Start the plan on all nodes or on none. Raises LaunchError (what was done has been undone).

        ``held``: the nodes end it again after ``plan.ttl_s`` s of silence, until they are told that it trains everywhere;
        the caller sees to both (``console.remote.coming_up``).

        ``gate``: the checks before anything starts; None: those that the job file asks for. The steps that the plan
        has before it are carried out first, and ``say`` hears what they print: (node, line).
        """
        if not plan.ok or not plan.nodes:
            raise LaunchError(f"job {plan.job} has problems and is not started", node="", phase="preflight",
                              got=f"{len(plan.problems)} problems", fix="See `rankdeck plan`.")
        self._must_be_armed("launch")
        for step in plan.before:
            self.carry_out(step, emit, say)
        launch = _Launch(plan, self._nodes, self._clock, emit, gate or gate_of(plan), held)
        launch.carry_out()
        return Submission(job=plan.job, attempt=plan.attempt, epoch=launch.epoch, nodes=tuple(node.node for node in plan.nodes))

    def carry_out(self, step: LaunchPlan, emit: Callable[[FleetEvent], None], say: Say) -> None:
        """A step, to its end; an interrupt ends it. Raises LaunchError when it did not come up or did not end well."""
        started = self.submit(step, emit, Gate(level="none", job=None))
        try:
            see_through(step, self._nodes, self._clock, say)
        except KeyboardInterrupt:
            self.cancel(started, UNDO_GRACE_S, "the launch was interrupted")
            raise

    def observe(self, submission: Submission, emit: Callable[[FleetEvent], None]) -> None:
        """Begin to send what happens on the submission's nodes; returns at once."""
        self._nodes.tap(submission.nodes, emit)

    def cancel(self, submission: Submission, grace_s: float, why: str, keep_container: bool | None = None) -> None:
        """SIGTERM, ``grace_s`` seconds, SIGKILL on all its nodes. Raises RequestError naming the nodes that failed.

        ``keep_container``: other than the job file has it; None: as there.
        """
        self._must_be_armed("stop")

        def stop(node: str) -> None:
            args = {"attempt": submission.attempt, "grace_s": grace_s, "why": why}
            if keep_container is not None:
                args["keep_container"] = keep_container
            self._nodes.session(node, CONNECT_S).request("stop", args, REQUEST_S)

        failed = each({node: node for node in submission.nodes}, stop)
        if failed:
            raise RequestError(f"job {submission.job} was not stopped everywhere", where=", ".join(sorted(failed)),
                               got="; ".join(str(error) for error in failed.values()), fix="Reconnect these nodes and stop it again.")

    def _must_be_armed(self, what: str) -> None:
        if not self._armed():
            raise RequestError(f"cannot {what}: the console is read-only", fix="Arm it first (:arm).")


class _Launch:
    """One launch under way."""

    def __init__(self, plan: LaunchPlan, nodes: Nodes, clock: Clock, emit: Callable[[FleetEvent], None], gate: Gate, held: bool) -> None:
        self._plan, self._nodes, self._clock, self._emit, self._gate, self._held = plan, nodes, clock, emit, gate, held
        self.epoch = int(clock.wall_s() * 1000)
        self._touched: set[str] = set()
        self._committed: set[str] = set()
        self._left: dict[str, str] = {}
        self._reached: dict[str, LaunchPhase] = {}
        self._began_s: dict[tuple[str, LaunchPhase], float] = {}

    def carry_out(self) -> None:
        contained = any(_script(node, "container") for node in self._plan.nodes)
        phases: list[LaunchPhase] = ["preflight", "prepare", *(["container"] if contained else []), "start"]  # type: ignore[list-item]
        for node in self._plan.nodes:
            for phase in phases:
                self._tell(node.node, phase, "waiting")
        try:
            self._phase("preflight", self._preflight, self._check)
            # Before the locks, which are short: until the code has its name it is in nobody's way.
            if self._plan.code is not None:
                self._ship(self._plan.code)
            self._lock()
            self._phase("prepare", self._prepare)
            if contained:
                self._phase("container", self._container)
            self._phase("start", self._commit, self._settle)
        except LaunchError:
            raise
        except BaseException:
            # An interrupt, or a fault of ours: the nodes must not be left half started either.
            self._undo_all()
            raise

    def _phase(self, phase: LaunchPhase, do: Callable[[NodePlan], None], together: Callable[[], None] | None = None) -> None:
        """One phase on all nodes at once, then what concerns them together; raises LaunchError, everything undone, when it fails on any."""
        def one(node: NodePlan) -> None:
            self._tell(node.node, phase, "running")
            do(node)
            if together is None:
                self._tell(node.node, phase, "done")

        nodes = {node.node: node for node in self._plan.nodes}
        failed = each(nodes, one)
        if failed:
            # The first in the plan's order; the others' reasons are in the matrix.
            self._give_up(phase, failed)
        if together is not None:
            together()
            for name in nodes:
                self._tell(name, phase, "done")

    def _preflight(self, node: NodePlan) -> None:
        session = self._nodes.session(node.node, CONNECT_S)
        facts = session.request("facts", {"dir": node.dir}, REQUEST_S)
        if facts.get("dir_trouble"):
            raise RequestError("the node cannot run the job", where=f"{node.node}:{node.dir}", got=str(facts["dir_trouble"]),
                               expected="bash, and a work directory that can be written", fix="Change `paths.work`, or its owner and mode.")
        for known in session.request("jobs", {}, REQUEST_S).get("attempts") or ():
            if known.get("job") == self._plan.job and known.get("state") in LIVE_STATES:
                raise RequestError(f"job {self._plan.job} is already there", where=f"{node.node}:{known.get('dir')}",
                                   got=f"attempt {known.get('attempt')}, {known.get('state')}" + (f", by {known['operator']}" if known.get("operator") else ""), expected="no live attempt",
                                   fix=f"Stop it first: rankdeck stop {self._plan.job}")

    def _check(self) -> None:
        """The gate's checks of all nodes. Raises LaunchError; then nothing has been changed on any node."""
        gate = self._gate
        names = [node.node for node in self._plan.nodes]
        if gate.open:
            if gate.why:
                failed = each({name: name for name in names}, lambda name: self._note(name, gate.why))
                if failed:
                    self._give_up("preflight", failed)
            return
        try:
            gate.carry_out(self._nodes, [self._nodes.node(name) for name in names], self._clock)
        except NotFitError as error:
            for name in names:
                mine = [finding for finding in error.errors if finding.node in (name, "")]
                why = (phrase("another node is not fit") if not mine else phrase("{where}: {what}", where=place(mine[0]), what=worded(mine[0].what)) if len(mine) == 1 else
                       phrase("{place}: {what}, and {n} more", place=place(mine[0]), what=worded(mine[0].what), n=len(mine) - 1))
                self._tell(name, "preflight", "failed", why)
            raise

    def _note(self, name: str, why: str) -> None:
        text = f"attempt {self._plan.attempt} of job {self._plan.job} is launched without checks ({why})"
        self._nodes.session(name, CONNECT_S).request("note", {"what": "launch", "text": text}, REQUEST_S)

    def _lock(self) -> None:
        # One after the other and in an order that all consoles share, so that of two launches that want the
        # same nodes one gets all of them. A refusal comes at once; nobody waits while holding a lock.
        for node in sorted(self._plan.nodes, key=lambda node: node.node):
            self._tell(node.node, "prepare", "running")
            self._touched.add(node.node)
            try:
                self._ask(node, "lock", {"job": self._plan.job, "devices": list(node.devices), "ttl_s": self._plan.ttl_s})
            except ConsoleError as error:
                self._give_up("prepare", {node.node: error})

    def _ship(self, code: Shipment) -> None:
        """The code to all nodes, without its name yet."""
        tell = Telling(lambda node, text: self._tell(node, "prepare", "running", text))
        names = [node.node for node in self._plan.nodes]
        for name in names:
            self._tell(name, "prepare", "running", f"code: {code.source}")
        _, failed = stage([self._nodes.node(name) for name in names], [parcel_of(code)], folder_of(code), self._reach, progress=tell.progress,
                          relay=code.relay, named=False)
        if failed:
            self._give_up("prepare", failed)

    def _reach(self, name: str) -> Connection:
        return self._nodes.connection(name, CONNECT_S)

    def _prepare(self, node: NodePlan) -> None:
        if self._plan.code is not None:
            give_name(self._nodes.node(node.node), parcel_of(self._plan.code), folder_of(self._plan.code), self._reach)
        job = _job(node)
        limits = {"time_limit_s": time_limit_s(str(_in(job, "run", "time_limit") or "")), "stop_grace_s": _in(job, "recovery", "stop_grace_s")}
        self._ask(node, "prepare", {"job": self._plan.job, "node": node.node, "node_index": node.node_index, "dir": node.dir,
                                    "files": dict(node.files), "script": _script(node, "start"), "ttl_s": self._plan.ttl_s,
                                    **{name: value for name, value in limits.items() if value}})

    def _container(self, node: NodePlan) -> None:
        script = _script(node, "container")
        if not script:
            return
        undo = "".join(command.script for command in node.undo if command.phase == "container")
        args = {"attempt": self._plan.attempt, "epoch": self.epoch, "script": script, "undo": undo,
                "keep": _in(_job(node), "container", "keep") is True, "limit_s": CONTAINER_S}
        self._surely(node, "container", args, CONTAINER_S + REQUEST_S, self._clock.mono_s() + CONTAINER_S)

    def _commit(self, node: NodePlan) -> None:
        self._committed.add(node.node)
        self._surely(node, "commit", {"attempt": self._plan.attempt, "epoch": self.epoch, "settle_s": self._plan.ttl_s}, REQUEST_S,
                     self._clock.mono_s() + self._plan.ttl_s)

    def _settle(self) -> None:
        """Say on every node that it has begun on all: what is not told so ends by itself, should we be lost before this.
        A launch that is held is only given its time anew."""
        args = {"attempt": self._plan.attempt, "epoch": self.epoch, **({"hold_s": self._plan.ttl_s} if self._held else {"settled": True})}
        deadline_s = self._clock.mono_s() + self._plan.ttl_s
        failed = each({node.node: node for node in self._plan.nodes}, lambda node: self._surely(node, "commit", args, REQUEST_S, deadline_s))
        if failed:
            self._give_up("start", failed)

    def _surely(self, node: NodePlan, op: str, args: Mapping[str, Any], timeout_s: float, deadline_s: float) -> None:
        """Ask for something that may be said twice, again when the link broke before the answer came."""
        while True:
            session = self._nodes.session(node.node, CONNECT_S)
            try:
                session.request(op, args, timeout_s)
                return
            except RequestError:
                if session.alive or self._clock.mono_s() >= deadline_s:
                    raise
            time.sleep(0.05)

    def _ask(self, node: NodePlan, op: str, args: Mapping[str, Any]) -> None:
        self._nodes.session(node.node, CONNECT_S).request(op, {"attempt": self._plan.attempt, "epoch": self.epoch, **args}, REQUEST_S)

    def _give_up(self, phase: LaunchPhase, failed: Mapping[str, ConsoleError]) -> None:
        for node, error in failed.items():
            self._tell(node, phase, "failed", str(error))
        left = self._undo_all()
        for node in sorted((self._touched | set(self._reached)) - set(failed)):
            self._tell(node, self._reached[node], "undone", "" if node in self._touched else "another node is not fit")
        first, error = next(iter(failed.items()))
        fix = error.fix
        if left:
            may_run = sorted(set(left) & self._committed)
            fix += f" Not undone on {', '.join(sorted(left))}: " + (
                f"it may run on {', '.join(may_run)}; stop it there." if may_run else "the nodes undo it themselves when no start comes.")
        for node, why in sorted(self._left.items()):
            fix += f" Its container may be left on {node} ({why}); the node tries again by itself."
        raise LaunchError(f"{phase} failed on {first}: {error.args[0]}", node=first, phase=phase, where=error.where,
                          got=error.got, expected=error.expected, fix=fix.strip())

    def _undo_all(self) -> dict[str, ConsoleError]:
        """Undo it on every node that was touched; where that could not be done."""
        return each({node: node for node in sorted(self._touched)}, self._undo)

    def _undo(self, node: str) -> None:
        session = self._nodes.session(node, UNDO_S)
        why = "the launch did not come up"
        if node in self._committed:
            try:
                session.request("stop", {"attempt": self._plan.attempt, "grace_s": UNDO_GRACE_S, "why": why}, UNDO_S)
                return
            except RequestError:
                if not session.alive:
                    raise
                # Perhaps there is nothing to stop; then this works, and otherwise it says why not.
        left = session.request("abort", {"attempt": self._plan.attempt, "why": why}, UNDO_S).get("left")
        if left:
            self._left[node] = str(left).strip()

    def _tell(self, node: str, phase: LaunchPhase, state: PhaseState, why: str = "") -> None:
        if state != "waiting":
            self._reached[node] = phase
        now_s = self._clock.mono_s()
        began_s = self._began_s.setdefault((node, phase), now_s) if state != "waiting" else now_s
        self._emit(LaunchProgress(job=self._plan.job, attempt=self._plan.attempt, node=node, phase=phase, state=state,
                                  at=self._clock.wall_s(), why=why, took_s=now_s - began_s if state in ("done", "failed") else None))


def _script(node: NodePlan, phase: LaunchPhase) -> str:
    return "".join(command.script for command in node.commands if command.phase == phase)


def _job(node: NodePlan) -> Mapping[str, Any]:
    """The resolved job as the node will have it."""
    try:
        job = json.loads(node.files.get("job.json") or "{}")
    except ValueError:
        return {}
    return job if isinstance(job, Mapping) else {}


def _in(job: Mapping[str, Any], block: str, key: str) -> Any:
    found = job.get(block)
    return found.get(key) if isinstance(found, Mapping) else None
