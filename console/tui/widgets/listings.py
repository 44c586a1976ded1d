"""The panes that are lists: faults, audit, phases; and the table that all lists are drawn with.

Each says its columns and rows; ``draw_table`` fits them: columns of the lowest priority go first when the
room is short, and one column takes what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import ClassVar

from rich.cells import cell_len

from console.core.fleet.happenings import Happening, audit_rows, fault_rows
from console.core.fleet.run_views import PHASES, phase_rows
from console.core.fleet.state import FleetState
from console.core.i18n import say, told
from console.core.records import dataclass
from console.core.spoken import spoken_text
from console.tui.feed import Feed
from console.tui.lines import Line, Span, fit, folded
from console.tui.widgets.line_pane import LinePane

BESIDE = 10 + 4 + 26 + 12 + 6
"""Cells beside time and node in which what happened and its detail have columns of their own."""


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


class Happenings(LinePane):
    """Lines of time, newest first; Enter goes to a line's moment."""

    of_the_moment: ClassVar[bool] = False

    fixed_lines = 1
    title: ClassVar[str] = ""
    empty: ClassVar[str] = ""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._listed: Sequence[Happening] = ()

    def rows(self, state: FleetState) -> Sequence[Happening]:
        """What to list."""
        raise NotImplementedError

    def of_log(self) -> tuple[str, tuple[str, int | None] | None]:
        """That of the process, or the node, of the selected line."""
        if self.selected is None or not 0 < self.selected <= len(self._listed):
            return "", None
        row = self._listed[self.selected - 1]
        return row.node if row.rank is None else str(row.rank), row.start

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        rows = self._listed = self.rows(state)[:500]
        self.retitle(say(self.title) + (f"  {len(rows)}" if rows else ""))
        self.items = [None, *(row.time for row in rows)] if rows else ()
        if not rows:
            return [[("  " + say(self.empty), "dim")]]
        node = Column(title=say("node"), width=min(12, max(4, *(len(row.node) for row in rows))), keep=18)
        utc = Column(title="UTC", width=11 if any(now - row.time > 20 * 3600 for row in rows) else 8, keep=17)
        kind = Column(title=say("kind"), width=10, keep=20)
        cells = [happening_cells(row, now) for row in rows]
        if width < utc.width + node.width + BESIDE:
            # What happened and its detail in one: two cut columns tell less than one.
            columns: tuple[Column, ...] = (utc, kind, node, Column(title=say("what"), width=0, keep=19))
            lines = draw_table(columns, [[at, badge, where, (f"{_ranked(rank[0], what[0])}  {detail[0]}".rstrip(), what[1])] for at, badge, where, rank, what, detail in cells], width)
        else:
            columns = (utc, kind, node, Column(title=say("rank"), width=4, keep=14, right=True), Column(title=say("what"), width=30 if width >= 100 else 26, keep=19),
                       Column(title=say("detail"), width=0, keep=16))
            lines = draw_table(columns, cells, width)
        return with_moment(lines, [row.time for row in rows], self.context.moment, width)


def happening_cells(row: Happening, now: float) -> list[Span]:
    """Time, kind, node, rank, what, detail."""
    return [(clock_text(row.time, now), "dim"), (f"{row.badge.glyph} {say(row.badge.text)}", row.badge.tone), (row.node, "plain"),
            ("" if row.rank is None else f"{row.rank}", "busy"), (told(row.what), "strong" if row.badge.tone == "bad" else "plain"), (told_detail(row), "dim")]


def _ranked(rank: str, what: str) -> str:
    """What happened, with the rank where it does not say so itself and has no column."""
    named = say("rank {rank}", rank=rank) if rank else ""
    return what if named in what else f"{named} {what}"


def told_detail(row: Happening) -> str:
    """What there is to say of it; why a link is not up is an error of ours."""
    return spoken_text(row.detail) if row.badge.text == "link" else told(row.detail)


def with_moment(lines: list[Line], times: Sequence[float], moment: float | None, width: int) -> list[Line]:
    """The table (a heading, then a line a time, newest first) with what came after the moment dimmed and the last
    thing before it marked."""
    if moment is None:
        return lines
    marked = False
    for at, time in enumerate(times, 1):
        if time > moment:
            lines[at] = [(text, "future") for text, _ in lines[at]]
        elif not marked:
            marked = True
            lines[at] = [("▸", "past"), *lines[at][1:]]
    return lines


class Faults(Happenings):
    """Pane ``faults``."""

    pane_name: ClassVar[str] = "faults"
    title, empty = "Faults", "no fault seen"

    def rows(self, state: FleetState) -> Sequence[Happening]:
        return fault_rows(state, state.current) if state.current is not None else ()


class Audit(Happenings):
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
        rows = phase_rows(attempt)
        if width >= 14 + 11 * len(PHASES):
            columns = (Column(title=say("node"), width=12, keep=99), *(Column(title=say(phase), width=10, keep=90 - at) for at, phase in enumerate(PHASES)),
                       Column(title=say("why"), width=0, keep=10))
            return draw_table(columns, [((node, "name"), *((f"{badge.glyph} {say(badge.text)}", badge.tone) for badge in badges), (spoken_text(why), "bad"))
                                        for node, badges, why in rows], width)
        # Whole names where they fit, and why in a line of its own.
        titles = [say(phase) for phase in PHASES]
        whole = 14 + sum(cell_len(title) + 1 for title in titles) <= width
        columns = (Column(title=say("node"), width=12, keep=99),
                   *(Column(title=title, width=cell_len(title) if whole else 5, keep=90 - at) for at, title in enumerate(titles)))
        drawn = draw_table(columns, [((node, "name"), *((f"{' ' * (columns[at].width // 2)}{badge.glyph}", badge.tone) for at, badge in enumerate(badges, 1)))
                                     for node, badges, _ in rows], width)
        lines = drawn[:1]
        for line, (_, _, why) in zip(drawn[1:], rows, strict=True):
            lines.append(line)
            lines += [[("   └ " if at == 0 else "     ", "dim"), (text, "bad")] for at, text in enumerate(folded(spoken_text(why), max(16, width - 6))[:3] if why else ())]
        return lines
