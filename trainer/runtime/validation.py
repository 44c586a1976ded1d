"""Validation: the loss on samples that are not trained on, told every ``train.eval_interval`` iterations.

It is always the first samples of the validation data, in one order, so that two figures can be compared and
there is no position to save. Nothing random is drawn and nothing of the model or optimizer is changed: a run
with validation is, but for these lines, the run without.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func

from trainer.runtime import batches
from trainer.runtime.step import forward, summed
from trainer.spec import batch
from trainer.spec.job import JobSpec

SEED_OFFSET = 1 << 32
"""Made-up validation samples are those of another seed, further off than anybody's next one."""


def source_of(spec: JobSpec) -> batches.Source:
    """The job's validation data: what ``data.valid_prefix`` names, in the format of the training data; synthetic
    samples of another seed. Raises TrainerError for data that cannot be used."""
    run = dataclasses.replace(spec.run, seed=spec.run.seed + SEED_OFFSET) if spec.data.format == "synthetic" else spec.run
    return batches.source_of(dataclasses.replace(spec, run=run, data=dataclasses.replace(spec.data, prefix=spec.data.valid_prefix)))


class Validation:
    """The validation of a job on this rank. Calling it is a collective."""

    def __init__(self, spec: JobSpec, device: str, source: batches.Source, modules: list[Any]) -> None:
        self._spec, self._device, self._source, self._modules = spec, device, source, modules
        self._forward_backward = get_forward_backward_func()
        # Samples that an epoch has not would be counted twice.
        epoch = getattr(source, "samples_per_epoch", 0) or len(source)
        self._batches = min(spec.train.eval_iterations, max(1, epoch // spec.train.global_batch_size)) if epoch else spec.train.eval_iterations

    @torch.no_grad()
    def __call__(self) -> float:
        """The mean loss of a token over ``train.eval_iterations`` global batches (at most one epoch); nan where none counts."""
        training = [module.training for module in self._modules]
        for module in self._modules:
            module.eval()
        total = torch.zeros(2, dtype=torch.float64, device=self._device)
        for number in range(self._batches):
            total += self._batch(number).double()
        for module, before in zip(self._modules, training, strict=True):
            module.train(before)
        dist.all_reduce(total)
        loss, tokens = total.tolist()
        return loss / tokens if tokens else float("nan")

    def _batch(self, number: int) -> torch.Tensor:
        spec, size = self._spec, parallel_state.get_data_parallel_world_size()
        iterators = [
            batches.microbatches(
                self._source, spec, consumed=batch.consumed_samples(spec, number), data_parallel_rank=parallel_state.get_data_parallel_rank(),
                data_parallel_size=size, device=self._device, context_parallel_rank=parallel_state.get_context_parallel_rank())
            for _ in self._modules]
        parts = self._forward_backward(
            forward_step_func=forward,
            data_iterator=iterators if len(iterators) > 1 else iterators[0],
            model=self._modules if len(self._modules) > 1 else self._modules[0],
            num_microbatches=spec.train.global_batch_size // (spec.train.micro_batch_size * size),
            seq_length=spec.train.seq_length,
            micro_batch_size=spec.train.micro_batch_size,
            forward_only=True,
        )
        return summed(parts, self._device)
