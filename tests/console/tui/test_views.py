"""The six views, drilling down and the one time cursor, as an operator drives them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.app import SuspendNotSupported

from console.core.events import LinkChanged
from console.core.fleet.drill import Target
from console.core.intents import FollowLog
from console.core.layout import Box, LayoutSpec
from console.tui import outside
from console.tui.app import ConsoleApp
from console.tui.layout_host import shares
from console.tui.views import KEYS, VIEWS
from console.tui.widgets.incident import Timeline
from tests.console.tui import scene
from tests.console.tui.test_app import opened

SHOWN = {"fleet": "Nodes  4", "launch": "Per node", "training": "Gradient norm", "checkpoints": "at risk 6 iterations", "logs": "rank 15", "incident": "Who broke first", "checks": "not checked yet", "alarms": "Here too"}


@pytest.mark.parametrize("key", KEYS)
async def test_each_view_has_its_key_and_its_command(key: str) -> None:
    async with opened() as screen:
        await screen.press(key)
        assert screen.app.navigator.view == KEYS[key] and SHOWN[KEYS[key]] in screen.text() and f"{key} {VIEWS[KEYS[key]].title}" in screen.text()
        await screen.press("0")
        assert screen.app.navigator.view == "layout"
        await screen.command(KEYS[key])
        assert SHOWN[KEYS[key]] in screen.text()


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (60, 15), (40, 8)])
async def test_every_view_draws_at_every_size_also_an_empty_fleet(size: tuple[int, int]) -> None:
    for feed in (scene.full_feed(), scene.FakeFeed()):
        async with opened(size=size, feed=feed) as screen:
            for key in KEYS:
                await screen.press(key)
                lines = screen.text().splitlines()
                assert len(lines) == size[1] and {len(line) for line in lines} == {size[0]}, (key, size)


async def test_minus_goes_to_the_view_before_and_escape_home() -> None:
    async with opened() as screen:
        await screen.press("3", "5", "minus")
        assert screen.app.navigator.view == "training"
        await screen.press("minus")
        assert screen.app.navigator.view == "logs"
        await screen.press("escape")
        assert screen.app.navigator.view == "layout"


async def test_a_pane_keeps_its_place_from_view_to_view() -> None:
    async with opened() as screen:
        await screen.press("l")
        assert "rank 0 · atlas-01" in screen.text()
        await screen.press("5")
        assert "rank 0 · atlas-01" in screen.text()
        assert len(screen.feed.intents) == 3, "one log pane, one stream"


async def test_drilling_from_the_job_to_a_process_and_back() -> None:
    async with opened() as screen:
        await screen.press("1", "down", "down", "enter")
        assert screen.app.navigator.view == "detail" and "clock offset" in screen.text() and "+800 ms" in screen.text()
        await screen.press("down", "down", "enter")
        assert "atlas-02 › NPU 2" in screen.text() and "AICore" in screen.text()
        await screen.press("enter")
        assert "rank 10" in screen.text() and "round-00/local_rank-2.log" in screen.text()
        await screen.press("enter")
        assert "pid 4002" in screen.text() and "python3" in screen.text()
        await screen.press("escape", "escape", "escape")
        assert "clock offset" in screen.text()
        await screen.press("escape")
        assert screen.app.navigator.view == "fleet"


async def test_an_npu_is_chosen_in_the_grid_and_its_log_opened() -> None:
    async with opened() as screen:
        await screen.press("1", "down", "down", "right", "right", "right", "right")
        assert screen.app.navigator.selected() == Target(kind="npu", node="atlas-02", device=3)
        await screen.press("l")
        assert screen.app.navigator.view == "logs" and "rank 11 · atlas-02" in screen.text()


async def test_describe_tree_and_what_there_is_not() -> None:
    async with opened(size=(120, 60)) as screen:
        await screen.command("describe atlas-04")
        assert "no answer for 60 s" in screen.text()
        await screen.press("minus", "x")
        text = screen.text()
        assert "tree" in text and "NPU 7" in text and "pid 4000" in text and "atlas-04" not in text.split("NPU 7")[0]
        await screen.command("describe nobody")
        assert "no node is called nobody" in screen.text()


async def test_filter_sort_group_and_value_of_the_nodes() -> None:
    labels = {"atlas-01": {"rack": "r1"}, "atlas-02": {"rack": "r1"}, "atlas-03": {"rack": "r2"}}
    def nodes_part() -> str:
        return screen.text().partition("━ Fleet  ")[2]  # the job's own lines name nodes as well

    async with opened(labels=labels) as screen:
        await screen.press("1", "slash")
        await screen.type("down")
        assert "atlas-01" not in nodes_part() and "atlas-04" in screen.text() and "/down" in screen.text()
        await screen.command("filter !-l rack=r1")
        assert "atlas-01" not in nodes_part() and "atlas-03" in nodes_part()
        await screen.command("filter -f at3")
        assert "atlas-03" in nodes_part() and "atlas-02" not in nodes_part()
        await screen.press("escape")
        assert "atlas-02" in nodes_part()
        await screen.command("sort trouble")
        await screen.later(20)
        nodes = [line for line in screen.text().split("Nodes ")[1].splitlines() if "atlas" in line]
        assert "atlas-04" in nodes[0] and "atlas-02" in nodes[1]
        await screen.press("g")
        assert "rack=r1  2" in screen.text() and "rack=-  1" in screen.text()
        await screen.command("value temperature")
        assert "temperature, °C" in screen.text()


async def test_the_time_cursor_moves_all_panes() -> None:
    async with opened() as screen:
        record = scene.Recorder()
        for second in range(1, 31):
            if second == 15:
                screen.feed.pending.append(scene.sample(record, "atlas-03", scene.NOW + second, [50] * 8, health=["OK"] * 7 + ["Critical"]))
                screen.feed.pending.append(LinkChanged(node="atlas-03", at=scene.NOW + second, state="silent"))
            await screen.later(1)
        assert "50" in screen.text() and "2/4 nodes up" in screen.text()
        await screen.press("left_square_bracket", "left_square_bracket")
        text = screen.text()
        assert "20s ago" in text and "05:10:10Z" in text and "3/4 nodes up" in text and screen.app.screen.has_class("-past")
        loss = screen.app.host.pane("loss")
        assert loss is not None and "│" in text and "held" in text
        await screen.press("right_square_bracket")
        assert "10s ago" in screen.text() and "2/4 nodes up" in screen.text()
        await screen.press("escape")
        assert screen.app.context.moment is None and "following" in screen.text()
        await screen.press("6")
        assert "NPU 7 Critical" in screen.text() and "was OK" in screen.text() and "link silent" in screen.text(), "health and link changes are on the time line"


async def test_a_line_of_the_time_line_is_a_moment_to_go_to() -> None:
    async with opened() as screen:
        await screen.press("6", "down", "down", "enter")
        assert screen.app.context.moment is not None and "ago" in screen.text().splitlines()[0]
        await screen.command("at 05:02:00")
        assert "05:02:00Z" in screen.text() and "@ 40" in screen.text()
        await screen.command("at never")
        assert "expected a time" in screen.text()
        await screen.command("live")
        assert screen.app.context.moment is None


async def test_time_runs_when_it_is_let() -> None:
    async with opened() as screen:
        await screen.press("left_curly_bracket")
        at = screen.app.context.moment
        await screen.command("play 10")
        await screen.later(6)
        assert at is not None and screen.app.context.moment == pytest.approx(at + 60)
        await screen.press("space")
        await screen.later(6)
        assert screen.app.context.moment == pytest.approx(at + 60)


async def test_the_incident_names_who_broke_first() -> None:
    record = scene.Recorder()
    async with opened() as screen:
        screen.feed.pending += [
            record("atlas-02", "exit", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=0, scope="rank", rank=13, local_rank=5, pid=4005, code=None, signal=9,
                   started=scene.NOW - 80, ended=scene.NOW, asked=False)]
        await screen.later(1)
        await screen.press("6")
        assert "✗ atlas-02 · rank 13 · SIGKILL" in screen.text() and "confidence high" in screen.text()
        await screen.press("tab", "tab", "tab")
        await screen.press("down", "enter")
        assert "rank 13" in screen.text() and screen.app.navigator.view == "detail"


async def test_curve_keys() -> None:
    async with opened() as screen:
        await screen.press("3", "plus")
        assert "49-96" in screen.text()
        await screen.press("less_than_sign")
        assert "37-84" in screen.text()
        await screen.press("greater_than_sign", "underscore")
        assert "49-96" not in screen.text()
        await screen.press("plus", "plus", "a")
        assert "73-96" not in screen.text()
        await screen.press("tilde")
        assert "smoothed 0.6" in screen.text()
        await screen.press("c")
        assert "Gradient norm  " in screen.text().split("Metrics")[0]
        await screen.command("metric loss")
        await screen.press("Y", "left", "left")
        assert "log y" in screen.text() and screen.app.context.moment is not None


async def test_a_layout_is_changed_live_and_a_wrong_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from console.core.errors import FileError

    def read(name: str) -> tuple[LayoutSpec, str]:
        if name != "mine":
            raise FileError("there is no such layout", where="--layout", got=name)
        return LayoutSpec(name="mine", title="My own", read_only=True, root=Box(children=(Box(pane="faults"), Box(pane="audit", size="6")))), "#pane-faults { background: ansi_blue; }"

    async with opened(read_layout=read, layouts=lambda: {"mine": None, "default": None}) as screen:
        await screen.command("arm")
        await screen.press("5")
        await screen.command("layout mine")
        assert "My own" in screen.text() and [pane.pane_name for pane in screen.app.host.panes] == ["faults", "audit"]
        faults = screen.app.host.pane("faults")
        assert faults is not None and faults.styles.background.ansi == 4 and not screen.app.arming.armed
        await screen.command("arm")
        assert "only looks" in screen.text()
        await screen.command("layout other")
        assert "there is no such layout" in screen.text() and "My own" in screen.text()


@pytest.mark.parametrize(("sizes", "room", "expected"), [(["4", "1fr", "2fr"], 34, [4, 10, 20]), (["50%", "1fr"], 10, [5, 5]), (["8", "8", "1fr"], 10, [8, 2, 0]), (["1fr"] * 3, 10, [3, 3, 4])])
def test_sizes_fill_the_room(sizes: list[str], room: int, expected: list[int]) -> None:
    assert shares(sizes, room) == expected


async def test_the_palette_finds_and_does() -> None:
    async with opened() as shown:
        await shown.press("ctrl+p", *"checkp", "enter")
        assert shown.app.navigator.view == "checkpoints"
        await shown.press("ctrl+p", *"reconn", "enter")
        assert shown.app.prompt is not None and shown.app.prompt.text == "reconnect "
        await shown.press("escape", "ctrl+p", "escape")
        assert len(shown.app.screen_stack) == 1


async def test_the_keys_that_the_other_tests_do_not_press() -> None:
    async with opened() as screen:
        await screen.press("2")
        assert "Per node" in screen.text()
        await screen.press("1", "down", "d")
        assert "atlas-01" in screen.text() and "clock offset" in screen.text()
        await screen.press("1", "v")
        assert "HBM, %" in screen.text()
        await screen.press("o")
        assert "nodes by trouble" in screen.text()
        await screen.press("left_curly_bracket", "right_curly_bracket")
        assert screen.app.context.moment is None
        await screen.press("3", "equals_sign")
        assert "49-96" in screen.text()
        await screen.press("s")
        assert "shell refused: the console is read-only" in screen.text()


async def test_a_shell_wants_arming_and_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    opened_shells: list[tuple[str, list[str]]] = []
    monkeypatch.setattr("console.tui.outside.shell", lambda app, node, argv: opened_shells.append((node, argv)))
    async with opened(shell=lambda node: ["ssh", "-t", node]) as screen:
        await screen.command("arm")
        await screen.command("shell nobody")
        assert "no node is called nobody" in screen.text() and opened_shells == []
        await screen.press("1", "down", "down", "s")
        await screen.command("shell atlas-04")
        assert opened_shells == [("atlas-02", ["ssh", "-t", "atlas-02"]), ("atlas-04", ["ssh", "-t", "atlas-04"])]


def broken(*, restarted: bool = False) -> scene.FakeFeed:
    """Rank 14 was the first to fail; ``restarted``: and started again since."""
    feed = scene.full_feed()
    feed.pending += scene.broken_events()
    if restarted:
        feed.pending.append(scene.Recorder()("atlas-02", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=1, restart_count=1, world_size=1, complete=True,
                                             ranks={"rank": [14], "local_rank": [6], "group_rank": [1], "pid": [9], "start_ticks": [1]}))
    return feed


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_log_of_a_verdict_is_that_of_the_first_to_fail_when_it_failed(restarted: bool) -> None:
    async with opened(feed=broken(restarted=restarted)) as screen:
        await screen.press("6", "shift+tab", "l")
        assert screen.app.navigator.view == "logs" and "Log  rank 14 · atlas-02" in screen.text() and ("round 0" in screen.text()) == restarted
        assert screen.feed.intents[-1] == FollowLog(node="atlas-02", path=scene.LOG[1].replace("local_rank-7", "local_rank-6"))


async def test_a_line_of_the_time_line_opens_the_log_of_its_process_in_its_round() -> None:
    async with opened(feed=broken(restarted=True), size=(160, 48)) as screen:
        await screen.press("6")
        pane = screen.app.host.current
        assert isinstance(pane, Timeline)
        pane.select(next(at for at, line in enumerate(pane.text_lines()) if "rank 14 exit 1" in line))
        await screen.press("l")
        assert "rank 14 · atlas-02 · round 0" in screen.text()
        await screen.command("log 14")
        await screen.press("1")
        await screen.command("log 14")
        assert "rank 14 · atlas-02 · round 1" in screen.text(), "from elsewhere: the newest"


async def test_the_legend_of_the_grid_names_what_its_cells_show() -> None:
    for width, legend in ((120, "first AICore, then HBM"), (60, "unknown   AICore")):
        async with opened(size=(width, 36)) as screen:
            await screen.press("1", "z")
            assert legend in screen.text(), width
            await screen.press("v")
            assert "HBM, %" in screen.text(), width


async def test_copying_and_writing_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    written: list[str] = []
    monkeypatch.setattr(ConsoleApp, "write_raw", lambda self, sequence: written.append(sequence) or True)
    async with opened() as screen:
        await screen.press("6", "down", "y")
        assert written == [outside.osc52(screen.app.host.panes[1].text_lines()[0], in_tmux=False)] and "copied 1 lines" in screen.text()
        await screen.press("ctrl+s", "ctrl+s")
        files = sorted((tmp_path / "rankdeck").iterdir())
        assert len(files) == 2 and "Who broke first" in files[0].read_text("utf-8") and "screen written to" in screen.text()
        await screen.command(f"snapshot {tmp_path}/mine.txt")
        assert "Who broke first" in (tmp_path / "mine.txt").read_text("utf-8")
        await screen.command("snapshot /proc/no/such")
        assert "not written" in screen.text()


@pytest.mark.parametrize("supported", [True, False])
def test_suspending_gives_the_screen_back_and_stops_all_that_wait_for_the_console(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    told: list[object] = []

    class App:
        @contextmanager
        def suspend(self) -> Iterator[None]:
            if not supported:
                raise SuspendNotSupported
            told.append("screen given back")
            yield
            told.append("screen taken again")

    monkeypatch.setattr("os.killpg", lambda group, number: told.append((group, number, signal.getsignal(signal.SIGTSTP))))
    before = signal.signal(signal.SIGTSTP, lambda *rest: None)
    try:
        ours = signal.getsignal(signal.SIGTSTP)
        outside.suspend(App())  # type: ignore[arg-type]
        assert told == (["screen given back", (0, signal.SIGTSTP, signal.SIG_DFL), "screen taken again"] if supported else [])
        assert signal.getsignal(signal.SIGTSTP) == ours
    finally:
        signal.signal(signal.SIGTSTP, before)


def test_what_is_too_long_for_a_clipboard_goes_to_a_file() -> None:
    assert outside.osc52("x" * 80_000, in_tmux=False) == ""
    text = outside.osc52("a\x1b]52;c;x\x07", in_tmux=True)
    assert text.startswith("\x1b]52;c;") and text.count("\x1bPtmux;") == 1 and text.count("\x07") == 2
