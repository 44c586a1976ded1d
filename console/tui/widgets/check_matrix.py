"""Pane ``check``: whether the nodes are fit to train, check by check and node by node, the worst first."""

from __future__ import annotations

from typing import ClassVar

from console.core.fleet.state import FleetState
from console.core.i18n import say
from console.core.preflight.matrix import BETWEEN, Matrix, Row
from console.core.spoken import spoken_text
from console.tui.lines import Line, fit, width_of
from console.tui.sheets import CheckSheet
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import clock_text

STATES = {"error": ("✗", "bad"), "warning": ("!", "warn"), "unknown": ("?", "off"), "info": ("i", "busy"), "waived": ("~", "dim"),
          "-": ("·", "off"), "ok": ("✓", "good")}
"""State -> glyph and tone."""
WORDS = {"error": "error", "warning": "warning", "unknown": "unknown", "info": "info", "waived": "waived", "-": "not reached", "ok": "fine"}
"""State -> its word, to be said."""
MOVES = ("up", "down", "left", "right", "pageup", "pagedown", "home", "end")


class CheckMatrix(LinePane):
    """The selected cell is the sheet's; pane ``finding`` tells of it."""

    pane_name: ClassVar[str] = "check"
    of_the_moment: ClassVar[bool] = False
    _columns: tuple[int, int, list[str]] = (0, 4, [])
    """(where the first column begins, cells of a column, the columns that are shown)."""

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        sheet = self.context.sheets.check if self.context.sheets is not None else None
        if sheet is None or not (sheet.running or sheet.error or sheet.found):
            self.retitle(say("Check"))
            self.fixed_lines = 0
            return [[("  " + say("not checked yet; r checks: it only asks, and changes nothing"), "dim")],
                    [("  " + say(":check quick, standard or deep, and a job file if there is one"), "dim")]]
        self.retitle(say("Check") + (f"  {sheet.level}" if sheet.level else "") + (f"  {sheet.job}" if sheet.job else ""))
        head = [self._summary(sheet, now, width)]
        if sheet.error:
            head.append([("  ✗ ", "bad"), (spoken_text(sheet.error), "plain")])
        if sheet.found is None or sheet.report is None:
            self.fixed_lines = len(head)
            return head + [_progress(node, sheet.told.get(node, "")) for node in sheet.nodes]
        columns = [BETWEEN, *sheet.found.nodes]
        label = max(14, min(40, width - 4 * len(columns) - 3, max(width_of([(say(row.check.title), "")]) for row in sheet.found.rows)) if sheet.found.rows else 14)
        cells, shown = _fitted(columns, columns.index(sheet.node) if sheet.node in columns else 0, width - label - 3)
        head.append([(fit("", label + 3), "head")] + [(fit(say("all") if name == BETWEEN else name if len(name) < cells else name[-(cells - 1):], cells - 1) + " ",
                                                      "key" if name == sheet.node else "head") for name in shown])
        self.fixed_lines, self._columns = len(head), (label + 3, cells, shown)
        return head + [_row(row, sheet, label, cells, shown) for row in sheet.found.rows]

    def _summary(self, sheet: CheckSheet, now: float, width: int) -> Line:
        if sheet.running:
            done = sum(node in sheet.told for node in sheet.nodes)
            return [(" ◌ ", "busy"), (say("asking {n} nodes, {done} have answered", n=len(sheet.nodes), done=done), "plain")]
        if sheet.found is None or sheet.report is None:
            return []
        reached = sum(node.reached for node in sheet.report.case.nodes)
        line: Line = [(" ✓ " + say("fit"), "good") if sheet.report.ok else (" ✗ " + say("not fit"), "bad"),
                      (f"  {say('{n} of {all} nodes answered', n=reached, all=len(sheet.report.case.nodes))}", "plain")]
        line += [(f"  {STATES[state][0]} {count} {say(WORDS[state])}", STATES[state][1]) for state, count in sheet.found.counts.items() if count]
        when = f"  {clock_text(sheet.at, now)}"
        return [*line, (when, "dim")] if width_of(line) + len(when) <= width else line

    def press(self, key: str) -> bool:
        """Move the cell that is looked at."""
        sheet = self.context.sheets.check if self.context.sheets is not None else None
        if key not in MOVES or sheet is None or sheet.found is None or not sheet.found.rows:
            return False
        rows, columns = [row.check.id for row in sheet.found.rows], [BETWEEN, *sheet.found.nodes]
        at, across = rows.index(sheet.check) if sheet.check in rows else 0, columns.index(sheet.node) if sheet.node in columns else 0
        page = max(1, self.scrollable_content_region.height - self.fixed_lines - 1)
        at += {"up": -1, "down": 1, "pageup": -page, "pagedown": page, "home": -len(rows), "end": len(rows)}.get(key, 0)
        across += {"left": -1, "right": 1}.get(key, 0)
        sheet.check, sheet.node = rows[max(0, min(len(rows) - 1, at))], columns[max(0, min(len(columns) - 1, across))]
        self.context.generation += 1
        self.follow()
        return True

    def follow(self) -> None:
        """Bring the selected cell into the window, and draw."""
        sheet = self.context.sheets.check if self.context.sheets is not None else None
        self.redraw()
        if sheet is None or sheet.found is None:
            return
        at = self.fixed_lines + next((at for at, row in enumerate(sheet.found.rows) if row.check.id == sheet.check), 0)
        top, height = round(self.scroll_offset.y), self.scrollable_content_region.height
        if at - top < self.fixed_lines:
            self.scroll_to(y=at - self.fixed_lines, animate=False, force=True)
        elif at - top >= height > self.fixed_lines:
            self.scroll_to(y=at - height + 1, animate=False, force=True)
        self.refresh()

    def point(self, x: int, y: int) -> None:
        """Look at the cell that was pressed."""
        sheet = self.context.sheets.check if self.context.sheets is not None else None
        if sheet is None or sheet.found is None or not 0 <= y - self.fixed_lines < len(sheet.found.rows):
            return
        left, cells, shown = self._columns
        sheet.check = sheet.found.rows[y - self.fixed_lines].check.id
        if x >= left and (x - left) // cells < len(shown):
            sheet.node = shown[(x - left) // cells]
        self.context.generation += 1
        self.follow()
        self.post_message(self.Moved())

    def text_lines(self) -> list[str]:
        """What to type about the selected cell; where there is nothing to type, the cell's findings."""
        from console.tui.widgets.finding import told

        sheet = self.context.sheets.check if self.context.sheets is not None else None
        if sheet is None or sheet.found is None:
            return []
        findings = sheet.found.findings.get((sheet.check, sheet.node), ())
        commands = list(dict.fromkeys(finding.command for finding in findings if finding.command))
        return commands or ["".join(text for text, _ in line).rstrip() for line in told(sheet, 10_000)]


def _progress(node: str, text: str) -> Line:
    if not text:
        return [("  ◌ ", "busy"), (fit(node, 16), "name"), (" " + say("asked"), "dim")]
    lost = text.startswith("no answer")
    return [("  ✗ " if lost else "  ✓ ", "bad" if lost else "good"), (fit(node, 16), "name"), (" " + say(text), "bad" if lost else "plain")]


def _fitted(columns: list[str], at: int, room: int) -> tuple[int, list[str]]:
    """(cells of a column, the columns that are shown): whole names where they fit, then their ends, then a window around ``at``."""
    widest = max(3, *(len(name) for name in columns))
    for cells in (min(16, widest) + 1, 6, 4):
        if cells * len(columns) <= room:
            return cells, columns
    many = max(1, room // 4)
    first = max(0, min(at - many // 2, len(columns) - many))
    return 4, columns[first : first + many]


def _row(row: Row, sheet: CheckSheet, label: int, cells: int, shown: list[str]) -> Line:
    mine = row.check.id == sheet.check
    glyph, tone = STATES[row.worst] if row.worst != "-" else STATES["ok"]
    line: Line = [("▸" if mine else " ", "key"), (glyph + " ", tone), (fit(say(row.check.title), label) + " ", "strong" if mine else "plain")]
    for name in shown:
        mark, tone = STATES[row.cells[name]]
        if mine and name == sheet.node:
            line += [(f"[{mark}]", "cursor"), (" " * max(0, cells - 3), "plain")]
        else:
            line.append((f" {mark}" + " " * (cells - 2), tone))
    return line


def cell_of(found: Matrix, check: str, node: str) -> str:
    """The state of one cell."""
    return next((row.cells.get(node, "ok") for row in found.rows if row.check.id == check), "ok")
