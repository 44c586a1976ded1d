"""What is written out is what autograd would have made of the plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from trainer.runtime import elementwise

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


def halves(t: Any, cos: Any, sin: Any) -> Any:
    one, two = t.chunk(2, dim=-1)
    return t * cos + torch.cat((-two, one), dim=-1) * sin


def neighbours(t: Any, cos: Any, sin: Any) -> Any:
    one, two = t[..., ::2], t[..., 1::2]
    return t * cos + torch.stack((-two, one), dim=-1).flatten(-2) * sin


def angles(length: int, width: int, interleaved: bool) -> Any:
    some = torch.outer(torch.arange(length), torch.rand(width // 2))
    return (torch.repeat_interleave(some, 2, dim=-1) if interleaved else torch.cat((some, some), dim=-1))[:, None, None]


def both(made: Callable[[Any], Any], wanted: Callable[[Any], Any], x: Any) -> None:
    one, other = (x.detach().clone().requires_grad_() for _ in range(2))
    output, plain = made(one), wanted(other)
    torch.testing.assert_close(output, plain)
    given = torch.randn_like(plain)
    torch.testing.assert_close(torch.autograd.grad(output, one, given)[0], torch.autograd.grad(plain, other, given)[0])


@pytest.mark.parametrize("interleaved", [False, True])
def test_heads_turn_and_their_gradient_turns_back(interleaved: bool) -> None:
    torch.manual_seed(1)
    told = angles(6, 8, interleaved)
    plain = neighbours if interleaved else halves
    # A slice of Q, K and V as they come from one product.
    mixed = torch.randn(6, 2, 3, 24)[..., 8:16]
    both(lambda t: elementwise.turned(t, told.cos(), told.sin(), interleaved), lambda t: plain(t, told.cos(), told.sin()), mixed)
    assert elementwise.turned(mixed, told.cos(), told.sin(), interleaved).permute(1, 2, 0, 3).is_contiguous()


def test_a_gate_and_its_gradient() -> None:
    torch.manual_seed(1)

    def plain(x: Any) -> Any:
        gate, up = x.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up

    both(elementwise.gated_silu, plain, torch.randn(5, 2, 12))


def test_half_precision_stays_half() -> None:
    told = angles(6, 8, False)
    t = torch.randn(6, 2, 3, 8, dtype=torch.bfloat16, requires_grad=True)
    output = elementwise.turned(t, told.cos().bfloat16(), told.sin().bfloat16(), False)
    gated = elementwise.gated_silu(output)
    gated.sum().backward()
    assert (output.dtype, gated.dtype, t.grad.dtype) == (torch.bfloat16,) * 3
    torch.testing.assert_close(output.float(), halves(t.float(), told.cos(), told.sin()), rtol=2e-2, atol=2e-2)
