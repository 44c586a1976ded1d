"""A pane made of lines: subclasses say which lines, this draws, scrolls, selects and repaints only what changed.

Why not DataTable: ages tick on every row every second, and updating 1,024 rows of a DataTable was measured
at 182 ms a time (own grid: 1.1 ms); it also brings cell padding that a dense screen cannot spare.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip

from console.core.fleet.state import FleetState
from console.tui.feed import Feed
from console.tui.lines import Line, harmless, pad, shown
from console.tui.palette import style
from console.tui.panes import Pane

if TYPE_CHECKING:
    from console.core.fleet.drill import Target

_REVERSE = Style(reverse=True)
NOT_DRAWN = Size(0, 0)
"""What a pane's lines are for while it has no room, and so nothing is drawn for it."""


def strip(line: Line, width: int, base: Style | None = None) -> Strip:
    """The line as a strip of exactly ``width`` cells, on a base style."""
    whole = "".join([text for text, _ in line])
    # Made harmless before it is measured: what is shown is wider than what came. One look at the whole line
    # tells for nearly all that nothing has to be done span by span.
    if not harmless(whole):
        line = [(shown(text), tone) for text, tone in line]
        whole = "".join([text for text, _ in line])
    cells = cell_len(whole)
    if cells > width:
        line, cells = pad(line, width), width
    styles = _on(base)
    segments = [Segment(text, styles(tone)) for text, tone in line if text]
    if cells < width:
        segments.append(Segment(" " * (width - cells), styles("plain")))
    return Strip(segments, width)


def _on(base: Style | None) -> Callable[[str], Style]:
    """Tone -> style on the base; adding styles up for every span costs more than all the rest of a line."""
    if base is None:
        return style
    known = _sums.setdefault(base, {})

    def summed(tone: str) -> Style:
        own = style(tone)
        found = known.get(tone)
        if found is None or found[0] is not own:  # another theme
            found = known[tone] = (own, base + own)
        return found[1]

    if len(_sums) > 64:
        _sums.clear()
    return summed


_sums: dict[Style, dict[str, tuple[Style, Style]]] = {}


class LinePane(Pane):
    """See the module. ``fixed_lines`` at the top stay put when the rest scrolls."""

    fixed_lines = 0
    of_nodes: ClassVar[bool] = False
    """Whether it draws nodes and what runs on them and nothing else: a log's lines come ten times a second and change nothing there;
    ages tick once a second."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._state: FleetState | None = None
        self._now = 0.0
        self._lines: list[Line] = []
        self._drawn_for = NOT_DRAWN
        self._drawings = 0
        self._seen: tuple[object, object, tuple[object, ...]] | None = None
        """Where it is ``of_nodes``: what was handed in last, by what the lines depend on."""
        self.items: Sequence[Target | float | None] = ()
        """Per line, what Enter opens there; empty: nothing can be selected."""
        self.selected: int | None = None
        """The selected line; None until the operator moves."""

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        """All lines of the pane, from the top, for a window of that many cells. May call ``retitle`` and set ``items``."""
        raise NotImplementedError

    def drawing(self, state: FleetState, now: float, width: int, height: int) -> Generator[None, None, list[Line]]:
        """``draw``, with the places where it can be left for a while; it changes nothing of the pane's before the last of them."""
        return self.draw(state, now, width, height)
        yield

    def show(self, state: FleetState, now: float) -> None:
        for _ in self.showing(state, now):
            pass

    def showing(self, state: FleetState, now: float) -> Iterator[None]:
        """``show``, left wherever ``drawing`` can be. When a key has it drawn in between, that is newer than what is under way."""
        if self.of_nodes:
            seen = (state.nodes, state.runs, (int(now), self.context.generation, self.context.look, self.scrollable_content_region.size))
            old, self._seen = self._seen, seen
            if old is not None and old[0] is seen[0] and old[1] is seen[1] and old[2] == seen[2]:
                return
        self._state, self._now = state, now
        size = self.scrollable_content_region.size
        if size.width <= 0 or size.height <= 0:
            self._drawn_for = NOT_DRAWN
            return
        drawings, drawing = self._drawings, self.drawing(state, now, size.width, size.height)
        while drawings == self._drawings:
            try:
                next(drawing)
            except StopIteration as end:
                self._put(end.value, size)
                return
            yield

    def on_resize(self, event: events.Resize) -> None:
        size = self.scrollable_content_region.size
        if self._drawn_for == size and self._lines:  # already, by the first frame of that size
            self.resize_content(Size(size.width, len(self._lines)))
        else:
            self._redraw()

    def redraw(self) -> None:
        """Draw again because something of the pane's own (a mode) changed."""
        self._redraw()

    def chosen(self) -> Target | float | None:
        """What the selected line is; before a choice, the first one there is."""
        if not self.items:
            return None
        if self.selected is not None and self.selected < len(self.items):
            return self.items[self.selected]
        return None

    def text_lines(self) -> list[str]:
        """The selected line, or all."""
        if self.selected is not None and self.selected < len(self._lines):
            return ["".join(text for text, _ in self._lines[self.selected]).rstrip()]
        return ["".join(text for text, _ in line).rstrip() for line in self._lines]

    def unselect(self) -> bool:
        """Drop the selection."""
        had = self.selected is not None
        if had:
            self.select(None)
        return had

    def press(self, key: str) -> bool:
        """Move the selection where there is something to select."""
        places = [at for at, item in enumerate(self.items) if item is not None]
        if not places:
            return False
        at = places.index(self.selected) if self.selected in places else None
        page = max(1, self.scrollable_content_region.height - self.fixed_lines - 1)
        moves = {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "home": -len(places), "end": len(places)}
        if key not in moves:
            return False
        to = (0 if moves[key] > 0 or key == "home" else len(places) - 1) if at is None and key not in ("home", "end") else (at or 0) + moves[key]
        self.select(places[max(0, min(len(places) - 1, to))])
        return True

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset(self)
        if at is not None:
            self.point(at.x, at.y if at.y < self.fixed_lines else at.y + round(self.scroll_offset.y))

    def point(self, x: int, y: int) -> None:
        """The mouse was pressed on column ``x`` of line ``y``, both from 0."""
        if y < len(self.items) and self.items[y] is not None:
            self.select(y)

    def select(self, at: int | None) -> None:
        """Select that line and bring it into the window."""
        self.selected = at
        height = self.scrollable_content_region.height
        if at is not None and height > self.fixed_lines:
            top = round(self.scroll_offset.y)
            if at - top < self.fixed_lines:
                self.scroll_to(y=at - self.fixed_lines, animate=False, force=True)
            elif at - top >= height:
                self.scroll_to(y=at - height + 1, animate=False, force=True)
        self._redraw()
        self.refresh()

    def _redraw(self) -> None:
        size = self.scrollable_content_region.size
        if self._state is None or size.width <= 0 or size.height <= 0:
            self._drawn_for = NOT_DRAWN
            return
        self._put(self.draw(self._state, self._now, size.width, size.height), size)

    def _put(self, lines: list[Line], size: Size) -> None:
        old, self._lines, self._drawn_for = self._lines, lines, size
        self._drawings += 1
        self.resize_content(Size(size.width, len(self._lines)))
        if len(old) != len(self._lines):
            self.refresh()
            return
        top = self.scroll_offset.y
        changed = [Region(0, y if y < self.fixed_lines else y - top, size.width, 1)
                   for y, (before, after) in enumerate(zip(old, self._lines, strict=True)) if before != after]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        size = self.scrollable_content_region.size
        if self._drawn_for != size and self._state is not None:
            # The first frame is painted before the resize event that would draw is delivered.
            self._lines, self._drawn_for = self.draw(self._state, self._now, size.width, size.height), size
            self._drawings += 1
        at = y if y < self.fixed_lines else y + self.scroll_offset.y
        line = self._lines[at] if at < len(self._lines) else []
        made = strip(line, size.width, self.base)
        return made.apply_style(_REVERSE) if at == self.selected and self.items else made
