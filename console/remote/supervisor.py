"""All nodes at once: a link each, intents down to them, their events up to the store.

Owns the set of links and nothing else of theirs. Intents are carried out in the background; what comes of
them returns as ``Answer`` events. A ``write`` intent is refused unless ``armed`` says so. One node's trouble
is that node's: links have their own threads, stops are asked for in parallel, and ``stop`` gives up on
whoever does not end in time.
"""

from __future__ import annotations

import os
import random as random_module
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from console.core.clock import Clock
from console.core.errors import ConnectError, ConsoleError
from console.core.events import Answer, FleetEvent
from console.core.intents import ACCESS, FollowLog, Intent, ReconnectNode, StopJob, UnfollowLog
from console.core.launch.inventory import Node
from console.remote.delivery import Delivery
from console.remote.link import Gate, NodeLink, Surroundings, Timing
from console.remote.prompts import Prompt
from console.remote.session import Session
from console.remote.transport import Connection, Transport

STOP_TIMEOUT_S = 20.0
"""For a node's agent to say that it has begun to stop an attempt."""


class Supervisor:
    """See the module. ``start`` and ``stop`` once each; the rest from any thread."""

    def __init__(self, nodes: Iterable[Node], *, transport_for: Callable[[Node], Transport], emit: Callable[[list[FleetEvent]], None],
                 cursor: Callable[[str], Mapping[str, Any] | None], clock: Clock, operator: str, armed: Callable[[], bool] = lambda: False,
                 console: str = "", timing: Timing | None = None, random: Callable[[], float] = random_module.random) -> None:
        """``emit`` returns when its events are stored, and is called from one thread only. ``cursor``: of a
        node, {"spool_id", "seq"} of the newest record that is stored, or None."""
        timing = timing or Timing()
        self._clock, self._armed = clock, armed
        self._delivery = Delivery(emit)
        around = Surroundings(
            transport_for=transport_for, delivery=self._delivery, cursor=cursor, clock=clock, random=random, timing=timing,
            gate=Gate(timing.parallel_connects, timing.slot_s), operator=operator, console=console or f"{socket.gethostname()}:{os.getpid()}")
        self._links = {node.name: NodeLink(node, around) for node in nodes}

    def start(self) -> None:
        """Begin to connect to every node; returns at once."""
        self._delivery.start()
        for link in self._links.values():
            link.start()

    def stop(self, timeout_s: float = 5.0) -> list[str]:
        """Hang up everywhere, store what came, end all threads; jobs on the nodes go on.

        Takes at most about ``timeout_s``. Returns the names of nodes whose thread had not ended by then (it
        will, by its own time limits, and keeps nothing alive).
        """
        deadline_s = self._clock.mono_s() + timeout_s
        for link in self._links.values():
            link.stop()
        late = [name for name, link in self._links.items() if not link.join(deadline_s - self._clock.mono_s())]
        self._delivery.stop(max(0.5, deadline_s - self._clock.mono_s()))
        return late

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session, waited for so long. Raises ConnectError; KeyError for no such node."""
        return self._links[node].session(timeout_s)

    def node(self, name: str) -> Node:
        """The node of this name as the fleet file has it. Raises KeyError."""
        return self._links[name].node

    def connection(self, node: str, timeout_s: float = 15.0) -> Connection:
        """The connection under it. Raises ConnectError; KeyError for no such node."""
        return self._links[node].connection(timeout_s)

    def request(self, node: str, op: str, args: Mapping[str, Any] | None = None, timeout_s: float = 15.0) -> dict[str, Any]:
        """One request to one node (``agent.wire.OPS``). Blocks. Raises ConnectError, RequestError."""
        return self.session(node, timeout_s).request(op, args, timeout_s)

    def tap(self, nodes: Iterable[str], emit: Callable[[FleetEvent], None]) -> None:
        """Also show these nodes' events, as they are stored, to somebody else."""
        self._delivery.tap(frozenset(nodes), emit)

    def submit(self, intent: Intent) -> None:
        """Carry out an intent in the background; returns at once. Outcomes arrive as ``Answer``."""
        if ACCESS[type(intent)] == "write" and not self._armed():
            for node in _nodes_of(intent):
                self._answer(node, _op_of(intent), error="the console is read-only; arm it first (:arm)")
            return
        for node in _nodes_of(intent):
            link = self._links.get(node)
            if link is None:
                self._answer(node, _op_of(intent), error=f"there is no node {node} in this fleet")
            else:
                self._carry_out(intent, link)

    def _carry_out(self, intent: Intent, link: NodeLink) -> None:
        node, op = link.node.name, _op_of(intent)
        if isinstance(intent, ReconnectNode):
            link.nudge()
        elif isinstance(intent, FollowLog):
            link.follow(intent.path, intent.lines, lambda error: self._answer(node, op, error=str(error)))
        elif isinstance(intent, UnfollowLog):
            link.unfollow(intent.path, lambda error: self._answer(node, op, error=str(error)))
        else:
            threading.Thread(target=self._stop_job, args=(intent, link), name=f"stop on {node}", daemon=True).start()

    def _stop_job(self, intent: StopJob, link: NodeLink) -> None:
        node = link.node.name
        try:
            args = {"attempt": intent.attempt, "grace_s": intent.grace_s, "why": intent.why}
            # No waiting for a link that is down: the operator is told now and can decide.
            result = link.session(0.0).request("stop", args, STOP_TIMEOUT_S)
        except ConsoleError as error:
            self._answer(node, "stop", error=str(error))
        else:
            self._answer(node, "stop", result=result)

    def _answer(self, node: str, op: str, *, result: Mapping[str, Any] | None = None, error: str = "") -> None:
        self._delivery.put(node, [Answer(node=node, at=self._clock.wall_s(), op=op, ok=not error, result=result or {}, error=error)])


def _nodes_of(intent: Intent) -> tuple[str, ...]:
    return intent.nodes if isinstance(intent, StopJob) else (intent.node,)


def _op_of(intent: Intent) -> str:
    if isinstance(intent, ReconnectNode):
        return "reconnect"
    if isinstance(intent, StopJob):
        return "stop"
    return "tail" if isinstance(intent, FollowLog) else "untail"


def transports(known_hosts: str = "", *, accept_new: bool = False, config_path: str | None = None,
               prompt: Prompt | None = None) -> Callable[[Node], Transport]:
    """``transport_for``: the one place that knows which transport a node's ``transport`` names.

    Nodes of one kind share one transport, and through it their jump connections. ``prompt``: who answers what
    a login asks; without it nobody is asked.
    """
    made: dict[str, Transport] = {}
    making = threading.Lock()

    def transport_for(node: Node) -> Transport:
        with making:
            if node.transport not in made:
                # Each imported only where it is used: paramiko alone takes 0.2 s.
                if node.transport == "openssh":
                    from console.remote.openssh import OpenSshTransport

                    made[node.transport] = OpenSshTransport(known_hosts_path=known_hosts, accept_new=accept_new, config_path=config_path, prompt=prompt)
                elif node.transport == "paramiko":
                    from console.remote.paramiko_ssh import ParamikoTransport

                    made[node.transport] = ParamikoTransport(known_hosts_path=known_hosts, accept_new=accept_new, config_path=config_path, prompt=prompt)
                else:
                    raise ConnectError(f"there is no transport {node.transport}", where=node.name, expected="paramiko or openssh",
                                       fix="Change `transport` in the fleet file.")
            return made[node.transport]

    return transport_for
