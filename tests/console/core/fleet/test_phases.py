"""Rendezvous, loading and training as the nodes' records tell of them."""

from __future__ import annotations

from typing import Any

from console.core.events import LaunchProgress, RecordArrived
from console.core.fleet.run_views import job_view, phase_rows
from console.core.fleet.state import FleetState, apply

seq = iter(range(1, 1_000_000))


def record(fleet: FleetState, node: str, kind: str, time: float, **data: Any) -> FleetState:
    return apply(fleet, RecordArrived(node=node, spool_id=f"s-{node}", seq=next(seq), kind=kind, key=None, time=time, at=time,
                                      data={"job": "j", "attempt": "A", **data}))


def cells(state: FleetState, node: str) -> dict[str, tuple[str, float | None]]:
    return {phase: (seen.state, seen.took_s) for (name, phase), seen in state.runs["j"].attempts["A"].phases.items() if name == node}


def running(*nodes: str) -> FleetState:
    state = FleetState()
    for index, node in enumerate(nodes):
        state = record(state, node, "job", 100.0, state="running", node_index=index, dir=f"/w/{node}")
    return state


def meet(state: FleetState, node: str, at: float, complete: bool = True) -> FleetState:
    return record(state, node, "rank_map", at, round=0, complete=complete, world_size=2, ranks={"rank": [0], "local_rank": [0], "pid": [7]})


def iterate(state: FleetState, node: str, iteration: int, at: float) -> FleetState:
    return record(state, node, "iteration", at, round=0, iteration=iteration, total=2, lm_loss=5.0)


def end(state: FleetState, node: str, at: float, **how: Any) -> FleetState:
    return record(state, node, "exit", at, scope="command", round=None, **{"code": 0, "signal": None, "asked": False, **how})


def test_the_three_phases_with_their_times_on_every_node() -> None:
    state = running("n1", "n2")
    assert cells(state, "n1") == {"rendezvous": ("running", None)}
    state = meet(state, "n1", 103.0, complete=False)
    assert cells(state, "n1") == {"rendezvous": ("running", None)}
    state = meet(meet(state, "n1", 104.0), "n2", 105.0)
    assert cells(state, "n2") == {"rendezvous": ("done", 5.0), "loading": ("running", None)}
    state = iterate(state, "n2", 1, 110.0)  # one rank prints for all
    assert cells(state, "n1") == {"rendezvous": ("done", 4.0), "loading": ("done", 6.0), "training": ("running", None)}
    before = state.runs["j"].attempts["A"].phases
    state = iterate(state, "n2", 2, 120.0)
    assert state.runs["j"].attempts["A"].phases is before
    state = end(end(state, "n1", 130.0), "n2", 131.0)
    assert cells(state, "n1")["training"] == ("done", 20.0) and cells(state, "n2")["training"] == ("done", 21.0)
    (_, badges, _), _ = phase_rows(state.runs["j"].attempts["A"])
    assert [badge.text for badge in badges][-3:] == ["4.0 s", "6.0 s", "20 s"]
    # Nothing waits for what was passed over.
    assert {badge.text for badge in badges[:-3]} == {"-"}


def test_an_end_that_is_told_before_the_last_line_is_no_failure() -> None:
    state = iterate(running("n1", "n2"), "n2", 1, 110.0)
    state = end(end(state, "n1", 130.0), "n2", 131.0, code=1)
    assert cells(state, "n1")["training"][0] == cells(state, "n2")["training"][0] == "failed"
    state = iterate(state, "n2", 2, 120.0)
    assert cells(state, "n1")["training"] == ("done", 20.0) and cells(state, "n2")["training"][0] == "failed"


def test_exit_status_0_before_the_last_iteration_is_no_success() -> None:
    state = end(iterate(meet(running("n1"), "n1", 101.0), "n1", 1, 102.0), "n1", 103.0)
    assert cells(state, "n1")["training"][0] == "failed"
    (_, _, why), = phase_rows(state.runs["j"].attempts["A"])
    assert why == "exit status 0 before the last iteration"


def test_the_phase_in_which_it_ended_is_the_one_that_failed() -> None:
    state = end(running("n1"), "n1", 103.0, code=1)
    assert cells(state, "n1") == {"rendezvous": ("failed", 3.0)}
    assert job_view(state, state.runs["j"], 104.0).status.text != "did not start"
    state = end(meet(running("n1"), "n1", 101.0), "n1", 103.0, code=None, signal=9)
    assert cells(state, "n1")["loading"][0] == "failed"
    state = end(iterate(running("n1"), "n1", 1, 102.0), "n1", 103.0, code=None, signal=15, asked=True)
    assert cells(state, "n1")["training"] == ("undone", 1.0)


def test_what_the_launcher_told_stays() -> None:
    state = apply(FleetState(), LaunchProgress(job="j", attempt="A", node="n1", phase="start", state="done", at=99.0, took_s=0.25))
    state = iterate(record(state, "n1", "job", 100.0, state="running", node_index=0, dir="/w"), "n1", 1, 101.0)
    assert cells(state, "n1")["start"] == ("done", 0.25) and cells(state, "n1")["training"] == ("running", None)
