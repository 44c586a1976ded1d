"""The safetensors format, read and written a tensor at a time. Needs torch and nothing else.

A file is: the length of the header (uint64, little endian), the header (JSON: name -> dtype, shape and
data_offsets from the end of the header, and ``__metadata__``), the data, contiguous and little endian.
Source: github.com/huggingface/safetensors, README "Format". A file is read by its header and never trusted:
what does not fit together is refused before a byte of data is looked at.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainer.data.refusal import DataError

HEADER_LIMIT = 100_000_000
"""Bytes a header may have, as the library has it."""

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Info:
    """Where a tensor is and what it is like."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    place: int
    """Of its first byte, from the file's beginning."""

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def contents(path: Path) -> dict[str, Info]:
    """The tensors of a file by name. Raises DataError for a file that is not whole."""
    try:
        found = _contents(path)
    except OSError as error:
        raise DataError("the weights cannot be read", where=str(path), got=error.strerror or str(error), expected="a safetensors file", fix="Check the files of the model") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise DataError("this is no whole safetensors file", where=str(path), got=str(error), expected="header and data that fit together", fix="Fetch the file anew") from error
    return found


def read(info: Info) -> torch.Tensor:
    """The tensor; its own memory."""
    if not info.size:
        return torch.empty(info.shape, dtype=info.dtype)
    data = bytearray(info.size)
    with info.path.open("rb") as stream:
        stream.seek(info.place)
        if stream.readinto(data) != info.size:
            raise DataError("the file ended while it was read", where=str(info.path), fix="Fetch the file anew")
    return torch.frombuffer(data, dtype=info.dtype).reshape(info.shape)


class Writer:
    """Writes one file whose tensors are known beforehand, in their order. A context; whole or not there."""

    def __init__(self, path: Path, tensors: Iterable[tuple[str, torch.dtype, tuple[int, ...]]]) -> None:
        self._path, self._beside = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._order: list[tuple[str, torch.dtype, tuple[int, ...]]] = list(tensors)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        place = 0
        for name, dtype, shape in self._order:
            size = math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [place, place + size]}
            place += size
        text = json.dumps(header, separators=(",", ":")).encode()
        self._head = text + b" " * (-len(text) % 8)
        self._next = 0

    def __enter__(self) -> Writer:
        self._stream = self._beside.open("wb")
        self._stream.write(struct.pack("<Q", len(self._head)))
        self._stream.write(self._head)
        return self

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """The next tensor, as it was announced."""
        assert (name, tensor.dtype, tuple(tensor.shape)) == self._order[self._next], (name, tensor.dtype, tensor.shape, self._order[self._next])
        self._next += 1
        # Through a view as bytes: numpy, which would be the other way, has no bfloat16.
        flat = tensor.detach().contiguous().reshape(-1)
        if flat.numel():
            self._stream.write(memoryview(flat.view(torch.uint8).numpy()))

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            if kind is None:
                assert self._next == len(self._order), f"{self._path}: {self._next} of {len(self._order)} tensors were given"
                os.replace(self._beside, self._path)
        finally:
            self._beside.unlink(missing_ok=True)


def _contents(path: Path) -> dict[str, Info]:
    whole = path.stat().st_size
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > min(HEADER_LIMIT, whole - 8):
            raise ValueError(f"a header of {length} bytes in a file of {whole}")
        header = json.loads(stream.read(length))
    found = {}
    for name, told in header.items():
        if name == "__metadata__":
            continue
        start, end = told["data_offsets"]
        if told["dtype"] not in DTYPES:
            raise ValueError(f"{name} is of type {told['dtype']}, which cannot be converted")
        info = Info(path, DTYPES[told["dtype"]], tuple(told["shape"]), 8 + length + start)
        if start < 0 or end - start != info.size or 8 + length + end > whole:
            raise ValueError(f"{name} of shape {list(info.shape)} at bytes {start} to {end} in a file of {whole}")
        found[name] = info
    return found
