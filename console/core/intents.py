"""Everything a person can ask for, as frozen dataclasses: the one vocabulary of the flow downwards.

A view emits an intent; ``remote`` carries it out; what comes of it returns as events. ``ACCESS`` says of
each whether it changes anything outside the console: a ``write`` is refused unless the console is armed.

An ``Intent`` is about single nodes and goes to their links; an ``Errand`` is about the fleet or a job file and
goes to the desk (``console.errands``).
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal, TypeAlias

from console.core.records import dataclass

if TYPE_CHECKING:
    from console.core.launch.plan import LaunchPlan

Access: TypeAlias = Literal["read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowLog:
    """Show the end of one log and what is added to it. ``lines``: how many to begin with."""

    node: str
    path: str
    lines: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfollowLog:
    """The pane showing this log was closed."""

    node: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectNode:
    """Try a node again now, whatever its back-off says."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopJob:
    """End an attempt: SIGTERM, ``grace_s``, SIGKILL, on exactly these nodes."""

    job: str
    attempt: str
    nodes: tuple[str, ...]
    grace_s: float = 60.0
    why: str = "asked for by the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckNodes:
    """Say whether the nodes are fit to train, asking only. ``level``: quick | standard | deep, empty: the job file's, or
    standard; ``job``: a job file, empty: none."""

    level: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProveNodes(CheckNodes):
    """The same with what leaves a trace for a moment: the proof file on shared storage, a measured write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """One confirmed remedy on one node: what was shown, word for word."""

    node: str
    check: str
    remedy: str
    """One of agent.catalogue.remedies."""
    subject: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mend:
    """Carry out these remedies and no others, then look again as ``again`` says."""

    remedies: tuple[Mending, ...]
    again: CheckNodes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanJob:
    """Read a job file, and work out what its launch on this fleet would do. Connects to nothing."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchJob:
    """Start exactly this plan, made from the job file at ``path``, on all its nodes or on none."""

    path: str
    plan: LaunchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLogin:
    """What a login asked for. The answer is not part of how this prints, and nobody keeps it."""

    number: int
    """Of the ``LoginAsked``."""
    answer: str | None = field(default=None, repr=False)
    """None: none, the login is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SayRemark:
    """Tell everybody who watches this fleet. Fields as in ``core.fleet.remarks.Remark``."""

    what: str
    subject: str
    text: str
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TellArmed:
    """Tell everybody that this console can change things for ``left_s``; 0: no longer."""

    left_s: float


Intent: TypeAlias = FollowLog | UnfollowLog | ReconnectNode | StopJob
Errand: TypeAlias = CheckNodes | ProveNodes | Mend | PlanJob | LaunchJob | AnswerLogin | SayRemark | TellArmed
Wish: TypeAlias = Intent | Errand

ACCESS: dict[type, Access] = {
    FollowLog: "read",
    UnfollowLog: "read",
    ReconnectNode: "read",
    StopJob: "write",
    CheckNodes: "read",
    ProveNodes: "write",
    Mend: "write",
    PlanJob: "read",
    LaunchJob: "write",
    AnswerLogin: "read",
    # Words, and nothing that runs hears them.
    SayRemark: "read",
    TellArmed: "read",
}
