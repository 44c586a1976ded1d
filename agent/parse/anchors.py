"""Finding every occurrence of a few hundred literal texts in a block of bytes, fast, in plain Python.

Owns the plan of search and the search. Refuses to know what the texts mean (``scan`` does). The answer is
exact, whatever the plan: every occurrence of every text, none else; overlapping ones too.

How it is fast. One pass of a regular expression that begins with a literal byte costs about 0.3 ns per byte
of the log, and some 60 ns more wherever that byte occurs. So of every text one byte is chosen, such that all
texts share few bytes, and those rare in the log at hand; for each there is one expression: that byte and,
as look-ahead and look-behind tries, what may stand beside it. Looking, because a consuming match would hide
a text that overlaps another. A pass for a whole literal costs 0.5 ns per byte however frequent its bytes
are: texts without a rare byte (``iteration``) get one of their own, or share one for what they have in
common. Which choice is cheapest depends on the log: ``Search.tuned`` counts bytes in a sample of it.
(Measured on CPython 3.7 to 3.13, x86-64; figures in docs/guide/log-reading.md.)
"""

from __future__ import annotations

import re
from typing import Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

SHORTEST = 4
"""Bytes of the shortest text that may be looked for."""
_CONTEXT, _ENOUGH = 24, 7
_SAMPLE_BYTES = 1 << 16
# ns: a pass over one byte of log for a one-byte needle and for a longer one, a stop at the needle, an occurrence.
_BYTE_NS, _LITERAL_NS, _STOP_NS, _FOUND_NS = 0.3, 0.48, 55.0, 400.0
_LENGTHS = (1, 2, 3, 5)

# Where no sample is at hand: how often a byte turns up in training logs, per thousand; others 1.5.
_USUAL = {" ": 110, "e": 52, "t": 40, "r": 38, "a": 38, "i": 37, "n": 36, "o": 36, "s": 32, "l": 29, "1": 28, "0": 35, "-": 22, "/": 22,
          ".": 25, "c": 24, "p": 24, "2": 20, "d": 20, ":": 20, "_": 18, "m": 18, "3": 16, "5": 14, ",": 13, "u": 13, "g": 13, "4": 13,
          "9": 12, "h": 12, "7": 11, "8": 11, "6": 10, "|": 12, "=": 8, "]": 8, "[": 8, "k": 8, "b": 8, "f": 8, "y": 8, '"': 5,
          "(": 6, ")": 6, "w": 5, "v": 5, "F": 3, "'": 4, "x": 3, "E": 4, "I": 4, "R": 3, "C": 3, "N": 3, "T": 3}

_Members = List[Tuple[bytes, int]]


class _Group(NamedTuple):
    """One pass. ``after``: the two bytes behind the needle -> (text, where the needle stands in it)."""

    search: "re.Pattern[bytes]"
    length: int
    after: Dict[bytes, Tuple[Tuple[bytes, int], ...]]
    others: Tuple[Tuple[bytes, int], ...]


class Search:
    """The texts, ready to be found. Making one takes some 50 ms: keep it.

    ``share``: of a needle (a few bytes), the share of places in the log where it stands; a guess if None.
    """

    def __init__(self, texts: Iterable[bytes], share: Optional[Callable[[bytes], float]] = None) -> None:
        self._texts = tuple(sorted(set(texts)))
        if any(len(text) < SHORTEST or b"\n" in text for text in self._texts):
            raise ValueError("a text to find has at least %d bytes and no newline" % SHORTEST)
        self._groups = [_group(needle, members) for needle, members in _planned(self._texts, share or _usual)]

    def tuned(self, sample: bytes) -> "Search":
        """The same search, planned for logs like the sample (64 KiB from its middle); itself for a short one."""
        if len(sample) < 4096:
            return self
        middle = max(0, (len(sample) - _SAMPLE_BYTES) // 2)
        sample = sample[middle:middle + _SAMPLE_BYTES]
        known: Dict[bytes, float] = {}

        def share(needle: bytes) -> float:
            if needle not in known:
                known[needle] = (sample.count(needle) + 0.1) / len(sample)
            return known[needle]

        return Search(self._texts, share)

    def occurrences(self, block: bytes) -> List[Tuple[int, bytes]]:
        """(place, text) of every occurrence in the block, ascending by place."""
        found: List[Tuple[int, bytes]] = []
        starts = block.startswith
        for search, length, after, others in self._groups:
            for match in search.finditer(block):
                hit = match.start()
                for text, back in after.get(block[hit + length:hit + length + 2], ()):
                    if starts(text, hit - back):
                        found.append((hit - back, text))
                for text, back in others:
                    if back <= hit and starts(text, hit - back):
                        found.append((hit - back, text))
        found.sort()
        return found


def _usual(needle: bytes) -> float:
    share = 1.0
    for byte in needle:
        # Letters in words keep company: not quite the product of their shares.
        share *= min(1.0, _USUAL.get(chr(byte), 1.5) / 1000.0 * (1.0 if share == 1.0 else 3.0))
    return share


def _planned(texts: Sequence[bytes], share: Callable[[bytes], float]) -> List[Tuple[bytes, _Members]]:
    """[(needle, [(text, where in it the needle stands)])]: a greedy weighted cover of the texts by needles.

    A needle goes again when the texts it was chosen for are covered by cheaper ones chosen later.
    """
    offers: Dict[bytes, Dict[bytes, int]] = {}
    for text in texts:
        for length in _LENGTHS:
            for place in range(len(text) - length + 1):
                offers.setdefault(text[place:place + length], {}).setdefault(text, place)
    usable = {needle: frozenset(covered) for needle, covered in offers.items()
              if (len(needle) in (1, 5) or len(covered) > 1) and not _overlaps_itself(needle)}
    costs: Dict[bytes, float] = {}
    chosen = _without_idle(_cover(frozenset(texts), usable, costs, share) or [], usable, costs)    # single bytes cover all
    for _ in range(3):    # what a dear needle alone covers may be had for less
        before = list(chosen)
        for needle in sorted(before, key=lambda one: (-costs[one], one))[:8]:
            if needle not in chosen:
                continue
            others = [one for one in chosen if one != needle]
            bare = usable[needle].difference(*(usable[one] for one in others))
            again = _cover(bare, {one: covered for one, covered in usable.items() if one != needle}, costs, share)
            if again is not None and sum(costs[one] for one in again) < costs[needle]:
                chosen = _without_idle(others + again, usable, costs)
        if chosen == before:
            break
    chosen.sort(key=lambda one: (costs[one], one))
    plan: Dict[bytes, _Members] = {}
    for text in texts:
        needle = next(one for one in chosen if text in usable[one])
        plan.setdefault(needle, []).append((text, offers[needle][text]))
    return list(plan.items())


def _cover(texts: FrozenSet[bytes], usable: Dict[bytes, FrozenSet[bytes]], costs: Dict[bytes, float],
           share: Callable[[bytes], float]) -> Optional[List[bytes]]:
    """Needles that cover the texts, each time the cheapest per text, or None; ``costs`` is filled in as far as needed."""
    left = {needle: covered & texts for needle, covered in usable.items()}
    order = sorted((needle for needle in left if left[needle]), key=lambda one: (-len(left[one]), one))
    chosen: List[bytes] = []
    waiting = set(texts)
    while waiting:
        best, rate = b"", float("inf")
        for needle in order:
            # The least it can cost is one pass: only what may be best is measured.
            if rate * len(left[needle]) <= _BYTE_NS:
                continue
            count = len(left[needle] & waiting)
            if count and rate * count > _BYTE_NS:
                if needle not in costs:
                    costs[needle] = _cost(needle, share)
                if costs[needle] < rate * count:
                    best, rate = needle, costs[needle] / count
        if not best:
            return None
        chosen.append(best)
        waiting -= left[best]
    return chosen


def _without_idle(chosen: List[bytes], usable: Dict[bytes, FrozenSet[bytes]], costs: Dict[bytes, float]) -> List[bytes]:
    """The needles without those whose texts the others cover, dear ones going first."""
    kept = sorted(set(chosen))
    for needle in sorted(kept, key=lambda one: (-costs[one], one)):
        rest: Set[bytes] = set()
        for other in kept:
            if other != needle:
                rest |= usable[other]
        if usable[needle] <= rest:
            kept.remove(needle)
    return kept


def _overlaps_itself(needle: bytes) -> bool:
    """Whether two of it can stand in each other ("ss" in "sss"): a match would hide the second."""
    return any(needle.startswith(needle[place:]) for place in range(1, len(needle)))


def _cost(needle: bytes, share: Callable[[bytes], float]) -> float:
    stops = share(needle)
    if len(needle) == 1:
        return _BYTE_NS + _STOP_NS * stops
    return _LITERAL_NS + 2.0 * share(needle[:1]) + _STOP_NS * stops


def _group(needle: bytes, members: _Members) -> _Group:
    after: Dict[bytes, List[Tuple[bytes, int]]] = {}
    others: List[Tuple[bytes, int]] = []
    words: List[Tuple[bytes, bytes]] = []
    for text, place in members:
        tail = text[place + len(needle):place + len(needle) + _CONTEXT]
        if len(tail) >= 2:
            after.setdefault(tail[:2], []).append((text, place))
        else:
            others.append((text, place))
        # Little stands behind the needle: what stands before it must be looked at as well.
        words.append((tail, text if len(tail) < _ENOUGH else b""))
    pattern = re.escape(needle) + b"(?=" + _trie(words) + b")"
    return _Group(re.compile(pattern), len(needle), {key: tuple(found) for key, found in after.items()}, tuple(others))


def _trie(words: Iterable[Tuple[bytes, bytes]]) -> bytes:
    """A pattern for (what follows, what it must all be the end of; empty: no matter). Branches differ in their first byte."""
    branches: Dict[bytes, List[Tuple[bytes, bytes]]] = {}
    leaves: Set[bytes] = set()
    for word, whole in words:
        if word:
            branches.setdefault(word[:1], []).append((word[1:], whole))
        elif not whole:
            return b""    # what begins with it is found by it
        else:
            leaves.add(whole)
    parts = [re.escape(first) + _trie(rests) for first, rests in sorted(branches.items())]
    looks = [b"(?<=" + re.escape(whole) + b")" for whole in sorted(leaves)]
    if len(parts) > 2 and not looks:
        return b"(?=[" + b"".join(re.escape(first) for first in sorted(branches)) + b"])(?:" + b"|".join(parts) + b")"
    return (parts + looks)[0] if len(parts) + len(looks) == 1 else b"(?:" + b"|".join(parts + looks) + b")"
