"""What a node's login asks: the server's words as text, and a line for the answer, unseen unless the server says otherwise.

The answer goes down once and is kept nowhere: not in a history, not on the screen, not in what is printed of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from console.core.events import LoginAsked
from console.core.i18n import say
from console.core.intents import AnswerLogin, Wish
from console.tui.lines import clip
from console.tui.screens.text import text_of

LOOK_S = 0.5
QUESTION_CHARACTERS = 2000


class LoginDialog(ModalScreen[Wish | None]):
    """Ends with an ``AnswerLogin``; with None when the question is not open any more."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "leave", show=False)]

    def __init__(self, asked: LoginAsked, open_still: Callable[[], bool]) -> None:
        super().__init__()
        self._asked, self._open = asked, open_still

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(text_of([[(say("Login"), "strong"), ("  ", "plain"), (clip(self._asked.node, 60), "name")],
                                  [(self._asked.text[:QUESTION_CHARACTERS], "plain")]]))
            yield Input(password=not self._asked.echo, compact=True, placeholder=say("the answer, enter; esc gives this login up"))
            yield Static(text_of([[(say("The server asks this. The answer is sent to it and kept nowhere."), "dim")]]))

    def on_mount(self) -> None:
        line = self.query_one(Input)
        line.cursor_blink = False  # twice a second is a lot on a slow line
        line.focus()
        self.set_interval(LOOK_S, self._look)

    def _look(self) -> None:
        # The server has lost its patience, or the link its connection.
        if self.is_current and not self._open():
            self.dismiss(None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._end(event.value)

    def _end(self, answer: str | None) -> None:
        self.query_one(Input).value = ""
        self.dismiss(AnswerLogin(number=self._asked.number, answer=answer))

    def action_leave(self) -> None:
        """Give the login up."""
        self._end(None)
