"""Saves as the nodes' looks at the files have them: whole, not whole and why, or not there any more."""

from __future__ import annotations

from typing import Any

from console.core.fleet.outlook import outlook
from console.core.fleet.run_views import checkpoint_rows
from console.core.fleet.state import FleetState, RunState, apply
from console.core.fleet.wholeness import removed, wholeness
from tests.console.tui import scene

RECORD = scene.Recorder()
PATH = "/data/ckpt/demo"


def look(node: str, time: float, saves: dict[int, str], *, dir: str = PATH, resume_from: int | None = None, **how: Any) -> Any:
    """A node's look: iteration -> what is wrong with it, "" for nothing."""
    columns = {"iteration": list(saves), "format": ["torch_dist"] * len(saves), "complete": [not why for why in saves.values()], "why": list(saves.values()),
               "resumable": [not why for why in saves.values()], "bytes": [3_480_000_000] * len(saves), "seconds": [None] * len(saves), "saved_at": [time] * len(saves),
               "path": [f"{dir}/iter_{at:07d}" for at in saves]}
    return RECORD(node, "saves", time, **{
        "job": scene.JOB, "attempt": scene.SECOND, "dir": dir, "storage": "", "why": "", "iterations": columns, "layout": {}, "count": len(saves), "tracker": max(saves, default=None),
        "tracker_state": "ok", "resume_from": resume_from, "problems": [], "save_seconds": None, "next_bytes": 3_480_000_000, "free_bytes": 10_000_000_000, "fits": True, **how})


def played(*looks: Any) -> tuple[FleetState, RunState]:
    state = FleetState()
    for event in (*scene.fleet_events(), *looks):
        state = apply(state, event)
    return state, state.runs[scene.JOB]


WHOLE = dict.fromkeys((50, 60, 70, 80, 90), "")


def test_without_a_look_nothing_is_claimed() -> None:
    _, run = played()
    assert wholeness(run) == {} and removed(run) == frozenset()


def test_nodes_that_agree_are_believed() -> None:
    _, run = played(look("atlas-01", scene.NOW, {**WHOLE, 90: "2 files are missing"}), look("atlas-02", scene.NOW, {**WHOLE, 90: "2 files are missing"}))
    found = wholeness(run)
    assert found[80].complete is True and (found[90].complete, found[90].why) == (False, "2 files are missing")


def test_on_one_directory_a_later_look_that_finds_it_whole_counts() -> None:
    early, late = look("atlas-01", scene.NOW - 20, {**WHOLE, 90: "no manifest"}), look("atlas-02", scene.NOW - 5, WHOLE)
    assert wholeness(played(early, late)[1])[90].complete is True
    # The other way round something has gone since.
    early, late = look("atlas-01", scene.NOW - 20, WHOLE), look("atlas-02", scene.NOW - 5, {**WHOLE, 90: "common.pt is missing"})
    found = wholeness(played(early, late)[1])[90]
    assert found.complete is False and found.why == "atlas-02: common.pt is missing"


def test_parts_on_nodes_own_disks_are_whole_together_or_not() -> None:
    mine, yours = look("atlas-01", scene.NOW, WHOLE, dir="/a"), look("atlas-02", scene.NOW + 1, {**WHOLE, 90: "1 file is missing"}, dir="/b")
    found = wholeness(played(yours, mine)[1])
    assert found[90].complete is False and found[90].why == "atlas-02: 1 file is missing" and found[80].complete is True


def test_rows_say_whole_not_whole_and_removed_and_where_a_resume_would_begin() -> None:
    state, run = played(look("atlas-01", scene.NOW, {70: "", 80: "", 90: "2 files are missing"}, resume_from=80))
    rows = {row.iteration: row for row in checkpoint_rows(state, run, scene.NOW)}
    assert [(at, rows[at].status.text) for at in (90, 80, 70, 60, 10)] == [(90, "not whole"), (80, "whole"), (70, "whole"), (60, "removed"), (10, "removed")]
    assert rows[90].why == "2 files are missing" and [at for at, row in rows.items() if row.latest] == [80]
    assert removed(run) == {10, 20, 30, 40, 50, 60}


def test_a_record_that_lists_only_the_newest_calls_nothing_removed() -> None:
    _, run = played(look("atlas-01", scene.NOW, {90: ""}, count=9))
    assert removed(run) == frozenset()
    _, run = played(look("atlas-01", scene.NOW, {}, why="denied"))
    assert removed(run) == frozenset()


def parts(node: str, time: float, saves: dict[int, tuple[list[str], list[str]]], *, bad: str = "", **how: Any) -> Any:
    """A node's look with storage of its own: iteration -> (names that are here, names that must be on another node)."""
    taken = look(node, time, {at: bad or (f"{len(absent)} of 4 rank directories missing" if absent else "") for at, (_, absent) in saves.items()}, dir=f"/own/{node}")
    columns = {**taken.data["iterations"], "holds": [holds for holds, _ in saves.values()], "absent": [absent for _, absent in saves.values()], "sound": [not bad] * len(saves),
               "bytes": [100 if node == "atlas-01" else 40] * len(saves), "resumable": [True] * len(saves)}
    return RECORD(node, "saves", time, **{**taken.data, "storage": "per-node", "iterations": columns, "free_bytes": 90, **how})


MINE, YOURS = ["mp_rank_00_000", "mp_rank_01_000"], ["mp_rank_00_001", "mp_rank_01_001"]
REST = ("atlas-03", "atlas-04")


def rest(time: float) -> list[Any]:
    """The other nodes hold replicas alone, and so nothing."""
    return [parts(node, time, {}) for node in REST]


def test_parts_that_complete_each_other_are_a_whole_save_as_large_as_all_of_them() -> None:
    state, run = played(parts("atlas-01", scene.NOW, {80: (MINE, YOURS), 90: (MINE, YOURS)}), parts("atlas-02", scene.NOW, {80: (YOURS, MINE), 90: (YOURS, MINE)}), *rest(scene.NOW))
    assert {at: found.complete for at, found in wholeness(run).items()} == {80: True, 90: True}
    rows = {row.iteration: row for row in checkpoint_rows(state, run, scene.NOW)}
    assert (rows[90].status.text, rows[90].size_bytes, rows[90].latest) == ("whole", 140, True)
    found = outlook(run)
    assert found.resume_from == 90
    # Node by node: 100 into 90 is what fails, not 140 into 180.
    assert (found.next_bytes, found.free_bytes, found.fits) == (100, 90, False)


def test_shared_storage_is_counted_once_however_many_nodes_tell_of_it() -> None:
    state, run = played(*(look(node, scene.NOW, WHOLE, storage="shared") for node in ("atlas-01", "atlas-02", *REST)))
    rows = {row.iteration: row for row in checkpoint_rows(state, run, scene.NOW)}
    assert (rows[90].status.text, rows[90].size_bytes) == ("whole", 3_480_000_000)
    # Who looked before the first save was made has seen nothing, and that is no reason to begin anew.
    _, run = played(look("atlas-01", scene.NOW - 20, {}, storage="shared"), look("atlas-02", scene.NOW, {90: ""}, storage="shared", resume_from=90))
    assert outlook(run).resume_from == 90


def test_a_save_is_not_whole_before_every_nodes_part_is() -> None:
    mine = parts("atlas-01", scene.NOW, {80: (MINE, YOURS), 90: (MINE, YOURS)})
    # Not told of yet by the one that has the rest: not known, and no place to go on from.
    run = played(mine, parts("atlas-02", scene.NOW - 5, {80: (YOURS, MINE)}), *rest(scene.NOW))[1]
    assert (wholeness(run)[90].complete, wholeness(run)[90].why) == (None, "atlas-02: its part is not known") and wholeness(run)[80].complete is True
    assert outlook(run).resume_from == 80
    # It has looked since, and has none.
    run = played(mine, parts("atlas-02", scene.NOW + 100, {80: (YOURS, MINE)}), *rest(scene.NOW))[1]
    assert (wholeness(run)[90].complete, wholeness(run)[90].why) == (False, "atlas-02: no part of it is there")
    # A node that has told nothing may hold what is missing.
    run = played(mine)[1]
    assert wholeness(run)[90].complete is None and "atlas-02: its part is not known" in wholeness(run)[90].why
    # All have told, and one rank's directory is nowhere.
    run = played(mine, parts("atlas-02", scene.NOW, {80: (YOURS, MINE), 90: (YOURS[:1], [*MINE, YOURS[1]])}), *rest(scene.NOW))[1]
    assert (wholeness(run)[90].complete, wholeness(run)[90].why) == (False, "on no node: mp_rank_01_001")
    # A part that is there and broken is not made whole by the others.
    run = played(mine, parts("atlas-02", scene.NOW, {80: (YOURS, MINE), 90: (YOURS, MINE)}, bad="x.pt is cut off"), *rest(scene.NOW))[1]
    assert (wholeness(run)[90].complete, wholeness(run)[90].why) == (False, "atlas-02: x.pt is cut off") and outlook(run).resume_from is None
