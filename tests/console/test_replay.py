"""Replay: what was known when, from a history on disk, on the same screen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

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


def test_a_run_that_is_not_there(history: Path) -> None:
    store = Store(history, "fleet")
    state = store.state
    store.close()
    with pytest.raises(FileError, match="no such run"):
        replay._chosen(state, "other", "here")
    run, began = replay._chosen(state, scene.SECOND, "here")
    assert run.job == scene.JOB and began == run.attempts[scene.SECOND].started_at
