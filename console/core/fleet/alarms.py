"""What in the fleet wants somebody's attention now, each thing under a name that stays. Pure.

An ``Alarm`` is derived from the state and holds until what caused it is gone; nothing is remembered here. The
bell, the hook, the metrics and ``status`` all ask ``alarms``, so that none of them knows of trouble that the
others do not. ``Alarm.key`` is the same at every look and in every console, so that one can be muted by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from console.core.fleet.run_views import job_view, newest_round
from console.core.fleet.state import FleetState, NodeState, RunState
from console.core.fleet.views import health_badge
from console.core.i18n import say
from console.core.records import dataclass
from console.core.spoken import spoken_text

Severity: TypeAlias = Literal["critical", "warning", "notice"]
"""critical: training stands or is about to; warning: look at it soon; notice: good to know (a job has finished)."""

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "notice")
ENDED_BADLY = ("failed", "ended early", "node lost", "did not start")
"""``run_views.job_badge`` of a job that does not train and was not asked to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that wants attention."""

    key: str
    """What it is about: ``node/NAME/link``, ``node/NAME/npu/N``, ``job/NAME/ATTEMPT/STATUS``,
    ``fault/ATTEMPT/ROUND/NODE/RULE``."""
    severity: Severity
    text: str
    """One line in the operator's language."""
    since: float | None
    """When it began, s since the epoch; None where nothing tells."""
    node: str = ""
    job: str = ""

    def mapping(self) -> dict[str, Any]:
        """As the hook gets it on its standard input, and ``--json`` prints it."""
        return {"key": self.key, "severity": self.severity, "text": self.text, "since": self.since, "node": self.node or None, "job": self.job or None}


def alarms(state: FleetState, now: float) -> tuple[Alarm, ...]:
    """Everything that wants attention at ``now`` (s since the epoch), the worst first, then the oldest."""
    found = [*(alarm for node in state.nodes.values() for alarm in _of_node(node))]
    if state.current is not None:
        found += _of_run(state, state.current, now)
    return tuple(sorted(found, key=lambda alarm: (SEVERITIES.index(alarm.severity), alarm.since or 0.0, alarm.key)))


def _of_node(node: NodeState) -> Iterator[Alarm]:
    if node.link in ("silent", "down", "refused"):
        yield Alarm(key=f"node/{node.name}/link", severity="warning" if node.link == "silent" else "critical", node=node.name, since=node.link_at,
                    text=say("{node}: no connection ({link}) {why}", node=node.name, link=say(node.link), why=spoken_text(node.link_why)).rstrip())
    if node.sample is None:
        return
    columns = node.sample.data.get("columns") or {}
    for at, word in enumerate(columns.get("health") or ()):
        badge = health_badge(word)
        if badge.tone in ("warn", "bad"):
            yield Alarm(key=f"node/{node.name}/npu/{at}", severity="critical" if badge.tone == "bad" else "warning", node=node.name,
                        since=None, text=say("{node}: NPU {n} reports {health}", node=node.name, n=at, health=badge.text))


def _of_run(state: FleetState, run: RunState, now: float) -> Iterator[Alarm]:
    attempt = run.latest
    if attempt is None:
        return
    view = job_view(state, run, now)
    status, last = view.status.text, run.last_iteration_time or attempt.started_at
    if status in ENDED_BADLY or status in ("stalled", "finished"):
        ends = [seen.time for seen in attempt.exits.values()]
        yield Alarm(
            key=f"job/{run.job}/{attempt.attempt}/{status.replace(' ', '-')}", job=run.job, since=last if status == "stalled" else max(ends, default=last),
            severity="critical" if status in ENDED_BADLY else "warning" if status == "stalled" else "notice",
            text=say("job {job}: {status} at iteration {n}", job=run.job, status=say(status), n="-" if view.iteration is None else view.iteration))
    if status == "finished":
        return
    number, seen_rules = newest_round(run, attempt), set()
    for fault in attempt.faults:
        rule, of_round = str(fault.data.get("rule")), int(fault.data.get("round") or 0)
        place = (fault.node, rule, of_round)
        # A round that was restarted in place has been answered; its faults are history.
        if fault.data.get("role") != "root" or of_round < number or place in seen_rules:
            continue
        seen_rules.add(place)
        yield Alarm(key=f"fault/{attempt.attempt}/{of_round}/{fault.node}/{rule}", severity="critical", node=fault.node, job=run.job, since=fault.time,
                    text=say("{node}: {code} in job {job}", node=fault.node, code=fault.data.get("code") or rule, job=run.job))
