from __future__ import annotations

import random

import pytest

from agent.catalogue import loader
from agent.parse import frequency, scan, stubs

TEXTS = scan.Scanner().texts
SAMPLES = {"a log": b"\n".join(signature.sample.encode("utf-8") for signature in loader.load()) * 3, "one byte": b"E" * 8192, "all bytes": bytes(range(256)) * 64,
           "nothing": b"", "the texts": b"\n".join(TEXTS) * 2}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_text_holds_a_piece_and_no_piece_another(name: str) -> None:
    pieces = scan.Scanner().stubs(SAMPLES[name])
    assert all(any(piece in text for piece in pieces) for text in TEXTS)
    assert all(stubs.SHORTEST <= len(piece) <= stubs.LONGEST for piece in pieces)
    assert not any(one != other and one in other for one in pieces for other in pieces)


def test_pieces_begin_with_what_is_rare() -> None:
    texts = [b"aaaaXaaaa", b"bbbbbbYbbbb", b"aabbZabab"]
    rng = random.Random(1)
    log = bytes(rng.choice(b"ab") for _ in range(9000))
    assert {piece[:1] for piece in stubs.of(texts, frequency.counted(log))} == {b"X", b"Y", b"Z"}
