"""Which end of one node's command takes the others along."""

from __future__ import annotations

from typing import Any

from console.core.events import LaunchPhase, LaunchProgress
from console.core.fleet.coming_up import ended_alone, ended_badly, is_training, living
from console.core.fleet.state import AttemptState, ExitSeen

NODES = ("n0", "n1")


def exit_of(node: str, time: float = 2.0, **data: Any) -> ExitSeen:
    return ExitSeen(node=node, data={"code": None, "signal": None, "asked": False, "ended": time, **data}, time=time)


def attempt(phase: LaunchPhase, *, states: dict[str, str] | None = None, **ends: ExitSeen) -> AttemptState:
    cells = {(node, phase): LaunchProgress(job="j", attempt="A", node=node, phase=phase, state="running", at=1.0) for node in NODES}
    return AttemptState(attempt="A", job="j", phases=cells, exits={(node, 0, -1): end for node, end in ends.items()}, node_states=states or {})


def test_an_error_is_one_in_every_phase_and_silence_only_before_the_first_iteration() -> None:
    phases: tuple[LaunchPhase, ...] = ("rendezvous", "loading", "training")
    for phase in phases:
        (bad,) = ended_badly(attempt(phase, n1=exit_of("n1", code=7)), NODES)
        assert (bad.node, bad.phase, bad.how) == ("n1", phase, "exit status 7")
        quiet = ended_badly(attempt(phase, n1=exit_of("n1", code=0)), NODES)
        assert [one.node for one in quiet] == ([] if phase == "training" else ["n1"])
        assert ended_badly(attempt(phase, n1=exit_of("n1", code=7, asked=True)), NODES) == ()
    assert ended_badly(attempt("training", n1=exit_of("n1", signal=9)), NODES)[0].how == "signal 9"
    assert ended_badly(attempt("training", n1=exit_of("n1", why="its shim ended")), NODES)[0].how == "its shim ended"


def test_the_first_end_and_its_first_bad_rank_are_named() -> None:
    both = attempt("loading", n0=exit_of("n0", 5.0, code=1), n1=exit_of("n1", 4.0, code=2))
    ranks = {("n1", 0, 3): exit_of("n1", 3.5, code=1), ("n1", 0, 1): exit_of("n1", 3.0, signal=6), ("n1", 0, 0): exit_of("n1", 2.0, code=0)}
    both = AttemptState(attempt="A", job="j", phases=both.phases, exits={**both.exits, **ranks})
    first, second = ended_badly(both, NODES)
    assert (first.node, first.round, first.local_rank) == ("n1", 0, 1) and (second.node, second.local_rank) == ("n0", None)


def test_it_trains_when_every_node_has_been_seen_to() -> None:
    assert is_training(attempt("training"), NODES) and not is_training(attempt("loading"), NODES)
    assert not is_training(attempt("training"), ("n0", "n1", "n2"))


def test_what_is_not_known_to_be_over_lives() -> None:
    assert living(attempt("loading", states={"n0": "running", "n1": "exited"}), (*NODES, "n2")) == ("n0", "n2")


def test_a_part_that_was_stopped_alone_takes_the_others_along() -> None:
    cases = {("stopped", "running"): ["n0"], ("expired", "committed"): ["n0"], ("stopped", "stopping"): [], ("stopped", "stopped"): [], ("exited", "running"): [],
             ("running", "running"): [], ("stopped", "prepared"): []}
    for states, expected in cases.items():
        seen = attempt("loading", states=dict(zip(NODES, states, strict=True)), n0=exit_of("n0", 3.0, asked=True))
        assert [one.node for one in ended_alone(seen, NODES)] == expected, states
    (one,) = ended_alone(attempt("loading", states={"n0": "stopped", "n1": "running"}, n0=exit_of("n0", 3.0, asked=True)), NODES)
    assert (one.phase, one.how, one.time) == ("loading", "stopped there alone", 3.0)
