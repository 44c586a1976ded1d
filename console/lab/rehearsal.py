"""The scripted run of ``rankdeck demo --headless``, as it is seen from the store: what happened, and when.

Owns the bookkeeping and the JSON document, not the fleet: ``look`` is given the newest state and what the
injector did so far. The cause of an incident comes from ``core.triage`` alone, which has only the agents'
records; what the injector did is printed beside it and never used to find it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from console.core.fleet.state import AttemptState, FleetState, RunState
from console.core.i18n import Phrase, joined, phrase, say
from console.core.spoken import spoken_text
from console.core.triage.attribute import RootCause, root_cause
from console.lab.faults import Injected

END_LIMIT_S = 60.0
"""After the final iteration, for the ranked commands to end."""
STALL_LIMIT_S = 300.0
"""Without a new iteration, start-up and resume included."""


@dataclass(slots=True)
class Incident:
    """One injected fault and what the console made of it. Times: wall clock, s."""

    injected: Injected
    known: frozenset[tuple[str, int]]
    """(attempt, round) that had failed before; an answer about those is no answer about this."""
    cause: RootCause | None = None
    detected_at: float = 0.0
    resumed_from: int | None = None
    resumed_at: float | None = None

    def mapping(self) -> dict[str, Any]:
        """One of ``faults`` in the document."""
        after = round(self.detected_at - self.injected.at, 3) if self.cause else None
        return {"injected": self.injected.mapping(), "detected_after_s": after,
                "root_cause": self.cause.mapping() if self.cause else None}


class Rehearsal:
    """A job's course from its launch to its end, folded from looks at the state."""

    def __init__(self, *, job: str, nodes: Sequence[str], iterations: int, began_at: float, say: Callable[[str], None]) -> None:
        """``began_at``: wall clock at the end of set-up, s."""
        self.job, self.nodes, self.iterations, self.began_at, self._say = job, tuple(nodes), iterations, began_at, say
        self.incidents: list[Incident] = []
        self.first_at: float | None = None
        self.final_at: float | None = None
        self._moved_at = began_at
        self._newest = 0
        self._failed: set[tuple[str, int]] = set()
        self._told_saves: set[int] = set()

    def look(self, state: FleetState, injected: Sequence[Injected], now: float) -> None:
        """Take note of what is new. ``now``: wall clock, s."""
        run = state.runs.get(self.job)
        for done in injected[len(self.incidents):]:
            self.incidents.append(Incident(injected=done, known=frozenset(self._failed)))
            self._moved_at = now
        if run is None:
            return
        self._iterations(run, now)
        self._cause(state, now)
        for incident in self.incidents:
            self._resumption(run, incident, now)

    def failure(self, state: FleetState, now: float) -> str:
        """Why the run cannot succeed any more; empty while it can, or has."""
        run = state.runs.get(self.job)
        attempt = run.latest if run else None
        if self.final_at is None and attempt is not None:
            ends = self._ends(attempt)
            if len(ends) == len(self.nodes):
                return phrase("the job ended before its final iteration: {ends}", ends=joined("; ", (
                    phrase("{node}: signal {n}", node=node, n=data["signal"]) if data.get("signal") else phrase("{node}: exit status {n}", node=node, n=data.get("code"))
                    for node, data in sorted(ends.items()))))
            gone = {node: text for node, text in attempt.node_states.items() if text in ("aborted", "expired")}
            if gone:
                return phrase("the launch did not stand: {nodes}", nodes=joined(", ", (phrase("{what} {text}", what=node, text=phrase(text)) for node, text in sorted(gone.items()))))
        if self.final_at is None and now - self._moved_at > STALL_LIMIT_S:
            return phrase("no new iteration for {s:.0f} s (newest: {n} of {total})", s=STALL_LIMIT_S, n=self._newest, total=self.iterations)
        return ""

    def over(self, state: FleetState, now: float) -> bool:
        """Whether the final iteration was reached and the ranked commands have ended (or had time to)."""
        if self.final_at is None:
            return False
        run = state.runs.get(self.job)
        attempt = run.latest if run else None
        return now - self.final_at > END_LIMIT_S or (attempt is not None and len(self._ends(attempt)) == len(self.nodes))

    def document(self, state: FleetState, *, seed: int, why: str = "") -> dict[str, Any]:
        """The one JSON document.

        ok: the final iteration was reached. nodes: those that train. world_size: as the workers had it, last.
        iterations: first, last, and how many different ones are known; losses: [iteration, loss] each, once,
        of the round that stands. checkpoints: iterations saved. faults: each with what was injected (name,
        node, rank, local_rank, pid, iteration, time), detected_after_s (until the answer that stood), and
        root_cause (DESIGN section 8, and the round). resumed_from: iteration of the checkpoint loaded after
        the last fault; resume_s: from that fault to the next iteration. seed: of what was left to chance.
        ``why`` is in it only when the run failed. What is not known is null.
        """
        run = state.runs.get(self.job) or RunState(job=self.job)
        attempt = run.latest
        losses = [[x, _number(y)] for x, y in run.series["loss"]]
        last = self.incidents[-1] if self.incidents else None
        found: dict[str, Any] = {
            "ok": self.final_at is not None and not why,
            "job": self.job,
            "nodes": list(self.nodes),
            "world_size": attempt.world_size[max(attempt.world_size)] if attempt and attempt.world_size else None,
            "iterations": {"first": losses[0][0] if losses else None, "last": losses[-1][0] if losses else None, "count": len(losses)},
            "losses": losses,
            "checkpoints": sorted(at for at, seen in run.checkpoints.items() if seen.state == "saved"),
            "faults": [incident.mapping() for incident in self.incidents],
            "resumed_from": last.resumed_from if last else None,
            "resume_s": round(last.resumed_at - last.injected.at, 3) if last and last.resumed_at is not None else None,
            "time_to_first_iteration_s": round(self.first_at - self.began_at, 3) if self.first_at is not None else None,
            "seed": seed}
        return {**found, "why": why} if why else found

    def _iterations(self, run: RunState, now: float) -> None:
        newest = run.series["loss"].last()
        if newest is None:
            return
        if self.first_at is None:
            self.first_at = self._moved_at = now
            self._say(say("first iteration, loss {loss:.4f}", loss=newest[1]))
        if newest[0] != self._newest:
            if newest[0] * 10 // self.iterations > self._newest * 10 // self.iterations:
                self._say(say("iteration {n} of {total}", n=newest[0], total=self.iterations) + say(", loss {loss:.4f}", loss=newest[1]))
            self._newest, self._moved_at = newest[0], now
        for iteration, seen in run.checkpoints.items():
            if seen.state == "saved" and iteration not in self._told_saves:
                self._told_saves.add(iteration)
                self._say(say("checkpoint {n} {state}", n=iteration, state=say("saved")))
        # Trained again after a restart: still the way there, so the final one counts only once it stands.
        if newest[0] >= self.iterations and self.final_at is None:
            self.final_at = now
            self._say(say("final iteration reached"))

    def _cause(self, state: FleetState, now: float) -> None:
        cause = root_cause(state, self.job)
        if cause is None:
            return
        place = (cause.attempt, cause.first.round)
        incident = next((one for one in reversed(self.incidents) if place not in one.known), None)
        if incident is None:
            if place not in self._failed:
                self._say(say("a rank failed that nobody asked to: {who}", who=say(_who(cause))))
        elif incident.cause is None or _who(incident.cause) != _who(cause):
            # The first answer may rest on half of the records; the time is that of the answer that stood.
            incident.cause, incident.detected_at = cause, now
            self._say(say("incident: {who} failed first ({code}, {sure} confidence)", who=say(_who(cause)), code=cause.first.code, sure=say(cause.confidence)))
        self._failed.add(place)

    def _resumption(self, run: RunState, incident: Incident, now: float) -> None:
        if incident.cause is None:
            return
        place = (incident.cause.attempt, incident.cause.first.round)
        for attempt, number, iteration in run.loads:
            if (attempt, number) > place and incident.resumed_from is None:
                incident.resumed_from = iteration
                self._moved_at = now
                self._say(say("round {round} loaded checkpoint {n}", round=number, n=iteration))
        # The load and the iterations are told by different nodes and may arrive in either order.
        if incident.resumed_at is None and any(standing > place for standing in run.standing.values()):
            incident.resumed_at = self._moved_at = now
            self._say(say("training again, {s:.1f} s after the fault", s=now - incident.injected.at))

    def _ends(self, attempt: AttemptState) -> dict[str, Any]:
        return {node: attempt.exits[node, number, local_rank].data
                for node, number, local_rank in attempt.exits if local_rank == -1 and node in self.nodes}


def summary(document: dict[str, Any]) -> str:
    """The document for people, in the language in use: a few lines."""
    iterations, ok = document["iterations"], document["ok"]
    lines = [say("{job}: {how}, iterations {first} to {last} ({n}), {ranks} ranks on {nodes} nodes, checkpoints {saves}", job=document["job"], how=say("finished" if ok else "FAILED"),
                 first=iterations["first"], last=iterations["last"], n=iterations["count"], ranks=document["world_size"], nodes=len(document["nodes"]),
                 saves=", ".join(map(str, document["checkpoints"])) or say("none"))]
    if document["time_to_first_iteration_s"] is not None:
        lines.append(say("first iteration after {s:.1f} s", s=document["time_to_first_iteration_s"]))
    for fault in document["faults"]:
        injected, cause = fault["injected"], fault["root_cause"]
        found = say("found {node} rank {rank} ({code}) after {s:.1f} s", node=cause["node"], rank=cause["rank"], code=cause["code"], s=fault["detected_after_s"]) if cause else say("not found")
        lines.append(say("fault {name} on {node} rank {rank} at iteration {n}: {found}", name=injected["name"], node=injected["node"], rank=injected["rank"], n=injected["iteration"], found=found))
    if document["resume_s"] is not None:
        lines.append(say("resumed from checkpoint {n}, training again after {s:.1f} s", n=document["resumed_from"], s=document["resume_s"]))
    if document.get("why"):
        lines.append(say("why: {why}", why=spoken_text(document["why"])))
    lines.append(say("seed {n}", n=document["seed"]))
    return "\n".join(lines)


def _who(cause: RootCause) -> Phrase:
    return phrase("rank {rank} on {node} in round {round}", rank=cause.first.rank, node=cause.first.node, round=cause.first.round)


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinities; DESIGN section 8 writes them as texts."""
    if math.isnan(value):
        return "nan"
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
