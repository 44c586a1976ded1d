"""Whether a checkpoint is of the model that is to be trained, asked before anything of it is loaded.

megatron-core itself passes over a vocabulary of another size (it fills up with zeros or cuts off) and over
tensors that the model has not, so that a run would go on with another model and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory

from trainer.runtime import report
from trainer.runtime.errors import TrainerError

Shape = tuple[int, ...]

ROWS_OF_THE_VOCABULARY = ("embedding.word_embeddings.weight", "output_layer.weight")
"""Weights alone may have more or fewer of these than the model: a vocabulary is made divisible by TP, or tokens are added."""

NAMED = 3
"""Differences that the error names; all are counted."""


def refuse_another(states: Iterable[Mapping[str, Any]], path: Path, *, adapters: bool, weights_alone: bool, fix: str) -> None:
    """Raise TrainerError on every rank unless the torch_dist directory has the tensors of ``states``, the chunks'
    sharded states of all ranks, in their shapes, and no other weights. A collective.

    ``adapters``: the states are adapters, beside which there may be others. What cannot be read here is left
    to loading, which says why.
    """
    mine: dict[str, Shape] = {}
    for state in states:
        mine.update(shapes(state))
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, mine)
    told: list[Any] = [[], []]
    if dist.get_rank() == 0:
        wanted = {key: shape for one in everywhere for key, shape in one.items()}
        found = _found(path)
        if found:
            told = differences(wanted, found, adapters=adapters, weights_alone=weights_alone)
            for text in told[1]:
                report.say(f" {text}")
    dist.broadcast_object_list(told, src=0)
    if told[0]:
        here, there = zip(*told[0][:NAMED], strict=True)
        more = len(told[0]) - NAMED
        raise TrainerError(
            "the checkpoint is of another model", where=str(path), got=", ".join(there) + (f" and {more} more" if more > 0 else ""),
            expected=", ".join(here), fix=fix)


def differences(wanted: Mapping[str, Shape], found: Mapping[str, Shape], *, adapters: bool, weights_alone: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """(what the model has, what the checkpoint has) of each tensor that differs; and what is let pass, in words."""
    differing, passed = [], []
    for key, shape in sorted(wanted.items()):
        other = found.get(key)
        if other == shape:
            continue
        if weights_alone and key in ROWS_OF_THE_VOCABULARY and other is not None and other[1:] == shape[1:]:
            passed.append(f"{key} has {other[0]} rows in the checkpoint and {shape[0]} here: the others are {'zero' if other[0] < shape[0] else 'left out'}")
            continue
        differing.append((_told(key, shape), _told(key, other) if other is not None else f"no {key}"))
    if not adapters:
        differing += [(f"no {key}", _told(key, found[key])) for key in sorted(found.keys() - wanted.keys())]
    return differing, passed


def shapes(state: Mapping[str, Any]) -> dict[str, Shape]:
    """The global shape of every tensor of a sharded state, by its name in a checkpoint."""
    made = {}
    for value in nested_values(dict(state)):
        parts = nested_values(value.build()) if isinstance(value, ShardedTensorFactory) else [value]
        made.update({part.key: tuple(part.global_shape) for part in parts if isinstance(part, ShardedTensor)})
    return made


def _found(path: Path) -> dict[str, Shape]:
    try:
        tensors = dist_checkpointing.load_tensors_metadata(str(path))
    except Exception:  # noqa: BLE001 - whatever it is, loading comes to it too
        return {}
    return {key: tuple(tensor.global_shape) for key, tensor in tensors.items() if not key.startswith("optimizer.")}


def _told(key: str, shape: Shape) -> str:
    return f"{key} of {' x '.join(map(str, shape))}"
