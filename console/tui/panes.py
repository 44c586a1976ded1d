"""The pane interface, and the closed list of panes by name.

A pane is a widget that draws one aspect of the fleet. The contract:

- It is made by ``make(name, feed)`` and its name is one of ``core.layout.PANES``.
- ``show(state, now)`` hands it the newest state and the time (wall clock, s). The app calls it at most at
  its drain rate, when something changed or when the second changed (ages tick), and only for panes on the
  screen. It is quick, does no I/O and never waits. The state is good until the next call.
- It asks for things by posting ``Pane.Ask(intent)``, and sends messages for the status line by posting
  ``Pane.Say(text, tone)``; it calls nothing.
- What it draws goes through ``lines.shown``.
- It takes its size from the layout and is usable down to 20 x 2 cells.

Pane modules are imported when a layout first names them.
"""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

from textual.content import Content
from textual.message import Message
from textual.scroll_view import ScrollView

from console.core.fleet.state import FleetState
from console.core.intents import Intent
from console.tui.feed import Feed
from console.tui.lines import shown

_HOMES = {
    "fleet-grid": "device_grid:DeviceGrid",
    "nodes": "listings:Nodes",
    "loss": "curve:Loss",
    "metrics": "listings:Metrics",
    "checkpoints": "listings:Checkpoints",
    "logs": "log_view:LogView",
    "faults": "listings:Faults",
    "phases": "listings:Phases",
    "timeline": "listings:Timeline",
    "audit": "listings:Audit",
    "job": "job_line:JobLine",
}


class Pane(ScrollView, can_focus=True):
    """Base of all panes; see the module's contract."""

    pane_name: ClassVar[str] = ""

    class Ask(Message):
        """A pane wants something done."""

        def __init__(self, intent: Intent) -> None:
            super().__init__()
            self.intent = intent

    class Say(Message):
        """A pane has a word for the status line."""

        def __init__(self, text: str, tone: str = "plain") -> None:
            super().__init__()
            self.text, self.tone = text, tone

    def __init__(self, feed: Feed) -> None:
        super().__init__(id=f"pane-{self.pane_name}", classes="pane")
        self.feed = feed
        self._title = self._subtitle = ""

    def show(self, state: FleetState, now: float) -> None:
        """Draw this from now on."""
        raise NotImplementedError

    def retitle(self, title: str) -> None:
        """Set the words in the top border; repainted only when they changed."""
        if title != self._title:
            self._title = title
            self.border_title = Content(shown(title))  # Content: no markup from outside

    def resubtitle(self, subtitle: str) -> None:
        """Set the words in the bottom border, where the screen is high enough to have one."""
        if subtitle != self._subtitle:
            self._subtitle = subtitle
            self.border_subtitle = Content(shown(subtitle))


def make(name: str, feed: Feed) -> Pane:
    """A new pane of that name. Raises KeyError for a name that is not in ``core.layout.PANES``."""
    module, _, cls = _HOMES[name].partition(":")
    found: type[Pane] = getattr(import_module(f"console.tui.widgets.{module}"), cls)
    return found(feed)
