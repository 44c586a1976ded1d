"""``name: number`` pairs: what made-up input has broken once."""

from __future__ import annotations

import pytest

from agent.parse import fields


@pytest.mark.parametrize(("text", "value"), [
    ("global_norm: [44 313248]", 44.313248),     # a document took the point out of a one-element list
    ("global_norm: [44.313248]", 44.313248),
    ("global_norm: [1E400 31049]", "inf"),       # no point can go behind an exponent: the number is what was printed
    ("global_norm: [1e2 31049]", 100.0),
    ("tokens: 1,234", 1234)])
def test_a_number_in_brackets(text: str, value: float | str) -> None:
    assert [found for _, found, _ in fields.pairs(text)] == [value]
