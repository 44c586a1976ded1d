"""The view of checkpoints: whole or not and why, what a restart would cost, and whether the next save fits."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from console.tui import plain
from console.tui.widgets.checkpoint_line import outlook
from tests.console.core.fleet.test_wholeness import WHOLE, look
from tests.console.tui import scene
from tests.console.tui.test_app import opened


def feed(*looks: object) -> scene.FakeFeed:
    return scene.FakeFeed([*scene.fleet_events(), *looks])  # type: ignore[list-item]


async def test_what_only_the_log_says_is_said_to_be_so() -> None:
    async with opened() as screen:
        await screen.press("4")
        for words in ("at risk 6 iterations", "a restart begins at 90  as printed; nobody has looked at the files", "a save takes 1.8s", "saved every 10"):
            assert words in screen.text(), (words, screen.text())


async def test_a_save_that_is_not_whole_saves_nothing() -> None:
    bad = {**WHOLE, 90: "__3_0.distcp has 100 bytes, 4096 were written"}
    async with opened(size=(140, 36), feed=feed(look("atlas-01", scene.NOW - 12, bad, resume_from=80, free_bytes=2_000_000_000, problems=["the tracker names 90, which is not whole"]))) as screen:
        await screen.press("4")
        text = screen.text()
        for words in ("at risk 16 iterations", "a restart begins at 80", "files seen 12s ago on 1 nodes", "next save 3.24GiB of 1.86GiB free ✗ does not fit", "tracker 90",
                      "✗ atlas-01  the tracker names 90, which is not whole", "✗ not whole", "__3_0.distcp has 100 bytes, 4096 were written", "✓ whole", "· removed"):
            assert words in text, (words, text)


async def test_a_directory_that_cannot_be_read_is_told() -> None:
    async with opened(size=(140, 36), feed=feed(look("atlas-01", scene.NOW - 12, WHOLE, resume_from=90), look("atlas-02", scene.NOW - 3, {}, why="denied"))) as screen:
        await screen.press("4")
        assert "✗ atlas-02  the directory cannot be read: denied" in screen.text() and "of 9.31GiB free ✓" in screen.text()


@pytest.mark.parametrize(("saved", "interval"), [((25,), None), ((25, 50), 25), ((10, 20, 30, 40, 50, 60, 70, 80, 90, 100), 10)])
def test_the_interval_is_what_lies_between_saves_however_few_there_are(saved: tuple[int, ...], interval: int | None) -> None:
    run = scene.full_feed().state.current
    assert run is not None
    seen = next(iter(run.checkpoints.values()))
    assert outlook(replace(run, checkpoints={at: replace(seen, iteration=at, state="saved") for at in saved})).interval == interval


def test_after_its_end_no_next_save_is_promised() -> None:
    run = scene.full_feed().state.current
    assert run is not None and run.latest is not None and outlook(run).next_s is not None
    ended = replace(run.latest, node_states=dict.fromkeys(run.latest.node_states, "exited"))
    assert outlook(replace(run, attempts={**run.attempts, ended.attempt: ended})).next_s is None


async def test_in_the_past_the_head_tells_what_was_at_risk_then() -> None:
    later = look("atlas-01", scene.NOW - 2, WHOLE, resume_from=90, free_bytes=10_000_000_000)
    async with opened(size=(140, 36), feed=feed(look("atlas-01", scene.NOW - 12, {**WHOLE, 90: "common.pt is missing"}, resume_from=80), later)) as screen:
        await screen.press("4")
        assert "at risk 6 iterations" in screen.text() and "a restart begins at 90  files seen 2s ago" in screen.text()
        run = screen.app.feed.state.current
        assert run is not None
        before = max(seen.time for seen in run.checkpoints.values() if seen.iteration < 90) + 1.0
        screen.app.context.cursor.go(before, scene.NOW)
        await screen.press("-", "-")    # away and back: drawn anew, at the moment
        head = screen.text()
        assert "a restart begins at 80  as printed" in head and "a restart begins at 90" not in head and "files seen" not in head, head


def test_as_text() -> None:
    out, moment = io.StringIO(), feed(look("atlas-01", scene.NOW - 12, {**WHOLE, 90: "common.pt is missing"}, resume_from=80))
    plain.run(moment, moment.submit, scene.fixed_clock(), lines=io.StringIO("checkpoints\n"), out=out)
    assert "90: not whole" in out.getvalue() and ". common.pt is missing" in out.getvalue() and "80: whole" in out.getvalue()
