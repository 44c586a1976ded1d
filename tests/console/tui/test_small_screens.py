"""What comes first where there is little room: the verdict, the node beside what happened, the time, why something failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.core import i18n
from console.core.events import LaunchProgress, RecordArrived
from console.core.fleet.happenings import timeline_rows
from console.tui.screens.help_screen import help_lines
from console.tui.widgets.verdict import Verdict
from console.tui.words import catalogue
from tests.console.tui import scene
from tests.console.tui.test_app import Screen, opened


def killed(rank: int = 13) -> RecordArrived:
    return scene.Recorder()("atlas-02", "exit", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=0, scope="rank", rank=rank, local_rank=rank - 8, pid=3992 + rank, code=None, signal=9,
                            started=scene.NOW - 80, ended=scene.NOW, asked=False)


async def rest(screen: Screen) -> None:
    """A second later, with every pane as high as it wants to be."""
    await screen.later(1)
    for _ in range(1000):
        if scene.at_rest(screen.app):
            break
        await screen.pilot.pause(0.01)
    await screen.later(1)


def rows_of(text: str, title: str, below: str) -> int:
    """Lines from one pane's title to another's."""
    lines = text.splitlines()
    at = next(at for at, line in enumerate(lines) if title in line)
    return next(to for to, line in enumerate(lines[at:]) if below in line)


async def test_a_verdict_takes_a_row_or_two_until_there_is_one() -> None:
    async with opened(size=(80, 24)) as screen:
        await screen.press("6")
        await rest(screen)
        assert rows_of(screen.text(), "Who broke first", "Time line") == 3, "a line above, what is fine, and the job"
        screen.feed.pending.append(killed())
        await rest(screen)
        text = screen.text()
        assert "✗ atlas-02 · rank 13 · SIGKILL" in text and "killed by SIGKILL" in text and "▸ running" in text, "all of it"
        assert rows_of(text, "Who broke first", "Time line") > 3
    async with opened(size=(120, 36)) as screen:
        await screen.press("6")
        await rest(screen)
        assert "nothing has failed in the newest attempt  ▸ running" in screen.text(), "where it fits it is one"


@pytest.mark.parametrize(("size", "quiet"), [((60, 15), True), ((40, 8), False)])
async def test_a_verdict_stays_above_the_pane_that_is_shown_alone(size: tuple[int, int], quiet: bool) -> None:
    async with opened(size=size) as screen:
        await screen.press("6")
        await rest(screen)
        assert ("nothing has failed" in screen.text()) is quiet and "Time line" in screen.text()
        screen.feed.pending.append(killed())
        await rest(screen)
        assert "✗ atlas-02 · rank 13" in screen.text() and "Time line" in screen.text() and "◆ save" in screen.text()
        await screen.press("z")
        await rest(screen)
        assert "rank 13 · SIGKILL" not in screen.text(), "zoomed is alone"


async def test_saves_that_went_well_do_not_hide_what_went_wrong() -> None:
    async with opened(size=(80, 24)) as screen:
        await screen.press("6")
        text = screen.text()
        assert "checkpoint 90 saved" in text and "4 saves before it" in text and "checkpoint 80 saved" not in text and "cascade" in text
        await screen.command("filter checkpoint 80")
        assert "checkpoint 80 saved" in screen.text(), "looked for, it is there"


@pytest.mark.parametrize("width", [40, 47, 60, 70, 80, 120])
async def test_a_line_of_time_never_lacks_its_node(width: int) -> None:
    async with opened(size=(width, 24)) as screen:
        await screen.press("6")
        await screen.later(1)
        lines = screen.text().splitlines()
        assert "atlas-02" in next(line for line in lines if "rank 11" in line)
        fault = next(line for line in lines if "cascade" in line)
        assert "atlas-01" in fault and ("rank 3" in fault if width < 78 else " 3 1st" in fault)


async def test_why_a_phase_failed_has_its_own_line_where_columns_are_narrow() -> None:
    async with opened(size=(80, 24)) as screen:
        screen.feed.pending.append(LaunchProgress(job=scene.JOB, attempt=scene.SECOND, node="atlas-02", phase="prepare", state="failed", at=scene.NOW, why="atlas-02: device 3 is in use"))
        await screen.press("2")
        await screen.later(1)
        text = screen.text()
        assert "preflight prepare container start rendezvous loading training" in text and "└ atlas-02: device 3 is in use" in text
    async with opened(size=(120, 36)) as screen:
        await screen.press("2")
        assert "why" in screen.text() and "└ " not in screen.text()


@pytest.mark.parametrize(("width", "has", "lacks"), [(120, " rankdeck  6 Incident", ""), (80, " 6 Incident", "rankdeck"), (40, "✗ 1 ", "in trouble")])
async def test_the_top_line_gives_up_the_products_name_first(width: int, has: str, lacks: str) -> None:
    async with opened(size=(width, 24)) as screen:
        await screen.press("6")
        await screen.later(1)
        top = screen.text().splitlines()[0]
        assert has in top and (not lacks or lacks not in top) and "3/4 nodes up" in top and "05:10:0" in top and len(top) == width


async def test_nodes_of_which_nothing_is_known_are_not_down() -> None:
    async with opened() as screen:
        await screen.press("3", "left_curly_bracket")
        top = screen.text().splitlines()[0]
        assert "4 nodes, nothing known" in top and "0/4" not in top and "trouble" not in top


async def test_an_alarm_has_the_room_that_no_answer_takes() -> None:
    async with opened(size=(80, 24)) as screen:
        await screen.press("8")
        assert "no answer for 60 s; trying again" in screen.text()


def test_help_in_chinese_hangs_behind_its_key() -> None:
    i18n.use(catalogue("zh", {}))
    try:
        lines = ["".join(text for text, _ in line) for line in help_lines(70)]
    finally:
        i18n.use({})
    assert any(line.startswith(" " * 31) and line.strip() for line in lines), "a meaning of two lines"
    assert not any("\n" in line for line in lines)


def test_a_folded_save_is_made_of_saves_alone() -> None:
    from console.tui.widgets.incident import folded

    state = scene.full_feed().state
    assert state.current is not None
    rows = timeline_rows(state, state.current)
    assert [row.badge.text for row in folded(rows)].count("save") == 4, "two rows of saves, each its newest and the rest"
    failed = [replace(row, badge=replace(row.badge, tone="bad")) if "checkpoint 80" in row.what else row for row in rows]
    assert [row.what for row in folded(failed)][:3] == ["checkpoint 90 saved", "checkpoint 80 saved", "checkpoint 70 saved"]


async def test_a_verdict_grows_and_shrinks_with_what_there_is_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [1]
    monkeypatch.setattr(Verdict, "_lines_of", lambda *rest: [[("x", "plain")]] * said[0])
    async with opened(size=(80, 24)) as screen:
        await screen.press("6")
        for said[0] in (5, 4, 6, 1):
            await rest(screen)
            assert rows_of(screen.text(), "x", "Time line") == said[0]
