"""The jobs of the golden plans: hardware x runner x mode x nodes, as job files with what comes with Rankdeck."""

from __future__ import annotations

from pathlib import Path

from console import files
from console.core.launch import inventory
from console.core.launch.compose import ComposedJob
from console.core.launch.inventory import Inventory
from console.core.launch.plan import LaunchPlan, make_plan

ATTEMPT = "20261122T051001Z-1a2b"
HARDWARE = {"a2": "ascend-a2-8", "a3": "ascend-a3-16", "cpu": "cpu"}
NPUS = {"a2": 8, "a3": 16, "cpu": 1}
RUNNERS = ("torchrun", "env-script", "ascendfactory-v1", "ascendfactory-v2")
MODES = ("pretrain", "retrain", "sft", "lora")
WS = "/home/ma-user/ws"
FACTORY = f"{WS}/llm_train/AscendFactory"

RUNNER = {
    "torchrun": "runner: {kind: torchrun, python: /usr/bin/python3, trainer_dir: /opt/rankdeck}\n",
    "env-script": f"runner: {{kind: env-script, entry: scripts/qwen/qwen.sh, workdir: {WS}/llm_train/AscendSpeed}}\n",
    "ascendfactory-v1": f"runner:\n  kind: ascendfactory\n  workdir: {FACTORY}\n  setup: [source /usr/local/Ascend/ascend-toolkit/set_env.sh]\n"
                        f"  ascendfactory: {{dialect: v1, model_name: qwen-14b, exp_name: full-4k, scripts_dir: {FACTORY}/scripts_modellink}}\n",
    "ascendfactory-v2": f"runner:\n  kind: ascendfactory\n  workdir: {FACTORY}\n  setup: [source /usr/local/Ascend/ascend-toolkit/set_env.sh]\n"
                        "  ascendfactory: {dialect: v2, model_name: qwen-14b, exp_name: full-4k}\n",
}


def all_names() -> list[str]:
    """Every case as hardware_runner_mode_nodes."""
    return [f"{hardware}_{runner}_{mode}_{nodes}" for hardware in HARDWARE for runner in RUNNERS for mode in MODES for nodes in (1, 2)]


def fleet(npus: int, count: int = 2) -> Inventory:
    """Nodes n0, n1, ... at 10.0.0.1, ..."""
    return inventory.from_mapping({"name": "lab", "defaults": {"npus": npus}, "nodes": [
        {"name": f"n{at}", "host": f"10.0.{at // 250}.{at % 250 + 1}"} for at in range(count)]}, name="lab", where="fleet.yaml")


def job_text(name: str) -> str:
    """The job file of a case."""
    hardware, runner, mode, nodes = name.split("_")
    qwen = "" if runner == "torchrun" else "\n  - recipe: qwen-14b"
    lines = f"defaults:\n  - hardware: {HARDWARE[hardware]}{qwen}\n"
    lines += f"run: {{name: case, mode: {mode}}}\npaths: {{work: {WS}}}\n"
    lines += f"fleet: {{nodes: [{', '.join(f'n{at}' for at in range(int(nodes)))}], nic: bond0}}\n"
    lines += RUNNER[runner]
    if hardware != "cpu":
        lines += "container: {runtime: docker, image: registry.example/pytorch:2.1.0-cann8, name: ascendspeed}\n"
    lines += "train: {iterations: 300" + (", global_batch_size: 64, seq_length: 64}" if runner == "torchrun" else f", micro_batch_size: {4 if mode == 'lora' else 2}}}") + "\n"
    if runner == "torchrun":
        lines += "data: {format: synthetic}\n"
    else:
        data = "pretrain/alpaca_text_document" if mode in ("pretrain", "retrain") else "finetune/alpaca_ft"
        lines += f"data: {{format: megatron-bin, prefix: {WS}/processed_for_ma_input/Qwen-14B/data/{data}}}\n"
        lines += f"model: {{tokenizer: {WS}/tokenizers/Qwen-14B}}\n"
        if hardware == "cpu":
            lines += "parallel: {tensor_model_parallel_size: 1}\n"
    load = {"pretrain": "", "retrain": f"load_dir: {WS}/saved_dir_for_ma_output/Qwen-14B/pretrain"}.get(mode, f"load_dir: {WS}/processed_for_ma_input/Qwen-14B/converted_weights")
    lines += f"checkpoint: {{dir: {WS}/saved_dir_for_ma_output/Qwen-14B/{mode}, interval: 100{', ' + load if load else ''}}}\n"
    return lines


def compose(text: str, directory: Path) -> ComposedJob:
    """The job of a text, read as a file."""
    path = directory / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return files.read_job(str(path))


def plan(name: str, directory: Path) -> LaunchPlan:
    """The plan of a case."""
    job = compose(job_text(name), directory)
    return make_plan(job.spec, fleet(NPUS[name.split("_")[0]]), ATTEMPT, lambda path, key=False: ".".join(map(str, path)))
