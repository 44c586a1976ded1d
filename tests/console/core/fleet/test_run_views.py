"""The job's story: state, progress, checkpoints, marks, logs, stop targets; and what happened."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from console.core.events import FleetEvent, RecordArrived
from console.core.fleet.happenings import audit_rows, fault_rows, timeline_rows
from console.core.fleet.run_views import (
    checkpoint_rows,
    current_iteration,
    job_view,
    log_choices,
    marks,
    max_allocated_mb,
    metric_rows,
    phase_rows,
    stop_targets,
    timer_rows,
)
from console.core.fleet.state import FleetState, RunState, apply
from tests.console.tui import scene

RECORD = scene.Recorder()


def played(*more: FleetEvent) -> tuple[FleetState, RunState]:
    """The recorded fleet and what came after."""
    state = scene.full_feed().state
    for event in more:
        state = apply(state, event)
    assert state.current is not None
    return state, state.current


def job_record(node: str, state: str, at: float = scene.NOW) -> FleetEvent:
    return RECORD(node, "job", at, job=scene.JOB, attempt=scene.SECOND, epoch=1, state=state, node_index=0, dir="", operator="lin", why=None)


def end_record(node: str, code: int | None, asked: bool = False) -> FleetEvent:
    return RECORD(node, "exit", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=0, scope="command", rank=None, local_rank=None, pid=1, code=code,
                  signal=None if code is not None else 9, started=0, ended=scene.NOW, asked=asked)


def test_a_running_job() -> None:
    state, run = played()
    view = job_view(state, run, scene.NOW)
    assert (view.status.text, view.iteration, view.total, view.attempts) == ("running", 96, 120, 2)
    assert view.loss == pytest.approx(scene.loss_at(96))
    assert view.fraction == pytest.approx(0.8)
    assert view.eta_s == pytest.approx(24 * 1.21, rel=0.05)
    assert view.saved_iteration == 90 and view.world_size == 16
    assert [(node, ranks) for node, ranks, _ in view.ranks] == [("atlas-01", "0-7"), ("atlas-02", "8-15")]


def test_after_a_restart_progress_is_that_of_the_new_round() -> None:
    third = "20261122T060000Z-0000"
    state, run = played(
        RECORD("atlas-01", "job", scene.NOW, job=scene.JOB, attempt=third, epoch=2, state="running", node_index=0, dir="/d", operator="lin", why=None),
        replace(scene.checkpoint(RECORD, third, 90, "loaded", scene.NOW), seq=1))
    assert run.series["loss"].last() == (96, pytest.approx(scene.loss_at(96)))
    assert current_iteration(run) == 90, "nothing was trained since the load"
    state = apply(state, scene.iteration(RECORD, third, 91, scene.NOW))
    assert state.current is not None and current_iteration(state.current) == 91


@pytest.mark.parametrize(("changes", "text", "tone"), [
    ([], "running", "good"),
    ([("atlas-02", "exited")], "node lost", "bad"),
    ([("atlas-01", "stopping"), ("atlas-02", "running")], "stopping", "warn"),
    ([("atlas-01", "stopped"), ("atlas-02", "stopped")], "stopped", "off"),
    ([("atlas-01", "exited"), ("atlas-02", "exited")], "ended early", "bad"),
    ([("atlas-01", "expired"), ("atlas-02", "expired")], "did not start", "bad"),
    ([("atlas-01", "prepared"), ("atlas-02", "prepared")], "starting", "busy")])
def test_the_state_of_a_job_is_that_of_its_nodes(changes: list[tuple[str, str]], text: str, tone: str) -> None:
    state, run = played(*(job_record(node, at) for node, at in changes))
    badge = job_view(state, run, scene.NOW).status
    assert (badge.text, badge.tone) == (text, tone)


def test_no_progress_for_long_reads_stalled() -> None:
    state, run = played()
    assert job_view(state, run, scene.NOW + 50).status.text == "running"
    assert job_view(state, run, scene.NOW + 70).status.text == "stalled"


def test_success_needs_the_final_iteration_whatever_the_exit_status() -> None:
    ended = [job_record("atlas-01", "exited"), job_record("atlas-02", "exited"), end_record("atlas-01", 0), end_record("atlas-02", 0)]
    state, run = played(*ended)
    assert job_view(state, run, scene.NOW).status.text == "ended early"
    state, run = played(*ended, scene.iteration(RECORD, scene.SECOND, 120, scene.NOW))
    assert job_view(state, run, scene.NOW).status.text == "finished"
    state, run = played(*ended, scene.iteration(RECORD, scene.SECOND, 120, scene.NOW), end_record("atlas-02", 1))
    assert job_view(state, run, scene.NOW).status.text == "failed"


def test_a_save_that_never_ended_was_cut_off() -> None:
    state, run = played(scene.checkpoint(RECORD, scene.SECOND, 95, "started", scene.NOW), scene.checkpoint(RECORD, scene.SECOND, 100, "started", scene.NOW))
    rows = checkpoint_rows(state, run, scene.NOW)
    assert [(row.iteration, row.status.text) for row in rows[:3]] == [(100, "saving"), (95, "cut off"), (90, "saved")]
    assert [row.iteration for row in rows if row.latest] == [90]
    assert rows[2].size_bytes == 3_480_000_000 and rows[2].seconds == 1.8


def test_marks_are_saves_and_restarts() -> None:
    _, run = played()
    found = marks(run)
    assert [mark.iteration for mark in found if mark.kind == "saved"] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert [mark.iteration for mark in found if mark.kind == "restarted"] == [40]


def test_the_first_log_is_that_of_the_rank_that_prints_the_loss() -> None:
    _, run = played()
    choices = log_choices(run)
    assert (choices[0].node, choices[0].path) == scene.LOG
    assert [choice.rank for choice in choices] == [15, *range(15), None, None]
    assert choices[-1].path.endswith("/atlas-02/launcher.log")


def test_the_log_follows_the_rank_to_the_newest_round() -> None:
    moved = RECORD("atlas-01", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=1, restart_count=1, world_size=2, complete=True,
                   ranks={"rank": [1], "local_rank": [0], "group_rank": [1], "pid": [9], "start_ticks": [1]})
    _, run = played(moved)
    first = log_choices(run)[0]
    assert (first.node, first.rank, first.round) == ("atlas-01", 1, 1)
    assert first.path.endswith("/atlas-01/round-01/local_rank-0.log")


def test_stop_targets_are_the_live_nodes_with_the_exact_request() -> None:
    state, run = played(job_record("atlas-01", "exited"))
    assert run.latest is not None
    (target,) = stop_targets(state, run.latest, 60.0, "because")
    assert target.node == "atlas-02"
    assert json.loads(target.command) == {"op": "stop", "args": {"attempt": scene.SECOND, "grace_s": 60.0, "why": "because"}}


def test_what_happened_is_in_order_and_on_our_clock() -> None:
    state, run = played()
    rows = timeline_rows(state, run)
    assert [row.time for row in rows] == sorted((row.time for row in rows), reverse=True)
    killed = next(row for row in rows if row.what == "rank 11 SIGKILL")
    assert killed.badge.tone == "bad"
    assert killed.time == pytest.approx(scene.NOW - 540 + 66 - 0.8), "the clock of atlas-02 is 0.8 s ahead"
    (fault,) = fault_rows(state, run)
    assert (fault.badge.text, fault.rank, fault.node) == ("cascade", 3, "atlas-01")
    assert audit_rows(state)[0].what == "lin commit"


def test_benign_lines_are_no_faults() -> None:
    data = {"job": scene.JOB, "attempt": scene.SECOND, "code": "X", "role": "benign"}
    state, run = played(RECORD("atlas-01", "fault", scene.NOW, **data))
    assert len(fault_rows(state, run)) == 1


def test_phases_and_metrics() -> None:
    _state, run = played()
    assert run.latest is not None
    rows = phase_rows(run.latest)
    assert [row[0] for row in rows] == ["atlas-01", "atlas-02"]
    assert {badge.text for _, badges, _ in rows for badge in badges} == {"done"}
    metrics = {name: (value, at) for name, value, at, _ in metric_rows(run, 10)}
    assert metrics["loss"] == (pytest.approx(scene.loss_at(96)), 96)


def test_timers_and_memory_of_the_newest_attempt() -> None:
    state = FleetState()

    def told(kind: str, attempt: str, **data: object) -> None:
        nonlocal state
        state = apply(state, RecordArrived(node="n1", spool_id="s", seq=1, kind=kind, key=None, time=1.0, at=1.0,
                                           data={"job": "j", "attempt": attempt, "round": 0, "iteration": 20, **data}))

    told("memory", "A1", rank=0, max_allocated_mb=9000.0)
    told("memory", "A2", rank=0, max_allocated_mb=100.5)
    told("memory", "A2", rank=20, max_allocated_mb=200.5)
    told("memory", "A1", rank=3, max_allocated_mb=9000.0)
    told("timers", "A2", ms={"optimizer": [1.0, 12.0], "forward-backward": [3198.0, 3199.5], "odd": "x"})
    told("timers", "A1", ms={"late": [1.0, 1.0]})
    run = state.runs["j"]
    assert max_allocated_mb(run) == (200.5, 20)
    assert timer_rows(run) == (("forward-backward", (3198.0, 3199.5), 20), ("optimizer", (1.0, 12.0), 20))
    assert [(name, value, at) for name, value, at, _ in metric_rows(run, 10)] == [
        ("max_allocated_mb", 200.5, 20), ("forward-backward (ms)", 3199.5, 20), ("optimizer (ms)", 12.0, 20)]
