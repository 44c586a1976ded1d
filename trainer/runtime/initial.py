"""Parameters from the seed and their names: the same model in every layout.

megatron-core draws parameters in the order in which a rank makes them, so that the second pipeline stage
would begin with the numbers of the first, and a gated MLP's halves would be other ones under tensor
parallelism. Here every matrix is drawn whole from a generator of its own, and a rank takes its part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.tensor_parallel.layers import (
    ColumnParallelLinear,
    RowParallelLinear,
    VocabParallelEmbedding,
    set_tensor_model_parallel_attributes,
)

_LAYER = re.compile(r"(?<=decoder\.layers\.)[0-9]+")
_EXPERT = re.compile(r"(?<=local_experts\.)[0-9]+")

_SCALED = ("linear_proj.weight", "linear_fc2.weight")
"""What writes into the residual stream: its deviation is divided by sqrt(2 x layers), as in GPT-2."""


@torch.no_grad()
def draw(chunks: list[Any], seed: int) -> None:
    """Set all parameters of bare chunks: matrices normal with the config's deviation, biases 0, norms 1."""
    for chunk in chunks:
        config = chunk.config
        _mark(chunk)
        for name, parameter in _named(chunk):
            if parameter.dim() < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            deviation = config.init_method_std / ((2.0 * config.num_layers) ** 0.5 if name.endswith(_SCALED) else 1.0)
            parameter.copy_(_own(name, parameter, seed, deviation, config))


def generator(seed: int, name: str) -> torch.Generator:
    """The generator of a name."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)


def _mark(chunk: Any) -> None:
    # megatron-core says so only where it draws itself; gradient norms and ``_own`` go by it.
    for module in chunk.modules():
        dimension = 0 if isinstance(module, (ColumnParallelLinear, VocabParallelEmbedding)) else 1 if isinstance(module, RowParallelLinear) else None
        weight = getattr(module, "weight", None)
        if dimension is not None and weight is not None and not hasattr(weight, "tensor_model_parallel"):
            set_tensor_model_parallel_attributes(weight, True, dimension, 1)


def _own(name: str, parameter: Any, seed: int, deviation: float, config: Any) -> torch.Tensor:
    shape, cut = list(parameter.shape), bool(getattr(parameter, "tensor_model_parallel", False))
    count, rank = parallel_state.get_tensor_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_rank()
    if cut and count > 1:
        shape[parameter.partition_dim] *= count
    whole = torch.empty(shape, dtype=torch.float32).normal_(0.0, deviation, generator=generator(seed, name))
    if not cut or count == 1:
        return whole
    # Gate and up of a gated MLP are one matrix, and every rank has a part of both.
    parts = whole.chunk(2) if config.gated_linear_unit and name.endswith("linear_fc1.weight") else (whole,)
    return torch.cat([part.chunk(count, dim=parameter.partition_dim)[rank] for part in parts])


def _named(chunk: Any) -> Iterator[tuple[str, Any]]:
    """Parameters by their names in the whole model: layers and experts counted over all ranks."""
    numbers = {str(place): str(layer.layer_number - 1) for place, layer in enumerate(chunk.decoder.layers)}
    experts = (chunk.config.num_moe_experts or 0) // max(1, parallel_state.get_expert_model_parallel_world_size())
    first = parallel_state.get_expert_model_parallel_rank() * experts
    for name, parameter in chunk.named_parameters():
        told = _LAYER.sub(lambda match: numbers[match.group()], name)
        told = _EXPERT.sub(lambda match: str(first + int(match.group())), told)
        if told == "output_layer.weight" and chunk.share_embeddings_and_output_weights:
            told = "embedding.word_embeddings.weight"
        yield told, parameter
