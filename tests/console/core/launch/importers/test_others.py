"""docker run lines, AscendFactory in both dialects, HyperPod: what becomes of each value, and what is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console.core.errors import FileError
from console.core.launch import containers
from console.core.launch.commands import Place
from console.core.launch.importers import Imported, Source, docker_run, read
from console.core.launch.importers.env_script import RECIPES
from console.files import SHIPPED
from tests.console.core.launch import cases
from tests.console.core.launch.importers.seeds import CODE, DOCKER_RUN, LAUNCHES
from trainer.spec import saving_rules
from trainer.spec.facts import Facts

FACTORY_V1 = """\
base:
  scirpts_dir: /ws/AscendFactory/scripts_modellink
  mount_type: OBS
  stage: sft
  ckpt_load_type: 1
  train_auto_resume: false
  user_converted_ckpt_path: /ws/converted
  model_name_or_path: /ws/models/qwen2-7b
  processed_data_dir: /ws/data/alpaca
  output_dir: /ws/out/qwen2
  hf_save_dir: /ws/hf
  convert_mg2hf_at_last: true
qwen2-7b:
  handler-name: GeneralInstructionHandler
  full-4k: {micro-batch-size: 4, global-batch-size: 512, tensor-model-parallel-size: 8, pipeline-model-parallel-size: 1, lr: 2.5e-5, min-lr: 2.5e-6,
    SEQ_LEN: 4096, MAX_PE: 8192, train-iters: 100, save-interval: 1000, save-total-limit: 0, seed: 1234}
  lora-4k: {micro-batch-size: 2, global-batch-size: 64, train-iters: 50, lora_r: 8, lora_alpha: 16}
"""
COMMAND_V1 = ("cd /ws/AscendFactory; sh install.sh modellink; source /usr/local/Ascend/ascend-toolkit/set_env.sh; "
              "ascendfactory-cli train performance_cfgs.yaml qwen2-7b {experiment}")
COMMAND_V2 = ("cd /ws/AscendFactory; source /usr/local/Ascend/ascend-toolkit/set_env.sh; ascendfactory-cli config --backend=mindspeed-llm "
              "--af_model_name=qwen2.5-7b --exp_name=full-4k --output_file_path=/ws/my.yaml && ascendfactory-cli train /ws/my.yaml "
              "--env.MASTER_ADDR=10.0.0.1 --env.NNODES=2 --env.NODE_RANK=0 --af_output_dir=/ws/out")
FACTORY_V2 = """\
af_output_dir: /ws/save_dir
backend_config:
  preprocess_data: {input: /ws/in.jsonl, handler-name: AlpacaStyleInstructionHandler}
  training: {tensor-model-parallel-size: 4, micro-batch-size: 1, global-batch-size: 64, train-iters: 100, tokenizer-name-or-path: /ws/llama2,
    finetune: false, no-load-optim: false, no-load-rng: false, load: /ws/save_dir/saved_checkpoints}
"""
POD = """\
defaults:
- _self_
- cluster: slurm
- recipes: training/llama/hf_llama3_8b_seq8192_gpu
instance_type: p5.48xlarge
base_results_dir: /fsx/results
git: {repo_url_or_path: https://example.invalid/x.git, branch: main, commit: null, entry_script: /fsx/train.py, token: hunter2}
env_vars: {NCCL_DEBUG: WARN}
"""
RECIPE = """\
run: {name: llama-8b, results_dir: "${base_results_dir}/${.name}", time_limit: "6-00:00:00", model_type: hf}
trainer: {devices: 8, num_nodes: 2, max_steps: 50, precision: bf16}
exp_manager:
  exp_dir: /fsx/exp
  create_tensorboard_logger: True
  checkpoint_dir: ${recipes.exp_manager.exp_dir}/checkpoints/
  auto_checkpoint: {enabled: AUTO}
  checkpoint_callback_params: {save_top_k: 3, every_n_train_steps: 10, monitor: step, mode: max, save_last: False}
  export_full_model: {every_n_train_steps: 0, save_last: True, final_export_dir: /fsx/final}
model:
  model_type: llama_v3
  train_batch_size: 4
  seed: 12345
  grad_clip: 1.0
  tensor_model_parallel_degree: 4
  context_parallel_degree: 2
  do_finetune: True
  hf_access_token: hunter3
  peft: {peft_type: lora, rank: 32, alpha: 16, dropout: 0.1}
  data: {train_dir: /d, use_synthetic_data: False}
  fsdp: true
"""


def one(*texts: str) -> Imported:
    (found,) = read([Source(name=f"{at}.txt", text=text) for at, text in enumerate(texts)])
    return found


def value(found: Imported, path: str) -> Any:
    at: Any = found.job
    for name in path.split("."):
        at = at[name]
    return at


def test_the_vendors_container_comes_back(tmp_path: Path) -> None:
    """The plan's docker run is the guide's, with labels and the image's blank taken off."""
    found = one(LAUNCHES[-2].commands[0], DOCKER_RUN)
    job = cases.compose(found.text.replace("workdir: ???", f"workdir: {CODE}"), tmp_path)
    node = cases.fleet(8).nodes[0]
    argv = containers.run_argv(job.spec, Place(node=node, node_index=0, master=node, attempt=cases.ATTEMPT, dir="/w"))
    (command,) = docker_run.find(Source(name="x", text=DOCKER_RUN))
    at = argv.index("--label")
    assert [argv[0], "run", *[word.text for word in command.words[1:]]] == [*argv[:at], *argv[at + 6:]]


def test_a_container_alone() -> None:
    found = one(DOCKER_RUN)
    assert found.kind == "docker-run" and value(found, "fleet.npus_per_node") == 8 and value(found, "paths.work") == "/home/ma-user/ws"
    (problem,) = found.problems
    assert (problem.rule, problem.where, problem.got) == ("C4", "0.txt:4:1", "'ascendspeed '")


@pytest.mark.parametrize(("line", "path", "expected"), [
    ("docker run -itd -e ASCEND_VISIBLE_DEVICES=0-7 --runtime=ascend --name a img:1 bash", "container.device_access", "ascend-docker-runtime"),
    ("docker run -itd -e ASCEND_VISIBLE_DEVICES=0-7 --name a img:1 bash", "fleet.npus_per_node", 8),
    ("docker run -d -u ma-user -m 10g --ipc=host img:1 bash", "container.args", ["--ipc=host"]),
    ("docker run -d --user=ma-user --memory=10g img:1", "container.memory", "10g"),
    ("podman container run -itd -v /a:/a:ro -v/b:/b img:1", "container.mounts", ["/a:/a:ro", "/b:/b"]),
    ("docker run -itd -e A=1 --env B='x y' img:1", "env", {"A": "1", "B": "x y"}),
])
def test_options_of_docker(line: str, path: str, expected: Any) -> None:
    assert value(one(line), path) == expected


def test_factory_v1() -> None:
    found = one(FACTORY_V1, COMMAND_V1.format(experiment="full-4k"))
    expected = {
        "run.mode": "sft", "train.micro_batch_size": 4, "train.global_batch_size": 512, "train.learning_rate": 2.5e-5, "train.min_learning_rate": 2.5e-6,
        "train.iterations": 100, "model.max_position_embeddings": 8192, "checkpoint.interval": 1000, "checkpoint.keep": 0, "checkpoint.load": "weights",
        "checkpoint.load_dir": "/ws/converted", "data.prefix": "/ws/data/alpaca", "data.handler": "GeneralInstructionHandler", "export.dir": "/ws/hf",
        "runner.ascendfactory.dialect": "v1", "runner.ascendfactory.scripts_dir": "/ws/AscendFactory/scripts_modellink",
        "runner.workdir": "/ws/AscendFactory", "container.setup": ["cd /ws/AscendFactory && sh install.sh modellink"]}
    assert {path: value(found, path) for path in expected} == expected
    assert any("mount_type" in left.what for left in found.left) and not found.problems


def test_factory_v1_from_raw_data_and_weights(tmp_path: Path) -> None:
    """Without converted weights type 1 means those of Hugging Face: the job says so, and passes the rules of loading."""
    raw = FACTORY_V1.replace("  user_converted_ckpt_path: /ws/converted\n", "").replace("processed_data_dir: /ws/data/alpaca", "dataset: /ws/alpaca.json")
    found = one(raw, COMMAND_V1.format(experiment="full-4k"))
    assert value(found, "model.convert") is True and value(found, "data.input") == "/ws/alpaca.json" and "load_dir" not in value(found, "checkpoint")
    job = cases.compose(found.text.replace("???", "/ws/x"), tmp_path)
    assert not [one for one in saving_rules.check(job.spec, Facts()) if one.rule == "M3"]
    assert "convert" not in value(one(FACTORY_V1, COMMAND_V1.format(experiment="full-4k")), "model")


def test_factory_v1_by_experiment() -> None:
    found = one(FACTORY_V1, COMMAND_V1.format(experiment="lora-4k"))
    assert (value(found, "run.mode"), value(found, "model.peft.rank"), value(found, "train.iterations")) == ("lora", 8, 50)
    wrong = one(FACTORY_V1, COMMAND_V1.format(experiment="lora-4"))
    assert [problem.rule for problem in wrong.problems] == ["I5"] and "lora-4k" in wrong.problems[0].fix
    assert any("lora-4k" in left.what for left in one(FACTORY_V1).left)


@pytest.mark.parametrize(("line", "rule"), [
    ("stage: dpo", "M2"), ("ckpt_load_type: 3", "M3"), ("train_auto_resume: maybe", "M4"), ("micro-batch-sise: 4", "I1"), ("micro-batch-size: four", "I2")])
def test_faulty_settings(line: str, rule: str) -> None:
    found = one(f"{line}\nlr: 1e-5\ntrain-iters: 5\nglobal-batch-size: 8\nseed: 1\n")
    assert rule in {problem.rule for problem in found.problems} and found.problems[0].where.startswith("0.txt:1:")


def test_factory_v2() -> None:
    found = one(FACTORY_V2, COMMAND_V2)
    expected = {"run.mode": "retrain", "checkpoint.dir": "/ws/out", "checkpoint.load": "resume", "checkpoint.load_dir": "/ws/save_dir/saved_checkpoints",
                "model.tokenizer": "/ws/llama2", "data.input": "/ws/in.jsonl", "parallel.tensor_model_parallel_size": 4, "fleet.nodes": ["n0", "n1"],
                "runner.ascendfactory.dialect": "v2", "runner.ascendfactory.config": "/ws/my.yaml", "runner.ascendfactory.backend": "mindspeed-llm"}
    assert {path: value(found, path) for path in expected} == expected
    assert "config" not in value(one(COMMAND_V2), "runner.ascendfactory")


@pytest.mark.parametrize(("auto", "rules", "mode"), [("True", ["S4r"], "manual"), ("False", [], "manual")])
def test_hyperpod(auto: str, rules: list[str], mode: str) -> None:
    found = one(POD, RECIPE.replace("AUTO", auto))
    expected = {
        "run.name": "llama-8b", "run.results_dir": "/fsx/results/llama-8b", "run.time_limit": "6-00:00:00", "run.mode": "lora", "run.seed": 12345,
        "fleet.npus_per_node": 8, "train.iterations": 50, "train.precision": "bf16", "checkpoint.dir": "/fsx/exp/checkpoints/", "checkpoint.mode": mode,
        "checkpoint.interval": 10, "checkpoint.keep": 3, "export.dir": "/fsx/final", "model.peft.rank": 32, "parallel.context_parallel_size": 2,
        "env": {"NCCL_DEBUG": "WARN"}, "logging.tensorboard": True, "runner.entry": "/fsx/train.py", "code.branch": "main"}
    assert {path: value(found, path) for path in expected} == expected
    assert [problem.rule for problem in found.problems] == rules
    assert "hunter" not in found.text and value(found, "model.access_token") == {"from_env": "HF_TOKEN"}
    left = {one.what for one in found.left}
    assert "model.fsdp" in left and "instance_type: p5.48xlarge" in left


@pytest.mark.parametrize("texts", [("docker run -itd -e HF_TOKEN=hunter2 img:1 bash",), ("HF_TOKEN=hunter2 RUN_TYPE=sft sh /a.sh",),
                                   (POD.replace("NCCL_DEBUG: WARN", "HF_TOKEN: hunter2"), RECIPE.replace("AUTO", "False"))])
def test_secrets_of_a_source_are_not_copied(texts: tuple[str, ...]) -> None:
    found = one(*texts)
    assert value(found, "env.HF_TOKEN") == {"from_env": "HF_TOKEN"} and "hunter" not in found.text and "hunter" not in str(found.left)


def test_secrets_that_differ_or_are_broken_are_not_told() -> None:
    found = one("MASTER_ADDR=a NNODES=2 NODE_RANK=0 HF_TOKEN= hunter2 RUN_TYPE=sft sh /a.sh", "MASTER_ADDR=a NNODES=2 NODE_RANK=1 HF_TOKEN=hunter3 RUN_TYPE=sft sh /a.sh")
    assert [problem.rule for problem in found.problems] == ["N3", "N2"] and "hunter" not in str(found.problems) and "hunter" not in found.text


def test_hyperpod_needs_its_recipe() -> None:
    assert [problem.rule for problem in one(POD).problems] == ["R2"]


def test_object_stores_and_adapters() -> None:
    found = one(POD, RECIPE.replace("AUTO", "False").replace("exp_dir: /fsx/exp", "exp_dir: s3://bucket/exp"))
    assert [problem.rule for problem in found.problems] == ["S6r"]


@pytest.mark.parametrize("text", ["", "hello world", "a: 1\nb: 2\n", "import torch\nprint(1)\n", "ls -l | grep x", "\0\1"])
def test_what_is_nothing_of_ours(text: str) -> None:
    with pytest.raises(FileError, match="nothing that can be imported"):
        one(text)


def test_what_is_imported_can_be_composed(tmp_path: Path) -> None:
    for texts in ((FACTORY_V1, COMMAND_V1.format(experiment="full-4k")), (FACTORY_V2, COMMAND_V2), (POD, RECIPE.replace("AUTO", "False"))):
        job = cases.compose(one(*texts).text, tmp_path)
        assert job.spec.train.iterations > 0


def test_recipes_are_those_that_are_shipped() -> None:
    assert sorted(path.stem for path in SHIPPED["recipe"].glob("*.yaml")) == sorted(RECIPES)


def test_every_value_of_a_recipe_has_its_source() -> None:
    for path in SHIPPED["recipe"].glob("*.yaml"):
        for line in path.read_text().splitlines():
            if line.startswith("  "):
                assert "# source: " in line, f"{path.name}: {line}"
