"""A console's machinery over one demo fleet: store, supervisor and launch engine, opened and closed as one.

The same parts that ``rankdeck open`` and ``rankdeck launch`` put together, over the demo's own files. It sees
the fleet through SSH alone; what it knows of the demo is where its files lie.
"""

from __future__ import annotations

import getpass
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from console import files
from console.core.errors import LaunchError
from console.core.events import Answer, FleetEvent, LaunchProgress, LinkChanged
from console.core.fleet.state import FleetState
from console.core.launch.problems import problem_text
from console.lab.fleet import DemoFleet
from console.store import LogRing, Store

if TYPE_CHECKING:
    from console.remote.backend import Submission

_LAUNCHED = "launched"


class SystemClock:
    """The machine's own clocks."""

    def wall_s(self) -> float:
        return time.time()  # noqa: TID251 - the edge that supplies it

    def mono_s(self) -> float:
        return time.monotonic()


class Desk:
    """Opened on construction; nothing connects before ``start``."""

    def __init__(self, fleet: DemoFleet, *, armed: Callable[[], bool] = lambda: False) -> None:
        from console.remote.ssh_backend import SshBackend
        from console.remote.supervisor import Supervisor, transports

        self.fleet = fleet
        self.clock = SystemClock()
        self.inventory = files.read_fleet(str(fleet.fleet_file))
        self.store = Store(fleet.store_file, self.inventory.name)
        self.answered: deque[Answer] = deque(maxlen=1000)
        """What requests came to, for the screen's bottom line."""
        # So that the first picture shows nodes that were never met yet.
        self.store.ingest([LinkChanged(node=node.name, at=self.clock.wall_s(), state="connecting") for node in self.inventory.nodes])
        self.supervisor = Supervisor(
            self.inventory.nodes, clock=self.clock, operator=getpass.getuser(), armed=armed,
            # The operator's ~/.ssh/config is about other hosts and must not bend the way to these.
            transport_for=transports(self.inventory.known_hosts, config_path="/dev/null"),
            emit=self._emit, cursor=self.store.cursor)
        self.backend = SshBackend(self.supervisor, self.clock)

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Begin to connect to all nodes; returns at once."""
        self.supervisor.start()

    def close(self) -> None:
        """Hang up everywhere and close the store. The fleet and its job go on."""
        self.supervisor.stop()
        self.store.close()

    def _emit(self, events: list[FleetEvent]) -> None:
        self.store.ingest(events)
        self.answered.extend(event for event in events if isinstance(event, Answer))

    @property
    def launched(self) -> bool:
        """Whether a console of this demo has launched its job before."""
        return (self.fleet.root / _LAUNCHED).exists()

    def launch(self, say: Callable[[str], None] = lambda text: None) -> Submission:
        """Launch the demo's job as ``rankdeck launch`` does. Raises LaunchError, and what SshBackend raises."""
        def tell(event: FleetEvent) -> None:
            self.store.ingest([event])
            if isinstance(event, LaunchProgress) and event.state in ("done", "failed"):
                say(f"{event.node}: {event.phase} {event.state}{': ' + event.why if event.why else ''}")

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


class ScreenFeed:
    """The desk's store as the screen wants it (``console.tui.feed.Feed``)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def state(self) -> FleetState:
        return self._desk.store.state

    @property
    def logs(self) -> Mapping[tuple[str, str], LogRing]:
        return self._desk.store.logs

    def drain(self) -> bool:
        return self._desk.store.drain()

    def answers(self) -> Sequence[Answer]:
        found = []
        while self._desk.answered:
            found.append(self._desk.answered.popleft())
        return found
