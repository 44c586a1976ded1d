"""The dialog before a change: exact hosts and commands, frozen when it opened, and a name to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from console.core.i18n import say
from console.core.intents import Wish
from console.tui.lines import Line, shown
from console.tui.palette import style
from console.tui.screens.text import text_of


class ConfirmDialog(ModalScreen[Wish | None]):
    """Ends with the wish it was opened with, unchanged, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "leave", show=False)]

    def __init__(self, wish: Wish, lines: Sequence[Line], word: str, hint: str, armed: Callable[[], bool], wrong: str = "") -> None:
        """``word``: what has to be typed; ``hint``: shown in the empty line; ``wrong``: said when it is another word."""
        super().__init__()
        self._wish, self._lines, self._word, self._hint, self._armed = wish, tuple(lines), word, hint, armed
        self._wrong = wrong or say("That is not the name. Nothing was done.")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog danger"):
            yield Static(text_of(self._lines))
            yield Input(placeholder=self._hint, compact=True)
            yield Static("", id="refusal")

    def on_mount(self) -> None:
        line = self.query_one(Input)
        line.cursor_blink = False  # twice a second is a lot on a slow line
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value not in (self._word, shown(self._word)):
            self._refuse(self._wrong)
        elif not self._armed():
            self._refuse(say("No longer armed. Nothing was done; esc, then :arm."))
        else:
            self.dismiss(self._wish)

    def _refuse(self, why: str) -> None:
        self.query_one("#refusal", Static).update(Text("✗ " + why, style("bad")))
        self.query_one(Input).value = ""

    def action_leave(self) -> None:
        """Close; nothing is done."""
        self.dismiss(None)
