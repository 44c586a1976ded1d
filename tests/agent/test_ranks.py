"""Ranks: the topmost process with the right environment, and nothing that was assumed."""

from __future__ import annotations

from typing import Any

from agent import ranks, wire
from agent.processes import Process


def process(pid: int, ppid: int, **env: Any) -> Process:
    return Process(pid, ppid, pid, 1000 + pid, {name: str(value) for name, value in env.items()})


def worker(pid: int, ppid: int, local_rank: int, rank: int, place: int = 0, **env: Any) -> Process:
    return process(pid, ppid, RANKDECK_ROUND=place, LOCAL_RANK=local_rank, RANK=rank, GROUP_RANK=1, WORLD_SIZE=4, LOCAL_WORLD_SIZE=2,
                   TORCHELASTIC_RESTART_COUNT=3, **env)


def test_helpers_and_shims_are_not_workers() -> None:
    found = ranks.workers([
        process(10, 1, RANKDECK_ATTEMPT="A"), process(11, 10, RANK=2, LOCAL_RANK=0), worker(12, 11, 0, 2), worker(13, 12, 0, 2), worker(14, 13, 0, 2),
        process(21, 10, RANK=3, LOCAL_RANK=1), worker(22, 21, 1, 3)])
    assert {place: {local: entry["pid"] for local, entry in of.items()} for place, of in found.items()} == {0: {0: 12, 1: 22}}


def test_rounds_are_kept_apart() -> None:
    found = ranks.workers([worker(12, 1, 0, 2, place=0), worker(32, 1, 0, 0, place=1)])
    assert {place: of[0]["rank"] for place, of in found.items()} == {0: 2, 1: 0}


def test_a_map_is_complete_when_every_local_rank_is_there() -> None:
    found = ranks.workers([worker(22, 1, 1, 3)])[0]
    half = ranks.rank_map("job", "A", 0, found)
    assert half["complete"] is False and half["ranks"]["rank"] == [3]
    found.update(ranks.workers([worker(12, 1, 0, 0)])[0])
    whole = ranks.rank_map("job", "A", 0, found)
    assert whole == {"job": "job", "attempt": "A", "round": 0, "restart_count": 3, "world_size": 4, "complete": True, "ranks": {
        "rank": [0, 3], "local_rank": [0, 1], "group_rank": [1, 1], "pid": [12, 22], "start_ticks": [1012, 1022]}}
    assert wire.problems_in("rank_map", whole) == []


def test_odd_environments_are_passed_over() -> None:
    odd = [process(1, 0, RANKDECK_ROUND="x", RANK=0, LOCAL_RANK=0), process(2, 0, RANKDECK_ROUND=0, RANK="", LOCAL_RANK=0), process(3, 0, RANKDECK_ROUND=0)]
    assert ranks.workers(odd) == {}
    assert ranks.rank_map("job", "A", 0, {})["complete"] is False


def test_a_script_that_starts_its_ranks_itself_has_workers_though_all_it_runs_has_a_round() -> None:
    shell, launcher = process(10, 1, RANKDECK_ROUND=0), process(11, 10, RANKDECK_ROUND=0)
    found = ranks.workers([shell, launcher, worker(12, 11, 0, 2), worker(13, 11, 1, 3), worker(14, 13, 1, 3)])
    assert {local: entry["pid"] for local, entry in found[0].items()} == {0: 12, 1: 13}
