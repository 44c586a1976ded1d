"""The mouse, for who wants it: a press chooses, the wheel scrolls, and nothing needs it."""

from __future__ import annotations

import pytest
from textual import events

from console.core.fleet.drill import Target
from tests.console.tui.test_app import Screen, opened
from tests.console.tui.test_checks import checked


def place(screen: Screen, words: str, after: str = "") -> tuple[int, int]:
    """Where words are on the screen, behind ``after`` where that is given."""
    lines = screen.text().splitlines()
    start = next((y for y, line in enumerate(lines) if after in line), 0) if after else 0
    y = next(y for y, line in enumerate(lines[start:], start) if words in line)
    return lines[y].index(words), y


async def click(screen: Screen, at: tuple[int, int]) -> None:
    await screen.pilot.click(offset=at)
    await screen.pilot.pause()


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_a_press_turns_to_the_pane_and_selects_the_line(size: tuple[int, int]) -> None:
    async with opened(size=size) as screen:
        await screen.press("1")
        await click(screen, place(screen, "atlas-03", after="Nodes"))
        assert screen.app.host.current.pane_name == "nodes" and screen.app.host.current.chosen() == Target(kind="node", node="atlas-03")
        await screen.press("6")
        await click(screen, place(screen, "atlas-0", after="kind"))
        assert screen.app.host.current.pane_name == "timeline" and isinstance(screen.app.host.current.chosen(), float)


async def test_a_press_chooses_an_npu_in_the_grid() -> None:
    async with opened(size=(120, 36)) as screen:
        await screen.press("1")
        x, _ = place(screen, "NPU 6")
        _, y = place(screen, "● atlas-02")
        await click(screen, (x + 2, y))
        assert screen.app.host.pane("fleet-grid").chosen() == Target(kind="npu", node="atlas-02", device=6)
        x, y = place(screen, "● atlas-02")
        await click(screen, (x + 3, y))
        assert screen.app.host.pane("fleet-grid").chosen() == Target(kind="node", node="atlas-02")


async def test_a_press_chooses_an_npu_where_the_heading_has_numbers_alone() -> None:
    async with opened(size=(80, 24)) as screen:
        await screen.press("1")
        x, _ = place(screen, " 6  ", after="link")
        _, y = place(screen, "● atlas-02")
        await click(screen, (x + 3, y))
        assert screen.app.host.pane("fleet-grid").chosen() == Target(kind="npu", node="atlas-02", device=6)


async def test_a_press_looks_at_a_cell_of_the_check() -> None:
    async with opened(size=(120, 36)) as screen:
        await checked(screen)
        x, _ = place(screen, "atlas-03")
        _, y = place(screen, "shared memory")
        await click(screen, (x + 1, y))
        sheet = screen.app.context.sheets.check
        assert (sheet.check, sheet.node) == ("shm-size", "atlas-03") and "/dev/shm" in screen.text() and "[!]" in screen.text()


async def test_the_wheel_scrolls_the_log_and_holds_it() -> None:
    async with opened() as screen:
        await screen.press("5")
        view = screen.app.host.pane("logs")
        assert view.follow
        await screen.pilot._post_mouse_events([events.MouseScrollUp], offset=(30, 10), button=0)
        await screen.pilot.pause()
        assert not view.follow and "held," in screen.text()
