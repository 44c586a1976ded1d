"""apply folds events into the state; the curve holds every iteration once."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.events import LaunchProgress, LinkChanged, NodeMet, RecordArrived, Waiting
from console.core.fleet.series import Series
from console.core.fleet.state import FleetState, RunState, apply, number, put_points

JOB = {"job": "gpt", "attempt": "20261122T050000Z-aaaa"}


def rec(seq: int, kind: str, data: dict[str, Any], node: str = "n1", key: str | None = None) -> RecordArrived:
    return RecordArrived(node=node, spool_id="s", seq=seq, kind=kind, key=key, time=100.0 + seq, at=200.0 + seq, data=data)


def iteration(seq: int, number: int, loss: Any, round: int = 0, **more: Any) -> RecordArrived:
    return rec(seq, "iteration", {**JOB, "round": round, "iteration": number, "lm_loss": loss, "total": 60, **more})


def fold(*events: Any) -> FleetState:
    state = FleetState()
    for event in events:
        state = apply(state, event)
    return state


def test_curve_joins_rounds_at_the_resumed_iteration() -> None:
    first = [iteration(i, i, 5.0 - i / 100) for i in range(1, 16)]
    again = [iteration(20 + i, i, 1.0 + i / 100, round=1) for i in range(11, 21)]
    loss = fold(*first, *again).runs["gpt"].series["loss"]
    assert list(loss.x) == list(range(1, 21))
    assert loss.y[9] == 5.0 - 10 / 100 and loss.y[10] == 1.0 + 11 / 100


def test_a_late_record_of_an_earlier_round_does_not_overwrite() -> None:
    state = fold(iteration(1, 11, 1.0, round=1), iteration(2, 11, 9.0, round=0))
    assert state.runs["gpt"].series["loss"].last() == (11, 1.0)


def test_nan_is_a_point_and_a_missing_loss_is_none() -> None:
    state = fold(iteration(1, 1, "nan"), iteration(2, 2, None, grad_norm=2.5))
    run = state.runs["gpt"]
    assert len(run.series["loss"]) == 1 and run.series["loss"].y[0] != run.series["loss"].y[0]
    assert list(run.series["grad_norm"]) == [(2, 2.5)]


@pytest.mark.parametrize(("text", "value"), [("inf", float("inf")), ("-inf", float("-inf")), ("junk", None), (True, None), (3, 3.0)])
def test_number(text: Any, value: float | None) -> None:
    assert number(text) == value


def test_rank_moves_between_rounds() -> None:
    def ranks(seq: int, node: str, round: int, rank: int) -> RecordArrived:
        return rec(seq, "rank_map", {**JOB, "round": round, "world_size": 2, "ranks": {"rank": [rank], "local_rank": [0], "pid": [seq]}}, node)

    attempt = fold(ranks(1, "n1", 0, 0), ranks(2, "n2", 0, 1), ranks(3, "n1", 1, 1), ranks(4, "n2", 1, 0)).runs["gpt"].latest
    assert attempt is not None
    assert {r: p.node for r, p in attempt.ranks[0].items()} == {0: "n1", 1: "n2"}
    assert {r: p.node for r, p in attempt.ranks[1].items()} == {0: "n2", 1: "n1"}


def test_checkpoint_life_and_loads() -> None:
    def point(seq: int, event: str, at: int) -> RecordArrived:
        return rec(seq, "checkpoint", {**JOB, "round": 0, "iteration": at, "event": event, "path": "/c"})

    run = fold(point(1, "started", 10), point(2, "saved", 10), point(3, "started", 10), point(4, "loaded", 10), point(4, "loaded", 10)).runs["gpt"]
    assert run.checkpoints[10].state == "saved"
    assert run.loads == ((JOB["attempt"], 0, 10),)


def test_link_age_waiting_and_gap() -> None:
    state = fold(LinkChanged(node="n1", at=5.0, state="up", rtt_s=0.01), Waiting(node="n1", at=6.0, count=7),
                 rec(1, "gap", {"kind": "sample", "count": 12, "from_seq": 3, "to_seq": 40}))
    node = state.nodes["n1"]
    assert (node.link, node.waiting, dict(node.gaps), node.last_at) == ("up", 7, {"sample": 12}, 201.0)
    assert apply(state, LinkChanged(node="n1", at=9.0, state="down", why="reset")).nodes["n1"].last_at == 201.0


def test_unknown_kinds_and_records_without_a_job_change_nothing_but_the_age() -> None:
    state = fold(rec(1, "weather", {"rain": True}), rec(2, "iteration", {"iteration": 3, "lm_loss": 1.0}))
    assert not state.runs and state.nodes["n1"].last_at == 202.0


def test_fault_read_again_replaces_itself() -> None:
    fault = {**JOB, "round": 0, "local_rank": 0, "rule": "x", "role": "root"}
    latest = fold(rec(1, "fault", fault, key="f:1"), rec(2, "fault", {**fault, "role": "cascade"}, key="f:1")).runs["gpt"].latest
    assert latest is not None and [f.data["role"] for f in latest.faults] == ["cascade"]


def test_pids_keep_their_npu_after_they_are_gone() -> None:
    def sample(seq: int, pids: list[int], npus: list[int]) -> RecordArrived:
        return rec(seq, "sample", {"columns": {}, "processes": {"pid": pids, "npu_id": npus}})

    assert dict(fold(sample(1, [41, 42], [0, 1]), sample(2, [], [])).nodes["n1"].npu_of_pid) == {41: 0, 42: 1}


def test_launch_matrix_and_newest_run() -> None:
    older = LaunchProgress(job="a", attempt="20261122T040000Z-0000", node="n1", phase="prepare", state="done", at=1.0)
    newer = LaunchProgress(job="b", attempt="20261122T050000Z-0000", node="n1", phase="start", state="failed", at=2.0, why="no bash")
    state = fold(newer, older)
    assert state.current is not None and state.current.job == "b"
    assert state.current.latest is not None and state.current.latest.phases[("n1", "start")].why == "no bash"


def test_a_refused_launch_does_not_hide_the_running_attempt() -> None:
    running = rec(1, "job", {**JOB, "state": "running", "node_index": 0, "dir": "/d"})
    refused = LaunchProgress(job="gpt", attempt="20261122T060000Z-bbbb", node="n1", phase="preflight", state="failed", at=9.0)
    state = fold(running, refused)
    assert state.current is not None and state.current.latest is not None
    assert state.current.latest.attempt == JOB["attempt"]
    assert set(state.current.attempts) == {JOB["attempt"], refused.attempt}


def test_node_met_is_kept() -> None:
    met = NodeMet(node="n1", at=1.0, agent="h", revision=1, spool_id="s", boot_id="b", oldest_seq=1, newest_seq=9, clock_offset_s=2.0, clock_error_s=0.1)
    assert fold(met).nodes["n1"].met == met


def test_series_bins_hold_the_extremes() -> None:
    series = Series()
    for x in range(100):
        series.put(x, float(x % 10))
    series.put(50, float("nan"))
    assert series.bins(10)[0] == (0.0, 9.0)
    assert series.bins(10)[5] == (1.0, 9.0)
    assert Series().bins(3) == [None, None, None]
    assert series.bins(2, first=200, last=300) == [None, None]


def test_each_start_keeps_its_own_curve_and_a_late_record_lands_in_it() -> None:
    run = fold(*[iteration(i, i, float(i)) for i in range(1, 16)], *[iteration(20 + i, i, 100.0 + i, round=1) for i in range(11, 21)],
               iteration(50, 16, 16.0)).runs["gpt"]
    first, second = (JOB["attempt"], 0), (JOB["attempt"], 1)
    assert list(run.overtaken[first]["loss"]) == [(i, float(i)) for i in range(11, 17)]
    assert [run.standing.get(x, ("", 9)) for x in (10, 11, 20, 21)] == [first, second, second, ("", 9)]
    assert list(run.series["loss"])[9:] == [(10, 10.0)] + [(i, 100.0 + i) for i in range(11, 21)]


def test_many_points_at_once_are_the_same_as_one_by_one() -> None:
    rows = [(i, 5.0 / i, "nan" if i == 7 else None if i == 9 else i / 2, i % 3) for i in (*range(1, 40), *range(20, 60), 80, 90)]
    one, many = RunState(job="gpt"), RunState(job="gpt")
    place = ("a", 0)
    for i, loss, norm, skipped in rows:
        put_points(one, place, [i], {"loss": [loss], "grad_norm": [norm], "skipped": [skipped]})
    for part in (rows[:25], rows[25:60], rows[60:]):
        i, loss, norm, skipped = zip(*part, strict=True)
        put_points(many, place, i, {"loss": loss, "grad_norm": norm, "skipped": skipped})
    for name in ("loss", "grad_norm", "skipped"):
        assert repr(list(one.series[name])) == repr(list(many.series[name])), name
    assert list(one.standing) == list(many.standing)


def test_hundreds_of_starts_are_told_apart() -> None:
    run = RunState(job="gpt")
    for start in range(300):
        put_points(run, ("a", start), [start, start + 1], {"loss": [1.0, 2.0]})
    assert [run.standing.get(x, ("", 0))[1] for x in (0, 255, 256, 299, 300)] == [0, 255, 256, 299, 299]
    assert len(run.overtaken) == 299
