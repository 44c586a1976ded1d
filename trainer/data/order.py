"""A shuffled order that needs no memory: the n-th of N things, by number, each exactly once an epoch.

A Feistel network over the next even power of two, walked on until it lands below N (a permutation cut down to
a range stays one). Rounds mix with sha256, so the order is the same on every machine and Python.
"""

from __future__ import annotations

from hashlib import sha256

ROUNDS = 4


class Shuffled:
    """A permutation of range(count), told by a key; ``of(n)`` is its n-th."""

    def __init__(self, count: int, key: str) -> None:
        self._count = count
        self._bits = max(1, ((max(2, count) - 1).bit_length() + 1) // 2)
        self._mask = (1 << self._bits) - 1
        self._key = key.encode()

    def of(self, number: int) -> int:
        """0 <= number < count, and so is what comes back."""
        while True:
            number = self._mixed(number)
            if number < self._count:
                return number

    def _mixed(self, number: int) -> int:
        left, right = number >> self._bits, number & self._mask
        for turn in range(ROUNDS):
            told = sha256(b"%s/%d/%d" % (self._key, turn, right)).digest()
            left, right = right, left ^ (int.from_bytes(told[:8], "little") & self._mask)
        return left << self._bits | right
