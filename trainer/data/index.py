"""Megatron's indexed files: a ``.bin`` of numbers, one sequence after another, and an ``.idx`` that says where.

The layout of the ``.idx`` (megatron/core/datasets/indexed_dataset.py, MMapIndexedDataset, version 1), little
endian: ``MMIDIDX\\0\\0``, version (uint64), code of the number type (uint8), count of sequences (uint64), count
of document bounds (uint64), the sequences' lengths (int32 each), their places in the ``.bin`` in bytes (int64
each), the document bounds as numbers of sequences (int64 each; the first is 0, the last the count).
A pair appears under its name only when it is whole.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.data.refusal import DataError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
_HEAD = struct.Struct("<9sQBQQ")

CODES: Mapping[str, int] = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
"""Of megatron-core's DType; 6 and 7 are floating point, which no tokens are."""

_TYPECODES: Mapping[str, str] = {"uint8": "B", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint16": "H"}


def number_type(vocab_size: int) -> str:
    """The type that Megatron takes for token ids of such a vocabulary (DType.optimal_dtype)."""
    return "uint16" if vocab_size < 65500 else "int32"


class Writer:
    """Writes one pair. Use as a context: on an exception nothing is left behind."""

    def __init__(self, prefix: str, numbers: str) -> None:
        self._prefix, self._numbers = prefix, numbers
        self._own = f".{os.getpid()}.writing"
        self._lengths, self._bounds = array("i"), array("q", [0])
        self.tokens = 0

    def __enter__(self) -> Writer:
        self._bin = Path(f"{self._prefix}.bin{self._own}").open("wb")
        return self

    def sequence(self, values: Sequence[int]) -> None:
        """Append one sequence to the document that is open. Raises OverflowError for a number the type cannot hold."""
        data = array(_TYPECODES[self._numbers], values)
        self._bin.write(_little(data))
        self._lengths.append(len(data))
        self.tokens += len(data)

    def end_document(self) -> None:
        """End the document that is open."""
        self._bounds.append(len(self._lengths))

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        index = Path(f"{self._prefix}.idx{self._own}")
        try:
            self._bin.flush()
            os.fsync(self._bin.fileno())
            self._bin.close()
            if kind is None:
                with index.open("wb") as stream:
                    size = array(_TYPECODES[self._numbers]).itemsize
                    stream.write(_HEAD.pack(MAGIC, VERSION, CODES[self._numbers], len(self._lengths), len(self._bounds)))
                    stream.write(_little(self._lengths))
                    place = 0
                    for start in range(0, len(self._lengths), 1 << 16):
                        places = array("q")
                        for length in self._lengths[start : start + (1 << 16)]:
                            places.append(place)
                            place += length * size
                        stream.write(_little(places))
                    stream.write(_little(self._bounds))
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(f"{self._prefix}.bin{self._own}", f"{self._prefix}.bin")
                os.replace(index, f"{self._prefix}.idx")
        finally:
            for left in (Path(f"{self._prefix}.bin{self._own}"), index):
                left.unlink(missing_ok=True)


class Reader:
    """Reads one pair by number of sequence, or as one run of tokens. Maps the files; several processes may."""

    def __init__(self, prefix: str) -> None:
        """Raises DataError for a pair that is not there, not whole, or not of this format."""
        self.prefix = prefix
        index, data = Path(f"{prefix}.idx").expanduser(), Path(f"{prefix}.bin").expanduser()
        try:
            raw = _map(index)
            self._bin = _map(data)
        except (OSError, ValueError) as error:
            raise DataError("indexed data cannot be read", where=str(index), got=getattr(error, "strerror", None) or str(error), expected="a pair of .bin and .idx", fix="Name the prefix, without .bin or .idx; make one with: python -m trainer preprocess") from error
        if len(raw) < _HEAD.size or _HEAD.unpack_from(raw)[:2] != (MAGIC, VERSION):
            raise DataError("this is no index of Megatron's", where=str(index), got=repr(bytes(raw[:9])), expected=f"{MAGIC!r}, version {VERSION}", fix="Preprocess the data anew")
        _, _, code, count, bounds = _HEAD.unpack_from(raw)
        names = [name for name, value in CODES.items() if value == code]
        whole = _HEAD.size + count * 12 + bounds * 8
        if not names or len(raw) < whole:
            raise DataError("the index is not whole", where=str(index), got=f"{len(raw)} bytes, type {code}", expected=f"{whole} bytes", fix="Preprocess the data anew")
        self.numbers = names[0]
        self._size = array(_TYPECODES[self.numbers]).itemsize
        at = _HEAD.size
        self.lengths = _numbers("i", raw[at : at + count * 4])
        self._places = _numbers("q", raw[at + count * 4 : at + count * 12])
        self.bounds = _numbers("q", raw[at + count * 12 : whole])
        self.tokens = sum(self.lengths)
        end = self._places[-1] + self.lengths[-1] * self._size if count else 0
        if end > len(self._bin):
            raise DataError("the .bin is shorter than its index says", where=str(data), got=f"{len(self._bin)} bytes", expected=f"{end} bytes", fix="Copy or preprocess the data anew")
        # Every writer known appends; then tokens can be taken over the bounds of sequences without a search.
        self.in_one_run = end == self.tokens * self._size

    def __len__(self) -> int:
        return len(self.lengths)

    def sequence(self, number: int) -> list[int]:
        """The numbers of one sequence."""
        return self._at(self._places[number], self.lengths[number])

    def run(self, start: int, count: int) -> list[int]:
        """``count`` numbers from the ``start``-th of all sequences as one run. Only where ``in_one_run``."""
        return self._at(start * self._size, count)

    def _at(self, place: int, count: int) -> list[int]:
        return _numbers(_TYPECODES[self.numbers], self._bin[place : place + count * self._size]).tolist()


def _map(path: Path) -> bytes | mmap.mmap:
    with path.open("rb") as stream:
        # An empty file cannot be mapped, and is a .bin without sequences.
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _little(values: array[int]) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _numbers(typecode: str, data: bytes) -> array[int]:
    values = array(typecode)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
