"""Pane ``checkpoints``: saves on a time line, what is at risk and when the next is due, and the list of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len

from console.core.fleet.happenings import our_time
from console.core.fleet.outlook import outlook as outlook_of
from console.core.fleet.run_times import iteration_at, time_of
from console.core.fleet.run_views import CheckpointRow, checkpoint_rows, usual_step_s
from console.core.fleet.state import FleetState, RunState
from console.core.fleet.views import age_text, bytes_text, duration_text
from console.core.i18n import say
from console.core.records import dataclass
from console.core.spoken import spoken_list
from console.tui.lines import Line, width_of
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import Column, draw_table, with_moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """``at_risk``: iterations that a failure now would cost; ``risk_s``: the time they took; ``interval``: iterations
    between saves; ``next_s``: until the next save. None: not known."""

    at_risk: int | None
    risk_s: float | None
    interval: int | None
    next_s: float | None


def then(state: FleetState, run: RunState, known: FleetState | None, moment: float) -> RunState:
    """The run with its saves and the looks at its files as they were at ``moment`` (our clock, s).

    ``known``: the state of then, where it was kept; without it of each node's looks only the newest is there, and only
    if it is older than the moment.
    """
    past = known.runs.get(run.job) if known is not None else None
    if past is None:
        past = replace(run, saves={node: taken for node, taken in run.saves.items() if taken.at <= moment})
    return replace(past, checkpoints={at: seen for at, seen in run.checkpoints.items() if our_time(state, seen.node, seen.time) <= moment})


def outlook(run: RunState, come_to: int | None = None) -> Outlook:
    """How much work is not saved and when it will be, by the pace and the interval so far; ``come_to`` as in core."""
    saved = sorted(seen.iteration for seen in run.checkpoints.values() if seen.state == "saved")
    step_s = usual_step_s(run.series["step_time_ms"])
    newest = saved[-8:]
    gaps = [later - earlier for earlier, later in pairwise(newest)]
    interval = _median(gaps) if gaps else None
    # From looks at the files where there are any: a save that is not whole saves nothing.
    found = outlook_of(run, come_to)
    at_risk = found.lost_iterations
    # The next one follows the last that was made, whatever became of that.
    ended = run.latest is not None and bool(run.latest.node_states) and not {"running", "committed", "prepared", "adopted"} & set(run.latest.node_states.values())
    left = saved[-1] + interval - found.iteration if interval is not None and found.iteration is not None and not ended else None
    return Outlook(at_risk=at_risk, interval=interval, risk_s=at_risk * step_s if at_risk is not None and step_s else None,
                   next_s=max(0, left) * step_s if left is not None and step_s else None)


def _median(values: Sequence[int]) -> int:
    # Not statistics.median: that module is the dearest of all that the first picture would need.
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


def draw_strip(state: FleetState, run: RunState, rows: tuple[CheckpointRow, ...], now: float, moment: float | None, width: int) -> list[Line]:
    """Two lines: saves by time as ◆ (✗ broken off, ◌ under way), and the ends of the line."""
    times = [now - row.age_s for row in rows]
    start = min([*(attempt.started_at for attempt in run.attempts.values() if attempt.started_at), *times], default=now)
    room, span = max(10, width - 2), max(1.0, now - start)
    cells: list[tuple[str, str]] = [("─", "axis")] * room
    for attempt in run.attempts.values():
        if attempt.started_at:
            cells[min(room - 1, int((attempt.started_at - start) / span * room))] = ("▸", "strong")
    for row, time in zip(rows, times, strict=True):
        glyph = "◆" if row.status.tone == "good" else row.status.glyph
        cells[max(0, min(room - 1, int((time - start) / span * room)))] = (glyph, "saved" if row.latest or row.status.tone == "good" else row.status.tone)
    if moment is not None:
        cells[max(0, min(room - 1, int((moment - start) / span * room)))] = ("┃", "past")
    left, right = say("{age} ago", age=age_text(span)), say("now")
    return [[(" ", "plain"), *cells], [(" " + left + " " * max(1, room - cell_len(left) - cell_len(right)) + right, "axis")]]


def files_lines(run: RunState, now: float, width: int) -> list[Line]:
    """What looks at the files add: where a restart begins, room for the next save, the tracker, and what is wrong."""
    found = outlook_of(run)
    if not run.saves:
        return [[("  " + say("a restart begins at "), "dim"), (str(found.resume_from) if found.resume_from is not None else say("the start"), "strong"),
                 ("  " + say("as printed; nobody has looked at the files"), "dim")]]
    parts: list[Line] = [[("  " + say("a restart begins at "), "dim"), (str(found.resume_from) if found.resume_from is not None else say("the start"), "strong"),
                          ("  " + say("files seen {age} ago on {n} nodes", age=age_text(now - max(taken.at for taken in run.saves.values())), n=len(run.saves)), "dim")]]
    if found.next_bytes is not None:
        parts.append([("  " + say("next save "), "dim"), (bytes_text(found.next_bytes), "plain")])
        if found.free_bytes is not None:
            parts[-1] += [(" " + say("of {free} free", free=bytes_text(found.free_bytes)), "plain" if found.fits else "bad"), (" ✓" if found.fits else " ✗ " + say("does not fit"), "good" if found.fits else "bad")]
    trackers = sorted({str(taken.data.get("tracker")) for taken in run.saves.values() if taken.data.get("tracker") is not None})
    if trackers:
        parts.append([("  " + say("tracker "), "dim"), (", ".join(trackers), "plain")])
    problems = [*found.problems, *((node, say("the directory cannot be read: {why}", why=str(taken.data["why"]))) for node, taken in run.saves.items() if taken.data.get("why"))]
    lines = [*flowing(parts, width), *([("  ✗ ", "bad"), (node, "name"), ("  " + text, "plain")] for node, text in problems[:3])]
    if len(problems) > 3:
        lines.append([("    " + say("and {n} more", n=len(problems) - 3), "dim")])
    return lines


def flowing(parts: list[Line], width: int) -> list[Line]:
    """The parts one after the other, on as many lines as they need."""
    lines: list[Line] = []
    for part in parts:
        if lines and width_of(lines[-1]) + width_of(part) + 1 <= width:
            lines[-1] += [(" ", "plain"), *part]
        else:
            lines.append(list(part))
    return lines


class Checkpoints(LinePane):
    """See the module. Where it is low only the list is shown."""

    pane_name: ClassVar[str] = "checkpoints"
    of_the_moment: ClassVar[bool] = False

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        run = state.current
        rows = checkpoint_rows(state, run, now) if run is not None else ()
        self.retitle(say("Checkpoints") + (f"  {len(rows)}" if rows else ""))
        self.items, self.fixed_lines = (), 0
        if not rows or run is None:
            return [[("  " + say("nothing saved yet"), "dim")]]
        wide = max(9, *(cell_len(say(row.status.text)) + 2 for row in rows))
        columns = (Column(title=say("iter"), width=max(5, len(str(rows[0].iteration))), keep=20, right=True),
                   Column(title=say("state"), width=wide, keep=19), Column(title=say("took"), width=6, keep=17, right=True),
                   Column(title=say("size"), width=7, keep=16, right=True), Column(title=say("age"), width=4, keep=18, right=True),
                   Column(title=say("directory"), width=0, keep=5 if not any(row.why for row in rows if row.complete is not True) else 18))
        table = draw_table(columns, [(
            (f"{row.iteration}", "strong" if row.latest else "plain"),
            (f"{row.status.glyph} {say(row.status.text)}", row.status.tone), (duration_text(row.seconds), "plain"),
            (bytes_text(row.size_bytes), "plain"), (age_text(row.age_s), "dim"), (spoken_list(row.why), "warn") if row.complete is not True and row.why else (row.path, "dim")) for row in rows], width)
        table = with_moment(table, [now - row.age_s for row in rows], self.context.moment, width)
        head: list[Line] = []
        if height >= 12 and width >= 60:
            of, at, seen, come_to = run, now, rows, None
            if self.context.moment is not None:
                at = self.context.moment
                of, come_to = then(state, run, self.context.moments.at(at), at), iteration_at(state, run, at)
                seen = checkpoint_rows(state, of, at)
            head = [*flowing(self._outlook(of, seen, come_to), width), *files_lines(of, at, width), *draw_strip(state, run, rows, now, self.context.moment, width), []]
        self.fixed_lines = len(head) + 1
        self.items = [*([None] * self.fixed_lines), *(time_of(state, run, row.iteration) or now - row.age_s for row in rows)]
        return head + table

    def _outlook(self, run: RunState, rows: tuple[CheckpointRow, ...], come_to: int | None) -> list[Line]:
        found = outlook(run, come_to)
        parts: list[Line] = []
        if found.at_risk is not None:
            tone = "warn" if found.interval is not None and found.at_risk > 2 * found.interval else "strong"
            parts.append([("  " + say("at risk "), "dim"), (say("{n} iterations", n=found.at_risk), tone),
                          (f" ({duration_text(found.risk_s)})" if found.risk_s is not None else "", "plain")])
        if found.interval is not None:
            parts.append([("  " + say("saved every "), "dim"), (f"{found.interval}", "plain")])
        if found.next_s is not None:
            parts.append([("  " + say("next in about "), "dim"), (duration_text(found.next_s), "plain")])
        took = outlook_of(run).save_s
        if took is not None:
            parts.append([("  " + say("a save takes "), "dim"), (duration_text(took), "plain")])
        sizes = [row.size_bytes for row in rows if row.size_bytes and row.status.text in ("saved", "whole", "not whole")]
        if sizes:
            parts.append([("  " + say("together "), "dim"), (bytes_text(sum(sizes)), "plain")])
        return parts
