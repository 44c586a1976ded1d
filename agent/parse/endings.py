"""Lines that stop before their end: what the end of a file, or a bound, cut may have lost digits.

Owns finding out which values of a record touch such an end: they are absent, with the word for it. Refuses to
guess what they were. Lines that have their end are ``training``'s. Pure; never raises.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from agent.parse import asides, training
from agent.parse.fields import Record

REASON = "unparseable"
"""Why such a value is absent, in the words of the wire."""
_NUMBER_MAX = 401
"""Characters; what is longer is no number that ``fields`` reads."""
# What might have followed: another digit, and what makes "4,", "4,3" and "4,37" another number.
_MORE = ("1", "11", "111")
_NUMBER_END = re.compile(r"(?:0[xX][0-9A-Fa-f]{0,40}|-?[0-9]{1,40})\Z")


def records(text: str) -> List[Record]:
    """As ``training.parse_line``, of a line without its end: a value that the end touches is None, its name in ``absent``.

    A record whose iteration it is that was cut is none.
    """
    text = text[:training.LINE_LIMIT - len(_MORE[-1])]
    found = training.parse_line(text)
    for more in _MORE if _open_at(text) < len(text) else ():
        other = training.parse_line(text + more)
        if [kind for kind, _ in other] == [kind for kind, _ in found]:
            found = [(kind, kept) for (kind, data), (_, changed) in zip(found, other) for kept in [_agreed(data, changed)] if kept is not None]
        else:
            found = []
    for _, data in found:
        if data.get("path") and text.endswith(data["path"]):
            data["path"] = None
            _told(data, "path")
    return found


def beside(text: str) -> List[Record]:
    """As ``asides.asides``, of a line without its end: without the number that the end touches."""
    return asides.asides(text[:_open_at(text)])


def fault(data: Dict[str, Any], text: str) -> None:
    """Take from a fault's data, in place, the number that the line's end touches."""
    found = _NUMBER_END.search(text)
    for name in ("code", "rank", "local_rank", "device", "pid") if found else ():
        if data[name] is not None and found is not None and str(data[name]) in (found.group(), found.group().lstrip("-0")):
            data[name] = None
            _told(data, name)


def _open_at(text: str) -> int:
    """Where the number begins that the end of the text touches; the text's length where there is none."""
    first = max(len(text.rstrip("0123456789.,eE+-")), len(text) - _NUMBER_MAX)
    found = re.search("[0-9]", text[first:])
    return first + found.start() if found else len(text)


def _agreed(data: Dict[str, Any], other: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """The data without what reads otherwise in ``other``; None where that is the iteration."""
    if data["iteration"] != other["iteration"]:
        return None
    for name, value in list(data.items()):
        if name == "extra":
            for cut in [key for key, one in value.items() if other["extra"].get(key) != one]:
                value[cut] = None
        elif name != "absent" and other.get(name) != value:
            data[name] = None
            _told(data, name)
    extra = data.get("extra") or {}
    for cut in [key for key, one in extra.items() if one is None]:
        del extra[cut]
        _told(data, cut)
    return data


def _told(data: Dict[str, Any], name: str) -> None:
    data.setdefault("absent", {})[name] = REASON
