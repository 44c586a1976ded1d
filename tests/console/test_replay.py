"""Replay: what was known when, from a history on disk, on the same screen."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from console import cli
from console.cli import replay
from console.core.errors import FileError
from console.core.events import RecordArrived
from console.store import Store, read_happenings, read_records
from console.tui.app import ConsoleApp, Options
from console.tui.layout_host import BUILT_IN
from console.tui.time_cursor import TimeCursor
from tests.console.tui import scene


@pytest.fixture
def history(tmp_path: Path) -> Path:
    path = tmp_path / "rankdeck.db"
    store = Store(path, "fleet")
    record = scene.Recorder()
    events = scene.fleet_events()
    # A second look at the NPUs of a node, before the one that the scene ends with.
    events.insert(8, scene.sample(record, "atlas-02", scene.NOW - 300, (5,) * 8))
    numbered = [replace(event, seq=at) if isinstance(event, RecordArrived) else event for at, event in enumerate(events, 1)]
    store.ingest(numbered)
    store.close()
    return path


async def test_the_past_is_shown_as_it_was(history: Path) -> None:
    store = Store(history, "fleet")
    state = store.state
    store.close()
    run, began = replay._chosen(state, "", "")
    moments = replay.fold(replay._in_order(read_happenings(history, "fleet"), read_records(history, "fleet", kinds=replay.KINDS)), run, began)
    assert run.job == scene.JOB and moments.times[0] <= began + 1 and moments.times[-1] >= scene.NOW - 70
    then = moments.at(scene.NOW - 200)
    assert then is not None and then.nodes["atlas-02"].sample is not None and then.nodes["atlas-02"].sample.data["columns"]["aicore_pct"] == [5] * 8
    clock, feed = scene.fixed_clock(), replay.ReplayFeed(state)
    cursor = TimeCursor(at=moments.times[0], first=moments.times[0], replay=True, speed=10.0, usual_speed=10.0)
    app = ConsoleApp(feed, lambda intent: None, clock, BUILT_IN, environ={}, options=Options(fps=0.001, cursor=cursor, moments=moments, read_only=True, view="training"))
    async with app.run_test(size=(140, 36)) as pilot:
        await pilot.pause()

        def text() -> str:
            return "\n".join(strip.text for strip in app.screen_lines())

        assert "▶10×" in text() and "before the end" in text()
        clock.move_to(clock.wall_s() + 6)
        app.tick()
        await pilot.pause()
        assert app.context.moment == pytest.approx(moments.times[0] + 60), "ten seconds a second"
        await pilot.press("space", "right_curly_bracket", "1")
        clock.move_to(clock.wall_s() + 60)
        app.tick()
        await pilot.pause()
        assert app.context.moment == pytest.approx(moments.times[0] + 360), "held"
        await pilot.press("colon", *"arm", "enter", "5")
        await pilot.pause()
        assert not app.arming.armed and "not kept in the history" in text()
        await pilot.press("escape", "escape", "escape")
        assert app.context.moment is not None, "there is no now to come back to"


def test_how_far_an_attempt_had_come_is_known_at_every_moment(tmp_path: Path) -> None:
    def told(seq: int, kind: str, time: float, **data: Any) -> RecordArrived:
        return RecordArrived(node="n1", spool_id="s", seq=seq, kind=kind, key=f"1:2:h:{seq}:{kind}", time=time, at=time, version=1,
                             data={"job": "gpt", "attempt": "A", "round": 0, **data})

    path = tmp_path / "rankdeck.db"
    store = Store(path, "fleet")
    step = {"file": "/l", "file_id": "1:2:h", "rank": 0, "local_rank": 0, "total": 3, "lm_loss": 1.0, "extra": {}}
    store.ingest([told(1, "job", 1000.0, state="running", node_index=0, dir="/w"), told(2, "rank_map", 1002.0, complete=True, world_size=1, ranks={}),
                  *(told(2 + at, "iteration", 1000.0 + 10 * at, iteration=at, offset=2 + at, **step) for at in (1, 2, 3)),
                  told(6, "exit", 1031.0, scope="command", code=0, signal=None, asked=False, local_rank=-1), told(7, "audit", 1040.0, op="stop")])
    store.drain()
    state, ends = store.state, store.ends()
    store.close()
    moments = replay.fold(replay._in_order(read_records(path, "fleet", kinds=replay.KINDS), ends), state.runs["gpt"], 1000.0)
    seen = {at: {phase: cell.state for (_, phase), cell in moment.runs["gpt"].attempts["A"].phases.items()} for at in (1005.0, 1015.0, 1035.0) if (moment := moments.at(at))}
    assert seen == {1005.0: {"rendezvous": "done", "loading": "running"}, 1015.0: {"rendezvous": "done", "loading": "done", "training": "running"},
                    1035.0: {"rendezvous": "done", "loading": "done", "training": "done"}}


def test_a_run_that_is_not_there(history: Path) -> None:
    store = Store(history, "fleet")
    state = store.state
    store.close()
    with pytest.raises(FileError, match="no such run"):
        replay._chosen(state, "other", "here")
    run, began = replay._chosen(state, scene.SECOND, "here")
    assert run.job == scene.JOB and began == run.attempts[scene.SECOND].started_at


def test_so_long_before_the_end_is_taken_as_help_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def take(args: argparse.Namespace) -> int:
        begun.append(args.begin)
        return 0

    monkeypatch.setattr(replay, "replay", take)
    for words in (["--from", "-30m"], ["--from=-30m"], ["--from", "05:08:12"]):
        assert cli.main(["replay", "-i", "fleet.yaml", *words]) == 0
    assert begun == ["-30m", "-30m", "05:08:12"]
    assert cli._joined(["replay", "--from", "--plain"]) == ["replay", "--from", "--plain"]
