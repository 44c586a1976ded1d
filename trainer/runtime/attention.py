"""Attention and norms that run alike on cpu, cuda and npu: torch's own, as layers of megatron-core.

Attention is torch's scaled_dot_product_attention. Under context parallelism every rank gathers the keys
and values of the whole sequence (in the order of the sequence, which megatron-core deals out from both
ends) and attends with its own queries: more memory than a ring, the same numbers, and packed sequences
work as they do on one rank, because the mask says who may look at whom.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as functional
from megatron.core import parallel_state
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.module import MegatronModule


class Norm:
    """RMSNorm as a layer of megatron-core: what it builds is torch's, with the mark that gradients of
    sequence-parallel parameters are found by."""

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **_: Any) -> torch.nn.Module:  # type: ignore[misc]
        norm = torch.nn.RMSNorm(hidden_size, eps=eps)
        for parameter in norm.parameters():
            parameter.sequence_parallel = config.sequence_parallel
        return norm


class Attention(MegatronModule):
    """Causal attention by torch. ``attention_mask`` of forward: None, or bool [batch, 1, own seq, whole seq]."""

    def __init__(self, config: TransformerConfig, softmax_scale: float | None = None, **_: Any) -> None:
        super().__init__(config=config)
        self._scale = softmax_scale
        self._group = parallel_state.get_context_parallel_group() if config.context_parallel_size > 1 else None

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any) -> torch.Tensor:
        """[seq, batch, heads, head width] each (key and value: query groups); returns [seq, batch, heads x head width]."""
        if self._group is not None:
            assert attention_mask is not None, "context-parallel ranks need a mask"
            key, value = (_WholeSequence.apply(tensor, self._group) for tensor in (key, value))
        q, k, v = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        context = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=attention_mask, is_causal=attention_mask is None, scale=self._scale, enable_gqa=q.shape[1] != k.shape[1]
        )
        return context.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)


class _WholeSequence(torch.autograd.Function):
    """All ranks' pieces in the order of the sequence; backward: every rank gets the sum for its own pieces."""

    @staticmethod
    def forward(context: Any, own: torch.Tensor, group: Any) -> torch.Tensor:  # type: ignore[override]
        context.group = group
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(group.size())]
        dist.all_gather(parts, own.contiguous(), group=group)
        half = own.shape[0] // 2
        return torch.cat([part[:half] for part in parts] + [part[half:] for part in reversed(parts)])

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        count, rank = context.group.size(), context.group.rank()
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed, group=context.group)
        pieces = summed.chunk(2 * count)
        return torch.cat([pieces[rank], pieces[2 * count - 1 - rank]]), None
