"""What a launch is held against before anything of it starts: preflight's checks, on its own nodes.

Owns how thorough the checks are, what of them lets a launch through, and how a launch that is not checked is
told to the nodes. A finding of severity error that was not waived stops it; warnings, infos and what could
not be looked at do not. Refuses to judge (``core.preflight``) and to start anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from console.core.clock import Clock
from console.core.errors import ConsoleError, LaunchError
from console.core.i18n import phrase, worded
from console.core.launch.inventory import Node
from console.core.launch.plan import LaunchPlan
from console.core.preflight.facts import Level, NodeFacts
from console.core.preflight.finding import Finding
from console.core.preflight.table import Report, judge, waivers_of
from console.remote.check import Check, Nodes
from trainer.spec.job import JobSpec, SpecError, from_mapping

TIMEOUT_S: Mapping[Level, float] = {"quick": 20.0, "standard": 90.0, "deep": 90.0}
"""For one node's facts. From standard on the job's interpreter is started, and that may be slow."""


class NotFitError(LaunchError):
    """Nodes that are not fit for the job; nothing was changed on any. ``report`` has every finding."""

    def __init__(self, report: Report) -> None:
        self.errors = [finding for finding in report.findings if finding.severity == "error" and finding.waived is None]
        first, more = self.errors[0], len(self.errors) - 1
        what = (phrase("the nodes are not fit for the job: {what}, and {n} more", what=worded(first.what), n=more) if more else
                phrase("the nodes are not fit for the job: {what}", what=worded(first.what)))
        super().__init__(what, node=first.node, phase="preflight",
                         where=place(first), got=first.got, expected=first.expected, fix=(first.fix + f" (check {first.id}; see rankdeck check)").strip())
        self.report = report


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """How one launch is checked."""

    level: Level | Literal["none"]
    job: JobSpec | None
    """None: there is nothing to hold the nodes against."""
    waivers: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    """Who wanted no checks; for the nodes' audit trail."""
    timeout_s: float | None = None
    """For one node's facts; None: by the level."""
    tell: Callable[[str, str], None] = lambda node, text: None
    """Progress: (node, what)."""
    told: Callable[[Report], None] = lambda report: None
    """Hears the report, fit or not."""

    @property
    def open(self) -> bool:
        """Whether nothing is checked."""
        return self.level == "none" or self.job is None

    def carry_out(self, links: Nodes, nodes: Sequence[Node], clock: Clock) -> Report:
        """Ask the nodes and judge. Raises NotFitError; never for what a single node does."""
        assert self.job is not None and self.level != "none"
        check = Check(links=links, nodes=nodes, clock=clock, level=self.level, job=self.job, timeout_s=self.timeout_s or TIMEOUT_S[self.level], tell=self.tell)
        case = check.carry_out()
        report = judge(replace(case, nodes=tuple(_timed(links, node) for node in case.nodes)), self.waivers)
        self.told(report)
        if not report.ok:
            raise NotFitError(report)
        return report


def gate_of(plan: LaunchPlan, *, skip: str = "") -> Gate:
    """The gate that the plan's own job file asks for. ``skip``: who wants no checks at all; "" for nobody.

    Raises FileError for a waiver without a reason.
    """
    spec = _spec(plan)
    if skip:
        return Gate(level="none", job=spec, why=skip)
    level = spec.preflight.level if spec else "none"
    return Gate(level=level, job=spec, waivers=waivers_of(spec), why="preflight.level: none in the job file" if spec and level == "none" else "")


def place(finding: Finding) -> str:
    """Node and place of a finding on one line."""
    return ": ".join(part for part in (finding.node, finding.where) if part)


def _spec(plan: LaunchPlan) -> JobSpec | None:
    """The job as the plan's nodes will have it."""
    try:
        found = json.loads(plan.nodes[0].files.get("job.json") or "{}") if plan.nodes else {}
        return from_mapping(found)
    except (ValueError, SpecError, TypeError):
        return None


def _timed(links: Nodes, node: NodeFacts) -> NodeFacts:
    if not node.reached:
        return node
    try:
        known = links.session(node.name, 1.0).clock_offset
    except ConsoleError:
        known = None
    return replace(node, clock_offset_s=known[0], clock_error_s=known[1]) if known else node
