"""Starts, joined curves, comparison of runs, and what dying now would cost."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.fleet.compare import attempt_series, compare, joined, start_series, starts
from console.core.fleet.outlook import outlook
from console.core.fleet.state import FleetState, RunState, apply
from tests.console.core.fleet.test_state import JOB, fold, iteration, rec


def loaded(seq: int, at: int, round: int, **more: Any) -> Any:
    return rec(seq, "checkpoint", {**JOB, "round": round, "iteration": at, "event": "loaded", "path": "/c", **more})


@pytest.fixture
def restarted() -> RunState:
    """Fifteen iterations, loaded at 10, goes on by twos."""
    first = [iteration(i, i, float(i), elapsed_ms=2000.0) for i in range(1, 16)]
    again = [iteration(30 + i, i, 100.0 + i, round=1, elapsed_ms=2000.0) for i in (12, 14)]
    return fold(*first, loaded(29, 10, 1), *again).runs["gpt"]


def test_starts_and_their_own_curves(restarted: RunState) -> None:
    first, second = starts(restarted)
    assert (first.resumed_at, first.first, first.last, first.points) == (None, 1, 15, 15)
    assert (second.resumed_at, second.first, second.last, second.points) == (10, 12, 14, 2)
    assert list(start_series(restarted, "loss", first.place)) == [(i, float(i)) for i in range(1, 16)]
    assert list(start_series(restarted, "loss", second.place)) == [(12, 112.0), (14, 114.0)]
    assert list(attempt_series(restarted, "loss", JOB["attempt"]))[10:] == [(11, 11.0), (12, 112.0), (13, 13.0), (14, 114.0), (15, 15.0)]


def test_the_joined_curve_has_nothing_that_was_trained_again(restarted: RunState) -> None:
    assert list(joined(restarted, "loss")) == [(i, float(i)) for i in range(1, 11)] + [(12, 112.0), (14, 114.0)]


def test_runs_beside_one_another() -> None:
    def run(job: str, offset: float, last: int) -> FleetState:
        return fold(*[rec(i, "iteration", {**JOB, "job": job, "round": 0, "iteration": i, "lm_loss": "nan" if i == 3 else offset + i}) for i in range(1, last + 1)])

    runs = {**run("a", 0.0, 100).runs, **run("b", 10.0, 50).runs}
    found = compare(runs, "loss", 4)
    assert found.edges == (1, 26, 51, 76, 101) and found.runs == ("a", "b")
    assert found.means[0][1] == sum(range(26, 51)) / 25 and found.means[1][2:] == (None, None)
    assert found.difference("b", "a") == (pytest.approx(10.0), 10.0, None, None)
    assert compare({}, "loss", 3).means == () and compare(runs, "grad_norm", 3).means == ((None, None, None),) * 2


def look(seq: int, node: str, resume_from: int | None, **more: Any) -> Any:
    columns = {"iteration": [10, 14], "complete": [True, False], "why": ["all files", "2 files missing"], "bytes": [1000, 10], "seconds": [4.0, 1.0],
               "saved_at": [1.0, 2.0], "path": ["/c/iter_0000010", "/c/iter_0000014"]}
    return rec(seq, "saves", {**JOB, "dir": "/c", "why": "", "iterations": columns, "tracker": 10, "tracker_state": "ok", "resume_from": resume_from,
                              "problems": [], "save_seconds": 4.0, "next_bytes": 1000, "free_bytes": 5000, "fits": True, **more}, node)


def test_what_dying_now_would_cost(restarted: RunState) -> None:
    state = apply(FleetState(runs={"gpt": restarted}), rec(60, "rank_map", {**JOB, "round": 1, "world_size": 8, "ranks": {}}))
    state = apply(state, rec(61, "checkpoint", {**JOB, "round": 1, "iteration": 14, "event": "started", "path": "/c"}))
    before = outlook(state.runs["gpt"])
    assert (before.known_from, before.resume_from, before.lost_iterations) == ("log", None, 14)
    state = apply(state, look(62, "n1", 10))
    state = apply(state, look(63, "n2", 10, free_bytes=500, problems=["the tracker is torn"]))
    found = outlook(state.runs["gpt"])
    assert (found.resume_from, found.lost_iterations, found.lost_s, found.lost_device_s) == (10, 4, 8.0, 64.0)
    assert (found.next_bytes, found.free_bytes, found.fits, found.problems) == (1000, 500, False, (("n2", "the tracker is torn"),))
    saves = state.runs["gpt"].checkpoints
    assert (saves[10].complete, saves[10].size_bytes, saves[10].state) == (True, 1000, "saved")
    assert (saves[14].complete, saves[14].why, saves[14].state) == (False, "2 files missing", "started")
    later = apply(state, look(64, "n1", 14, attempt="20261123T000000Z-aaaa"))
    assert set(later.runs["gpt"].saves) == {"n1"} and apply(later, look(65, "n2", 10)).runs["gpt"].saves == later.runs["gpt"].saves


def test_a_save_takes_from_its_first_line_to_its_last() -> None:
    run = fold(*[rec(seq, "checkpoint", {**JOB, "round": 0, "iteration": at, "event": event, "path": "/c"})
                 for seq, at, event in ((10, 5, "started"), (17, 5, "saved"), (18, 5, "saved"), (20, 6, "saved"))]).runs["gpt"]
    assert [(seen.iteration, seen.seconds) for seen in run.checkpoints.values()] == [(5, 7.0), (6, None)]
    assert outlook(run).save_s == 7.0
