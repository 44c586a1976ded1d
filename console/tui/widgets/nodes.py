"""Pane ``nodes``: a line a node, filtered, ordered and grouped as the operator looks at the fleet."""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

from console.core.fleet.drill import Target
from console.core.fleet.fleet_look import arranged
from console.core.fleet.state import FleetState
from console.core.fleet.views import NodeRow, spans_text
from console.core.i18n import say
from console.core.spoken import spoken_text
from console.tui.lines import Line, Span
from console.tui.slices import finished
from console.tui.widgets.device_grid import ROWS, duration_text_ms, rows_by_parts
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import Column, draw_table


def _pct(value: float | None, limit: float) -> Span:
    return ("-" if value is None else f"{value:.0f}%", "dim" if value is None else "warn" if value >= limit else "plain")


class Nodes(LinePane):
    """See the module."""

    pane_name: ClassVar[str] = "nodes"
    fixed_lines = 1
    of_nodes: ClassVar[bool] = True

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        return finished(self.drawing(state, now, width, height))

    def drawing(self, state: FleetState, now: float, width: int, height: int) -> Generator[None, None, list[Line]]:
        """Rows and lines some at a time."""
        rows = yield from rows_by_parts(state, now)
        groups = arranged(rows, self.context.look, self.context.labels)
        shown = [row for _, members in groups for row in members]
        look = self.context.look
        columns = (
            Column(title=say("node"), width=min(24, max([4, *(len(row.name) for row in rows)])), keep=20),
            Column(title=say("link"), width=12, keep=19), Column(title=say("rtt"), width=6, keep=5, right=True),
            Column(title=say("age"), width=5, keep=18, right=True), Column(title="NPU", width=6, keep=17, right=True),
            Column(title="cpu", width=4, keep=10, right=True), Column(title=say("load"), width=6, keep=4, right=True),
            Column(title=say("mem"), width=4, keep=9, right=True), Column(title=say("disk"), width=4, keep=8, right=True),
            Column(title="shm", width=4, keep=7, right=True), Column(title=say("job"), width=9, keep=12),
            Column(title=say("ranks"), width=9, keep=11), Column(title=say("note"), width=0, keep=6))
        drawn = draw_table(columns, (), width)
        for at in range(0, len(shown), ROWS):
            drawn += draw_table(columns, [_cells(row) for row in shown[at : at + ROWS]], width)[1:]
            yield
        lines, items = drawn[:1], [None]  # type: list[Line], list[Target | float | None]
        at = 1
        for name, members in groups:
            if look.group:
                lines.append([(f" ▾ {look.group}={name}  {len(members)}", "head")])
                items.append(None)
            for row in members:
                lines.append(drawn[at])
                items.append(Target(kind="node", node=row.name))
                at += 1
        self.items = items
        self.retitle(say("Nodes") + (f"  {len(shown)}/{len(rows)}" if len(shown) != len(rows) else f"  {len(rows)}") + (f"  /{look.filter}" if look.filter else ""))
        if not shown:
            lines.append([("  " + say("no node matches the filter" if rows else "no node has been heard of yet"), "dim")])
        return lines


def _cells(row: NodeRow) -> list[Span]:
    good = sum(cell.health.tone == "good" for cell in row.cells)
    return [(row.name, "name" if row.link.tone in ("good", "busy") else row.link.tone), (f"{row.link.glyph} {say(row.link.text)}", row.link.tone),
            (duration_text_ms(row.rtt_s), "dim"), (f"{row.age.glyph}{row.age.text}", "dim" if row.age.tone == "good" else row.age.tone),
            (f"{good}/{len(row.cells)}", "plain" if good == len(row.cells) else "bad"), _pct(row.cpu_pct, 101),
            ("-" if row.load1 is None else f"{row.load1:.1f}", "dim"), _pct(row.memory_pct, 92), _pct(row.disk_pct, 90), _pct(row.shm_pct, 90),
            (say(row.job) if row.job else "-", "plain" if row.job else "dim"), (spans_text(row.ranks) or "-", "busy" if row.ranks else "dim"),
            (spoken_text(row.note) + (say("  {n} records dropped", n=row.dropped) if row.dropped else ""), "warn")]
