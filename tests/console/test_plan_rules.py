"""Every rule from a job file to ``rankdeck plan --json``: it is said with file, line and column, at the value that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from console import cli
from console.core.launch.rule_table import RULES
from tests.console.core.launch.test_rules import BREAKS, QWEN, job
from trainer.spec.families import PRESETS
from trainer.spec.job import to_mapping

FLEET = "nodes: [{name: 'n[0-3]', host: '10.0.0.[1-4]', npus: 8}, {name: n4, host: 10.0.0.5, npus: 4}, {name: n5, host: 10.0.0.6, role: spare}, {name: n6, host: 10.0.0.1}, {name: n7, host: localhost}]\n"
TINY: dict[str, dict[str, Any]] = {
    "run": {"name": "t", "mode": "pretrain"}, "paths": {"work": "/w"}, "fleet": {"nodes": ["n0", "n1"], "npus_per_node": 1, "nic": "bond0"},
    "runner": {"kind": "torchrun", "trainer_dir": "/opt/r"}, "train": {"iterations": 4, "global_batch_size": 2}, "checkpoint": {"dir": "/w/c", "interval": 2}}

MORE: list[tuple[str, str, str, dict[str, Any]]] = [
    ("S1r", "info", "checkpoint.interval", {}),
    ("B4", "error", "model.vocab_size", {"parallel": {"tensor_model_parallel_size": 2}, "model": {"vocab_size": 255}}),
    ("B5", "error", "model.preset", {"model": {"preset": "tiny-lama"}}),
    ("J1", "error", "train.iteratoins", {"train": {"iteratoins": 4}}),
    ("M1", "error", "run.mode", {"run": {"mode": "finetune"}}),
    ("D5", "error", "data.format", {"data": {"format": "csv"}}),
    ("R2", "error", "paths.work", {"paths": {"work": "${paths.wrok}"}}),
    ("V1", "error", "train.micro_batch_size", {"train": {"micro_batch_size": 0}}),
    ("F1", "error", "fleet.nodes.1", {"fleet": {"nodes": ["n0", "n0"]}}),
    ("F2", "error", "fleet.nodes.1", {"fleet": {"nodes": ["n0", "n9"]}}),
    ("F3", "error", "fleet.spares.0", {"fleet": {"spares": ["n1"]}}),
    ("F4", "error", "fleet.npus_per_node", {"fleet": {"nodes": ["n0", "n4"], "npus_per_node": 8}, "train": {"global_batch_size": 16}}),
    ("F5", "warning", "fleet.nodes.1", {"fleet": {"nodes": ["n0", "n5"]}}),
    ("F6", "error", "fleet.nodes.1", {"fleet": {"nodes": ["n0", "n6"]}}),
    ("F7", "error", "fleet.master_port", {"fleet": {"master_port": 0}}),
    ("F8", "warning", "fleet.nic", {"fleet": {"nic": ""}}),
    ("F9", "error", "fleet.nodes.1", {"fleet": {"nodes": ["n0", "n7"]}}),
    ("K1", "error", "run.name", {"run": {"name": "a b"}}),
    ("K1", "error", "run.name", {"run": {"name": "a--export"}}),
    ("K1", "error", "run.name", {"run": {"name": "训练"}}),
    ("K3", "error", "fleet.nic", {"fleet": {"nic": "bond 0"}}),
    ("K4", "error", "paths.work", {"paths": {"work": "w"}}),
    ("K4", "error", "code.to", {"code": {"path": "x", "to": "w/../x"}}),
    ("K5", "error", "runner.python", {"runner": {"python": ""}}),
    ("L2", "error", "runner.args", {"runner": {"args": ["-x"]}}),
    ("E1", "error", "env.A B", {"env": {"A B": "1"}}),
    ("E2", "error", "env.RANK", {"env": {"RANK": "1"}}),
    ("G1", "error", "code.to", {"code": {"to": "/w/code"}}),
    ("G1", "error", "code.repo", {"code": {"to": "/w/code", "path": "x", "repo": "y"}}),
    ("G1", "error", "code.commit", {"code": {"to": "/w/code", "path": "x", "commit": "--exec=x"}}),
    ("G1", "error", "code.to", {"code": {"to": "/w/$(touch owned)", "path": "x"}}),
    ("G1", "error", "code.to", {"code": {"to": "/w/", "path": "x"}}),
    ("U1", "error", "data.input", {"data": {"prepare": True, "format": "megatron-bin", "prefix": "/w/d"}}),
    ("U1", "error", "model.weights", {"model": {"convert": True}}),
    ("U1", "error", "runner.kind", {"model": {"convert": True}, "runner": {"kind": "script", "entry": "/x", "trainer_dir": ""}}),
]

ELSEWHERE = {"M2", "N1", "N2", "N3", "I1", "I2", "I3", "I4", "I5", "M6", "M8", "S7r", "C6", "T1", "T2", "L1", "K2", "E3"}
"""Rules that no job file can break in a plan: of imports, of what only nodes know, calculated ones; L1 and K2 of values that reading
or the command line refuses; E3 of characters that no YAML holds."""


def planned(path: Path, mapping: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], dict[tuple[str, ...], tuple[int, int]]]:
    """The findings of a job file, one value a line, and where each key and value of it stands."""
    text = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=4096)
    (path / "job.yaml").write_text(text, encoding="utf-8")
    (path / "fleet.yaml").write_text(FLEET)
    status = cli.main(["plan", str(path / "job.yaml"), "-i", str(path / "fleet.yaml"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert status == (0 if document["ok"] else 1)
    places: dict[tuple[str, ...], tuple[int, int]] = {}

    def walk(node: yaml.Node, keys: tuple[str, ...], key: tuple[int, int]) -> None:
        here = (node.start_mark.line + 1, node.start_mark.column + 1)
        places[keys] = key if isinstance(node, yaml.MappingNode) and keys else here
        places[(*keys, "<key>")] = key
        if isinstance(node, yaml.MappingNode):
            for name, value in node.value:
                walk(value, (*keys, name.value), (name.start_mark.line + 1, name.start_mark.column + 1))
        elif isinstance(node, yaml.SequenceNode):
            for at, value in enumerate(node.value):
                walk(value, (*keys, str(at)), (value.start_mark.line + 1, value.start_mark.column + 1))

    walk(yaml.compose(text), (), (1, 1))
    return document["problems"], places


def held(rule: str, severity: str, where: str, mapping: dict[str, Any], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems, places = planned(path, mapping, capsys)
    keys = tuple(where.split("."))
    nearest = next((keys[:length] for length in range(len(keys), 0, -1) if keys[:length] in places), ())
    # What is not in the file is told at the block it would stand in.
    wanted = {places[nearest] if nearest == keys else places[(*nearest, "<key>")], places[(*nearest, "<key>")]}
    told = [problem for problem in problems if problem["rule"] == rule and problem["severity"] == severity]
    assert {f"{path}/job.yaml:{line}:{column}" for line, column in wanted} & {problem["where"] for problem in told}, (wanted, told, problems)


@pytest.mark.parametrize(("rule", "severity", "where", "layers"), BREAKS, ids=lambda value: value if isinstance(value, str) else "")
def test_each_rule_is_told_at_its_place(rule: str, severity: str, where: str, layers: tuple[dict[str, Any], ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapping: dict[str, Any] = {block: dict(values) for block, values in QWEN.items()}
    for layer in layers:
        for block, values in layer.items():
            mapping[block] = {**mapping.get(block, {}), **values}
    whole = to_mapping(job(*layers))
    mapping = {block: {**values, **{key: whole[block][key] for key in ("dir", "trainer_dir", "python", "iterations") if key in whole[block]}} if isinstance(values, dict) else values
               for block, values in mapping.items()}
    held(rule, severity, where, mapping, tmp_path, capsys)


@pytest.mark.parametrize(("rule", "severity", "where", "changes"), MORE, ids=lambda value: value if isinstance(value, str) else "")
def test_the_other_rules_are_too(rule: str, severity: str, where: str, changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapping: dict[str, Any] = {block: dict(values) for block, values in TINY.items()}
    for block, values in changes.items():
        mapping[block] = {**mapping.get(block, {}), **values}
    held(rule, severity, where, mapping, tmp_path, capsys)
    assert not list(tmp_path.rglob("owned")) and not Path("owned").exists()


def test_no_rule_is_left_out() -> None:
    shown = {rule for rule, *_ in BREAKS} | {rule for rule, *_ in MORE}
    assert set(RULES) - shown - ELSEWHERE == set(), "a new rule wants a line in MORE"
    assert not shown & ELSEWHERE


def test_names_come_with_the_nearest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problems, _ = planned(tmp_path, {**TINY, "model": {"preset": "tiny-qwen"}}, capsys)
    (problem,) = [one for one in problems if one["rule"] == "B5"]
    assert problem["got"] == "tiny-qwen" and problem["fix"] in ("Did you mean 'tiny-qwen2'?", "Did you mean 'tiny-qwen3'?") and all(name in problem["expected"] for name in PRESETS)
    problems, _ = planned(tmp_path, {"defaults": [{"recipe": "qwen-14"}, {"hardware": "ascend-a2"}], **TINY}, capsys)
    told = {one["where"].rpartition("job.yaml")[2]: one for one in problems if one["rule"] == "R2"}
    assert {one["fix"] for one in told.values()} == {"Did you mean 'qwen-14b'?", "Did you mean 'ascend-a2-8'?"} and set(told) == {":2:3", ":3:3"}


def test_a_preset_gives_the_shape_that_rules_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapping = {**TINY, "fleet": {**TINY["fleet"], "npus_per_node": 2}, "parallel": {"tensor_model_parallel_size": 4}, "train": {"iterations": 4, "global_batch_size": 4}}
    assert not [one for one in planned(tmp_path, mapping, capsys)[0] if one["rule"] == "B4"]
    problems, _ = planned(tmp_path, {**mapping, "model": {"preset": "tiny-llama3"}}, capsys)
    assert [one["got"] for one in problems if one["rule"] == "B4"] == ["2"]
