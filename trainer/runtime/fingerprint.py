"""One hash over the whole training state: parameters and optimizer state of all ranks.

Two runs that end with the same hash hold the same bits, whatever number of data-parallel ranks the
optimizer's state was spread over. Tensors are taken by their place (pipeline stage, chunk, tensor- and
expert-parallel rank, name) in sorted order; a shard is put back to its place before it is hashed. What all
replicas hold is hashed too, so that replicas that have drifted apart show.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state

PARAMETERS_LIMIT = 100_000_000
"""Beyond this no hash is made: the state passes through rank 0, parameter by parameter."""

STATES = ("param", "exp_avg", "exp_avg_sq")


def state_sha256(model: Any, optimizer: Any) -> str | None:
    """The hash on rank 0, None on the others and for models above PARAMETERS_LIMIT. A collective: all ranks call it."""
    named = dict(_named(model if isinstance(model, list) else [model]))
    shards = _shards(optimizer)
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, {place: parameter.numel() for place, parameter in named.items()})
    everywhere = {place: count for one in gathered for place, count in one.items()}
    if sum(everywhere.values()) > PARAMETERS_LIMIT:
        return None
    digest = hashlib.sha256()
    rank = dist.get_rank()
    for place in sorted(everywhere):
        parameter = named.get(place)
        mine = None
        if parameter is not None:
            told = f"{tuple(parameter.shape)} {parameter.dtype} {hashlib.sha256(_bytes(parameter.detach())).hexdigest()}"
            mine = {"told": told, "shard": shards.get(parameter)}
        dist.gather_object(mine, gathered if rank == 0 else None, dst=0)
        if rank != 0:
            continue
        held = [one for one in gathered if one is not None]
        parts = sorted((one["shard"] for one in held if one["shard"] is not None), key=lambda part: part["start"])
        digest.update(f"{place} {sorted({one['told'] for one in held})}\n".encode())
        for state in STATES:
            digest.update(b"".join(part[state] for part in parts))
        digest.update(repr(sorted({part["step"] for part in parts})).encode())
    return digest.hexdigest() if rank == 0 else None


def _named(chunks: list[Any]) -> list[tuple[tuple[int, int, int, int, str], Any]]:
    stage, tensor = parallel_state.get_pipeline_model_parallel_rank(), parallel_state.get_tensor_model_parallel_rank()
    expert = parallel_state.get_expert_model_parallel_rank()
    return [
        ((stage, number, tensor, expert if ".experts." in name else 0, name), parameter)
        for number, chunk in enumerate(chunks) for name, parameter in chunk.named_parameters() if parameter.requires_grad
    ]


def _shards(optimizer: Any) -> dict[Any, dict[str, Any]]:
    """This rank's part of every parameter's optimizer state: where it starts, its bytes, its step."""
    found = {}
    for one in getattr(optimizer, "chained_optimizers", [optimizer]):
        for parameter in one.model_param_group_index_map:
            at = one._get_model_param_range_map(parameter)["param"]
            state = one._get_main_param_and_optimizer_states(parameter)
            # Before the first step there is no state: as many zeros are what it will begin with.
            zeros = torch.zeros_like(state["param"])
            found[parameter] = {
                "start": at.start,
                "step": float(state.get("step", 0.0)),
                **{key: _bytes(state.get(key, zeros).detach()) for key in STATES},
            }
    return found


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
