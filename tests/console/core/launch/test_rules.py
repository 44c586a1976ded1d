"""Each rule: a job that breaks it is told so, at the right key, and one that keeps it is not."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from console.core.launch.plan import LaunchPlan, make_plan
from console.core.launch.problems import Problem
from console.core.launch.rule_table import RULES, page
from tests.console.core.launch import cases
from tests.console.core.launch.jobs import ATTEMPT, make_job
from trainer.spec.facts import Facts
from trainer.spec.job import JobSpec

ROOT = Path(__file__).parents[4]
QWEN: dict[str, dict[str, Any]] = {
    "run": {"name": "q", "mode": "sft"}, "paths": {"work": "/ws"}, "fleet": {"nodes": ["n0", "n1"], "spares": [], "npus_per_node": 8, "nic": "bond0", "hardware": "ascend-a2-8"},
    "container": {"runtime": "docker", "image": "img:1", "name": "c", "shm_size": "200g"},
    "runner": {"kind": "env-script", "entry": "scripts/qwen/qwen.sh", "workdir": "/ws/code"},
    "model": {"family": "qwen", "size": "14B", "tokenizer": "/ws/tok", "num_layers": 40, "hidden_size": 5120, "num_attention_heads": 40, "max_position_embeddings": 8192},
    "parallel": {"tensor_model_parallel_size": 8},
    "train": {"iterations": 300, "micro_batch_size": 2, "global_batch_size": 64, "seq_length": 4096},
    "data": {"format": "megatron-bin", "prefix": "/ws/data/alpaca_ft"},
    "checkpoint": {"dir": "/ws/out", "interval": 100, "load_dir": "/ws/weights"},
    "preflight": {"waive": [{"id": "W4", "reason": "tokenizer files are edited"}]},
}
FACTORY = {"runner": {"kind": "ascendfactory", "entry": "", "ascendfactory": {"dialect": "v1", "model_name": "m", "exp_name": "e"}}}
OWN = {"runner": {"kind": "torchrun", "entry": "", "trainer_dir": "/opt/rankdeck", "workdir": ""}}
THEIRS = {"runner": {"kind": "torchrun", "entry": "/ws/train.py"}}


def job(*layers: dict[str, Any]) -> JobSpec:
    """QWEN with blocks merged in."""
    mapping: dict[str, Any] = {block: dict(values) for block, values in QWEN.items()}
    for layer in layers:
        for block, values in layer.items():
            mapping[block] = {**mapping.get(block, {}), **values}
    return make_job(**mapping)


def plan(*layers: dict[str, Any], facts: Facts | None = None) -> LaunchPlan:
    return make_plan(job(*layers), cases.fleet(8), ATTEMPT, facts=facts)


def found(rule: str, *layers: dict[str, Any], facts: Facts | None = None) -> list[Problem]:
    return [problem for problem in plan(*layers, facts=facts).problems if problem.rule == rule and "(waived: " not in problem.message]


def test_the_plain_job_is_fine() -> None:
    assert [problem.rule for problem in plan().problems if problem.severity != "info"] == [] and plan().ok


BREAKS: list[tuple[str, str, str, tuple[dict[str, Any], ...]]] = [
    ("P1", "error", "parallel", ({"parallel": {"tensor_model_parallel_size": 3}},)),
    ("P2", "error", "model.num_attention_heads", ({"parallel": {"context_parallel_size": 2}}, {"model": {"num_attention_heads": 8, "hidden_size": 4096}})),
    ("P2", "warning", "model.num_attention_heads", ({"parallel": {"context_parallel_size": 2}}, {"model": {"num_attention_heads": 8, "hidden_size": 4096}}, THEIRS)),
    ("P3", "error", "train.global_batch_size", ({"train": {"global_batch_size": 63}},)),
    ("P4", "warning", "parallel.pipeline_model_parallel_size", ({"model": {"family": "llama2", "size": "13B"}, "runner": {"entry": "scripts/llama2/x.sh"}},)),
    ("P5", "warning", "parallel.tensor_model_parallel_size", ({"parallel": {"tensor_model_parallel_size": 4}},)),
    ("P5", "warning", "train.micro_batch_size", ({"train": {"micro_batch_size": 1}},)),
    ("P5", "warning", "train.micro_batch_size", ({"run": {"mode": "lora"}},)),
    ("P5", "warning", "train.global_batch_size", ({"parallel": {"pipeline_model_parallel_size": 2}, "train": {"global_batch_size": 8}},)),
    ("P6", "warning", "train.seq_length", ({"train": {"seq_length": 65536}},)),
    ("P7", "warning", "train.seq_length", ({"train": {"seq_length": 16384}},)),
    ("P8", "error", "model.num_layers", ({"parallel": {"pipeline_model_parallel_size": 16, "tensor_model_parallel_size": 1}},)),
    ("P8", "error", "model.num_layer_list", ({"parallel": {"pipeline_model_parallel_size": 2}, "model": {"num_layer_list": "17,20"}},)),
    ("P9", "warning", "train.min_learning_rate", ({"train": {"min_learning_rate": 1.0}},)),
    ("P10", "warning", "parallel.tensor_model_parallel_size", ({"parallel": {"tensor_model_parallel_size": 16}},)),
    ("EP1", "error", "parallel.expert_model_parallel_size", ({"parallel": {"expert_model_parallel_size": 2}},)),
    ("EP1", "error", "parallel.expert_model_parallel_size", ({"parallel": {"expert_model_parallel_size": 2}, "model": {"num_experts": 7}},)),
    ("EP2", "error", "parallel.expert_model_parallel_size", ({"parallel": {"expert_model_parallel_size": 4}, "model": {"num_experts": 8}},)),
    ("H1", "warning", "parallel", ({"parallel": {"pipeline_model_parallel_size": 2}},)),
    ("H1", "warning", "parallel", ({"fleet": {"nodes": ["n0"]}, "env": {"HIGH_AVAILABILITY": "dump"}},)),
    ("V1", "error", "train.iterations", ({"train": {"iterations": 0}},)),
    ("D1", "error", "data.prefix", ({"data": {"prefix": "/ws/data/alpaca_ft.bin"}},)),
    ("D1", "error", "data.prefix", ({"data": {"prefix": ""}},)),
    ("D1", "error", "data.format", ({"data": {"format": "synthetic"}},)),
    ("D2", "error", "data.seq_length", ({"data": {"seq_length": 2048}},)),
    ("D3", "warning", "data.handler", ({"data": {"handler": "AlpacaHandler"}},)),
    ("D3", "warning", "data.handler", ({"data": {"handler": "GeneralPretrainHandler"}},)),
    ("D3", "warning", "data.prefix", ({"data": {"prefix": "/ws/alpaca_text_document"}},)),
    ("D3", "warning", "data.prefix", ({"run": {"mode": "retrain"}},)),
    ("D4", "error", "data.tokenizer_type", ({"data": {"tokenizer_type": "Sentencepiece"}},)),
    ("D5", "error", "data.format", ({"data": {"format": "json-gz"}}, THEIRS)),
    ("W1", "error", "checkpoint.load_tp", ({"checkpoint": {"load_tp": 4, "load_pp": 1}},)),
    ("W2", "error", "checkpoint.load_dir", ({"checkpoint": {"load_dir": ""}},)),
    ("W2", "warning", "checkpoint.load_dir", ({"run": {"mode": "pretrain"}},)),
    ("W3", "error", "model.size", ({"model": {"size": "13B"}},)),
    ("W4", "error", "model.tokenizer", ({"model": {"tokenizer": ""}, "preflight": {"waive": []}},)),
    ("W4", "warning", "model.family", ({"preflight": {"waive": []}},)),
    ("M3", "error", "checkpoint.load_dir", ({"checkpoint": {"load": "resume", "load_dir": ""}}, FACTORY)),
    ("M3", "warning", "checkpoint.load_dir", ({"checkpoint": {"load": "none"}}, FACTORY)),
    ("M3", "warning", "checkpoint.load_dir", ({"checkpoint": {"load_dir": ""}},)),
    ("M3", "warning", "checkpoint.load_dir", ({"run": {"mode": "lora"}, "checkpoint": {"load_dir": ""}}, OWN)),
    ("M3", "error", "checkpoint.load", ({"run": {"mode": "retrain"}, "checkpoint": {"load": "weights"}}, FACTORY)),
    ("M4", "warning", "checkpoint.auto_resume", ({"checkpoint": {"auto_resume": True}}, FACTORY)),
    ("M5", "error", "checkpoint.load", ({"run": {"mode": "lora"}, "checkpoint": {"load": "resume"}},)),
    ("M5", "error", "checkpoint.auto_resume", ({"run": {"mode": "lora"}, "checkpoint": {"auto_resume": True}}, FACTORY)),
    ("M7", "error", "runner.args", ({"run": {"mode": "retrain"}, "runner": {"args": ["--finetune"]}},)),
    ("S2r", "warning", "checkpoint.interval", ({"checkpoint": {"interval": 1000}},)),
    ("S3r", "warning", "checkpoint.keep", ({"checkpoint": {"keep": 1}},)),
    ("S3r", "warning", "checkpoint.keep", ({"checkpoint": {"keep": 9}},)),
    ("S3r", "error", "checkpoint.keep", ({"checkpoint": {"keep": -1}},)),
    ("S4r", "error", "checkpoint.interval", ({"checkpoint": {"mode": "auto"}},)),
    ("S5r", "info", "export.interval", ({"export": {"dir": "/ws/hf", "at_end": False}},)),
    ("S6r", "error", "checkpoint.dir", ({"run": {"mode": "lora"}, "checkpoint": {"dir": "s3://b/x"}},)),
    ("S6r", "error", "export.dir", ({"checkpoint": {"dir": "s3://b/x"}, "export": {"dir": "s3://b/y"}},)),
    ("S8r", "error", "train.precision", ({"train": {"precision": "fp8"}},)),
    ("A1", "info", "train.global_batch_size", ({"runner": {"kind": "ascendfactory", "entry": "", "ascendfactory": {"dialect": "v2", "backend": "llamafactory", "model_name": "m", "exp_name": "e"}}},)),
    ("R1", "error", "run.time_limit", ({"run": {"time_limit": "6 days"}},)),
    ("R1", "error", "run.time_limit", ({"run": {"time_limit": "1-24:00:00"}},)),
    ("R1", "error", "run.time_limit", ({"run": {"time_limit": "0-00:00:00"}},)),
    ("R3", "error", "preflight.waive.0.id", ({"preflight": {"waive": [{"id": "P99", "reason": "because"}]}},)),
    ("R3", "error", "preflight.waive.0.id", ({"preflight": {"waive": [{"id": "K1", "reason": "because"}]}},)),
    ("R3", "error", "preflight.waive.0.reason", ({"preflight": {"waive": [{"id": "W4", "reason": " "}]}},)),
    ("R3", "warning", "preflight.waive.0", ({"preflight": {"waive": [{"id": "P9", "reason": "because"}]}},)),
    ("C1", "error", "paths.work", ({"paths": {"work": "/home/ma-user/"}},)),
    ("C1", "error", "container.mounts.0", ({"container": {"mounts": ["/data:/home/ma-user"]}},)),
    ("C1", "error", "container.mounts.0", ({"container": {"mounts": ["/data://home/./ma-user/x/.."]}},)),
    ("C1", "error", "container.mounts.0", ({"container": {"mounts": ["/data:/home"]}},)),
    ("C2", "error", "container.driver_mounts", ({"container": {"driver_mounts": ["/usr/local/dcmi:/usr/local/dcmi"]}},)),
    ("C3", "error", "container.manager_devices", ({"container": {"manager_devices": ["/dev/davinci_manager"]}},)),
    ("C4", "error", "container.image", ({"container": {"image": "ascendspeed "}},)),
    ("C4", "error", "container.image", ({"container": {"image": ""}},)),
    ("C4", "error", "container.image", ({"container": {"image": "--privileged"}},)),
    ("C5", "warning", "container.shm_size", ({"container": {"shm_size": ""}},)),
    ("C5", "error", "container.shm_size", ({"container": {"shm_size": "lots"}},)),
    ("C5", "warning", "container.network", ({"container": {"network": "bridge"}},)),
    ("C7", "error", "checkpoint.dir", ({"checkpoint": {"dir": "~/out"}},)),
    ("C8", "warning", "container.args", ({"container": {"args": ["--privileged"]}},)),
    ("C9", "error", "container.mounts.0", ({"container": {"mounts": ["data:/x"]}},)),
    ("C10", "error", "container.name", ({"container": {"name": "a b"}},)),
    ("C11", "warning", "container.args", ({"container": {"device_access": "ascend-docker-runtime", "args": ["--device=/dev/davinci0"]}},)),
    ("E2", "error", "env.TRAIN_ITERS", ({"env": {"TRAIN_ITERS": "5"}},)),
    ("E4", "error", "env.HCCL_CONNECT_TIMEOUT", ({"env": {"HCCL_CONNECT_TIMEOUT": "60"}},)),
    ("E4", "error", "env.HCCL_CONNECT_TIMEOUT", ({"env": {"HCCL_CONNECT_TIMEOUT": "1e3"}},)),
    ("E4", "error", "env.TASK_QUEUE_ENABLE", ({"env": {"TASK_QUEUE_ENABLE": "3"}},)),
    ("E4", "error", "env.HCCL_SOCKET_IFNAME", ({"env": {"HCCL_SOCKET_IFNAME": "eth0 eth1"}},)),
    ("E5", "warning", "env.ASCEND_LAUNCH_BLOCKING", ({"env": {"ASCEND_LAUNCH_BLOCKING": "1"}},)),
    ("E5", "warning", "env.ASCEND_SLOG_PRINT_TO_STDOUT", ({"env": {"ASCEND_SLOG_PRINT_TO_STDOUT": "1"}},)),
    ("E5", "warning", "env.HCCL_EXEC_TIMEOUT", ({"env": {"HCCL_EXEC_TIMEOUT": "0"}},)),
    ("E5", "warning", "env.CUDA_DEVICE_MAX_CONNECTIONS", ({"env": {"CUDA_DEVICE_MAX_CONNECTIONS": "8"}},)),
    ("E6", "warning", "env.HCCL_IF_IP", ({"env": {"HCCL_IF_IP": "10.0.0.1"}},)),
    ("E7", "warning", "env.HCCL_OP_RETRY_ENABLE", ({"env": {"HCCL_OP_RETRY_ENABLE": "L0:0, L1:1"}},)),
    ("E7", "warning", "env.NCCL_DEBUG", ({"env": {"NCCL_DEBUG": "INFO"}},)),
    ("E8", "error", "env.HF_TOKEN", ({"env": {"HF_TOKEN": "hunter2"}},)),
    ("E8", "error", "env.obs_secret_access_key", ({"env": {"obs_secret_access_key": "hunter2"}},)),
    ("L3", "error", "runner.entry", ({"runner": {"kind": "script", "entry": ""}},)),
    ("L3", "error", "runner.ascendfactory.model_name", ({"runner": {"kind": "ascendfactory", "entry": ""}},)),
    ("L4", "warning", "train.learning_rate", ({"train": {"learning_rate": 1e-5}},)),
    ("B1", "error", "data.format", ({"data": {"format": "jsonl"}, "run": {"mode": "pretrain"}}, OWN)),
    ("B2", "error", "data.prefix", ({"data": {"format": "text", "prefix": ""}, "run": {"mode": "pretrain"}}, OWN)),
    ("B3", "error", "checkpoint.storage", ({"checkpoint": {"storage": "per-node"}, "run": {"mode": "pretrain"}}, OWN)),
]


@pytest.mark.parametrize(("rule", "severity", "where", "layers"), BREAKS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_breaks_a_rule_is_said(rule: str, severity: str, where: str, layers: tuple[dict[str, Any], ...]) -> None:
    problems = {(problem.severity, problem.where): problem for problem in found(rule, *layers)}
    assert (severity, where) in problems, problems
    problem = problems[severity, where]
    assert problem.message and (severity == "info" or problem.got or problem.expected or problem.fix)
    assert plan(*layers).ok is not any(one.severity == "error" for one in plan(*layers).problems)


@pytest.mark.parametrize(("rule", "facts", "layers"), [
    ("D1", Facts(files={"/ws/data/alpaca_ft_packed_labels_document.idx": False}), ()),
    ("M4", Facts(output_is_empty=False), ({"checkpoint": {"auto_resume": True}}, FACTORY)),
    ("M6", Facts(saved_iteration=300), ()),
    ("M7", Facts(tracker_iteration=200, iterations=(100, 150)), ({"run": {"mode": "retrain"}},)),
    ("M8", Facts(saved_layout={"tp": 4, "pp": 1}, saved_format="megatron"), ()),
    ("M8", Facts(saved_layout={"tp": 4, "pp": 1}, saved_format="torch_dist"), ({"checkpoint": {"mode": "auto", "interval": 0}},)),
    ("S7r", Facts(saved_layout={"tp": 4}, saved_format="fsdp"), ()),
])
def test_what_only_the_nodes_can_tell(rule: str, facts: Facts, layers: tuple[dict[str, Any], ...]) -> None:
    assert [problem.severity for problem in found(rule, *layers, facts=facts)] == ["error"]
    assert not [problem for problem in found(rule, *layers) if problem.severity == "error"]


@pytest.mark.parametrize(("layer", "facts"), [
    ({"checkpoint": {"load_dir": "", "load": "none"}}, Facts()), ({"run": {"mode": "pretrain"}, "checkpoint": {"load_dir": ""}}, Facts()),
    ({"checkpoint": {"load_dir": ""}}, Facts(saved_iteration=100))])
def test_weights_from_the_seed_that_are_meant_are_no_news(layer: dict[str, Any], facts: Facts) -> None:
    assert found("M3", layer, facts=facts) == []


def test_a_checkpoint_that_can_be_cut_anew_may_be() -> None:
    assert not found("M8", facts=Facts(saved_layout={"tp": 4}, saved_format="torch_dist"))


def test_a_secret_in_plain_text_is_not_printed() -> None:
    made = plan({"env": {"HF_TOKEN": "hunter2"}})
    assert "hunter2" not in str(made.problems) and not made.nodes
    assert plan({"env": {"HF_TOKEN": {"from_env": "X"}, "TOKENIZERS_PARALLELISM": "false", "TOKEN_TYPE_IDS": ""}}).ok


def test_a_waived_rule_lets_the_job_go() -> None:
    layers = {"parallel": {"context_parallel_size": 2}, "model": {"num_attention_heads": 8, "hidden_size": 4096}}
    assert not plan(layers).ok
    waived = plan(layers, {"preflight": {"waive": [{"id": "P2", "reason": "this script cuts heads itself"}, *QWEN["preflight"]["waive"]]}})
    (problem,) = [problem for problem in waived.problems if problem.rule == "P2"]
    assert waived.ok and problem.severity == "info" and problem.message.endswith("(waived: this script cuts heads itself)")


def test_recommended_layouts_are_let_alone() -> None:
    for size, nodes, tp, pp, micro in (("7B", 1, 4, 1, 2), ("14B", 2, 8, 1, 2), ("72B", 5, 8, 5, 1), ("72B", 8, 8, 8, 1)):
        layers = {"fleet": {"nodes": [f"n{at}" for at in range(nodes)]}, "model": {"size": size}, "train": {"micro_batch_size": micro},
                  "parallel": {"tensor_model_parallel_size": tp, "pipeline_model_parallel_size": pp}}
        rules = {problem.rule for problem in make_plan(job(layers), cases.fleet(8, 8), ATTEMPT).problems}
        assert not {"P4", "P5"} & rules


def test_a_model_of_unknown_shape_is_not_judged() -> None:
    plain = plan({"model": {"num_layers": 2, "hidden_size": 64, "num_attention_heads": 4}})
    assert [problem.severity for problem in plain.problems if problem.rule == "P2"] == ["info"]
    assert plain.derived["checkpoint_bytes"] is None and plan().derived["checkpoint_bytes"] > 1e11


def rule_ids(path: Path) -> set[str]:
    """Ids that a module makes findings with: the first argument of error, warning, report and the like."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            if called in ("error", "warning", "info", "make", "report", "_error", "_warning"):
                names.add(node.args[0].value)
        if isinstance(node, ast.keyword) and node.arg == "rule" and isinstance(node.value, ast.Constant):
            names.add(node.value.value)
    return names


def test_the_page_lists_every_rule() -> None:
    sources = [*(ROOT / "trainer" / "spec").glob("*.py"), *(ROOT / "console" / "core" / "launch").rglob("*.py")]
    used = set().union(*map(rule_ids, sources))
    assert {"P1", "C1", "E4", "N3", "J1"} <= used and not used - set(RULES)
    assert (ROOT / "docs" / "guide" / "rules.md").read_text(encoding="utf-8") == page(), "write it anew with console.core.launch.rule_table.page()"


def test_every_rule_of_the_reference_has_its_id() -> None:
    reference = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "D1", "D2", "D3", "D4", "D5", "W1", "W2", "W3", "M1", "M2", "M3", "M4", "M5", "M6",
                 "M7", "M8", "S1r", "S2r", "S3r", "S4r", "S5r", "S6r", "S7r", "S8r", "C1", "C2", "C3", "C4", "C5", "C6", "N1", "N2", "N3", "T1", "T2", "R1", "R2", "H1", "A1"]
    assert set(reference) <= set(RULES)
    tested = {rule for rule, *_ in BREAKS} | {"M1", "M2", "M6", "M8", "S1r", "S7r", "C6", "N1", "N2", "N3", "T1", "T2", "R2"}
    assert set(reference) <= tested
