"""What a check finds, and what a check is. Pure.

A finding has the four parts of every message (what, where, got and expected, next move), the command that
would tell or mend it, and, where the agent can mend it safely, a remedy. The parts are English, to be said with
``i18n.say``: what is put together is a phrase, and what is not in the catalogue is a fact of the node.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from agent.catalogue import remedies
from console.core.i18n import Phrase, joined, phrase
from console.core.preflight.facts import REASONS, Case, Level, NodeFacts

Severity = Literal["error", "warning", "info", "unknown"]
"""unknown: it could not be looked at; that is neither fine nor broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A change that the agent can make: one of agent.catalogue.remedies."""

    name: str
    subject: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The exact command. Raises RemedyError."""
        return tuple(remedies.argv(self.name, self.subject))

    @property
    def command(self) -> str:
        """The same as a line to type."""
        return " ".join(word if word.startswith("~/") else shlex.quote(word) for word in self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be, on one node or between nodes (``node`` empty)."""

    what: str
    node: str = ""
    where: str = ""
    """The file, device or setting; shown behind the node's name."""
    got: str = ""
    expected: str = ""
    fix: str = ""
    command: str = ""
    """What to type on that node."""
    severity: Severity | None = None
    """None: the check's own."""
    remedy: Remedy | None = None
    id: str = ""
    """Of its check; set when it is judged."""
    waived: str | None = None
    """The reason that the operator gave for letting it pass."""


Found = Iterator[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row of the table. ``run`` is pure: facts in, findings out."""

    id: str
    title: str
    level: Level
    severity: Severity
    run: Callable[[Case], Iterable[Finding]]
    of: Literal["node", "npu", "job", "container"] = "node"
    """What there must be for it to make sense: NPUs that matter, a job, a container engine that may be wanted."""

    def applies(self, case: Case) -> bool:
        """Whether there is anything to look at."""
        if self.of == "npu":
            return case.uses_npus and any(node.node.npus for node in case.nodes)
        return case.job is not None if self.of == "job" else case.job is None or bool(case.engine) if self.of == "container" else True


def each_node(judge: Callable[[NodeFacts, Case], Iterable[Finding]]) -> Callable[[Case], Found]:
    """A check of every node that answered, for itself."""
    def run(case: Case) -> Found:
        for node in case.reached:
            yield from judge(node, case)
    return run


def each_npu_node(judge: Callable[[NodeFacts, Case], Iterable[Finding]]) -> Callable[[Case], Found]:
    """The same, of nodes that have NPUs and where these matter."""
    def run(case: Case) -> Found:
        for node in case.reached:
            if node.node.npus and case.uses_npus:
                yield from judge(node, case)
    return run


def unknown(node: NodeFacts, what: str, reason: str, *, where: str = "", fix: str = "", command: str = "") -> Finding:
    """A finding that says what could not be looked at, and why."""
    return Finding(node=node.name, severity="unknown", what=phrase("{what} is not known", what=what), where=where, got=REASONS.get(reason, reason), fix=fix, command=command)


def differing(case: Case, what: str, values: dict[str, str], *, fix: str, command: str = "", severity: Severity | None = None) -> Found:
    """One finding when the nodes' values are not all the same; values are by node, unknown ones left out before."""
    groups: dict[str, list[str]] = {}
    for node, value in values.items():
        groups.setdefault(value, []).append(node)
    if len(groups) > 1:
        most = max(groups, key=lambda value: len(groups[value]))
        odd = [node for value, nodes in groups.items() if value != most for node in nodes]
        yield Finding(what=phrase("{what} is not the same on all nodes", what=what), where=names(odd), severity=severity, command=command, fix=fix,
                      got=joined("; ", (phrase("{value} on {nodes}", value=value, nodes=names(nodes)) for value, nodes in groups.items())),
                      expected=phrase("one for all, as {value} on {n}", value=most, n=len(groups[most])))


def names(nodes: Iterable[str], most: int = 6) -> Phrase:
    """Node names on one line, a long list cut."""
    found = list(nodes)
    told = ", ".join(found[:most])
    return phrase("{names}", names=told) if len(found) <= most else phrase("{names} and {n} more", names=told, n=len(found) - most)
