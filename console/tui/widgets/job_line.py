"""The job at a glance: state, progress and pace on one line, where its ranks are on the next."""

from __future__ import annotations

from typing import ClassVar

from console.core.fleet.run_views import JobView, job_view
from console.core.fleet.state import FleetState
from console.core.fleet.views import age_text, duration_text, value_text
from console.core.i18n import say
from console.core.triage.attribute import root_cause
from console.tui.lines import Line, Span, bar, clip, width_of
from console.tui.widgets.line_pane import LinePane

_TONES = {"good": "good", "warn": "warn", "bad": "alarm", "busy": "busy", "off": "strong"}


def draw_job(view: JobView, verdict: str, width: int) -> list[Line]:
    """Two lines of at most ``width`` cells; ``verdict`` names who failed first, or is empty."""
    name_cells = max(8, min(28, width // 4))
    first: Line = [(" ", "plain"), (f"{view.status.glyph} {view.status.text}", _TONES.get(view.status.tone, "plain")),
                   ("  ", "plain"), (clip(view.job, name_cells), "name"), ("  ", "plain")]
    facts: list[Span] = []
    if view.iteration is not None:
        facts.append((f"{view.iteration}" + (f"/{view.total}" if view.total else ""), "strong"))
    if view.loss is not None:
        facts.append((f"{say('loss')} {value_text(view.loss, 5)}", "curve" if view.loss == view.loss else "alarm"))
    if view.step_s:
        facts.append((f"{duration_text(view.step_s) if view.step_s >= 10 else f'{view.step_s:.2f}s'}{say('/step')}", "plain"))
    if view.tokens_per_s_per_device:
        facts.append((f"{value_text(view.tokens_per_s_per_device, 3)} {say('tok/s/NPU')}", "plain"))
    if view.eta_s is not None and view.eta_s > 0:
        facts.append((f"{say('left')} {duration_text(view.eta_s)}", "strong"))
    if view.iteration is None:
        facts.append((say("no iteration yet"), "dim"))
    tail = [span for fact in facts for span in (fact, ("  ", "plain"))]
    room = width - width_of(first) - width_of(tail) - 8
    if view.fraction is not None and room >= 6:
        share = view.fraction
        cells = min(room, 40)
        text = bar(share, cells)
        first += [("▕", "dim"), (text.rstrip(), "good" if view.status.tone == "good" else "dim"),
                  (" " * (cells - len(text.rstrip())), "plain"), ("▏", "dim"), (f"{share:>4.0%}  ", "strong")]
    first += tail

    second: Line = [("   ", "plain")]
    if verdict:
        second += [(f"✗ {verdict}", "bad"), ("  ", "plain")]
    for node, ranks, tone in view.ranks:
        words = f"{node} " + (say("ranks {r}", r=ranks) if ranks else say("no ranks yet"))
        second += [(words, "bad" if tone == "bad" else "warn" if tone == "warn" else "plain"), (" · ", "dim")]
    if view.saved_iteration is not None:
        second += [(say("saved at {n}", n=view.saved_iteration), "good"), (" · ", "dim")]
    if view.progress_age_s is not None and view.status.text in ("running", "saving", "stalled"):
        second += [(say("newest iteration {age} ago", age=age_text(view.progress_age_s)), "dim" if view.progress_age_s < 60 else "warn"),
                   (" · ", "dim")]
    tries = [say("attempt {id}", id=view.attempt)] if view.attempt else []
    if view.attempts > 1:
        tries.append(say("{n} attempts", n=view.attempts))
    if view.round:
        tries.append(say("round {n}", n=view.round))
    second.append((", ".join(tries), "dim"))
    return [first, second]


class JobLine(LinePane):
    """Pane ``job``."""

    pane_name: ClassVar[str] = "job"

    def draw(self, state: FleetState, now: float, width: int, height: int) -> list[Line]:
        run = state.current
        if run is None:
            self.retitle(say("Job"))
            return [[("  " + say("no job: start one with rankdeck launch JOB.yaml"), "dim")]]
        cause = root_cause(state, run.job)
        verdict = ""
        if cause is not None:
            rank = say("rank {rank}", rank=cause.first.rank) if cause.first.rank is not None else ""
            verdict = say("first to fail: {who}", who=" ".join(part for part in (cause.first.node, rank, cause.first.code) if part))
        self.retitle(say("Job"))
        return draw_job(job_view(state, run, now), verdict, width)
