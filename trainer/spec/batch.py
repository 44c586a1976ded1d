"""The loop in numbers: microbatches, sample positions, saves, learning rate. Torch-free arithmetic.

An iteration is counted from 1, as Megatron prints it; a sample from 0. The position in the data is the
count of consumed samples and nothing else, so that a resumed run, on whatever world, goes on with the
sample after the last one it has a checkpoint for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainer.spec import parallel
from trainer.spec.job import JobSpec, Train


def num_microbatches(spec: JobSpec) -> int:
    """Forward and backward passes of one rank in an iteration, rounded down; 0 when nothing fits."""
    per_pass = spec.train.micro_batch_size * parallel.data_parallel_size(spec)
    return spec.train.global_batch_size // per_pass if per_pass > 0 else 0


def consumed_samples(spec: JobSpec, iteration: int) -> int:
    """Samples seen when ``iteration`` is done, of a run that never changed its batch size."""
    return iteration * spec.train.global_batch_size


def sample_indices(
    *, consumed: int, microbatch: int, micro_batch_size: int, data_parallel_rank: int, data_parallel_size: int
) -> range:
    """The samples of one microbatch on one data-parallel rank, of the iteration that starts at ``consumed``.

    Rank by rank within a microbatch, as Megatron's MegatronPretrainingSampler deals them; all ranks and
    microbatches together are the global batch, each sample once, whatever the world.
    """
    start = consumed + (microbatch * data_parallel_size + data_parallel_rank) * micro_batch_size
    return range(start, start + micro_batch_size)


def save_iterations(spec: JobSpec) -> tuple[int, ...]:
    """The iterations after which a checkpoint is written, ascending."""
    total, interval = spec.train.iterations, spec.checkpoint.interval
    saves = list(range(interval, total + 1, interval)) if interval > 0 else []
    if spec.checkpoint.save_last and total > 0 and (not saves or saves[-1] != total):
        saves.append(total)
    return tuple(saves)


def learning_rate(train: Train, iteration: int) -> float:
    """The rate of an iteration: linear warm-up from 0, then a cosine down to the minimum at the last one.

    A function of the iteration alone, so that nothing of a schedule needs to be in a checkpoint.
    """
    if iteration <= train.warmup_iterations:
        return train.learning_rate * iteration / train.warmup_iterations
    span = train.iterations - train.warmup_iterations
    done = min(1.0, (iteration - train.warmup_iterations) / span) if span > 0 else 1.0
    reach = train.learning_rate - train.min_learning_rate
    return train.min_learning_rate + 0.5 * (1.0 + math.cos(math.pi * done)) * reach


def tokens_per_s_per_device(spec: JobSpec, step_ms: float) -> float:
    """Throughput of a step of ``step_ms`` milliseconds, as the vendor's guide counts it (rule T1): 64 samples of
    4096 tokens on 8 devices in 10 s are 3276.8."""
    ranks = parallel.world_size(spec)
    return spec.train.global_batch_size * spec.train.seq_length / (ranks * step_ms) * 1000 if ranks and step_ms > 0 else 0.0


def loss_rank(spec: JobSpec) -> int:
    """The rank that prints the loss (rule T2): the last, but the first under LLaMA-Factory and VeRL.

    Source: Megatron's print_rank_last; Huawei's modelarts_llm_train_590611.
    """
    first = spec.runner.kind == "ascendfactory" and spec.runner.ascendfactory.backend in ("llamafactory", "verl", "mindspeed-rl")
    said = spec.logging.loss_rank
    return 0 if said == "first" or (said == "auto" and first) else max(0, parallel.world_size(spec) - 1)


def derived(spec: JobSpec) -> Mapping[str, Any]:
    """What follows from a job and is worth showing: plain scalars and lists, for ``rankdeck plan``."""
    saves = save_iterations(spec)
    one = parallel.checkpoint_bytes(spec.model)
    return {
        "nnodes": parallel.nnodes(spec),
        "nproc_per_node": spec.fleet.npus_per_node,
        "world_size": parallel.world_size(spec),
        "model_parallel_size": parallel.model_parallel_size(spec),
        "data_parallel_size": parallel.data_parallel_size(spec),
        "num_microbatches": num_microbatches(spec),
        "tokens_per_iteration": spec.train.global_batch_size * spec.train.seq_length,
        "consumed_samples": consumed_samples(spec, spec.train.iterations),
        "parameters": parallel.parameter_count(spec.model),
        "saves": len(saves),
        "save_iterations": list(saves),
        "checkpoint_bytes": one,
        "checkpoints_bytes": one * (min(spec.checkpoint.keep, len(saves)) if spec.checkpoint.keep > 0 else len(saves)),
        "loss_rank": loss_rank(spec),
    }
