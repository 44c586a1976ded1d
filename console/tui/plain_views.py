"""What the views show, as sentences; part of ``plain.Plain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.core.fleet.fleet_look import FleetLook, arranged
from console.core.fleet.happenings import audit_rows, fault_rows, timeline_rows
from console.core.fleet.run_views import PHASES, checkpoint_rows, metric_rows, phase_rows
from console.core.fleet.views import (
    age_text,
    bytes_text,
    duration_text,
    node_rows,
    spans_text,
    value_text,
)
from console.core.i18n import say, told
from console.core.spoken import spoken_list, spoken_text
from console.core.triage.attribute import root_cause
from console.tui.lines import clip
from console.tui.widgets.incident import folded
from console.tui.widgets.listings import clock_text, told_detail
from console.tui.widgets.verdict import who

if TYPE_CHECKING:
    from console.core.fleet.happenings import Happening
    from console.core.fleet.state import FleetState

SHOWN = 40
"""Lines of a list; a reader has to hear them all."""
HEARD = 160
"""Cells of what somebody did, which can be a script of a hundred lines; ``pane audit`` has it whole."""


class PlainViews:
    """Commands that only tell. What they need of the session: ``state`` and ``now`` of the moment shown, ``put``."""

    _look: FleetLook
    _moment: float | None

    @property
    def state(self) -> FleetState:
        """What is shown."""
        raise NotImplementedError

    @property
    def now(self) -> float:
        """The moment that is shown."""
        raise NotImplementedError

    def put(self, text: str) -> None:
        """A line for the reader."""
        raise NotImplementedError

    def status(self, argument: str) -> None:
        """Job and fleet in a few sentences."""
        raise NotImplementedError

    def do_log(self, argument: str) -> None:
        """The end of a log."""
        raise NotImplementedError

    def do_fleet(self, argument: str) -> None:
        for name, rows in arranged(node_rows(self.state, self.now), self._look, {}):
            if name:
                self.put(f"{self._look.group}={name}")
            for row in rows[:SHOWN]:
                bad = [f"NPU {cell.device} {cell.health.text}" for cell in row.cells if cell.health.tone != "good"]
                loads = [cell.aicore_pct for cell in row.cells if cell.aicore_pct is not None]
                self.put(f"{row.name}: {say(row.link.text)}, {len(row.cells)} NPU" + (f", AICore {min(loads):.0f}-{max(loads):.0f} %" if loads else "")
                         + f", {say('seen {age} ago', age=row.age.text)}" + (f", {say('ranks {r}', r=spans_text(row.ranks))}" if row.ranks else "")
                         + (f". {', '.join(bad)}" if bad else "") + (f". {spoken_text(row.note)}" if row.note else ""))
            if len(rows) > SHOWN:
                self.put(say("and {n} more; filter narrows", n=len(rows) - SHOWN))

    def do_launch(self, argument: str) -> None:
        attempt = self.state.current.latest if self.state.current is not None else None
        if attempt is None:
            self.put(say("nothing launched yet"))
            return
        self.put(attempt.attempt)
        for node, badges, why in phase_rows(attempt):
            self.put(f"{node}: {', '.join(f'{say(phase)} {say(badge.text)}' for phase, badge in zip(PHASES, badges, strict=True))}" + (f". {spoken_text(why)}" if why else ""))

    def do_training(self, argument: str) -> None:
        run = self.state.current
        rows = metric_rows(run, 20) if run is not None else ()
        if not rows:
            self.put(say("waiting for the first iteration"))
        for name, value, at, trend in rows:
            known = [one for one in trend if one is not None]
            self.put(f"{say(name)}: {value_text(value)} @ {at}" + (f", {say('lately from {a} to {b}', a=value_text(known[0]), b=value_text(known[-1]))}" if len(known) > 1 else ""))

    def do_checkpoints(self, argument: str) -> None:
        run = self.state.current
        rows = checkpoint_rows(self.state, run, self.now) if run is not None else ()
        if not rows:
            self.put(say("nothing saved yet"))
        for row in rows[:SHOWN]:
            self.put(f"{row.iteration}: {say(row.status.text)}, {bytes_text(row.size_bytes)}, {duration_text(row.seconds)}, {age_text(row.age_s)}, {row.path}" + (f". {spoken_list(row.why)}" if row.complete is not True and row.why else ""))

    def do_incident(self, argument: str) -> None:
        run = self.state.current
        if run is None:
            self.put(say("no job is known"))
            return
        cause = root_cause(self.state, run.job)
        if cause is None:
            self.put(say("nothing has failed in the newest attempt"))
        else:
            self.put(f"{say('Who broke first')}: {who(cause.first)}, {say('confidence {word}', word=say(cause.confidence))}")
            for item in cause.first.evidence:
                self.put(f"  {told(item.get('text') or '')}")
        self._happenings(tuple(folded(timeline_rows(self.state, run))))

    def do_logs(self, argument: str) -> None:
        self.do_log(argument)

    def _happenings(self, rows: tuple[Happening, ...], *, whole: bool = False) -> None:
        past = [row for row in rows if self._moment is None or row.time <= self._moment]
        for row in past[:SHOWN]:
            place = " ".join(part for part in (row.node, "" if row.rank is None else say("rank {rank}", rank=row.rank)) if part)
            detail = told_detail(row)
            self.put(f"{clock_text(row.time, self.now)} {say(row.badge.text)} {place} {told(row.what)} {detail if whole else clip(detail.partition(chr(10))[0], HEARD)}")

    def do_pane(self, argument: str) -> None:
        run = self.state.current
        lists = {"faults": lambda: self._happenings(fault_rows(self.state, run) if run is not None else ()), "audit": lambda: self._happenings(audit_rows(self.state), whole=True),
                 "timeline": lambda: self.do_incident(""), "nodes": lambda: self.do_fleet(""), "fleet-grid": lambda: self.do_fleet(""), "loss": lambda: self.do_training(""),
                 "metrics": lambda: self.do_training(""), "checkpoints": lambda: self.do_checkpoints(""), "phases": lambda: self.do_launch(""),
                 "logs": lambda: self.do_log(""), "job": lambda: self.status("")}
        if argument in lists:
            lists[argument]()
        else:
            self.put(say("this layout has no pane {name}", name=argument))
