"""Long work in slices: a key that comes meanwhile is answered before the work's end, and alone."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator

import pytest
from textual import events

from console.core.events import LogBehind
from console.tui import panes
from console.tui.app import BEHIND_S, TYPED_S
from console.tui.log_book import LogBook, Source
from console.tui.slices import SLICE_S, SWEEP_ALL_S, SWEEP_S, Sweeper, at_hand
from console.tui.widgets import device_grid
from console.tui.widgets.device_grid import DeviceGrid
from console.tui.widgets.log_view import LINES, LogView, colour
from tests.console.tui import scene
from tests.console.tui.test_app import Screen, opened

ENOUGH = 2_000


async def settled(screen: Screen) -> None:
    """Until nothing waits to be painted."""
    for _ in range(ENOUGH):
        if not screen.app.screen._layout_required and not screen.app.screen._dirty_widgets:
            return
        await asyncio.sleep(0.005)


async def test_a_key_is_taken_between_two_slices() -> None:
    async with opened() as screen:
        app, loop, seen = screen.app, asyncio.get_running_loop(), []

        def work() -> Iterator[None]:
            for step in range(4):
                seen.append(app.prompt is not None)
                if step == 1:
                    app.post_message(events.Key("colon", ":"))
                end = loop.time() + SLICE_S
                while loop.time() < end:
                    pass
                yield

        app.slices.begin(work())
        for _ in range(ENOUGH):
            if not app.slices.busy:
                break
            await asyncio.sleep(0.005)
    assert seen == [False, False, True, True]


async def test_while_somebody_types_the_picture_behind_stays_for_a_while() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = scene.Tail(["line 1"])

    async def turn(screen: Screen, seconds: float) -> str:
        screen.clock.move_to(screen.clock.wall_s() + seconds)
        feed.pending.append(LogBehind(node=scene.LOG[0], path=scene.LOG[1], count=0, at=scene.NOW))  # something came
        screen.app._begin_turn()
        for _ in range(ENOUGH):
            if not screen.app.slices.busy:
                break
            await asyncio.sleep(0.005)
        await screen.pilot.pause()
        return screen.text()

    async with opened(feed=feed) as screen:
        await screen.press("colon", "a")
        await turn(screen, 2.0)
        await screen.press("b")
        feed.logs[scene.LOG].add("line 2")
        assert "line 2" not in await turn(screen, BEHIND_S * 0.6)
        assert ":ab" in screen.text(), "the letters are not behind"
        assert "line 2" in await turn(screen, BEHIND_S * 0.6)
        feed.logs[scene.LOG].add("line 3")
        await screen.press("escape")
        assert "line 3" in await turn(screen, 0.01), "nobody types"
        await screen.press("colon", "a")
        await turn(screen, TYPED_S * 2)
        feed.logs[scene.LOG].add("line 4")
        assert "line 4" in await turn(screen, 0.01), "the prompt is open, and nobody types"


async def test_what_the_first_picture_did_without_is_loaded_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    async with opened() as screen:
        with monkeypatch.context() as patched:
            patched.setattr(panes, "import_module", loaded.append)
            screen.app._get_ready(panes.load())
            assert len(loaded) == 1, "one module, and then whatever came meanwhile"
            for _ in range(ENOUGH):
                if len(loaded) >= len(panes._HOMES) and "doings" in screen.app.__dict__:
                    break
                await asyncio.sleep(0.005)
        assert "doings" in screen.app.__dict__ and "console.tui.widgets.log_view" in loaded


async def test_what_is_to_be_finished_comes_after_what_is_under_way_and_only_the_newest_of_it() -> None:
    async with opened() as screen:
        slices, loop, seen = screen.app.slices, asyncio.get_running_loop(), []

        def work(name: str) -> Iterator[None]:
            for _ in range(3):
                seen.append(name)
                end = loop.time() + SLICE_S
                while loop.time() < end:
                    pass
                yield

        for _ in range(ENOUGH):
            if not slices.busy:
                break
            await asyncio.sleep(0.005)
        slices.begin(work("first"))
        slices.finish(work("passed over"))
        slices.finish(work("last"))
        for _ in range(ENOUGH):
            if not slices.busy:
                break
            await asyncio.sleep(0.005)
        assert seen == ["first"] * 3 + ["last"] * 3
        slices.finish(work("alone"))
        assert slices.busy and "alone" not in seen
        for _ in range(ENOUGH):
            if not slices.busy:
                break
            await asyncio.sleep(0.005)
        assert seen[6:] == ["alone"] * 3


async def test_on_a_terminal_a_key_does_not_wait_until_a_log_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.tui.app.SHOW_S", 0.0)
    async with opened() as screen:
        view = screen.app.host.pane("logs")
        assert isinstance(view, LogView)
        screen.app.sweeper = Sweeper(screen.clock.mono_s())
        log = screen.feed.logs[scene.LOG]
        log.add(*(f"line {number}" for number in range(5 * LINES)))
        screen.app.show()
        assert view._book.behind([log])
        for _ in range(ENOUGH):
            if not view._book.behind([log]):
                break
            await asyncio.sleep(0.005)
        assert view._book.texts[-1] == f"line {5 * LINES - 1}"


async def test_work_that_fails_ends_the_screen_and_is_not_begun_again() -> None:
    def work() -> Iterator[None]:
        yield
        raise ValueError("no more")

    async with opened() as screen:
        with pytest.raises(ValueError, match="no more"):
            for _ in range(ENOUGH):
                screen.app.slices.begin(work())
                await asyncio.sleep(0)
        assert not screen.app.slices.busy


async def test_what_is_typed_is_painted_alone_and_at_once() -> None:
    async with opened() as screen:
        await screen.press("colon")
        await settled(screen)
        painted: list[set[int]] = []
        screen.app._display = lambda where, update: painted.append({y for y, _, _ in getattr(update, "spans", ())})  # type: ignore[method-assign, assignment]
        screen.app.screen._painted = float("-inf")  # type: ignore[attr-defined]
        screen.app.host.panes[0].refresh()
        await screen.app.on_event(events.Key("a", "a"))
        assert painted == [{35}]


async def test_a_burst_of_keys_is_left_to_the_frames() -> None:
    async with opened() as screen:
        await screen.press("colon")
        await settled(screen)
        painted: list[object] = []
        screen.app._display = lambda where, update: painted.append(update)  # type: ignore[method-assign]
        screen.app.screen._painted = asyncio.get_running_loop().time() + 60.0  # type: ignore[attr-defined]  # "the last one was just now", for however slow a machine
        for letter in "help":
            await screen.app.on_event(events.Key(letter, letter))
        assert painted == [] and screen.app.prompt is not None and screen.app.prompt.text == "help"


async def test_a_log_is_taken_in_by_pieces_and_is_whole_in_the_end() -> None:
    async with opened() as screen:
        view = screen.app.host.pane("logs")
        assert isinstance(view, LogView)
        screen.feed.logs[scene.LOG].add(*(f"line {number}" for number in range(5 * LINES)))
        work = view.showing(screen.feed.state, screen.clock.wall_s())
        assert len(list(work)) >= 4
        assert view._book.texts[-1] == f"line {5 * LINES - 1}" and not view._book.behind([screen.feed.logs[scene.LOG]])
        await screen.pilot.pause()
        assert f"line {5 * LINES - 1}" in screen.text()


async def test_a_pane_that_is_shown_while_its_work_waits_loses_nothing() -> None:
    async with opened() as screen:
        view = screen.app.host.pane("logs")
        assert isinstance(view, LogView)
        before = len(view._book.texts)
        screen.feed.logs[scene.LOG].add(*(f"line {number}" for number in range(3 * LINES)))
        work = view.showing(screen.feed.state, screen.clock.wall_s())
        next(work)
        view.show(screen.feed.state, screen.clock.wall_s())
        assert len(view._book.texts) == before + 3 * LINES
        list(work)
        assert len(view._book.texts) == before + 3 * LINES


async def test_the_grid_is_not_drawn_again_for_a_log_line(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[float] = []
    draw = DeviceGrid.drawing
    monkeypatch.setattr(DeviceGrid, "drawing", lambda self, state, now, *size: (drawn.append(now), draw(self, state, now, *size))[1])
    async with opened() as screen:
        screen.app.show()
        drawn.clear()
        screen.feed.logs[scene.LOG].add("one more")
        screen.app.show()
        assert drawn == []
        await screen.later(1)
        assert drawn


async def test_what_a_key_has_drawn_is_not_drawn_over_by_what_was_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_grid, "ROWS", 1)
    async with opened() as screen:
        grid = screen.app.host.pane("fleet-grid")
        assert isinstance(grid, DeviceGrid)
        work = grid.showing(screen.feed.state, screen.clock.wall_s() + 1)
        next(work)
        assert grid.press("down") and grid.node
        lines = grid._lines
        assert any(tone == "cursor" for line in lines for _, tone in line)
        assert list(work) == [] and grid._lines is lines
        later = grid.showing(screen.feed.state, screen.clock.wall_s() + 2)
        assert len(list(later)) >= 2 and grid._lines is not lines
        assert any(tone == "cursor" for line in grid._lines for _, tone in line)


def test_a_part_of_the_lines_is_taken_in_order_and_none_twice() -> None:
    tail, book = scene.Tail(maxlen=50), LogBook([Source("r0", 0.0)])
    tail.add(*(f"line {number}" for number in range(70)))
    while book.behind([tail]):
        assert book.take([tail], scene.NOW, 7)
    assert book.texts == [f"line {number}" for number in range(20, 70)]


@pytest.mark.parametrize("text", [
    "RuntimeError: NPU out of memory", "[ERROR] RUNTIME(4711,python)", "Traceback (most recent call last):", "Segmentation fault (core dumped)", "got SIGSEGV",
    "KeyboardInterruptException", "FATAL: no", "CRITICAL - no"])
def test_what_is_bad_is_marked_so(text: str) -> None:
    assert colour(text)[0] == ("✗ ", "bad")


@pytest.mark.parametrize("text", ["[rank3]:[W1122 05:10:01] slow", "UserWarning: no", "[WARNING] HCCL(1)"])
def test_what_is_doubtful_is_marked_so(text: str) -> None:
    assert colour(text)[0] == ("! ", "warn")


def test_garbage_is_swept_now_and_then_and_the_interpreter_gets_its_own_way_back() -> None:
    switch_s, threshold, frozen = sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()
    with at_hand():
        assert sys.getswitchinterval() < switch_s
        sweeper = Sweeper(0.0)
        sweeper.look(SWEEP_S / 2, 0.0)
        assert gc.get_freeze_count() == frozen
        sweeper.look(SWEEP_S, 0.0)
        kept = gc.get_freeze_count()
        assert kept > frozen
        ring: list[object] = []
        ring.append(ring)
        del ring
        sweeper.look(SWEEP_ALL_S + SWEEP_S, SWEEP_ALL_S)  # somebody is typing: what is frozen stays so
        assert gc.get_freeze_count() >= kept
    assert (sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()) == (switch_s, threshold, 0)
