"""Everything a person can ask for, as frozen dataclasses: the one vocabulary of the flow downwards.

A view emits an intent; ``remote`` carries it out; what comes of it returns as events. ``ACCESS`` says of
each whether it changes anything outside the console: a ``write`` is refused unless the console is armed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

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


Intent: TypeAlias = FollowLog | UnfollowLog | ReconnectNode | StopJob

ACCESS: dict[type, Access] = {
    FollowLog: "read",
    UnfollowLog: "read",
    ReconnectNode: "read",
    StopJob: "write",
}
