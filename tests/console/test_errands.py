"""The desk's errands: what a check, a remedy, a plan and a launch asked for on the screen do, and what they tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from console.core.errors import RequestError
from console.core.events import (
    Answer,
    CheckEnded,
    CheckTold,
    FleetEvent,
    JobLaunched,
    JobPlanned,
    LaunchProgress,
    LoginAsked,
)
from console.core.intents import AnswerLogin, CheckNodes, LaunchJob, Mend, Mending, PlanJob, ProveNodes
from console.core.launch.inventory import Inventory, Node
from console.errands import Errands, Held
from console.remote.backend import Submission
from console.remote.prompts import Question
from console.store import Store
from tests.console.core.preflight.facts import parts, path
from tests.console.remote.fakes import RealClock, until
from tests.console.remote.test_check import FakeLinks
from tests.console.tui import scene
from tests.patience import PATIENCE_S

JOB = """\
run: {name: tiny}
paths: {work: /w}
fleet: {nodes: [n0, n1], npus_per_node: 2, hardware: ascend-a2-8}
container: {runtime: process}
runner: {trainer_dir: /w/rankdeck}
train: {iterations: 4}
checkpoint: {dir: /w/ckpt}
"""


class FakeBackend:
    """Tells what a launch tells; ``problem`` makes it fail before a node is touched."""

    def __init__(self) -> None:
        self.plans: list[Any] = []
        self.problem: RequestError | None = None
        self.cancelled: list[tuple[tuple[str, ...], str]] = []

    def submit(self, plan: Any, emit: Callable[[FleetEvent], None], *, held: bool) -> Submission:
        assert held  # until it trains everywhere
        self.plans.append(plan)
        emit(progress("preflight"))
        if self.problem is not None:
            raise self.problem
        emit(progress("prepare"))
        return Submission(job=plan.job, attempt=plan.attempt, epoch=1, nodes=("n0", "n1"))

    def observe(self, submission: Submission, emit: Callable[[FleetEvent], None]) -> None:
        pass

    def cancel(self, submission: Submission, grace_s: float, why: str, keep_container: bool | None = None) -> None:
        self.cancelled.append((submission.nodes, why))


def progress(phase: Any, state: Any = "running") -> LaunchProgress:
    return LaunchProgress(job="tiny", attempt="a", node="n0", phase=phase, state=state, at=1.0)


class Place:
    def __init__(self, folder: Path, links: FakeLinks) -> None:
        self.inventory = Inventory(name="lab", nodes=tuple(Node(name=f"n{at}", host=f"10.0.0.{at}", npus=2) for at in range(3)))
        self.store = Store(folder / "history.db", "lab")
        self.clock = RealClock()
        self.supervisor: Any = links
        self.backend: Any = FakeBackend()


class Desk:
    """Errands on a place, and the news they tell."""

    def __init__(self, folder: Path) -> None:
        self.links = FakeLinks(self.told)
        self.place = Place(folder, self.links)
        self.news: list[Any] = []
        self.errands = Errands(self.place, self.news.append)
        self.forwarding = 0
        self.said: list[tuple[str, bool]] = []

    def told(self, name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if op == "remedy":
            if name == "n2":
                raise RequestError("the remedy failed", where=name)
            self.forwarding = 1
            return {"output": ""}
        if op == "commit":
            self.said.append((name, "settled" in args))
            return {}
        if op in ("nonce", "read", "files", "left"):
            return {"text": "", "path": "", "files": [], "processes": [], "container": False, "holders": [], "complete": True}
        assert op == "check_facts", op
        found = parts(**{"path:/w/ckpt": path("/w/ckpt")})
        found["host"]["ip_forward"] = self.forwarding
        return {"parts": found, "absent": {}}

    def until(self, kind: type, count: int = 1) -> Any:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = [news for news in self.news if isinstance(news, kind)]
            if len(found) >= count:
                return found[count - 1]
            time.sleep(0.01)
        pytest.fail(f"no {kind.__name__} in time: {self.news}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.errands.close()
    made.place.store.close()


def job_file(folder: Path, text: str = JOB) -> str:
    (folder / "job.yaml").write_text(text)
    return str(folder / "job.yaml")


def test_a_check_tells_its_beginning_each_node_and_the_report(desk: Desk) -> None:
    desk.errands.run(CheckNodes(level="quick"))
    ended = desk.until(CheckEnded)
    first = desk.news[0]
    assert isinstance(first, CheckTold) and first.nodes == ("n0", "n1", "n2") and first.level == "quick"
    assert {news.node for news in desk.news if isinstance(news, CheckTold)} == {"", "n0", "n1", "n2"}
    assert {finding.id for finding in ended.report.findings if finding.node == "n0"} >= {"ip-forward"}


def test_a_check_of_a_job_is_of_its_nodes_and_only_writes_when_it_may(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(CheckNodes(job=job))
    ended = desk.until(CheckEnded)
    assert [node.name for node in ended.report.case.nodes] == ["n0", "n1"] and ended.report.case.job.run.name == "tiny"
    assert {op for _, op, _ in desk.links.asked} == {"check_facts"} and ended.report.case.proofs == ()
    desk.errands.run(ProveNodes(job=job))
    assert desk.until(CheckEnded, 2).report.case.proofs
    assert "nonce" in {op for _, op, _ in desk.links.asked}


def test_a_second_check_does_not_begin_beside_the_first(desk: Desk) -> None:
    gate = threading.Event()
    told = desk.told

    def slow(name: str, op: str, args: Mapping[str, Any]) -> dict[str, Any]:
        gate.wait(PATIENCE_S)
        return told(name, op, args)

    desk.links.handler = slow
    desk.errands.run(CheckNodes(level="quick"))
    desk.until(CheckTold)
    desk.errands.run(CheckNodes(level="quick"))
    gate.set()
    desk.until(CheckEnded)
    assert len([news for news in desk.news if isinstance(news, CheckTold) and not news.node]) == 1


@pytest.mark.parametrize(("errand", "words"), [(CheckNodes(job="nowhere.yaml"), "nowhere.yaml"), (CheckNodes(level="thorough"), "no such level")])
def test_what_keeps_a_check_from_beginning_is_told(desk: Desk, errand: CheckNodes, words: str) -> None:
    desk.errands.run(errand)
    ended = desk.until(CheckEnded)
    assert ended.report is None and words in ended.error


def mending(node: str, argv: tuple[str, ...] = ("sysctl", "-w", "net.ipv4.ip_forward=1")) -> Mending:
    return Mending(node=node, check="ip-forward", remedy="ip-forward", subject="", argv=argv)


def test_a_remedy_runs_as_confirmed_and_the_nodes_are_looked_at_again(desk: Desk) -> None:
    desk.errands.run(Mend(remedies=(mending("n0"), mending("n2")), again=CheckNodes(level="quick")))
    ended = desk.until(CheckEnded)
    assert {(name, tuple(args["argv"])) for name, op, args in desk.links.asked if op == "remedy"} == {(node, mending(node).argv) for node in ("n0", "n2")}
    answers = {news.node: news for news in desk.news if isinstance(news, Answer)}
    assert answers["n0"].ok and answers["n0"].op == "fix ip-forward" and not answers["n2"].ok and "the remedy failed" in answers["n2"].error
    assert "ip-forward" not in {finding.id for finding in ended.report.findings}


def test_another_command_than_the_confirmed_one_is_not_sent(desk: Desk) -> None:
    desk.errands.run(Mend(remedies=(mending("n0", ("sysctl", "-w", "kernel.panic=1")),), again=CheckNodes(level="quick")))
    answer = desk.until(Answer)
    assert not answer.ok and "not the one that was confirmed" in answer.error
    desk.until(CheckEnded)
    assert "remedy" not in {op for _, op, _ in desk.links.asked}


def test_a_job_file_is_planned_on_this_fleet_with_its_text(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    planned = desk.until(JobPlanned)
    assert planned.lines == tuple(JOB.splitlines()) and planned.plan.ok and [node.node for node in planned.plan.nodes] == ["n0", "n1"]
    desk.errands.run(PlanJob(path=job_file(tmp_path, JOB.replace("[n0, n1]", "[n0, n9]"))))
    second = desk.until(JobPlanned, 2)
    assert not second.plan.ok and any(problem.where.startswith(f"{job}:3:") for problem in second.plan.problems)
    assert second.plan.attempt != planned.plan.attempt


@pytest.mark.parametrize(("text", "words"), [("run: [", "job.yaml:"), ("runn: {}\n", "unknown key")])
def test_a_file_that_is_no_job_is_told_with_its_place(desk: Desk, tmp_path: Path, text: str, words: str) -> None:
    desk.errands.run(PlanJob(path=job_file(tmp_path, text)))
    planned = desk.until(JobPlanned)
    problems = planned.plan.problems if planned.plan is not None else ()
    assert words in planned.error + "".join(f"{problem.where} {problem.message}" for problem in problems)


def test_exactly_the_planned_launch_is_submitted(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    plan = desk.until(JobPlanned).plan
    desk.errands.run(LaunchJob(path=job, plan=plan))
    launched = desk.until(JobLaunched)
    assert launched.error == "" and (launched.job, launched.attempt) == ("tiny", plan.attempt) and desk.place.backend.plans == [plan]
    desk.place.store.drain()
    assert "tiny" in desk.place.store.state.runs


def test_a_node_whose_part_ends_badly_is_told_and_the_others_are_ended(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.remote.coming_up.LAST_WORDS_S", 0.0)
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    plan = desk.until(JobPlanned).plan
    desk.errands.run(LaunchJob(path=job, plan=plan))
    assert desk.until(JobLaunched).error == ""
    record = scene.Recorder()
    run = {"job": "tiny", "attempt": plan.attempt}
    desk.place.store.ingest([
        *[record(node, "job", 1.0, **run, epoch=1, state=state, node_index=index, dir=f"/w/{node}", operator="op", why=None)
          for index, (node, state) in enumerate((("n0", "running"), ("n1", "exited")))],
        record("n1", "exit", 2.0, **run, round=None, scope="command", rank=None, local_rank=None, pid=7, code=3, signal=None, started=1.0, ended=2.0, asked=False)])
    desk.place.store.drain()
    failed = desk.until(JobLaunched, 2)
    assert failed.attempt == plan.attempt and "failed on n1" in failed.error and [nodes for nodes, _ in desk.place.backend.cancelled] == [("n0",)]


def test_a_screen_that_is_left_gives_what_comes_up_to_its_nodes(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    desk.errands.run(LaunchJob(path=job, plan=desk.until(JobPlanned).plan))
    assert desk.until(JobLaunched).error == ""
    until(lambda: {("n0", False), ("n1", False)} <= set(desk.said))
    desk.errands.close()
    assert {("n0", True), ("n1", True)} <= set(desk.said)


def test_a_file_that_changed_since_is_not_launched(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    plan = desk.until(JobPlanned).plan
    job_file(tmp_path, JOB + "# another thought\n")
    desk.errands.run(LaunchJob(path=job, plan=plan))
    assert "has changed since it was planned" in desk.until(JobLaunched).error and desk.place.backend.plans == []


def test_a_launch_that_touched_no_node_is_not_in_the_history(desk: Desk, tmp_path: Path) -> None:
    job = job_file(tmp_path)
    desk.errands.run(PlanJob(path=job))
    plan = desk.until(JobPlanned).plan
    desk.place.backend.problem = RequestError("job tiny is already there")
    desk.errands.run(LaunchJob(path=job, plan=plan))
    assert "already there" in desk.until(JobLaunched).error
    desk.place.store.drain()
    assert desk.place.store.state.runs == {}


def test_events_of_a_launch_are_held_until_a_node_is_touched() -> None:
    kept: list[list[FleetEvent]] = []
    held = Held(kept.append)
    held(progress("preflight", "waiting"))
    held(progress("prepare", "waiting"))
    held(progress("preflight", "done"))
    assert kept == []
    held(progress("prepare"))
    held(progress("start"))
    assert [len(batch) for batch in kept] == [4, 1]


def asking(desk: Desk, node: str = "n0") -> tuple[threading.Thread, list[str | None]]:
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(desk.errands.ask(Question(node=node, text="Code: "))))
    thread.start()
    return thread, answers


def test_a_login_waits_for_its_answer_and_nothing_keeps_it(desk: Desk) -> None:
    thread, answers = asking(desk)
    asked = desk.until(LoginAsked)
    assert (asked.node, asked.text, asked.echo, asked.open) == ("n0", "Code: ", False, True)
    wish = AnswerLogin(number=asked.number, answer="se-cret-1")
    assert "se-cret-1" not in repr(wish)
    desk.errands.run(wish)
    thread.join(PATIENCE_S)
    assert answers == ["se-cret-1"] and not desk.until(LoginAsked, 2).open
    assert "se-cret-1" not in repr(desk.news) + repr(vars(desk.errands))


def test_a_later_question_of_a_node_ends_the_earlier_one_and_the_end_ends_all(desk: Desk) -> None:
    first, given = asking(desk)
    desk.until(LoginAsked)
    second, later = asking(desk)
    first.join(PATIENCE_S)
    assert given == [None]
    desk.errands.close()
    second.join(PATIENCE_S)
    assert later == [None]
    assert desk.errands.ask(Question(node="n0", text="again")) is None


def test_an_answer_to_a_question_that_is_over_is_dropped(desk: Desk) -> None:
    desk.errands.run(AnswerLogin(number=7, answer="x"))
    thread, answers = asking(desk)
    asked = desk.until(LoginAsked)
    desk.errands.run(AnswerLogin(number=asked.number, answer=None))
    desk.errands.run(AnswerLogin(number=asked.number, answer="late"))
    thread.join(PATIENCE_S)
    assert answers == [None]
