"""Pane ``verdict``: who broke first, on top of the Incident view; a row or two while nothing did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from console.core.fleet.drill import Target
from console.core.fleet.run_views import job_view
from console.core.fleet.state import FleetState
from console.core.fleet.views import age_text
from console.core.i18n import say, told
from console.core.triage.attribute import Candidate, root_cause
from console.tui.feed import Feed
from console.tui.lines import Line, clip, width_of
from console.tui.widgets.line_pane import LinePane

ROWS = 6
"""Rows of a verdict with its evidence; the view gives no more."""
UNSEEN_WIDTH = 80
"""Cells that a verdict is measured in while it is not on the screen."""


def who(candidate: Candidate) -> str:
    """node, rank and code in a few words."""
    rank = say("rank {rank}", rank=candidate.rank) if candidate.rank is not None else ""
    return " · ".join(part for part in (candidate.node, rank, candidate.code) if part)


class Verdict(LinePane):
    """See the module."""

    pane_name: ClassVar[str] = "verdict"
    wanted_rows = 1

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._log: tuple[str, tuple[str, int | None] | None] = ("", None)

    def of_log(self) -> tuple[str, tuple[str, int | None] | None]:
        """That of the first to fail, whatever is selected."""
        return self._log

    def showing(self, state: FleetState, now: float) -> Iterator[None]:
        yield from super().showing(state, now)
        if not self.display:
            self._measure(self._lines_of(state, now, UNSEEN_WIDTH, ROWS))

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        lines = self._lines_of(state, now, width, max(height, ROWS))
        self._measure(lines)
        return lines

    def _measure(self, lines: list[Line]) -> None:
        if self.wanted_rows != len(lines):
            self.wanted_rows = len(lines)
            self.post_message(self.Grown())

    def _lines_of(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        self.retitle(say("Who broke first"))
        self.items, self._log = (), ("", None)
        run = state.current
        if run is None:
            return [[("  " + say("no job is known"), "dim")]]
        cause = root_cause(state, run.job)
        view = job_view(state, run, now)
        status: Line = [("  " + f"{view.status.glyph} {say(view.status.text)}", view.status.tone), ("  ", "plain"), (clip(run.job, 40), "name"),
                        (f"  {say('iteration')} {view.iteration or '-'}/{view.total or '-'}", "plain"),
                        (f"  {say('saved at {n}', n=view.saved_iteration)}" if view.saved_iteration is not None else f"  {say('nothing saved yet')}", "dim")]
        if cause is None:
            fine: Line = [("  ✓ " + say("nothing has failed in the newest attempt"), "good")]
            return [[*fine, *status]] if width_of([*fine, *status]) <= width else [fine, status]
        first = cause.first
        device = f" · NPU {cause.device}" if cause.device is not None else ""
        head: Line = [("  ✗ " + who(first) + device, "alarm")]
        for part in ((f"  {say(first.category)}" if first.category != "unknown" else "", "strong"), ("  " + say("confidence {word}", word=say(cause.confidence)), "plain"),
                     (f"  {say('{age} ago', age=age_text(now - first.ended))}", "dim"), (f" ± {first.error_s * 1000:.0f} ms", "dim")):
            if width_of([*head, part]) > width:
                break  # whole or not at all: ± 2 m would be minutes
            head.append(part)
        lines: list[Line] = [head]
        for item in first.evidence[:3]:
            place = str(item.get("file") or "")
            lines.append([("    │ ", "bad"), (clip(told(item.get("text") or ""), width - 8), "plain")])
            if height > 6 and place:
                lines.append([("    │ ", "bad"), (clip(place + (f":{item['line']}" if item.get("line") else ""), width - 8), "dim")])
        if cause.alternatives:
            lines.append([("    " + say("next best: ") + ",  ".join(f"{who(other)} ({say(other.role)})" for other in cause.alternatives), "dim")])
        lines.append(status)
        self._log = (first.node if first.rank is None else str(first.rank), (cause.attempt, first.round))
        self.items = [Target(kind="rank", node=first.node, rank=first.rank) if first.rank is not None else Target(kind="node", node=first.node),
                      *([None] * (len(lines) - 1))]
        return lines
