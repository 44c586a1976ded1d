"""Low-rank adapters on megatron-core's linear layers: attached, trained alone, saved alone, merged.

An adapter adds ``x A^T B^T alpha / rank`` to a frozen linear. Under tensor parallelism it is cut as its
base is: of a column-parallel linear B is cut and A is whole on every rank, of a row-parallel one A is cut
and B is whole. A whole matrix must get its whole gradient on every rank: the region copies, gathers and
reduces stand around the *narrow* middle (``x A^T``), never around x, from where A would get a part of its
gradient only. A is drawn from the seed and the module's name, so every layout starts from the same adapter.
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

    def forward(self, x: torch.Tensor, *arguments: Any, **named: Any) -> tuple[torch.Tensor, Any]:
        output, bias = self.base(x, *arguments, **named)
        middle = functional.linear(functional.dropout(x, self._dropout, self.training) if self._dropout else x, self.adapter_a)
        if self._column:
            middle = mappings.gather_from_sequence_parallel_region(middle) if self._sequence else mappings.copy_to_tensor_model_parallel_region(middle)
        else:
            middle = mappings.reduce_scatter_to_sequence_parallel_region(middle) if self._sequence else mappings.reduce_from_tensor_model_parallel_region(middle)
        return output + functional.linear(middle, self.adapter_b) * self._scale, bias

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
                owner = getattr(layer, PLACES[target])
                # layer_number counts over all stages: the name is the same in every layout.
                name = f"layers.{layer.layer_number}.{target}"
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
            for target, place in PLACES.items():
                found = getattr(getattr(layer, place), target, None)
                if isinstance(found, Adapted):
                    yield getattr(layer, place), target, found
