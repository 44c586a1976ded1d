"""The line on top (fleet and mode) and the line at the bottom (keys, or the newest notice)."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

from textual.strip import Strip
from textual.widget import Widget

from console.core.fleet.views import FleetSummary, duration_text
from console.core.i18n import say
from console.tui.actions import ACTIONS, key_text
from console.tui.lines import Line, clip, fit_end, shown, width_of
from console.tui.time_cursor import TimeCursor
from console.tui.views import KEYS as VIEW_KEYS
from console.tui.widgets.line_pane import strip

if TYPE_CHECKING:
    from console.tui.line_editor import LineEditor

SLOW_LINE_S = 0.5
"""A frame that took longer to reach the terminal is worth saying so."""


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
        return strip(self._line, self.size.width, self.rich_style)


def top_line(title: str, fleet: FleetSummary, armed_left_s: float, clock: str, width: int, *, cursor: TimeCursor | None = None,
             now: float = 0.0, slow_s: float = 0.0) -> Line:
    """Product, view, fleet and NPU counts on the left; the time cursor, mode and time (UTC) on the right. Where that is too much
    for the width, the product's name goes first, then words, then what stands last."""
    mode = (" " + say("ARMED {left}", left=duration_text(armed_left_s)) + " ", "armed") if armed_left_s else (say("read-only"), "dim")
    line: Line = [(" rankdeck ", "armed" if armed_left_s else "barred")]
    right: Line = [mode, (" ", "plain")]
    if cursor is not None and cursor.at is not None:
        right = [(f" {_moment(cursor, now, clock)} ", "past"), (" ", "plain"), *right]
        clock = ""
    elif slow_s >= SLOW_LINE_S:
        right = [(say("line {s:.1f} s", s=slow_s), "warn"), ("  ", "plain"), *right]
    parts = _parts(title if width >= 70 else "", fleet)
    room = width - width_of(right) - 1
    if sum(map(width_of, parts)) + width_of(line) + (len(clock) + 1 if clock else 0) > room:
        line = []
        if sum(map(width_of, parts)) > room:
            parts = _parts(title if width >= 70 else "", fleet, brief=True)
    for part in parts:  # what does not fit beside the mode is left out
        if width_of(line) + width_of(part) <= room:
            line += part
    if clock and width_of(line) + width_of(right) + len(clock) + 2 <= width:
        right = [*right[:-1], ("  ", "plain"), (clock, "dim"), (" ", "plain")]
    return [*line, (" " * max(1, width - width_of(line) - width_of(right)), "plain"), *right]


def _moment(cursor: TimeCursor, now: float, clock: str) -> str:
    at = cursor.at if cursor.at is not None else now
    ago = duration_text(max(0.0, now - at))
    sign = f"▶{cursor.speed:g}×" if cursor.speed else "‖"
    return f"{sign} {clock} " + (say("{ago} before the end", ago=ago) if cursor.replay else say("{ago} ago", ago=ago))


def _parts(title: str, fleet: FleetSummary, *, brief: bool = False) -> list[Line]:
    parts: list[Line] = [[(" " + clip(title, 24) + " ", "dim")]] if title else []
    if fleet.nodes and fleet.unknown == fleet.nodes:
        return [*parts, [(" " + say("{n} nodes, nothing known", n=fleet.nodes) + " ", "dim")]]
    parts.append([(" " + say("{up}/{all} nodes up", up=fleet.up, all=fleet.nodes) + " ", "plain")])
    if fleet.trouble:
        parts.append([(f" ✗ {fleet.trouble} " if brief else " " + say("✗ {n} in trouble", n=fleet.trouble) + " ", "bad")])
    if fleet.npus:
        npus: Line = [(" " + say("NPU ✓{n}", n=fleet.npus_good), "good")]
        unknown = fleet.npus - fleet.npus_good - fleet.npus_warn - fleet.npus_bad
        for glyph, count, tone in (("!", fleet.npus_warn, "warn"), ("✗", fleet.npus_bad, "bad"), ("?", unknown, "dim")):
            if count:
                npus.append((f" {glyph}{count}", tone))
        parts.append(npus)
    return parts


def key_line(width: int, quit_label: str, panes: Container[str]) -> Line:
    """The keys worth knowing with these panes on the screen, as many as fit, and always the first ones."""
    line: Line = [(" ", "plain")]
    # What only these panes know first, behind the way out and the help.
    for action in sorted(ACTIONS, key=lambda action: (action.name not in ("quit", "help"), not action.within)):
        if not action.label or not action.keys or (action.pane and action.pane not in panes) or (action.within and not any(pane in panes for pane in action.within)):
            continue
        label = quit_label if action.name == "quit" else action.label
        part: Line = [(f"1-{len(VIEW_KEYS)}" if label == "views" else key_text(action.keys[0]), "key"), (f" {say(label)}  ", "dim")]
        if width_of(line) + width_of(part) > width:
            break
        line += part
    return line


def prompt_line(editor: LineEditor, width: int) -> tuple[Line, int]:
    """(the line being typed with what it could become, the cell of its cursor)."""
    before = fit_end(editor.text[: editor.at], max(8, width * 2 // 3))
    head: Line = [(editor.prompt, "key"), (before, "plain"), (editor.text[editor.at : editor.at + 1] or " ", "cursor"), (editor.text[editor.at + 1 :], "plain")]
    found = editor.candidates(editor.text)
    hint = "  ".join(found) if found else ""
    at = width_of([(shown(editor.prompt + before), "plain")])
    return [*head, ("  ", "plain"), (clip(hint, max(0, width - width_of(head) - 2)), "dim")], min(width - 1, at)


def notice_line(text: str, tone: str) -> Line:
    """A notice with a glyph for its tone."""
    return [(" " + {"bad": "✗", "warn": "!", "good": "✓"}.get(tone, "·") + " ", tone), (text, tone)]
