"""Pane ``logs``: one rank's log, or several merged, followed or held, filtered, searched, marked.

By default the log of the rank that prints the loss (the newest round's last), or the first launcher's
before there are ranks; a new round or attempt is followed by itself. A rank chosen by hand stays chosen.
Only lines on the screen are drawn, and made harmless first. A view that was scrolled back keeps its place
while the log goes on; it says so, and how many lines came since.

Own Line-API drawing because RichLog answered no key for 10 s at 10,000 lines/s (measured).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from textual import events
from textual.geometry import Size
from textual.strip import Strip

from console.core.fleet.fleet_look import matcher
from console.core.fleet.run_views import LogChoice, log_choices, log_starts, merge_choices
from console.core.fleet.state import FleetState
from console.core.i18n import say
from console.tui.feed import Feed
from console.tui.lines import Line, shown
from console.tui.log_book import BAD, BAD_WORDS, KEPT_LINES, LogBook, Row, Source
from console.tui.panes import Pane
from console.tui.widgets.line_pane import strip

STEP_CELLS = 16
LINES = 200
"""Taken in of each log before something else gets a turn."""
DRAWN_AFTER = 2_000
"""Lines after which they are drawn, though more are there: on a machine that is too busy to keep up with a log, it goes on all the same."""
WRAPPED_MOST = 40
"""Lines on the screen that one line of a log may take when it is wrapped."""
#   "[rank3]:[W1122 05:10:01] ...", "UserWarning: ...", "[WARNING] HCCL(...)"
_WARN = re.compile(r"\bWARN(?:ING)?\b|\b\w*Warning\b|:\[W\d{4}")
_WARN_WORDS = ("WARN", "Warning", ":[W")
"""One of them is in all that ``_WARN`` finds; looking for a word costs a tenth of it."""
#   "  successfully saved checkpoint from iteration      10 to ..."
_SAVE = re.compile(r"(?:sav|load)(?:ed|ing) checkpoint")
#   " [2026-11-22 05:10:01.123456] iteration       10/      60 | ... | lm loss: 5.550000E+00 | ..."
_ITERATION = re.compile(r"(?P<stamp>^\s*\[[\d :.,T-]+\])?(?P<before>.*?)(?P<iteration>iteration\s+\d+/\s*\d+)(?P<between>.*?)"
                        r"(?P<loss>(?:lm )?loss: \S+)?(?P<after>(?: \|.*)?)$")


def colour(text: str) -> Line:
    """One harmless line with its mark in front: ✗ error, ! warning, ◆ checkpoint, blank otherwise."""
    if any(word in text for word in BAD_WORDS) and BAD.search(text):
        return [("✗ ", "bad"), (text, "bad")]
    if any(word in text for word in _WARN_WORDS) and _WARN.search(text):
        return [("! ", "warn"), (text, "warn")]
    if "checkpoint" in text and _SAVE.search(text):
        return [("◆ ", "saved"), (text, "good")]
    found = _ITERATION.match(text) if "iteration" in text else None
    if found is None:
        return [("  ", "plain"), (text, "plain")]
    tones = {"stamp": "dim", "before": "plain", "iteration": "strong", "between": "dim", "loss": "curve", "after": "dim"}
    return [("  ", "plain"), *((part, tones[name]) for name, part in found.groupdict().items() if part)]


def highlight(line: Line, found: re.Pattern[str] | None) -> Line:
    """The line with every match of the pattern marked."""
    if found is None:
        return line
    out: Line = []
    for text, tone in line:
        last = 0
        for match in found.finditer(text):
            if match.end() > match.start():
                out += [(text[last : match.start()], tone), (match.group(), "match")]
                last = match.end()
        out.append((text[last:], tone))
    return [span for span in out if span[0]]


def pick(choices: Sequence[LogChoice], pin: tuple[str, int | str] | None) -> LogChoice | None:
    """The log to show: the pinned one while it exists, else the first."""
    return next((choice for choice in choices if choice.pin == pin), choices[0] if choices else None)


class LogView(Pane):
    """See the module."""

    pane_name: ClassVar[str] = "logs"
    of_the_moment: ClassVar[bool] = False
    may_wait: ClassVar[bool] = True

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.follow = True
        self.wrap = self.times = self.merged = False
        self.start: tuple[str, int | None] | None = None
        """Whose logs these are: one of ``log_starts``; None: of the newest, whichever that is."""
        self.choice: LogChoice | None = None
        self.pattern = ""
        self.marks: set[int] = set()
        self.at: int | None = None
        """Number of the line that was last gone to."""
        self._find: re.Pattern[str] | None = None
        self._choices: tuple[LogChoice, ...] = ()
        self._starts: tuple[tuple[str, int | None], ...] = ()
        self._pin: tuple[str, int | str] | None = None
        self._followed: tuple[LogChoice, ...] = ()
        self._book = LogBook([])
        self._key: tuple[object, ...] = ()
        self._generation = -1
        """What of the book was drawn."""
        self._rows: list[Line] = []
        self._left = 0
        self._left_at = 0
        """How many lines there were when following was left."""
        self._top: int | None = None
        """Number of the line at the top of a held view."""
        self._moment: float | None = None
        self._state: FleetState | None = None

    # --- which log ---------------------------------------------------------------------------------------

    def know(self, state: FleetState) -> None:
        """Which logs there are."""
        self._state = state
        self._starts = log_starts(state.current) if state.current is not None else ()
        if self.start not in self._starts:
            self.start = None
        self._choices = log_choices(state.current, self.start) if state.current is not None else ()

    def show(self, state: FleetState, now: float) -> None:
        for _ in self.showing(state, now):
            pass

    def showing(self, state: FleetState, now: float) -> Iterator[None]:
        """``show``; many lines are taken in some at a time."""
        self.know(state)
        self._turn_to(pick(self._choices, self._pin))
        book, changed, left = self._book, self._generation != self._book.generation, KEPT_LINES
        while self._book is book:
            tails = [self.feed.logs.get((each.node, each.path)) for each in self._followed]
            changed = book.take(tails, now, LINES) or changed
            left -= LINES
            if left <= 0 or not book.behind(tails):
                break
            if left % DRAWN_AFTER == 0:
                self._refresh(True)
            yield
        if self.context.moment != self._moment:
            self._moment = self.context.moment
            self._go_to_moment()
        self._refresh(changed)

    def cycle(self, step: int) -> None:
        """Show the next (1) or the previous (-1) log."""
        if self._choices:
            at = self._choices.index(self.choice) if self.choice in self._choices else 0
            self.choose(self._choices[(at + step) % len(self._choices)])

    def find_log(self, word: str) -> bool:
        """Show the log of a rank (a number) or of a node's launcher (its name); False when there is none."""
        pin: tuple[str, int | str] = ("rank", int(word)) if word.isdecimal() else ("launcher", word)
        found = next((choice for choice in self._choices if choice.pin == pin), None)
        if found is not None:
            self.choose(found)
        return found is not None

    def go_back_to(self, start: tuple[str, int | None] | None) -> None:
        """Show the logs of that start; of the newest, and of those that come after it, when it is the newest or not known (None)."""
        if self._state is not None:
            self.start = None if self._starts[:1] == (start,) else start
            self.know(self._state)

    def choose(self, choice: LogChoice) -> None:
        """Show this log and stay with its rank."""
        self._pin, self.merged = choice.pin, False
        self._turn_to(choice)
        self._refresh(True)

    def _turn_to(self, choice: LogChoice | None) -> None:
        wanted = merge_choices(self._choices) if self.merged else () if choice is None else (choice,)
        self.choice = choice
        if wanted == self._followed:
            return
        from console.core.intents import FollowLog, UnfollowLog

        for old in self._followed:
            if old not in wanted:
                self.post_message(self.Ask(UnfollowLog(node=old.node, path=old.path)))
        for new in wanted:
            if new not in self._followed:
                self.post_message(self.Ask(FollowLog(node=new.node, path=new.path)))
        self._followed = wanted
        nodes = self._state.nodes if self._state is not None else {}
        sources = []
        for each in wanted:
            node = nodes.get(each.node)
            offset_s = node.met.clock_offset_s if node is not None and node.met is not None else 0.0
            sources.append(Source(f"r{each.rank}" if each.rank is not None else each.node, offset_s))
        self._book = LogBook(sources)
        self._book.filter(self.pattern)
        self.marks.clear()
        self.at = self._top = None
        self.follow, self._left = True, 0

    # --- what to do with it ------------------------------------------------------------------------------

    def act(self, name: str, argument: str) -> None:
        """The actions of the group "Logs"."""
        if name in ("find-next", "find-back", "error", "error-back"):
            pattern = BAD if name.startswith("error") else self._find
            if pattern is None:
                self.post_message(self.Say(say("nothing was searched for; ctrl+f finds"), "warn"))
            else:
                self._jump(pattern, -1 if name.endswith("back") else 1)
        elif name in ("mark-next", "mark-back"):
            self._to_mark(1 if name == "mark-next" else -1)
        elif name == "find":
            self._search(argument)
        elif name == "log-back":
            self.cycle(-1)
        elif name == "follow":
            self.set_follow(not self.follow)
        elif name == "mark":
            self._mark()
        else:
            self._switch(name)
        self._refresh(True)

    def _switch(self, name: str) -> None:
        if name == "wrap":
            self.wrap, self._left = not self.wrap, 0
        elif name == "times":
            self.times = not self.times
        elif name == "merged":
            self.merged = not self.merged
            self._turn_to(self.choice)
        elif name == "previous-attempt":
            self._one_start_back()

    def _one_start_back(self) -> None:
        """To the log of the round before, then of the attempt before; from the first of all to the newest. A launcher has one log an attempt."""
        run = self._state.current if self._state is not None else None
        if run is None or self._state is None:
            return
        at = self._starts.index(self.start) + 1 if self.start is not None else 1
        older = (start for start in self._starts[at:] if not self._shows(log_choices(run, start)))
        found = next(older, None)
        if found is None and self.start is None:
            self.post_message(self.Say(say("there is no start before this one"), "warn"))
        self.start = found
        self.know(self._state)
        self._turn_to(pick(self._choices, self._pin))

    def _shows(self, choices: Sequence[LogChoice]) -> bool:
        """Whether the log that would be shown of these is the one on the screen."""
        found = pick(choices, self._pin)
        return found is None or (not self.merged and self.choice is not None and (found.node, found.path) == (self.choice.node, self.choice.path))

    def set_filter(self, pattern: str) -> None:
        """Show only what passes (``LogBook.filter``)."""
        middle = self._middle()
        self.pattern = pattern
        self._book.filter(pattern)
        if not self.follow and middle is not None:
            self._hold_around(middle)
        self._refresh(True)

    def _search(self, text: str) -> None:
        self._find = matcher(text)
        if self._find is not None:
            # From the newest on backwards: what is looked for in a log is mostly at its end.
            self._jump(self._find, -1, from_end=self.follow)

    def _jump(self, pattern: re.Pattern[str], step: int, *, from_end: bool = False) -> None:
        at = self.at if self.at is not None and not from_end else None
        place = self._book.place(at) + step if at is not None else (len(self._book) - 1 if step < 0 or self.follow else round(self.scroll_offset.y))
        number = self._book.find(pattern, place, step)
        if number is None and at is not None:  # round the end
            number = self._book.find(pattern, 0 if step > 0 else len(self._book) - 1, step)
        elif number is None and step > 0:
            number = self._book.find(pattern, 0, 1)
        if number is None:
            self.post_message(self.Say(say("no error in this log; p shows the one before the restart") if pattern is BAD and self._starts[1:] else
                                       say("no error in this log") if pattern is BAD else say("not found"), "warn"))
        else:
            self.at = number
            self._hold_around(number)

    def _mark(self) -> None:
        number = self.at if self.at is not None else self._middle()
        if number is not None:
            self.marks ^= {number}

    def _to_mark(self, step: int) -> None:
        at = self.at if self.at is not None else self._middle() or 0
        found = [number for number in sorted(self.marks, reverse=step < 0) if (number - at) * step > 0] or sorted(self.marks, reverse=step < 0)
        if found:
            self.at = found[0]
            self._hold_around(found[0])
        else:
            self.post_message(self.Say(say("nothing is marked; m marks"), "warn"))

    def _middle(self) -> int | None:
        count = len(self._book)
        if not count:
            return None
        height = max(1, self.scrollable_content_region.height)
        top = count - height if self.follow else round(self.scroll_offset.y)
        return self._book.number(max(0, min(count - 1, top + height // 2)))

    def _go_to_moment(self) -> None:
        if self._moment is None:
            self.at = None
            self.set_follow(True)
            return
        place = self._book.at_time(self._moment)
        if place is not None:
            self.at = self._book.number(place)
            self._hold_around(self.at)

    def _hold_around(self, number: int) -> None:
        """Hold the view with that line in the middle."""
        self.set_follow(False)
        height = self.scrollable_content_region.height
        top = max(0, min(len(self._book) - height, self._book.place(number) - height // 2))
        self._top = self._book.number(top) if len(self._book) else None

    def set_follow(self, on: bool) -> None:
        """Stay at the end, or stay here."""
        if not on and self.follow:
            self._left_at = self._book.base + len(self._book.texts)
            height = self.scrollable_content_region.height
            count = len(self._book)
            self._top = self._book.number(max(0, count - height)) if count else None
        self.follow = on
        if on:
            self._top = None
        self._refresh(True)

    def text_lines(self) -> list[str]:
        """The marked lines; without marks the line gone to; else what is on the screen."""
        numbers: Sequence[int] = sorted(self.marks) or ([self.at] if self.at is not None else [])
        if not numbers:
            height, count = self.scrollable_content_region.height, len(self._book)
            top = max(0, count - height) if self.follow else round(self.scroll_offset.y)
            numbers = [self._book.number(at) for at in range(top, min(count, top + height))]
        rows = [self._book.row(number) for number in numbers]
        return [row.text.rstrip("\r\n") for row in rows if row is not None]

    # --- drawing -----------------------------------------------------------------------------------------

    def _refresh(self, changed: bool) -> None:
        size = self.scrollable_content_region.size
        self._generation = self._book.generation
        key = (self._followed, self._book.generation, size, self.follow, self._left, self.wrap, self.times, self.at, self._top, len(self.marks), self._find)
        if key == self._key and not changed:
            return
        self._key = key
        self._put_title()
        count = len(self._book)
        self.resize_content(Size(size.width, count))
        place = self._book.place(self._top) if self._top is not None and count else 0
        self.scroll_to(y=self.max_scroll_y if self.follow else place, animate=False, force=True)
        self._rows = []
        self.refresh()

    def _put_title(self) -> None:
        if self.choice is None:
            self.retitle(say("Log"))
            self.resubtitle("")
            return
        if self.merged:
            ranks = sum(choice.rank is not None for choice in self._choices)
            parts = [f"{say('Log')}  " + say("{n} of {all} ranks merged", n=len(self._followed), all=ranks)]
        else:
            who = say("launcher") if self.choice.rank is None else say("rank {rank}", rank=self.choice.rank)
            parts = [f"{say('Log')}  {who}", self.choice.node]
            if self.choice.round or (self.choice.round is not None and self.start is not None):
                parts.append(say("round {n}", n=self.choice.round))
        back = list(dict.fromkeys(name for name, _ in self._starts)).index(self.start[0]) if self.start is not None else 0
        if back:
            parts.append(say("attempt −{n}", n=back))
        elif self.start is not None and self.merged:
            parts.append(say("round {n}", n=self.start[1]))
        came = self._book.base + len(self._book.texts) - self._left_at
        parts.append(say("following") if self.follow else say("held, {n} newer", n=came))
        if self.pattern:
            parts.append(f"/{self.pattern}")
        self.retitle(" · ".join(parts))
        total = len(self._book.texts)
        words = [say("{n} lines", n=f"{total:,}") if not self.pattern else say("{n} of {all} lines", n=f"{len(self._book):,}", all=f"{total:,}")]
        if self._book.missed:
            words.append(say("{n} came and went unseen", n=self._book.missed))
        if self.marks:
            words.append(say("{n} marked", n=len(self.marks)))
        self.resubtitle(" · ".join(words) if total else "")

    def on_resize(self, event: events.Resize) -> None:
        self._refresh(True)

    def _line(self, number: int, row: Row) -> Line:
        text = row.text.rstrip("\r\n")
        line = highlight(colour(shown(text)), self._find)
        lead: Line = []
        if number == self.at:
            line = [("▶ ", "past"), *line[1:]]
        elif number in self.marks:
            line = [("● ", "marked"), *line[1:]]
        if self.times:
            stamp = datetime.fromtimestamp(row.time, timezone.utc).strftime("%H:%M:%S.%f")[:-3] if row.time else "-"
            lead.append((f"{stamp:>12} ", "dim"))
        if self.merged:
            name = self._book.sources[row.source].name
            lead.append((f"{name[:8]:>5} ", ("busy", "curve", "memory", "heat3")[row.source % 4]))
        return lead + line

    def _window(self, width: int, height: int) -> list[Line]:
        """The lines of the window, wrapped where wanted."""
        count = len(self._book)
        top = round(self.scroll_offset.y)
        if not self.wrap:
            found = []
            for at in range(top, min(count, top + height)):
                row = self._book.row(self._book.number(at))
                if row is not None:
                    cut = row._replace(text=row.text[self._left : self._left + width * 2 + STEP_CELLS])
                    found.append(self._line(self._book.number(at), cut))
            return found
        lines: list[Line] = []
        places = range(count - 1, max(-1, count - 1 - height), -1) if self.follow else range(top, min(count, top + height))
        for at in places:
            row = self._book.row(self._book.number(at))
            if row is None:
                continue
            parts = wrapped(self._line(self._book.number(at), row._replace(text=row.text[: width * WRAPPED_MOST])), width)
            lines = [*parts, *lines] if self.follow else [*lines, *parts]
            if len(lines) >= height:
                break
        return lines[-height:] if self.follow else lines[:height]

    def render_line(self, y: int) -> Strip:
        size = self.scrollable_content_region.size
        if not self._rows and size.height > 0:
            self._rows = self._window(size.width, size.height)
            if not len(self._book):
                self._rows = [[("  " + self._waiting(), "dim")]]
        return strip(self._rows[y] if y < len(self._rows) else [], size.width, self.base)

    def _waiting(self) -> str:
        if self.pattern and self._book.texts:
            return say("no line passes the filter")
        if self.context.cursor.replay:
            return say("lines of logs are not kept in the history; faults and losses are")
        return say("no log yet") if self.choice is None else say("waiting for {path}", path=self.choice.path)

    def press(self, key: str) -> bool:
        """Left and right move the window over the lines; going up leaves the end."""
        if key in ("left", "right") and not self.wrap:
            self._left = max(0, self._left + (STEP_CELLS if key == "right" else -STEP_CELLS))
        elif key in ("up", "down", "pageup", "pagedown", "home", "end"):
            self._scroll(key)
        else:
            return False
        self._refresh(True)
        return True

    def _scroll(self, key: str) -> None:
        height, count = max(1, self.scrollable_content_region.height), len(self._book)
        if not count:
            return
        top = max(0, count - height) if self.follow else round(self.scroll_offset.y)
        moves = {"up": -1, "down": 1, "pageup": -height, "pagedown": height, "home": -count, "end": count}
        to = max(0, top + moves[key])
        if to >= count - height and moves[key] > 0:
            self.set_follow(True)
        else:
            self.set_follow(False)
            self._top = self._book.number(min(count - 1, to))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._scroll("up")

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._scroll("down")


def wrapped(line: Line, width: int) -> list[Line]:
    """The line in as many lines of at most ``width`` cells as it takes."""
    lines: list[Line] = [[]]
    left = width
    for text, tone in line:
        while text:
            if cell_len(text) <= left:
                lines[-1].append((text, tone))
                left -= cell_len(text)
                break
            first = chop_cells(text, max(2, left))[0]
            if cell_len(first) > left and lines[-1]:
                first = ""
            lines[-1].append((first, tone))
            text = text[len(first) :]
            lines.append([])
            left = width
    return lines
