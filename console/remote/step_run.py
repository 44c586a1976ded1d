"""A step under way, watched to its end: what it says, and how it ended on each of its nodes.

Asks the agents, and so needs no history: whoever comes later (another console) can watch the same attempt. A
link that breaks is waited for; the step goes on meanwhile. How it is started is the launch engine's business.
"""

from __future__ import annotations

import base64
import codecs
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from console.core.clock import Clock
from console.core.errors import ConsoleError, LaunchError, RequestError
from console.core.i18n import phrase
from console.core.launch.plan import LaunchPlan
from console.remote.session import Session

LOOK_S = 0.3
REQUEST_S = 20.0
SESSION_S = 5.0
GIVE_UP_S = 900.0
"""Without an answer of a node for so long, how its part ended is called unknown."""
PIECE_BYTES = 1 << 16
KEPT_LINES = 20
"""Last lines of the log that an error shows."""

Say = Callable[[str, str], None]
"""(node, line)."""


class Nodes(Protocol):
    """What is needed of the supervisor."""

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session. Raises ConnectError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnd:
    """How a step ended on one node."""

    node: str
    ok: bool
    code: int | None
    signal: int | None
    why: str
    took_s: float | None
    said: tuple[str, ...]
    """The end of its log."""


class _Part:
    """One node's part of the step."""

    def __init__(self, node: str, attempt: str, log: str) -> None:
        self.node, self.attempt, self.log = node, attempt, log
        self.end: StepEnd | None = None
        self.heard_s: float | None = None
        self.lost = False
        self._offset, self._rest = 0, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._said: list[str] = []

    def look(self, session: Session, say: Say) -> None:
        """Take in what is new. Raises ConsoleError."""
        known = next((one for one in session.request("jobs", {}, REQUEST_S).get("attempts") or () if one.get("attempt") == self.attempt), None)
        # The exit is asked for before the log: nothing is written to that after it.
        self._read(session, say)
        end = known.get("exit") if known is not None else None
        if known is None:
            self.end = self._ended(None, f"attempt {self.attempt} is not known to the node any more")
        elif isinstance(end, dict):
            self._line(self._rest, say)
            self.end = self._ended(end, "")
        elif known.get("state") in ("aborted", "expired"):
            self.end = self._ended(None, f"it was {known['state']} before it began")

    def give_up(self, why: str) -> None:
        """Nobody can say how it ended."""
        self.end = self._ended(None, why)

    def _read(self, session: Session, say: Say) -> None:
        while True:
            try:
                found = session.request("bytes", {"path": self.log, "offset": self._offset, "length": PIECE_BYTES}, REQUEST_S)
            except RequestError:
                if not session.alive:
                    raise
                return  # nothing has been written yet
            *lines, self._rest = (self._rest + self._decoder.decode(base64.b64decode(found.get("data") or ""))).split("\n")
            for line in lines:
                self._line(line, say)
            before, self._offset = self._offset, int(found.get("next_offset") or 0)
            if self._offset >= int(found.get("size") or 0) or self._offset <= before:
                return

    def _line(self, line: str, say: Say) -> None:
        # A bar that was drawn over itself: what it showed last. And nothing that a terminal would obey.
        line = "".join(mark if mark.isprintable() else " " for mark in line.rstrip("\r").rpartition("\r")[2].expandtabs()).rstrip()
        if line:
            self._said = [*self._said[-KEPT_LINES + 1:], line]
            say(self.node, line)

    def _ended(self, end: dict[str, Any] | None, why: str) -> StepEnd:
        end = end or {}
        code, signal = end.get("code"), end.get("signal")
        began, ended = end.get("started"), end.get("ended")
        told = why or str(end.get("why") or "") or (f"signal {signal}" if signal is not None else f"exit status {code}")
        return StepEnd(node=self.node, ok=code == 0, code=code, signal=signal, why="stopped" if end.get("asked") else told,
                       took_s=ended - began if isinstance(began, int | float) and isinstance(ended, int | float) else None, said=tuple(self._said))


def watch(plan: LaunchPlan, nodes: Nodes, clock: Clock, say: Say) -> list[StepEnd]:
    """Stay with the step that ``plan`` started until it has ended on all its nodes, in the plan's order.

    Never raises for a link; an interrupt leaves the step running.
    """
    parts = [_Part(node.node, plan.attempt, f"{node.dir}/launcher.log") for node in plan.nodes]
    while True:
        for part in parts:
            if part.end is not None:
                continue
            now_s = clock.mono_s()
            part.heard_s = now_s if part.heard_s is None else part.heard_s
            try:
                part.look(nodes.session(part.node, SESSION_S), say)
            except ConsoleError as error:
                if not part.lost:
                    part.lost = True
                    say(part.node, phrase("no answer ({why}); the step goes on without us", why=phrase(error.what)))
                if now_s - part.heard_s >= GIVE_UP_S:
                    part.give_up(f"no answer for {GIVE_UP_S:.0f} s: {error.what}")
            else:
                part.lost, part.heard_s = False, clock.mono_s()
        ends = [part.end for part in parts if part.end is not None]
        if len(ends) == len(parts):
            return ends
        time.sleep(LOOK_S)


class StepError(LaunchError):
    """A step that did not end well. ``ends``: of all its parts."""

    def __init__(self, plan: LaunchPlan, ends: Sequence[StepEnd]) -> None:
        bad = [end for end in ends if not end.ok]
        first = bad[0]
        log = next(f"{node.dir}/launcher.log" for node in plan.nodes if node.node == first.node)
        super().__init__(f"{plan.job} failed on {', '.join(end.node for end in bad)}: {first.why}", node=first.node, phase="start", where=f"{first.node}:{log}",
                         got="\n".join(first.said) or "no output", expected="exit status 0",
                         fix="Mend what it says and run it again; what is made already is left alone")
        self.ends = tuple(ends)


def see_through(plan: LaunchPlan, nodes: Nodes, clock: Clock, say: Say) -> list[StepEnd]:
    """``watch``; raises StepError when it did not end well on every node."""
    ends = watch(plan, nodes, clock, say)
    if not all(end.ok for end in ends):
        raise StepError(plan, ends)
    return ends
