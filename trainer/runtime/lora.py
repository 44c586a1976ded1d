"""Low-rank adapters on megatron-core's linear layers: attached, trained alone, saved alone, merged.

An adapter adds ``x A^T B^T alpha / rank`` to a frozen linear. Under tensor parallelism it is cut as its
base is: of a column-parallel linear B is cut and A is whole on every rank, of a row-parallel one A is cut
and B is whole. A whole matrix must get its whole gradient on every rank: the region copies, gathers and
reduces stand around the *narrow* middle (``x A^T``), never around x, from where A would get a part of its
gradient only. A is drawn from the seed and the module's name, so every layout starts from the same adapter.

An expert's linears stand between a dispatcher that brings each rank all tokens of its experts and adds up what
the ranks give: there is nothing to copy, gather or reduce in between, in an adapter as little as in its base,
and what a whole matrix lacks is added up as its sequence-parallel gradient is. (A mixture under TP is trained with
sequence parallelism only.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as functional
from megatron.core import parallel_state
from megatron.core.tensor_parallel import mappings
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, set_tensor_model_parallel_attributes
from megatron.core.transformer.mlp import apply_swiglu_sharded_factory
from megatron.core.transformer.utils import make_sharded_tensors_for_checkpoint

from trainer.runtime.errors import TrainerError
from trainer.runtime.initial import generator
from trainer.spec.job import Peft

PLACES = {"linear_qkv": "self_attention", "linear_proj": "self_attention", "linear_fc1": "mlp", "linear_fc2": "mlp"}

ALIASES = {
    "q_proj": "linear_qkv", "k_proj": "linear_qkv", "v_proj": "linear_qkv", "o_proj": "linear_proj",
    "gate_proj": "linear_fc1", "up_proj": "linear_fc1", "down_proj": "linear_fc2",
}
"""Hugging Face's names of the same matrices; megatron-core keeps Q, K, V and gate, up in one each."""


class Adapted(torch.nn.Module):
    """A linear with its adapter; takes the linear's place."""

    def __init__(self, base: Any, settings: Peft, *, name: str, seed: int) -> None:
        super().__init__()
        self.base, self._scale, self._dropout = base, settings.alpha / settings.rank, settings.dropout
        self._column = isinstance(base, ColumnParallelLinear)
        self._sequence, self._gated = base.config.sequence_parallel, name.endswith("linear_fc1")
        weight = base.weight
        self._expert = bool(base.is_expert)
        if self._expert:
            count, rank = parallel_state.get_expert_tensor_parallel_world_size(), parallel_state.get_expert_tensor_parallel_rank()
        else:
            count, rank = parallel_state.get_tensor_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_rank()
        wide = weight.shape[1] if self._column else weight.shape[1] * count
        drawn = torch.randn(settings.rank, wide, generator=generator(seed, name)) * wide**-0.5
        own = drawn if self._column else drawn.chunk(count, dim=1)[rank]
        self.adapter_a = torch.nn.Parameter(own.contiguous().to(weight.device, weight.dtype))
        self.adapter_b = torch.nn.Parameter(torch.zeros(weight.shape[0], settings.rank, device=weight.device, dtype=weight.dtype))
        cut, whole = (self.adapter_b, self.adapter_a) if self._column else (self.adapter_a, self.adapter_b)
        set_tensor_model_parallel_attributes(cut, True, 0 if self._column else 1, 1)
        # With its input or output cut along the sequence, a whole matrix sees a part of the tokens: its
        # gradient is added up over the tensor-parallel ranks, as a norm's is.
        whole.sequence_parallel = self._sequence  # type: ignore[attr-defined]
        for parameter in (cut, whole):
            # Whether it is on all data-parallel ranks, or an expert's that others do not have.
            parameter.allreduce = getattr(weight, "allreduce", True)  # type: ignore[attr-defined]

    def forward(self, x: torch.Tensor, *arguments: Any, **named: Any) -> tuple[torch.Tensor, Any]:
        output, bias = self.base(x, *arguments, **named)
        middle = functional.linear(self._dropped(x) if self._dropout and self.training else x, self.adapter_a)
        if self._expert:
            pass
        elif self._column:
            middle = mappings.gather_from_sequence_parallel_region(middle) if self._sequence else mappings.copy_to_tensor_model_parallel_region(middle)
        else:
            middle = mappings.reduce_scatter_to_sequence_parallel_region(middle) if self._sequence else mappings.reduce_from_tensor_model_parallel_region(middle)
        return output + functional.linear(middle, self.adapter_b) * self._scale, bias

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if not self._expert:
            return functional.dropout(x, self._dropout)
        # How many tokens an expert gets differs between data-parallel ranks, and a checkpoint holds one state of chance
        # for all of them: they must have drawn as many numbers, so each expert draws one, and its mask by that.
        drawn = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, ())))
        return x * (torch.rand(x.shape, generator=drawn, device=x.device) >= self._dropout) / (1.0 - self._dropout)

    def sharded_state_dict(self, prefix: str = "", sharded_offsets: tuple[Any, ...] = (), metadata: Any = None) -> dict[str, Any]:
        """The adapter's two matrices, and the base under its own name within."""
        own = {"adapter_a": self.adapter_a, "adapter_b": self.adapter_b}
        cut = {"adapter_b": 0} if self._column else {"adapter_a": 1}
        made = make_sharded_tensors_for_checkpoint(own, prefix, cut, sharded_offsets)
        if self._gated:
            made[f"{prefix}adapter_b"] = apply_swiglu_sharded_factory(made[f"{prefix}adapter_b"], sharded_offsets)
        return {**made, **self.base.sharded_state_dict(f"{prefix}base.", sharded_offsets, metadata)}

    @torch.no_grad()
    def merged(self) -> Any:
        """The base, with the adapter added to its weight."""
        self.base.weight += ((self.adapter_b.float() @ self.adapter_a.float()) * self._scale).to(self.base.weight.dtype)
        return self.base


def attach(chunks: list[Any], settings: Peft, *, seed: int) -> int:
    """Freeze the chunks and give their target modules adapters; how many. Raises TrainerError for an unknown target."""
    targets = {ALIASES.get(name, name) for name in settings.target_modules}
    if unknown := sorted(targets - set(PLACES)):
        raise TrainerError("no module is called so", where="model.peft.target_modules", got=", ".join(unknown), expected=", ".join((*PLACES, *ALIASES)), fix="Name modules of the list")
    made = 0
    for chunk in chunks:
        for parameter in chunk.parameters():
            parameter.requires_grad_(False)
        for layer in chunk.decoder.layers:
            for target in sorted(targets):
                for within, owner in _owners(layer, target):
                    # layer_number counts over all stages: the name is the same in every layout.
                    name = f"layers.{layer.layer_number}.{within}{target}"
                    setattr(owner, target, Adapted(getattr(owner, target), settings, name=name, seed=seed))
                    made += 1
    return made


def merge(chunks: list[Any]) -> int:
    """Add every adapter to its base and take it away; how many."""
    made = 0
    for owner, target, adapted in list(_adapted(chunks)):
        setattr(owner, target, adapted.merged())
        made += 1
    return made


def _adapted(chunks: list[Any]) -> Iterator[tuple[Any, str, Adapted]]:
    for chunk in chunks:
        for layer in chunk.decoder.layers:
            for target in PLACES:
                for _, owner in _owners(layer, target):
                    found = getattr(owner, target)
                    if isinstance(found, Adapted):
                        yield owner, target, found


def _owners(layer: Any, target: str) -> Iterator[tuple[str, Any]]:
    """The modules of a layer that have a linear called so, each with what goes before the linear's name; of a
    mixture this rank's experts, counted over all ranks."""
    owner = getattr(layer, PLACES[target])
    if not hasattr(owner, "experts"):
        yield "", owner
        return
    own = owner.experts.local_experts
    first = parallel_state.get_expert_model_parallel_rank() * len(own)
    for number, expert in enumerate(own, start=first):
        yield f"experts.{number}.", expert
