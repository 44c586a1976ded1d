"""Pane ``alarms``: what wants attention and what was said of it, who else is here, and what people said."""

from __future__ import annotations

from typing import ClassVar

from console.core.fleet.company import colleagues, notes, standing
from console.core.fleet.drill import Target
from console.core.fleet.remarks import Remark
from console.core.fleet.state import FleetState
from console.core.fleet.views import duration_text
from console.core.i18n import say
from console.tui.lines import Line, Span
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import Column, clock_text, draw_table

MARKS = {"critical": ("✗", "bad"), "warning": ("!", "warn"), "notice": ("·", "plain")}
SHOWN_NOTES = 200


class AlarmList(LinePane):
    """See the module. Enter on an alarm goes to its node or to when it began."""

    pane_name: ClassVar[str] = "alarms"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._keys: list[str] = []
        """Per line, the key of its alarm; empty: none."""

    def subject(self) -> str:
        """Key of the selected alarm, of the only one there is, or empty."""
        if self.selected is not None and self.selected < len(self._keys) and self._keys[self.selected]:
            return self._keys[self.selected]
        known = [key for key in self._keys if key]
        return known[0] if len(known) == 1 else ""

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        found, own = standing(state, now), self.context.console
        open_ = sum(said is None for _, said in found)
        self.retitle(say("Alarms") + (f"  {open_}/{len(found)}" if found else ""))
        columns = (Column(title="", width=2, keep=30), Column(title=say("since"), width=9, keep=20, right=True), Column(title=say("what"), width=0, keep=29),
                   *([Column(title=say("said"), width=max(12, width // 3), keep=25)] if any(said is not None for _, said in found) else []))
        lines: list[Line] = []
        self._keys, items = [], []
        if not found:
            lines.append([("  " + say("nothing wants attention"), "good")])
        else:
            rows: list[list[Span]] = []
            for alarm, said in found:
                mark, tone = ("✓", "dim") if said is not None else MARKS[alarm.severity]
                rows.append([(mark, tone), ("-" if alarm.since is None else duration_text(max(0.0, now - alarm.since)), "dim"),
                             (alarm.text, "dim" if said is not None else tone), (_said(said, now) if said is not None else "", "dim")][:len(columns)])
                items.append(alarm.since if not alarm.node and alarm.since is not None else Target(kind="node", node=alarm.node) if alarm.node else None)
            lines += draw_table(columns, rows, width)
        self._keys = ["", *(alarm.key for alarm, _ in found)]
        self.items = [None, *(item if item is not None else now for item in items)]
        others = colleagues(state, own)
        lines += [[("", "plain")], [(" " + say("Here too"), "head")]]
        for one in others:
            armed = say("ARMED {left}", left=duration_text(max(0.0, one.armed_until - now))) if one.armed_until is not None and one.armed_until > now else say("read-only")
            lines.append([(f"  {one.operator or '?'} ", "strong"), (f"{one.console}  ", "dim"), (armed, "armed" if one.armed_until else "dim"),
                          ("  " + say("{n} nodes, since {time}", n=len(one.nodes), time=clock_text(one.since, now)), "dim")])
        if not others:
            lines.append([("  " + say("nobody else"), "dim")])
        told = notes(state)[:SHOWN_NOTES]
        lines += [[("", "plain")], [(" " + say("Said"), "head")]]
        lines += [[(f"  {clock_text(one.time, now)} ", "dim"), (f"{one.operator or '?'} ", "strong"),
                   ("" if one.what == "note" else f"{say(one.what)} {one.subject} ", "busy"), (one.text, "plain")] for one in told]
        if not told:
            lines.append([("  " + say("nothing yet; :note TEXT is read by everybody who watches this fleet"), "dim")])
        missing = len(lines) - len(self.items)
        self._keys += [""] * (len(lines) - len(self._keys))
        self.items = [*self.items, *([None] * missing)] if found else ()
        return lines


def _said(said: Remark, now: float) -> str:
    until = f" {say('until {time}', time=clock_text(said.until, now))}" if said.until is not None else ""
    return f"{say(said.what)} {said.operator}{until}: {said.text}"
