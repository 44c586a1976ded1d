"""Rotary positions and the gated SiLU with their gradients written out: fewer passes over memory than autograd makes.

On a CPU a training step of a small model waits for memory wherever it does not multiply matrices. Left to
autograd, both cut a tensor into halves and put the gradient together again, and make copies of halves that
change sign or place. The rows of ``trainer.runtime.adjust`` put these in the place of megatron-core's own.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional

_silu_backward = torch.ops.aten.silu_backward.grad_input


def turned(t: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:
    """Heads [seq, batch, heads, width] turned by the angles [seq, 1, 1, width], which get no gradient.

    Pairs are a head's two halves, or where ``interleaved`` its neighbours; both of a pair have the same angle, on which
    the gradient relies. What comes back lies in memory as
    [batch, heads, seq, width], as torch's attention reads it best.
    """
    turned: torch.Tensor = _Turned.apply(t, cos, sin, interleaved)
    return turned


def gated_silu(x: torch.Tensor) -> torch.Tensor:
    """silu(first half) x second half, of the last dimension."""
    gated: torch.Tensor = _GatedSilu.apply(x)
    return gated


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, t: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, interleaved: bool) -> torch.Tensor:  # type: ignore[override]
        context.save_for_backward(cos, sin)
        context.interleaved = interleaved
        return _turn(t, cos, sin, 1.0, interleaved)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:  # type: ignore[override]
        # The way back is turned the other way.
        return _turn(gradient, *context.saved_tensors, -1.0, context.interleaved), None, None, None


def _turn(t: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sign: float, interleaved: bool) -> torch.Tensor:
    length, batch, heads, width = t.shape
    made = t.new_empty((batch, heads, length, width)).permute(2, 0, 1, 3)
    torch.mul(t, cos, out=made)
    one, two = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (slice(width // 2), slice(width // 2, None))
    made[..., one].addcmul_(t[..., two], sin[..., one], value=-sign)
    made[..., two].addcmul_(t[..., one], sin[..., two], value=sign)
    return made


class _GatedSilu(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        gate, up = x.chunk(2, dim=-1)
        opened = functional.silu(gate)
        context.save_for_backward(x, opened)
        return opened * up

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        x, opened = context.saved_tensors
        gate, up = x.chunk(2, dim=-1)
        made = torch.empty_like(x)
        of_gate, of_up = made.chunk(2, dim=-1)
        torch.mul(gradient, opened, out=of_up)
        torch.mul(gradient, up, out=of_gate)
        _silu_backward(of_gate, gate, grad_input=of_gate)
        return made
