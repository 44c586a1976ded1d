"""Finding the few lines that matter in a great many: candidates in bytes, fault signatures in a line.

Owns which lines of a block hold an anchor of ``agent.catalogue`` or of ``agent.parse.training``, and the
``fault`` data a line gives. Refuses to decide which fault came first or caused another (triage does, over
all nodes). Never raises on any input. How the search is fast: ``anchors``. Only lines that hold an anchor
are decoded and looked at, and only by the signatures whose anchor that is.
"""

from __future__ import annotations

import re
from typing import AbstractSet, Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from agent.catalogue.loader import Signature, load
from agent.parse import frequency, prefixes, stubs, training
from agent.parse.anchors import Search
from agent.parse.text import NO_RANK, clean, named_place, printed_time

# "EI0002: [PID: 2969] ...", "(EZ9999):  Kernel task happen error", "E39999", "ERR00100 PTA call acl api failed"
_CODE = re.compile(r"\b(E[A-Z][0-9]{4}|E[0-9]{5}|ERR[0-9]{5})\b")

VERSION = 4
TEXT_LIMIT = 1000
"""Longest ``text`` of a fault, characters."""
WINDOW = 4000
"""How much of a longer line is looked at, bytes on each side of an anchor in it."""


class Line(NamedTuple):
    """One line (newline and carriage return end it, neither is included) that holds an anchor."""

    start: int
    end: int
    training: bool
    """Whether it may give a training record."""
    signatures: Tuple[Tuple[int, int], ...]
    """(signature, place in the block of its first anchor), by signature: those whose anchor stands in the line."""


class Scanner:
    """The signatures, ready to search. Building one takes some 50 ms: keep it."""

    def __init__(self, signatures: Optional[Sequence[Signature]] = None, anchors: Iterable[str] = training.ANCHORS,
                 search: Optional[Search] = None) -> None:
        self._signatures: List[Signature] = list(load() if signatures is None else signatures)
        self._rules = [signature.rule for signature in self._signatures]
        self._anchors = tuple(anchors)
        training_texts = frozenset(anchor.encode("utf-8") for anchor in self._anchors)
        owners: Dict[bytes, List[int]] = {anchor: [] for anchor in training_texts}
        for index, signature in enumerate(self._signatures):
            for anchor in signature.anchors:
                owners.setdefault(anchor.encode("utf-8"), []).append(index)
        # text -> (whether of training, the signatures whose anchor it is, whether no digit may follow it)
        self._kinds: Dict[bytes, Tuple[bool, Tuple[int, ...], bool]] = {
            anchor: (anchor in training_texts, tuple(found), anchor[-1] in b"0123456789") for anchor, found in owners.items()}
        self._search = search or Search(self._kinds)

    def tuned(self, sample: bytes) -> "Scanner":
        """The same scanner, faster on logs like the sample."""
        search = self._search.tuned(sample)
        return self if search is self._search else Scanner(self._signatures, self._anchors, search)

    @property
    def texts(self) -> Tuple[bytes, ...]:
        """All anchors: a line without any of them is of no interest."""
        return tuple(self._kinds)

    def stubs(self, sample: bytes) -> List[bytes]:
        """Pieces of the anchors, one of which every line of interest holds, quickly found in logs like the sample."""
        return stubs.of(self.texts, frequency.counted(sample) if len(sample) >= frequency.LEAST_BYTES else frequency.usual)

    def lines(self, block: bytes, spans: Optional[Sequence[Tuple[int, int]]] = None) -> List[Line]:
        """The lines of the block that hold an anchor, ascending. The last one may lack its end.

        ``spans``: only these lines of it can (places in the block); None: any.
        """
        if spans is not None:
            return self._lines_within(block, spans)
        found: List[Line] = []
        kinds, rfind, find = self._kinds, block.rfind, block.find
        returns = find(b"\r") >= 0
        start, end, trains = 0, -1, False
        owned: Dict[int, int] = {}
        for place, anchor in self._search.occurrences(block):
            if place >= end:
                if trains or owned:
                    found.append(_line(Line, (start, end, trains, tuple(sorted(owned.items()) if len(owned) > 1 else owned.items()))))
                    owned = {}
                trains = False
                if returns:
                    start, end = _bounds(block, place)
                else:
                    start, end = rfind(b"\n", 0, place) + 1, find(b"\n", place)
                    if end < 0:
                        end = len(block)
            after = place + len(anchor)
            if after > end:    # an anchor with a carriage return in it stands in no line
                continue
            training, owners, digit = kinds[anchor]
            if training:
                trains = True
            if owners and not (digit and block[after:after + 1].isdigit()):
                for owner in owners:
                    if owner not in owned:
                        owned[owner] = place
        if trains or owned:
            found.append(Line(start, end, trains, tuple(sorted(owned.items()) if len(owned) > 1 else owned.items())))
        return found

    def _lines_within(self, block: bytes, spans: Sequence[Tuple[int, int]]) -> List[Line]:
        # Put together, that each expression runs once; a newline keeps them apart.
        found: List[Line] = []
        index, shift, until = -1, 0, -1
        taken = 0
        for line in self.lines(b"\n".join([block[start:end] for start, end in spans])):
            while line.start > until:
                index += 1
                start, end = spans[index]
                shift = start - taken
                until = taken + end - start
                taken = until + 1
            found.append(Line(line.start + shift, line.end + shift, line.training, tuple([(owner, place + shift) for owner, place in line.signatures])))
        return found

    def faults_in(self, block: bytes, line: Line, spent: AbstractSet[str] = frozenset()) -> List[Dict[str, Any]]:
        """The faults in one of ``lines(block)``; rules in ``spent`` are not looked for."""
        rules = self._rules
        owners = [owner for owner, _ in line.signatures if rules[owner] not in spent]
        if not owners:
            return []
        if line.end - line.start <= 2 * WINDOW:
            if len(owners) < len(line.signatures) and any(not self._signatures[owner].generic for owner, _ in line.signatures if owner not in owners):
                # Something exact is in the line that is not to be told; then nothing generic is, either.
                owners = [owner for owner in owners if not self._signatures[owner].generic]
            return self._told(block[line.start:line.end].decode("utf-8", "replace"), owners) if owners else []
        found: List[Dict[str, Any]] = []
        for owner, place in [one for one in line.signatures if one[0] in owners]:
            part = block[max(line.start, place - WINDOW):min(line.end, place + WINDOW)]
            found += self._told(part.decode("utf-8", "replace"), [owner])
        exact = [fault for fault in found if not self._generic(fault["rule"])]
        return exact or found[:1]

    def faults(self, text: str) -> List[Dict[str, Any]]:
        """The faults in one line of text, as ``fault`` data without the place in the file.

        Keys: rule, code, role, category, action, device, pid, text, time, and rank and local_rank where the
        line itself names them (None otherwise). A generic signature (a bare Python exception) is reported
        only where nothing more exact matched.
        """
        block = text.replace("\n", " ").encode("utf-8", "replace")
        return [fault for line in self.lines(block) for fault in self.faults_in(block, line)]

    def _told(self, text: str, owners: Sequence[int]) -> List[Dict[str, Any]]:
        text = clean(text)
        exact: List[Dict[str, Any]] = []
        generic: List[Dict[str, Any]] = []
        for owner in owners:
            signature = self._signatures[owner]
            found = {} if signature.pattern is None else _groups(signature, text)
            if found is not None:
                (generic if signature.generic else exact).append(_fault(signature, found, text))
        return exact or generic[:1]

    def _generic(self, rule: str) -> bool:
        return any(signature.generic for signature in self._signatures if signature.rule == rule)


_line = tuple.__new__    # a third of the time of Line's own


def _bounds(block: bytes, place: int) -> Tuple[int, int]:
    """(start, end) of the line around the place: newlines end lines, and bare carriage returns do within them."""
    start = block.rfind(b"\n", 0, place) + 1
    end = block.find(b"\n", place)
    end = len(block) if end < 0 else end
    start = block.rfind(b"\r", start, place) + 1 or start
    back = block.find(b"\r", place, end)
    return start, end if back < 0 else back


def _groups(signature: Signature, text: str) -> Optional[Dict[str, str]]:
    """The named groups the signature reads from the line; None where the line is not its."""
    assert signature.pattern is not None
    found = signature.pattern.search(text)
    if found is None and (signature.pattern.pattern[0] == "^" or "|^" in signature.pattern.pattern):    # a line's beginning is its own text's
        begins = prefixes.behind(text)
        found = signature.pattern.search(text[begins:]) if begins else None
    return None if found is None else {name: value for name, value in found.groupdict().items() if value is not None}


def _fault(signature: Signature, found: Dict[str, str], text: str) -> Dict[str, Any]:
    place = named_place(text)
    for name in ("rank", "local_rank", "device", "pid"):
        value = found.get(name, "")
        if value.isdecimal() and len(value) < 11 and int(value) != NO_RANK:
            place[name] = int(value)
    printed = _CODE.search(text) if "code" not in found and "E" in text else None
    code = found.get("code") or (printed.group(1) if printed else signature.code)
    return {"rule": signature.rule, "code": code, "role": signature.role,
            "category": signature.category, "action": signature.action, "rank": place.get("rank"),
            "local_rank": place.get("local_rank"), "device": place.get("device"), "pid": place.get("pid"),
            "text": text.strip()[:TEXT_LIMIT], "time": printed_time(text)}
