"""Plans: the golden files, what a plan refuses, and that JSON and text say the same.

``UPDATE_GOLDEN=1 pytest tests/console/core/launch/test_plan.py`` writes the golden files anew; look
at the difference before it is committed, it is what will be executed on people's nodes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from console.core.launch.plan import LaunchPlan, make_plan, plan_mapping, plan_text, refused_plan
from console.core.launch.problems import Problem
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from trainer.spec import job

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "tests" / "flow" / "plans"
SCHEMA = json.loads((ROOT / "console" / "schema" / "plan.schema.json").read_text())


def plan(**changes: Any) -> LaunchPlan:
    return make_plan(make_job(**changes), make_fleet(), ATTEMPT)


def rules(**changes: Any) -> dict[str, Problem]:
    return {problem.rule: problem for problem in plan(**changes).problems if problem.severity != "info"}


@pytest.mark.parametrize("name", ["two-of-four.txt", "two-of-four.json"])
def test_golden(name: str) -> None:
    text = plan_text(plan()) if name.endswith(".txt") else json.dumps(plan_mapping(plan()), indent=2, ensure_ascii=False) + "\n"
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_the_plan_of_two_nodes() -> None:
    found = plan()
    assert found.ok and [(n.node, n.node_index) for n in found.nodes] == [("n0", 0), ("n1", 1)]
    first = found.nodes[0]
    assert first.dir == f"/shared/work/.rankdeck/tiny-gpt/{ATTEMPT}/n0" and first.devices == (0, 1)
    assert job.from_mapping(json.loads(first.files["job.json"])) == make_job()
    assert first.commands[0].phase == "start" and first.commands[0].script
    for name, value in {"world_size": 4, "data_parallel_size": 4, "num_microbatches": 2, "saves": 6, "tokens_per_step": 512}.items():
        assert found.derived[name] == value
    assert found.derived["save_iterations"] == [10, 20, 30, 40, 50, 60]


def test_only_what_must_differ_between_nodes_differs() -> None:
    first, second = (node.commands[0].script.splitlines() for node in plan().nodes)
    assert len(first) == len(second)
    differing = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert [a.split("=")[0].strip() for a, _ in differing] == [
        "export RANKDECK_NODE", "export RANKDECK_NODE_INDEX", "export RANKDECK_DIR", "--rdzv-conf", "--local-addr"]


def test_a_node_without_npus_locks_none() -> None:
    fleet = make_fleet(n0={"npus": 0}, n1={"npus": 0})
    assert make_plan(make_job(), fleet, ATTEMPT).nodes[0].devices == ()


@pytest.mark.parametrize(("changes", "rule", "where"), [
    ({"fleet": {"nodes": ["n0", "n0"]}}, "F1", "fleet.nodes.1"),
    ({"fleet": {"nodes": ["n0", "nX"]}}, "F2", "fleet.nodes.1"),
    ({"fleet": {"spares": ["n1"]}}, "F3", "fleet.spares.0"),
    ({"fleet": {"npus_per_node": 16}}, "F4", "fleet.npus_per_node"),
    ({"fleet": {"nodes": ["n0", "n3"], "spares": []}}, "F5", "fleet.nodes.1"),
    ({"fleet": {"master_port": 0}}, "F7", "fleet.master_port"),
    ({"fleet": {"master_port": 65536}}, "F7", "fleet.master_port"),
    ({"fleet": {"nic": ""}}, "F8", "fleet.nic"),
    ({"run": {"name": "a/b"}}, "K1", "run.name"),
    ({"run": {"name": "../x"}}, "K1", "run.name"),
    ({"run": {"name": "-x"}}, "K1", "run.name"),
    ({"run": {"name": "x" * 101}}, "K1", "run.name"),
    ({"run": {"name": ""}}, "K1", "run.name"),
    ({"fleet": {"nic": "eth0,eth1"}}, "K3", "fleet.nic"),
    ({"paths": {"work": "work"}}, "K4", "paths.work"),
    ({"paths": {"work": "~ops/work"}}, "K4", "paths.work"),
    ({"paths": {"work": "/w/../x"}}, "K4", "paths.work"),
    ({"checkpoint": {"dir": ""}}, "K4", "checkpoint.dir"),
    ({"runner": {"trainer_dir": ""}}, "K4", "runner.trainer_dir"),
    ({"runner": {"python": ""}}, "K5", "runner.python"),
    ({"runner": {"args": ["--x"]}}, "L2", "runner.args"),
    ({"runner": {"kind": "script"}}, "L3", "runner.entry"),
    ({"container": {"runtime": "docker"}}, "C4", "container.image"),
    ({"env": {"A-B": "x"}}, "E1", "env.A-B"),
    ({"env": {"RANK": "0"}}, "E2", "env.RANK"),
    ({"env": {"RANKDECK_DIR": "/x"}}, "E2", "env.RANKDECK_DIR"),
    ({"env": {"HOME": "/x"}}, "E2", "env.HOME"),
    ({"env": {"A": "x\0y"}}, "E3", "env.A"),
    ({"runner": {"entry": "x\ud800"}}, "E3", "runner.entry"),
    ({"train": {"global_batch_size": 9, "micro_batch_size": 2}}, "P3", "train.global_batch_size"),
    ({"parallel": {"tensor_model_parallel_size": 3}}, "P1", "parallel"),
])
def test_what_does_not_fit_is_said(changes: dict[str, Any], rule: str, where: str) -> None:
    found = rules(**changes)
    assert rule in found and found[rule].where == where
    ok = all(problem.severity != "error" for problem in found.values())
    assert plan(**changes).ok == ok and bool(plan(**changes).nodes) == ok


def test_nodes_that_share_an_address() -> None:
    found = make_plan(make_job(), make_fleet(n1={"host": "10.0.0.1"}), ATTEMPT)
    assert [p.rule for p in found.problems if p.severity == "error"] == ["F6"]


def test_a_loopback_address_is_of_no_use_to_others() -> None:
    found = make_plan(make_job(), make_fleet(n0={"address": "127.0.0.1"}), ATTEMPT)
    assert [p.rule for p in found.problems if p.severity == "error"] == ["F9"]


@pytest.mark.parametrize("attempt", ["", "x", "20261122T051001Z", "20261122T051001Z-1A2B", "../../etc"])
def test_an_attempt_id_has_one_form(attempt: str) -> None:
    assert "K2" in {p.rule for p in make_plan(make_job(), make_fleet(), attempt).problems}


def test_all_problems_at_once_errors_first() -> None:
    found = plan(run={"name": "a/b"}, fleet={"nodes": ["n0", "nX"], "nic": ""}, env={"RANK": "1"}, train={"global_batch_size": 7})
    assert [p.severity for p in found.problems] == sorted((p.severity for p in found.problems), key=["error", "warning", "info"].index)
    assert {"K1", "F2", "F8", "E2", "P3"} <= {p.rule for p in found.problems}


def test_places_are_looked_up() -> None:
    found = make_plan(make_job(env={"RANK": "1"}), make_fleet(), ATTEMPT, lambda path, key=False: f"job.yaml:{len(path)}")
    assert [p.where for p in found.problems if p.rule == "E2"] == ["job.yaml:2"]


@pytest.mark.parametrize("found", [plan(), plan(fleet={"nodes": ["nX"]}),
                                   refused_plan([Problem(rule="J1", severity="error", where="f:1:1", message="m")])])
def test_json_keeps_the_schema(found: LaunchPlan) -> None:
    mapping = json.loads(json.dumps(plan_mapping(found)))
    jsonschema.validate(mapping, SCHEMA)
    assert mapping["ok"] == found.ok


def test_text_shows_every_word_that_is_run() -> None:
    text = plan_text(plan())
    for node in plan().nodes:
        for line in node.commands[0].script.splitlines():
            assert line in text
