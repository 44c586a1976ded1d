from __future__ import annotations

import random

from agent.parse import frequency


def test_a_share_is_what_is_counted_and_never_nothing() -> None:
    rng = random.Random(4)
    sample = b"".join(rng.choice((b"loss: 1.5\n", b"iteration ", b"\0\0\1", bytes(rng.choice(range(256)) for _ in range(4)))) for _ in range(9000))[:frequency.SAMPLE_BYTES // 2]
    share = frequency.counted(sample)
    for needle in (b"l", b"lo", b"los", b"loss", b"n it", b"\0", b"\0\0", b"\0\0\1", b"\xff", b"zqzq"):
        real = sum(sample.startswith(needle, place) for place in range(len(sample))) / len(sample)
        assert real < share(needle) < real + 0.001
    assert frequency.counted(b"E" * frequency.SAMPLE_BYTES)(b"E") > 0.999
