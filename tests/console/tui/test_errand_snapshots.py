"""The check, the job file, the files of checkpoints and the dialogs as pictures, in both languages, with and without
colour; and every view without colour."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from console.core import i18n
from console.core.events import LoginAsked
from console.tui.app import ConsoleApp, Options
from console.tui.layout_host import BUILT_IN
from console.tui.views import KEYS
from console.tui.words import catalogue
from tests.console.core.fleet.test_wholeness import WHOLE, look
from tests.console.tui import errand_scene, scene
from tests.console.tui.test_snapshots import SIZES, focused

Compare = Callable[..., bool]
SHOWN = {"check": ("checks", errand_scene.check_told()), "job": ("launch", [errand_scene.planned()]), "refused-job": ("launch", [errand_scene.refused()])}


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    i18n.use(catalogue(request.param, {}))
    yield request.param
    i18n.use({})


@pytest.fixture(params=["colour", "plain"])
def _colour(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    _paint(request.param == "colour", monkeypatch)


def _paint(colour: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")


def screen(view: str, *news: object, feed: scene.FakeFeed | None = None) -> ConsoleApp:
    feed = feed or scene.full_feed()
    feed.said += news  # type: ignore[arg-type]
    return ConsoleApp(feed, feed.submit, scene.fixed_clock(), BUILT_IN, "", environ={name: os.environ[name] for name in ("NO_COLOR",) if name in os.environ}, options=Options(fps=0.001, view=view, fleet="lab"))


@pytest.mark.usefixtures("language", "_colour")
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", SHOWN)
def test_errand(snap_compare: Compare, name: str, size: tuple[int, int]) -> None:
    view, news = SHOWN[name]
    assert snap_compare(screen(view, *news), terminal_size=size, run_before=focused, press=["escape"])


@pytest.mark.usefixtures("language", "_colour")
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_checkpoints_with_their_files(snap_compare: Compare, size: tuple[int, int]) -> None:
    bad = {**WHOLE, 90: "common.pt is missing"}
    feed = scene.FakeFeed([*scene.fleet_events(), look("atlas-01", scene.NOW - 12, bad, resume_from=80, problems=["the tracker names 90, which is not whole"])])
    assert snap_compare(screen("checkpoints", feed=feed), terminal_size=size, run_before=focused)


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
@pytest.mark.parametrize("name", KEYS.values())
def test_view_without_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, name: str, size: tuple[int, int]) -> None:
    _paint(False, monkeypatch)
    assert snap_compare(screen(name), terminal_size=size, run_before=focused)


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize("name", ["fix", "run"])
def test_confirming(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _paint(True, monkeypatch)
    line = {"fix": "arm\nfix ip-forward atlas-02\n", "run": "arm\nrun\n"}[name]
    keys = [{"\n": "enter", " ": "space", "-": "minus"}.get(letter, letter) for letter in line]
    at = keys.index("enter") + 1
    assert snap_compare(screen(*{"fix": ("checks", *errand_scene.check_told()), "run": ("launch", errand_scene.planned())}[name]), terminal_size=(100, 30),
                        run_before=focused, press=["escape", "colon", *keys[:at], "colon", *keys[at:]])


@pytest.mark.usefixtures("language")
def test_a_login(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    _paint(True, monkeypatch)
    app = screen("fleet", LoginAsked(at=scene.NOW, number=1, node="atlas-04", text="One-time code Look at your token. Code: "))
    assert snap_compare(app, terminal_size=(80, 24), run_before=_asked)


async def _asked(pilot: object) -> None:
    pilot.app.tick()  # type: ignore[attr-defined]
    await pilot.pause()  # type: ignore[attr-defined]
