"""The help page, made from the table of actions."""

from __future__ import annotations

from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from console.core.i18n import say
from console.tui.actions import GROUPS, key_text, usage
from console.tui.lines import Line, fit, folded
from console.tui.screens.text import text_of

_KEYS, _USAGE = 10, 21
BESIDE = 24
"""Cells that a meaning needs to stand beside its command."""


def help_lines(width: int) -> list[Line]:
    """Keys, command, meaning in ``width`` cells; writes are marked."""
    lines: list[Line] = [[(say("Keys and commands"), "strong"), ("   " + say("esc closes"), "dim")], []]
    for title, actions in GROUPS:
        lines.append([(say(title), "strong")])
        for action in actions:
            text = say(action.help) + (" " + say("Armed only.") if action.access == "write" else "")
            tone = "bad" if action.access == "write" else "plain"
            lines += _entry(" ".join(key_text(key) for key in action.keys[:2]), usage(action), text, tone, width)
        lines.append([])
    lines += _entry("↑↓ pgup", "", say("Scroll the pane or select in it; pgdn, home and end too. ← → in grid, curve and log."), "plain", width)
    lines += [[], [(say("In the grid"), "strong")]]
    for glyphs, text in (("✓ ! ✗ ?", "NPU health: OK, Warning, Alarm or Critical, not known."), ("● ◌ ◐", "Link: up, connecting, silent."),
                         ("✗ ⊘", "Link: down, refused (host key or login)."), ("7s ~20s ✗75s", "Age of the newest look at the NPUs: fresh, stale, lost.")):
        lines += _entry(glyphs, "", say(text), "plain", width)
    return lines


def _entry(keys: str, command: str, text: str, tone: str, width: int) -> list[Line]:
    left = max(_KEYS, len(keys) + 1)
    head: Line = [(fit(keys, left), "key"), (fit(command, _KEYS + _USAGE - left), "plain")]
    beside = width - _KEYS - _USAGE
    if beside >= BESIDE and len(command) >= _KEYS + _USAGE - left:  # whole, on a line of its own
        return [[head[0], (command, "plain")], *([(" " * (_KEYS + _USAGE), "plain"), (part, tone)] for part in _wrapped(text, beside))]
    if beside < BESIDE:  # below instead
        return [[head[0], (command, "plain")], *([("  ", "plain"), (part, tone)] for part in _wrapped(text, max(8, width - 2)))]
    return [[*(head if at == 0 else [(" " * (_KEYS + _USAGE), "plain")]), (part, tone)] for at, part in enumerate(_wrapped(text, beside) or [""])]


def _wrapped(text: str, width: int) -> list[str]:
    """At blanks; Chinese has few, and is cut where the line is full."""
    return wrap(text, width) if text.isascii() else [piece.strip() for piece in folded(text, width)]


class HelpScreen(ModalScreen[None]):
    """Closed by esc, q or ?."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,ctrl+c", "leave", show=False)]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Static(text_of(help_lines(min(92, self.app.size.width) - 5)))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def action_leave(self) -> None:
        """Close."""
        self.dismiss(None)
