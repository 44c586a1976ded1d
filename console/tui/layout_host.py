"""Puts the panes of a ``LayoutSpec`` on the screen; sizes come from the layout alone.

Every pane exists once, whatever views and layouts it is in: a log that was scrolled back in one view is
scrolled back in the next. The host arranges them itself, so no TCSS can move one. When the screen is too
small for several panes (or the operator zooms) one pane is shown alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from console.core.layout import Box, LayoutSpec
from console.tui.context import Context
from console.tui.feed import Feed
from console.tui.panes import Pane, make

LARGE = Size(10_000, 10_000)
ALONE_BELOW = (70, 18)
"""Cells; a smaller screen shows one pane at a time."""
BARS = 2
"""Rows of the screen that are not the host's."""
COMPANION_FROM, QUIET_COMPANION_FROM = 6, 10
"""Rows in which a pane of few rows has a place above the one that is shown; and when it has a row or two to show, which is nothing new."""

BUILT_IN = LayoutSpec(name="built-in", title="Fleet and training", root=Box(children=(
    Box(pane="job", size="4"), Box(pane="fleet-grid", size="4fr"),
    Box(split="horizontal", size="5fr", children=(Box(pane="loss", size="2fr"), Box(pane="checkpoints", size="1fr"))),
    Box(pane="logs", size="4fr"))))
"""What is shown when a layout file cannot be used."""


def names_in(box: Box) -> Iterator[str]:
    """The panes of a box, in order."""
    if box.pane:
        yield box.pane
    for child in box.children:
        yield from names_in(child)


def shares(sizes: list[str], room: int) -> list[int]:
    """Cells for each of the sizes (N, N%, Nfr) in ``room`` cells; fixed ones first, what is left by fractions.

    The sum is never more than ``room``; where the fixed ones take too much the last ones get nothing.
    """
    found = [0] * len(sizes)
    left = room
    parts = [int(size[:-2]) if size.endswith("fr") else 0 for size in sizes]
    for at, size in enumerate(sizes):
        if not parts[at]:
            wanted = room * int(size[:-1]) // 100 if size.endswith("%") else int(size)
            found[at] = min(left, wanted)
            left -= found[at]
    total = sum(parts)
    given = 0
    for at, part in enumerate(parts):
        if part:
            given += part
            upto = left * given // total
            found[at] = upto - left * (given - part) // total
    return found


def regions(box: Box, region: Region, gap: int, most: Callable[[str], int | None] = lambda pane: None) -> Iterator[tuple[str, Region]]:
    """(pane, where it is) for every pane of the box; ``gap``: blank cells between neighbours in a row; ``most``: rows, frame
    and all, that a pane of a fixed height has a use for, None: any."""
    if box.pane:
        yield box.pane, region
        return
    down = box.split == "vertical"
    room = region.height if down else region.width - gap * (len(box.children) - 1)
    at = region.y if down else region.x
    sizes = [child.size for child in box.children]
    if down:
        sizes = [str(min(int(size), wanted)) if size.isdigit() and child.pane and (wanted := most(child.pane)) is not None else size
                 for child, size in zip(box.children, sizes, strict=True)]
    for child, cells in zip(box.children, shares(sizes, max(0, room)), strict=True):
        if down:
            yield from regions(child, Region(region.x, at, region.width, cells), gap, most)
            at += cells
        else:
            yield from regions(child, Region(at, region.y, cells, region.height), gap, most)
            at += cells + gap


class _Boxes(Layout):
    """Textual's side of ``regions``."""

    name = "boxes"

    def __init__(self, host: LayoutHost) -> None:
        self._host = host

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        places = self._host.places(size)
        return [WidgetPlacement(places[child], NULL_OFFSET, NULL_SPACING, child) for child in children if child in places]


class LayoutHost(Widget):
    """The container between the two bars."""

    def __init__(self, spec: LayoutSpec, feed: Feed, context: Context) -> None:
        super().__init__(id="host")
        self.spec, self.feed, self.context = spec, feed, context
        self.made: dict[str, Pane] = {}
        self.current: Pane | None = None
        self.before: Pane | None = None
        """The pane that was current before."""
        self.zoomed = self.cramped = self.short = False
        self._height = 0
        self._boxes = _Boxes(self)
        self._placed: dict[Widget, Region] | None = None
        """Where the panes were put last, as on a large screen; None: to be put anew in any case."""
        for name in names_in(spec.root):
            self._made(name)

    @property
    def layout(self) -> Layout:
        """Textual's hook: how the panes are arranged."""
        return self._boxes

    def compose(self) -> Iterator[Widget]:
        yield from self.made.values()

    def _made(self, name: str) -> Pane:
        pane = self.made.get(name)
        if pane is None:
            pane = self.made[name] = make(name, self.feed)
            pane.context = self.context
            if self.is_attached:
                self.mount(pane)
        return pane

    @property
    def panes(self) -> list[Pane]:
        """The panes of the arrangement that is shown, in its order."""
        return [self.made[name] for name in names_in(self.spec.root)]

    def places(self, size: Size) -> dict[Widget, Region]:
        """Where each visible pane is, in a host of that size."""
        frame = 1 if self.short else 2
        if self.alone:
            first, top = self._companion(), 0
            placed: dict[Widget, Region] = {}
            if first is not None:
                top = min((first.wanted_rows or 0) + frame, size.height // 3)
                placed[first] = Region(0, 0, size.width, top)
            return {**placed, self.current or self.panes[0]: Region(0, top, size.width, size.height - top)}

        def most(name: str) -> int | None:
            rows = self.made[name].wanted_rows
            return None if rows is None else rows + frame

        found = regions(self.spec.root, Region(0, 0, size.width, size.height), 1 if self.short else 0, most)
        return {self.made[name]: region for name, region in found}

    def show_spec(self, spec: LayoutSpec, first: str = "") -> None:
        """Show this arrangement from now on, with pane ``first`` current where it has that one."""
        self.spec, self.zoomed = spec, False
        for name in names_in(spec.root):
            self._made(name)
        keep = self.current if self.current in self.panes else None
        wanted = self.made.get(first) if first and self.made.get(first) in self.panes else None
        self.turn_to(wanted or keep or self.pane("logs") or self.panes[0])

    def _companion(self) -> Pane | None:
        """The pane of few rows that stays above the one that is shown alone because the screen is small."""
        first = self.panes[0]
        if self.zoomed or first.wanted_rows is None or self.current in (None, first):
            return None
        return first if self._height >= (COMPANION_FROM if first.wanted_rows > 2 else QUIET_COMPANION_FROM) else None

    def is_shown(self, pane: Pane) -> bool:
        """Whether the pane is on the screen now."""
        return pane in self.panes and (not self.alone or pane in (self.current or self.panes[0], self._companion()))

    @property
    def alone(self) -> bool:
        """Whether one pane is shown at a time."""
        return self.zoomed or self.cramped

    def fit_to(self, width: int, height: int, *, short: bool) -> None:
        """The screen has this size now; ``short``: panes have no frame at their sides."""
        self.cramped = width < ALONE_BELOW[0] or height < ALONE_BELOW[1]
        self.short, self._height, self._placed = short, height - BARS, None
        self.place()

    def pane(self, name: str) -> Pane | None:
        """The pane of that name, None when what is shown has none."""
        found = self.made.get(name)
        return found if found is not None and found in self.panes else None

    def turn_to(self, pane: Pane) -> None:
        """Make it the current one: focused, and the one shown when only one is."""
        if pane is not self.current:
            self.before, self.current = self.current, pane
        self.place()
        # At once, and not through Widget.focus, which does it later: the next key is for this pane already.
        self.screen.set_focus(pane, scroll_visible=False)

    def step(self, by: int) -> None:
        """Turn to the next or previous pane in the arrangement's order."""
        panes = self.panes
        at = panes.index(self.current) if self.current in panes else -1
        self.turn_to(panes[(at + by) % len(panes)])

    def place(self) -> None:
        """Show the current pane alone, or all of the arrangement."""
        for pane in self.made.values():
            pane.display = self.is_shown(pane)
        places = self.places(LARGE)
        if places != self._placed:  # Textual paints the whole screen after a layout; another pane in focus is no reason for one
            self._placed = places
            self._clear_arrangement_cache()  # a layout that is asked for forgets those of what is around it alone
            self.refresh(layout=True)
