"""The one interface behind which a launch engine sits: plan, submit, observe, cancel.

``ssh`` is the first engine (``ssh_backend.SshBackend``); Slurm is the second one day. There the nodes are
known only after the grant, so nothing above this file may take the plan's nodes for the nodes that run:
``observe`` tells, as events, who takes part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from console.core.events import FleetEvent
from console.core.launch.inventory import Inventory
from console.core.launch.plan import LaunchPlan
from trainer.spec.job import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A launch that was accepted: what identifies it from now on."""

    job: str
    attempt: str
    epoch: int
    nodes: tuple[str, ...]


class LaunchBackend(Protocol):
    """An engine that can run jobs. Calls block; progress arrives as events through ``emit``."""

    def plan(self, spec: JobSpec, inventory: Inventory, attempt: str) -> LaunchPlan:
        """What ``submit`` would do; no connection is made."""

    def submit(self, plan: LaunchPlan, emit: Callable[[FleetEvent], None]) -> Submission:
        """Start the plan on all nodes or on none.

        Emits ``LaunchProgress``. Raises LaunchError (what was done has been undone), ConnectError.
        """

    def observe(self, submission: Submission, emit: Callable[[FleetEvent], None]) -> None:
        """Begin to send what happens on the submission's nodes; returns at once."""

    def cancel(self, submission: Submission, grace_s: float, why: str) -> None:
        """SIGTERM, ``grace_s`` seconds, SIGKILL on all its nodes. Raises RequestError naming the nodes that failed."""
