"""The scroll bar is painted when its thumb moves."""

from __future__ import annotations

import asyncio

import pytest

from console.tui.thumb import ThumbBar, thumb
from console.tui.widgets.log_view import LogView
from tests.console.tui import scene
from tests.console.tui.test_app import opened
from tests.console.tui.test_slices import ENOUGH


@pytest.mark.parametrize(("cells", "whole", "shown", "at", "found"), [
    (10, 20, 10, 0, (0, 40)), (10, 20, 10, 10, (40, 80)), (10, 20, 10, 5, (20, 60)), (10, 1_000_000, 10, 0, (0, 8)), (10, 1_000_000, 10, 999_990, (72, 80)),
    (10, 8, 10, 0, None), (0, 20, 10, 0, None), (10, 20, 0, 0, None)])
def test_where_the_thumb_is(cells: int, whole: int, shown: int, at: int, found: tuple[int, int] | None) -> None:
    assert thumb(cells, whole, shown, at) == found


async def test_a_log_that_grows_at_its_end_does_not_have_its_bar_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as screen:
        view = screen.app.host.pane("logs")
        assert isinstance(view, LogView)
        screen.feed.logs[scene.LOG].add(*(f"line {number}" for number in range(1000)))
        screen.app.show()
        bar = view.vertical_scrollbar
        for _ in range(ENOUGH):
            if bar.size.height:
                break
            await asyncio.sleep(0.005)
        assert isinstance(bar, ThumbBar) and bar.size.height
        # From here on without a turn for anything else.
        painted: list[float] = []
        monkeypatch.setattr(bar, "refresh", lambda *regions, **named: painted.append(bar.position))

        def change(whole: int, at: float) -> None:
            bar.window_size, bar.window_virtual_size, bar.position = 10, whole, at
            bar._look()

        change(1000, 990.0)
        painted.clear()
        change(1010, 1000.0)
        assert painted == []
        change(1010, 0.0)
        assert painted == [0.0]
