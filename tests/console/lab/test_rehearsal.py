"""What the headless demo says happened, folded from hand-made records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.core.events import RecordArrived
from console.core.fleet.state import FleetState, apply
from console.lab.faults import Fault, Injected
from console.lab.rehearsal import END_LIMIT_S, STALL_LIMIT_S, Rehearsal, summary

JOB, ATTEMPT = "demo-gpt", "20261122T051001Z-ab12"
NODES = ("node-1", "node-2")
BEGAN = 1000.0


class Course:
    """Feeds records to a state and a rehearsal."""

    def __init__(self) -> None:
        self.state, self.seq, self.said = FleetState(), 0, []
        self.run = Rehearsal(job=JOB, nodes=NODES, iterations=6, began_at=BEGAN, say=self.said.append)
        self.injected: list[Injected] = []

    def record(self, node: str, kind: str, time: float, **data: Any) -> None:
        self.seq += 1
        self.state = apply(self.state, RecordArrived(node=node, spool_id="s", seq=self.seq, kind=kind, key=None, time=time, at=time,
                                                     data={"job": JOB, "attempt": ATTEMPT, **data}))

    def iteration(self, number: int, time: float, loss: float | str = 5.0, round: int = 0) -> None:
        self.record("node-2", "iteration", time, iteration=number, total=6, lm_loss=loss, round=round)
        self.look(time)

    def exit(self, node: str, time: float, *, round: int | None = 0, rank: int | None = None, local_rank: int | None = None,
             code: int | None = None, signal: int | None = None) -> None:
        self.record(node, "exit", time, round=round, scope="command" if rank is None else "rank", rank=rank, local_rank=local_rank,
                    pid=77, code=code, signal=signal, started=BEGAN, ended=time, asked=False)
        self.look(time)

    def look(self, now: float) -> None:
        self.run.look(self.state, tuple(self.injected), now)


def incident(course: Course) -> None:
    for at in (1, 2, 3):
        course.iteration(at, BEGAN + 10 + at)
    course.record("node-1", "checkpoint", BEGAN + 12.5, iteration=2, event="saved", path="/c/iter_0000002", round=0)
    course.injected.append(Injected(fault=Fault(name="rank-killed", iteration=3), at=BEGAN + 13.1, node="node-2", rank=1, local_rank=1,
                                    pid=77, iteration=3))
    course.look(BEGAN + 13.1)


def test_a_run_with_a_fault() -> None:
    course = Course()
    incident(course)
    # The peer's end arrives first and looks guilty, until the killed rank's own record comes.
    course.exit("node-1", BEGAN + 13.4, rank=0, local_rank=0, code=1)
    course.exit("node-2", BEGAN + 13.6, rank=1, local_rank=1, signal=9)
    course.record("node-1", "checkpoint", BEGAN + 30, iteration=2, event="loaded", path="/c/iter_0000002", round=1)
    for at in (3, 4, 5, 6):
        course.iteration(at, BEGAN + 30 + at, round=1)
    assert not course.run.over(course.state, BEGAN + 40)
    for node in NODES:
        course.exit(node, BEGAN + 41, round=None, code=0)
    assert course.run.over(course.state, BEGAN + 41)
    assert course.run.failure(course.state, BEGAN + 41) == ""
    found = course.run.document(course.state, seed=7)
    assert list(found) == ["ok", "job", "nodes", "world_size", "iterations", "losses", "checkpoints", "faults", "resumed_from",
                           "resume_s", "time_to_first_iteration_s", "seed"]
    assert found["ok"] is True
    assert found["iterations"] == {"first": 1, "last": 6, "count": 6}
    assert found["losses"] == [[at, 5.0] for at in range(1, 7)]
    assert found["checkpoints"] == [2]
    assert found["time_to_first_iteration_s"] == 11.0
    assert (found["resumed_from"], found["resume_s"]) == (2, 19.9)
    (fault,) = found["faults"]
    assert fault["injected"]["node"] == "node-2"
    assert (fault["root_cause"]["node"], fault["root_cause"]["rank"], fault["root_cause"]["round"]) == ("node-2", 1, 0)
    assert fault["detected_after_s"] == 0.5
    assert "resumed from checkpoint 2" in summary(found)
    json.dumps(found, allow_nan=False)


def test_the_load_may_be_told_after_the_first_iteration_of_the_new_round() -> None:
    course = Course()
    incident(course)
    course.exit("node-2", BEGAN + 13.6, rank=1, local_rank=1, signal=9)
    course.iteration(3, BEGAN + 33, round=1)
    course.record("node-1", "checkpoint", BEGAN + 33.1, iteration=2, event="loaded", path="/c/iter_0000002", round=1)
    course.look(BEGAN + 33.1)
    found = course.run.document(course.state, seed=1)
    assert (found["resumed_from"], found["resume_s"]) == (2, 19.9)


def test_a_failure_before_the_fault_is_not_its_cause() -> None:
    course = Course()
    course.iteration(1, BEGAN + 5)
    course.exit("node-1", BEGAN + 6, rank=0, local_rank=0, signal=11)
    course.injected.append(Injected(fault=Fault(name="rank-killed", after_s=7.0), at=BEGAN + 7, node="node-2", rank=1, local_rank=1,
                                    pid=77, iteration=1))
    course.look(BEGAN + 7)
    assert course.run.document(course.state, seed=1)["faults"][0]["root_cause"] is None
    course.exit("node-2", BEGAN + 8, round=1, rank=1, local_rank=1, signal=9)
    assert course.run.document(course.state, seed=1)["faults"][0]["root_cause"]["node"] == "node-2"


def test_a_job_that_ends_early_fails_with_its_reason() -> None:
    course = Course()
    course.iteration(1, BEGAN + 5)
    course.exit("node-1", BEGAN + 6, round=None, code=1)
    assert course.run.failure(course.state, BEGAN + 6) == ""
    course.exit("node-2", BEGAN + 6, round=None, signal=9)
    why = course.run.failure(course.state, BEGAN + 6)
    assert "node-1: exit status 1" in why
    assert "node-2: signal 9" in why
    found = course.run.document(course.state, seed=1, why=why)
    assert found["ok"] is False
    assert found["why"] == why


def test_a_job_that_stands_still_fails() -> None:
    course = Course()
    course.iteration(1, BEGAN + 5)
    assert course.run.failure(course.state, BEGAN + 5 + STALL_LIMIT_S) == ""
    assert "no new iteration" in course.run.failure(course.state, BEGAN + 6 + STALL_LIMIT_S)


def test_the_end_is_waited_for_but_not_for_ever() -> None:
    course = Course()
    for at in range(1, 7):
        course.iteration(at, BEGAN + at)
    assert not course.run.over(course.state, BEGAN + 6 + END_LIMIT_S)
    assert course.run.over(course.state, BEGAN + 7 + END_LIMIT_S)


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_losses_that_are_no_numbers_are_texts(loss: str) -> None:
    course = Course()
    course.iteration(1, BEGAN + 5, loss)
    assert course.run.document(course.state, seed=1)["losses"] == [[1, loss]]


def test_nothing_happened() -> None:
    course = Course()
    found = course.run.document(course.state, seed=1, why="no node answered")
    assert found["iterations"] == {"first": None, "last": None, "count": 0}
    assert "why: no node answered" in summary(found)
