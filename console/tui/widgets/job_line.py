"""The job at a glance: state, progress and pace on one line, where its ranks are on the next."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from console.core.fleet.happenings import our_time
from console.core.fleet.run_views import JobView, job_view, value_at
from console.core.fleet.state import FleetState, RunState
from console.core.fleet.views import Badge, age_text, duration_text, value_text
from console.core.i18n import say
from console.tui.lines import Line, Span, bar, clip, width_of
from console.tui.widgets.line_pane import LinePane

_TONES = {"good": "good", "warn": "warn", "bad": "alarm", "busy": "busy", "off": "strong"}


def draw_job(view: JobView, verdict: str, width: int, height: int = 2) -> list[Line]:
    """Two lines, or three (the bar on its own) where ``height`` has room; ``verdict``: who failed first, or empty."""
    first: Line = [(" ", "plain"), (f"{view.status.glyph} {say(view.status.text)}", _TONES.get(view.status.tone, "plain")),
                   ("  ", "plain"), (clip(view.job, max(8, min(28, width // 4))), "name"), ("  ", "plain")]
    paces = _paces(view)
    room = width - width_of(first) - width_of(paces) - 2 * len(paces) - 8
    if view.fraction is not None and height < 3 and room >= 6:
        first += _progress(view, min(room, 40))
    first = _joined(first, paces, [("  ", "plain")], width)
    lines = [first, _joined([("   ", "plain")], _places(view, verdict), [(" · ", "dim")], width)]
    if height >= 3 and view.fraction is not None:
        lines.append([(" ", "plain"), *_progress(view, width - 10)])
    return lines


def _joined(start: Line, facts: list[Span], gap: Line, width: int) -> Line:
    """The facts behind one another; what does not fit whole is left out with all that follows it."""
    line = list(start)
    for at, fact in enumerate(facts):
        part = [*(gap if at else []), fact]
        if at and width_of(line) + width_of(part) > width:
            break
        line += part
    return line


def _progress(view: JobView, cells: int) -> Line:
    text = bar(view.fraction, cells).rstrip()
    return [("▕", "dim"), (text, "good" if view.status.tone == "good" else "dim"), (" " * (cells - len(text)), "plain"),
            ("▏", "dim"), (f"{view.fraction or 0.0:>4.0%}  ", "strong")]


def _paces(view: JobView) -> list[Span]:
    if view.iteration is None:
        return [(say("no iteration yet"), "dim")]
    facts: list[Span] = [(f"{view.iteration}" + (f"/{view.total}" if view.total else ""), "strong")]
    if view.loss is not None:
        facts.append((f"{say('loss')} {value_text(view.loss, 5)}", "curve" if view.loss == view.loss else "alarm"))
    if view.eta_s:
        facts.append((f"{say('left')} {duration_text(view.eta_s)}", "strong"))
    if view.step_s:
        facts.append((f"{duration_text(view.step_s) if view.step_s >= 10 else f'{view.step_s:.2f}s'}{say('/step')}", "plain"))
    if view.tokens_per_s_per_device:
        facts.append((f"{value_text(view.tokens_per_s_per_device, 3)} {say('tok/s/NPU')}", "plain"))
    return facts


def _places(view: JobView, verdict: str) -> list[Span]:
    facts: list[Span] = [(f"✗ {verdict}", "bad")] if verdict else []
    saved: list[Span] = [(say("saved at {n}", n=view.saved_iteration), "good")] if view.saved_iteration is not None else []
    if verdict:
        facts += saved  # what is left of it matters more than where it ran
    for node, ranks, tone in view.ranks:
        words = f"{node} " + (say("ranks {r}", r=ranks) if ranks else say("no ranks yet"))
        facts.append((words, tone if tone in ("bad", "warn") else "plain"))
    if not verdict:
        facts += saved
    if view.progress_age_s is not None and view.status.text in ("running", "saving", "stalled"):
        facts.append((say("stepped {age} ago", age=age_text(view.progress_age_s)), "dim" if view.progress_age_s < 60 else "warn"))
    if view.attempts > 1:
        facts.append((say("{n} attempts", n=view.attempts), "plain"))
    if view.round:
        facts.append((say("round {n}", n=view.round), "plain"))
    if view.attempt:
        facts.append((view.attempt, "dim"))
    return facts


class JobLine(LinePane):
    """Pane ``job``."""

    pane_name: ClassVar[str] = "job"
    of_the_moment: ClassVar[bool] = False

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        run = state.current
        if run is None:
            self.retitle(say("Job"))
            return [[("  " + say("no job: start one with rankdeck launch JOB.yaml"), "dim")]]
        from console.core.triage.attribute import root_cause

        cause = root_cause(state, run.job)
        verdict = ""
        if cause is not None:
            rank = say("rank {rank}", rank=cause.first.rank) if cause.first.rank is not None else ""
            verdict = say("first to fail: {who}", who=" ".join(part for part in (cause.first.node, rank, cause.first.code) if part))
        self.retitle(say("Job"))
        view = job_view(state, run, now)
        if self.context.moment is not None:
            view = _then(state, run, view, self.context.moment)
        return draw_job(view, verdict, width, height)


def _then(state: FleetState, run: RunState, view: JobView, moment: float) -> JobView:
    """The view as far as it is known of a moment in the past."""
    from console.core.fleet.run_times import iteration_at

    at = iteration_at(state, run, moment)
    saved = [seen.iteration for seen in run.checkpoints.values() if seen.state == "saved" and our_time(state, seen.node, seen.time) <= moment]
    attempt = max((name for name, known in run.attempts.items() if known.started_at and known.started_at <= moment), default="")
    return replace(view, iteration=at, loss=value_at(run.series["loss"], at), eta_s=None, progress_age_s=None, saved_iteration=max(saved, default=None),
                   attempt=attempt, status=Badge(glyph="‖", text=say("then"), tone="warn"), ranks=view.ranks if attempt == view.attempt else ())
