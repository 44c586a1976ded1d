"""The help page, made from the table of actions."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from console.core.i18n import say
from console.tui.actions import ACTIONS, key_text, usage
from console.tui.lines import Line, fit
from console.tui.screens.stop_dialog import text_of


def help_lines() -> list[Line]:
    """Keys, command, meaning; writes are marked."""
    lines: list[Line] = [[(say("Keys and commands"), "strong"), ("   " + say("esc closes"), "dim")], []]
    for action in ACTIONS:
        keys = " ".join(key_text(key) for key in action.keys[:2])
        lines.append([(fit(keys, 12), "key"), (fit(usage(action), 22), "plain"), (say(action.help), "plain"),
                      ("  " + say("(armed only)") if action.access == "write" else "", "bad")])
    lines += [[], [(fit("↑ ↓ pgup pgdn", 34), "key"), (say("Scroll the pane. In the log: home, end, ← → as well."), "plain")],
              [], [(say("In the grid"), "strong")],
              [(say("✓ OK  ! Warning  ✗ Alarm or Critical  ? not known; the age is that of the newest look at the NPUs."), "plain")],
              [(say("● link up  ◌ connecting  ◐ silent  ✗ down  ⊘ refused (host key or login)"), "plain")]]
    return lines


class HelpScreen(ModalScreen[None]):
    """Closed by esc, q or ?."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,ctrl+c", "leave", show=False)]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(text_of(help_lines()))

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
