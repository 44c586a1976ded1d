"""A scroll bar that is painted when its thumb has moved, and not for every line that a log grows by.

At 10,000 lines a second the thumb moves by an eighth of a cell every few seconds; Textual paints the bar ten times a second.
"""

from __future__ import annotations

from math import ceil

from textual.reactive import Reactive
from textual.scrollbar import ScrollBar

EIGHTHS = 8
"""Steps of the thumb in a cell, as ``textual.scrollbar`` draws it."""


def thumb(cells: int, whole: float, shown: float, at: float) -> tuple[int, int] | None:
    """(its first eighth, the one behind its last) in a bar of so many cells; None where there is nothing to scroll.

    ``whole``, ``shown`` and ``at``: all that there is, the window, and where that begins, in lines.
    """
    if not cells or not shown or whole <= shown or cells == whole:
        return None
    size = max(1.0, shown * cells / whole)
    start = int((cells - size) * at / (whole - shown) * EIGHTHS)
    return start, start + ceil(size * EIGHTHS)


class ThumbBar(ScrollBar):
    """See the module."""

    window_virtual_size: Reactive[int] = Reactive(100, repaint=False)
    window_size: Reactive[int] = Reactive(0, repaint=False)
    position: Reactive[float] = Reactive(0.0, repaint=False)
    _painted: tuple[int, int] | None = None
    _waiting = False

    def watch_window_virtual_size(self) -> None:
        """Textual's hook."""
        self._changed()

    def watch_window_size(self) -> None:
        """Textual's hook."""
        self._changed()

    def watch_position(self) -> None:
        """Textual's hook."""
        self._changed()

    def _changed(self) -> None:
        # Looked at when all of them have changed: a log that has grown is at its end again a moment later.
        if not self._waiting:
            self._waiting = self.call_later(self._look)

    def _look(self) -> None:
        self._waiting = False
        now = thumb(self.size.height, self.window_virtual_size, self.window_size, self.position)
        if now != self._painted:
            self._painted = now
            self.refresh()
