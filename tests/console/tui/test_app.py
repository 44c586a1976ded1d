"""The screen as an operator drives it: keys and commands in, intents and notices out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from textual.color import Color
from textual.pilot import Pilot

from console.core.clock import FixedClock
from console.core.errors import ConsoleError
from console.core.events import Answer, LaunchProgress, RecordArrived
from console.core.intents import FollowLog, ReconnectNode, StopJob, UnfollowLog
from console.core.layout import PANES, Box, LayoutSpec, from_mapping
from console.tui.actions import ACTIONS
from console.tui.app import ConsoleApp, Ending, Options, run
from console.tui.layout_host import BUILT_IN
from console.tui.screens.help_screen import HelpScreen
from console.tui.screens.stop_dialog import StopDialog
from console.tui.widgets.charts import Loss
from console.tui.widgets.log_view import LogView
from tests.console.tui import scene

LAYOUTS = Path(__file__).resolve().parents[3] / "layouts"
AWAY = 1_000.0


class Screen:
    """The running app with what a test looks at."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[Ending], feed: scene.FakeFeed, clock: FixedClock) -> None:
        self.app, self.pilot, self.feed, self.clock = app, pilot, feed, clock

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def command(self, line: str) -> None:
        await self.press("colon")
        await self.type(line)

    async def type(self, text: str) -> None:
        await self.press(*({" ": "space", "-": "minus", ":": "colon"}.get(letter, letter) for letter in text), "enter")

    async def later(self, seconds: float) -> None:
        self.clock.move_to(self.clock.wall_s() + seconds)
        self.app.tick()
        await self.pilot.pause()

    def text(self) -> str:
        """Everything on the screen, line by line."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    def writes(self) -> list[StopJob]:
        return [intent for intent in self.feed.intents if isinstance(intent, StopJob)]


Opener = Callable[..., AbstractAsyncContextManager[Screen]]


@asynccontextmanager
async def opened(size: tuple[int, int] = (120, 36), feed: scene.FakeFeed | None = None, spec: LayoutSpec = BUILT_IN, css: str = "",
                 **more: object) -> AsyncIterator[Screen]:
    feed, clock = feed or scene.full_feed(), scene.fixed_clock()
    app = ConsoleApp(feed, feed.submit, clock, spec, css, environ={}, options=Options(fps=0.001, **more))  # type: ignore[arg-type]  # ticks by hand
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        yield Screen(app, pilot, feed, clock)


async def test_the_screen_shows_the_moment() -> None:
    async with opened() as screen:
        text = screen.text()
    for words in ("3/4 nodes up", "read-only", "demo-gpt-tiny", "96/120", "atlas-04 down", "Loss  2.1195 @ 96", "✓ saved", "rank 15 · atlas-02 · following"):
        assert words in text, words


async def test_an_empty_fleet_is_no_trouble() -> None:
    async with opened(feed=scene.FakeFeed()) as screen:
        text = screen.text()
        await screen.press("l", "f", "Y", "S", "tab", "minus", "z")
        assert screen.app.is_running
    assert "no job" in text and "no node has been heard of" in text


async def test_arming_shows_and_ends_by_itself() -> None:
    async with opened() as screen:
        await screen.command("arm 10m")
        assert "ARMED 10m00s" in screen.text() and screen.app.screen.has_class("-armed")
        assert "heavy" in str(screen.app.host.panes[0].styles.border_top)
        await screen.later(599)
        assert "ARMED 1.0s" in screen.text()
        await screen.later(2)
        assert "read-only" in screen.text() and not screen.app.screen.has_class("-armed")


async def test_disarming() -> None:
    async with opened() as screen:
        await screen.command("arm")
        assert screen.app.arming.armed
        await screen.command("disarm")
        assert not screen.app.arming.armed and "read-only" in screen.text()


@pytest.mark.parametrize("line", ["arm 10", "arm 1000h", "arm x"])
async def test_a_wrong_time_does_not_arm(line: str) -> None:
    async with opened() as screen:
        await screen.command(line)
        assert not screen.app.arming.armed and "expected a time" in screen.text()


async def test_every_write_is_refused_while_read_only() -> None:
    async with opened() as screen:
        for action in ACTIONS:
            if action.access == "write":
                await screen.press("7" if action.within else "0")
                for how in (*action.keys, f":{action.name}"):
                    await (screen.command(how[1:]) if how.startswith(":") else screen.press(how))
                    assert len(screen.app.screen_stack) == 1 and screen.writes() == []
                    assert f"{action.name} refused" in screen.text()
        screen.app.send(StopJob(job="x", attempt="y", nodes=("z",)))
        assert screen.writes() == [], "the second lock: an intent that comes from elsewhere"


async def test_stop_wants_the_name_and_sends_the_frozen_targets() -> None:
    async with opened() as screen:
        await screen.command("arm")
        await screen.press("S")
        assert isinstance(screen.app.screen, StopDialog)
        text = screen.text()
        assert "atlas-01" in text and "atlas-02" in text and '"op": "stop"' in text and scene.SECOND in text and "SIGKILL" in text
        await screen.type("demo-gpt")
        assert isinstance(screen.app.screen, StopDialog) and screen.writes() == [] and "not the job's name" in screen.text()
        # Meanwhile one node's part ends and a newer attempt appears: the list stays what was shown.
        record = scene.Recorder()
        for node, attempt, state in (("atlas-02", scene.SECOND, "exited"), ("atlas-03", "20261122T070000Z-ffff", "running")):
            screen.feed.pending.append(record(node, "job", scene.NOW, job=scene.JOB, attempt=attempt, epoch=1, state=state, node_index=0,
                                              dir="/d", operator="lin", why=None))
        await screen.later(1)
        await screen.type(scene.JOB)
        assert len(screen.app.screen_stack) == 1
        (stop,) = screen.writes()
        assert (stop.job, stop.attempt, stop.nodes, stop.grace_s) == (scene.JOB, scene.SECOND, ("atlas-01", "atlas-02"), 60.0)


async def test_escape_stops_nothing() -> None:
    async with opened() as screen:
        await screen.command("arm")
        await screen.press("S", "escape")
        assert len(screen.app.screen_stack) == 1 and screen.writes() == []


async def test_a_dialog_left_open_until_the_time_is_up_stops_nothing() -> None:
    async with opened() as screen:
        await screen.command("arm 90s")
        await screen.press("S")
        await screen.later(91)
        await screen.type(scene.JOB)
        assert screen.writes() == [] and "No longer armed" in screen.text()


async def test_stop_with_nothing_to_stop() -> None:
    async with opened(feed=scene.FakeFeed()) as screen:
        await screen.command("arm")
        await screen.press("S")
        assert len(screen.app.screen_stack) == 1 and "nothing to stop" in screen.text()


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_leaving_says_that_the_job_goes_on(key: str) -> None:
    async with opened() as screen:
        await screen.press(key)
    assert screen.app.return_value == Ending(reason="quit", text="demo-gpt-tiny keeps running.")


async def test_keys_typed_into_the_command_line_are_text() -> None:
    async with opened() as screen:
        await screen.press("colon", "q", "S", "l")
        assert screen.app.prompt is not None and screen.app.prompt.text == "qSl" and screen.app.is_running
        await screen.press("escape")
        assert screen.app.prompt is None and screen.app.return_value is None


async def test_the_command_line_completes_and_remembers() -> None:
    async with opened() as screen:
        await screen.press("colon", *"recon")
        assert "reconnect" in screen.text()
        await screen.press("tab", "space", "tab", "4", "enter")
        assert screen.feed.intents[-1] == ReconnectNode(node="atlas-04")
        await screen.press("colon", "up")
        assert screen.app.prompt is not None and screen.app.prompt.text == "reconnect atlas-04"
        await screen.press("down")
        assert screen.app.prompt.text == ""


@pytest.mark.parametrize(("line", "says"), [("nonsense", "no such command"), ("pane nowhere", "no pane nowhere"), ("reconnect nobody", "no node is called"),
                                            ("log 99", "no log of 99")])
async def test_a_command_that_cannot_be_done_says_why(line: str, says: str) -> None:
    async with opened() as screen:
        await screen.command(line)
        assert says in screen.text()


async def test_help_is_made_from_the_actions() -> None:
    async with opened(size=(140, 150)) as screen:
        await screen.press("question_mark")
        assert isinstance(screen.app.screen, HelpScreen)
        text = screen.text()
        for action in ACTIONS:
            assert f":{action.name}" in text
        await screen.press("q")
        assert len(screen.app.screen_stack) == 1 and screen.app.is_running, "q closes the help, not the console"


async def test_the_log_is_asked_for_and_let_go() -> None:
    async with opened() as screen:
        assert screen.feed.intents == [FollowLog(node=scene.LOG[0], path=scene.LOG[1])]
        await screen.press("l")
        unfollow, follow = screen.feed.intents[1:]
        assert unfollow == UnfollowLog(node=scene.LOG[0], path=scene.LOG[1])
        assert isinstance(follow, FollowLog) and follow.path.endswith("atlas-01/round-00/local_rank-0.log")
        await screen.press("L")
        assert screen.feed.intents[-1] == FollowLog(node=scene.LOG[0], path=scene.LOG[1])
        await screen.command("log atlas-02")
        assert screen.feed.intents[-1] == FollowLog(node="atlas-02", path=f"/data/.rankdeck/{scene.JOB}/{scene.SECOND}/atlas-02/launcher.log")


async def test_a_new_round_is_followed_by_itself_unless_a_rank_was_chosen() -> None:
    record = scene.Recorder()

    def moved(number: int) -> None:
        screen.feed.pending.append(record("atlas-01", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=number, restart_count=number,
                                          world_size=16, complete=True, ranks={"rank": [15, 3], "local_rank": [0, 1], "group_rank": [0, 0],
                                                                               "pid": [1, 2], "start_ticks": [1, 1]}))

    async with opened() as screen:
        moved(1)
        await screen.later(1)
        assert screen.feed.intents[-1].path.endswith("atlas-01/round-01/local_rank-0.log")  # type: ignore[union-attr]
        await screen.command("log 3")
        moved(2)
        await screen.later(1)
        assert screen.feed.intents[-1].path.endswith("atlas-01/round-02/local_rank-1.log")  # type: ignore[union-attr]


async def test_a_held_log_keeps_its_place_while_the_ring_goes_on() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = scene.Tail((f"line {n}" for n in range(300)), maxlen=300)
    async with opened(feed=feed) as screen:
        view = screen.app.host.pane("logs")
        assert isinstance(view, LogView)
        assert "line 299" in screen.text()
        await screen.press("pageup")
        first = view.render_line(0).text.strip()
        assert not view.follow and first.startswith("line ")
        feed.logs[scene.LOG].add(*(f"line {n}" for n in range(300, 350)))
        await screen.later(1)
        assert view.render_line(0).text.strip() == first
        assert "held, 50 newer" in screen.text()
        await screen.press("f")
        assert view.follow and "line 349" in screen.text()


async def test_log_lines_cannot_act_on_the_terminal() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = scene.Tail(["\x1b]52;c;ZXZpbA==\x07\x1b[2J", "x" * 100_000, "\u202etxt.exe\r\n"])
    async with opened(feed=feed) as screen:
        text = screen.text()
        assert "␛]52;c;ZXZpbA==␇␛[2J" in text and "<202E>txt.exe" in text
        assert not [c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]


async def test_a_job_name_of_ten_thousand_characters_stays_in_its_cell() -> None:
    name = "\x1b[31mvery-long-" + "x" * 10_000
    feed = scene.FakeFeed(
        replace(event, job=name) if isinstance(event, LaunchProgress) else
        replace(event, data={**event.data, "job": name}) if isinstance(event, RecordArrived) and "job" in event.data else event
        for event in scene.fleet_events())
    async with opened(feed=feed) as screen:
        lines = screen.text().splitlines()
        assert {len(line) for line in lines} == {120}
        assert "96/120" in screen.text() and "\x1b" not in screen.text()
        await screen.command("arm")
        await screen.press("S")
        assert "SIGKILL" in screen.text()
        await screen.press("escape", "q")
    assert screen.app.return_value is not None and len(screen.app.return_value.text) < 100


async def test_what_cannot_be_armed_does_not_say_to_arm_it() -> None:
    async with opened(read_only=True) as screen:
        await screen.press("S")
        assert "this console only looks; it cannot be armed" in screen.text() and ":arm first" not in screen.text()


async def test_answers_reach_the_status_line() -> None:
    async with opened() as screen:
        screen.feed.said.append(Answer(node="atlas-02", at=scene.NOW, op="stop", ok=False, error="no such attempt\x1b[1m"))
        await screen.later(1)
        assert "stop failed on atlas-02: no such attempt␛" in screen.text()
        await screen.later(20)
        assert "stop failed" not in screen.text(), "a notice goes by itself"


async def test_panes_are_walked_and_zoomed() -> None:
    async with opened() as screen:
        host = screen.app.host
        assert host.current is host.pane("logs")
        await screen.press("tab")
        assert host.current is host.panes[0] and screen.app.focused is host.panes[0]
        await screen.press("shift+tab", "minus")
        assert host.current is host.panes[0]
        await screen.command("pane loss")
        await screen.press("z")
        assert [pane.pane_name for pane in host.panes if pane.is_on_screen] == ["loss"]
        await screen.press("escape")
        assert len([pane for pane in host.panes if pane.is_on_screen]) == 5


async def test_the_loss_turns_logarithmic() -> None:
    async with opened() as screen:
        await screen.press("Y")
        pane = screen.app.host.pane("loss")
        assert isinstance(pane, Loss) and pane.log_y and "log y" in screen.text()


async def test_a_small_screen_shows_one_pane_and_a_tiny_one_says_so() -> None:
    async with opened(size=(60, 15)) as screen:
        assert "read-only" in screen.text() and "Log  rank 15" in screen.text() and "Loss" not in screen.text()
        await screen.press("shift+tab", "shift+tab")
        assert "Loss  2.1195" in screen.text() and "Log  rank 15" not in screen.text()
        await screen.pilot.resize_terminal(39, 7)
        await screen.pilot.pause()
        assert "40 × 8 at least" in screen.text() and "Loss" not in screen.text()
        await screen.pilot.resize_terminal(120, 36)
        await screen.pilot.pause()
        assert "Loss  2.1195" in screen.text() and "Log  rank 15" in screen.text()


@pytest.mark.parametrize("name", PANES)
async def test_every_pane_draws_at_every_size(name: str) -> None:
    async with opened(size=(200, 60), spec=LayoutSpec(name="one", root=Box(pane=name))) as screen:
        pane = screen.app.host.pane(name)
        assert pane is not None and pane.pane_name == name
        for width, height in ((200, 60), (80, 24), (44, 9)):
            await screen.pilot.resize_terminal(width, height)
            await screen.pilot.pause()
            body = screen.text().splitlines()[2:-1]
            assert any(line.strip() for line in body)
            assert {len(line) for line in body} == {width}


async def test_every_pane_draws_an_empty_fleet() -> None:
    everything = LayoutSpec(name="all", root=Box(children=tuple(Box(pane=name) for name in PANES)))
    async with opened(size=(80, 60), feed=scene.FakeFeed(), spec=everything) as screen:
        assert "nothing launched yet" in screen.text() and "no fault seen" in screen.text()


@pytest.mark.parametrize("path", sorted(LAYOUTS.glob("*.yaml")), ids=lambda path: path.stem)
async def test_the_shipped_layouts_open(path: Path) -> None:
    spec = from_mapping(yaml.safe_load(path.read_text("utf-8")), where=path.name)
    async with opened(size=(80, 24), spec=spec, css=path.with_suffix(".tcss").read_text("utf-8")) as screen:
        assert "Log" in screen.text() and "running" in screen.text() and len(screen.app.host.panes) >= 2


@pytest.mark.parametrize("css", ["#pane-loss { color: ", "#pane-loss { colour: red; }", "#pane-loss { border: wavy red; }"])
async def test_a_broken_style_sheet_is_left_out_and_said(css: str) -> None:
    async with opened(css=css) as screen:
        assert "layout colours ignored" in screen.text() and "Loss  2.1195" in screen.text()


async def test_a_style_sheet_colours_and_does_not_move() -> None:
    async with opened(css="#pane-loss { background: ansi_blue; width: 5; height: 3; }") as screen:
        pane = screen.app.host.pane("loss")
        assert pane is not None and pane.styles.background == Color.parse("ansi_blue") and pane.size.width > 40


@pytest.mark.parametrize(("environ", "expected"), [({}, "ansi-dark"), ({"TEXTUAL_THEME": "nord"}, "nord"), ({"NO_COLOR": "1", "TEXTUAL_THEME": "nord"}, "ansi-dark"),
                                                   ({"TEXTUAL_THEME": "no-such"}, "ansi-dark")])
def test_the_theme(environ: dict[str, str], expected: str | None) -> None:
    feed = scene.full_feed()
    app = ConsoleApp(feed, feed.submit, scene.fixed_clock(), BUILT_IN, environ=environ)
    assert app.theme == expected
    assert app.animation_level == "none"


async def test_no_colour_leaves_the_terminals_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened() as screen:
        await screen.command("arm")
        segments = [segment for strip in screen.app.screen._compositor.render_strips() for segment in strip if segment.style is not None]
        colours = {colour.name for segment in segments for colour in (segment.style.color, segment.style.bgcolor) if colour is not None}
        assert colours <= {"default"}, colours
        assert any(segment.style.reverse and "ARMED" in segment.text for segment in segments), "it is told by more than colour"


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_is_refused_with_what_to_do(term: str) -> None:
    feed = scene.full_feed()
    with pytest.raises(ConsoleError, match="rankdeck status"):
        run(feed, feed.submit, scene.fixed_clock(), BUILT_IN, environ={"TERM": term})
