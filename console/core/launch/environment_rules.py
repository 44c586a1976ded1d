"""What is known of environment variables that decide how Ascend trains (rules E4 to E7). Pure data and one function.

Sources: hiascend.com CANN references envref_07_0073 to 0149 and hcclug_000106, MindSpeed's
environment_variable.md and high_availability.md (ids as in the reference of launching).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainer.spec.blocks import SECRET_NAME
from trainer.spec.finding import Finding, error, warning
from trainer.spec.job import JobSpec, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One variable."""

    meaning: str
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    incident: tuple[str, ...] = ()
    """Values for looking into an incident only, with what they cost in ``cost``."""
    cost: str = ""
    per_node: bool = False
    """Differs by node, so one value for all is wrong."""
    hardware: str = ""
    """Only hardware profiles whose name begins so have it."""
    source: str = ""


VARIABLES: Mapping[str, Known] = {
    "HCCL_CONNECT_TIMEOUT": Known(meaning="seconds to wait for a link; 20 more are added", low=120, high=7200, source="envref_07_0077"),
    "HCCL_EXEC_TIMEOUT": Known(meaning="seconds a collective may take; 0 for ever", low=0, high=2147483647, incident=("0",),
                               cost="a collective whose peer is gone is never given up", source="envref_07_0078"),
    "HCCL_IF_IP": Known(meaning="this host's address for HCCL", per_node=True, source="envref_07_0073"),
    "HCCL_SOCKET_IFNAME": Known(meaning="interface for HCCL: eth, =eth0, ^eth, ^=eth0", pattern=r"\^?=?[^\s,=^]+(,[^\s,=^]+)*", source="envref_07_0075"),
    "GLOO_SOCKET_IFNAME": Known(meaning="interface for gloo", pattern=r"[^\s,=^]+(,[^\s,=^]+)*", source="MindSpeed"),
    "HCCL_IF_BASE_PORT": Known(meaning="first of the ports HCCL listens on", low=1024, high=65520, source="envref_07_0074"),
    "HCCL_HOST_SOCKET_PORT_RANGE": Known(meaning="ports HCCL listens on", pattern=r"auto|[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*", source="envref_07_0143"),
    "HCCL_WHITELIST_DISABLE": Known(meaning="1: no list of trusted hosts", choices=("0", "1"), source="MindSpeed"),
    "HCCL_OP_RETRY_ENABLE": Known(meaning="repeat a failed collective, by level", hardware="ascend-a3", source="hcclug_000106"),
    "HCCL_OP_RETRY_PARAMS": Known(meaning="how often and how long to repeat",
                                  pattern=r"MaxCnt:([1-9]|10)(,\s*HoldTime:[0-9]+)?(,\s*IntervalTime:[0-9]+)?", hardware="ascend-a3", source="hcclug_000106"),
    "HCCL_ASYNC_ERROR_HANDLING": Known(meaning="give a failed collective up", choices=("0", "1"), source="MindSpeed"),
    "ASCEND_RT_VISIBLE_DEVICES": Known(meaning="logical NPUs of a process", pattern=r"[0-9]+([-,][0-9]+)*", source="MindIE-SD"),
    "ASCEND_LAUNCH_BLOCKING": Known(meaning="1: every operation waits", choices=("0", "1"), incident=("1",), cost="training is many times slower", source="MindSpeed"),
    "CUDA_DEVICE_MAX_CONNECTIONS": Known(meaning="1 orders communication after computation", low=1, high=32, source="MindSpeed"),
    "TASK_QUEUE_ENABLE": Known(meaning="operator queue", choices=("0", "1", "2"), source="MindSpeed"),
    "NPU_ASD_ENABLE": Known(meaning="silent error detection", choices=("0", "1", "2", "3"), source="MindSpeed"),
    "COMBINED_ENABLE": Known(meaning="combine operators for non-contiguous tensors", choices=("0", "1"), source="MindSpeed"),
    "ASCEND_GLOBAL_LOG_LEVEL": Known(meaning="0 debug to 3 error, 4 nothing", choices=("0", "1", "2", "3", "4"), incident=("0", "1"),
                                     cost="logs fill the disk and slow training down", source="envref_07_0122"),
    "ASCEND_SLOG_PRINT_TO_STDOUT": Known(meaning="1: process logs to standard output", choices=("0", "1"), incident=("1",),
                                         cost="no plog file is written any more, so none can be followed or bundled", source="envref_07_0121"),
    "ASCEND_GLOBAL_EVENT_ENABLE": Known(meaning="event logs", choices=("0", "1"), source="Ascend/pytorch#48"),
    "ASCEND_PROCESS_LOG_PATH": Known(meaning="directory of process logs", per_node=True, source="envref_07_0120"),
    "HIGH_AVAILABILITY": Known(meaning="MindSpeed's own recovery", choices=("dump", "retry", "recover", "elastic-training"), source="MindSpeed"),
}

SCRIPT_VARIABLES: Mapping[str, str] = {
    "MODEL_TYPE": "model.size", "RUN_TYPE": "run.mode", "DATASET_PATH": "data.prefix", "TOKENIZER_PATH": "model.tokenizer", "MODEL_PATH": "checkpoint.load_dir",
    "TRAIN_ITERS": "train.iterations", "MBS": "train.micro_batch_size", "GBS": "train.global_batch_size", "TP": "parallel.tensor_model_parallel_size",
    "PP": "parallel.pipeline_model_parallel_size", "SEQ_LEN": "train.seq_length", "WORK_DIR": "paths.work", "SAVE_INTERVAL": "checkpoint.interval"}
"""What the env-script runner sets from other fields; a second value in env would win in some shells and not in others."""


def check(spec: JobSpec) -> Iterator[Finding]:
    """All findings of the job's ``env``; a secret's value is not known here and not looked at."""
    for name, value in spec.env.items():
        path = ("env", name)
        if spec.runner.kind == "env-script" and name in SCRIPT_VARIABLES:
            yield error("E2", path, f"{name} is set by the launch from {SCRIPT_VARIABLES[name]}", fix="Take it out of env")
            continue
        if isinstance(value, str) and value and SECRET_NAME.search(name):
            # Without the value, which would be printed and stored.
            yield error("E8", path, "a secret in plain text would be stored with every attempt", expected="{from_env: NAME} or {from_file: PATH}",
                        fix="Name the place where the node finds it")
            continue
        known = VARIABLES.get(name)
        if name.startswith("NCCL_") and spec.fleet.hardware.startswith("ascend"):
            yield warning("E7", path, f"HCCL does not read {name}", got=name, expected="HCCL_...", fix="Take it out, or use HCCL's own")
        if known is None or isinstance(value, Secret):
            continue
        if known.per_node:
            if len(spec.fleet.nodes) > 1 or name == "ASCEND_PROCESS_LOG_PATH":
                yield warning("E6", path, f"{name} has to differ by node or attempt; the launch sets it", got=value, expected="nothing here", fix="Take it out of env")
        elif (known.choices and value not in known.choices) or (known.pattern and re.fullmatch(known.pattern, value) is None) or not _in_range(known, value):
            yield error("E4", path, f"not a value of {name}: {known.meaning}", got=repr(value), expected=_expected(known), fix=f"See {known.source}")
        elif value in known.incident:
            yield warning("E5", path, f"a setting for looking into an incident: {known.cost}", got=f"{name}={value}", expected="nothing in daily training",
                          fix="Take it out when the incident is over")
        if known.hardware and spec.fleet.hardware and not spec.fleet.hardware.startswith(known.hardware):
            yield warning("E7", path, f"{name} has no effect on this hardware", got=spec.fleet.hardware, expected=known.hardware, fix="Take it out")
    if spec.parallel.tensor_model_parallel_size > 1 and spec.env.get("CUDA_DEVICE_MAX_CONNECTIONS", "1") != "1" and "CUDA_DEVICE_MAX_CONNECTIONS" in spec.env:
        yield warning("E5", ("env", "CUDA_DEVICE_MAX_CONNECTIONS"), "with tensor parallelism communication has to be ordered after computation",
                      got=str(spec.env["CUDA_DEVICE_MAX_CONNECTIONS"]), expected="1", fix="Set it to 1")


def _in_range(known: Known, value: str) -> bool:
    if known.low is None or known.high is None:
        return True
    return re.fullmatch(r"[0-9]{1,10}", value) is not None and known.low <= int(value) <= known.high


def _expected(known: Known) -> str:
    if known.choices:
        return ", ".join(known.choices)
    return f"{known.low} to {known.high}" if known.low is not None else known.meaning
