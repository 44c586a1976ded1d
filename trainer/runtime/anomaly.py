"""What is no normal step, told from its loss and gradient norm. Pure: the same numbers, the same answer.

All ranks judge the same reduced numbers, so they agree without asking each other. The last losses are part
of a checkpoint: a resumed run judges as the one that never stopped.
"""

from __future__ import annotations

import math
import statistics

from trainer.spec.job import Train


class Watch:
    """Judges step after step. ``losses`` are the last normal ones, at most ``spike_window``."""

    def __init__(self, train: Train, losses: tuple[float, ...] = ()) -> None:
        self._factor, self._window, self._limit = train.spike_factor, train.spike_window, train.anomaly_limit
        self.losses = list(losses)
        self.in_a_row = 0

    def judge(self, loss: float, grad_norm: float) -> str:
        """Why a step is not to be made; empty for a normal one. A spike needs a full window before it."""
        why = ""
        if not math.isfinite(loss):
            why = f"the loss is {loss}"
        elif not math.isfinite(grad_norm):
            why = f"the gradient norm is {grad_norm}"
        elif self._factor > 0 and len(self.losses) >= self._window and loss > self._factor * statistics.median(self.losses):
            why = f"the loss {loss:.3f} is above {self._factor:g} x the median {statistics.median(self.losses):.3f} of the last {self._window}"
        if why:
            self.in_a_row += 1
        else:
            self.in_a_row = 0
            self.losses = [*self.losses, loss][-self._window :] if self._window > 0 else []
        return why

    @property
    def exhausted(self) -> bool:
        """Whether there were so many in a row that skipping them is of no use."""
        return self.in_a_row >= self._limit
