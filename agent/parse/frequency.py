"""How often a few bytes turn up in a log: counted in a sample of it, or guessed where there is none.

Owns counting and the guess. Refuses to know what the answer is good for (``anchors`` plans with it).
"""

from __future__ import annotations

from array import array
from typing import Callable, Dict

SAMPLE_BYTES = 1 << 16
"""So much of a sample is counted, from its middle."""
LEAST_BYTES = 4096
"""A shorter sample says nothing."""

# Where no sample is at hand: how often a byte turns up in training logs, per thousand; others 1.5.
_USUAL = {" ": 110, "e": 52, "t": 40, "r": 38, "a": 38, "i": 37, "n": 36, "o": 36, "s": 32, "l": 29, "1": 28, "0": 35, "-": 22, "/": 22,
          ".": 25, "c": 24, "p": 24, "2": 20, "d": 20, ":": 20, "_": 18, "m": 18, "3": 16, "5": 14, ",": 13, "u": 13, "g": 13, "4": 13,
          "9": 12, "h": 12, "7": 11, "8": 11, "6": 10, "|": 12, "=": 8, "]": 8, "[": 8, "k": 8, "b": 8, "f": 8, "y": 8, '"': 5,
          "(": 6, ")": 6, "w": 5, "v": 5, "F": 3, "'": 4, "x": 3, "E": 4, "I": 4, "R": 3, "C": 3, "N": 3, "T": 3}

# Words of three bytes and more share so many places; most have one of their own.
_EXACT, _SLOTS, _SPREAD = 1 << 16, (1 << 17) - 1, 2654435761

Share = Callable[[bytes], float]
"""Of a needle (one to four bytes), the share of places in the log where it stands."""


def usual(needle: bytes) -> float:
    """A guess, for a training log."""
    share = 1.0
    for byte in needle:
        # Letters in words keep company: not quite the product of their shares.
        share *= min(1.0, _USUAL.get(chr(byte), 1.5) / 1000.0 * (1.0 if share == 1.0 else 3.0))
    return share


def counted(sample: bytes) -> Share:
    """As counted in the sample; never quite 0. Of three bytes and more now and then a little too much."""
    middle = max(0, (len(sample) - SAMPLE_BYTES) // 2)
    sample = sample[middle:middle + SAMPLE_BYTES]
    tables: Dict[int, "array[int]"] = {}

    def share(needle: bytes) -> float:
        length = len(needle)
        table = tables.get(length)
        if table is None:    # one walk through the sample for all needles of a length
            table = tables[length] = _table(sample, length)
        return (table[_slot(int.from_bytes(needle, "big"))] + 0.1) / len(sample)

    return share


def _table(sample: bytes, length: int) -> "array[int]":
    """How often each ``_slot`` comes up. A dictionary would take megabytes, which an agent does not get back."""
    table = array("I", bytes(array("I").itemsize * (_SLOTS + 1)))
    word, mask = int.from_bytes(sample[:length - 1], "big"), (1 << 8 * length) - 1
    for byte in sample[length - 1:]:
        word = (word << 8 | byte) & mask
        table[word if word < _EXACT else (word * _SPREAD >> 16) & _SLOTS] += 1    # as ``_slot``, which costs as much again
    return table


def _slot(word: int) -> int:
    return word if word < _EXACT else (word * _SPREAD >> 16) & _SLOTS
