"""Panes ``loss`` (one big curve, of any metric) and ``metrics`` (the others, small), on one axis of iterations.

Both show the same stretch and the same cursor. The attempts of a run are joined: an iteration that was
trained again shows its latest value, what was given up stays behind it, dimmed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from console.core.fleet.compare import attempt_series
from console.core.fleet.run_times import iteration_at, time_of
from console.core.fleet.run_views import current_iteration, marks, metric_rows, value_at
from console.core.fleet.series import Series
from console.core.fleet.state import FleetState, RunState
from console.core.fleet.views import value_text
from console.core.i18n import say
from console.tui.feed import Feed
from console.tui.lines import Line, clip, pad, spark
from console.tui.widgets.curve import Look, draw_curve
from console.tui.widgets.line_pane import LinePane
from console.tui.widgets.listings import Column, draw_table

NAMES: Mapping[str, str] = {
    "loss": "Loss", "grad_norm": "Gradient norm", "learning_rate": "Learning rate", "tokens_per_s_per_device": "tokens/s/NPU",
    "step_time_ms": "Step time, ms", "tflops_per_device": "TFLOP/s/NPU", "skipped": "Skipped iterations", "nan": "NaN iterations",
    "max_allocated_mb": "Memory at most, MiB"}
SMOOTHINGS = (0.0, 0.6, 0.9)
LEAST_SPAN = 8
MOST_BESIDE = 3
"""More curves in one chart are a tangle."""
CHART_LINES, CHART_CELLS = 6, 34
"""A small chart that is lower or narrower tells nothing."""


def given_up(run: RunState, metric: str) -> list[Series]:
    """What was trained again later, a curve for each start."""
    overtaken = getattr(run, "overtaken", {})
    return [series[metric] for series in overtaken.values() if metric in series and len(series[metric])]


def comparable(state: FleetState) -> tuple[str, ...]:
    """What can be drawn beside the current run: the other jobs, the newest first, then its own attempts but the newest."""
    run = state.current
    if run is None:
        return ()
    others = sorted((one for one in state.runs.values() if one.job != run.job and one.attempts and len(one.series["loss"])), key=lambda one: max(one.attempts), reverse=True)
    return (*(one.job for one in others), *sorted((name for name in run.attempts if run.latest is not None and name != run.latest.attempt), reverse=True))


def near(series: Series, at: int | None) -> float | None:
    """The value at an iteration, or the newest before it; None where there is none or it ended before."""
    if at is None or not len(series) or at > series.x[-1] or at < series.x[0]:
        return None
    return series.y[max(0, series.x.find(at + 1) - 1)] if hasattr(series.x, "find") else series.get(at)


class Loss(LinePane):
    """Pane ``loss``."""

    pane_name: ClassVar[str] = "loss"
    of_the_moment: ClassVar[bool] = False

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self.log_y = False
        self.smoothing = 0.0
        self.metric = "loss"
        self.stretch: tuple[int, int] | None = None
        """First and last iteration shown; None: all there are."""
        self.beside: tuple[str, ...] = ()
        """Jobs and attempts drawn beside the run."""
        self.attempts: dict[tuple[str, str, str], Series] = {}
        """(job, attempt, metric) -> its own curve."""
        self._drawn: tuple[object, ...] = ()

    def act(self, name: str, argument: str) -> None:
        """log-y, compare, smooth, metric, zoom-in, zoom-out, pan-back, pan-on, whole."""
        run = self._state.current if self._state is not None else None
        series = run.series.get(self.metric) if run is not None else None
        if name == "log-y":
            self.log_y = not self.log_y
        elif name == "compare":
            self._compare(argument)
        elif name == "smooth":
            self.smoothing = SMOOTHINGS[(SMOOTHINGS.index(self.smoothing) + 1) % len(SMOOTHINGS)]
        elif name == "metric" and run is not None:
            known = [metric for metric in NAMES if metric in run.series and len(run.series[metric])]
            if argument in run.series:
                self.metric = argument
            elif argument:
                self.post_message(self.Say(say("no such metric: {name}", name=argument), "warn"))
            elif known:
                self.metric = known[(known.index(self.metric) + 1) % len(known)] if self.metric in known else known[0]
        elif name == "whole":
            self.stretch = None
        elif series is not None and len(series):
            self._zoom(name, series)
        self._drawn = ()
        self.redraw()
        self.refresh()

    def _compare(self, argument: str) -> None:
        """Draw a run or an attempt beside this one, or no longer; without a name the newest others, or none."""
        known = comparable(self._state) if self._state is not None else ()
        if argument and argument not in known:
            self.post_message(self.Say(say("there is no other run {name}", name=argument) if known else say("this fleet has had no other run"), "warn"))
        elif argument in self.beside:
            self.beside = tuple(name for name in self.beside if name != argument)
        elif argument:
            self.beside = (*self.beside, argument)[-MOST_BESIDE:]
        elif self.beside:
            self.beside = ()
        else:
            self.beside = known[:MOST_BESIDE]
            if not known:
                self.post_message(self.Say(say("this fleet has had no other run"), "warn"))

    def _other(self, state: FleetState, run: RunState, name: str) -> Series:
        """The metric of another job, or of an attempt of this one."""
        if name not in run.attempts:
            other = state.runs.get(name)
            return other.series.get(self.metric) or Series() if other is not None else Series()
        place = (run.job, name, self.metric)
        if place not in self.attempts:
            # An attempt that is not the newest grows no more; a million points are not sorted at every frame.
            self.attempts[place] = attempt_series(run, self.metric, name)
        return self.attempts[place]

    def _zoom(self, name: str, series: Series) -> None:
        first, last = series.x[0], series.x[-1]
        low, high = self.stretch or (first, last)
        span = high - low + 1
        if name in ("pan-back", "pan-on"):
            by = max(1, span // 4) * (-1 if name == "pan-back" else 1)
            by = max(first - low, min(last - high, by))
            low, high = low + by, high + by
        else:
            at = self._cursor()
            middle = at if at is not None and low <= at <= high else high if self.stretch is None or high >= last else (low + high) // 2
            span = max(LEAST_SPAN, span // 2) if name == "zoom-in" else span * 2
            # What was at the right edge stays there: that is where it goes on.
            high = middle if middle >= last else min(last, middle + span // 2)
            low = max(first, high - span + 1)
            high = min(last, low + span - 1)
        self.stretch = None if (low, high) == (first, last) else (low, high)

    def _cursor(self) -> int | None:
        moment, state = self.context.moment, self._state
        if moment is None or state is None or state.current is None:
            return None
        return iteration_at(state, state.current, moment)

    def look(self, run: RunState) -> Look:
        """How this and the small charts are drawn."""
        low, high = self.stretch or (None, None)
        cursor = self._cursor()
        current = current_iteration(run)
        if self.context.cursor.replay and cursor is not None:
            current = cursor
        return Look(log_y=self.log_y, smoothing=self.smoothing, first=low, last=high, cursor=cursor, current=current)

    def press(self, key: str) -> bool:
        """Left and right move the time cursor by a column."""
        state = self._state
        if key not in ("left", "right") or state is None or state.current is None or not len(state.current.series["loss"]):
            return False
        run, series = state.current, state.current.series["loss"]
        low, high = self.stretch or (series.x[0], series.x[-1])
        columns = max(1, self.scrollable_content_region.width - 9)
        by = max(1, (high - low + 1) // columns) * (1 if key == "right" else -1)
        at = self._cursor()
        time = time_of(state, run, max(series.x[0], (high if at is None else at) + by))
        if time is not None:
            self.post_message(self.Go(time))
        return True

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        run = state.current
        series = run.series.get(self.metric) if run is not None else None
        if run is None or series is None or not len(series):
            self.retitle(say(NAMES.get(self.metric, self.metric)))
            self.resubtitle("")
            return [[("  " + say("waiting for the first iteration"), "dim")]]
        # Everything the drawing depends on; the run's other counters change every second.
        notes, look = marks(run), self.look(run)
        others = [self._other(state, run, name) for name in self.beside]
        key = (run.job, self.metric, series.generation, notes, look, width, height, self.beside, tuple(other.generation for other in others))
        if key == self._drawn:
            return self._lines
        self._drawn = key
        at = look.cursor if look.cursor is not None else look.current
        value = value_at(series, at)
        if value is None and at is not None:  # not every trainer prints every iteration
            place = min(len(series) - 1, max(0, series.x.find(at + 1) - 1)) if hasattr(series.x, "find") else None
            value, at = (series.y[place], series.x[place]) if place is not None else (None, at)
        title = say(NAMES.get(self.metric, self.metric))
        if value is not None:
            title += f"  {value_text(value, 5)} @ {at}"
        for letter, name, other in zip("ABC", self.beside, others, strict=False):
            theirs = near(other, at)
            title += f"  {letter} {clip(name, 20)} " + ("-" if theirs is None else value_text(theirs, 5) + ("" if value is None else f" ({value - theirs:+.3g})"))
        self.retitle(title)
        words = ["◆ " + say("saved") + "  ↻ " + say("restarted")]
        words += [say("log y")] if self.log_y else []
        words += [say("smoothed {w}", w=self.smoothing)] if self.smoothing else []
        words += [f"{self.stretch[0]}-{self.stretch[1]}"] if self.stretch else []
        self.resubtitle("  ".join(words))
        return draw_curve(series, notes, width, height, look, given_up(run, self.metric), others)


class Metrics(LinePane):
    """Pane ``metrics``: small charts where there is room for two or more, a table with trends where not."""

    pane_name: ClassVar[str] = "metrics"
    of_the_moment: ClassVar[bool] = False

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed)
        self._drawn: tuple[object, ...] = ()

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        self.retitle(say("Metrics"))
        run = state.current
        big = self.parent_host_loss()
        names = [] if run is None else [name for name in NAMES if name in run.series and len(run.series[name]) and name != (big.metric if big is not None else "")
                                        and not (name in ("skipped", "nan") and not any(run.series[name].y[-50:]))]
        if run is None or not names:
            self.fixed_lines = 0
            return [[("  " + say("waiting for the first iteration"), "dim")]]
        across = max(1, min(width // CHART_CELLS, 2 if len(names) <= 4 else 3))
        down = -(-len(names) // across)
        if height // down < CHART_LINES:
            return self._table(run, width)
        look = (big or Loss(self.feed)).look(run) if big is not None else Look(current=current_iteration(run))
        look = replace(look, log_y=False)
        key = (run.job, tuple(run.series[name].generation for name in names), look, width, height)
        if key == self._drawn:
            return self._lines
        self._drawn = key
        self.fixed_lines = 0
        lines: list[Line] = []
        cells, deep = width // across, height // down
        for row in range(down):
            drawn = [self._chart(run, name, cells - 1, deep, look) for name in names[row * across : (row + 1) * across]]
            for at in range(deep):
                lines.append([span for chart in drawn for span in [*pad(chart[at] if at < len(chart) else [], cells - 1), (" ", "plain")]])
        return lines

    def parent_host_loss(self) -> Loss | None:
        """The big curve beside this, whose stretch and cursor are shared."""
        host = self.parent
        found = host.made.get("loss") if host is not None and hasattr(host, "made") else None
        return found if isinstance(found, Loss) and found._state is not None else None

    def _chart(self, run: RunState, name: str, width: int, height: int, look: Look) -> list[Line]:
        series = run.series[name]
        at = look.cursor if look.cursor is not None else look.current
        value = value_at(series, at)
        last = series.last()
        value = value if value is not None else last[1] if last is not None else None
        head: Line = [(" " + say(NAMES[name]) + "  ", "strong"), (value_text(value), "curve" if value is None or value == value else "alarm")]
        return [head, *draw_curve(series, (), width, height - 1, look, given_up(run, name))]

    def _table(self, run: RunState, width: int) -> list[Line]:
        self.fixed_lines = 1
        rows: Sequence[tuple[str, float | None, int, tuple[float | None, ...]]] = metric_rows(run, max(8, width - 40))
        columns = (Column(title=say("metric"), width=14, keep=20), Column(title=say("newest"), width=10, keep=19, right=True),
                   Column(title="@", width=7, keep=5, right=True), Column(title=say("trend"), width=0, keep=10))
        return draw_table(columns, [(
            (say(NAMES.get(name, name)), "plain"), (value_text(value), "strong" if value == value else "bad"),
            (f"{at}", "dim"), (spark(values), "curve")) for name, value, at, values in rows], width)
