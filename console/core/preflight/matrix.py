"""A report as a matrix of checks and nodes, the worst first, and what is behind each cell. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.core.fleet.views import natural_key
from console.core.preflight.finding import Check, Finding
from console.core.preflight.table import Report

STATES = ("error", "warning", "unknown", "info", "waived", "-", "ok")
"""The worst first; "-": the node was not reached."""
BETWEEN = ""
"""The column of what is wrong between nodes and belongs to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One check. ``cells``: node -> one of STATES; BETWEEN is there as well."""

    check: Check
    worst: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``nodes``: the columns behind BETWEEN, the worst first; ``counts``: state -> findings that were not waived."""

    rows: tuple[Row, ...]
    nodes: tuple[str, ...]
    counts: Mapping[str, int]
    findings: Mapping[tuple[str, str], tuple[Finding, ...]]
    """(check id, node) -> what was found."""


def matrix(report: Report) -> Matrix:
    """The report, arranged; rows and columns with the worst state come first, then those with more of it."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        found.setdefault((finding.id, finding.node), []).append(finding)
    names = [node.name for node in report.case.nodes]
    reached = {node.name for node in report.case.reached}
    rows = []
    for check in report.checks:
        cells = {name: _state(found.get((check.id, name), ()), "ok" if name in reached or name == BETWEEN else "-") for name in (BETWEEN, *names)}
        rows.append(Row(check=check, worst=min(cells.values(), key=STATES.index), cells=cells))
    # A node that was not reached says nothing about a check.
    rows.sort(key=lambda row: _badness([state for state in row.cells.values() if state != "-"]))
    columns = {name: _badness([row.cells[name] for row in rows]) for name in names}
    return Matrix(rows=tuple(rows), nodes=tuple(sorted(names, key=lambda name: (columns[name], natural_key(name)))),
                  counts={state: sum(finding.severity == state and finding.waived is None for finding in report.findings) for state in STATES[:4]},
                  findings={place: tuple(mine) for place, mine in found.items()})


def _state(findings: list[Finding] | tuple[Finding, ...], otherwise: str) -> str:
    live = [str(finding.severity) for finding in findings if finding.waived is None]
    return min(live, key=STATES.index) if live else "waived" if findings else otherwise


def _badness(states: list[str]) -> tuple[int, ...]:
    return tuple(-states.count(state) for state in STATES[:5])


def remedies(found: Matrix, check: str, node: str) -> tuple[Finding, ...]:
    """What can be mended from here of one cell; of BETWEEN: of all nodes."""
    return tuple(finding for (name, place), mine in found.findings.items() if name == check and node in (place, BETWEEN)
                 for finding in mine if finding.remedy is not None and finding.waived is None)
