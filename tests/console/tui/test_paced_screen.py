"""Over a slow line: one frame at a time, with all that changed meanwhile; a line being typed goes out at once."""

from __future__ import annotations

import asyncio

import pytest
from textual import events

from console.tui.paced_screen import HURRIES, PacedScreen
from console.tui.pacing import SLOW_S
from tests.console.tui.test_app import Screen, opened
from tests.console.tui.test_slices import ENOUGH, settled


def slow(screen: Screen) -> None:
    """A frame took long, and the next one is on its way."""
    pacer = screen.app.pacer
    pacer.painted()
    screen.clock.move_to(screen.clock.wall_s() + SLOW_S)
    pacer.wrote(0, SLOW_S)  # it was the line that took so long, and not we who were late
    pacer.answered()
    pacer.painted()


def rows(update: object) -> set[int]:
    """Which rows of the terminal an update writes."""
    spans = getattr(update, "spans", None)
    return {y for y, _, _ in spans} if spans is not None else set(range(36))


async def test_a_change_of_view_is_one_frame_and_comes_when_the_line_is_free() -> None:
    async with opened() as screen:
        await settled(screen)
        slow(screen)
        painted: list[set[int]] = []
        screen.app._display = lambda where, update: painted.append(rows(update))  # type: ignore[method-assign]
        for key in "563":
            await screen.press(key)
            await asyncio.sleep(0.02)
        assert painted == []
        screen.app.pacer.answered()
        for _ in range(ENOUGH):
            if painted and not screen.app.screen._held:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0.005)
        assert painted[0] == set(range(36)) and "3 Training" in screen.text()


async def test_what_is_typed_does_not_wait_and_takes_nothing_away_from_the_frame() -> None:
    async with opened() as screen:
        await screen.press("colon")
        await settled(screen)
        slow(screen)
        painted: list[set[int]] = []
        screen.app._display = lambda where, update: painted.append(rows(update))  # type: ignore[method-assign]
        screen.app.host.panes[0].refresh()
        for _ in range(ENOUGH):
            if screen.app.screen._held:  # type: ignore[attr-defined]
                break
            await asyncio.sleep(0.005)
        screen.app.screen._painted = float("-inf")  # type: ignore[attr-defined]
        await screen.app.on_event(events.Key("a", "a"))
        assert painted == [{35}]
        screen.app.pacer.answered()
        for _ in range(ENOUGH):
            if len(painted) > 1:
                break
            await asyncio.sleep(0.005)
        assert set(range(1, 3)) <= painted[1]


async def test_on_a_quick_line_nothing_is_held_back() -> None:
    async with opened() as screen:
        await settled(screen)
        screen.app.pacer.painted()
        screen.app.pacer.answered()
        screen.app.pacer.painted()
        await screen.press("5")
        assert not screen.app.screen._held  # type: ignore[attr-defined]


async def test_what_a_key_changes_is_painted_when_it_is_there() -> None:
    async with opened() as screen:
        await settled(screen)
        main = screen.app.screen
        assert isinstance(main, PacedScreen)
        painted: list[set[int]] = []
        screen.app._display = lambda where, update: painted.append(rows(update))  # type: ignore[method-assign]

        async def idle() -> int:
            """Frames that an idle screen paints by itself, while a pane waits for its paint."""
            painted.clear()
            pane = screen.app.host.panes[0]
            pane._set_dirty()
            main._dirty_widgets.add(pane)
            await main._on_idle(events.Idle())
            main._dirty_widgets.discard(pane)
            return len(painted)

        # Without a turn for anything else in between.
        main._hurries = 0
        assert await idle() == 0
        main.hurry()
        main._hurry_until += 60.0  # however slow the machine
        assert [await idle() for _ in range(HURRIES + 1)] == [1] * HURRIES + [0]
        main.hurry()
        main._hurry_until = float("-inf")
        assert await idle() == 0
        slow(screen)
        main.hurry()
        main._hurry_until += 60.0
        assert await idle() == 0


async def test_another_pane_in_focus_is_no_reason_for_a_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as screen:
        host, layouts = screen.app.host, []
        monkeypatch.setattr(host, "refresh", lambda *regions, **named: layouts.append(named))
        before = host.current
        host.step(1)
        assert host.current is not before and layouts == []
        host.zoomed = True
        host.place()
        assert layouts == [{"layout": True}]
