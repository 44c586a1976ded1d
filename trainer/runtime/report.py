"""What the trainer prints: Megatron's own lines, so that whoever reads Megatron's logs reads these.

Formats: Megatron-LM training/training.py (training_log) and training/checkpointing.py; the loss has more
digits than Megatron's %E, enough to tell any two fp32 losses apart. Every line is flushed as it is
printed: a killed rank has said all it knew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


def say(text: str) -> None:
    """One line on standard output."""
    print(text, flush=True)


def saving(iteration: int, directory: str) -> str:
    """Before a save; rank 0."""
    return f"saving checkpoint at iteration {iteration:7d} to {directory} in torch_dist format"


def saved(iteration: int, directory: str, layout: Mapping[str, Any] | None = None) -> str:
    """After it; rank 0."""
    return f"  successfully saved checkpoint from iteration {iteration:7d} to {directory} {_place(layout)}"


def loading(iteration: int, directory: str) -> str:
    """Before a load; rank 0."""
    return f" loading checkpoint from {directory} at iteration {iteration}"


def loaded(iteration: int, directory: str, layout: Mapping[str, Any] | None = None) -> str:
    """After it; rank 0."""
    return f"  successfully loaded checkpoint from {directory} {_place(layout)} at iteration {iteration}"


def validation(iteration: int, loss: float) -> list[str]:
    """The three lines of a validation, as evaluate_and_print_results prints them; the last rank."""
    line = f" validation loss at iteration {iteration} | lm loss value: {loss:.9E} | lm loss PPL: {math.exp(min(20.0, loss)):.6E} | "
    rule = "-" * (len(line) + 1)
    return [rule, line, rule]


def _place(layout: Mapping[str, Any] | None) -> str:
    # Rank 0 is the first of both.
    made = layout or {}
    return f"[ t 1/{made.get('tensor_model_parallel_size', 1)}, p 1/{made.get('pipeline_model_parallel_size', 1)} ]"


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run was, told once at its end: counts, losses, times and tokens/s/p as Huawei's guides reckon it."""

    tokens_per_iteration: int
    world_size: int
    flops_per_iteration: float
    """Of one rank."""
    _losses: list[float] = field(default_factory=list)
    _seconds: list[float] = field(default_factory=list)
    _skipped: int = 0
    validation_loss: float | None = None
    """Of the newest validation."""

    def add(self, *, loss: float, elapsed_s: float, skipped: bool) -> None:
        """Take one iteration in."""
        self._skipped += skipped
        self._seconds.append(elapsed_s)
        if math.isfinite(loss):
            self._losses.append(loss)

    def told(self) -> dict[str, Any]:
        """Plain numbers; the first iteration's time, which has the warm-up, is left out where there are others."""
        seconds = sorted(self._seconds[1:] or self._seconds)
        median_s = seconds[len(seconds) // 2] if seconds else 0.0
        tail = self._losses[-10:]
        return {
            "iterations": len(self._seconds),
            "skipped": self._skipped,
            "first_loss": self._losses[0] if self._losses else None,
            "last_loss": self._losses[-1] if self._losses else None,
            "least_loss": min(self._losses, default=None),
            "mean_loss_of_last_10": sum(tail) / len(tail) if tail else None,
            **({"last_validation_loss": self.validation_loss} if self.validation_loss is not None else {}),
            "median_iteration_ms": round(median_s * 1000.0, 3),
            "tokens_per_s_per_device": round(self.tokens_per_iteration / self.world_size / median_s, 1) if median_s else None,
            "tflops_per_device": round(self.flops_per_iteration / median_s / 1e12, 4) if median_s else None,
        }


@dataclass(slots=True, kw_only=True)
class Progress:
    """Gathers iterations and makes a line of them every ``log_interval`` and at the end."""

    iterations: int
    log_interval: int
    global_batch_size: int
    flops_per_iteration: float
    """Of one rank."""
    _losses: list[float] = field(default_factory=list)
    _elapsed_s: float = 0.0
    _skipped: int = 0

    def add(
        self, *, iteration: int, consumed_samples: int, loss: float, grad_norm: float, learning_rate: float,
        elapsed_s: float, skipped: bool, loss_scale: float = 1.0, now: datetime | None = None,
    ) -> str | None:
        """Take one iteration in; the line when one is due. ``now``: for tests."""
        self._losses.append(loss)
        self._elapsed_s += elapsed_s
        self._skipped += skipped
        if iteration % self.log_interval and iteration != self.iterations:
            return None
        count = len(self._losses)
        numbers = [value for value in self._losses if not math.isnan(value)]
        mean = sum(numbers) / len(numbers) if numbers else math.nan
        each_s = self._elapsed_s / count
        line = (
            f" [{(now or datetime.now()).strftime('%Y-%m-%d %H:%M:%S.%f')}]"
            f" iteration {iteration:8d}/{self.iterations:8d} |"
            f" consumed samples: {consumed_samples:12d} |"
            f" elapsed time per iteration (ms): {each_s * 1000.0:.1f} |"
            f" throughput per GPU (TFLOP/s/GPU): {self.flops_per_iteration / each_s / 1e12 if each_s else 0.0:.1f} |"
            f" learning rate: {learning_rate:.6E} |"
            f" global batch size: {self.global_batch_size:5d} |"
            f" lm loss: {mean:.9E} |"
            f" loss scale: {loss_scale:.1f} |"
            f" grad norm: {grad_norm:.3f} |"
            f" number of skipped iterations: {self._skipped:3d} |"
            f" number of nan iterations: {count - len(numbers):3d} |"
        )
        self._losses, self._elapsed_s, self._skipped = [], 0.0, 0
        return line
