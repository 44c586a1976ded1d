"""One hash over the whole training state: parameters and optimizer state of all ranks.

Two runs that end with the same hash hold the same bits, whatever number of data-parallel ranks the
optimizer's state was spread over. Tensors are taken by parameter name in sorted order; a shard is put
back to its place in the parameter before it is hashed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
import torch.distributed as dist

PARAMETERS_LIMIT = 100_000_000
"""Beyond this no hash is made: the state passes through rank 0, parameter by parameter."""

STATES = ("param", "exp_avg", "exp_avg_sq")


def state_sha256(model: Any, optimizer: Any) -> str | None:
    """The hash on rank 0, None on the others and for models above PARAMETERS_LIMIT. A collective: all ranks call it."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if sum(parameter.numel() for parameter in named.values()) > PARAMETERS_LIMIT:
        return None
    shards = _shards(optimizer)
    digest = hashlib.sha256()
    rank = dist.get_rank()
    for name in sorted(named):
        parameter = named[name]
        gathered: list[Any] = [None] * dist.get_world_size()
        dist.gather_object(shards.get(parameter), gathered if rank == 0 else None, dst=0)
        if rank != 0:
            continue
        parts = sorted((part for part in gathered if part is not None), key=lambda part: part["start"])
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
        digest.update(_bytes(parameter.detach()))
        for state in STATES:
            digest.update(b"".join(part[state] for part in parts))
        digest.update(repr(sorted({part["step"] for part in parts})).encode())
    return digest.hexdigest() if rank == 0 else None


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
