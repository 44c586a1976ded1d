"""AscendFactory prepares, converts and exports in its one command: what its settings say of that, in both dialects."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml

from console.core.errors import FileError
from console.core.launch import factory
from console.core.launch.plan import LaunchPlan, make_plan
from console.core.launch.steps import asked_after, asked_for, step
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from trainer.spec.job import JobSpec

WS = "/home/ma-user/ws"


def job(dialect: str, **changes: Any) -> JobSpec:
    base: dict[str, Any] = {
        "run": {"name": "q", "mode": "sft"}, "paths": {"work": WS}, "fleet": {"nodes": ["n0", "n1"], "spares": [], "npus_per_node": 8},
        "runner": {"kind": "ascendfactory", "workdir": f"{WS}/AscendFactory", "ascendfactory": {
            "dialect": dialect, "model_name": "qwen-14b", "exp_name": "full-4k", "scripts_dir": f"{WS}/AscendFactory/scripts_modellink"}},
        "model": {"family": "qwen", "size": "14B", "tokenizer": f"{WS}/tokenizers/Qwen-14B", "weights": f"{WS}/tokenizers/Qwen-14B", "convert": True},
        "parallel": {"tensor_model_parallel_size": 8}, "train": {"iterations": 300, "micro_batch_size": 2, "global_batch_size": 64, "seq_length": 4096},
        "data": {"format": "megatron-bin", "input": f"{WS}/alpaca.json", "prefix": f"{WS}/data/alpaca_ft", "handler": "AlpacaStyleInstructionHandler", "prepare": True},
        "checkpoint": {"dir": f"{WS}/saved", "interval": 100}, "export": {"dir": f"{WS}/hf"}}
    for block, values in changes.items():
        base[block] = {**base.get(block, {}), **values}
    return make_job(**base)


def planned(spec: JobSpec) -> LaunchPlan:
    made = make_plan(spec, make_fleet(n0={"npus": 8}, n1={"npus": 8}), ATTEMPT)
    assert made.ok, made.problems
    return made


def base(spec: JobSpec) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(planned(spec).nodes[0].files["ascendfactory.yaml"])["base"]
    return found


def words(spec: JobSpec) -> list[str]:
    """Of the second node's ``train``, its settings file left out."""
    script = planned(spec).nodes[1].commands[-1].script.replace(" \\\n", " ")
    return shlex.split(script[script.index("ascendfactory-cli train"):])[3:]


def test_raw_data_and_weights_are_settings_of_its_one_command() -> None:
    spec = job("v1")
    assert base(spec) == {
        "scirpts_dir": f"{WS}/AscendFactory/scripts_modellink", "train_auto_resume": False, "stage": "sft", "ckpt_load_type": 1, "dataset": f"{WS}/alpaca.json",
        "model_name_or_path": f"{WS}/tokenizers/Qwen-14B", "output_dir": f"{WS}/saved", "hf_save_dir": f"{WS}/hf", "convert_mg2hf_at_last": True,
        "handler-name": "AlpacaStyleInstructionHandler"}
    assert planned(spec).before == () and asked_for(spec) == () and asked_after(spec) == ()
    assert words(spec) == ["qwen-14b", "full-4k"]


def test_what_is_prepared_and_converted_already_is_named_instead() -> None:
    done = base(job("v1", data={"prepare": False}, model={"convert": False}, checkpoint={"load_dir": f"{WS}/converted"}, export={"dir": ""}))
    assert (done.get("dataset"), done["processed_data_dir"], done["user_converted_ckpt_path"], done["convert_mg2hf_at_last"]) == (None, f"{WS}/data/alpaca_ft", f"{WS}/converted", False)
    # Raw data alone needs no word more.
    assert base(job("v1", data={"prepare": False, "prefix": ""}))["dataset"] == f"{WS}/alpaca.json"
    # S2: type 0 loads nothing, so nothing is named.
    none = base(job("v1", run={"mode": "pretrain"}, model={"convert": False}, checkpoint={"load_dir": f"{WS}/converted", "load": "none"}))
    assert none["ckpt_load_type"] == 0 and "user_converted_ckpt_path" not in none


def test_the_second_dialect_is_told_by_words() -> None:
    common = ["--env.MASTER_ADDR=10.0.0.1", "--env.NNODES=2", "--env.NODE_RANK=1", f"--af_output_dir={WS}/saved"]
    training = [f"--backend_config.training.{word}" for word in (
        f"tokenizer-name-or-path={WS}/tokenizers/Qwen-14B", "micro-batch-size=2", "global-batch-size=64", "tensor-model-parallel-size=8", "pipeline-model-parallel-size=1",
        "seq-length=4096", "train-iters=300", "seed=1234", "save-interval=100")]
    assert words(job("v2")) == [*common, f"--backend_config.preprocess_data.input={WS}/alpaca.json",
                                "--backend_config.preprocess_data.handler-name=AlpacaStyleInstructionHandler", *training]
    ready = job("v2", run={"mode": "retrain"}, data={"prepare": False, "handler": ""}, model={"convert": False}, checkpoint={"load_dir": f"{WS}/saved/saved_checkpoints"}, export={"dir": ""})
    resumed = [f"--backend_config.training.{key}=false" for key in ("finetune", "no-load-optim", "no-load-rng")]
    assert words(ready) == [*common, f"--backend_config.training.data-path={WS}/data/alpaca_ft", *training, *resumed, "--load", f"{WS}/saved/saved_checkpoints"]
    # The operator's own word is not said twice.
    own = job("v2", runner={"ascendfactory": {"dialect": "v2", "model_name": "m", "exp_name": "e", "overrides": ["--backend_config.training.train-iters=9"]}})
    assert [word for word in words(own) if "train-iters" in word] == ["--backend_config.training.train-iters=9"]


@pytest.mark.parametrize(("dialect", "changes", "where"), [
    ("v1", {"checkpoint": {"load_dir": f"{WS}/x"}}, ["checkpoint.load_dir"]), ("v1", {"model": {"convert": False}, "checkpoint": {"load_dir": f"{WS}/x"}}, []),
    ("v2", {"model": {"convert": False}, "checkpoint": {"load_dir": f"{WS}/x"}}, ["checkpoint.load_dir", "export.dir"]),
    ("v2", {"runner": {"ascendfactory": {"dialect": "v2", "model_name": "m", "exp_name": "e", "backend": "verl"}}}, ["runner.ascendfactory.backend"])])
def test_what_does_not_reach_it_is_said(dialect: str, changes: dict[str, Any], where: list[str]) -> None:
    assert [".".join(found.path) for found in factory.check(job(dialect, **changes))] == where


def test_what_it_lacks_is_said_before_the_launch() -> None:
    made = make_plan(job("v1", data={"input": ""}, model={"weights": ""}), make_fleet(n0={"npus": 8}, n1={"npus": 8}), ATTEMPT)
    assert {(one.rule, one.where) for one in made.problems if one.severity == "error"} == {("U1", "data.input"), ("U1", "model.weights")}


@pytest.mark.parametrize("name", ["preprocess", "convert", "export"])
def test_a_step_alone_is_refused_with_the_way_to_have_it_done(name: str) -> None:
    with pytest.raises(FileError, match="does this by itself") as caught:
        step(job("v1"), name)
    assert {"preprocess": "data.prepare", "convert": "model.convert", "export": "export.dir"}[name] in caught.value.fix
    assert step(job("v1"), "workspace").makes
