"""Pane ``finding``: all there is to say of one cell of the check: what, where, got and expected, the next move, what to type."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len

from console.core.fleet.state import FleetState
from console.core.i18n import recognised, say
from console.core.preflight.finding import Finding
from console.core.preflight.matrix import BETWEEN, remedies
from console.tui.lines import Line, folded
from console.tui.sheets import CheckSheet
from console.tui.widgets.check_matrix import STATES, WORDS, cell_of
from console.tui.widgets.line_pane import LinePane


class FindingPane(LinePane):
    """See the module."""

    pane_name: ClassVar[str] = "finding"
    of_the_moment: ClassVar[bool] = False

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        sheet = self.context.sheets.check if self.context.sheets is not None else None
        if sheet is None or sheet.found is None or not sheet.check:
            self.retitle(say("Finding"))
            return [[("  " + say("nothing was checked yet"), "dim")]]
        self.retitle(f"{sheet.check}  " + (sheet.node or say("between the nodes")))
        return told(sheet, width)


def told(sheet: CheckSheet, width: int) -> list[Line]:
    """The selected cell in lines of at most ``width`` cells."""
    assert sheet.found is not None and sheet.report is not None
    state = cell_of(sheet.found, sheet.check, sheet.node)
    check = next((row.check for row in sheet.found.rows if row.check.id == sheet.check), None)
    if check is None:
        return []
    glyph, tone = STATES[state]
    lines: list[Line] = [[(f" {glyph} {say(WORDS[state])}", tone), (f"  {say(check.title)}", "strong"), (f"  {check.level}", "dim")]]
    for finding in sheet.found.findings.get((sheet.check, sheet.node), ()):
        lines += _finding(finding, width)
    node = next((each for each in sheet.report.case.nodes if each.name == sheet.node), None)
    if node is not None and not node.reached and state == "-":
        lines += _part(say("not reached"), recognised(node.why), "plain", width) + _part(say("next"), recognised(node.fix), "plain", width)
    elif state == "ok":
        lines += [[("   " + say("nothing is wrong here"), "dim")]]
    if sheet.node == BETWEEN:
        elsewhere = [name for name in sheet.found.nodes if cell_of(sheet.found, sheet.check, name) in ("error", "warning", "unknown", "info")]
        if elsewhere:
            lines += _part(say("found on"), ", ".join(elsewhere), "name", width)
    can = remedies(sheet.found, sheet.check, sheet.node)
    if can:
        lines += [[("   f ", "key"), (say("mends it on {n} nodes, once armed and confirmed", n=len(can)), "warn")]]
    if sheet.check in ("storage", "disk-speed") and not sheet.proved and sheet.level != "quick":
        lines += [[("   " + say("nothing was written to prove it: that takes :arm"), "dim")]]
    return lines


def _finding(finding: Finding, width: int) -> list[Line]:
    lines = _part("", recognised(finding.what), "plain", width)
    lines += _part(say("where"), ": ".join(part for part in (finding.node, say(finding.where)) if part), "name", width)
    if finding.got or finding.expected:
        lines += _part(say("got"), recognised(finding.got or "nothing"), "bad" if finding.severity == "error" else "plain", width)
        lines += _part(say("expected"), recognised(finding.expected), "plain", width)
    lines += _part(say("next"), recognised(finding.fix), "plain", width) + _part("$", finding.command, "key", width)
    if finding.remedy is not None:
        lines += _part(say("remedy"), finding.remedy.command, "key", width)
    if finding.waived is not None:
        lines += _part(say("waived"), finding.waived, "dim", width)
    return [*lines, []]


def _part(name: str, text: str, tone: str, width: int) -> list[Line]:
    """A named text, folded into the width; nothing for an empty one."""
    if not text:
        return []
    room, used = max(16, width - 13), 3 + cell_len(name)
    return [[("   " + name + " " * max(1, 12 - used) if at == 0 else " " * 12, "dim"), (piece, tone)] for at, piece in enumerate(folded(text, room))]
