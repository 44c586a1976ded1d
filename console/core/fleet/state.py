"""The fleet as the console knows it, and ``apply``, which folds one event into it. Pure.

``apply(state, event)`` returns the state after the event. Containers that hold what did not change are
shared between the old state and the new one; ``Series`` grow in place (they are append-mostly columns,
copying them for every point would cost more than everything else), so an old state must not be drawn
from after a newer one exists. ``store.Store`` holds the only current one. Replaying the same events in
the same order always gives an equal state: nothing here reads a clock.

Every value carries when it was taken (node time) and arrived (``at``); how old is too old is a view's
question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from console.core.events import (
    FleetEvent,
    HistoryPruned,
    LaunchProgress,
    LinkChanged,
    LinkState,
    NodeMet,
    PhaseState,
    RecordArrived,
    Waiting,
)
from console.core.fleet import phases
from console.core.fleet.carriers import Carriers
from console.core.fleet.points import COUNTS, METRICS, no_series, number, put_point, put_points
from console.core.fleet.remarks import Remark, remarked
from console.core.fleet.series import Series
from console.core.fleet.standing import Place, Standing
from console.core.launch.step_names import is_step
from console.core.records import dataclass

KEPT_PIDS = 256
KEPT_FAULTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A record's data with its age: ``time`` node clock, ``at`` our clock, s."""

    data: Mapping[str, Any]
    time: float
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One node: its link, its agent, its latest readings."""

    name: str
    link: LinkState = "connecting"
    link_why: str = ""
    link_at: float = 0.0
    rtt_s: float | None = None
    met: NodeMet | None = None
    last_at: float = 0.0
    """When anything last came from it, our clock."""
    sample: Taken | None = None
    host: Taken | None = None
    waiting: int = 0
    gaps: Mapping[str, int] = field(default_factory=dict)
    """Record kind -> how many the node's spool had to drop."""
    consoles: tuple[Mapping[str, Any], ...] = ()
    """Who is attached to it (record ``presence``)."""
    npu_of_pid: Mapping[int, int] = field(default_factory=dict)
    """pid -> NPU id on which npu-smi last showed it; the newest ``KEPT_PIDS``, gone processes included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankPlace:
    """Where one rank ran in one round."""

    rank: int
    node: str
    local_rank: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitSeen:
    """An ``exit`` record and the node it came from."""

    node: str
    data: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSeen:
    """What is known of one saved iteration. ``state``: started | saved | loaded | failed, the latest."""

    iteration: int
    state: str
    path: str
    time: float
    node: str
    seconds: float | None = None
    size_bytes: float | None = None
    complete: bool | None = None
    """What a look at its files said; None before anybody looked."""
    why: str = ""
    """Why it is not complete, or what says that it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultSeen:
    """A ``fault`` record and the node it came from."""

    node: str
    key: str | None
    data: Mapping[str, Any]
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptState:
    """One attempt of a job on its nodes."""

    attempt: str
    job: str
    node_states: Mapping[str, str] = field(default_factory=dict)
    """Node -> latest of agent.wire.JOB_STATES."""
    node_index: Mapping[str, int] = field(default_factory=dict)
    dirs: Mapping[str, str] = field(default_factory=dict)
    started_at: float = 0.0
    phases: Mapping[tuple[str, str], LaunchProgress] = field(default_factory=dict)
    """(node, phase) -> latest."""
    ranks: Mapping[int, Mapping[int, RankPlace]] = field(default_factory=dict)
    """round -> rank -> place."""
    world_size: Mapping[int, int] = field(default_factory=dict)
    exits: Mapping[tuple[str, int, int], ExitSeen] = field(default_factory=dict)
    """(node, round, local_rank) -> end; local_rank -1 is the ranked command itself."""
    faults: tuple[FaultSeen, ...] = ()
    """The newest ``KEPT_FAULTS``; a line that was read again replaces itself."""
    fault_keys: dict[tuple[str, str | None], None] = field(default_factory=dict, compare=False, repr=False)
    """(node, key) of every fault that may be among them; grows in place, as ``Series`` do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A job over all its attempts: what its curves and checkpoints look like."""

    job: str
    attempts: Mapping[str, AttemptState] = field(default_factory=dict)
    """Attempt id -> state; the ids sort by time."""
    series: Mapping[str, Series] = field(default_factory=no_series)
    standing: Standing = field(default_factory=Standing)
    """iteration -> (attempt, round) whose value the curves show."""
    overtaken: dict[Place, dict[str, Series]] = field(default_factory=dict)
    """(attempt, round) -> by metric, what a later one has trained again: with ``standing``, each start's own curve."""
    carriers: Carriers = field(default_factory=Carriers)
    """Whose log each start's values come from."""
    total_iterations: int | None = None
    checkpoints: Mapping[int, CheckpointSeen] = field(default_factory=dict)
    loads: tuple[tuple[str, int, int], ...] = ()
    """(attempt, round, iteration) of every checkpoint load."""
    last_iteration_time: float | None = None
    timers: Taken | None = None
    """The newest record of kind ``timers``: what the trainer timed beside its iterations."""
    memory: Mapping[tuple[str, int], Taken] = field(default_factory=dict)
    """(node, rank, -1 where it names none) -> what the newest attempt's processes last said of their device memory (kind ``memory``)."""
    saves: Mapping[str, Taken] = field(default_factory=dict)
    """Node -> what its agent last said of the newest attempt's checkpoint directory (kind ``saves``)."""

    @property
    def latest(self) -> AttemptState | None:
        """The newest attempt that a node knows of; else the newest, or None.

        A launch that was refused touched no node; it must not hide the one that is running.
        """
        known = [name for name, attempt in self.attempts.items() if attempt.node_states] or list(self.attempts)
        return self.attempts[max(known)] if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetState:
    """Everything known, by node and by job."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    runs: Mapping[str, RunState] = field(default_factory=dict)
    audit: tuple[tuple[str, float, Mapping[str, Any]], ...] = ()
    """(node, node time, audit record), in order of arrival, the newest 1,000."""
    remarks: Mapping[str, Remark] = field(default_factory=dict)
    """Id -> what somebody said to the others, the oldest first."""
    pruned: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(job, record kind) -> how many the history's size cap has dropped for good; job "" for what belongs to none."""
    events_seen: int = 0

    @property
    def current(self) -> RunState | None:
        """The job whose newest attempt is the newest of all, or None; a job's step only where there is nothing else."""
        newest = [(not is_step(run.job), run.latest.attempt, run.job) for run in self.runs.values() if run.latest is not None]
        return self.runs[max(newest)[2]] if newest else None


def apply(state: FleetState, event: FleetEvent) -> FleetState:
    """The state after ``event``."""
    state = replace(state, events_seen=state.events_seen + 1)
    match event:
        case RecordArrived():
            return _record(_touch(state, event.node, last_at=event.at), event)
        case NodeMet():
            return _touch(state, event.node, met=event, last_at=event.at)
        case LinkChanged():
            changes: dict[str, Any] = {"link": event.state, "link_why": event.why, "link_at": event.at}
            if event.rtt_s is not None:
                changes["rtt_s"] = event.rtt_s
                changes["last_at"] = event.at
            return _touch(state, event.node, **changes)
        case LaunchProgress():
            return _attempt(state, event.job, event.attempt, lambda old: replace(
                old, phases={**old.phases, (event.node, event.phase): event}, started_at=old.started_at or event.at))
        case Waiting():
            return _touch(state, event.node, waiting=event.count)
        case HistoryPruned():
            what = (event.job, event.kind)
            return replace(state, pruned={**state.pruned, what: state.pruned.get(what, 0) + event.count})
    return state


def _touch(state: FleetState, node: str, **changes: Any) -> FleetState:
    old = state.nodes.get(node) or NodeState(name=node)
    return replace(state, nodes={**state.nodes, node: replace(old, **changes)})


def _pids(known: Mapping[int, int], sample: Mapping[str, Any]) -> Mapping[int, int]:
    processes = sample.get("processes") or {}
    shown = dict(zip(processes.get("pid", ()), processes.get("npu_id", ()), strict=False))
    if all(known.get(pid) == npu_id for pid, npu_id in shown.items()):
        return known
    merged = {**{pid: npu_id for pid, npu_id in known.items() if pid not in shown}, **shown}
    return dict(list(merged.items())[-KEPT_PIDS:])


def _run(state: FleetState, job: str, change: Any) -> FleetState:
    old = state.runs.get(job) or RunState(job=job)
    return replace(state, runs={**state.runs, job: change(old)})


def _attempt(state: FleetState, job: str, attempt: str, change: Any) -> FleetState:
    def of_run(run: RunState) -> RunState:
        old = run.attempts.get(attempt) or AttemptState(attempt=attempt, job=job)
        return replace(run, attempts={**run.attempts, attempt: change(old)})

    return _run(state, job, of_run)


def _record(state: FleetState, event: RecordArrived) -> FleetState:
    data = event.data
    if event.kind == "host":
        return _touch(state, event.node, host=Taken(data=data, time=event.time, at=event.at))
    if event.kind == "sample":
        return _touch(state, event.node, sample=Taken(data=data, time=event.time, at=event.at),
                      npu_of_pid=_pids(state.nodes[event.node].npu_of_pid, data))
    if event.kind == "gap":
        gaps = {**state.nodes[event.node].gaps, str(data.get("kind")): int(data.get("count") or 0)}
        return _touch(state, event.node, gaps=gaps)
    if event.kind == "presence":
        consoles = data.get("consoles")
        return _touch(state, event.node, consoles=tuple(consoles) if isinstance(consoles, list) else ())
    if event.kind == "remark":
        met = state.nodes[event.node].met
        return replace(state, remarks=remarked(state.remarks, data, event.time - (met.clock_offset_s if met is not None else 0.0)))
    if event.kind == "audit":
        return replace(state, audit=(*state.audit[-999:], (event.node, event.time, data)))
    job, attempt = data.get("job"), data.get("attempt")
    fold = _FOLDS.get(event.kind)
    if not job or not attempt or fold is None:
        return state
    folded = fold(state, event, str(job), str(attempt))
    return _advance(folded, event, str(job), str(attempt)) if event.kind in phases.KINDS else folded


def reached(state: FleetState, event: FleetEvent) -> FleetState:
    """Only what an iteration says of its attempt's phases; for a history whose iterations are put into the columns directly."""
    if not isinstance(event, RecordArrived) or str(event.data.get("job")) not in state.runs:
        return state
    return _advance(state, event, str(event.data["job"]), str(event.data.get("attempt")))


def _advance(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    run = state.runs[job]
    known = run.attempts.get(attempt)
    if known is None:
        return state
    is_finished = event.kind == "exit" and run.total_iterations is not None and any(
        last is not None and last[0] >= run.total_iterations for last in (series.last() for series in run.series.values()))
    cells = phases.advance(known, event, is_finished)
    return state if cells is known.phases else _attempt(state, job, attempt, lambda old: replace(old, phases=cells))


def _job(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(old: AttemptState) -> AttemptState:
        node, data = event.node, event.data
        return replace(
            old, node_states={**old.node_states, node: str(data["state"])},
            node_index=old.node_index if data.get("node_index") is None else {**old.node_index, node: data["node_index"]},
            dirs={**old.dirs, node: data["dir"]} if data.get("dir") else old.dirs,
            started_at=old.started_at or event.time)

    return _attempt(state, job, attempt, change)


def _rank_map(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(old: AttemptState) -> AttemptState:
        columns, number_of_round = event.data.get("ranks") or {}, int(event.data.get("round") or 0)
        places = {place.rank: place for place in old.ranks.get(number_of_round, {}).values() if place.node != event.node}
        for rank, local_rank, pid in zip(columns.get("rank", ()), columns.get("local_rank", ()), columns.get("pid", ()), strict=False):
            if rank is not None:
                places[rank] = RankPlace(rank=rank, node=event.node, local_rank=local_rank, pid=pid)
        world_size = event.data.get("world_size")
        return replace(old, ranks={**old.ranks, number_of_round: places},
                       world_size=old.world_size if world_size is None else {**old.world_size, number_of_round: world_size})

    return _attempt(state, job, attempt, change)


def _exit(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(old: AttemptState) -> AttemptState:
        local_rank = -1 if event.data.get("scope") == "command" else int(event.data.get("local_rank") or 0)
        place = (event.node, int(event.data.get("round") or 0), local_rank)
        return replace(old, exits={**old.exits, place: ExitSeen(node=event.node, data=event.data, time=event.time)})

    return _attempt(state, job, attempt, change)


def _iteration(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(run: RunState) -> RunState:
        iteration = event.data.get("iteration")
        # A peer may send anything; what no axis can hold must not stop what comes behind it.
        if not isinstance(iteration, int) or isinstance(iteration, bool) or abs(iteration) >= 1 << 60:
            return run
        place = (attempt, int(event.data.get("round") or 0))
        rank = event.data.get("rank")
        if not run.carriers.admit(place, event.node, str(event.data.get("file") or ""), rank if isinstance(rank, int) else None, iteration,
                                  event.data.get("lm_loss") is not None):
            return run
        put_point(run, place, iteration, {name: number(event.data.get(key)) for name, key in METRICS.items()})
        total = event.data.get("total")
        return replace(run, total_iterations=run.total_iterations if total is None else total, last_iteration_time=event.time)

    return _run(state, job, change)


def _checkpoint(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(run: RunState) -> RunState:
        data = event.data
        iteration, what = data.get("iteration"), data.get("event")
        if iteration is None or what is None:
            return run
        if what == "loaded":
            load = (attempt, int(data.get("round") or 0), int(iteration))
            return run if load in run.loads else replace(run, loads=(*run.loads, load))
        old = run.checkpoints.get(iteration)
        if what == "started" and old is not None and old.state == "saved":
            return run
        seconds = data.get("seconds")
        if seconds is None and what == "saved" and old is not None and old.node == event.node:
            # From the line that began it to the line that ended it, both as this node saw them.
            seconds = event.time - old.time if old.state == "started" else old.seconds
        seen = CheckpointSeen(
            iteration=iteration, state=what, path=data.get("path") or (old.path if old else ""), time=event.time, node=event.node,
            seconds=seconds, size_bytes=data.get("bytes") if data.get("bytes") is not None else old.size_bytes if old else None,
            complete=old.complete if old else None, why=old.why if old else "")
        return replace(run, checkpoints={**run.checkpoints, iteration: seen})

    return _run(state, job, change)


def _saves(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    def change(run: RunState) -> RunState:
        data = event.data
        newest = max((str(taken.data.get("attempt")) for taken in run.saves.values()), default="")
        if attempt < newest:
            return run
        kept = run.saves if attempt == newest else {}
        columns = data.get("iterations") or {}
        checkpoints = dict(run.checkpoints)
        for iteration, complete, why, size, seconds, saved_at, path in zip(
                *(columns.get(name) or () for name in ("iteration", "complete", "why", "bytes", "seconds", "saved_at", "path")), strict=False):
            if not isinstance(iteration, int):
                continue
            old = checkpoints.get(iteration) or CheckpointSeen(
                iteration=iteration, state="saved" if complete else "started", path=str(path), time=saved_at or event.time, node=event.node)
            checkpoints[iteration] = replace(old, complete=bool(complete), why=str(why), size_bytes=size,
                                             seconds=old.seconds if old.seconds is not None else seconds)
        return replace(run, saves={**kept, event.node: Taken(data=data, time=event.time, at=event.at)}, checkpoints=checkpoints)

    return _run(state, job, change)


def _timers(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    taken = Taken(data=event.data, time=event.time, at=event.at)
    return _run(state, job, lambda run: run if run.timers is not None and attempt < str(run.timers.data.get("attempt")) else replace(run, timers=taken))


def _memory(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    rank = event.data.get("rank")

    def change(run: RunState) -> RunState:
        newest = max((str(taken.data.get("attempt")) for taken in run.memory.values()), default="")
        if attempt < newest:
            return run
        kept = run.memory if attempt == newest else {}
        return replace(run, memory={**kept, (event.node, rank if isinstance(rank, int) else -1): Taken(data=event.data, time=event.time, at=event.at)})

    return _run(state, job, change)


def _fault(state: FleetState, event: RecordArrived, job: str, attempt: str) -> FleetState:
    seen = FaultSeen(node=event.node, key=event.key, data=event.data, time=event.time)

    def change(old: AttemptState) -> AttemptState:
        name, others = (seen.node, seen.key), old.faults
        if seen.key is not None and name in old.fault_keys:
            others = tuple(fault for fault in others if (fault.node, fault.key) != name)
        old.fault_keys[name] = None
        while len(old.fault_keys) > 4 * KEPT_FAULTS:
            del old.fault_keys[next(iter(old.fault_keys))]
        return replace(old, faults=(*others[-(KEPT_FAULTS - 1):], seen))

    return _attempt(state, job, attempt, change)


_FOLDS = {"job": _job, "rank_map": _rank_map, "exit": _exit, "iteration": _iteration,
          "checkpoint": _checkpoint, "saves": _saves, "timers": _timers, "memory": _memory, "fault": _fault}

__all__ = [
    "COUNTS",
    "METRICS",
    "AttemptState",
    "CheckpointSeen",
    "ExitSeen",
    "FaultSeen",
    "FleetState",
    "NodeState",
    "PhaseState",
    "RankPlace",
    "RunState",
    "Taken",
    "apply",
    "no_series",
    "number",
    "put_points",
    "reached",
]
