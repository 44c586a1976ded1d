"""The main screen, which over a slow line paints one whole frame instead of several that are late.

A change of view lays the panes out, lets them draw for their new sizes and turns to the log's end: on a quick terminal
these are three frames within 50 ms, over 20 kB/s they are two seconds, and what the operator waits for is in the last.
So on a line that was slow lately a frame waits until the terminal has taken in the one before, and one with a new
layout for ``SETTLE_S`` as well; what is drawn meanwhile is in it. A line being typed does not wait (``paint``).
"""

from __future__ import annotations

import asyncio

from textual import events
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget

from console.tui.pacing import Pacer

SETTLE_S = 0.06
LOOK_S = 1 / 60
"""Between two frames, as Textual has it."""
HURRY_S, HURRIES = 0.05, 3
"""So long, and so often, what is drawn after a key is what that key has changed."""


class PacedScreen(Screen[None]):
    """See the module."""

    def __init__(self, pacer: Pacer) -> None:
        super().__init__(id="_default")
        self._pacer = pacer
        self._settled_at = 0.0
        self._held = False
        self._painted = self._hurry_until = float("-inf")
        self._is_laid_out, self._hurries = False, 0

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        if self._pacer.slow and not self._held:
            self._settled_at = asyncio.get_running_loop().time() + SETTLE_S
        super()._refresh_layout(size, scroll)

    def _compositor_refresh(self) -> None:
        if self.is_current and (self._pacer.unsure or (self._pacer.slow and (
                not self._pacer.may_paint() or asyncio.get_running_loop().time() < self._settled_at))):
            if not self._held:
                self._held = True
                self.set_timer(LOOK_S, self._look)
            return
        super()._compositor_refresh()

    def paint(self, widget: Widget) -> None:
        """Paint this one at once, and not with all that waits for the next frame; in a burst of keys only what the frames show."""
        loop_s = asyncio.get_running_loop().time()
        if loop_s - self._painted < LOOK_S or self.app._batch_count or self._layout_required or widget not in self._compositor.visible_widgets:
            return
        self._painted = loop_s
        compositor = self._compositor
        waiting = compositor._dirty_regions.copy()
        compositor._dirty_regions.clear()
        compositor.update_widgets({widget})
        self._dirty_widgets.discard(widget)
        widget._repaint_required = False
        self.app._display(self, compositor.render_update(screen_stack=self.app._background_screens))
        compositor._dirty_regions.update(waiting)

    def hurry(self) -> None:
        """A key has changed the picture: paint it when it is there, and not when the time of the next frame has come."""
        self._hurry_until, self._hurries, self._is_laid_out = asyncio.get_running_loop().time() + HURRY_S, HURRIES, False

    async def _on_idle(self, event: events.Idle) -> None:
        # Before Textual's own, which leaves what it finds here to a timer. A key's layout comes once in a hurry: what panes draw anew for their sizes can wait.
        if not self._hurries or not self.is_current or self.app._batch_count or self._pacer.slow or self._pacer.unsure:
            return
        if asyncio.get_running_loop().time() >= self._hurry_until:
            self._hurries = 0
            return
        if self._layout_required or self._scroll_required:
            if self._is_laid_out:
                return
            self._is_laid_out = True
        elif not self._dirty_widgets and not self._repaint_required:
            return
        self._hurries -= 1
        self._on_timer_update()

    def _look(self) -> None:
        self._held = False
        self._compositor.update_widgets(self._dirty_widgets)
        self._compositor_refresh()
