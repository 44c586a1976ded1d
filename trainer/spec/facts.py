"""What has been seen on the nodes, for the rules that a job file alone cannot decide. Pure.

Everything may be unknown (None): a rule about it is then passed over, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Gathered by preflight, by a look at checkpoints, or by the trainer itself."""

    saved_iteration: int | None = None
    """Iteration of the checkpoint that the run would go on from."""
    tracker_iteration: int | None = None
    """What latest_checkpointed_iteration.txt says."""
    iterations: tuple[int, ...] | None = None
    """Iterations whose directory is there."""
    saved_layout: Mapping[str, int] | None = None
    """tp, pp, cp, ep that the checkpoint was written with."""
    saved_format: str = ""
    """torch_dist (can be cut anew), megatron, fsdp, or empty when not known."""
    output_is_empty: bool | None = None
    """Whether <checkpoint.dir>/saved_checkpoints has nothing in it."""
    files: Mapping[str, bool] = field(default_factory=dict)
    """Path -> whether it is there."""
