"""The process that failed first is named; whoever only noticed is not."""

from __future__ import annotations

from typing import Any

from console.core.events import NodeMet, RecordArrived
from console.core.fleet.state import FleetState, apply
from console.core.triage.attribute import root_cause

ATTEMPT = "20261122T050000Z-aaaa"


def rec(seq: int, node: str, kind: str, **data: Any) -> RecordArrived:
    return RecordArrived(node=node, spool_id="s", seq=seq, kind=kind, key=f"{kind}:{seq}", time=data.get("ended") or 0.0, at=0.0,
                         data={"job": "gpt", "attempt": ATTEMPT, **data})


def ended(seq: int, node: str, rank: int, at: float, *, code: int | None = None, signal: int | None = None, round: int = 0, asked: bool = False) -> RecordArrived:
    return rec(seq, node, "exit", scope="rank", round=round, rank=rank, local_rank=0, pid=1000 + seq, code=code, signal=signal, ended=at, asked=asked)


def fault(seq: int, node: str, role: str, *, round: int = 0, code: str = "x", category: str = "network") -> RecordArrived:
    return rec(seq, node, "fault", round=round, local_rank=0, role=role, code=code, category=category, rule="r", file="log", line=7, text="line")


def met(node: str, offset: float, error: float = 0.01) -> NodeMet:
    return NodeMet(node=node, at=0.0, agent="h", revision=1, spool_id="s", boot_id="b", oldest_seq=1, newest_seq=1,
                   clock_offset_s=offset, clock_error_s=error)


def fold(*events: Any) -> FleetState:
    state = FleetState()
    for event in events:
        state = apply(state, event)
    return state


def test_nothing_failed_nothing_named() -> None:
    assert root_cause(fold(ended(1, "n1", 0, 10.0, code=0)), "gpt") is None
    assert root_cause(FleetState(), "gpt") is None


def test_killed_rank_is_named_not_the_one_that_noticed() -> None:
    found = root_cause(fold(ended(1, "n1", 0, 10.0, code=1), fault(2, "n1", "cascade"), ended(3, "n2", 1, 10.2, signal=9)), "gpt")
    assert found is not None
    cause = found.mapping()
    assert (cause["node"], cause["rank"], cause["code"], cause["round"], cause["confidence"]) == ("n2", 1, "SIGKILL", 0, "high")
    assert "killed by SIGKILL" in cause["evidence"][0]["text"]
    assert [c.node for c in found.alternatives] == ["n1"]


def test_clock_offset_decides_between_two_roots() -> None:
    # n1's clock is 5 s ahead: its 13.0 is 8.0 of ours, before n2's 10.0.
    events = [met("n1", 5.0), met("n2", 0.0), ended(1, "n1", 0, 13.0, signal=11), ended(2, "n2", 1, 10.0, signal=11)]
    found = root_cause(fold(*events), "gpt")
    assert found is not None and found.first.node == "n1" and found.confidence == "high"
    found = root_cause(fold(met("n1", 5.0, 3.0), *events[1:]), "gpt")
    assert found is not None and found.confidence == "medium"


def test_teardown_alone_is_nobodys_fault() -> None:
    assert root_cause(fold(ended(1, "n1", 0, 10.0, signal=15)), "gpt") is None


def test_a_stop_that_was_asked_for_is_no_failure() -> None:
    assert root_cause(fold(ended(1, "n1", 0, 10.0, signal=9, asked=True)), "gpt") is None


def test_the_newest_failed_round_counts_with_its_own_ranks() -> None:
    found = root_cause(fold(ended(1, "n1", 0, 10.0, signal=9), ended(2, "n1", 1, 20.0, signal=9, round=1)), "gpt")
    assert found is not None and (found.first.round, found.first.rank) == (1, 1)


def test_root_line_in_the_log_outranks_an_earlier_bare_exit() -> None:
    found = root_cause(fold(ended(1, "n1", 0, 10.0, code=1), ended(2, "n2", 1, 10.5, code=1),
                            fault(3, "n2", "root", code="hbm-ecc", category="hardware")), "gpt")
    assert found is not None
    assert (found.first.node, found.first.code, found.first.category) == ("n2", "hbm-ecc", "hardware")


def test_device_is_where_npu_smi_saw_the_process() -> None:
    sample = RecordArrived(node="n2", spool_id="s", seq=9, kind="sample", key=None, time=0.0, at=0.0,
                           data={"columns": {}, "processes": {"pid": [1003], "npu_id": [5]}})
    found = root_cause(fold(sample, ended(3, "n2", 1, 10.0, signal=9)), "gpt")
    assert found is not None and found.device == 5
