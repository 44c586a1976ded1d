"""Pane ``plan``: what each attempt was given to do and how it went; before it the job file that was planned, with
its problems at their lines, what is derived from it, and what would run on each node, word for word."""

from __future__ import annotations

from typing import ClassVar

from console.core.fleet.drill import Target
from console.core.fleet.happenings import our_time, signal_name
from console.core.fleet.run_views import PHASES
from console.core.fleet.state import FleetState
from console.core.fleet.views import natural_key, spans_text
from console.core.i18n import say
from console.core.spoken import spoken_text
from console.tui.feed import Feed
from console.tui.lines import Line
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import clock_text


class PlanPane(LinePane):
    """See the module."""

    pane_name: ClassVar[str] = "plan"

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._kept: tuple[object, list[Line]] = (None, [])

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        self.retitle(say("Per node"))
        lines: list[Line] = []
        before = False
        items: list[Target | float | None] = []

        def put(line: Line, item: Target | float | None = None) -> None:
            lines.append(line)
            items.append(item)

        sheet = self.context.sheets.job if self.context.sheets is not None else None
        if sheet is not None and sheet.path:
            from console.tui.widgets.job_sheet import sheet_lines

            self.retitle(say("Plan") + f"  {sheet.path}")
            # Hundreds of lines on a large fleet, and nothing in them ticks.
            key = (id(sheet), id(sheet.plan), len(sheet.used), width)
            if self._kept[0] != key:
                self._kept = (key, sheet_lines(sheet, now, width))
            if not state.current or not state.current.latest or state.current.latest.attempt not in sheet.used:
                lines += self._kept[1]
                before = True
        run = state.current
        if run is not None:
            for name in sorted(run.attempts, reverse=True)[:20]:
                attempt = run.attempts[name]
                newest = run.latest is not None and name == run.latest.attempt
                put([(" ▾ " + name, "strong" if newest else "dim"), (f"  {clock_text(attempt.started_at, now)}" if attempt.started_at else "", "dim"),
                     ("  " + ", ".join(sorted(say(state) for state in set(attempt.node_states.values()))), "plain")], attempt.started_at or None)
                nodes = sorted({node for node, _ in attempt.phases} | set(attempt.node_states), key=lambda node: (attempt.node_index.get(node, 1 << 30), natural_key(node)))
                for node in nodes if newest else ():
                    number = max(attempt.ranks, default=0)
                    ranks = [place.rank for place in attempt.ranks.get(number, {}).values() if place.node == node]
                    put([(f"   {attempt.node_index.get(node, '-'):>3} ", "dim"), (node, "name"), (f"  {say(attempt.node_states.get(node, '-'))}", "plain"),
                         (f"  {say('ranks {r}', r=spans_text(ranks))}" if ranks else "", "busy"), (f"  {attempt.dirs.get(node, '')}", "dim")], Target(kind="node", node=node))
                    for phase in PHASES:
                        progress = attempt.phases.get((node, phase))
                        if progress is not None and progress.why:
                            for text in spoken_text(progress.why).splitlines()[:6]:
                                put([("         ", "plain"), (f"{say(phase)}: {text}", "bad" if progress.state == "failed" else "warn")])
                    for (at, place, local_rank), seen in attempt.exits.items():
                        if at == node and local_rank == -1:
                            by, code = seen.data.get("signal"), seen.data.get("code")
                            how = signal_name(by) if by else say("exit {n}", n=code)
                            put([("         ", "plain"), (say("command ended: {how}", how=how), "good" if code == 0 and not by else "bad"),
                                 (f"  {say('round {n}', n=place)}", "dim")], our_time(state, at, seen.time))
        if sheet is not None and sheet.path:
            # Arrows scroll here: there is more to read than to choose from.
            self.items = ()
            return lines if before else [*lines, [], *self._kept[1]]
        self.items = items
        if not lines:
            put([("  " + say("nothing launched yet: rankdeck plan JOB.yaml, then rankdeck launch JOB.yaml"), "dim")])
            self.items = ()
        return lines
