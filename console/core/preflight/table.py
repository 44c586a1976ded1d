"""The table of checks, and the judgement: facts in, one report out. Pure.

A new check is a function in one of the modules beside this and a row here. ``docs/guide/check.md`` lists
every id; a test holds it to that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from console.core.errors import FileError
from console.core.i18n import recognised, say
from console.core.preflight import device_checks as device
from console.core.preflight import job_checks as job
from console.core.preflight import machine_checks as machine
from console.core.preflight import saved_checks as saved
from console.core.preflight import software_checks as software
from console.core.preflight.facts import LEVELS, Case, Level
from console.core.preflight.finding import Check, Finding, each_node, each_npu_node, names
from trainer.spec.job import JobSpec

CHECKS: tuple[Check, ...] = (
    Check(id="node-reachable", title="the node answers", level="quick", severity="error", run=machine.reachable),
    Check(id="node-answer", title="nothing of the answer is missing", level="quick", severity="unknown", run=each_node(machine.answered)),
    Check(id="agent-python", title="Python 3.7 or later for the agent", level="quick", severity="error", run=each_node(machine.agent_python)),
    Check(id="npu-tool", title="npu-smi answers", level="quick", severity="error", run=each_npu_node(device.tool), of="npu"),
    Check(id="npu-count", title="as many NPUs as expected", level="quick", severity="error", run=each_npu_node(device.count), of="npu"),
    Check(id="npu-health", title="every NPU is OK", level="quick", severity="error", run=each_npu_node(device.health), of="npu"),
    Check(id="npu-occupied", title="nobody holds the NPUs", level="quick", severity="error", run=each_npu_node(device.occupied), of="npu"),
    Check(id="npu-same", title="the same kind of NPU everywhere", level="quick", severity="warning", run=software.same_chip, of="npu"),
    Check(id="driver-same", title="the same driver everywhere", level="quick", severity="error", run=software.same_version("driver", "the driver"), of="npu"),
    Check(id="firmware-same", title="the same firmware everywhere", level="quick", severity="error", run=software.same_version("firmware", "the firmware"), of="npu"),
    Check(id="cann-same", title="the same CANN everywhere", level="quick", severity="error", run=software.same_version("cann", "CANN"), of="npu"),
    Check(id="disk-space", title="room and inodes", level="quick", severity="warning", run=each_node(machine.space)),
    Check(id="shm-size", title="shared memory", level="quick", severity="warning", run=each_node(machine.shared_memory)),
    Check(id="ulimits", title="open files, processes, locked memory", level="quick", severity="warning", run=each_node(machine.limits)),
    Check(id="ports-free", title="rendezvous and HCCL ports are free", level="quick", severity="error", run=each_node(machine.ports)),
    Check(id="ports-reserved", title="needed ports are kept from outgoing connections", level="quick", severity="warning", run=each_node(machine.ports_reserved)),
    Check(id="ip-forward", title="IP forwarding for containers", level="quick", severity="error", run=each_node(machine.ip_forward), of="container"),
    Check(id="nic", title="the network interface", level="quick", severity="error", run=each_node(machine.interface)),
    Check(id="nic-same", title="the same network interface everywhere", level="quick", severity="warning", run=machine.same_interface),
    Check(id="mtu-same", title="the same MTU everywhere", level="quick", severity="warning", run=machine.same_mtu),
    Check(id="clock-kept", title="the clock is kept right", level="quick", severity="warning", run=each_node(machine.clock_kept)),
    Check(id="clock-offset", title="the clocks agree", level="quick", severity="warning", run=machine.clock_offset),
    Check(id="work-dir", title="the work directory", level="quick", severity="error", run=each_node(job.work_dir), of="job"),
    Check(id="job-paths", title="the job's files and directories", level="quick", severity="error", run=each_node(job.paths), of="job"),
    Check(id="engine", title="a container engine", level="standard", severity="error", run=each_node(software.engine), of="container"),
    Check(id="engine-daemon", title="the container engine answers", level="standard", severity="error", run=each_node(software.daemon), of="container"),
    Check(id="image", title="the image is there", level="standard", severity="error", run=each_node(software.image), of="container"),
    Check(id="image-same", title="the same image everywhere", level="standard", severity="error", run=software.same_image, of="container"),
    Check(id="container-mounts", title="what is mounted into the container", level="standard", severity="error", run=software.mounts, of="container"),
    Check(id="container-name", title="the container's name is free", level="standard", severity="error", run=each_node(software.container_name), of="container"),
    Check(id="runner", title="the job's interpreter and its packages", level="standard", severity="error", run=each_node(software.runner), of="job"),
    Check(id="runner-same", title="the same packages everywhere", level="standard", severity="error", run=software.same_modules, of="job"),
    Check(id="npu-link", title="the NPUs' network links", level="standard", severity="error", run=each_npu_node(device.link), of="npu"),
    Check(id="npu-address", title="an address for each NPU", level="standard", severity="error", run=device.address, of="npu"),
    Check(id="npu-tls", title="the same TLS switch on all NPUs", level="standard", severity="error", run=software.same_tls, of="npu"),
    Check(id="storage", title="checkpoint storage is what the job says", level="standard", severity="error", run=job.storage, of="job"),
    Check(id="job-rules", title="data and checkpoints fit the job's rules", level="standard", severity="error", run=saved.fits, of="job"),
    Check(id="npu-ping", title="all NPUs reach each other", level="deep", severity="error", run=device.ping, of="npu"),
    Check(id="disk-speed", title="how fast checkpoints are written", level="deep", severity="warning", run=each_node(machine.disk_speed), of="job"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of all checks of a level."""

    case: Case
    checks: tuple[Check, ...]
    """Those that were run."""
    findings: tuple[Finding, ...]
    """In the order of the table; waived ones too."""

    @property
    def ok(self) -> bool:
        """No error that was not waived."""
        return not any(finding.severity == "error" and finding.waived is None for finding in self.findings)

    @property
    def remediable(self) -> tuple[Finding, ...]:
        """Findings that the agent can mend."""
        return tuple(finding for finding in self.findings if finding.remedy is not None and finding.waived is None)


def judge(case: Case, waivers: Mapping[str, str] | None = None, checks: Iterable[Check] = CHECKS) -> Report:
    """Run the checks of the case's level that have something to look at. ``waivers``: check id -> why it may fail."""
    ran = tuple(check for check in checks if LEVELS.index(check.level) <= LEVELS.index(case.level) and check.applies(case))
    findings = [dataclasses.replace(finding, id=check.id, severity=finding.severity or check.severity, waived=(waivers or {}).get(check.id))
                for check in ran for finding in check.run(case)]
    return Report(case=case, checks=ran, findings=tuple(findings))


def waivers_of(spec: JobSpec | None) -> dict[str, str]:
    """The checks that a job file waives, with its reasons; its other waivers are of the plan's rules. Raises FileError."""
    known = {each.id for each in CHECKS}
    return checked_waivers({waiver.id: waiver.reason for waiver in spec.preflight.waive if waiver.id in known}, "preflight.waive") if spec else {}


def checked_waivers(waivers: Mapping[str, str], where: str) -> dict[str, str]:
    """The waivers, when their ids exist and each has a reason. Raises FileError."""
    known = {check.id for check in CHECKS}
    for name, reason in waivers.items():
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise FileError(f"there is no check {name}", where=where, got=name, expected="an id from docs/guide/check.md",
                            fix=f"Did you mean {near[0]}?" if near else "")
        if not reason.strip():
            raise FileError(f"check {name} is waived without a reason", where=where, got="nothing", expected=f"{name}=why it may fail", fix="Say why")
    return dict(waivers)


def state_of(report: Report, check: Check, node: str) -> str:
    """One cell of the matrix: error, warning, unknown, info, waived, ok; "-" for a node that was not reached."""
    mine = [finding for finding in report.findings if finding.id == check.id and finding.node == node]
    live = [finding.severity for finding in mine if finding.waived is None]
    for state in ("error", "warning", "unknown", "info"):
        if state in live:
            return state
    if mine:
        return "waived"
    reached = {each.name for each in report.case.reached}
    return "ok" if node in reached else "-"


def report_mapping(report: Report, fleet: str) -> dict[str, Any]:
    """The document of ``rankdeck check --json`` (schema/check.schema.json)."""
    case = report.case
    return {
        "ok": report.ok, "fleet": fleet, "job": case.job.run.name if case.job else None, "level": case.level,
        "nodes": [{"node": node.name, "reached": node.reached, "why": node.why, "took_s": node.took_s,
                   "clock_offset_s": node.clock_offset_s, "absent": dict(node.absent)} for node in case.nodes],
        "checks": [{"id": check.id, "title": check.title, "level": check.level, "severity": check.severity,
                    "nodes": {node.name: state_of(report, check, node.name) for node in case.nodes},
                    "between": state_of(report, check, "") if any(f.id == check.id and not f.node for f in report.findings) else "ok"}
                   for check in report.checks],
        "problems": [{"rule": finding.id, "severity": finding.severity, "node": finding.node or None, "where": finding.where, "message": finding.what,
                      "got": finding.got, "expected": finding.expected, "fix": finding.fix, "command": finding.command or None,
                      "remedy": {"name": finding.remedy.name, "subject": finding.remedy.subject, "argv": list(finding.remedy.argv)} if finding.remedy else None,
                      "waived": finding.waived} for finding in report.findings],
    }


def report_text(report: Report, fleet: str) -> str:
    """The report for people, in their language: the worst first, each with what to type."""
    case = report.case
    live = [finding for finding in report.findings if finding.waived is None]
    counts = {severity: sum(finding.severity == severity for finding in live) for severity in ("error", "warning", "unknown", "info")}
    reached = sum(node.reached for node in case.nodes)
    subject = say("job {job} on fleet {fleet}", job=case.job.run.name, fleet=fleet) if case.job else say("fleet {fleet}", fleet=fleet)
    tally = ", ".join(f"{number} {say(_plural(severity, number))}" for severity, number in counts.items() if number) or say("nothing found")
    lines = [say("{verdict}: {subject}, {reached} of {all} nodes, {n} checks ({level}): {tally}", verdict=say("Fit") if report.ok else say("Not fit"), subject=subject,
                 reached=reached, all=len(case.nodes), n=len(report.checks), level=case.level, tally=tally)]
    for severity in ("error", "warning", "unknown", "info"):
        for finding, nodes in _alike([finding for finding in live if finding.severity == severity]):
            lines += ["", *finding_lines(finding, nodes)]
    waived = [finding for finding in report.findings if finding.waived is not None]
    if waived:
        lines += ["", say("Waived:")]
        lines += [f"  {finding.id}  {say(names(nodes))}{': ' if nodes else ''}{recognised(finding.what)} ({finding.waived})" for finding, nodes in _alike(waived)]
    ids = list(dict.fromkeys(finding.id for finding in report.remediable))
    if ids:
        lines += ["", say("Can be mended from here, after you have confirmed it: {options}", options=", ".join(f"--fix {name}" for name in ids))]
    return "\n".join(lines) + "\n"


def findings_text(report: Report, severities: Iterable[str]) -> str:
    """The findings of these severities that were not waived, each with its four parts; "" where there are none."""
    wanted = tuple(severities)
    live = [finding for severity in wanted for finding in report.findings if finding.waived is None and finding.severity == severity]
    return "\n".join(line for finding, nodes in _alike(live) for line in finding_lines(finding, nodes))


def _alike(findings: list[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that say the same of several nodes once, with those nodes."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(dataclasses.replace(finding, node=""), []).append(finding.node)
    return [(finding, [node for node in nodes if node]) for finding, nodes in groups.items()]


def finding_lines(finding: Finding, nodes: list[str]) -> list[str]:
    """One finding of these nodes on one to four lines."""
    place = ": ".join(say(part) for part in (names(nodes), finding.where) if part)
    lines = [f"{say(finding.severity or ''):<7} {finding.id}  {place + ': ' if place else ''}{recognised(finding.what)}"]
    if finding.got or finding.expected:
        lines.append("        " + (say("got {got}; expected {expected}", got=recognised(finding.got or "nothing"), expected=recognised(finding.expected)) if finding.expected
                                   else say("got {got}", got=recognised(finding.got))))
    if finding.fix:
        lines.append(f"        {recognised(finding.fix)}")
    if finding.command:
        lines.append(f"        $ {finding.command}")
    return lines


def _plural(severity: str, number: int) -> str:
    return severity + ("s" if severity in ("error", "warning") and number != 1 else "")


def level_of(text: str) -> Level:
    """One of LEVELS. Raises FileError."""
    for level in LEVELS:
        if level == text:
            return level
    raise FileError("there is no such level", where="--level", got=text, expected=", ".join(LEVELS))
