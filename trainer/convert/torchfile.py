"""What ``torch.save`` wrote, opened without running anything of it, its tensors read one by one.

A file is a zip archive, stored and not deflated, with a pickle (``*/data.pkl``) that names storages, and the
storages as members (``*/data/KEY``). Of the pickle only tensors, dicts and plain values are made; every other
class it names becomes an ``Opaque`` that does nothing. Vendors' checkpoints have whole argument lists of their
own classes in them.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from trainer.data.refusal import DataError


@dataclass(frozen=True, slots=True)
class _Storage:
    member: str
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class Handle:
    """A tensor that has not been read."""

    open: Callable[[], BinaryIO]
    member: str
    dtype: torch.dtype
    offset: int
    """Of its first element in the storage, in elements."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> torch.Tensor:
        """The tensor; its own memory."""
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        span = 1 + sum((count - 1) * step for count, step in zip(self.shape, self.stride, strict=True))
        data = bytearray(span * self.dtype.itemsize)
        with self.open() as stream, zipfile.ZipFile(stream) as archive, archive.open(self.member) as member:
            member.seek(self.offset * self.dtype.itemsize)
            at = 0
            view = memoryview(data)
            while at < len(data):
                got = member.readinto(view[at : at + (1 << 24)])  # type: ignore[attr-defined]
                if not got:
                    raise DataError("a tensor ends too early", where=self.member, got=f"{at} bytes", expected=f"{len(data)} bytes", fix="Fetch the checkpoint anew")
                at += got
        flat = torch.frombuffer(data, dtype=self.dtype)
        return flat.as_strided(self.shape, self.stride).contiguous()


class Opaque:
    """Stands for anything that is no tensor and no plain value."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *_: Any, **__: Any) -> Opaque:
        """Of a function that a class would have been asked for."""
        return Opaque()

    def append(self, _: Any) -> None:
        """Of a class that was a list."""

    def extend(self, _: Any) -> None:
        """Likewise."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Of a class that was a dict."""


def tree(opened: Callable[[], BinaryIO], *, where: str) -> Any:
    """What was saved, with a ``Handle`` for each tensor. ``opened`` gives the archive anew whenever it is wanted.

    Raises DataError for what torch.save did not write.
    """
    try:
        with opened() as stream, zipfile.ZipFile(stream) as archive:
            name = next(one for one in archive.namelist() if one.endswith("/data.pkl") or one == "data.pkl")
            if any(one.endswith("byteorder") and archive.read(one) == b"big" for one in archive.namelist()):
                raise ValueError("it was written on a big-endian machine")
            return _Unpickler(io.BytesIO(archive.read(name)), opened, name[: -len("data.pkl")]).load()
    except OSError as error:
        raise DataError("the checkpoint cannot be read", where=where, got=error.strerror or str(error), fix="Check the path and its owner") from error
    except (zipfile.BadZipFile, pickle.UnpicklingError, StopIteration, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError("this is no whole file of torch.save", where=where, got=str(error) or type(error).__name__, expected="a zip archive with data.pkl", fix="Fetch the checkpoint anew") from error


class Window(io.RawIOBase, BinaryIO):  # type: ignore[misc]
    """Bytes ``place`` to ``place + length`` of a file, as a file."""

    def __init__(self, path: Any, place: int, length: int) -> None:
        self._file, self._place, self._length, self._at = open(path, "rb"), place, length, 0  # noqa: PTH123, SIM115

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._length)[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._length - self._at)
        self._file.seek(self._place + self._at)
        found = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, opened: Callable[[], BinaryIO], root: str) -> None:
        super().__init__(stream, encoding="utf-8")
        self._opened, self._root = opened, root

    def persistent_load(self, told: Any) -> Any:
        _, kind, key, _, _ = told
        return _Storage(f"{self._root}data/{key}", kind)

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name.endswith("Storage"):
            dtype = _STORAGES.get(name)
            if dtype is not None:
                return dtype
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return self._tensor
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return {("collections", "OrderedDict"): OrderedDict, ("torch", "Size"): tuple, ("builtins", "set"): set}.get((module, name), Opaque)

    def _tensor(self, storage: Any, offset: int, shape: Any, stride: Any, *_: Any) -> Any:
        if not isinstance(storage, _Storage) or not isinstance(storage.dtype, torch.dtype):
            return Opaque()
        return Handle(self._opened, storage.member, storage.dtype, int(offset), tuple(shape), tuple(stride))


_STORAGES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32, "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool}
