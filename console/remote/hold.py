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
        self._untold = {node: node for node in submission.nodes}
        self._confirming, self._over, self._wake = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._keep, name="hold", daemon=True)

    @property
    def untold(self) -> tuple[str, ...]:
        """The nodes that have not heard the last sentence."""
        return tuple(self._untold)

    def begin(self) -> None:
        """Keep the hold from now on; returns at once."""
        self._thread.start()

    def confirm(self) -> bool:
        """Give the job to its nodes, in the background; whether all of them have heard it."""
        if not self._confirming.is_set():
            self._confirming.set()
            self._wake.set()
        return not self._untold

    def hand_over(self, within_s: float) -> tuple[str, ...]:
        """Give the job to its nodes and wait for that; the nodes that did not hear it in time."""
        if not self.confirm() and not self._over.is_set():
            self._thread.join(within_s)
        self.let_go()
        return self.untold

    def let_go(self) -> None:
        """Say no more: what is not told by now ends by itself."""
        self._over.set()
        self._wake.set()

    def _keep(self) -> None:
        often_s = self._limit_s / OFTEN
        while not self._over.is_set():
            last = self._confirming.is_set()
            said: dict[str, Any] = {"settled": True} if last else {"hold_s": self._limit_s}
            failed = each(dict(self._untold), partial(self._say, said))
            if last:
                self._untold = {node: node for node in self._untold if node in failed}
                if not self._untold:
                    return
            self._wake.wait(min(often_s, 1.0) if last else often_s)
            if not self._over.is_set():
                self._wake.clear()

    def _say(self, said: dict[str, Any], node: str) -> None:
        session = self._links.session(node, self._limit_s / OFTEN / 2)
        try:
            session.request("commit", {"attempt": self._submission.attempt, "epoch": self._submission.epoch, **said}, self._limit_s / OFTEN)
        except ConsoleError:
            if not session.alive:
                raise
            # Refused: it has ended there or was told to, and its records say so.
