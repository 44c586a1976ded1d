"""The resolved job file: read and written back equal, and every problem named at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trainer.spec.job import JobSpec, SpecError, from_mapping, to_mapping


def minimal() -> dict[str, Any]:
    return {
        "run": {"name": "night"},
        "paths": {"work": "/data/work"},
        "fleet": {"nodes": ["n0", "n1"]},
        "train": {"iterations": 60},
        "checkpoint": {"dir": "/data/ck"},
    }


def problems(mapping: Any) -> list[tuple[tuple[str, ...], str]]:
    with pytest.raises(SpecError) as caught:
        from_mapping(mapping)
    return caught.value.problems


def test_what_is_not_said_has_the_default() -> None:
    spec = from_mapping(minimal())
    assert spec.fleet.nodes == ("n0", "n1")
    assert spec.fleet.npus_per_node == 8
    assert (spec.model.num_layers, spec.model.hidden_size, spec.model.vocab_size) == (2, 64, 256)
    assert spec.recovery.in_place == 3
    assert spec.env == {}


def test_a_job_survives_the_way_to_the_node_and_back() -> None:
    mapping = minimal()
    mapping["env"] = {"HCCL_CONNECT_TIMEOUT": "1800"}
    mapping["runner"] = {"args": ["--flag", "x"], "python": "python3.11"}
    mapping["train"].update(learning_rate=2e-3, min_step_s=0.25, timeout_s=30)
    spec = from_mapping(mapping)
    again = from_mapping(json.loads(json.dumps(to_mapping(spec))))
    assert again == spec
    assert again.runner.args == ("--flag", "x")
    assert isinstance(again.train.timeout_s, float)


def test_the_written_mapping_has_every_block_in_order() -> None:
    written = to_mapping(from_mapping(minimal()))
    assert list(written) == list(JobSpec.__dataclass_fields__)
    assert json.dumps(written)  # plain types throughout


def test_an_unknown_key_is_refused_with_the_nearest_one() -> None:
    mapping = minimal()
    mapping["train"]["global_batchsize"] = 8
    assert problems(mapping) == [(("train", "global_batchsize"), "unknown key 'global_batchsize'; did you mean 'global_batch_size'?")]


def test_an_unknown_block_is_refused_with_the_nearest_one() -> None:
    mapping = {**minimal(), "chekpoint": {}}
    assert problems(mapping) == [(("chekpoint",), "unknown key 'chekpoint'; did you mean 'checkpoint'?")]


def test_a_missing_key_names_its_block() -> None:
    mapping = minimal()
    del mapping["train"]["iterations"]
    assert problems(mapping) == [(("train",), "key 'iterations' is missing")]


@pytest.mark.parametrize(
    ("block", "key", "value", "text"),
    [
        ("train", "iterations", "60", "got '60', expected a whole number"),
        ("train", "iterations", 60.5, "got 60.5, expected a whole number"),
        ("train", "iterations", True, "got True, expected a whole number"),
        ("train", "learning_rate", "1e-3", "got '1e-3', expected a number"),
        ("train", "learning_rate", None, "got nothing, expected a number"),
        ("run", "deterministic", 1, "got 1, expected true or false"),
        ("run", "name", 7, "got 7, expected a text"),
        ("fleet", "nodes", "n0", "got 'n0', expected a list of texts"),
        ("fleet", "nodes", ["n0", 1], "got a list, expected a list of texts"),
    ],
)
def test_a_value_of_another_type_is_refused(block: str, key: str, value: Any, text: str) -> None:
    mapping = minimal()
    mapping[block][key] = value
    assert problems(mapping) == [((block, key), text)]


def test_a_choice_is_refused_with_the_nearest_one() -> None:
    mapping = {**minimal(), "data": {"format": "syntetic"}}
    ((path, text),) = problems(mapping)
    assert path == ("data", "format")
    assert "did you mean 'synthetic'?" in text


def test_a_block_that_is_no_block_is_refused() -> None:
    assert problems({**minimal(), "model": ["a"]}) == [(("model",), "got a list, expected a block of keys")]
    assert problems(["a"]) == [((), "got a list, expected a block of keys")]


def test_all_problems_come_at_once() -> None:
    mapping = minimal()
    mapping["run"] = {"nme": "x"}
    mapping["train"]["iterations"] = "many"
    mapping["model"] = {"num_layer": 2}
    assert {path for path, _ in problems(mapping)} == {("run", "nme"), ("run",), ("train", "iterations"), ("model", "num_layer")}


def test_the_error_reads_as_one_line() -> None:
    with pytest.raises(SpecError, match=r"train\.iteration: unknown key 'iteration'; did you mean 'iterations'\?"):
        from_mapping({**minimal(), "train": {"iterations": 1, "iteration": 1}})


def test_values_of_env_become_texts() -> None:
    spec = from_mapping({**minimal(), "env": {"CUDA_DEVICE_MAX_CONNECTIONS": 1}})
    assert spec.env == {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
