"""Puts the panes of a ``LayoutSpec`` on the screen; sizes come from the layout alone.

Sizes are inline styles, which no TCSS outranks: a layout's TCSS can colour and frame, not move. When the
screen is too small for several panes (or the operator zooms) one pane is shown alone.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical
from textual.widget import Widget

from console.core.layout import Box, LayoutSpec
from console.tui.feed import Feed
from console.tui.panes import Pane, make

ALONE_BELOW = (70, 18)
"""Cells; a smaller screen shows one pane at a time."""

BUILT_IN = LayoutSpec(name="built-in", title="Fleet and training", root=Box(children=(
    Box(pane="job", size="4"), Box(pane="fleet-grid", size="4fr"),
    Box(split="horizontal", size="5fr", children=(Box(pane="loss", size="2fr"), Box(pane="checkpoints", size="1fr"))),
    Box(pane="logs", size="4fr"))))
"""What is shown when a layout file cannot be used."""


class LayoutHost(Container):
    """The container between the two bars."""

    def __init__(self, spec: LayoutSpec, feed: Feed) -> None:
        super().__init__(id="host")
        self.spec, self.feed = spec, feed
        self.panes: list[Pane] = []
        self.current: Pane | None = None
        self.before: Pane | None = None
        """The pane that was current before."""
        self.zoomed = self.cramped = False
        self._sizes: dict[Widget, tuple[str, str]] = {}

    def compose(self) -> ComposeResult:
        yield self._build(self.spec.root, "100%", "100%")

    def _build(self, box: Box, width: str, height: str) -> Widget:
        widget: Widget
        if box.pane:
            pane = make(box.pane, self.feed)
            self.panes.append(pane)
            widget = pane
        else:
            down = box.split == "vertical"
            children = [self._build(child, "100%" if down else child.size, child.size if down else "100%") for child in box.children]
            widget = (Vertical if down else Horizontal)(*children)
        self._sizes[widget] = (width, height)
        widget.styles.width, widget.styles.height = width, height
        return widget

    @property
    def alone(self) -> bool:
        """Whether one pane is shown at a time."""
        return self.zoomed or self.cramped

    def fit_to(self, width: int, height: int) -> None:
        """The screen has this size now."""
        self.cramped = width < ALONE_BELOW[0] or height < ALONE_BELOW[1]
        self.place()

    def pane(self, name: str) -> Pane | None:
        """The pane of that name, None when the layout has none."""
        return next((pane for pane in self.panes if pane.pane_name == name), None)

    def turn_to(self, pane: Pane) -> None:
        """Make it the current one: focused, and the one shown when only one is."""
        if pane is not self.current:
            self.before, self.current = self.current, pane
        self.place()
        pane.focus(scroll_visible=False)

    def step(self, by: int) -> None:
        """Turn to the next or previous pane in the layout's order."""
        at = self.panes.index(self.current) if self.current is not None else -1
        self.turn_to(self.panes[(at + by) % len(self.panes)])

    def place(self) -> None:
        """Show the current pane alone, or all."""
        current = self.current or self.panes[0]
        for widget, (width, height) in self._sizes.items():
            on_the_way = widget is current or widget in current.ancestors
            widget.display = on_the_way or not self.alone
            wanted = ("100%", "100%") if self.alone else (width, height)
            widget.styles.width, widget.styles.height = wanted
