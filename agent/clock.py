"""The node's clocks, in one place. Refuses to correct them: offsets between nodes are the console's to judge."""

from __future__ import annotations

import time


def wall_s() -> float:
    """Seconds since the epoch, as the node believes."""
    return time.time()  # noqa: TID251  # the one place where the agent asks


def mono_s() -> float:
    """Seconds since an arbitrary start, never set back; comparable within one boot."""
    return time.monotonic()
