"""The panes that are lists: nodes, checkpoints, faults, time line, audit, phases, metrics.

Each says its columns and rows; ``draw_table`` fits them: columns of the lowest priority go first when the
room is short, and one column takes what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import ClassVar

from console.core.fleet.happenings import Happening, audit_rows, fault_rows, timeline_rows
from console.core.fleet.run_views import PHASES, checkpoint_rows, metric_rows, phase_rows
from console.core.fleet.state import FleetState
from console.core.fleet.views import age_text, bytes_text, duration_text, node_rows, spans_text, value_text
from console.core.i18n import say
from console.tui.lines import Line, Span, fit, spark
from console.tui.widgets.device_grid import duration_text_ms
from console.tui.widgets.line_pane import LinePane


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``width`` 0: takes the rest. The higher ``keep``, the longer it stays when the room gets short."""

    title: str
    width: int
    keep: int
    right: bool = False


def draw_table(columns: Sequence[Column], rows: Sequence[Sequence[Span]], width: int) -> list[Line]:
    """A heading and a line per row, ``width`` cells wide; cells are (text, tone)."""
    kept = list(range(len(columns)))
    least = 10  # what the open column needs to be worth showing

    def need() -> int:
        return sum((columns[at].width or least) + 1 for at in kept) + 1

    while len(kept) > 1 and need() > width:
        kept.remove(min(kept, key=lambda at: columns[at].keep))
    spare = width - 1 - sum(columns[at].width + 1 for at in kept)
    widths = {at: columns[at].width or max(1, spare) for at in kept}
    head: Line = [(" ", "plain")]
    head += [(fit(columns[at].title, widths[at], right=columns[at].right) + " ", "head") for at in kept]
    lines = [head]
    for row in rows:
        line: Line = [(" ", "plain")]
        line += [(fit(row[at][0], widths[at], right=columns[at].right) + " ", row[at][1]) for at in kept]
        lines.append(line)
    return lines


def clock_text(time: float, now: float) -> str:
    """A moment in UTC: the time of day, with the date in front when it is not within the last 20 hours."""
    moment = datetime.fromtimestamp(time, timezone.utc)
    return moment.strftime("%H:%M:%S") if abs(now - time) < 20 * 3600 else moment.strftime("%m-%d %H:%M")


def _pct(value: float | None, limit: float) -> Span:
    return ("-" if value is None else f"{value:.0f}%", "dim" if value is None else "warn" if value >= limit else "plain")


class Nodes(LinePane):
    """Pane ``nodes``."""

    pane_name: ClassVar[str] = "nodes"
    fixed_lines = 1

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        rows = node_rows(state, now)
        self.retitle(say("Nodes") + f"  {len(rows)}")
        columns = (
            Column(title=say("node"), width=min(24, max([4, *(len(row.name) for row in rows)])), keep=20),
            Column(title=say("link"), width=12, keep=19), Column(title=say("rtt"), width=6, keep=5, right=True),
            Column(title=say("age"), width=5, keep=18, right=True), Column(title="NPU", width=6, keep=17, right=True),
            Column(title="cpu", width=4, keep=10, right=True), Column(title="load", width=6, keep=4, right=True),
            Column(title="mem", width=4, keep=9, right=True), Column(title="disk", width=4, keep=8, right=True),
            Column(title="shm", width=4, keep=7, right=True), Column(title=say("job"), width=9, keep=12),
            Column(title=say("ranks"), width=9, keep=11), Column(title=say("note"), width=0, keep=6))
        return draw_table(columns, [(
            (row.name, "name" if row.link.tone in ("good", "busy") else row.link.tone),
            (f"{row.link.glyph} {row.link.text}", row.link.tone), (duration_text_ms(row.rtt_s), "dim"),
            (f"{row.age.glyph}{row.age.text}", "dim" if row.age.tone == "good" else row.age.tone),
            (f"{sum(cell.health.tone == 'good' for cell in row.cells)}/{len(row.cells)}",
             "plain" if all(cell.health.tone == "good" for cell in row.cells) else "bad"),
            _pct(row.cpu_pct, 101), ("-" if row.load1 is None else f"{row.load1:.1f}", "dim"), _pct(row.memory_pct, 92),
            _pct(row.disk_pct, 90), _pct(row.shm_pct, 90), (row.job or "-", "plain" if row.job else "dim"),
            (spans_text(row.ranks) or "-", "busy" if row.ranks else "dim"),
            (row.note + (say("  {n} records dropped", n=row.dropped) if row.dropped else ""), "warn")) for row in rows], width)


class Checkpoints(LinePane):
    """Pane ``checkpoints``."""

    pane_name: ClassVar[str] = "checkpoints"
    fixed_lines = 1

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        rows = checkpoint_rows(state, state.current, now) if state.current is not None else ()
        self.retitle(say("Checkpoints") + (f"  {len(rows)}" if rows else ""))
        if not rows:
            return [[("  " + say("nothing saved yet"), "dim")]]
        columns = (Column(title="iter", width=max(5, len(str(rows[0].iteration))), keep=20, right=True),
                   Column(title=say("state"), width=9, keep=19), Column(title=say("took"), width=6, keep=17, right=True),
                   Column(title=say("size"), width=7, keep=16, right=True), Column(title=say("age"), width=4, keep=18, right=True),
                   Column(title=say("directory"), width=0, keep=5))
        return draw_table(columns, [(
            (f"{row.iteration}", "strong" if row.latest else "plain"),
            (f"{row.status.glyph} {row.status.text}", row.status.tone), (duration_text(row.seconds), "plain"),
            (bytes_text(row.size_bytes), "plain"), (age_text(row.age_s), "dim"), (row.path, "dim")) for row in rows], width)


class _Happenings(LinePane):
    """Lines of time, newest first."""

    fixed_lines = 1
    title: ClassVar[str] = ""
    empty: ClassVar[str] = ""

    def rows(self, state: FleetState) -> Sequence[Happening]:
        """What to list."""
        raise NotImplementedError

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        rows = self.rows(state)
        self.retitle(say(self.title) + (f"  {len(rows)}" if rows else ""))
        if not rows:
            return [[("  " + say(self.empty), "dim")]]
        columns = (Column(title="UTC", width=11 if any(now - row.time > 20 * 3600 for row in rows) else 8, keep=18),
                   Column(title=say("kind"), width=10, keep=20), Column(title=say("node"), width=12, keep=17),
                   Column(title=say("rank"), width=4, keep=14, right=True), Column(title=say("what"), width=26, keep=19),
                   Column(title=say("detail"), width=0, keep=16))
        return draw_table(columns, [(
            (clock_text(row.time, now), "dim"), (f"{row.badge.glyph} {row.badge.text}", row.badge.tone), (row.node, "plain"),
            ("" if row.rank is None else f"{row.rank}", "busy"), (row.what, "strong" if row.badge.tone == "bad" else "plain"),
            (row.detail, "dim")) for row in rows[:500]], width)


class Faults(_Happenings):
    """Pane ``faults``."""

    pane_name: ClassVar[str] = "faults"
    title, empty = "Faults", "no fault seen"

    def rows(self, state: FleetState) -> Sequence[Happening]:
        return fault_rows(state, state.current) if state.current is not None else ()


class Timeline(_Happenings):
    """Pane ``timeline``."""

    pane_name: ClassVar[str] = "timeline"
    title, empty = "Time line", "nothing has happened yet"

    def rows(self, state: FleetState) -> Sequence[Happening]:
        return timeline_rows(state, state.current) if state.current is not None else ()


class Audit(_Happenings):
    """Pane ``audit``."""

    pane_name: ClassVar[str] = "audit"
    title, empty = "Audit", "nobody has changed anything"

    def rows(self, state: FleetState) -> Sequence[Happening]:
        return audit_rows(state)


class Phases(LinePane):
    """Pane ``phases``: the node x phase matrix of the newest attempt."""

    pane_name: ClassVar[str] = "phases"
    fixed_lines = 1

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        attempt = state.current.latest if state.current is not None else None
        self.retitle(say("Launch") + (f"  {attempt.attempt}" if attempt is not None else ""))
        if attempt is None:
            return [[("  " + say("nothing launched yet"), "dim")]]
        wide = width >= 14 + 11 * len(PHASES)
        columns = (Column(title=say("node"), width=12, keep=99),
                   *(Column(title=say(phase), width=10 if wide else 5, keep=90 - at) for at, phase in enumerate(PHASES)),
                   Column(title=say("why"), width=0, keep=10))
        return draw_table(columns, [(
            (node, "name"), *((f"{badge.glyph} {badge.text}" if wide else f"  {badge.glyph}", badge.tone) for badge in badges),
            (why, "bad")) for node, badges, why in phase_rows(attempt)], width)


class Metrics(LinePane):
    """Pane ``metrics``: the newest value of each curve and where it came from."""

    pane_name: ClassVar[str] = "metrics"
    fixed_lines = 1
    _NAMES: ClassVar[dict[str, str]] = {
        "loss": "loss", "learning_rate": "learning rate", "grad_norm": "grad norm", "step_time_ms": "step ms",
        "tokens_per_s_per_device": "tokens/s/NPU"}

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        self.retitle(say("Metrics"))
        bins = max(8, width - 40)
        rows = metric_rows(state.current, bins) if state.current is not None else ()
        if not rows:
            return [[("  " + say("waiting for the first iteration"), "dim")]]
        columns = (Column(title=say("metric"), width=13, keep=20), Column(title=say("newest"), width=10, keep=19, right=True),
                   Column(title="@", width=7, keep=5, right=True), Column(title=say("trend"), width=0, keep=10))
        return draw_table(columns, [(
            (say(self._NAMES.get(name, name)), "plain"), (value_text(value), "strong" if value == value else "bad"),
            (f"{at}", "dim"), (spark(values), "curve")) for name, value, at, values in rows], width)
