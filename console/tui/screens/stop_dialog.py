"""The dialog before a stop: exact hosts and requests, frozen when it opened, and the job's name to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from console.core.fleet.run_views import StopTarget
from console.core.i18n import say
from console.core.intents import StopJob
from console.tui.lines import Line, clip, shown
from console.tui.palette import style

NAME_CELLS = 60


def text_of(lines: Sequence[Line]) -> Text:
    """Lines as one text that wraps, made harmless."""
    text = Text()
    for at, line in enumerate(lines):
        if at:
            text.append("\n")
        for part, tone in line:
            text.append(shown(part), style(tone))
    return text


class StopDialog(ModalScreen[StopJob | None]):
    """Ends with the intent it was opened with, unchanged, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "leave", show=False)]

    def __init__(self, intent: StopJob, targets: Sequence[StopTarget], armed: Callable[[], bool]) -> None:
        super().__init__()
        self._intent, self._targets, self._armed = intent, tuple(targets), armed

    def compose(self) -> ComposeResult:
        intent = self._intent
        lines: list[Line] = [
            [(say("Stop"), "bad"), (" ", "plain"), (clip(intent.job, NAME_CELLS), "name"), ("  ", "plain"), (intent.attempt, "dim")],
            [(say("on {n} nodes, and on no others whatever happens meanwhile:", n=len(self._targets)), "plain")]]
        for target in self._targets:
            lines.append([(f"  {target.link.glyph} ", target.link.tone), (target.node, "name"), (f"  {target.state}", "plain"),
                          ("" if target.link.tone == "good" else "  " + say("link {state}: it may not get through", state=target.link.text), "warn")])
            lines.append([("    " + target.command, "dim")])
        lines.append([(say("There: SIGTERM to the command's process group, {s:.0f} s, then SIGKILL.", s=intent.grace_s), "plain")])
        with Vertical(classes="dialog danger"):
            yield Static(text_of(lines))
            yield Input(placeholder=say("type the job's name, enter; esc leaves it running"), compact=True)
            yield Static("", id="refusal")

    def on_mount(self) -> None:
        line = self.query_one(Input)
        line.cursor_blink = False  # twice a second is a lot on a slow line
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value not in (self._intent.job, shown(self._intent.job)):
            self._refuse(say("That is not the job's name. Nothing was done."))
        elif not self._armed():
            self._refuse(say("No longer armed. Nothing was done; esc, then :arm."))
        else:
            self.dismiss(self._intent)

    def _refuse(self, why: str) -> None:
        self.query_one("#refusal", Static).update(Text("✗ " + why, style("bad")))
        self.query_one(Input).value = ""

    def action_leave(self) -> None:
        """Close; nothing is stopped."""
        self.dismiss(None)
