"""Hugging Face's tensors to one of Megatron's and back, and a tensor-parallel rank's part of it and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.convert import names
from trainer.convert.names import Entry
from trainer.spec.job import Model


def joined(entry: Entry, tensors: Sequence[torch.Tensor], model: Model) -> torch.Tensor:
    """Megatron's whole tensor of Hugging Face's."""
    if entry.kind == "qkv":
        groups, _, _ = names.heads(model)
        parts = [one.reshape(groups, -1, *one.shape[1:]) for one in tensors]
        return torch.cat(parts, dim=1).reshape(entry.shape)
    if entry.kind == "gate":
        return torch.cat(list(tensors))
    return tensors[0]


def parted(entry: Entry, tensor: torch.Tensor, model: Model) -> list[torch.Tensor]:
    """Hugging Face's tensors of Megatron's whole one."""
    if entry.kind == "qkv":
        groups, queries, head = names.heads(model)
        by_group = tensor.reshape(groups, (queries + 2) * head, *tensor.shape[1:])
        pieces = by_group.split([queries * head, head, head], dim=1)
        return [piece.reshape(shape) for piece, shape in zip(pieces, entry.hf_shapes, strict=True)]
    if entry.kind == "gate":
        return list(tensor.chunk(2))
    return [tensor]


def part(entry: Entry, tensor: torch.Tensor, size: int, rank: int) -> torch.Tensor:
    """What tensor-parallel rank ``rank`` of ``size`` holds of Megatron's whole tensor."""
    if entry.cut is None or size == 1:
        return tensor
    if entry.kind in ("gate", "gate_up"):
        return torch.cat([half.chunk(size)[rank] for half in tensor.chunk(2)])
    return tensor.chunk(size, dim=entry.cut)[rank]


def whole(entry: Entry, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Megatron's whole tensor of all ranks' parts."""
    if entry.cut is None or len(parts) == 1:
        return parts[0]
    if entry.kind in ("gate", "gate_up"):
        return torch.cat([one.chunk(2)[half] for half in (0, 1) for one in parts])
    return torch.cat(list(parts), dim=entry.cut)


def with_rows(tensor: torch.Tensor, rows: int) -> torch.Tensor:
    """A vocabulary's tensor with so many rows: zeros added, or what was added taken off."""
    if tensor.shape[0] >= rows:
        return tensor[:rows]
    return torch.cat([tensor, tensor.new_zeros(rows - tensor.shape[0], *tensor.shape[1:])])
