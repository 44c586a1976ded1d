"""The ``:`` line: an input with completion, mounted when it is opened and gone when it is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from console.tui.actions import complete
from console.tui.lines import shown


class CommandLine(Horizontal):
    """Posts ``Entered`` once, with an empty line when it was given up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", show=False), Binding("escape,ctrl+c", "leave", show=False),
        Binding("up", "older", show=False), Binding("down", "newer", show=False)]

    class Entered(Message):
        """The line was finished."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    def __init__(self, words: Mapping[str, Sequence[str]], history: Sequence[str]) -> None:
        super().__init__()
        self._words, self._history = words, [*history, ""]
        self._at = len(history)

    def compose(self) -> ComposeResult:
        yield Static(":", classes="prompt")
        yield Input(compact=True, select_on_focus=False)
        yield Static("", classes="candidates")

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._hint("")

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._hint(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Entered(event.value))

    def _hint(self, line: str) -> None:
        self.query_one(".candidates", Static).update(Content(shown("  ".join(complete(line, self._words)))))

    def action_complete(self) -> None:
        """As far as all candidates agree; a single one is taken whole."""
        field = self.query_one(Input)
        found = complete(field.value, self._words)
        if not found:
            return
        common = found[0] if len(found) == 1 else found[0][: next(
            (at for at, letters in enumerate(zip(*found, strict=False)) if len(set(letters)) > 1), min(map(len, found)))]
        if len(common) > len(field.value) or len(found) == 1:
            field.value = common
            field.cursor_position = len(common)

    def action_leave(self) -> None:
        """Close without doing anything."""
        self.post_message(self.Entered(""))

    def action_older(self) -> None:
        """The command before."""
        self._recall(-1)

    def action_newer(self) -> None:
        """The command after."""
        self._recall(1)

    def _recall(self, step: int) -> None:
        self._at = max(0, min(len(self._history) - 1, self._at + step))
        field = self.query_one(Input)
        field.value = self._history[self._at]
        field.cursor_position = len(field.value)
