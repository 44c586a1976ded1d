"""The check of the nodes on the screen: asked for, watched, read, mended; nothing is changed that was not confirmed."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.events import Answer, CheckEnded, CheckTold
from console.core.intents import CheckNodes, Mend, ProveNodes
from console.core.preflight.matrix import BETWEEN, matrix
from console.tui.screens.confirm_dialog import ConfirmDialog
from tests.console.tui import errand_scene, scene
from tests.console.tui.test_app import Screen, opened


def wishes(screen: Screen, kind: type) -> list[Any]:
    return [intent for intent in screen.feed.intents if type(intent) is kind]


async def hear(screen: Screen, *news: Any) -> None:
    screen.feed.said += news
    await screen.later(1)


async def checked(screen: Screen) -> None:
    await screen.press("7")
    await hear(screen, *errand_scene.check_told())


async def test_a_check_is_asked_for_watched_and_read() -> None:
    async with opened(fleet="lab") as screen:
        await screen.press("7")
        assert "not checked yet" in screen.text() and not wishes(screen, CheckNodes)
        await screen.press("r")
        assert wishes(screen, CheckNodes) == [CheckNodes()] and not wishes(screen, ProveNodes)
        await hear(screen, CheckTold(at=scene.NOW, nodes=errand_scene.NODES, level="standard"), CheckTold(at=scene.NOW, node="atlas-01", text="answered (0.4 s)"))
        assert "asking 4 nodes, 1 have answered" in screen.text() and "✓ atlas-01         answered (0.4 s)" in screen.text() and "◌ atlas-02         asked" in screen.text()
        await screen.press("r")
        assert len(wishes(screen, CheckNodes)) == 1 and "under way" in screen.text()
        await hear(screen, CheckEnded(at=scene.NOW, report=errand_scene.report()))
        text = screen.text()
        for words in ("✗ not fit", "3 of 4 nodes answered", "✗ 2 error", "checked 4 nodes: not fit", "[✗]"):
            assert words in text, (words, text)


@pytest.mark.parametrize(("line", "level", "job"), [("check --level deep", "deep", ""), ("check quick", "quick", ""), ("check deep --job my.yaml", "deep", "my.yaml"),
                                                    ("check standard jobs/a.yml", "standard", "jobs/a.yml")])
async def test_level_and_job_can_be_said(line: str, level: str, job: str) -> None:
    async with opened() as screen:
        screen.app.doings.finished(_line(line), True)
        assert wishes(screen, CheckNodes) == [CheckNodes(level=level, job=job)]
        assert screen.app.navigator.view == "checks"


def _line(text: str) -> Any:
    from console.tui.line_editor import LineEditor

    return LineEditor(kind="command", prompt=":", text=text)


async def test_a_wrong_level_says_what_there_is() -> None:
    async with opened() as screen:
        await screen.command("check thorough")
        assert "expected one of quick, standard, deep" in screen.text() and not wishes(screen, CheckNodes)


async def test_what_leaves_a_trace_takes_arming() -> None:
    async with opened() as screen:
        await screen.command("arm")
        await screen.press("7", "r")
        assert wishes(screen, ProveNodes) == [ProveNodes()] and not wishes(screen, CheckNodes)
        screen.app.arming.disarm()
        screen.app.send(ProveNodes())
        assert len(wishes(screen, ProveNodes)) == 1, "the second lock"


async def test_the_cell_that_is_looked_at_has_its_four_parts_and_the_command() -> None:
    async with opened(size=(120, 40)) as screen:
        await checked(screen)
        sheet = screen.app.context.sheets.check
        assert (sheet.check, sheet.node) == ("npu-health", "atlas-02") or sheet.found.rows[0].cells[sheet.node] == "error"
        await screen.command("finding ip-forward atlas-02")
        text = screen.text()
        for words in ("ip-forward  atlas-02", "IP forwarding is off", "where", "got", "expected", "next", "sysctl -w net.ipv4.ip_forward=1", "mends it on 1 nodes"):
            assert words in text, (words, text)
        await screen.press("escape")
        await screen.press("escape")
        assert screen.app.host.current.pane_name == "check"


async def test_arrows_move_the_cell_and_a_dead_node_says_why() -> None:
    async with opened(size=(120, 40)) as screen:
        await checked(screen)
        sheet = screen.app.context.sheets.check
        await screen.press("home")
        assert sheet.check == sheet.found.rows[0].check.id
        await screen.press("down", "down")
        assert sheet.check == sheet.found.rows[2].check.id
        await screen.press("up", "end")
        assert sheet.check == sheet.found.rows[-1].check.id
        await screen.press(*["left"] * 9)
        assert sheet.node == BETWEEN and "between the nodes" in screen.text()
        await screen.press(*["right"] * (1 + sheet.found.nodes.index("atlas-04")))
        assert sheet.node == "atlas-04" and "no answer from 10.0.0.4 port 22" in screen.text() and "Is the machine up?" in screen.text()
        await screen.press("pageup", "pagedown", "enter")
        assert screen.app.host.current.pane_name == "finding"


async def test_the_command_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr("console.tui.outside.yank", lambda app, text: copied.append(text) or "copied")
    async with opened() as screen:
        await checked(screen)
        screen.app.context.sheets.check.check, screen.app.context.sheets.check.node = "ip-forward", "atlas-02"
        await screen.press("y")
        assert copied == ["sysctl -w net.ipv4.ip_forward=1"]
        screen.app.context.sheets.check.node = "atlas-01"
        await screen.press("y")
        assert "nothing is wrong here" in copied[-1]


async def test_a_fix_wants_arming_and_the_fleets_name_and_is_frozen() -> None:
    async with opened(fleet="lab") as screen:
        await checked(screen)
        await screen.command("finding ip-forward atlas-02")
        await screen.press("f")
        assert "fix refused" in screen.text() and not wishes(screen, Mend)
        await screen.command("arm")
        await screen.press("f")
        assert isinstance(screen.app.screen, ConfirmDialog)
        assert "atlas-02" in screen.text() and "$ sysctl -w net.ipv4.ip_forward=1" in screen.text()
        # Another check comes in meanwhile: what is confirmed is what was shown.
        screen.feed.said.append(CheckEnded(at=scene.NOW, report=errand_scene.report((errand_scene.facts("atlas-01"),))))
        await screen.later(1)
        await screen.type("lub")
        assert "not the name" in screen.text() and not wishes(screen, Mend)
        await screen.type("lab")
        (mend,) = wishes(screen, Mend)
        assert [(one.node, one.check, one.argv) for one in mend.remedies] == [("atlas-02", "ip-forward", ("sysctl", "-w", "net.ipv4.ip_forward=1"))]
        assert mend.again == CheckNodes(level="standard", job="")
        await hear(screen, Answer(node="atlas-02", at=scene.NOW, op="fix ip-forward", ok=False, error="the remedy failed (got exit status 1)"))
        assert "fix ip-forward failed on atlas-02: the remedy failed" in screen.text()


async def test_a_fix_is_not_carried_out_once_the_arming_is_over_or_it_is_left() -> None:
    async with opened(fleet="lab") as screen:
        await checked(screen)
        await screen.command("arm 10m")
        await screen.command("fix ip-forward atlas-02")
        await screen.press("escape")
        assert len(screen.app.screen_stack) == 1
        await screen.press("f")
        screen.clock.move_to(screen.clock.wall_s() + 601)
        await screen.type("lab")
        assert "No longer armed" in screen.text() and not wishes(screen, Mend)


async def test_what_cannot_be_mended_says_so() -> None:
    async with opened() as screen:
        await checked(screen)
        await screen.command("arm")
        await screen.command("fix npu-health atlas-02")
        assert "nothing here can be mended" in screen.text() and len(screen.app.screen_stack) == 1
        await screen.command("fix nonsense")
        assert "expected one of" in screen.text()


async def test_an_error_of_the_check_itself_is_shown() -> None:
    async with opened() as screen:
        await screen.press("7", "r")
        await hear(screen, CheckEnded(at=scene.NOW, error="job.yaml: no such file"))
        assert "✗ job.yaml: no such file" in screen.text()
        await screen.press("r")
        assert len(wishes(screen, CheckNodes)) == 2


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (60, 15), (40, 8)])
async def test_it_is_usable_at_every_size(size: tuple[int, int]) -> None:
    async with opened(size=size) as screen:
        await checked(screen)
        await screen.press("escape")
        lines = screen.text().splitlines()
        assert {len(line) for line in lines} == {size[0]} and any("[✗]" in line for line in lines)
        if size == (60, 15):
            await screen.command("finding ip-forward atlas-02")
            assert "IP forwarding is off" in screen.text()
            await screen.press("escape")
            assert "[!]" in screen.text()


async def test_a_hundred_nodes_have_a_window_around_the_cell() -> None:
    nodes = tuple(errand_scene.facts(f"node{number:03d}") for number in range(128))
    async with opened(size=(80, 24)) as screen:
        await screen.press("7")
        await hear(screen, CheckEnded(at=scene.NOW, report=errand_scene.report(nodes)))
        await screen.press(*["right"] * 100)
        assert screen.app.context.sheets.check.node == "node099" and "[" in screen.text() and " 099 " in screen.text()


def test_the_matrix_has_the_worst_first() -> None:
    found = matrix(errand_scene.report())
    assert [row.worst for row in found.rows][:1] == ["error"]
    assert found.nodes[0] == "atlas-02" and found.counts["error"] == 2
    states = [[state for state in row.cells.values() if state != "-"] for row in found.rows]
    assert [("error" in row) for row in states] == sorted([("error" in row) for row in states], reverse=True)
    waived = matrix(errand_scene.judge_waived())
    assert waived.counts["warning"] == found.counts["warning"] - 1
    assert next(row for row in waived.rows if row.check.id == "ip-forward").cells["atlas-02"] == "waived"


async def test_hostile_words_of_a_node_change_nothing_outside_their_cells() -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e"
    dead = errand_scene.NodeFacts(node=errand_scene.Node(name=f"n{evil}", host="h", npus=2), reached=False, why=evil * 50, fix=evil)
    async with opened(size=(80, 24)) as screen:
        await screen.press("7")
        await hear(screen, CheckTold(at=scene.NOW, nodes=(f"n{evil}",), level=evil, job=evil), CheckTold(at=scene.NOW, node=f"n{evil}", text=evil))
        assert "\x1b" not in screen.text() and {len(line) for line in screen.text().splitlines()} == {80}
        await hear(screen, CheckEnded(at=scene.NOW, report=errand_scene.report((dead, errand_scene.facts("a")))))
        await screen.press("right", "right")
        assert not [character for character in screen.text() if character != "\n" and (ord(character) < 32 or character == "\u202e")]
