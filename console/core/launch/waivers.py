"""Rules and checks that a job file waives, by id and with a reason. Pure.

A waived finding stays in the plan as information, with its reason; what a launch could not even be worked out
with cannot be waived.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches

from console.core.launch.rule_table import RULES
from trainer.spec.finding import Finding, error, warning
from trainer.spec.job import JobSpec


def apply(spec: JobSpec, found: Iterable[Finding]) -> list[Finding]:
    """The findings, those that the job waives turned into information, and what is wrong with the waivers (rule R3)."""
    found = list(found)
    reasons: dict[str, str] = {}
    extra: list[Finding] = []
    for at, waiver in enumerate(spec.preflight.waive):
        path = ("preflight", "waive", str(at))
        checks = _checks()
        if waiver.id in checks:
            # Judged on the nodes, and waived there; here only the reason can be looked at.
            if len(waiver.reason.strip()) < 3:
                extra.append(error("R3", (*path, "reason"), f"check {waiver.id} is waived without a reason", repr(waiver.reason),
                                   "a sentence for those who come after", "Say why it is all right here"))
        elif waiver.id not in RULES:
            near = get_close_matches(waiver.id, [*RULES, *checks], n=1, cutoff=0.3)
            extra.append(error("R3", (*path, "id"), "there is no such rule", waiver.id, "an id of docs/guide/rules.md or docs/guide/check.md",
                               f"Did you mean {near[0]}?" if near else ""))
        elif not RULES[waiver.id].waivable:
            extra.append(error("R3", (*path, "id"), f"rule {waiver.id} cannot be waived: nothing could be launched without it", waiver.id, "another rule",
                               "Mend what it finds"))
        elif len(waiver.reason.strip()) < 3:
            extra.append(error("R3", (*path, "reason"), f"rule {waiver.id} is waived without a reason", repr(waiver.reason), "a sentence for those who come after",
                               "Say why it is all right here"))
        else:
            reasons[waiver.id] = waiver.reason.strip()
            if not any(finding.rule == waiver.id and finding.severity != "info" for finding in found):
                extra.append(warning("R3", path, f"rule {waiver.id} is waived and finds nothing", waiver.id, "a waiver that is needed", "Take it out"))
    waived = [replace(finding, severity="info", message=f"{finding.message} (waived: {reasons[finding.rule]})")
              if finding.rule in reasons and finding.severity != "info" else finding for finding in found]
    return [*waived, *extra]


def _checks() -> frozenset[str]:
    """Ids of preflight's checks. Looked up late: a plan without waivers does not need them."""
    from console.core.preflight.table import CHECKS

    return frozenset(check.id for check in CHECKS)
