"""SHA-256 without OpenSSL: ``hashlib`` brings its library along, 4 MiB that the resident would hold for a few short digests.

Python's own implementation is in ``_sha256`` (3.7 to 3.11) or ``_sha2`` (since 3.12); where it was built without
either, ``hashlib`` serves.
"""

from __future__ import annotations

import importlib
from typing import Any, Callable


def _find() -> Callable[[bytes], Any]:
    for name in ("_sha256", "_sha2", "hashlib"):
        try:
            found: Callable[[bytes], Any] = importlib.import_module(name).sha256
            return found
        except (ImportError, AttributeError):
            pass
    raise ImportError("no SHA-256 in this Python")


_sha256 = _find()


def hex_of(data: bytes) -> str:
    """The digest as 64 hexadecimal digits."""
    return str(_sha256(data).hexdigest())
