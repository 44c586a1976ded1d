"""What errands came to in the recorded fleet: a check with every state in it, and job files good and bad."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from console.core.events import CheckEnded, CheckTold, JobPlanned
from console.core.launch.inventory import Node
from console.core.launch.plan import LaunchPlan, make_plan
from console.core.launch.problems import Problem
from console.core.preflight.facts import Case, NodeFacts
from console.core.preflight.table import Report, judge
from tests.console.core.launch.jobs import make_fleet, make_job
from tests.console.core.preflight.facts import parts
from tests.console.tui import scene

NODES = ("atlas-01", "atlas-02", "atlas-03", "atlas-04")
ATTEMPT = "20261122T051000Z-1a2b"


def facts(name: str, **over: Any) -> NodeFacts:
    told = parts(**over)
    told["network"]["columns"]["address"] = [f"29.0.{name[-1]}.{at}" for at in range(2)]
    return NodeFacts(node=Node(name=name, host="10.0.0.1", npus=2), parts=told, clock_offset_s=0.0, clock_error_s=0.001, took_s=0.4)


def spoilt(name: str, part: str, **changes: Any) -> NodeFacts:
    """A node with something of one part changed."""
    whole = copy.deepcopy(facts(name))
    whole.parts[part].update(changes)
    return whole


def report(nodes: tuple[NodeFacts, ...] | None = None, **how: Any) -> Report:
    """One node is fit, one forwards nothing and has a sick NPU, one did not say its limits, one is dead."""
    sick = spoilt("atlas-02", "host", ip_forward=0)
    sick.parts["npu"]["sample"]["columns"]["health"] = ["OK", "Alarm"]
    silent = replace(facts("atlas-03"), absent={"clock": "timeout"})
    del silent.parts["clock"]  # type: ignore[attr-defined]
    silent.parts["host"]["shm"] = {"total_mb": 64, "free_mb": 60}
    dead = NodeFacts(node=facts("atlas-04").node, reached=False, why="no answer from 10.0.0.4 port 22", fix="Is the machine up?", took_s=20.0)
    return judge(Case(nodes=nodes or (facts("atlas-01"), sick, silent, dead), level="standard", **how))


def check_told() -> list[CheckTold | CheckEnded]:
    """A check that is over."""
    return [CheckTold(at=scene.NOW - 9, nodes=NODES, level="standard"), CheckTold(at=scene.NOW - 8, node="atlas-01", text="answered (0.4 s)"),
            CheckEnded(at=scene.NOW - 5, report=report())]


LINES = """\
run: {name: tiny-gpt}
paths: {work: /shared/work}
fleet:
  nodes: [n0, n1]
  npus_per_node: 2
  nic: bond0
train: {iterations: 60, global_batch_size: 7}
checkpoint: {dir: /shared/work/checkpoints, interval: 10}
""".splitlines()


def plan(**changes: Any) -> LaunchPlan:
    return make_plan(make_job(fleet={"spares": []}, **changes), make_fleet(), ATTEMPT)


def planned(path: str = "job.yaml") -> JobPlanned:
    """A job that may be launched, with a warning."""
    found = plan()
    warning = Problem(rule="F5", severity="warning", where=f"{path}:4:15", message="node 'n1' is a spare in the fleet file", got="n1", expected="a worker", fix="Keep it for a failure, or give it role: worker")
    return JobPlanned(at=scene.NOW - 3, path=path, lines=tuple(LINES), plan=replace(found, problems=(warning,)))


def refused(path: str = "job.yaml") -> JobPlanned:
    """A job with two errors, one of them in a file that it includes."""
    problems = (Problem(rule="P3", severity="error", where=f"{path}:7:44", message="7 microbatches cannot be dealt to 4 data-parallel ranks", got="7",
                        expected="a multiple of micro_batch_size x DP = 4", fix="Use 4 or 8"),
                Problem(rule="F2", severity="error", where="base.yaml:3:1", message="node 'n9' is not in fleet 'lab'", got="n9", expected="n0, n1",
                        fix="Mend the name or add the node to the fleet file"))
    return JobPlanned(at=scene.NOW - 3, path=path, lines=tuple(LINES), plan=replace(plan(), problems=problems, nodes=()))


def judge_waived() -> Report:
    """The same check, with forwarding waived."""
    return judge(report().case, {"ip-forward": "host network only"})
