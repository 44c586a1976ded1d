"""A plan beside an attempt: only what differs is told, and the attempt's own id never is."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from console import files
from console.cli import main
from console.core.launch.difference import attempt_of_plan, difference, difference_text
from console.core.launch.plan import LaunchPlan, make_plan, plan_mapping
from tests.console.core.launch.jobs import ATTEMPT, FLEET, JOB, make_fleet, make_job
from tests.console.core.launch.test_plan import SCHEMA

BEFORE = "20261121T080000Z-0000"


def plan(attempt: str = ATTEMPT, **changes: object) -> LaunchPlan:
    return make_plan(make_job(**changes), make_fleet(), attempt)


def test_nothing_differs_but_the_id() -> None:
    found = difference(plan(), attempt_of_plan(plan_mapping(plan(BEFORE))))
    assert found == {"against": BEFORE, "job": [], "nodes": []} and difference_text(found) == f"Same as {BEFORE}\n"


def test_values_and_lines_that_differ() -> None:
    found = difference(plan(train={"iterations": 90}, recovery={"in_place": 5}), attempt_of_plan(plan_mapping(plan(BEFORE))))
    assert [(change["key"], change["was"], change["now"]) for change in found["job"]] == [("train.iterations", 60, 90), ("recovery.in_place", 3, 5)]
    assert [(node["node"], node["file"]) for node in found["nodes"]] == [("n0", "command.sh"), ("n1", "command.sh")]
    assert [line for line in found["nodes"][0]["lines"] if line.startswith(("-  ", "+  "))] == ["-  --max-restarts=3 \\", "+  --max-restarts=5 \\"]
    assert "train.iterations" in difference_text(found)


def test_a_node_that_is_new() -> None:
    found = difference(plan(fleet={"nodes": ["n0", "n2"]}), attempt_of_plan(plan_mapping(plan(BEFORE))))
    lines = {node["node"]: [line[0] for line in node["lines"] if not line.startswith(("---", "+++", "@@"))] for node in found["nodes"]}
    assert set(lines["n1"]) == {"-"} and set(lines["n2"]) == {"+"}


@pytest.mark.parametrize("given", ["id", "attempt", "node", "plan"])
def test_where_an_attempt_may_be(given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = {**JOB, "paths": {"work": str(tmp_path / "work")}}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    (tmp_path / "fleet.yaml").write_text(json.dumps(FLEET))
    made = make_plan(make_job(paths={"work": str(tmp_path / "work")}, train={"iterations": 50}), make_fleet(), BEFORE)
    for node in made.nodes:
        directory = Path(node.dir)
        directory.mkdir(parents=True)
        (directory / "command.sh").write_text(node.commands[0].script)
        (directory / "job.json").write_text(node.files["job.json"])
    (tmp_path / "plan.json").write_text(json.dumps(plan_mapping(made)))
    attempt = Path(made.nodes[0].dir).parent
    name = {"id": BEFORE, "attempt": str(attempt), "node": made.nodes[0].dir, "plan": str(tmp_path / "plan.json")}[given]
    assert main(["plan", str(tmp_path / "job.yaml"), "-i", str(tmp_path / "fleet.yaml"), "--json", "--diff", name]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    assert document["diff"]["against"] == BEFORE
    assert [(change["key"], change["was"], change["now"]) for change in document["diff"]["job"]] == [("train.iterations", 50, 60)]
    assert main(["plan", str(tmp_path / "job.yaml"), "-i", str(tmp_path / "fleet.yaml"), "--diff", name]) == 0
    assert "train.iterations  50 -> 60" in capsys.readouterr().out


def test_an_attempt_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(files.FileError, match="no such attempt"):
        files.read_attempt(BEFORE, str(tmp_path), "x")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(files.FileError, match="this is no plan"):
        files.read_attempt(str(tmp_path / "x.json"), "", "")
