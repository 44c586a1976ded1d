"""A desk over one demo fleet: the console's own, over the demo's files, and how its job is launched.

It sees the fleet through SSH alone; what it knows of the demo is where its files lie.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from console import desk, files
from console.core.errors import LaunchError
from console.core.events import FleetEvent, LaunchProgress, LinkChanged
from console.core.launch.problems import problem_text
from console.core.launch.progress import progress_text
from console.lab.fleet import DemoFleet

if TYPE_CHECKING:
    from console.remote.backend import Submission

_LAUNCHED = "launched"


class Desk(desk.Desk):
    """Opened on construction; nothing connects before ``start``."""

    def __init__(self, fleet: DemoFleet) -> None:
        # The operator's ~/.ssh/config is about other hosts and must not bend the way to these.
        super().__init__(files.read_fleet(str(fleet.fleet_file)), store_path=fleet.store_file, ssh_config="/dev/null")
        self.fleet = fleet
        # So that the first picture shows nodes that were never met yet.
        self.store.ingest([LinkChanged(node=node.name, at=self.clock.wall_s(), state="connecting") for node in self.inventory.nodes])

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Begin to connect to all nodes; returns at once."""
        self.supervisor.start()

    @property
    def launched(self) -> bool:
        """Whether a console of this demo has launched its job before."""
        return (self.fleet.root / _LAUNCHED).exists()

    def launch(self, say: Callable[[str], None] = lambda text: None) -> Submission:
        """Launch the demo's job as ``rankdeck launch`` does. Raises LaunchError, and what SshBackend raises."""
        def tell(event: FleetEvent) -> None:
            self.store.ingest([event])
            if isinstance(event, LaunchProgress) and event.state in ("done", "failed"):
                say(progress_text(replace(event, took_s=None), event.job))

        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.clock.wall_s()))
        job = files.read_job(str(self.fleet.job_file))
        plan = self.backend.plan(job.spec, self.inventory, f"{stamp}-{secrets.token_hex(2)}")
        if not plan.ok:
            raise LaunchError("the demo's job has problems", node="", phase="preflight", where=str(self.fleet.job_file),
                              got="; ".join(problem_text(one) for one in plan.problems if one.severity == "error"))
        submission = self.backend.submit(plan, tell)
        (self.fleet.root / _LAUNCHED).write_text(submission.attempt + "\n", encoding="utf-8")
        self.backend.observe(submission, lambda event: None)
        return submission
