"""The pane interface, and the closed list of panes by name.

A pane is a widget that draws one aspect of the fleet. The contract:

- It is made by ``make(name, feed)`` and its name is one of ``core.layout.PANES``.
- ``show(state, now)`` hands it the newest state and the time (wall clock, s). The app calls it at most at
  its drain rate, when something changed or when the second changed (ages tick), and only for panes on the
  screen. It is quick, does no I/O and never waits. The state is good until the next call.
- It asks for things by posting ``Pane.Ask(intent)``, sends messages for the status line by posting
  ``Pane.Say(text, tone)`` and moves the time cursor by posting ``Pane.Go(time)``; it calls nothing.
- What it draws goes through ``lines.shown``.
- It takes its size from the layout and is usable down to 20 x 2 cells.

Pane modules are imported when a layout first names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from console.core.fleet.state import FleetState
from console.tui.context import Context
from console.tui.feed import Feed
from console.tui.lines import shown

if TYPE_CHECKING:
    from textual.scrollbar import ScrollBar

    from console.core.fleet.drill import Target
    from console.core.intents import Intent

_HOMES = {
    "fleet-grid": "device_grid:DeviceGrid",
    "nodes": "nodes:Nodes",
    "loss": "charts:Loss",
    "metrics": "charts:Metrics",
    "checkpoints": "checkpoint_line:Checkpoints",
    "logs": "log_view:LogView",
    "faults": "listings:Faults",
    "phases": "listings:Phases",
    "timeline": "incident:Timeline",
    "audit": "listings:Audit",
    "job": "job_line:JobLine",
    # Only in the six views; a layout file cannot name them.
    "plan": "plan_pane:PlanPane",
    "verdict": "verdict:Verdict",
    "detail": "detail:Detail",
    "check": "check_matrix:CheckMatrix",
    "finding": "finding:FindingPane",
    "alarms": "alarm_list:AlarmList",
}


class Pane(ScrollView, can_focus=True):
    """Base of all panes; see the module's contract."""

    pane_name: ClassVar[str] = ""
    of_the_moment: ClassVar[bool] = True
    """Whether it draws the present, and so gets the state of the moment the time cursor is at; a pane that
    draws history gets the newest state and marks the moment (``context.moment``) itself."""
    wanted_rows: int | None = None
    """As many rows as it has to show, where it takes no more than that of what the layout gives it; None: it takes all."""
    context: Context
    may_wait: ClassVar[bool] = False
    """Whether a key is painted before ``showing`` is through: where that is taking in what came meanwhile."""

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

    class Go(Message):
        """A pane asks for the time cursor to be put at a moment (s, our clock)."""

        def __init__(self, time: float) -> None:
            super().__init__()
            self.time = time

    class Moved(Message):
        """What the mouse changed in a pane is shown by others too."""

    class Grown(Message):
        """A pane has more or fewer rows to show than before (``wanted_rows``)."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(id=f"pane-{self.pane_name}", classes="pane")
        self.feed, self.context = feed, Context()
        self._title = self._subtitle = ""
        self._base: Style | None = None

    def show(self, state: FleetState, now: float) -> None:
        """Draw this from now on."""
        raise NotImplementedError

    def showing(self, state: FleetState, now: float) -> Iterator[None]:
        """``show``, with the places where it can be left for a while; for panes of which it takes more than a millisecond or two.
        Anything may be called in between, ``show`` too."""
        self.show(state, now)
        yield from ()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Textual's hook. The style that all lines are on is worked out once for all of them: Textual goes up the whole tree for it."""
        self._base = self.rich_style
        try:
            return super().render_lines(crop)
        finally:
            self._base = None

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        """Textual's hook: the bar, made when it is first asked for."""
        if self._vertical_scrollbar is None:
            from console.tui.thumb import ThumbBar

            bar = self._vertical_scrollbar = ThumbBar(vertical=True, name="vertical", thickness=self.scrollbar_size_vertical)
            bar.display = False
            self.app._start_widget(self, bar)
        return self._vertical_scrollbar

    @property
    def base(self) -> Style:
        """The pane's own style."""
        return self._base or self.rich_style

    def chosen(self) -> Target | float | None:
        """What Enter opens: a target to drill into, a moment to go to, or nothing."""
        return None

    def of_log(self) -> tuple[str, tuple[str, int | None] | None]:
        """Whose log tells of what is selected: a rank or a node ("" for none), and of which attempt and round, where that is known."""
        return "", None

    def text_lines(self) -> list[str]:
        """What the pane holds as plain text, for ``y``."""
        return []

    def act(self, name: str, argument: str) -> None:
        """Do an action that names this pane."""

    def unselect(self) -> bool:
        """Drop the selection; False when there was none."""
        return False

    def press(self, key: str) -> bool:
        """Take a key for moving around in the pane (arrows, page keys); False when it means nothing here."""
        return False

    def resize_content(self, size: Size) -> None:
        """Say how large all of the content is. Laid out anew only when a scroll bar comes or goes: Textual paints the
        whole screen after a layout, and a log grows ten times a second."""
        old, height = self.virtual_size, self.scrollable_content_region.height
        if old.width == size.width and (old.height > height) == (size.height > height):
            if old != size:
                self.set_reactive(ScrollView.virtual_size, size)
                if self.show_vertical_scrollbar:
                    self.vertical_scrollbar.window_virtual_size = size.height
        else:
            self.virtual_size = size

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


def load() -> Iterator[None]:
    """Import the modules of all panes, one after another."""
    for home in _HOMES.values():
        import_module(f"console.tui.widgets.{home.partition(':')[0]}")
        yield


def make(name: str, feed: Feed) -> Pane:
    """A new pane of that name. Raises KeyError for a name that is not in ``core.layout.PANES``."""
    module, _, cls = _HOMES[name].partition(":")
    found: type[Pane] = getattr(import_module(f"console.tui.widgets.{module}"), cls)
    return found(feed)
