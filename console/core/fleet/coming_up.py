"""How an attempt fares between its last start and its first iteration, from its nodes' records. Pure.

Owns which end of one node's command means that the others cannot go on. Refuses to act on it: the engine does
(``console.remote.coming_up``).
"""

from __future__ import annotations

from collections.abc import Iterable

from console.core.events import LaunchPhase
from console.core.fleet.state import AttemptState
from console.core.records import dataclass

LATER: tuple[LaunchPhase, ...] = ("rendezvous", "loading", "training")
OVER = ("exited", "stopped", "aborted", "expired")
"""States of agent.wire.JOB_STATES after which nothing of an attempt runs on its node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of one node's command."""

    node: str
    phase: LaunchPhase
    how: str
    """"exit status 7", "signal 9", or the agent's own words."""
    time: float
    """The node's wall clock, s."""
    round: int | None = None
    local_rank: int | None = None
    """The first rank of the node that ended badly, where ranks were seen to end."""


def ended_badly(attempt: AttemptState, nodes: Iterable[str]) -> tuple[Ended, ...]:
    """The nodes whose part has ended so that the job cannot go on, the first to end first.

    That is every end with an error; and an end without one before the first iteration, as of a script whose
    last word is ``| tee``. After it, status 0 can be a node that was done before the others. An end that
    somebody asked for is none.
    """
    found = []
    for node in nodes:
        seen = attempt.exits.get((node, 0, -1)) or next((seen for (name, _, rank), seen in attempt.exits.items() if name == node and rank == -1), None)
        if seen is None or seen.data.get("asked"):
            continue
        data, phase = seen.data, reached(attempt, node)
        if data.get("code") == 0 and not data.get("signal") and phase == "training":
            continue
        how = str(data.get("why") or "") or (f"signal {data['signal']}" if data.get("signal") else f"exit status {data.get('code')}")
        ranks = sorted((_number(rank.data.get("ended"), seen.time), number, local) for (name, number, local), rank in attempt.exits.items()
                       if name == node and local >= 0 and (rank.data.get("code") or rank.data.get("signal")))
        found.append(Ended(node=node, phase=phase, how=how, time=_number(data.get("ended"), seen.time),
                           round=ranks[0][1] if ranks else None, local_rank=ranks[0][2] if ranks else None))
    return tuple(sorted(found, key=lambda one: (one.time, one.node)))


def ended_alone(attempt: AttemptState, nodes: Iterable[str]) -> tuple[Ended, ...]:
    """The nodes whose part was stopped or taken away while others go on that nobody stops, as by an agent that has not heard of
    the console in time."""
    states = {node: attempt.node_states.get(node, "") for node in nodes}
    if not any(state in ("committed", "running") for state in states.values()):
        return ()
    found = []
    for node, state in states.items():
        if state in ("stopped", "aborted", "expired"):
            seen = next((seen for (name, _, rank), seen in attempt.exits.items() if name == node and rank == -1), None)
            found.append(Ended(node=node, phase=reached(attempt, node), how=f"{state} there alone", time=_number(seen.data.get("ended"), seen.time) if seen else 0.0))
    return tuple(sorted(found, key=lambda one: (one.time, one.node)))


def reached(attempt: AttemptState, node: str) -> LaunchPhase:
    """The last of ``LATER`` that the node is known to have been in."""
    return next((phase for phase in reversed(LATER) if (node, phase) in attempt.phases), "rendezvous")


def is_training(attempt: AttemptState, nodes: Iterable[str]) -> bool:
    """Whether the first iteration has been seen, on behalf of every node."""
    return all((cell := attempt.phases.get((node, "training"))) is not None and cell.state in ("running", "done") for node in nodes)


def living(attempt: AttemptState, nodes: Iterable[str]) -> tuple[str, ...]:
    """The nodes on which something of it runs, or may."""
    return tuple(node for node in nodes if attempt.node_states.get(node) not in OVER)


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default
