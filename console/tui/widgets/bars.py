"""The line on top (fleet and mode) and the line at the bottom (keys, or the newest notice)."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from console.core.fleet.views import FleetSummary, duration_text
from console.core.i18n import say
from console.tui.actions import ACTIONS, key_text
from console.tui.lines import Line, clip, width_of
from console.tui.widgets.line_pane import strip


class Bar(Widget):
    """One line, repainted when it changed."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name, classes="bar")
        self._line: Line = []

    def put(self, line: Line) -> None:
        """Show this line."""
        if line != self._line:
            self._line = line
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return strip(self._line, self.size.width).apply_style(self.rich_style)


def top_line(title: str, fleet: FleetSummary, armed_left_s: float, clock: str, width: int) -> Line:
    """Product, fleet and NPU counts on the left; mode and time (UTC) on the right."""
    line: Line = [(" rankdeck ", "armed" if armed_left_s else "barred"), (" ", "plain")]
    if title and width >= 90:
        line += [(clip(title, 24), "dim"), ("  ", "plain")]
    line += [(say("{up}/{all} nodes up", up=fleet.up, all=fleet.nodes), "plain")]
    if fleet.trouble:
        line += [("  ", "plain"), (say("✗ {n} in trouble", n=fleet.trouble), "bad")]
    if fleet.npus and width >= 60:
        line += [("  ", "plain"), (say("NPU ✓{n}", n=fleet.npus_good), "good")]
        if fleet.npus_warn:
            line += [(f" !{fleet.npus_warn}", "warn")]
        if fleet.npus_bad:
            line += [(f" ✗{fleet.npus_bad}", "bad")]
        unknown = fleet.npus - fleet.npus_good - fleet.npus_warn - fleet.npus_bad
        if unknown:
            line += [(f" ?{unknown}", "dim")]
    mode = (" " + say("ARMED {left}", left=duration_text(armed_left_s)) + " ", "armed") if armed_left_s else (say("read-only"), "dim")
    right: Line = [mode, ("  ", "plain"), (clock, "dim"), (" ", "plain")]
    blanks = width - width_of(line) - width_of(right)
    if blanks < 1:  # the mode must always be seen
        right = [mode]
        blanks = max(1, width - width_of(line) - width_of(right))
        if width_of(line) + 1 + width_of(right) > width:
            return [line[0], (" ", "plain"), mode]
    return [*line, (" " * blanks, "plain"), *right]


def key_line(width: int) -> Line:
    """The keys worth knowing, as many as fit, and always the first ones."""
    line: Line = [(" ", "plain")]
    for action in ACTIONS:
        if not action.label or not action.keys:
            continue
        part: Line = [(key_text(action.keys[0]), "key"), (f" {say(action.label)}  ", "dim")]
        if width_of(line) + width_of(part) > width:
            break
        line += part
    return line


def notice_line(text: str, tone: str) -> Line:
    """A notice with a glyph for its tone."""
    return [(" " + {"bad": "✗", "warn": "!", "good": "✓"}.get(tone, "·") + " ", tone), (text, tone)]
