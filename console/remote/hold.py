"""A launch's hold on its nodes: what was started there ends by itself, should this console be lost before all of them train.

Owns the sentence that is said again and again while a launch comes up, and the last one, after which the job is
its nodes' own (``agent.overtime``). Refuses to know when that is: whoever watches the launch does
(``coming_up``). A node that cannot be reached for the whole time limit ends its part; no lease can do better.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Protocol

from console.core.errors import ConsoleError
from console.remote.backend import Submission
from console.remote.everywhere import each
from console.remote.session import Session

OFTEN = 4
"""Sentences in one time limit: three may be lost on the way."""


class Links(Protocol):
    """What is needed of the supervisor."""

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session. Raises ConnectError."""


class Hold:
    """Of one submission. ``begin`` once; then ``confirm`` or ``let_go``, from any thread."""

    def __init__(self, submission: Submission, links: Links, limit_s: float) -> None:
        """``limit_s``: how long a node waits for the next sentence (``LaunchPlan.ttl_s``)."""
        self._submission, self._links, self._limit_s = submission, links, limit_s
        self._often_s = limit_s / OFTEN
        self._untold = {node: node for node in submission.nodes}
        self._confirming, self._over = threading.Event(), threading.Event()
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="hold", daemon=True)
        # Of its own: the other one may be waiting for a node that does not answer, and nobody else must wait for that.
        self._last = threading.Thread(target=self._give, name="hold", daemon=True)

    @property
    def untold(self) -> tuple[str, ...]:
        """The nodes that have not heard the last sentence."""
        return tuple(self._untold.copy())

    def begin(self) -> None:
        """Keep the hold from now on; returns at once."""
        self._thread.start()

    def confirm(self) -> bool:
        """Give the job to its nodes, in the background; whether all of them have heard it."""
        with self._guard:
            if not self._confirming.is_set() and not self._over.is_set():
                self._confirming.set()
                self._last.start()
        return not self._untold

    def hand_over(self, within_s: float) -> tuple[str, ...]:
        """Give the job to its nodes and wait for that; the nodes that did not hear it in time."""
        if not self.confirm() and not self._over.is_set():
            self._last.join(within_s)
        self.let_go()
        return self.untold

    def let_go(self) -> None:
        """Say no more: what is not told by now ends by itself."""
        with self._guard:
            self._over.set()
            self._confirming.set()

    def _keep(self) -> None:
        while not self._confirming.is_set():
            each({node: node for node in self._submission.nodes}, partial(self._say, {"hold_s": self._limit_s}, self._often_s / 2))
            self._confirming.wait(self._often_s)

    def _give(self) -> None:
        while not self._over.is_set():
            each(self._untold.copy(), self._give_to)
            if not self._untold:
                return
            self._over.wait(min(self._often_s, 1.0))

    def _give_to(self, node: str) -> None:
        session = self._say({"settled": True}, 0.0, node)
        if session is not None and self._goes_on(session):
            return  # it could not be done there, as with a full disk, or nobody knows: once more
        self._untold.pop(node, None)

    def _say(self, said: dict[str, Any], wait_s: float, node: str) -> Session | None:
        """``wait_s``: for a link. The session on which it was refused or not answered; None when the node has heard it. Raises ConsoleError without a link."""
        session = self._links.session(node, wait_s)
        try:
            session.request("commit", {"attempt": self._submission.attempt, "epoch": self._submission.epoch, **said}, self._often_s)
        except ConsoleError:
            if not session.alive:
                raise
            return session
        return None

    def _goes_on(self, session: Session) -> bool:
        """Whether the attempt runs there and nobody has told it to stop: what has ended, or was told to, refuses, and its records say so."""
        known = session.request("jobs", {}, self._often_s).get("attempts") or ()
        return any(one.get("attempt") == self._submission.attempt and one.get("state") in ("committed", "running") for one in known)
