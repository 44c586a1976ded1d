"""Pane ``detail``: one thing of the fleet, what is known of it and what is under it; or all of it as a tree."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len

from console.core.fleet.drill import Fact, Target, facts, path_to, title, tree, under
from console.core.fleet.state import FleetState
from console.core.fleet.views import node_row
from console.core.i18n import Phrase, say
from console.core.spoken import spoken_text
from console.tui.feed import Feed
from console.tui.lines import Line, fit, folded
from console.tui.widgets.line_pane import LinePane

NAME_CELLS, NAME_CELLS_MOST = 18, 26


class Detail(LinePane):
    """Keeps the way that was drilled, so that Esc goes back the same way."""

    pane_name: ClassVar[str] = "detail"

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._way: list[tuple[Target, bool, int | None]] = []

    @property
    def target(self) -> Target | None:
        """What it is about."""
        return self._way[-1][0] if self._way else None

    def begin(self) -> None:
        """A new drill-down."""
        self._way.clear()

    def open(self, target: Target, *, as_tree: bool = False) -> None:
        """Go one level down."""
        if self._way:
            was, shape, _ = self._way[-1]
            if (was, shape) == (target, as_tree):
                return
            self._way[-1] = (was, shape, self.selected)
        self._way.append((target, as_tree, None))
        self.selected = None
        self.scroll_to(y=0, animate=False, force=True)
        self.redraw()

    def close(self) -> bool:
        """Go one level up; False when that was the last."""
        if self._way:
            self._way.pop()
        if not self._way:
            return False
        self.selected = self._way[-1][2]
        self.redraw()
        self.refresh()
        return True

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        if not self._way:
            return [[("  " + say("nothing is selected; arrows select"), "dim")]]
        target, as_tree, _ = self._way[-1]
        self.retitle(" › ".join(title(step) for step in path_to(target)) + (f"  ({say('tree')})" if as_tree else ""))
        lines, items = (self._tree if as_tree else self._facts)(state, target, now, width)
        self.items = items
        if self.selected is None and any(item is not None for item in items):
            self.selected = next(at for at, item in enumerate(items) if item is not None)
        return lines

    def _facts(self, state: FleetState, target: Target, now: float, width: int) -> tuple[list[Line], list[Target | float | None]]:
        lines: list[Line] = [[(" " + " › ".join(title(step) for step in path_to(target)), "strong")], []]
        known = facts(state, target, now)
        cells = min(NAME_CELLS_MOST, width // 3, max(NAME_CELLS, *(cell_len(say(fact.name)) for fact in known))) if known else NAME_CELLS
        for fact in known:
            # A path is of no use without its end.
            for at, piece in enumerate(folded(fact_text(fact), max(8, width - cells - 3))):
                lines.append([("  " + fit(say(fact.name) if at == 0 else "", cells) + " ", "dim"), (piece, fact.tone)])
        items: list[Target | float | None] = [None] * len(lines)
        children = under(state, target, now)
        if children:
            lines += [[], [(" " + say("under it"), "head")]]
            items += [None, None]
        for child in children:
            lines.append(_child(state, child, now, 0))
            items.append(child)
        return lines, items

    def _tree(self, state: FleetState, target: Target, now: float, width: int) -> tuple[list[Line], list[Target | float | None]]:
        found = tree(state, now, None if target.kind == "job" else target)
        if not found:
            return [[("  " + say("no node has been heard of yet"), "dim")]], [None]
        return [_child(state, each, now, depth) for depth, each in found], [each for _, each in found]


def fact_text(fact: Fact) -> str:
    """A fact's value; of a link, how it is and why in the operator's language, as is a node's note."""
    if fact.name != "link":
        return spoken_text(fact.value) if fact.name == "note" or isinstance(fact.value, Phrase) else fact.value
    state, between, why = fact.value.partition(": ")
    glyph, _, word = state.partition(" ")
    return f"{glyph} {say(word)}{between}{spoken_text(why)}"


def _child(state: FleetState, target: Target, now: float, depth: int) -> Line:
    line: Line = [("  " + "   " * depth + "└ ", "dim"), (fit(title(target), NAME_CELLS), "name")]
    node = state.nodes.get(target.node)
    attempt = state.current.latest if state.current is not None else None
    if target.kind == "node" and node is not None:
        row = node_row(node, attempt, now)
        line += [(f"{row.link.glyph} {fit(say(row.link.text), 11)}", row.link.tone), (f"{len(row.cells):>3} NPU  ", "plain"), (spoken_text(row.note), "warn")]
    elif target.kind == "npu" and node is not None:
        cell = next((cell for cell in node_row(node, attempt, now).cells if cell.device == target.device), None)
        if cell is not None:
            line += [(f"{cell.health.glyph} {fit(cell.health.text, 9)}", cell.health.tone), (f" AICore {_number(cell.aicore_pct)} %  HBM {_number(cell.hbm_pct)} %"
                     f"  {_number(cell.temperature_c)} °C  {_number(cell.power_w)} W", "plain"), (f"  {say('rank {rank}', rank=cell.rank)}" if cell.rank is not None else "", "busy")]
    elif target.kind == "rank":
        line.append((say("on {node}", node=target.node), "busy"))
    elif target.kind == "process":
        found = {fact.name: fact for fact in facts(state, target, now)}
        line += [(f"{found[name].value}  ", found[name].tone) for name in ("name", "memory") if name in found]
    return line


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
