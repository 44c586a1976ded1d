"""Pickles that promise more than they hold."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest

from agent.parse import pickled


@pytest.mark.parametrize("start", [b"B" + b"\xff\xff\xff\x7f", b"\x8e" + b"\xff\xff\xff\x7f\0\0\0\0", b"\x96" + b"\xff\xff\xff\x7f\0\0\0\0"],
                         ids=["BINBYTES", "BINBYTES8", "BYTEARRAY8"])
def test_bytes_that_are_not_there_cost_no_memory(start: bytes) -> None:
    tracemalloc.start()
    try:
        assert pickled.read(b"\x80\x05" + start + b"abc.") is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_bytes_that_are_there_are_read() -> None:
    for protocol in range(3, 5):
        assert pickled.read(pickle.dumps([b"x" * 300, "y"], protocol)) == [b"x" * 300, "y"]
