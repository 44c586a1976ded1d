from __future__ import annotations

import json
from importlib import resources
from random import Random

import jsonschema
import pytest

from console.core.events import RecordArrived
from console.core.fleet.carriers import Carriers
from console.core.fleet.run_views import log_choices, loss_log
from console.core.fleet.state import FleetState, RunState, apply
from console.core.launch.inventory import Inventory
from console.core.launch.report import status_mapping, status_text

PLACE = ("A", 0)
DIRS = {"n0": "/w/n0", "n1": "/w/n1"}


def record(node: str, rank: int | None, iteration: int, loss: float | None, round_: int | None = 0) -> RecordArrived:
    name = "launcher.log" if rank is None else f"round-{round_ or 0:02d}/local_rank-{rank % 4}.log"
    return RecordArrived(node=node, spool_id="s", seq=0, kind="iteration", key=None, time=float(iteration), at=float(iteration),
                         data={"job": "j", "attempt": "A", "round": round_, "rank": rank, "file": f"{DIRS[node]}/{name}", "iteration": iteration, "lm_loss": loss})


def folded(*events: RecordArrived) -> RunState:
    state = FleetState()
    for node, folder in DIRS.items():
        state = apply(state, RecordArrived(node=node, spool_id="s", seq=0, kind="job", key=None, time=0.0, at=0.0,
                                           data={"job": "j", "attempt": "A", "state": "running", "dir": folder, "node_index": int(node[1])}))
        ranks = range(4 * int(node[1]), 4 * int(node[1]) + 4)
        state = apply(state, RecordArrived(node=node, spool_id="s", seq=0, kind="rank_map", key=None, time=0.0, at=0.0, data={
            "job": "j", "attempt": "A", "round": 0, "world_size": 8,
            "ranks": {"rank": list(ranks), "local_rank": [rank % 4 for rank in ranks], "pid": list(ranks)}}))
    for event in events:
        state = apply(state, event)
    return state.runs["j"]


def curve(run: RunState) -> list[tuple[int, float]]:
    return list(run.series["loss"])


@pytest.mark.parametrize("rank", [0, 3, 7])
def test_the_one_rank_that_prints_it_is_found(rank: int) -> None:
    node = "n1" if rank > 3 else "n0"
    run = folded(*(record(node, rank, at, at / 10) for at in range(1, 4)))
    found = loss_log(run)
    assert found is not None and (found.node, found.rank) == (node, rank) and "no other" in found.why
    assert log_choices(run)[0].rank == rank


def test_a_launcher_that_prints_it_goes_before_ranks_that_do_not() -> None:
    run = folded(record("n0", None, 1, 2.5, round_=None), record("n1", 7, 1, None))
    found = loss_log(run)
    assert found is not None and found.rank is None
    assert log_choices(run)[0].path == "/w/n0/launcher.log"


@pytest.mark.parametrize("seed", range(5))
def test_of_all_ranks_that_print_a_step_the_last_stands_in_any_order(seed: int) -> None:
    random = Random(seed)
    waiting = {rank: [record("n1" if rank > 3 else "n0", rank, at, at + rank / 10) for at in range(1, 20)] for rank in (0, 3, 5, 7)}
    events = []
    while any(waiting.values()):
        events.append(waiting[random.choice([rank for rank in waiting if waiting[rank]])].pop(0))
    assert curve(folded(*events)) == [(at, at + 0.7) for at in range(1, 20)]


def test_when_the_log_ends_the_next_best_goes_on() -> None:
    steps = [record("n1", 7, at, 7.0) for at in range(1, 4)]
    others = [record(node, rank, at, float(rank)) for at in range(1, 9) for node, rank in (("n0", 0), ("n1", 6))]
    run = folded(*steps, *others)
    assert curve(run) == [(1, 7.0), (2, 7.0), (3, 7.0)] + [(at, 6.0) for at in range(4, 9)]
    found = loss_log(run)
    assert found is not None and found.rank == 6 and found.why == "rank 7 has printed nothing since iteration 3"
    # It was only late.
    run = folded(*steps, *others, *(record("n1", 7, at, 7.0) for at in range(4, 9)))
    found = loss_log(run)
    assert curve(run) == [(at, 7.0) for at in range(1, 9)] and found is not None and found.rank == 7


def test_each_round_finds_its_own() -> None:
    run = folded(*(record("n1", 7, at, 7.0) for at in range(1, 6)), *(record("n0", 7, at, 1.0, round_=1) for at in range(4, 7)))
    found = loss_log(run)
    assert found is not None and found.node == "n0"
    assert curve(run) == [(1, 7.0), (2, 7.0), (3, 7.0), (4, 1.0), (5, 1.0), (6, 1.0)]


def test_a_step_trained_again_in_the_same_log_is_put_anew() -> None:
    carriers = Carriers()
    assert all(carriers.admit(PLACE, "n0", "x", 0, at, True) for at in (1, 2, 3, 2, 3, 4))
    assert not carriers.is_crowded(PLACE)


def test_status_says_which_log_it_is() -> None:
    state = FleetState(runs={"j": folded(*(record("n1", 7, at, 7.0) for at in range(1, 4)))})
    document = status_mapping(state, Inventory(name="f", nodes=()), 10.0)
    assert document["jobs"][0]["loss_log"] == {"node": "n1", "file": "/w/n1/round-00/local_rank-3.log", "rank": 7, "why": "no other log prints iterations"}
    assert "loss from rank 7 on n1: no other log prints iterations" in status_text(document)
    schema = json.loads((resources.files("console") / "schema" / "status.schema.json").read_text())
    jsonschema.validate(document, schema)
