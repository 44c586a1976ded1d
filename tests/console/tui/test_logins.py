"""What a login asks, on the screen: a real server on loopback that wants a one-time code, and the dialog's own manners."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from console.core.events import LoginAsked
from console.core.intents import AnswerLogin
from console.desk import ScreenFeed
from console.tui.app import ConsoleApp, Options
from console.tui.layout_host import BUILT_IN
from console.tui.screens.help_screen import HelpScreen
from console.tui.screens.login_dialog import LoginDialog
from tests.console.tui import scene
from tests.console.tui.one_node import OneNode, kept
from tests.console.tui.test_app import Screen, opened
from tests.console.tui.test_checks import hear, wishes
from tests.patience import PATIENCE_S

CODE = "834215"


def asked(number: int = 1, *, is_open: bool = True, **how: Any) -> LoginAsked:
    return LoginAsked(**{"at": scene.NOW, "number": number, "node": "atlas-04", "text": "One-time code: ", "open": is_open, **how})


async def test_a_question_is_answered_once_and_unseen() -> None:
    async with opened() as screen:
        await hear(screen, asked())
        await screen.later(2)
        assert isinstance(screen.app.screen, LoginDialog) and "One-time code:" in screen.text() and "atlas-04" in screen.text()
        await screen.press(*CODE)
        assert CODE not in screen.text() and screen.app.screen.query_one(Input).value == CODE
        await screen.press("enter")
        (answer,) = wishes(screen, AnswerLogin)
        assert (answer.number, answer.answer) == (1, CODE) and CODE not in repr(screen.feed.intents)
        await screen.later(2)
        assert len(screen.app.screen_stack) == 1
        await screen.press("colon", "up")
        assert screen.app.prompt.text == "" and CODE not in screen.text()


async def test_what_may_be_seen_is_seen_and_esc_gives_up() -> None:
    async with opened() as screen:
        await hear(screen, asked(echo=True, text="Your name? "))
        await screen.later(2)
        await screen.press("l", "i", "n")
        assert "lin" in screen.text()
        await screen.press("escape")
        assert wishes(screen, AnswerLogin) == [AnswerLogin(number=1)] and len(screen.app.screen_stack) == 1


async def test_it_does_not_open_into_what_somebody_is_typing() -> None:
    async with opened() as screen:
        await screen.press("colon", "s")
        await hear(screen, asked())
        await screen.later(5)
        assert len(screen.app.screen_stack) == 1 and screen.app.prompt.text == "s"
        await screen.press("escape")
        screen.app.tick()
        assert len(screen.app.screen_stack) == 1, "a key was pressed just now"
        assert "atlas-04 asks something for its login" in screen.text()
        await screen.press("question_mark")
        await screen.later(5)
        assert isinstance(screen.app.screen, HelpScreen)
        await screen.press("escape")
        await screen.later(5)
        assert isinstance(screen.app.screen, LoginDialog)


async def test_a_question_that_is_over_closes_and_the_next_one_opens() -> None:
    async with opened() as screen:
        await hear(screen, asked(1), asked(2, node="atlas-03", text="Token: "))
        await screen.later(2)
        assert "One-time code" in screen.text()
        await hear(screen, asked(1, is_open=False))
        dialog = screen.app.screen
        if isinstance(dialog, LoginDialog):  # else its own timer has been quicker
            dialog._look()
            await screen.pilot.pause()
        await screen.later(2)
        assert "Token:" in screen.text() and not wishes(screen, AnswerLogin)


async def test_the_servers_words_are_only_text() -> None:
    async with opened(size=(80, 24)) as screen:
        await hear(screen, asked(text="\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e [bold]Code[/bold] " * 200))
        await screen.later(2)
        assert isinstance(screen.app.screen, LoginDialog) and "[bold]Code[/bold]" in screen.text()
        assert not [character for character in screen.text() if character != "\n" and (ord(character) < 32 or character == "\u202e")]


class Site(OneNode):
    """A node that asks for a code."""

    def __init__(self, folder: Path) -> None:
        # An interpreter that does nothing: the login is what is looked at, and no agent is to be left behind.
        super().__init__(folder, second_factor=CODE, python="/bin/false")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield from kept(Site, tmp_path, monkeypatch)


async def until(screen: Screen, what: Callable[[], object], why: str) -> None:
    """Tick until ``what()`` is true."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end, f"{why}\n{screen.text()}"
        await screen.later(2)
        await screen.pilot.pause(0.05)


async def test_a_real_login_with_a_code_is_answered_on_the_screen(site: Site) -> None:
    clock = scene.fixed_clock()
    app = ConsoleApp(ScreenFeed(site.desk), site.desk.submit, clock, BUILT_IN, environ={}, options=Options(fps=0.001))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = Screen(app, pilot, scene.FakeFeed(), clock)
        site.desk._start()
        await until(screen, lambda: isinstance(app.screen, LoginDialog), "the question")
        assert "One-time code" in screen.text() and "Code:" in screen.text() and "n1" in screen.text()
        assert site.sshd.commands == []
        await screen.press(*CODE, "enter")
        await until(screen, lambda: site.sshd.commands, "the login")
    site.desk.end()
    assert CODE.encode() not in b"".join(path.read_bytes() for path in site.history.parent.glob("history.db*"))


async def test_a_wrong_code_is_refused_and_asked_for_again_only_when_wanted(site: Site) -> None:
    clock = scene.fixed_clock()
    app = ConsoleApp(ScreenFeed(site.desk), site.desk.submit, clock, BUILT_IN, environ={}, options=Options(fps=0.001))
    async with app.run_test(size=(100, 30)) as pilot:
        screen = Screen(app, pilot, scene.FakeFeed(), clock)
        site.desk._start()
        await until(screen, lambda: isinstance(app.screen, LoginDialog), "the question")
        await screen.press("1", "enter")
        await until(screen, lambda: site.desk.store.state.nodes["n1"].link == "refused", "the refusal")
        assert site.sshd.commands == [] and not isinstance(app.screen, LoginDialog)
        await screen.command("reconnect n1")
        await until(screen, lambda: isinstance(app.screen, LoginDialog), "the question, again")
        await screen.press("escape")
        await until(screen, lambda: site.desk.store.state.nodes["n1"].link == "refused", "the refusal")
