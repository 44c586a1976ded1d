"""``rankdeck check`` on 32 real SSH hosts, one of them dead and one hanging: what is known of the others is whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.crowd import Crowd
from tests.hosts.rig.rig import Rig, missing

pytestmark = pytest.mark.ssh
COUNT = 32
DEAD, HANGING = "n7", "n20"


@pytest.fixture
def crowd(tmp_path: Path, node_python: str) -> Iterator[Crowd]:
    reason = missing()
    if reason and os.environ.get("RANKDECK_HOSTS") == "required":
        pytest.fail(f"the real-host tests {reason}")
    if reason:
        pytest.skip(reason)
    with Rig([f"n{number}" for number in range(1, COUNT + 1)]) as rig:
        yield Crowd(rig, tmp_path, node_python)


def test_thirty_are_judged_whole_beside_a_dead_and_a_hanging_one(crowd: Crowd) -> None:
    crowd.rig.nodes[DEAD].stop()
    crowd.interpreter(HANGING, "exec sleep 120")
    asked = crowd.check("--timeout", "60")
    nodes = {node["node"]: node for node in asked.document["nodes"]}
    assert len(nodes) == COUNT and {name for name, node in nodes.items() if not node["reached"]} == {DEAD, HANGING}
    assert "cannot reach" in nodes[DEAD]["why"] and nodes[HANGING]["why"]
    answered = [node for name, node in nodes.items() if name not in (DEAD, HANGING)]
    assert all(node["absent"] == {} and node["clock_offset_s"] is not None for node in answered)
    states = {check["id"]: check["nodes"] for check in asked.document["checks"]}
    for name in ("node-reachable", "npu-count", "npu-health", "npu-link", "npu-tls", "disk-space", "ports-free", "agent-python"):
        assert {states[name][node["node"]] for node in answered} == {"ok"}, name
    errors = {(problem["node"], problem["rule"]) for problem in asked.document["problems"] if problem["severity"] == "error"}
    assert errors == {(DEAD, "node-reachable"), (HANGING, "node-reachable")}
    # Nobody waits for a node of which it was said that it is not there.
    assert nodes[DEAD]["took_s"] < nodes[HANGING]["took_s"]
    quickest, slowest = min(node["took_s"] for node in answered), max(node["took_s"] for node in answered)
    print(f"\n{len(answered)} nodes answered in {quickest:.1f} to {slowest:.1f} s; dead {nodes[DEAD]['took_s']:.1f} s, hanging {nodes[HANGING]['took_s']:.1f} s; "
          f"the document was there after {asked.told_s:.1f} s, the slowest node took {asked.slowest_s:.1f} s")
