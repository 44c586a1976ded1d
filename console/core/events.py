"""Everything that can happen, as frozen dataclasses: the one vocabulary of the flow upwards.

An event comes either from a node's record (``RecordArrived``, numbered, kept by the store for good) or
from the console's own dealings with a node (``LinkChanged``, ``NodeMet``, ``LaunchProgress``; kept as
well, unnumbered). ``core.fleet.state.apply`` folds them into the state. Record kinds and their fields
are defined in ``agent.wire.RECORD_FIELDS``; a kind that this console does not know still arrives as a
``RecordArrived`` and is kept.

Times named ``at`` are the console's wall clock, seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from console.core.records import dataclass

if TYPE_CHECKING:
    from console.core.launch.plan import LaunchPlan
    from console.core.preflight.table import Report

LinkState: TypeAlias = Literal["connecting", "up", "silent", "down", "refused"]
"""connecting: trying; up: heartbeat answered; silent: no answer in time, not given up; down: waiting to
try again; refused: will not be tried again without the operator (host key, authentication)."""

LaunchPhase: TypeAlias = Literal["preflight", "prepare", "container", "start", "rendezvous", "loading", "training"]
PhaseState: TypeAlias = Literal["waiting", "running", "done", "failed", "undone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordArrived:
    """One numbered record of one node's spool, as it left the agent."""

    node: str
    spool_id: str
    seq: int
    kind: str
    key: str | None
    time: float
    """Node's wall clock when the agent took it in, s."""
    at: float
    data: Mapping[str, Any]
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeMet:
    """The agent's hello: which spool, which boot, whose clock."""

    node: str
    at: float
    agent: str
    revision: int
    spool_id: str
    boot_id: str
    oldest_seq: int
    newest_seq: int
    clock_offset_s: float
    """Node's wall clock minus ours, from the hello's round trip."""
    clock_error_s: float
    """Half that round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChanged:
    """The connection to a node changed, or its round trip was measured again."""

    node: str
    at: float
    state: LinkState
    why: str = ""
    rtt_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchProgress:
    """One cell of the node x phase matrix of an attempt."""

    job: str
    attempt: str
    node: str
    phase: LaunchPhase
    state: PhaseState
    at: float
    why: str = ""
    """On failure: the command that failed and the end of its output."""
    took_s: float | None = None
    """How long the phase took on this node; None while it runs, and where its beginning was not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """Raw lines for an open log pane. Never stored."""

    node: str
    at: float
    path: str
    file_id: str
    offset: int
    next_offset: int
    size: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Records the agent holds back on disk because we have not granted credit for them."""

    node: str
    at: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogBehind:
    """Lines of an open log that the agent holds back because we have not granted credit for them. Never stored."""

    node: str
    at: float
    path: str
    count: int
    """At least so many; the agent counts over 64 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPruned:
    """The history's size cap has dropped something for good. Told by the store itself."""

    at: float
    job: str
    """The run they belonged to; "" for what belongs to none."""
    kind: str
    """Record kind."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of a request that an intent set off, for the status line and the audit view."""

    node: str
    at: float
    op: str
    ok: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTold:
    """How far a check of the nodes is. ``node`` empty: it has begun."""

    at: float
    node: str = ""
    text: str = ""
    nodes: tuple[str, ...] = ()
    """Those that are asked; with the beginning."""
    level: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEnded:
    """A check of the nodes is over: with a report, or with why there is none."""

    at: float
    report: Report | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlanned:
    """A job file was read. ``lines``: its text; ``plan``: with all problems; ``error``: why it could not be read at all."""

    at: float
    path: str
    lines: tuple[str, ...] = ()
    plan: LaunchPlan | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLaunched:
    """A launch from the screen is over: ``error`` empty: it runs; else it was undone, or nothing was begun."""

    at: float
    job: str
    attempt: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAsked:
    """A node's login wants to know something of the person at the console. ``open`` False: no longer."""

    at: float
    number: int
    node: str
    text: str
    """As the server worded it: not to be trusted."""
    echo: bool = False
    open: bool = True


News: TypeAlias = CheckTold | CheckEnded | JobPlanned | JobLaunched | LoginAsked
"""What errands came to: for the one console that asked. Never stored, and no part of the fleet's state."""

FleetEvent: TypeAlias = RecordArrived | NodeMet | LinkChanged | LaunchProgress | LogLines | LogBehind | HistoryPruned | Waiting | Answer

STORED = (RecordArrived, NodeMet, LinkChanged, LaunchProgress, HistoryPruned)
"""What the store keeps; the rest is only of the moment."""
