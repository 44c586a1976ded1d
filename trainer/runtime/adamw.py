"""torch's AdamW without the doors that torch.compile has in every optimizer.

The first call of any of them imports the compiler, inductor included: most of a second of every start, of the
first and of all after a fault. Nothing is compiled on a CPU, so there the optimizer is made of what is behind
the doors. The row of ``trainer.runtime.adjust`` has megatron-core take this one.
"""

from __future__ import annotations

import inspect

import torch


class AdamW(torch.optim.AdamW):
    """As torch's own in all that it computes, saves and loads."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
