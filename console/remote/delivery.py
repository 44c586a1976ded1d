"""The one way up: events of all nodes, in order, in batches, to whoever keeps them.

Session threads only enqueue. One thread hands everything to ``emit``, which returns when it is stored;
only then is the sender told, who then grants credit for as much again. A slow store therefore slows
the nodes down and nothing else: heartbeats, requests and answers do not pass through here. What could not
be stored is offered again until it can; meanwhile the nodes keep their records on their disks.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from console.core.events import FleetEvent

BATCH = 2000
"""Events in one call of ``emit`` at most, so that a long replay is stored (and seen) as it comes."""
RETRY_S = 1.0
log = logging.getLogger("console.remote")
log.addHandler(logging.NullHandler())


class Delivery:
    """A queue with one thread at its end."""

    def __init__(self, emit: Callable[[list[FleetEvent]], None]) -> None:
        self._emit = emit
        self._queue: deque[tuple[str, list[FleetEvent], Callable[[], None] | None]] = deque()
        self._pending: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._stopping = False
        self._taps: list[tuple[frozenset[str], Callable[[FleetEvent], None]]] = []
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def put(self, node: str, events: list[FleetEvent], stored: Callable[[], None] | None = None) -> None:
        """Enqueue a node's events; ``stored`` is called, from the delivery's thread, when they are kept."""
        with self._changed:
            self._queue.append((node, events, stored))
            self._pending[node] += 1
            self._changed.notify_all()

    def tap(self, nodes: frozenset[str], emit: Callable[[FleetEvent], None]) -> None:
        """Also show these nodes' events, once they are stored, to somebody else."""
        self._taps = [*self._taps, (nodes, emit)]

    def drained(self, node: str, timeout_s: float) -> bool:
        """Wait until everything that node has sent is stored; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending[node], timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Deliver what is there and end; False when that took too long."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                taken = self._take()
            if not taken:
                return
            events = [event for _, some, _ in taken for event in some]
            kept = self._keep(events)
            for _, _, stored in taken:
                if kept and stored is not None:
                    stored()
            with self._changed:
                for node, _, _ in taken:
                    self._pending[node] -= 1
                self._changed.notify_all()

    def _take(self) -> list[tuple[str, list[FleetEvent], Callable[[], None] | None]]:
        taken = []
        count = 0
        while self._queue and count < BATCH:
            item = self._queue.popleft()
            taken.append(item)
            count += len(item[1])
        return taken

    def _keep(self, events: list[FleetEvent]) -> bool:
        while True:
            try:
                self._emit(events)
                break
            except Exception:
                # Whatever the store's trouble is, losing the records would be worse.
                log.exception("%d events could not be stored; trying again", len(events))
                with self._changed:
                    if self._stopping or self._changed.wait_for(lambda: self._stopping, RETRY_S):
                        return False
        for nodes, emit in self._taps:
            for event in events:
                if getattr(event, "node", "") in nodes:
                    emit(event)
        return True
