"""The heat grid: a row per node, a cell per NPU, drawn as richly as the room allows.

Five densities, the widest first; ``choose`` picks. In all of them a cell tells health by its glyph as well
as by its tone, a value that is too old is drawn as stale, and a node that cannot be reached says so on its
own row, with its last values dimmed.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.cells import cell_len

from console.core.fleet.fleet_look import FleetLook, arranged
from console.core.fleet.state import FleetState
from console.core.fleet.views import HBM_TIGHT_PCT, Cell, NodeRow, duration_text, each_row, fleet_summary
from console.core.i18n import say
from console.core.spoken import spoken_text
from console.tui.feed import Feed
from console.tui.lines import Line, Span, bar, clip, fit, level, width_of
from console.tui.palette import heat
from console.tui.slices import finished
from console.tui.widgets.line_pane import LinePane

if TYPE_CHECKING:
    from console.core.fleet.drill import Target

NAME_CELLS = 14
"""A longer node name is cut in the grid; the nodes pane shows it whole."""
# Density -> cells one NPU takes, with the gap to the next.
_WIDTHS = {"bars": 15, "numbers": 11, "compact": 6, "marks": 3}
_LINK_CELLS, _AGE_CELLS = 7, 6
HOT_C = 90.0
"""A 910B throttles somewhat above this; drawn as a full bar."""
MUCH_W = 400.0
"""What a 910B draws under full load, about; drawn as a full bar."""
_PLAIN = FleetLook()


def choose(cell_width: int, nodes: int, height: int) -> str:
    """The density for NPUs of ``cell_width`` cells and a window of ``height`` lines below the heading.

    "dense" (one character an NPU, nodes in columns) when even single rows do not fit the height.
    """
    if nodes > height and nodes > 4:
        return "dense"
    if cell_width >= _WIDTHS["bars"] and nodes * 2 <= height:
        return "bars"
    return next((name for name in ("numbers", "compact", "marks") if cell_width >= _WIDTHS[name]), "dense")


def draw_grid(rows: Sequence[NodeRow], width: int, height: int, look: FleetLook = _PLAIN, choice: tuple[str, int | None] = ("", None)) -> list[Line]:
    """The grid with its heading, ``width`` cells wide. More than ``height`` lines where it must scroll.

    ``choice``: the node and NPU that are marked as chosen.
    """
    if not rows:
        return [[("  " + say("no node has been heard of yet"), "dim")]]
    devices = max((len(row.cells) for row in rows), default=0)
    names, left, cell_width, density = _fitting(rows, width, height)
    if look.value != "load":
        rows = [replace(row, cells=tuple(_measured(cell, look.value) for cell in row.cells)) for row in rows]
        if density in ("bars", "numbers", "compact"):
            density = "value"
    if len(rows) >= height and look.order == "name":  # whoever is in trouble is seen without scrolling
        rows = sorted(rows, key=lambda row: (row.trusted and all(cell.health.tone == "good" for cell in row.cells)))
    if density == "dense":
        return _dense(rows, width, max(1, height), choice)
    # Wider cells than the drawing needs only pull the row apart.
    cell_width = min(cell_width, {"bars": 26, "numbers": 15, "compact": 8, "value": 11, "marks": 4}[density])
    tall = density == "bars" and len(rows) * 3 < height and cell_width >= 18
    gap = density == "bars" and len(rows) * (4 if tall else 3) <= height
    lines = [_heading(devices, left, cell_width, names, width)]
    spare = height - 1 - len(rows)
    for at, row in enumerate(rows):
        if gap and at:
            lines.append([])
        lines += _node(row, names, left, cell_width, density, tall, width, choice if row.name == choice[0] else ("", None))
        if row.note and row.cells and density != "bars" and spare > 0:
            lines.append([("   " + clip("└ " + spoken_text(row.note), width - 4), "stale" if row.link.tone == "good" else row.link.tone)])
            spare -= 1
    return lines


def _fitting(rows: Sequence[NodeRow], width: int, height: int) -> tuple[int, int, int, str]:
    """Cells for a name, cells before the first NPU, cells an NPU may take, and the density that they allow."""
    devices = max((len(row.cells) for row in rows), default=0)
    names = min(NAME_CELLS, max(len(row.name) for row in rows))
    left = 3 + names + 1 + (_LINK_CELLS if width >= 70 else 0)
    room = width - left - _AGE_CELLS
    cell_width = room // devices if devices else room
    return names, left, cell_width, choose(cell_width, len(rows), height - 1)


def _legend(rows: Sequence[NodeRow], width: int, height: int, value: str) -> str:
    """What the cells show."""
    bare = value == "load" and rows and _fitting(rows, width, height)[3] in ("marks", "dense")
    return "AICore" if bare else say(_LEGENDS[value])


def _heading(devices: int, left: int, cell_width: int, names: int, width: int) -> Line:
    line: Line = [(fit("   " + say("node"), names + 4), "head")]
    if left > names + 4:
        line.append((fit(say("link"), _LINK_CELLS), "head"))
    line += [(fit(f"{device:>2}" if cell_width < 5 else f"NPU {device}" if cell_width >= 11 else f"{device}", cell_width), "head")
             for device in range(devices)]
    line.append((fit(say("age"), _AGE_CELLS - 1, right=True), "head"))
    return line


def _node(row: NodeRow, names: int, left: int, cell_width: int, density: str, tall: bool, width: int, choice: tuple[str, int | None]) -> list[Line]:
    alive = row.link.tone in ("good", "busy")
    name_tone = "cursor" if choice[0] else "name" if alive else row.link.tone
    head: Line = [(f" {row.link.glyph} ", row.link.tone), (fit(row.name, names + 1), name_tone)]
    if left > names + 4:
        text = duration_text_ms(row.rtt_s) if row.link.tone == "good" else say(row.link.text)
        head.append((fit(text, _LINK_CELLS - 1) + " ", "dim" if row.link.tone == "good" else row.link.tone))
    blank: Line = []
    bodies: list[Line] = []
    if row.cells:
        parts = [_CELLS[density](cell, cell_width, tall) for cell in row.cells]
        if choice[1] is not None and choice[1] < len(parts):
            parts[choice[1]] = [[(text, "cursor" if text.strip() else tone) for text, tone in line] for line in parts[choice[1]]]
        for at in range(len(parts[0])):
            bodies.append([span for part in parts for span in part[at]])
    if not row.trusted and row.cells:
        tone = "off" if not alive or row.age.tone == "bad" else "stale"
        bodies = [[(text, "bad" if was in ("bad", "alarm") else was if was == "cursor" else tone) for text, was in body] for body in bodies]
    if not bodies:
        bodies = [[(clip(spoken_text(row.note) or say("nothing known"), width - width_of(head) - _AGE_CELLS), "dim" if alive else row.link.tone)]]
    age: Span = (fit(f"{row.age.glyph}{row.age.text}", _AGE_CELLS - 1, right=True), "dim" if row.age.tone == "good" else row.age.tone)
    if row.note and len(bodies) == 3:
        bodies[2] = [("  " + clip(spoken_text(row.note), width - left - 4), "stale" if alive else row.link.tone)]
    if len(bodies) > 1:
        blank = [(fit("HBM", width_of(head) - 1, right=True) + " ", "dim")]
        head[-1] = (fit(head[-1][0].rstrip(), _LINK_CELLS), head[-1][1]) if left > names + 4 else head[-1]
    lines: list[Line] = []
    for at, body in enumerate(bodies):
        line = (head, blank, [(" " * width_of(head), "plain")])[at] + body
        if at == 0:
            line = [*line, age]
        lines.append(line)
    return lines


def duration_text_ms(seconds: float | None) -> str:
    """A round trip in ms below a second."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else duration_text(seconds)


def _mark(cell: Cell) -> Span:
    tone = cell.health.tone
    return (cell.health.glyph, "alarm" if tone == "bad" else tone)


def _memory_tone(pct: float | None) -> str:
    return "dim" if pct is None or pct < 1 else "warn" if pct >= HBM_TIGHT_PCT else "memory"


def _number(value: float | None, digits: int) -> str:
    return ("-" if value is None else f"{value:.0f}").rjust(digits)


def _bars(cell: Cell, width: int, tall: bool) -> list[Line]:
    rank = f"r{cell.rank}" if cell.rank is not None else "·" if cell.held else ""
    room = width - 9
    lines: list[Line] = [
        [_mark(cell), (" ", "plain"), (bar((cell.aicore_pct or 0) / 100, room), heat(cell.aicore_pct)),
         (_number(cell.aicore_pct, 4) + "%", heat(cell.aicore_pct)), ("  ", "plain")],
        [("  ", "plain"), (bar((cell.hbm_pct or 0) / 100, room), _memory_tone(cell.hbm_pct)),
         (_number(cell.hbm_pct, 4) + "%", _memory_tone(cell.hbm_pct)), ("  ", "plain")],
    ]
    if tall:
        facts = f"{_number(cell.temperature_c, 1)}°C {_number(cell.power_w, 1)}W"
        lines.append([("  ", "plain"), (fit(facts, width - 8), "dim"), (fit(rank, 5, right=True), "busy"), (" ", "plain")])
    return lines


def _numbers(cell: Cell, width: int, tall: bool) -> list[Line]:
    line: Line = [_mark(cell), (_number(cell.aicore_pct, 3), heat(cell.aicore_pct)), (level(cell.aicore_pct), heat(cell.aicore_pct)),
                  (_number(cell.hbm_pct, 4), "dim"), (level(cell.hbm_pct), _memory_tone(cell.hbm_pct))]
    return [[*line, (" " * (width - width_of(line)), "plain")]]


def _compact(cell: Cell, width: int, tall: bool) -> list[Line]:
    line: Line = [_mark(cell), (_number(cell.aicore_pct, 3), heat(cell.aicore_pct)), (level(cell.hbm_pct), _memory_tone(cell.hbm_pct))]
    return [[*line, (" " * (width - width_of(line)), "plain")]]


def _measured(cell: Cell, value: str) -> Cell:
    """The cell with the wanted value as a share of what is much (for the bar and the colour) where the load is, and as it is
    where the memory is."""
    number, much = {"hbm": (cell.hbm_pct, 100.0), "temperature": (cell.temperature_c, HOT_C)}.get(value, (cell.power_w, MUCH_W))
    return replace(cell, aicore_pct=None if number is None else min(100.0, 100.0 * number / much), hbm_pct=number)


def _value(cell: Cell, width: int, tall: bool) -> list[Line]:
    line: Line = [_mark(cell), (_number(cell.hbm_pct, 4 if width > 6 else 3), heat(cell.aicore_pct)), (level(cell.aicore_pct), heat(cell.aicore_pct))]
    return [[*line, (" " * (width - width_of(line)), "plain")]]


def _marks(cell: Cell, width: int, tall: bool) -> list[Line]:
    line: Line = [_mark(cell), (level(cell.aicore_pct), heat(cell.aicore_pct))]
    return [[*line, (" " * (width - width_of(line)), "plain")]]


_CELLS = {"bars": _bars, "numbers": _numbers, "compact": _compact, "marks": _marks, "value": _value}


_AT_PCT = tuple((level(pct), heat(pct)) for pct in range(101))


def _dense(rows: Sequence[NodeRow], width: int, height: int, choice: tuple[str, int | None]) -> list[Line]:
    """Nodes in columns, one character an NPU: its AICore load, or its health where that is not OK."""
    devices = max((len(row.cells) for row in rows), default=0)
    names = min(max(len(row.name) for row in rows), max(4, width - devices - 8))
    if len(rows) > height:
        rows = sorted(rows, key=lambda row: row.trusted)
    block = 2 + names + 1 + devices + 5
    columns = max(1, width // block)
    deep = max(-(-len(rows) // columns), 1)
    lines: list[Line] = []
    for at in range(deep):
        line: Line = []
        for row in rows[at::deep]:
            dead = not row.trusted
            line += [(row.link.glyph + " ", row.link.tone), (fit(row.name, names) + " ", "cursor" if row.name == choice[0] else row.link.tone if row.link.tone in ("bad", "warn") else "plain")]
            chosen = choice[1] if row.name == choice[0] else None
            run, run_tone = "", ""  # neighbours that look alike are drawn as one: a thousand of them are on the screen
            for cell in row.cells:
                pct = cell.aicore_pct
                glyph, tone = _AT_PCT[int(pct)] if pct is not None and 0 <= pct <= 100 else (level(pct), heat(pct))
                if cell.device == chosen:
                    tone = "cursor"
                elif cell.health.tone != "good":
                    glyph, tone = _mark(cell)
                elif dead:
                    tone = "off"
                if tone == run_tone:
                    run += glyph
                else:
                    if run:
                        line.append((run, run_tone))
                    run, run_tone = glyph, tone
            if run:
                line.append((run, run_tone))
            line.append((" " * (devices - len(row.cells)), "plain"))
            line.append((fit(row.age.text if dead else "", 4, right=True) + " ", row.age.tone if dead else "dim"))
        lines.append(line)
    return lines


ROWS = 12
"""Nodes looked at, or drawn, before something else gets a turn."""


def rows_by_parts(state: FleetState, now: float) -> Generator[None, None, list[NodeRow]]:
    """``views.node_rows``, with the places where it can be left."""
    rows = []
    for row in each_row(state, now):
        rows.append(row)
        if len(rows) % ROWS == 0:
            yield
    return rows


class DeviceGrid(LinePane):
    """Pane ``fleet-grid``. Up and down choose a node, left and right one of its NPUs."""

    pane_name: ClassVar[str] = "fleet-grid"
    of_nodes: ClassVar[bool] = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.node = ""
        """The node that is chosen, empty for none."""
        self.device: int | None = None
        self._names: list[str] = []
        self._devices = 0

    def chosen(self) -> Target | None:
        """The chosen NPU or node."""
        if not self.node:
            return None
        from console.core.fleet.drill import Target

        return Target(kind="node", node=self.node) if self.device is None else Target(kind="npu", node=self.node, device=self.device)

    def unselect(self) -> bool:
        """Choose nothing."""
        had, self.node, self.device = bool(self.node), "", None
        self.redraw()
        return had

    def press(self, key: str) -> bool:
        """Move the choice."""
        if not self._names or key not in ("up", "down", "left", "right", "home", "end"):
            return False
        if key in ("left", "right"):
            if not self.node:
                return False
            step = 1 if key == "right" else -1
            at = -1 if self.device is None else self.device
            self.device = max(-1, min(self._devices - 1, at + step))
            self.device = None if self.device < 0 else self.device
        elif self.node not in self._names or key in ("home", "end"):
            self.node = self._names[-1 if key in ("up", "end") else 0]
        else:
            at = self._names.index(self.node) + (1 if key == "down" else -1)
            self.node = self._names[max(0, min(len(self._names) - 1, at))]
        self.redraw()
        self._follow_choice()
        return True

    def point(self, x: int, y: int) -> None:
        """Choose the node, and the NPU, that was pressed."""
        texts = ["".join(text for text, _ in line) for line in self._lines]
        node = next((name for at in range(min(y, len(texts) - 1), -1, -1) for name in self._names if f" {name} " in f"{texts[at]} "), "")
        if not node:
            return
        # In a narrow grid the heading has the numbers alone.
        head = next(("".join(text for text, _ in line) for line in self._lines if line and line[0][1] == "head" and line[0][0].strip() == say("node")), "")
        places = [(cell_len(head[: found.start()]), int(found[1])) for found in re.finditer(r"(?:NPU )?\b([0-9]+)\b", head)]
        self.node, self.device = node, next((device for at, device in reversed(places) if x >= at), None)
        self.redraw()

    def _follow_choice(self) -> None:
        at = next((at for at, line in enumerate(self._lines) if any(tone == "cursor" for _, tone in line)), None)
        top, height = round(self.scroll_offset.y), self.scrollable_content_region.height
        if at is not None and not top + self.fixed_lines <= at < top + height:
            self.scroll_to(y=max(0, at - height // 2), animate=False, force=True)

    def text_lines(self) -> list[str]:
        """The chosen node's lines, or all."""
        lines = ["".join(text for text, _ in line).rstrip() for line in self._lines]
        return [line for line in lines if self.node in line] if self.node else lines

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        return finished(self.drawing(state, now, width, height))

    def drawing(self, state: FleetState, now: float, width: int, height: int) -> Generator[None, None, list[Line]]:
        """The rows take nearly all the time; the rest is done in one go."""
        rows = yield from rows_by_parts(state, now)
        look = self.context.look
        summary = fleet_summary(rows)
        words = [say("{n} nodes", n=summary.nodes), say("{n} NPUs", n=summary.npus)]
        if summary.npus_warn:
            words.append(say("! {n} warning", n=summary.npus_warn))
        if summary.npus_bad:
            words.append(say("✗ {n} alarm", n=summary.npus_bad))
        groups = arranged(rows, look, self.context.labels)
        members = [row for _, found in groups for row in found]
        if look.filter:
            words.append(f"/{look.filter}  {len(members)}")
        self.retitle(say("Fleet") + "  " + " · ".join(words))
        self.resubtitle(say("✓ OK  ! warning  ✗ alarm  ? unknown") + "   " + _legend(members, width, height, look.value) + (f"   {say('by {what}', what=say(look.order))}" if look.order != "name" else ""))
        self._names = [row.name for row in members]
        self._devices = max((len(row.cells) for row in members), default=0)
        choice = (self.node, self.device)
        if rows and not members:
            return [[("  " + say("no node matches the filter"), "dim")]]
        if not look.group:
            lines = draw_grid(members, width, height, look, choice)
            self.fixed_lines = int(bool(lines[0]) and lines[0][0][1] == "head")
            return lines
        self.fixed_lines, lines = 0, []
        deep = max(2, (height - len(groups)) // max(1, len(groups)))
        for name, found in groups:
            lines.append([(f" ▾ {look.group}={name}  {len(found)}", "head")])
            lines += draw_grid(found, width, min(deep, len(found) + 1), look, choice)
        return lines


_LEGENDS = {"load": "first AICore, then HBM", "hbm": "HBM, %", "temperature": "temperature, °C", "power": "power, W"}
