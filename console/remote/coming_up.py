"""After the last start of a launch: when one node's part ends badly, the others' is ended too, and it is said why.

Owns the roll-back of a launch that was committed, and the words for it: which node, which command, what it said
last. Whoever watches the launch asks ``look`` again and again, and holds the nodes meanwhile: should it be killed
before all of them train, they end what they began (``hold``). A watcher that leaves in good order gives the job to
its nodes, where each part then ends as its own program ends. Refuses to judge success (``core.fleet.run_views.job_badge``).
"""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping
from typing import Any, Protocol

from console.core.clock import Clock
from console.core.errors import ConsoleError, LaunchError
from console.core.fleet.coming_up import Ended, ended_alone, ended_badly, is_training, living
from console.core.fleet.state import FleetState
from console.core.launch.plan import LaunchPlan, NodePlan
from console.remote.backend import LaunchBackend, Submission
from console.remote.everywhere import each
from console.remote.hold import Hold
from console.remote.session import Session

LAST_WORDS_S = 3.0
"""How long a bad end is held before anything is done about it: the last lines of the logs, which are read four
times a second, may say that the job was finished, and an elastic agent ends the others in better order than we do."""
SHORT_GRACE_S = 10.0
"""SIGTERM to SIGKILL before the first iteration: there is nothing to save yet."""
REQUEST_S = 15.0
CLEAN_S = 20.0
LOOK_S = 0.2
TAIL_BYTES = 4000
TAIL_LINES = 8
LINE_MARKS = 200
HAND_OVER_S = 5.0


class Links(Protocol):
    """What is needed of the supervisor."""

    def session(self, node: str, timeout_s: float = 15.0) -> Session:
        """The node's live session. Raises ConnectError."""


class ComingUp:
    """One launch that was submitted as ``held`` and is being watched, while the ``with`` lasts. Not for two threads at once."""

    def __init__(self, plan: LaunchPlan, submission: Submission, links: Links, backend: LaunchBackend, clock: Clock) -> None:
        self._plan, self._submission, self._links, self._backend, self._clock = plan, submission, links, backend, clock
        self._bad_since_s: float | None = None
        self._trains_since_s: float | None = None
        self._hold = Hold(submission, links, plan.ttl_s)

    def __enter__(self) -> ComingUp:
        self._hold.begin()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, LaunchError):
            self._hold.let_go()
        else:
            self.hand_over()

    def hand_over(self) -> tuple[str, ...]:
        """Leave the job to its nodes; the nodes that could not be told within ``HAND_OVER_S``, which will end it."""
        return self._hold.hand_over(HAND_OVER_S)

    def look(self, state: FleetState) -> bool:
        """Whether it trains on all its nodes, as far as is known, and all of them know it.

        Raises LaunchError when one node's part has ended badly, or a node cannot be told; the others' have been ended by then.
        """
        run = state.runs.get(self._submission.job)
        attempt = run.attempts.get(self._submission.attempt) if run is not None else None
        if attempt is None:
            return False
        bad = ended_badly(attempt, self._submission.nodes) or ended_alone(attempt, self._submission.nodes)
        now_s = self._clock.mono_s()
        if not bad:
            self._bad_since_s = None
            return is_training(attempt, self._submission.nodes) and self._is_confirmed(living(attempt, self._submission.nodes), now_s)
        if self._bad_since_s is None:
            self._bad_since_s = now_s
        if now_s - self._bad_since_s < LAST_WORDS_S:
            return False
        first = bad[0]
        evidence = self._evidence(first)
        fix = self._end_the_others(living(attempt, self._submission.nodes), first)
        raise LaunchError(f"{first.phase} failed on {first.node}", node=first.node, phase=first.phase, where=f"{first.node}:{evidence[0]}",
                          got=f"{first.how} of: {self._command(first.node)}" + (f"; it said last: {evidence[1]}" if evidence[1] else ", without a word"),
                          expected="a job that trains on all its nodes", fix=f"Mend what it says, then launch again.{fix}")

    def _is_confirmed(self, nodes: tuple[str, ...], now_s: float) -> bool:
        self._trains_since_s = now_s if self._trains_since_s is None else self._trains_since_s
        self._hold.confirm()
        untold = self._hold.untold
        if not untold or now_s - self._trains_since_s < self._plan.ttl_s + LAST_WORDS_S:
            return not untold
        first = Ended(node=untold[0], phase="training", how="no link", time=self._clock.wall_s())
        fix = self._end_the_others(tuple(node for node in nodes if node not in untold), first)
        raise LaunchError(f"{', '.join(untold)} could not be told that the job trains", node=first.node, phase="training", where=", ".join(untold),
                          got=f"no answer for {self._plan.ttl_s:g} s, after which the node ends its part", expected="a link to every node", fix=f"Mend the link, then launch again.{fix}")

    # --- the others --------------------------------------------------------------------------------------

    def _end_the_others(self, nodes: tuple[str, ...], first: Ended) -> str:
        """End it on these nodes; what there is to tell of that, with a blank in front."""
        if not nodes:
            return ""
        grace_s = float(_recovery(self._plan).get("stop_grace_s") or 60.0)
        if first.phase != "training":
            grace_s = min(grace_s, SHORT_GRACE_S)
        rest = Submission(job=self._submission.job, attempt=self._submission.attempt, epoch=self._submission.epoch, nodes=nodes)
        try:
            self._backend.cancel(rest, grace_s, f"{first.phase} failed on {first.node}: {first.how}")
        except ConsoleError as error:
            return f" It may still run: {error}"
        left = self._await_nothing(list(nodes), grace_s + CLEAN_S)
        return f" It was ended on {', '.join(nodes)} too." + (f" Something is left: {left}." if left else "")

    def _await_nothing(self, nodes: list[str], limit_s: float) -> str:
        deadline_s = self._clock.mono_s() + limit_s
        left: dict[str, str] = {}

        def look(node: str) -> None:
            left[node] = self._left(node)

        while nodes:
            each({node: node for node in nodes}, look)
            nodes = [node for node in nodes if left[node]]
            if not nodes or self._clock.mono_s() >= deadline_s:
                break
            time.sleep(LOOK_S)
        return "; ".join(f"{text} on {node}" for node, text in left.items() if text)

    def _left(self, node: str) -> str:
        try:
            seen = self._links.session(node).request("left", {"attempt": self._submission.attempt, "devices": []}, REQUEST_S)
        except ConsoleError as error:
            return f"what nobody can tell ({error.args[0]})"
        found = [f"processes {', '.join(map(str, seen['processes']))}"] if seen.get("processes") else []
        return " and ".join(found + (["its container"] if seen.get("container") else []))

    # --- what to tell ------------------------------------------------------------------------------------

    def _evidence(self, first: Ended) -> tuple[str, str]:
        """Path on the node and last lines of the log that tells most: of the first rank that failed, else of the command."""
        path = f"{self._node(first.node).dir}/launcher.log"
        try:
            session = self._links.session(first.node)
            logs = session.request("files", {"attempt": self._submission.attempt}, REQUEST_S).get("files") or []
            ranked = [log for log in logs if first.local_rank is not None and (log.get("round"), log.get("local_rank")) == (first.round, first.local_rank)]
            for log in [*ranked, *(log for log in logs if log.get("local_rank") is None)]:
                path = str(log["path"])
                start = max(0, int(log["size"]) - TAIL_BYTES)
                text = session.request("read", {"path": path, "offset": start, "length": TAIL_BYTES}, REQUEST_S).get("text")
                if lines := last_lines(str(text or "")):
                    return path, lines
        except (ConsoleError, KeyError, TypeError, ValueError):
            pass  # the node is gone too; where to look is all that can be said
        return path, ""

    def _command(self, node: str) -> str:
        return command_line(self._node(node))

    def _node(self, name: str) -> NodePlan:
        return next(node for node in self._plan.nodes if node.node == name)


def last_lines(text: str) -> str:
    """The end of a log for an error's message: its last lines that say something, without control characters."""
    shown = ("".join(mark if mark.isprintable() else " " for mark in line).rstrip() for line in re.split(r"[\r\n]+", text))
    return "\n".join([line[:LINE_MARKS] for line in shown if line.strip()][-TAIL_LINES:])


def command_line(node: NodePlan) -> str:
    """What starts the node's ranks, as one line and without its variables: the last command of its script."""
    script = node.files.get("ranked.sh") or "".join(command.script for command in node.commands if command.phase == "start")
    line = script.replace(" \\\n", " ").strip().rpartition("\n")[2]
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    while words and (words[0] in ("exec", "env") or re.match(r"[A-Za-z_]\w*=", words[0])):
        words.pop(0)
    shown = " ".join(words)
    return shown if len(shown) <= 200 else shown[:199] + "…"


def _recovery(plan: LaunchPlan) -> Mapping[str, Any]:
    try:
        job = json.loads(plan.nodes[0].files.get("job.json") or "{}")
    except ValueError:
        return {}
    found = job.get("recovery") if isinstance(job, dict) else None
    return found if isinstance(found, dict) else {}
