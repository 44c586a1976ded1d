"""The lines of the log, letter by letter: agents and people parse them."""

from __future__ import annotations

import math
from datetime import datetime

from trainer.runtime import report

NOW = datetime(2026, 11, 22, 5, 10, 1, 123456)


def progress(log_interval: int = 1) -> report.Progress:
    return report.Progress(iterations=60, log_interval=log_interval, global_batch_size=8, flops_per_iteration=1.234e10)


def add(made: report.Progress, iteration: int, loss: float, *, elapsed_s: float = 0.1234, skipped: bool = False) -> str | None:
    return made.add(
        iteration=iteration, consumed_samples=8 * iteration, loss=loss, grad_norm=1.2341, learning_rate=1e-3,
        elapsed_s=elapsed_s, skipped=skipped, now=NOW,
    )


def test_an_iteration() -> None:
    assert add(progress(), 10, 5.55) == (
        " [2026-11-22 05:10:01.123456] iteration       10/      60 | consumed samples:           80 |"
        " elapsed time per iteration (ms): 123.4 | throughput per GPU (TFLOP/s/GPU): 0.1 | learning rate: 1.000000E-03 |"
        " global batch size:     8 | lm loss: 5.550000000E+00 | loss scale: 1.0 | grad norm: 1.234 |"
        " number of skipped iterations:   0 | number of nan iterations:   0 |"
    )


def test_an_interval_is_a_mean_and_the_last_iteration_is_always_told() -> None:
    made = progress(4)
    lines = [add(made, iteration, float(iteration), elapsed_s=0.1 * iteration, skipped=iteration == 2) for iteration in range(1, 5)]
    assert lines[:3] == [None] * 3
    assert "(ms): 250.0 |" in str(lines[3])
    assert "lm loss: 2.500000000E+00 |" in str(lines[3])
    assert "skipped iterations:   1 |" in str(lines[3])
    assert add(made, 59, 1.0) is None
    last = str(add(made, 60, 2.0))
    assert "lm loss: 1.500000000E+00 |" in last
    assert "skipped iterations:   0 |" in last


def test_a_loss_that_is_no_number_is_counted() -> None:
    made = progress(2)
    add(made, 1, math.nan)
    line = str(add(made, 2, 4.0))
    assert "lm loss: 4.000000000E+00 |" in line
    assert "number of nan iterations:   1 |" in line
    assert "lm loss: NAN |" in str(add(progress(), 3, math.nan))


def test_two_losses_that_differ_are_told_apart() -> None:
    # Neighbours among fp32 numbers.
    assert str(add(progress(), 1, 5.5474529)) != str(add(progress(), 1, 5.5474534))


def test_checkpoints() -> None:
    assert report.saving(10, "/ck") == "saving checkpoint at iteration      10 to /ck in torch_dist format"
    assert report.saved(10, "/ck") == "  successfully saved checkpoint from iteration      10 to /ck [ t 1/1, p 1/1 ]"
    assert report.loading(10, "/ck") == " loading checkpoint from /ck at iteration 10"
    assert report.loaded(10, "/ck") == "  successfully loaded checkpoint from /ck [ t 1/1, p 1/1 ] at iteration 10"
