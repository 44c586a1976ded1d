"""The twelve launch commands and the container line of the vendor's DevServer guide (seed S3), as pasted."""

from __future__ import annotations

from typing import NamedTuple

WS = "/home/ma-user/ws"
_TAIL = f"SEQ_LEN=4096 WORK_DIR={WS} sh scripts/qwen/qwen.sh"
_TOKENIZER = f"TOKENIZER_PATH={WS}/tokenizers/Qwen-14B"
_TUNE = f"DATASET_PATH={WS}/processed_for_ma_input/Qwen-14B/data/finetune/alpaca_ft {_TOKENIZER}"
_PRE = f"DATASET_PATH={WS}/processed_for_ma_input/Qwen-14B/data/pretrain/alpaca_text_document {_TOKENIZER}"
_WEIGHTS = f"{WS}/processed_for_ma_input/Qwen-14B/converted_weights"
_SAVED = f"{WS}/saved_dir_for_ma_output/Qwen-14B/pretrain"
CODE = f"{WS}/xxx-Ascend/llm_train/AscendSpeed"


def _nodes(rank: int) -> str:
    return f"MASTER_ADDR=xx.xx.xx.xx NNODES=2 NODE_RANK={rank} "


class Seed(NamedTuple):
    """The commands of one launch, one a node, and the rule that the guide itself breaks in them."""

    name: str
    commands: tuple[str, ...]
    fault: str = ""


def _launch(mode: str, middle: str, batch: str, single: str = "", second: str = "") -> list[Seed]:
    body = f"MODEL_TYPE=14B RUN_TYPE={mode} {middle} {batch} TP=8 PP=1 {_TAIL}"
    return [Seed(f"{mode}-1", (single or body,), "N3" if single else ""),
            Seed(f"{mode}-2", (_nodes(0) + body, _nodes(1) + (second or body)), "N2" if second else "")]


LAUNCHES = [
    *_launch("pretrain", _PRE, "TRAIN_ITERS=200 MBS=2 GBS=64"),
    *_launch("retrain", f"{_PRE} MODEL_PATH={_SAVED}", "TRAIN_ITERS=300 MBS=2 GBS=64",
             second=f"MODEL_TYPE=14B RUN_TYPE=retrain {_PRE} MODEL_PATH={_SAVED} TRAIN_ITERS=300 MBS=2 GBS=64 TP=8 PP=12 {_TAIL}"),
    *_launch("sft", f"{_TUNE} MODEL_PATH={_WEIGHTS}", "TRAIN_ITERS=300 MBS=2 GBS=64",
             single=f"MODEL_TYPE=14B RUN_TYPE=sft {_TUNE} MODEL_PATH= {_WEIGHTS} TRAIN_ITERS=300 MBS=2 GBS=64 TP=8 PP=1 {_TAIL}"),
    *_launch("lora", f"{_TUNE} MODEL_PATH={_WEIGHTS}", "TRAIN_ITERS=300 MBS=4 GBS=64"),
]

DOCKER_RUN = """\
container_work_dir="/home/ma-user/ws"   # inside
work_dir="/home/ma-user/ws"             # on the host
container_name="ascendspeed"
image_name="${container_name} "
docker run -itd \\
    --device=/dev/davinci0 \\
    --device=/dev/davinci1 \\
    --device=/dev/davinci2 \\
    --device=/dev/davinci3 \\
    --device=/dev/davinci4 \\
    --device=/dev/davinci5 \\
    --device=/dev/davinci6 \\
    --device=/dev/davinci7 \\
    --device=/dev/davinci_manager \\
    --device=/dev/devmm_svm \\
    --device=/dev/hisi_hdc \\
    -v /usr/local/sbin/npu-smi:/usr/local/sbin/npu-smi \\
    -v /usr/local/dcmi:/usr/local/dcmi \\
    -v /usr/local/Ascend/driver:/usr/local/Ascend/driver \\
    --cpus 192 \\
    --memory 1000g \\
    --shm-size 200g \\
    --net=host \\
    -v ${work_dir}:${container_work_dir} \\
    --name ${container_name} \\
    $image_name \\
    /bin/bash
"""
