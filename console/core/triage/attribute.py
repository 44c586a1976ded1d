"""Who broke first: the earliest initiating failure of an attempt's newest failed round. Pure.

Works on agent records alone: exit records of ranks (written by the process that waited for them), fault
lines, rank maps, clock offsets. Nothing is assumed from the job file: a rank is the RANK its process had.

Rules (reference: launch-and-recovery section 8, faults catalogue): times are corrected by each node's
clock offset; teardown (SIGTERM by the launcher) and cascades (a peer noticed) never outrank an initiating
error; of several the earliest wins. The triage room grows from here (episodes, time-outs dated back to
their start, missing ranks); this file keeps the question "which process failed first".
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from console.core.fleet.state import AttemptState, ExitSeen, FaultSeen, FleetState
from console.core.i18n import Phrase, phrase

_STRENGTH = {"root": 0, "unclear": 1, "cascade": 2, "teardown": 3, "benign": 4}
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One process that failed, and what speaks for or against it having been the first."""

    node: str
    round: int
    rank: int | None
    local_rank: int
    code: str
    category: str
    role: str
    ended: float
    """When it ended, on the console's clock (s)."""
    error_s: float
    """How far off that may be."""
    evidence: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootCause:
    """The answer, in the shape of DESIGN section 8 (``mapping``)."""

    attempt: str
    first: Candidate
    device: int | None
    confidence: Confidence
    alternatives: tuple[Candidate, ...]

    def mapping(self) -> dict[str, Any]:
        """``root_cause`` of the JSON shapes, with the round in which the rank had that number."""
        first = self.first
        return {"node": first.node, "rank": first.rank, "device": self.device, "code": first.code,
                "category": first.category, "confidence": self.confidence, "round": first.round,
                "evidence": [dict(item) for item in first.evidence]}


def root_cause(state: FleetState, job: str) -> RootCause | None:
    """Who failed first in the newest failed round of the job's newest attempt; None while nothing failed."""
    run = state.runs.get(job)
    attempt = run.latest if run else None
    if attempt is None:
        return None
    failed = [seen for seen in attempt.exits.values() if _abnormal(seen)]
    rounds = sorted({int(seen.data.get("round") or 0) for seen in failed if seen.data.get("scope") == "rank"}, reverse=True)
    for number in rounds:
        candidates = sorted(_candidates(state, attempt, failed, number), key=lambda c: (_STRENGTH[c.role], c.ended))
        if candidates and candidates[0].role != "teardown":
            first = candidates[0]
            return RootCause(attempt=attempt.attempt, first=first, device=_device(state, attempt, first),
                             confidence=_confidence(first, candidates[1:]), alternatives=tuple(candidates[1:4]))
    return None


def _abnormal(seen: ExitSeen) -> bool:
    return bool(seen.data.get("code") or seen.data.get("signal")) and not seen.data.get("asked")


def _candidates(state: FleetState, attempt: AttemptState, failed: Iterable[ExitSeen], number: int) -> Iterable[Candidate]:
    for seen in failed:
        data = seen.data
        if data.get("scope") != "rank" or int(data.get("round") or 0) != number:
            continue
        local_rank = int(data.get("local_rank") or 0)
        met = state.nodes[seen.node].met if seen.node in state.nodes else None
        faults = [fault for fault in attempt.faults if _of_rank(fault, seen.node, number, local_rank)]
        strongest = min(faults, key=lambda f: _STRENGTH.get(str(f.data.get("role")), 1), default=None)
        role, code, category = _judge(data, strongest)
        evidence: list[Mapping[str, Any]] = [{"file": _record_name(attempt, seen.node, number, local_rank), "line": None,
                                              "text": _words(data)}]
        if strongest is not None:
            evidence.append({"file": strongest.data.get("file"), "line": strongest.data.get("line"), "text": strongest.data.get("text")})
        yield Candidate(
            node=seen.node, round=number, rank=data.get("rank"), local_rank=local_rank, code=code, category=category, role=role,
            ended=float(data.get("ended") or seen.time) - (met.clock_offset_s if met else 0.0),
            error_s=met.clock_error_s if met else 0.0, evidence=tuple(evidence))


def _of_rank(fault: FaultSeen, node: str, number: int, local_rank: int) -> bool:
    data = fault.data
    return fault.node == node and data.get("round") == number and data.get("local_rank") == local_rank


def _judge(data: Mapping[str, Any], fault: FaultSeen | None) -> tuple[str, str, str]:
    """(role, code, category) of one end. A line in the rank's own log outranks the bare status, but a kill
    from outside is its own explanation: the process had no chance to print one."""
    number = data.get("signal")
    if number in (signal.SIGTERM, signal.SIGINT):
        return "teardown", _signal_name(number), "unknown"
    if number == signal.SIGKILL:
        return "root", "SIGKILL", "unknown"
    if fault is not None:
        code = str(fault.data.get("code") or fault.data.get("rule") or "")
        return str(fault.data.get("role") or "unclear"), code, str(fault.data.get("category") or "unknown")
    if number:
        return "root", _signal_name(number), "workload"
    return "unclear", f"exit {data.get('code')}", "unknown"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _words(data: Mapping[str, Any]) -> Phrase:
    who = {"rank": data.get("rank"), "local": data.get("local_rank"), "pid": data.get("pid")}
    if data.get("signal"):
        return phrase("rank {rank} (local rank {local}, pid {pid}) killed by {name}", **who, name=_signal_name(int(data["signal"])))
    return phrase("rank {rank} (local rank {local}, pid {pid}) exited with status {code}", **who, code=data.get("code"))


def _record_name(attempt: AttemptState, node: str, number: int, local_rank: int) -> str:
    return f"{attempt.dirs.get(node, '')}/round-{number:02d}/exit-local_rank-{local_rank}.json".lstrip("/" if not attempt.dirs.get(node) else "")


def _device(state: FleetState, attempt: AttemptState, first: Candidate) -> int | None:
    """The NPU on which npu-smi last showed the process, None when it never did."""
    node = state.nodes.get(first.node)
    seen = attempt.exits.get((first.node, first.round, first.local_rank))
    return node.npu_of_pid.get(int(seen.data.get("pid") or 0)) if node and seen else None


def _confidence(first: Candidate, others: Iterable[Candidate]) -> Confidence:
    if first.role != "root":
        return "low"
    rivals = [c for c in others if c.role == "root" and c.ended - first.ended <= c.error_s + first.error_s]
    return "medium" if rivals else "high"
