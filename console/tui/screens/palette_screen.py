"""All commands with their meaning in one list; what is typed narrows it. Ends with a command's name or None."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from console.core.fleet.fleet_look import matcher
from console.core.i18n import say
from console.tui.actions import ACTIONS, Action, key_text, usage
from console.tui.lines import Line, fit
from console.tui.screens.text import text_of

SHOWN = 14


def matching(text: str) -> list[Action]:
    """The actions whose name or meaning has the text; those whose name begins with it first."""
    found = matcher(text)
    fuzzy = matcher(f"-f {text}")
    if found is None or fuzzy is None:
        return list(ACTIONS)
    hits = [action for action in ACTIONS if found.search(action.name) or found.search(say(action.help)) or fuzzy.search(action.name)]
    return sorted(hits, key=lambda action: (not action.name.startswith(text), found.search(action.name) is None))


class PaletteScreen(ModalScreen[str | None]):
    """See the module. Keys are taken by the screen itself, so none of a burst is lost."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "leave", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._text, self._at = "", 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(text_of(self._lines(min(92, self.app.size.width) - 5)))

    def _lines(self, width: int) -> list[Line]:
        found = matching(self._text)
        self._at = max(0, min(len(found) - 1, self._at))
        top = max(0, min(self._at - SHOWN // 2, len(found) - SHOWN))
        lines: list[Line] = [[("› ", "key"), (self._text, "strong"), ("▏", "key"), ("   " + say("type to find, enter does it, esc closes"), "dim")], []]
        for at, action in enumerate(found[top : top + SHOWN], top):
            text = fit(" ".join(key_text(key) for key in action.keys[:1]), 9) + " " + fit(usage(action), 29) + " " + say(action.help)
            lines.append([(fit(text, width), "cursor" if at == self._at else "bad" if action.access == "write" else "plain")])
        return lines or [[(say("no such command; ? lists all"), "warn")]]

    def on_key(self, event: events.Key) -> None:
        found = matching(self._text)
        if event.key == "enter":
            self.dismiss(found[self._at].name if found else None)
        elif event.key in ("up", "down"):
            self._at += 1 if event.key == "down" else -1
        elif event.key == "backspace":
            self._text = self._text[:-1]
        elif event.character is not None and event.is_printable:
            self._text, self._at = self._text + event.character, 0
        else:
            return
        event.stop()
        self.query_one(Static).update(text_of(self._lines(min(92, self.app.size.width) - 5)))

    def action_leave(self) -> None:
        """Close without doing anything."""
        self.dismiss(None)
