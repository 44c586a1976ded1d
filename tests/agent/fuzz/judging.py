"""What is asked of a parser: it raises nothing, its time grows no faster than the input, and its memory stays in proportion.

Time is never held against a clock: the same input twice and four times as long must not take sixteen times
as long, and what looks so is tried again.
"""

from __future__ import annotations

import time
import tracemalloc
from typing import List, Optional, Sequence

from tests.agent.fuzz.mutation import REPEATED
from tests.agent.fuzz.parsers import Parser

STEEP = 9.0
"""Four times the input may cost this much times the time: linear is 4, quadratic 16."""
NOTICEABLE_S = 0.02
"""Less than this is too little to tell growth from chance."""
GREAT = 1 << 14
"""Bytes of the longer repetitions."""
MEMORY_SHARE, MEMORY_BASE = 500, 4 << 20
"""Peak memory, bytes: so many for each byte of input (a record of twenty fields may come of twenty bytes), and so many anyway."""


def seconds(parser: Parser, data: bytes, times: int = 1) -> float:
    """Processor time of one call, the least of some."""
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        parser(data)
        best = min(best, time.process_time() - began)
    return best


def steep(parser: Parser, small: bytes, great: bytes) -> Optional[str]:
    """What is wrong with the time for ``great``, which is four times ``small``; None if nothing."""
    if seconds(parser, great) < NOTICEABLE_S:
        return None
    for _ in range(3):
        short, long = seconds(parser, small, 3), seconds(parser, great)
        if long < NOTICEABLE_S or long < short * STEEP:
            return None
    return "%d bytes take %.3f s, %d bytes %.3f s" % (len(small), short, len(great), long)


def blown_up(parser: Parser, beginnings: Sequence[bytes], most: int = 3) -> List[str]:
    """Which repetitions behind which beginnings (and halves of them) take time that grows faster than they do: the first of them."""
    found: List[str] = []
    for beginning in dict.fromkeys([b""] + [one[:size] for one in beginnings for size in (len(one) // 2, 400)]):
        for piece in REPEATED:
            for end in (b"", b"!\n"):
                small, great = (beginning + piece * (size // len(piece)) + end for size in (GREAT // 4, GREAT))
                told = steep(parser, small, great)
                if told:
                    found.append("%r and then %r again and again: %s" % (beginning[-100:], piece, told))
                    if len(found) >= most:
                        return found
    return found


def greedy(parser: Parser, data: bytes) -> Optional[str]:
    """What is wrong with the memory taken; None if nothing."""
    tracemalloc.start()
    try:
        parser(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    allowed = MEMORY_SHARE * len(data) + MEMORY_BASE
    return None if peak <= allowed else "%d bytes take %d bytes of memory" % (len(data), peak)
