"""A launch, worked out: what will be written and run on each node. Pure types; nothing here does I/O.

``make_plan`` (beside the types it fills) turns a ``JobSpec`` and an ``Inventory`` into a ``LaunchPlan``.
``rankdeck plan`` prints ``plan_mapping(plan)`` (DESIGN section 8) and the launcher runs exactly that: the
script of the ``start`` command is the ``command.sh`` that the shim executes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding of validation, in four parts (what, where, got and expected, next move)."""

    rule: str
    """Id of the rule, e.g. P1 (reference of rules: docs)."""
    severity: Severity
    where: str
    """file:line:column, as near as it is known."""
    message: str
    got: str = ""
    expected: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommand:
    """One thing done on one node. Either ``argv`` (executed as it is) or ``script`` (given to bash)."""

    phase: str
    """One of core.events.LaunchPhase."""
    argv: tuple[str, ...] = ()
    script: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """Everything for one node."""

    node: str
    node_index: int
    """Place in the job file, from 0. Not a rank: ranks are read from the workers."""
    dir: str
    """``<work>/.rankdeck/<job>/<attempt>/<node>``, absolute or starting with ``~/``."""
    files: Mapping[str, str]
    """Name in ``dir`` -> text, written at prepare."""
    devices: tuple[int, ...]
    """Davinci indices to lock."""
    commands: tuple[NodeCommand, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The whole launch. ``ok`` is false when any problem is an error; it must not be submitted then."""

    job: str
    attempt: str
    nodes: tuple[NodePlan, ...]
    problems: tuple[Problem, ...]
    derived: Mapping[str, Any]
    """world_size, data_parallel_size, num_microbatches, saves, save_iterations, ..."""
    ttl_s: float = 60.0
    """How long a prepared node waits for its commit."""

    @property
    def ok(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)
