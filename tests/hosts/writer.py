"""What a node runs as its job: writes numbered lines of Megatron's shape at a steady pace. Standard library, Python 3.7.

Usage: writer.py LINES_PER_S FILE. Writes until FILE exists (or MOST lines are written) and ends with 0. The
loss of line i is ``loss(i)``, so that what arrives can be compared with what was written, not only counted.
"""

from __future__ import annotations

import os
import sys
import time

MOST = 12000

LINE = (" [2026-01-02 03:04:05.%06d] iteration %8d/%8d | consumed samples: %12d | elapsed time per iteration (ms): 10.0 |"
        " learning rate: 1.000000E-03 | global batch size:     8 | lm loss: %.9E | loss scale: 1.0 | grad norm: 1.000 |"
        " number of skipped iterations:   0 | number of nan iterations:   0 |")


def loss(iteration: int) -> float:
    """A value of its own for each iteration, with ten digits that all count."""
    return 10.0 + (iteration * 7919 % 100003) / 100003.0


def main(lines_per_s: float, until: str) -> int:
    """Write; 0."""
    began = time.monotonic()
    for iteration in range(1, MOST + 1):
        time.sleep(max(0.0, began + iteration / lines_per_s - time.monotonic()))
        sys.stdout.write(LINE % (iteration, iteration, MOST, iteration * 8, loss(iteration)) + "\n")
        sys.stdout.flush()
        if os.path.exists(until):
            break
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2]))
