"""Steps before and after training: the vendor's own commands, run once, checked, under a real bash."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from console.core.errors import FileError
from console.core.launch.steps import STEPS, step, workspace_tree
from tests.console.core.launch.jobs import make_job
from trainer.spec.job import JobSpec

WS = "/home/ma-user/ws"
CODE = f"{WS}/xxx-Ascend/llm_train/AscendSpeed"


def job(root: str = WS, **changes: Any) -> JobSpec:
    code = f"{root}/xxx-Ascend/llm_train/AscendSpeed"
    base: dict[str, Any] = {
        "run": {"name": "q", "mode": "sft"}, "paths": {"work": root},
        "runner": {"kind": "env-script", "entry": "scripts/qwen/qwen.sh", "workdir": code},
        "model": {"family": "qwen", "size": "14B", "tokenizer": f"{root}/tokenizers/Qwen-14B", "weights": f"{root}/tokenizers/Qwen-14B"},
        "parallel": {"tensor_model_parallel_size": 8}, "train": {"iterations": 300, "seq_length": 4096},
        "data": {"format": "megatron-bin", "prefix": f"{root}/processed_for_ma_input/Qwen-14B/data/finetune/alpaca_ft", "input": f"{root}/training_data/finetune/alpaca_gpt4_data.json"},
        "checkpoint": {"dir": f"{root}/saved", "load_dir": f"{root}/processed_for_ma_input/Qwen-14B/converted_weights"}, "export": {"dir": f"{root}/hf"}}
    for block, values in changes.items():
        base[block] = {**base.get(block, {}), **values}
    return make_job(**base)


def command(spec: JobSpec, name: str) -> list[str]:
    """The words of the line that calls python."""
    return shlex.split(next(line for line in step(spec, name).script.splitlines() if line.startswith("python ")))


def options(words: list[str]) -> dict[str, str]:
    return {words[at]: (words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("--") else "") for at in range(len(words)) if words[at].startswith("--")}


def test_preprocessing_is_the_vendors() -> None:
    seed = ("python ./tools/preprocess_data.py --input /home/ma-user/ws/training_data/finetune/alpaca_gpt4_data.json "
            "--tokenizer-name-or-path /home/ma-user/ws/tokenizers/Qwen-14B "
            "--output-prefix /home/ma-user/ws/processed_for_ma_input/Qwen-14B/data/finetune/alpaca_ft --workers 8 --log-interval 1000 "
            "--tokenizer-type PretrainedFromHF --handler-name GeneralInstructionHandler --make-vocab-size-divisible-by 128 --seq-length 4096")
    assert command(job(), "preprocess") == shlex.split(seed)
    pre = job(run={"mode": "pretrain"}, data={"prefix": f"{WS}/processed_for_ma_input/Qwen-14B/data/pretrain/alpaca_text_document",
                                              "input": f"{WS}/training_data/pretrain/train-00000-of-00001-a09b74b3ef9c3b56.parquet"})
    seed = ("python ./tools/preprocess_data.py --input /home/ma-user/ws/training_data/pretrain/train-00000-of-00001-a09b74b3ef9c3b56.parquet "
            "--tokenizer-name-or-path /home/ma-user/ws/tokenizers/Qwen-14B --output-prefix /home/ma-user/ws/processed_for_ma_input/Qwen-14B/data/pretrain/alpaca "
            "--workers 8 --log-interval 1000 --tokenizer-type PretrainedFromHF --seq-length 4096")
    assert command(pre, "preprocess") == shlex.split(seed)
    assert step(pre, "preprocess").makes == (f"{pre.data.prefix}.bin", f"{pre.data.prefix}.idx")


def test_conversion_is_the_vendors() -> None:
    seed = ("python tools/checkpoint/util.py --model-type GPT --loader qwen_hf --saver megatron --target-tensor-parallel-size 8 --target-pipeline-parallel-size 1 "
            "--load-dir /home/ma-user/ws/tokenizers/Qwen-14B --save-dir /home/ma-user/ws/processed_for_ma_input/Qwen-14B/converted_weights "
            "--tokenizer-model /home/ma-user/ws/tokenizers/Qwen-14B/qwen.tiktoken --add-qkv-bias")
    assert command(job(), "convert") == shlex.split(seed)
    assert f"cd -- {CODE}/ModelLink" in step(job(), "convert").script


def test_export_asks_for_one_rank() -> None:
    found = options(command(job(), "export"))
    assert found["--target-tensor-parallel-size"] == "1" and found["--save-model-type"] == "save_huggingface_qwen" and found["--load-dir"] == f"{WS}/saved"


@pytest.mark.parametrize("name", [name for name in STEPS if name != "merge-lora"])
def test_bash_finds_no_fault(name: str) -> None:
    assert subprocess.run(["bash", "-n"], input=step(job(), name).script, text=True, capture_output=True, check=False).stderr == ""


def run(spec: JobSpec, name: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", step(spec, name).script], env={"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(root)}, text=True,
                          capture_output=True, timeout=60, check=False)


def bench(root: Path, python: str) -> JobSpec:
    """A workspace with a program called python."""
    spec = job(str(root / "w s"))
    for directory in (*workspace_tree(spec), f"{spec.runner.workdir}/ModelLink", str(root / "bin")):
        Path(directory).mkdir(parents=True, exist_ok=True)
    (root / "bin" / "python").write_text(f"#!/bin/bash\n{python}\n")
    (root / "bin" / "python").chmod(0o755)
    return spec


def test_workspace_is_made_and_what_is_missing_is_said(tmp_path: Path) -> None:
    spec = job(str(tmp_path / "w s"))
    done = run(spec, "workspace", tmp_path)
    assert done.returncode == 1 and all(Path(path).is_dir() for path in workspace_tree(spec))
    assert "missing: the training code" in done.stdout and "missing: the raw data" in done.stdout
    Path(spec.runner.workdir).mkdir(parents=True)
    Path(spec.data.input).write_text("[]")
    weights = Path(spec.model.weights)
    (weights / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}))
    (weights / "model-00001-of-00002.safetensors").write_text("x")
    done = run(spec, "workspace", tmp_path)
    assert done.returncode == 1 and done.stdout.count("missing") == 1 and "model-00002-of-00002.safetensors" in done.stdout
    (weights / "model-00002-of-00002.safetensors").write_text("x")
    assert run(spec, "workspace", tmp_path).returncode == 0 and (Path(spec.runner.workdir) / "logs").is_dir()


def test_conversion_runs_once_and_notes_its_layout(tmp_path: Path) -> None:
    spec = bench(tmp_path, 'while [ $# -gt 0 ]; do [ "$1" = --save-dir ] && to=$2; shift; done; echo release > "$to/latest_checkpointed_iteration.txt"; echo ran')
    assert "ran" in run(spec, "convert", tmp_path).stdout
    assert json.loads((Path(spec.checkpoint.load_dir) / "rankdeck-layout.json").read_text())["tp"] == 8
    again = run(spec, "convert", tmp_path)
    assert again.returncode == 0 and "there already" in again.stdout and "ran" not in again.stdout


@pytest.mark.parametrize(("python", "text"), [("exit 0", "is not there"), ("echo broken >&2; exit 3", "broken")])
def test_a_step_that_made_nothing_has_failed(python: str, text: str, tmp_path: Path) -> None:
    done = run(bench(tmp_path, python), "preprocess", tmp_path)
    assert done.returncode != 0 and text in done.stderr


@pytest.mark.parametrize(("name", "changes", "got"), [
    ("train", {}, "no such step"), ("convert", {"model": {"family": "bloom"}}, "not known for this family"), ("preprocess", {"data": {"input": ""}}, "needs data.input"),
    ("convert", {"runner": {"kind": "script", "trainer_dir": ""}}, "not known for this runner"),
    ("merge-lora", {}, "not known for this runner"), ("merge-lora", {"runner": {"kind": "torchrun", "entry": "", "trainer_dir": "/opt/rankdeck"}}, "needs run.mode: lora")])
def test_what_a_step_lacks(name: str, changes: dict[str, Any], got: str) -> None:
    with pytest.raises(FileError, match=got):
        step(job(**changes), name)
