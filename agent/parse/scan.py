"""Finding the few lines that matter in a great many: candidates in bytes, fault signatures in a line.

Owns the search for the anchors of ``agent.catalogue`` and of ``agent.parse.training``, and the ``fault``
data a line gives. Refuses to decide which fault came first or caused another (triage does, over all
nodes). Never raises on any input.

How the search is fast in plain Python: of every anchor one tail is chosen so that all tails share few
first bytes, rare ones in logs; for each such byte one regular expression of that byte and a *lookahead*
over the tails runs over the whole block. Lookahead, because a consuming match would hide an anchor that
overlaps it. Only lines that were hit are decoded and looked at.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from agent.catalogue.loader import Signature, load
from agent.parse import training
from agent.parse.text import NO_RANK, clean, named_place, printed_time

VERSION = 1
TEXT_LIMIT = 1000
"""Longest ``text`` of a fault, characters."""
WINDOW = 4000
"""How much of a longer line is looked at, characters on each side of the first anchor in it."""

_TAIL = 4

# How often a byte turns up in training logs, roughly, per thousand; what is not named is rare.
_FREQUENCY = {" ": 200, "0": 45, "e": 50, "t": 40, "a": 38, "o": 36, "i": 36, "r": 34, "n": 36, "s": 32, "1": 28,
              "l": 24, "d": 22, "m": 20, "c": 20, "p": 20, "2": 18, ".": 20, ":": 22, "|": 16, "u": 14, "g": 14,
              "_": 14, "3": 12, "4": 12, "5": 12, "6": 12, "7": 12, "8": 12, "9": 12, "h": 14, "b": 10, "f": 10,
              "-": 12, "/": 14, "[": 8, "]": 8, "(": 6, ")": 6, "y": 8, "k": 6, "v": 6, "w": 5, ",": 8, "E": 5,
              "I": 4, "R": 4, "C": 4, "=": 5, "x": 4, "N": 3, "T": 3, "O": 3, "L": 3, "A": 3}


class Scanner:
    """The signatures, ready to search. Building one takes milliseconds: keep it."""

    def __init__(self, signatures: Optional[Sequence[Signature]] = None,
                 anchors: Iterable[str] = training.ANCHORS) -> None:
        self._signatures: List[Signature] = list(load() if signatures is None else signatures)
        wanted = {anchor for signature in self._signatures for anchor in signature.anchors}
        self._anchors = [(anchor, number) for number, signature in enumerate(self._signatures) for anchor in signature.anchors]
        wanted.update(anchors)
        self._searches = [re.compile(pattern) for pattern in _searches(wanted)]

    def candidates(self, block: bytes) -> List[Tuple[int, int]]:
        """(start, end) of each line in the block that holds an anchor, ascending, newline not included.

        Lines end at newlines alone; the last one may lack its own.
        """
        hits: List[int] = []
        for search in self._searches:
            hits.extend(match.start() for match in search.finditer(block))
        if not hits:
            return []
        hits.sort()
        spans: List[Tuple[int, int]] = []
        end = -1
        for hit in hits:
            if hit < end:
                continue
            start = block.rfind(b"\n", 0, hit) + 1
            end = block.find(b"\n", hit)
            end = len(block) if end < 0 else end
            spans.append((start, end))
        return spans

    def faults(self, text: str) -> List[Dict[str, Any]]:
        """The faults in one line, as ``fault`` data without the place in the file.

        Keys: rule, code, role, category, action, device, pid, text, time, and rank and local_rank where the
        line itself names them (None otherwise). A generic signature (a bare Python exception) is reported
        only where nothing more exact matched.
        """
        text = self._window(clean(text))
        exact: List[Dict[str, Any]] = []
        generic: List[Dict[str, Any]] = []
        for number in sorted({number for anchor, number in self._anchors if anchor in text}):
            signature = self._signatures[number]
            found = matches(signature, text)
            if found is None:
                continue
            (generic if signature.generic else exact).append(_fault(signature, found, text))
        return exact or generic[:1]

    def _window(self, text: str) -> str:
        if len(text) <= 2 * WINDOW:
            return text
        places = [place for place in (text.find(anchor) for anchor, _ in self._anchors) if place >= 0]
        middle = min(places) if places else 0
        return text[max(0, middle - WINDOW):middle + WINDOW]


def matches(signature: Signature, text: str) -> Optional[Dict[str, str]]:
    """The named groups the signature reads from the line; None where the line is not its."""
    if not any(_holds(anchor, text) for anchor in signature.anchors):
        return None
    if signature.pattern is None:
        return {}
    found = signature.pattern.search(text)
    return None if found is None else {name: value for name, value in found.groupdict().items() if value is not None}


def _holds(anchor: str, text: str) -> bool:
    """Whether the anchor is in the text, and not as part of a longer number: 507035 is not in 5070351."""
    place = text.find(anchor)
    while place >= 0:
        after = text[place + len(anchor):place + len(anchor) + 1]
        if not (anchor[-1].isdigit() and after.isdigit()):
            return True
        place = text.find(anchor, place + 1)
    return False


def _fault(signature: Signature, found: Dict[str, str], text: str) -> Dict[str, Any]:
    place = named_place(text)
    for name in ("rank", "local_rank", "device", "pid"):
        value = found.get(name, "")
        if value.isdigit() and len(value) < 11 and int(value) != NO_RANK:
            place[name] = int(value)
    return {"rule": signature.rule, "code": found.get("code") or signature.code, "role": signature.role,
            "category": signature.category, "action": signature.action, "rank": place.get("rank"),
            "local_rank": place.get("local_rank"), "device": place.get("device"), "pid": place.get("pid"),
            "text": text.strip()[:TEXT_LIMIT], "time": printed_time(text)}


def _searches(anchors: Iterable[str]) -> List[bytes]:
    """One regular expression per first byte, together finding every anchor (a greedy weighted cover)."""
    waiting = {anchor.encode("utf-8") for anchor in anchors}
    tails: Dict[bytes, List[bytes]] = {}
    while waiting:
        offers: Dict[bytes, int] = {}
        for anchor in waiting:
            for first in {anchor[place:place + 1] for place in range(len(anchor) - _TAIL + 1)}:
                offers[first] = offers.get(first, 0) + 1
        best = max(sorted(offers), key=lambda first: offers[first] / _cost(first))
        for anchor in sorted(waiting):
            place = anchor.find(best)
            if 0 <= place <= len(anchor) - _TAIL:
                tails.setdefault(best, []).append(anchor[place + 1:])
                waiting.discard(anchor)
    return [re.escape(first) + b"(?=" + b"|".join(_prefix_free(rests)) + b")" for first, rests in sorted(tails.items())]


def _cost(first: bytes) -> float:
    return 25.0 + _FREQUENCY.get(first.decode("latin-1"), 1)


def _prefix_free(rests: Sequence[bytes]) -> List[bytes]:
    """The rests as patterns; one that begins with another is found by it and left out."""
    kept: List[bytes] = []
    for rest in sorted(set(rests)):
        if not kept or not rest.startswith(kept[-1]):
            kept.append(rest)
    return [re.escape(rest) for rest in kept]
