from __future__ import annotations

import hashlib

from agent import digest


def test_it_is_sha256() -> None:
    for data in (b"", b"abc", bytes(range(256)) * 40):
        assert digest.hex_of(data) == hashlib.sha256(data).hexdigest()
