"""What a pickle says, without running it: every class and function in it becomes an empty shape. Pure; Python 3.7.

Checkpoints carry their table of contents and their arguments as pickles. Loading one in the usual way runs
whatever it names; here nothing is imported and nothing is called. Refuses what is not a whole pickle, and the
few operations by which damaged bytes could ask for any amount of memory or time.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Dict, Optional

_DIGITS = 4000


class Shape:
    """Stands for any object: what it was made from in ``args``, its attributes in ``state``."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self.args = args
        self.state: Dict[str, Any] = dict(named)

    def __new__(cls, *args: Any, **named: Any) -> "Shape":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        self.state = {str(name): value for part in parts if isinstance(part, dict) for name, value in part.items()}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__.get("state", {}).get(name)

    # Dicts, lists and sets of an own kind are filled through these.
    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__.setdefault("items", []).append((key, value))

    def append(self, value: Any) -> None:
        self.__dict__.setdefault("items", []).append((None, value))

    def extend(self, values: Any) -> None:
        for value in values:
            self.append(value)

    add = append


class _Guarded:
    """The bytes, as the unpickler reads them: one operation at a time.

    CPython's unpickler keeps its memo in an array and makes it as long as the place that LONG_BINPUT names: up
    to 64 GiB for four damaged bytes. It allots what BINBYTES, BINBYTES8 and BYTEARRAY8 ask for before it reads, and Python before 3.11
    takes quadratic time for a long number in digits.
    """

    def __init__(self, data: bytes) -> None:
        self._stream = io.BytesIO(data)
        self._size = len(data)
        self._operation = b""
        self._reads = 0
        """How often something was read: no memo has more places."""

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._reads += 1
        if size == 4:
            if self._operation == b"r" and int.from_bytes(data, "little") > self._reads:
                raise pickle.UnpicklingError("a place in the memo beyond all that can be in it")
            if self._operation == b"B" and int.from_bytes(data, "little") > self._size:
                raise pickle.UnpicklingError("more bytes than there are")
        elif size == 8:
            if self._operation in (b"\x8e", b"\x96") and int.from_bytes(data, "little") > self._size:
                raise pickle.UnpicklingError("more bytes than there are")
            if self._operation == b"\x95":
                data = b"\0" * len(data)    # a frame of no length: what is in it comes here as well, operation by operation
        self._operation = data if size == 1 else b""
        return data

    def readline(self) -> bytes:
        line = self._stream.readline()
        if self._operation in (b"p", b"I", b"L") and (len(line) > _DIGITS or (self._operation == b"p" and int(line) > self._reads)):
            raise pickle.UnpicklingError("too great a number")
        self._operation = b""
        return line


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return type(name.rpartition(".")[2] or "Shape", (Shape,), {"__module__": module})

    def persistent_load(self, pid: Any) -> Any:
        return Shape(pid)


def read(data: bytes) -> Optional[Any]:
    """The object in a pickle, its classes as Shapes; None when it is torn or no pickle."""
    try:
        return _Reader(_Guarded(data)).load()
    except Exception:  # noqa: BLE001  # damaged input may raise anything at all
        return None
