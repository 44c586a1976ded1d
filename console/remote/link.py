"""One node, for as long as the console runs: connect, install if need be, talk, and start over when it breaks.

Owns the life of one link and its back-off. One thread a node, so that whatever blocks here blocks this
node alone. What the operator must decide (a host key, a login) is asked once, as ``refused``, and not tried
again until ``nudge``: hammering a server that says no gets an address banned.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from console.core.clock import Clock
from console.core.errors import ConnectError, ConsoleError, HostKeyError
from console.core.events import FleetEvent, LinkChanged, LinkState
from console.core.launch.inventory import Node
from console.remote import deploy
from console.remote.delivery import Delivery, log
from console.remote.heartbeat import Beat
from console.remote.session import AgentMissingError, Greeting, Session
from console.remote.transport import Connection, LoginError, Transport, UnreachableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """All the patience there is, in seconds."""

    connect_s: float = 15.0
    greet_s: float = 20.0
    """From starting the agent to its hello; a cold Python on a loaded node takes its time."""
    retry_s: float = 0.5
    """First wait after a loss; doubles."""
    retry_most_s: float = 30.0
    settled_s: float = 10.0
    """A session that lived so long was a good one: the next loss is waited out from the start again."""
    absent_tries: int = 3
    """Attempts in a row that were told that nobody is there, after which nobody waits for the node ..."""
    absent_s: float = 2.0
    """... or one, when the first of them began so long ago (a bastion says "no route" after seconds)."""
    return_s: float = 15.0
    """A node that was up is waited for all the same: its sshd or the bastion may be starting again."""
    drain_s: float = 30.0
    """How long to wait, before asking a node to go on, for what it sent before to be stored."""
    beat: Beat = field(default_factory=Beat)
    parallel_connects: int = 16
    """Connections being made at once. sshd begins to drop at 10 unauthenticated ones (MaxStartups 10:30:100),
    which concerns one server; through a bastion all nodes share one connection."""
    slot_s: float = 3.0
    """An attempt holds its place no longer than this: 100 dead nodes must not keep 28 live ones waiting."""


class Gate:
    """Lets a number of attempts in at a time, each for a while."""

    def __init__(self, places: int, hold_s: float) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._hold_s = hold_s

    def enter(self, stopping: threading.Event) -> Callable[[], None] | None:
        """Wait for a place; the call that gives it back (by itself after the hold), or None when stopping."""
        while not self._places.acquire(timeout=0.2):
            if stopping.is_set():
                return None
        left = threading.Lock()

        def leave() -> None:
            if left.acquire(blocking=False):
                timer.cancel()
                self._places.release()

        timer = threading.Timer(self._hold_s, leave)
        timer.daemon = True
        timer.start()
        return leave


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all links share."""

    transport_for: Callable[[Node], Transport]
    delivery: Delivery
    cursor: Callable[[str], Mapping[str, Any] | None]
    clock: Clock
    random: Callable[[], float]
    """Between 0 and 1."""
    gate: Gate
    operator: str
    console: str
    timing: Timing


class NodeLink:
    """See the module."""

    def __init__(self, node: Node, around: Surroundings) -> None:
        self.node = node
        self._around = around
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._nudged = False
        self._session: Session | None = None
        self._connection: Connection | None = None
        self._told: tuple[LinkState, str] | None = None
        self._trouble: ConnectError | None = None
        self._refused = False
        self._losses = 0
        self._absences = 0
        self._absent_from_s = 0.0
        self._lost_s: float | None = None
        self._followed: dict[str, int] = {}
        self._errands: deque[Callable[[], None]] = deque()
        self._running_errands = False
        self._thread = threading.Thread(target=self._live, name=f"link {node.name}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; ``join`` waits for it."""
        self._stopping.set()
        with self._changed:
            session, connection = self._session, self._connection
            self._changed.notify_all()
        # In a thread of its own: hanging up on a stuck peer may take a second, and there are 127 more nodes.
        threading.Thread(target=_hang_up, args=(session, connection), name=f"hang up {self.node.name}", daemon=True).start()

    def join(self, timeout_s: float) -> bool:
        """False when it has not ended in time (a connection attempt has a time limit of its own)."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def nudge(self) -> None:
        """Try again now: out of any back-off or refusal, and away from a link that has fallen silent."""
        with self._changed:
            self._nudged = True
            self._losses = self._absences = 0
            session = self._session
            self._changed.notify_all()
        if session is not None and self._told is not None and self._told[0] == "silent":
            session.close("the operator asked for a new connection")

    def session(self, timeout_s: float) -> Session:
        """The live session, waiting for one so long. Raises ConnectError (at once when it was refused, or nobody is there)."""
        with self._changed:
            self._changed.wait_for(lambda: self._up() or self._refused or self._nobody() or self._stopping.is_set(), timeout_s)
            if self._session is not None and self._session.alive:
                return self._session
            if self._trouble is not None:
                raise self._trouble
        raise ConnectError("not connected", where=self.node.name, got=f"no session within {timeout_s:g} s",
                           fix="Wait until the node is up, or look at why it is not.")

    def _up(self) -> bool:
        """Whether there is a session that has not ended; one that has is still here until our own thread hears of it."""
        return self._session is not None and self._session.alive

    def _nobody(self) -> bool:
        """Whether it is known that the node is not there: told so several times, and not up a moment ago."""
        timing, now_s = self._around.timing, self._around.clock.mono_s()
        if not self._absences or (self._absences < timing.absent_tries and now_s - self._absent_from_s < timing.absent_s):
            return False
        return self._lost_s is None or now_s - self._lost_s >= timing.return_s

    def connection(self, timeout_s: float) -> Connection:
        """The connection under the live session, for commands of one's own. Raises ConnectError."""
        self.session(timeout_s)
        with self._changed:
            if self._connection is None:
                raise ConnectError("the connection was lost a moment ago", where=self.node.name, fix="Try again.")
            return self._connection

    # --- logs ----------------------------------------------------------------------------------------

    def follow(self, path: str, lines: int, failed: Callable[[ConsoleError], None]) -> None:
        """Let a log flow, now and after every reconnect. Returns at once; ``failed`` hears of a refusal."""
        self._followed = {**self._followed, path: lines}
        self._later(lambda session: session.follow(path, lines), failed)

    def unfollow(self, path: str, failed: Callable[[ConsoleError], None]) -> None:
        """No longer. Returns at once."""
        self._followed = {kept: lines for kept, lines in self._followed.items() if kept != path}
        self._later(lambda session: session.unfollow(path), failed)

    def _later(self, ask: Callable[[Session], None], failed: Callable[[ConsoleError], None]) -> None:
        """Do it in order with what was asked before, in a thread that lives as long as there is something to do."""

        def errand() -> None:
            with self._changed:
                session = self._session
            if session is None:
                return  # done when it is up again
            try:
                ask(session)
            except ConsoleError as error:
                failed(error)

        with self._changed:
            self._errands.append(errand)
            if self._running_errands:
                return
            self._running_errands = True
        threading.Thread(target=self._run_errands, name=f"errands {self.node.name}", daemon=True).start()

    def _run_errands(self) -> None:
        while True:
            with self._changed:
                if not self._errands:
                    self._running_errands = False
                    return
                errand = self._errands.popleft()
            errand()

    # --- life ----------------------------------------------------------------------------------------

    def _live(self) -> None:
        while not self._stopping.is_set():
            self._nudged = False
            self._tell_connecting()
            up_s = self._around.clock.mono_s()
            try:
                why = self._once()
                self._lost_s = self._around.clock.mono_s()
                self._fail(ConnectError("the link was lost", where=self.node.name, got=why, fix="It is made anew."), "down")
                if self._around.clock.mono_s() - up_s >= self._around.timing.settled_s:
                    self._losses = 0
            except (HostKeyError, LoginError) as error:
                self._fail(error, "refused")
            except UnreachableError as error:
                self._absent_from_s = up_s if not self._absences else self._absent_from_s
                self._absences += 1
                self._fail(error, "down")
            except ConnectError as error:
                self._absences = 0
                self._fail(error, "down")
            except Exception as error:  # noqa: BLE001
                # An edge: a fault of ours in one node's thread must not end that node for the session.
                log.exception("link to %s", self.node.name)
                self._fail(ConnectError("the console failed at this node", where=self.node.name, got=f"{type(error).__name__}: {error}",
                                        fix="Please report this."), "down")
            self._wait()

    def _once(self) -> str:
        """One connection from its making to its end; why it ended. Raises ConnectError."""
        timing = self._around.timing
        leave = self._around.gate.enter(self._stopping)
        if leave is None:
            return "stopping"
        try:
            connection = self._around.transport_for(self.node).connect(self.node, timeout_s=timing.connect_s)
        finally:
            leave()
        with self._changed:
            self._connection = connection
        try:
            if self._stopping.is_set():
                return "stopping"
            # What the last session delivered must be stored before we say behind what to go on.
            self._around.delivery.drained(self.node.name, timing.drain_s)
            session = self._greeted(connection)
            return self._talk(session)
        finally:
            with self._changed:
                self._session = self._connection = None
            connection.close()

    def _greeted(self, connection: Connection) -> Session:
        try:
            return self._greet(connection)
        except AgentMissingError:
            self._tell("connecting", "installing the agent")
            deploy.install_agent(connection, self.node)
            return self._greet(connection)

    def _greet(self, connection: Connection) -> Session:
        around, name = self._around, self.node.name
        opened_wall_s = around.clock.wall_s()
        session = Session(name, connection.open(deploy.attach_command(self.node)), clock=around.clock, beat=around.timing.beat, opened_wall_s=opened_wall_s,
                          deliver=lambda events, stored: around.delivery.put(name, events, stored))
        try:
            session.greet(Greeting(operator=around.operator, console=around.console, after=around.cursor(name)), around.timing.greet_s)
        except BaseException:
            session.close("no hello")
            raise
        return session

    def _talk(self, session: Session) -> str:
        with self._changed:
            self._session = session
            self._told, self._trouble, self._refused, self._absences = ("up", ""), None, False, 0
            self._changed.notify_all()
        if self._stopping.is_set():
            session.close("the console is leaving")
        for path, lines in self._followed.items():
            self._later(lambda live, path=path, lines=lines: live.follow(path, lines), lambda error: None)  # type: ignore[misc]
        why = session.run()
        if self._stopping.is_set():
            return "the console is leaving"
        return why

    def _fail(self, error: ConnectError, state: LinkState) -> None:
        if self._stopping.is_set():
            return
        with self._changed:
            self._trouble, self._refused = error, state == "refused"
            self._changed.notify_all()
        self._tell(state, str(error))

    def _tell_connecting(self) -> None:
        # Only at the start and when told to: a node that stays away for a night is down, not flapping.
        if self._told is None or self._told[0] in ("up", "silent", "refused") or self._losses == 0:
            self._tell("connecting", "")

    def _tell(self, state: LinkState, why: str) -> None:
        if self._told != (state, why):
            self._told = (state, why)
            events: list[FleetEvent] = [LinkChanged(node=self.node.name, at=self._around.clock.wall_s(), state=state, why=why)]
            self._around.delivery.put(self.node.name, events)

    def _wait(self) -> None:
        timing = self._around.timing
        with self._changed:
            wait_s: float | None = None
            if not self._refused:
                # Half of it random, so that a bastion that comes back does not meet all nodes at once.
                wait_s = min(timing.retry_most_s, timing.retry_s * 2.0 ** min(self._losses, 20)) * (0.5 + self._around.random() / 2)
                self._losses += 1
            self._changed.wait_for(lambda: self._nudged or self._stopping.is_set(), wait_s)


def _hang_up(session: Session | None, connection: Connection | None) -> None:
    if session is not None:
        session.close("the console is leaving")
    if connection is not None:
        connection.close()
