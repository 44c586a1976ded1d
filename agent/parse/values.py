"""Single values as the driver's tools print them: numbers, units, and the many ways to say that there is none.

Owns the spelling of absence and of units in keys. Refuses to know any tool's layout. Never raises.
"""

from __future__ import annotations

import re
from typing import Any, List, Optional, Tuple, Union

ABSENT = frozenset(("na", "n/a", "-", "--", "unknown", "not supported", ""))

_WHOLE = re.compile(r"^[-+]?[0-9]{1,18}$")
_REAL = re.compile(r"^[-+]?[0-9]{1,18}(?:\.[0-9]{1,12})?(?:[eE][-+]?[0-9]{1,3})?$")
_UNIT = re.compile(r"\(([^()]{1,8})\)$")
_UNITS = {"mb": "mb", "%": "pct", "c": "c", "w": "w", "mhz": "mhz", "v": "v", "page": "pages", "hz": "hz"}


def whole_lines(text: str) -> Tuple[List[str], str]:
    """(the lines that end with a newline, what stands behind the last one).

    The tools end every line; where the newline is missing the text was cut, and a number at its end may have
    lost digits. Who reads that rest must not take a value from it.
    """
    lines = re.split("\r\n|\n|\r", text)
    return lines[:-1], lines[-1]


def whole(token: str) -> Optional[int]:
    """The integer in a token; None where it is absent or no integer."""
    token = token.strip()
    return int(token) if _WHOLE.match(token) else None


def real(token: str) -> Optional[float]:
    """The number in a token; None where it is absent or no number."""
    token = token.strip()
    value = float(token) if _REAL.match(token) else None
    return value if value is not None and abs(value) != float("inf") else None


def number(token: str) -> Optional[Union[int, float]]:
    """An int where the token is whole, else a float; None where it is neither."""
    found = whole(token)
    return found if found is not None else real(token)


def text(token: str) -> Optional[str]:
    """The token without surrounding blanks; None where it says that there is no value."""
    token = token.strip()
    return None if token.lower() in ABSENT else token


def plain(token: str) -> Any:
    """A number where the token is one, else its text, else None."""
    found = number(token)
    return found if found is not None else text(token)


def has_unit(key: str) -> bool:
    """Whether a key such as ``HBM Capacity(MB)`` ends with a unit of a number."""
    unit = _UNIT.search(key.rstrip())
    return bool(unit and unit.group(1).lower() in _UNITS)


def field(key: str) -> str:
    """``DDR Usage Rate(%)`` -> ``ddr_usage_rate_pct``: a key as a field name, the unit kept at its end."""
    unit = _UNIT.search(key.rstrip())
    suffix = ""
    if unit and unit.group(1).lower() in _UNITS:
        key, suffix = key[:unit.start()], "_" + _UNITS[unit.group(1).lower()]
    return re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_") + suffix
