"""Host ranges: ``node[001-128]``, ``rack[1-2]-node[01-16,20]``. Pure.

The notation of Slurm and pdsh: a bracket holds numbers and ranges, separated by commas; several brackets
multiply, the last one counting fastest. Leading zeros of the first number of a range give the width.
"""

from __future__ import annotations

import re
from itertools import product

MAX_NAMES = 4096
"""Names one expression may stand for; a slip such as [1-10000000] must not eat the bastion's memory."""

_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_ITEM = re.compile(r"(?P<low>[0-9]+)(?:-(?P<high>[0-9]+))?")


def expand(text: str) -> list[str]:
    """The names that ``text`` stands for, in order; ``[text]`` when it has no bracket.

    Raises ValueError with a sentence for a bracket that cannot be read, and for more than MAX_NAMES names.
    """
    parts = _BRACKET.split(text)
    if any(bracket in fixed for fixed in parts[::2] for bracket in "[]"):
        raise ValueError("a bracket is not closed")
    choices = [[part] if place % 2 == 0 else _bracket(part) for place, part in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MAX_NAMES:
        raise ValueError(f"{count:,} names, at most {MAX_NAMES:,} are taken")
    return ["".join(pieces) for pieces in product(*choices)]


def _bracket(inside: str) -> list[str]:
    found: list[str] = []
    for item in inside.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ValueError(f"[{inside}] is not a range; [1-8], [001-128] or [1-3,7] would be")
        low, high = match["low"], match["high"] or match["low"]
        if int(high) < int(low):
            raise ValueError(f"[{inside}] runs backwards")
        if int(high) - int(low) >= MAX_NAMES:
            raise ValueError(f"[{inside}] is more than {MAX_NAMES:,} names")
        width = len(low) if low.startswith("0") else 0
        found += [str(n).zfill(width) for n in range(int(low), int(high) + 1)]
    return found
