"""The gate of a launch: what it is held against, and what it makes of the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from console.core.errors import FileError
from console.core.launch.plan import LaunchPlan, NodePlan
from console.core.preflight.table import Report
from console.remote.gate import Gate, NotFitError, gate_of
from tests.console.core.preflight.facts import process_job
from tests.console.remote.fakes import RealClock
from tests.console.remote.test_check import FakeLinks, FakeSession, nodes, told
from trainer.spec.job import to_mapping


class TimedLinks(FakeLinks):
    """Nodes whose sessions know how far their clocks are off."""

    def __init__(self, **offsets: float) -> None:
        super().__init__(told)
        self.offsets = offsets

    def session(self, node: str, timeout_s: float = 15.0) -> Any:
        session: FakeSession = super().session(node, timeout_s)
        session.clock_offset = (self.offsets.get(node, 0.0), 0.01)  # type: ignore[attr-defined]
        return session


def plan(**preflight: Any) -> LaunchPlan:
    text = json.dumps(to_mapping(process_job(preflight=preflight)))
    return LaunchPlan(job="tiny", attempt="a", problems=(), derived={}, nodes=(
        NodePlan(node="n0", node_index=0, dir="/w", files={"job.json": text}, devices=(), commands=()),))


def test_the_clocks_of_the_nodes_are_held_against_each_other() -> None:
    heard: list[Report] = []
    gate = Gate(level="quick", job=process_job(), told=heard.append)
    gate.carry_out(TimedLinks(n1=0.2), nodes(2), RealClock())
    with pytest.raises(NotFitError) as caught:
        gate.carry_out(TimedLinks(n1=60.0), nodes(2), RealClock())
    assert [finding.id for finding in caught.value.errors] == ["clock-offset"] and "n1 is ahead" in caught.value.where
    assert [report.ok for report in heard] == [True, False] and caught.value.report is heard[1]


def test_a_node_that_is_gone_is_told_among_the_rest() -> None:
    links = TimedLinks()
    links.dead = {"n1"}
    links.released.set()
    with pytest.raises(NotFitError) as caught:
        Gate(level="quick", job=process_job()).carry_out(links, nodes(2), RealClock())
    assert caught.value.node == "n1" and caught.value.errors[0].id == "node-reachable"


def test_the_job_file_says_how_it_is_checked_and_the_command_line_that_it_is_not() -> None:
    asked = gate_of(plan(level="quick", waive=[{"id": "ip-forward", "reason": "host network"}, {"id": "P4", "reason": "of the plan"}]))
    assert (asked.level, asked.waivers, asked.open) == ("quick", {"ip-forward": "host network"}, False)
    assert gate_of(plan()).level == "standard"
    for gate, why in ((gate_of(plan(level="none")), "preflight.level: none in the job file"), (gate_of(plan(), skip="--no-check"), "--no-check")):
        assert gate.open and gate.why == why
    with pytest.raises(FileError, match="without a reason"):
        gate_of(plan(waive=[{"id": "ip-forward", "reason": ""}]))
