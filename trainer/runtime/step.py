"""One training step: the global batch forward and backward, and the optimizer, unless it is no normal step.

The loss is per token over the whole global batch: sums of losses and counts of tokens are added up over
microbatches, data- and context-parallel ranks, and divided once. So neither the layout nor how many tokens
a sample has changes the loss or the gradient norm beyond rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.pipeline_parallel import get_forward_backward_func

from trainer.runtime import batches, model
from trainer.spec import batch
from trainer.spec.job import JobSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one step, the same on all ranks."""

    loss: float
    """Mean over the tokens that count."""
    grad_norm: float
    learning_rate: float
    anomaly: str
    """Why the step was not made; empty when it was."""
    flags: tuple[float, ...]
    """The ranks' flags, added up."""


class Step:
    """The step of a job on this rank. Calling it is a collective."""

    def __init__(self, spec: JobSpec, device: str, source: batches.Source, modules: list[Any], optimizer: Any) -> None:
        self._spec, self._device, self._source, self._modules, self._optimizer = spec, device, source, modules, optimizer
        self._forward_backward = get_forward_backward_func()
        self._rank, self._size = parallel_state.get_data_parallel_rank(), parallel_state.get_data_parallel_world_size()

    def __call__(self, iteration: int, consumed: int, *, judge: Callable[[float, float], str], flags: tuple[float, ...] = ()) -> Outcome:
        """Train on the samples from ``consumed`` on. ``judge`` says of (loss, gradient norm) whether to go on."""
        spec = self._spec
        rate = batch.learning_rate(spec.train, iteration)
        model.set_rates(self._optimizer, learning_rate=rate, weight_decay=spec.train.weight_decay)
        for module in self._modules:
            module.zero_grad_buffer()
        self._optimizer.zero_grad()
        iterators = [self._microbatches(consumed) for _ in self._modules]
        parts = self._forward_backward(
            forward_step_func=forward,
            data_iterator=iterators if len(iterators) > 1 else iterators[0],
            model=self._modules if len(self._modules) > 1 else self._modules[0],
            num_microbatches=spec.train.global_batch_size // (spec.train.micro_batch_size * self._size),
            seq_length=spec.train.seq_length,
            micro_batch_size=spec.train.micro_batch_size,
            forward_only=False,
        )
        told = torch.cat([summed(parts, self._device), torch.tensor(flags, dtype=torch.float32, device=self._device)])
        dist.all_reduce(told)
        loss_sum, tokens, *agreed = told.tolist()
        loss = loss_sum / tokens if tokens else float("nan")
        found_inf = self._optimizer.prepare_grads()
        grad_norm = float(self._optimizer.get_grad_norm())
        anomaly = judge(loss, float("inf") if found_inf else grad_norm)
        if not anomaly:
            self._update(grad_norm)
        return Outcome(loss=loss, grad_norm=grad_norm, learning_rate=rate, anomaly=anomaly, flags=tuple(agreed))

    def _microbatches(self, consumed: int) -> Iterator[dict[str, Any]]:
        return batches.microbatches(
            self._source, self._spec, consumed=consumed, data_parallel_rank=self._rank, data_parallel_size=self._size,
            device=self._device, context_parallel_rank=parallel_state.get_context_parallel_rank(),
        )

    @torch.no_grad()
    def _update(self, grad_norm: float) -> None:
        # As ChainedOptimizer.step does it, the part before the update being done already.
        for one in getattr(self._optimizer, "chained_optimizers", [self._optimizer]):
            parameters = one.get_parameters()
            if parameters and self._spec.train.clip_grad > 0.0:
                clip_grad_by_total_norm_fp32(parameters, max_norm=self._spec.train.clip_grad, total_norm=grad_norm)
        self._optimizer.step_with_ready_grads()


def summed(parts: list[Any], device: str) -> torch.Tensor:
    """(loss, tokens) of this rank's microbatches added up; of the ranks that hold the same tokens' losses one tells."""
    tells = parallel_state.is_pipeline_last_stage() and parallel_state.get_tensor_model_parallel_rank() == 0
    return torch.stack([part["lm loss"] for part in parts]).sum(dim=0) if tells and parts else torch.zeros(2, device=device)


def forward(iterator: Iterator[dict[str, torch.Tensor]], gpt: Any) -> Any:
    """megatron-core's forward step: the model on the next microbatch, and what makes the loss of its output."""
    one = next(iterator)
    output = gpt(one["tokens"], one["position_ids"], one["attention_mask"], labels=one["labels"])
    return output, lambda output: _loss_of(one["loss_mask"], output)


def _loss_of(mask: torch.Tensor, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    total = (output.float().view(-1) * mask.view(-1)).sum()
    tokens = mask.sum()
    return total, tokens.to(torch.int), {"lm loss": torch.stack([total.detach(), tokens])}
