"""The live log: the end of one rank's log, followed, with the log to show picked by the pane itself.

By default the log of the rank that prints the loss (the newest round's last), or the first launcher's
before there are ranks; a new round or attempt is followed by itself. A rank chosen by hand stays chosen.
Lines are drawn from the feed's ring, only those that are on the screen, and made harmless first. A view
that was scrolled back keeps its place while the ring goes on; it says so, and how many lines came since.

Own Line-API drawing because RichLog answered no key for 10 s at 10,000 lines/s (measured).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip

from console.core.fleet.run_views import LogChoice, log_choices
from console.core.fleet.state import FleetState
from console.core.i18n import say
from console.core.intents import FollowLog, UnfollowLog
from console.tui.feed import Feed, LogTail
from console.tui.lines import Line, shown
from console.tui.panes import Pane
from console.tui.widgets.line_pane import strip

STEP_CELLS = 16
# What a line is, by its words; the first that fits. Sample lines:
#   "torch.OutOfMemoryError: NPU out of memory", "[ERROR] RUNTIME(4711,python):2026-...", "Traceback (most recent"
_BAD = re.compile(r"\b\w*(?:Error|Exception)\b|\bERROR\b|\bFATAL\b|\bCRITICAL\b|Traceback \(most|Segmentation fault|\bSIG(?:KILL|SEGV|ABRT|BUS)\b")
#   "[rank3]:[W1122 05:10:01] ...", "UserWarning: ...", "[WARNING] HCCL(...)"
_WARN = re.compile(r"\bWARN(?:ING)?\b|\b\w*Warning\b|:\[W\d{4}")
#   "  successfully saved checkpoint from iteration      10 to ..."
_SAVE = re.compile(r"(?:sav|load)(?:ed|ing) checkpoint")
#   " [2026-11-22 05:10:01.123456] iteration       10/      60 | ... | lm loss: 5.550000E+00 | ..."
_ITERATION = re.compile(r"(?P<stamp>^\s*\[[\d :.,T-]+\])?(?P<before>.*?)(?P<iteration>iteration\s+\d+/\s*\d+)(?P<between>.*?)"
                        r"(?P<loss>(?:lm )?loss: \S+)?(?P<after>(?: \|.*)?)$")


def colour(text: str) -> Line:
    """One harmless line with its mark in front: ✗ error, ! warning, ◆ checkpoint, blank otherwise."""
    if _BAD.search(text):
        return [("✗ ", "bad"), (text, "bad")]
    if _WARN.search(text):
        return [("! ", "warn"), (text, "warn")]
    if _SAVE.search(text):
        return [("◆ ", "saved"), (text, "good")]
    found = _ITERATION.match(text) if "iteration" in text else None
    if found is None:
        return [("  ", "plain"), (text, "plain")]
    tones = {"stamp": "dim", "before": "plain", "iteration": "strong", "between": "dim", "loss": "curve", "after": "dim"}
    return [("  ", "plain"), *((part, tones[name]) for name, part in found.groupdict().items() if part)]


def pick(choices: Sequence[LogChoice], pin: tuple[str, int | str] | None) -> LogChoice | None:
    """The log to show: the pinned one while it exists, else the first."""
    return next((choice for choice in choices if choice.pin == pin), choices[0] if choices else None)


class LogView(Pane):
    """Pane ``logs``."""

    pane_name: ClassVar[str] = "logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "shift(-1)", show=False), Binding("right", "shift(1)", show=False)]

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.follow = True
        self.choice: LogChoice | None = None
        self._choices: tuple[LogChoice, ...] = ()
        self._pin: tuple[str, int | str] | None = None
        self._drawn: tuple[object, ...] = ()
        self._dropped = self._left = 0
        self._left_at = 0
        """Number of the line behind the newest when following was left."""

    def show(self, state: FleetState, now: float) -> None:
        self._choices = log_choices(state.current) if state.current is not None else ()
        self._turn_to(pick(self._choices, self._pin))
        self._refresh_lines()

    def cycle(self, step: int) -> None:
        """Show the next (1) or the previous (-1) log."""
        if self._choices:
            at = self._choices.index(self.choice) if self.choice in self._choices else 0
            self.choose(self._choices[(at + step) % len(self._choices)])

    def find(self, word: str) -> bool:
        """Show the log of a rank (a number) or of a node's launcher (its name); False when there is none."""
        pin: tuple[str, int | str] = ("rank", int(word)) if word.isdecimal() else ("launcher", word)
        found = next((choice for choice in self._choices if choice.pin == pin), None)
        if found is not None:
            self.choose(found)
        return found is not None

    def choose(self, choice: LogChoice) -> None:
        """Show this log and stay with its rank."""
        self._pin = choice.pin
        self._turn_to(choice)
        self._refresh_lines()

    def set_follow(self, on: bool) -> None:
        """Stay at the end, or stay here."""
        tail = self._tail()
        if not on and self.follow and tail is not None:
            self._left_at = tail.dropped + len(tail.lines)
        self.follow = on
        self._drawn = ()
        self._refresh_lines()

    def _turn_to(self, choice: LogChoice | None) -> None:
        if choice == self.choice:
            return
        if self.choice is not None:
            self.post_message(self.Ask(UnfollowLog(node=self.choice.node, path=self.choice.path)))
        self.choice, self._dropped, self._left, self.follow = choice, 0, 0, True
        if choice is not None:
            self.post_message(self.Ask(FollowLog(node=choice.node, path=choice.path)))

    def _tail(self) -> LogTail | None:
        return self.feed.logs.get((self.choice.node, self.choice.path)) if self.choice is not None else None

    def _refresh_lines(self) -> None:
        tail = self._tail()
        key = (self.choice, tail.generation if tail else -1, self.size, self.follow, self._left)
        if key == self._drawn:
            return
        self._drawn = key
        self._put_title(tail)
        count, dropped = (len(tail.lines), tail.dropped) if tail else (0, 0)
        place = self.scroll_offset.y - (dropped - self._dropped)
        self._dropped = dropped
        self.virtual_size = Size(self.scrollable_content_region.width, count)
        self.scroll_to(y=self.max_scroll_y if self.follow else max(0, place), animate=False, force=True)
        self.refresh()

    def _put_title(self, tail: LogTail | None) -> None:
        if self.choice is None:
            self.retitle(say("Log"))
            self.resubtitle("")
            return
        who = say("launcher") if self.choice.rank is None else say("rank {rank}", rank=self.choice.rank)
        parts = [f"{say('Log')}  {who}", self.choice.node]
        if self.choice.round:
            parts.append(say("round {n}", n=self.choice.round))
        came = (tail.dropped + len(tail.lines) - self._left_at) if tail is not None and not self.follow else 0
        parts.append(say("following") if self.follow else say("held, {n} newer", n=came))
        self.retitle(" · ".join(parts))
        self.resubtitle(say("{n} lines", n=f"{len(tail.lines):,}") if tail is not None else "")

    def on_resize(self, event: events.Resize) -> None:
        self._refresh_lines()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        tail = self._tail()
        line: Line = []
        at = y + self.scroll_offset.y
        if tail is not None and at < len(tail.lines):
            text = tail.lines[at].rstrip("\r\n")
            line = colour(shown(text[self._left : self._left + width * 2 + STEP_CELLS]))
        elif y == 0 and (tail is None or not tail.lines):
            line = [("  " + (say("no log yet") if self.choice is None else say("waiting for {path}", path=self.choice.path)), "dim")]
        return strip(line, width).apply_style(self.rich_style)

    def action_shift(self, direction: int) -> None:
        """Move the window over the lines sideways."""
        self._left = max(0, self._left + direction * STEP_CELLS)
        self._refresh_lines()

    # Going up leaves the end; reaching it again follows again.
    def action_scroll_up(self) -> None:
        self.set_follow(False)
        super().action_scroll_up()

    def action_page_up(self) -> None:
        self.set_follow(False)
        super().action_page_up()

    def action_scroll_home(self) -> None:
        self.set_follow(False)
        super().action_scroll_home()

    def action_scroll_end(self) -> None:
        self.set_follow(True)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.set_follow(False)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if not self.follow and new_value > old_value and new_value >= self.max_scroll_y:
            self.set_follow(True)
