"""The screen at three sizes, as pictures: a changed one is looked at, then accepted with --snapshot-update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from textual.pilot import Pilot

from console.core.layout import from_mapping
from console.tui.app import ConsoleApp, Ending, Options
from console.tui.layout_host import BUILT_IN
from console.tui.views import KEYS
from tests.console.tui import scene

LAYOUTS = Path(__file__).resolve().parents[3] / "layouts"
SIZES = {"80x24": (80, 24), "120x36": (120, 36), "200x60": (200, 60)}
Compare = Callable[..., bool]


async def focused(pilot: Pilot[Ending]) -> None:
    """Wait until the frame of the focused pane is drawn as such: Textual applies :focus a moment after the focus."""
    for _ in range(500):
        pane = pilot.app.focused
        if pane is not None and pane.styles.border_top[0] == "heavy" and scene.at_rest(pilot.app):
            return
        await pilot.pause(0.01)
    pytest.fail("no pane was drawn as focused")


async def ticked(pilot: Pilot[Ending]) -> None:
    """The same, with what a second brings: a pane that is not on the screen learns then that it has something to say."""
    await focused(pilot)
    assert isinstance(pilot.app, ConsoleApp)
    pilot.app.show()
    await focused(pilot)


@pytest.fixture(autouse=True)
def _in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)


def view(name: str, theme: str = "", *, broken: bool = False) -> ConsoleApp:
    feed = scene.full_feed()
    if broken:
        feed.pending += scene.broken_events()
        feed.drain()
    return ConsoleApp(feed, feed.submit, scene.fixed_clock(), BUILT_IN, "", environ={}, options=Options(fps=0.001, view=name, theme=theme))


def app(layout: str = "default") -> ConsoleApp:
    spec = from_mapping(yaml.safe_load((LAYOUTS / f"{layout}.yaml").read_text("utf-8")), where=layout)
    feed = scene.full_feed()
    return ConsoleApp(feed, feed.submit, scene.fixed_clock(), spec, (LAYOUTS / f"{layout}.tcss").read_text("utf-8"), environ={}, options=Options(fps=0.001))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_default(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(app(), terminal_size=size, run_before=focused)


def test_compact(snap_compare: Compare) -> None:
    assert snap_compare(app("compact"), terminal_size=(80, 24), run_before=focused)


def test_one_pane_at_60x15(snap_compare: Compare) -> None:
    assert snap_compare(app(), terminal_size=(60, 15), run_before=focused)


def test_armed_with_the_stop_dialog(snap_compare: Compare) -> None:
    assert snap_compare(app(), terminal_size=(120, 36), run_before=focused, press=["colon", "a", "r", "m", "enter", "S"])


def test_help(snap_compare: Compare) -> None:
    assert snap_compare(app(), terminal_size=(80, 24), run_before=focused, press=["question_mark"])


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", KEYS.values())
def test_view(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(view(name), terminal_size=size, run_before=focused)


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", KEYS.values())
def test_view_in_chinese(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    assert snap_compare(view(name), terminal_size=size, run_before=focused)


@pytest.mark.parametrize("size", [(120, 36), (80, 24), (40, 8)], ids=["120x36", "80x24", "40x8"])
def test_a_verdict(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(view("incident", broken=True), terminal_size=size, run_before=ticked)


@pytest.mark.usefixtures("chinese")
def test_a_verdict_in_chinese(snap_compare: Compare) -> None:
    assert snap_compare(view("incident", broken=True), terminal_size=(80, 24), run_before=ticked)


@pytest.mark.parametrize("name", ["wall", "triage", "logs"])
def test_layout(snap_compare: Compare, name: str) -> None:
    assert snap_compare(app(name), terminal_size=SIZES["200x60"] if name == "wall" else SIZES["120x36"], run_before=focused)


@pytest.mark.parametrize("theme", ["dark", "light", "high-contrast", "colour-blind"])
def test_theme(snap_compare: Compare, theme: str) -> None:
    assert snap_compare(view("fleet", theme), terminal_size=SIZES["120x36"], run_before=focused)


def test_a_moment_in_the_past(snap_compare: Compare) -> None:
    assert snap_compare(view("training"), terminal_size=SIZES["120x36"], run_before=focused, press=["left_curly_bracket"])


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(view("incident"), terminal_size=SIZES["120x36"], run_before=focused)
