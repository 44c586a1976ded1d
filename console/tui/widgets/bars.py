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
    mode = (" " + say("ARMED {left}", left=duration_text(armed_left_s)) + " ", "armed") if armed_left_s else (say("read-only"), "dim")
    line: Line = [(" rankdeck ", "armed" if armed_left_s else "barred")]
    right: Line = [mode, (" ", "plain")]
    for part in _parts(title if width >= 90 else "", fleet):  # what does not fit beside the mode is left out
        if width_of(line) + width_of(part) + width_of(right) + 1 <= width:
            line += part
    if width_of(line) + width_of(right) + len(clock) + 2 <= width:
        right = [mode, ("  ", "plain"), (clock, "dim"), (" ", "plain")]
    return [*line, (" " * max(1, width - width_of(line) - width_of(right)), "plain"), *right]


def _parts(title: str, fleet: FleetSummary) -> list[Line]:
    parts: list[Line] = [[(" " + clip(title, 24) + " ", "dim")]] if title else []
    parts.append([(" " + say("{up}/{all} nodes up", up=fleet.up, all=fleet.nodes) + " ", "plain")])
    if fleet.trouble:
        parts.append([(" " + say("✗ {n} in trouble", n=fleet.trouble) + " ", "bad")])
    if fleet.npus:
        npus: Line = [(" " + say("NPU ✓{n}", n=fleet.npus_good), "good")]
        unknown = fleet.npus - fleet.npus_good - fleet.npus_warn - fleet.npus_bad
        for glyph, count, tone in (("!", fleet.npus_warn, "warn"), ("✗", fleet.npus_bad, "bad"), ("?", unknown, "dim")):
            if count:
                npus.append((f" {glyph}{count}", tone))
        parts.append(npus)
    return parts


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
