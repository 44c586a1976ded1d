"""What the screen asks of the desk: check the nodes, mend them, plan and launch a job, answer a login.

Each errand runs in a thread of its own and tells what came of it as ``core.events.News``; none waits for the
screen. What is done here is what ``rankdeck check``, ``plan`` and ``launch`` do, by the same functions. Refuses
to judge (``core``), and to keep or log an answer to a login. Whether a write is allowed is the screen's business;
what is written is what the operator confirmed, or nothing.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from console import files
from console.core.clock import Clock
from console.core.errors import ConsoleError, FileError
from console.core.events import (
    Answer,
    CheckEnded,
    CheckTold,
    FleetEvent,
    JobLaunched,
    JobPlanned,
    LaunchProgress,
    LoginAsked,
    News,
)
from console.core.i18n import phrase
from console.core.intents import (
    AnswerLogin,
    CheckNodes,
    Errand,
    LaunchJob,
    Mend,
    Mending,
    PlanJob,
    ProveNodes,
    SayRemark,
    TellArmed,
)
from console.core.launch.inventory import Inventory, Node
from console.store import Store

if TYPE_CHECKING:
    from console.core.launch.compose import ComposedJob
    from console.core.launch.plan import LaunchPlan
    from console.core.preflight.facts import Case
    from console.core.preflight.table import Report
    from console.remote.backend import Submission
    from console.remote.coming_up import ComingUp
    from console.remote.prompts import Question
    from console.remote.ssh_backend import SshBackend
    from console.remote.supervisor import Supervisor
    from trainer.spec.job import JobSpec

TIMEOUT_S = {"quick": 20.0, "standard": 30.0, "deep": 30.0}
JOB_TIMEOUT_S = 90.0
"""With a job its interpreter is started, and that may be slow."""
MEND_AT_ONCE = 32
MEND_S = {"image-pull": 3700.0}
COMING_UP_S = 7200.0
"""How long a launch is watched on its way to its first iteration: weights may come from a slow disk."""
LOOK_S = 0.3
LEAVE_S = 8.0
"""For telling the nodes of a launch that comes up that it is theirs from now on."""
OVER = ("exited", "stopped", "aborted", "expired")
"""agent.wire.JOB_STATES that nothing follows."""
ANSWER_S = 120.0
"""How long a login's question stays open: servers give up after LoginGraceTime, 120 s."""


SAY_AT_ONCE = 32


def send(place: Place, op: str, args: Mapping[str, Any]) -> dict[str, str]:
    """One request to every node of the fleet that is connected now; node -> why it did not take it."""
    def one(name: str) -> str:
        try:
            place.supervisor.session(name, 0.0).request(op, dict(args), 15.0)
        except ConsoleError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(max_workers=SAY_AT_ONCE) as pool:
        said = zip([node.name for node in place.inventory.nodes], pool.map(one, [node.name for node in place.inventory.nodes]), strict=True)
    return {name: why for name, why in said if why}


class Place(Protocol):
    """What is needed of the desk."""

    inventory: Inventory
    store: Store

    @property
    def clock(self) -> Clock:
        """The console's clock."""

    @property
    def supervisor(self) -> Supervisor:
        """The links."""

    @property
    def backend(self) -> SshBackend:
        """The launch engine."""


class Errands:
    """See the module. ``tell`` takes the news, from any thread."""

    def __init__(self, place: Place, tell: Callable[[News | Answer], None]) -> None:
        self._place, self._tell = place, tell
        self._checking = threading.Lock()
        self._launching = threading.Lock()
        self._read: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Open] = {}
        self._guard = threading.Lock()
        self._closed = False
        self._watching: list[threading.Thread] = []

    def run(self, errand: Errand) -> None:
        """Carry it out in the background; returns at once."""
        if isinstance(errand, AnswerLogin):
            self._answer(errand)
            return
        if isinstance(errand, (SayRemark, TellArmed)):
            threading.Thread(target=self._tell_all, args=(errand,), name=type(errand).__name__, daemon=True).start()
            return
        do: Callable[[Any], None] = (self._check if isinstance(errand, CheckNodes) else self._mend if isinstance(errand, Mend)
                                     else self._plan if isinstance(errand, PlanJob) else self._launch)
        threading.Thread(target=do, args=(errand,), name=type(errand).__name__, daemon=True).start()

    def close(self) -> None:
        """Give up all open questions; launches that come up are left to their nodes."""
        with self._guard:
            self._closed = True
            for question in self._questions.values():
                question.done.set()
            watching = tuple(self._watching)
        until_s = time.monotonic() + LEAVE_S
        for thread in watching:
            thread.join(max(0.0, until_s - time.monotonic()))

    # --- checks ------------------------------------------------------------------------------------------

    def _check(self, errand: CheckNodes) -> None:
        if not self._checking.acquire(blocking=False):
            return  # the one that is under way will answer
        try:
            try:
                report = self._report(errand)
            except ConsoleError as error:
                self._tell(CheckEnded(at=self._now(), error=str(error)))
            else:
                self._tell(CheckEnded(at=self._now(), report=report))
        finally:
            self._checking.release()

    def _report(self, errand: CheckNodes) -> Report:
        from console.core.preflight.table import judge, level_of

        place = self._place
        job = files.read_job(errand.job).spec if errand.job else None
        nodes = nodes_of(place.inventory, job)
        level = level_of(errand.level or (job.preflight.level if job and job.preflight.level != "none" else "standard"))
        self._tell(CheckTold(at=self._now(), nodes=tuple(node.name for node in nodes), level=level, job=job.run.name if job else ""))
        found = case(place, nodes, job, level, time_limit_s(job, level), writes=isinstance(errand, ProveNodes),
                     tell=lambda node, text: self._tell(CheckTold(at=self._now(), node=node, text=text)))
        return judge(found, waivers_of(job))

    def _mend(self, errand: Mend) -> None:
        with ThreadPoolExecutor(max_workers=min(MEND_AT_ONCE, max(1, len(errand.remedies)))) as pool:
            list(pool.map(self._mend_one, errand.remedies))
        self._check(errand.again)

    def _mend_one(self, mending: Mending) -> None:
        from console.core.preflight.finding import Finding, Remedy
        from console.remote.check import mend

        finding, problem = Finding(what="", node=mending.node, id=mending.check, remedy=Remedy(name=mending.remedy, subject=mending.subject)), ""
        try:
            if finding.remedy is None or finding.remedy.argv != mending.argv:
                raise ConsoleError("the command is not the one that was confirmed", where=mending.node, fix="Check again.")
            mend(self._place.supervisor, finding, MEND_S.get(mending.remedy, 30.0))
        except ConsoleError as error:
            problem = str(error)
        self._tell(Answer(node=mending.node, at=self._now(), op=f"fix {mending.check}", ok=not problem, error=problem))

    # --- jobs --------------------------------------------------------------------------------------------

    def _plan(self, errand: PlanJob) -> None:
        try:
            text = files.read_text(errand.path)
            plan, _ = planned(errand.path, lambda job: self._place.inventory, new_attempt(self._now()))
        except ConsoleError as error:
            self._tell(JobPlanned(at=self._now(), path=errand.path, error=str(error)))
            return
        self._read[errand.path] = text
        self._tell(JobPlanned(at=self._now(), path=errand.path, lines=tuple(text.splitlines()), plan=plan))

    def _launch(self, errand: LaunchJob) -> None:
        plan, problem = errand.plan, ""
        if not self._launching.acquire(blocking=False):
            self._tell(JobLaunched(at=self._now(), job=plan.job, attempt=plan.attempt, error="a launch is under way; nothing was begun"))
            return
        try:
            if files.read_text(errand.path) != self._read.get(errand.path):
                raise FileError("the job file has changed since it was planned", where=errand.path, fix="Plan it again, and look at what would run")
            submission = self._place.backend.submit(plan, Held(self._place.store.ingest), held=True)
            self._place.backend.observe(submission, lambda event: None)
        except ConsoleError as error:
            problem = str(error)
        finally:
            self._launching.release()
        self._tell(JobLaunched(at=self._now(), job=plan.job, attempt=plan.attempt, error=problem))
        if not problem:
            self._see_it_up(plan, submission)

    def _see_it_up(self, plan: LaunchPlan, submission: Submission) -> None:
        """Watch until it trains on all its nodes; where one node's part ends badly, so do the others'."""
        from console.remote.coming_up import ComingUp

        with self._guard:
            self._watching.append(threading.current_thread())
        try:
            with ComingUp(plan, submission, self._place.supervisor, self._place.backend, self._place.clock) as coming:
                self._look_on(coming, plan, submission)
        except ConsoleError as error:
            self._tell(JobLaunched(at=self._now(), job=plan.job, attempt=plan.attempt, error=str(error)))
        finally:
            with self._guard:
                self._watching.remove(threading.current_thread())

    def _look_on(self, coming: ComingUp, plan: LaunchPlan, submission: Submission) -> None:
        from console.core.fleet.coming_up import ended_badly

        until_s = self._place.clock.mono_s() + COMING_UP_S
        while not self._closed and self._place.clock.mono_s() < until_s:
            # Folded by the screen; only read here.
            state = self._place.store.state
            if coming.look(state):
                return
            run = state.runs.get(plan.job)
            attempt = run.attempts.get(plan.attempt) if run is not None else None
            if attempt is not None and len(attempt.node_states) == len(plan.nodes) and all(how in OVER for how in attempt.node_states.values()) and not ended_badly(attempt, submission.nodes):
                return
            time.sleep(LOOK_S)

    # --- colleagues --------------------------------------------------------------------------------------

    def _tell_all(self, errand: SayRemark | TellArmed) -> None:
        if isinstance(errand, TellArmed):
            send(self._place, "armed", {"left_s": errand.left_s})
            return
        problems = send(self._place, "remark", {"id": secrets.token_hex(8), "what": errand.what, "subject": errand.subject, "text": errand.text, "until": errand.until})
        reached = len(self._place.inventory.nodes) - len(problems)
        self._tell(Answer(node=phrase("{n} of {all} nodes", n=reached, all=len(self._place.inventory.nodes)), at=self._now(), op=errand.what, ok=reached > 0,
                          error="" if reached else next(iter(problems.values()), "no node")))

    # --- logins ------------------------------------------------------------------------------------------

    def ask(self, question: Question) -> str | None:
        """Put a login's question to the person at the screen and wait for the answer; None when there is none.

        A later question of the same node takes the place of an earlier one: that login was given up.
        """
        mine = _Open(LoginAsked(at=self._now(), number=next(self._numbers), node=question.node, text=question.text, echo=question.echo))
        with self._guard:
            if self._closed:
                return None
            for other in self._questions.values():
                if other.asked.node == question.node:
                    other.done.set()
            self._questions[mine.asked.number] = mine
        self._tell(mine.asked)
        mine.done.wait(ANSWER_S)
        with self._guard:
            del self._questions[mine.asked.number]
            answer, mine.answer = mine.answer, None
        self._tell(replace(mine.asked, at=self._now(), open=False))
        return answer

    def _answer(self, errand: AnswerLogin) -> None:
        with self._guard:
            question = self._questions.get(errand.number)
            if question is not None and not question.done.is_set():
                question.answer = errand.answer
                question.done.set()

    def _now(self) -> float:
        return self._place.clock.wall_s()


class _Open:
    """A question that waits for its answer."""

    def __init__(self, asked: LoginAsked) -> None:
        self.asked, self.done = asked, threading.Event()
        self.answer: str | None = None


class Held:
    """Puts a launch's events into the history, but none until a node is touched: an attempt that was refused because
    the job is running must not stand there as the job's newest one."""

    def __init__(self, ingest: Callable[[list[FleetEvent]], object]) -> None:
        self._ingest = ingest
        self._held: list[FleetEvent] | None = []
        self._guard = threading.Lock()

    def __call__(self, event: FleetEvent) -> None:
        """Take one event."""
        with self._guard:
            if self._held is None:
                self._ingest([event])
                return
            self._held.append(event)
            if isinstance(event, LaunchProgress) and event.phase != "preflight" and event.state != "waiting":
                held, self._held = self._held, None
                self._ingest(held)


def nodes_of(inventory: Inventory, job: JobSpec | None) -> tuple[Node, ...]:
    """The job's nodes and spares in its order, else the whole fleet. Raises FileError."""
    if job is None:
        return inventory.nodes
    found = []
    for name in (*job.fleet.nodes, *job.fleet.spares):
        try:
            found.append(inventory.node(name))
        except KeyError:
            raise FileError(f"the job names node {name}, and the fleet has none of that name", where="fleet.nodes", got=name,
                            expected=", ".join(node.name for node in inventory.nodes)[:200], fix="Correct the job or the fleet file") from None
    return tuple(found)


def waivers_of(job: JobSpec | None) -> dict[str, str]:
    """The job file's waivers of checks: id -> reason. Raises FileError."""
    from console.core.preflight.table import CHECKS, checked_waivers

    if job is None:
        return {}
    # Its waivers are for the plan's rules as well; those are not ours to complain about.
    known = {each.id for each in CHECKS}
    return checked_waivers({waiver.id: waiver.reason for waiver in job.preflight.waive if waiver.id in known}, "preflight.waive")


def time_limit_s(job: JobSpec | None, level: str) -> float:
    """How long one node may take to tell its facts, s."""
    return JOB_TIMEOUT_S if job is not None and level != "quick" else TIMEOUT_S[level]


def case(place: Place, nodes: tuple[Node, ...], job: JobSpec | None, level: Any, timeout_s: float, *, tell: Callable[[str, str], None],
         writes: bool = True, before_offsets: Callable[[], object] = lambda: None) -> Case:
    """What the nodes say, with the offsets of their clocks. ``writes``: also with what leaves a trace for a moment.
    ``before_offsets`` is called when all nodes have answered: the place to fold in what arrived, for who may."""
    from console.remote.check import Check

    found = Check(links=place.supervisor, nodes=nodes, clock=place.clock, level=level, job=job, timeout_s=timeout_s, tell=tell, writes=writes).carry_out()
    before_offsets()
    met = {name: known.met for name, known in place.store.state.nodes.items() if known.met is not None}
    return replace(found, nodes=tuple(
        replace(node, clock_offset_s=met[node.name].clock_offset_s, clock_error_s=met[node.name].clock_error_s) if node.reached and node.name in met else node
        for node in found.nodes))


def planned(path: str, fleet: Callable[[ComposedJob], Inventory], attempt: str) -> tuple[LaunchPlan, Inventory | None]:
    """The plan of the job file on the fleet that ``fleet`` finds for it, and that fleet; for a job file that is no job, the plan that
    says so, and None. Raises FileError for files that cannot be read at all."""
    from console.core.launch.plan import make_plan, refused_plan
    from console.core.launch.problems import ProblemsError

    try:
        job = files.read_job(path)
    except ProblemsError as error:
        return refused_plan(error.problems), None
    inventory = fleet(job)
    made = make_plan(job.spec, inventory, attempt, job.locate)
    return (_with_code(made, job, inventory) if made.ok and job.spec.code.to else made), inventory


def _with_code(made: LaunchPlan, job: ComposedJob, inventory: Inventory) -> LaunchPlan:
    """The plan with its code packed; one that is refused where it cannot be."""
    from console.core.launch.problems import Problem
    from console.remote.code import pack

    try:
        return replace(made, code=replace(pack(job.spec.code, Path(job.identities[0]).parent), relay=inventory.relay))
    except FileError as error:
        found = Problem(rule="G1", severity="error", where=job.locate(("code", "repo" if job.spec.code.repo else "path")), message=error.what,
                        got=": ".join(part for part in (error.where, error.got) if part), expected=error.expected, fix=error.fix)
        return replace(made, problems=(found, *made.problems), nodes=(), before=())


def new_attempt(wall_s: float) -> str:
    """An attempt id of this moment (s since the epoch); ids sort by time."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(wall_s))}-{secrets.token_hex(2)}"
