"""Finding every occurrence of a few hundred literal texts in a block of bytes, fast, in plain Python.

Owns the plan of search and the search. Refuses to know what the texts mean (``scan`` does). The answer is
exact, whatever the plan: every occurrence of every text, none else; overlapping ones too.

How it is fast. ``bytes.find`` of one byte is memchr: 0.02 ns per byte of the log, and 130 ns wherever the
byte occurs. One pass of a regular expression that begins with a literal costs 0.3 to 0.4 ns per byte, and
only some 20 ns wherever that occurs. So of every text one to three bytes are chosen, such that all texts
share few of them: rare bytes for memchr (capitals, most often), of the others those that together cost least.
For each there is a table, or an expression: the literal and, as a trie, what may stand beside it. A match ends
before another of its literals can begin, for that would hide a text that overlaps another. Which choice is
cheapest depends on the log: ``Search.tuned`` counts bytes in a sample of it.
(Measured on CPython 3.7 to 3.13, x86-64; figures in docs/guide/log-reading.md.)
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

from agent.parse import covering, frequency
from agent.parse.covering import Offer
from agent.parse.frequency import Share

SHORTEST = 4
"""Bytes of the shortest text that may be looked for."""
_CONTEXT, _ENOUGH = 24, 7
_BEHIND, _BEFORE, _ALIKE = (8, 4, 2, 0), 4, 3
_NEAR = 4
_LENGTHS = (1, 2, 3)
# ns: one byte of log passed by memchr and by an expression that begins with one byte or with more, a stop at that,
# a look at what stands behind it, an occurrence found by memchr, a look behind that, and an occurrence found by an expression.
_FIND_NS, _BYTE_NS, _LITERAL_NS, _STOP_NS, _LOOK_NS, _HIT_NS, _NEAR_NS, _MATCH_NS = 0.02, 0.3, 0.34, 18.0, 45.0, 160.0, 120.0, 200.0
# Branches cheaper than this are taken for one.
_CHEAP_NS = 0.002
# Of more branches than this it is asked first whether there is one.
_MANY = 8
# From so many occurrences of its byte in a block on (one in 128) an expression is used in place of memchr.
_OFTEN = 7

_Members = List[Tuple[bytes, int]]
_Place = Tuple[int, bytes]
_Found = Tuple[Tuple[bytes, int], ...]
_Table = Dict[bytes, _Found]


class _Rare:
    """One rare byte, and what may stand behind it: per byte behind it a table of that and the next ones -> (text, where in it the rare byte stands)."""

    def __init__(self, needle: bytes, members: _Members) -> None:
        self._needle, self._members = needle, members
        alike: Dict[int, _Members] = {}
        for text, back in members:
            alike.setdefault(text[back + 1], []).append((text, back))
        self._behind: List[Optional[Tuple[_Table, _Found]]] = [None] * 256
        for byte, many in alike.items():
            short = tuple((text, back) for text, back in many if len(text) - back <= _NEAR)    # to be looked at whatever follows
            table: _Table = {}
            for text, back in many:
                if len(text) - back > _NEAR:
                    key = text[back + 1:back + 1 + _NEAR]
                    table[key] = table.get(key, short) + ((text, back),)
            self._behind[byte] = table, short
        self._often: Optional[_Trie] = None

    def collect(self, block: bytes, found: List[_Place]) -> None:
        """Put (place, text) of every occurrence into ``found``."""
        needle, behind, find, starts = self._needle, self._behind, block.find, block.startswith
        hit = find(needle, 0, -1)    # nothing stands behind the last byte
        for _ in range(64 + (len(block) >> _OFTEN)):
            if hit < 0:
                return
            near = behind[block[hit + 1]]
            if near is not None:
                table, short = near
                for text, back in table.get(block[hit + 1:hit + 1 + _NEAR], short):
                    if starts(text, hit - back) and hit >= back:
                        found.append((hit - back, text))
            hit = find(needle, hit + 1, -1)
        if hit >= 0:
            if self._often is None:
                self._often = _Trie(needle, self._members)
            self._often.collect(block, found, hit)


class _Trie:
    """One literal, and what may stand beside it.

    Per table: the bytes behind the literal, as many as all its texts have of eight, four, two or none, and as many of
    those before it as it takes to tell them apart -> (text, where in it the literal stands).
    """

    def __init__(self, needle: bytes, members: _Members) -> None:
        words: List[Tuple[bytes, bytes]] = []
        alike: Dict[Tuple[int, bytes], _Members] = {}
        for text, place in members:
            tail = text[place + len(needle):place + len(needle) + _CONTEXT]
            size = next(size for size in _BEHIND if size <= len(tail))
            alike.setdefault((size, tail[:size]), []).append((text, place))
            # Little stands behind the literal: what stands before it must be looked at as well.
            words.append((tail, text if len(tail) < _ENOUGH else b""))
        tables: Dict[Tuple[int, int], _Table] = {}
        for (size, _), many in alike.items():
            for text, place in many:
                before = _BEFORE if place >= _BEFORE and (not size or len(many) > _ALIKE) else 0
                table = tables.setdefault((before, size), {})
                key = text[place - before:place + len(needle) + size]
                table[key] = table.get(key, ()) + ((text, place),)
        self._tables = [(before, len(needle) + size, table) for (before, size), table in sorted(tables.items())]
        self._search = re.compile(re.escape(needle) + _trie(words, needle))

    def collect(self, block: bytes, found: List[_Place], begin: int = 0) -> None:
        """Put (place, text) of every occurrence whose literal stands at ``begin`` or later into ``found``."""
        tables, starts, put = self._tables, block.startswith, found.append
        for match in self._search.finditer(block, begin):
            hit = match.start()
            for before, behind, table in tables:
                if hit >= before:
                    for text, back in table.get(block[hit - before:hit + behind], ()):
                        if starts(text, hit - back) and hit >= back:
                            put((hit - back, text))


class Search:
    """The texts, ready to be found. Making one takes some 100 ms: keep it."""

    def __init__(self, texts: Iterable[bytes], share: Optional[Share] = None) -> None:
        self._texts = tuple(sorted(set(texts)))
        if any(len(text) < SHORTEST or b"\n" in text for text in self._texts):
            raise ValueError("a text to find has at least %d bytes and no newline" % SHORTEST)
        self._groups: List[Union[_Rare, _Trie]] = [
            _Rare(needle, members) if rare else _Trie(needle, members) for (needle, rare), members in _planned(self._texts, share or frequency.usual)]

    def tuned(self, sample: bytes) -> "Search":
        """The same search, planned for logs like the sample; itself for a short one."""
        return self if len(sample) < frequency.LEAST_BYTES else Search(self._texts, frequency.counted(sample))

    def occurrences(self, block: bytes) -> List[_Place]:
        """(place, text) of every occurrence in the block, ascending by place."""
        found: List[_Place] = []
        for group in self._groups:
            group.collect(block, found)
        found.sort()
        return found


def _planned(texts: Sequence[bytes], share: Share) -> List[Tuple[Tuple[bytes, bool], _Members]]:
    """[((needle, whether memchr is to find it), [(text, where in it the needle stands)])], cheap ones first."""
    named: List[Tuple[bytes, bool]] = []
    offers: List[Offer] = []
    for first in sorted({text[place:place + 1] for text in texts for place in range(len(text))}):    # of all needles at once there are megabytes
        standing: Dict[bytes, Dict[int, List[int]]] = {}
        for item, text in enumerate(texts):
            for place in _places(text, first):
                for length in _LENGTHS[:len(text) - place]:
                    standing.setdefault(text[place:place + length], {}).setdefault(item, []).append(place)
        for needle, items in sorted(standing.items()):
            if (len(needle) == 1 or len(items) > 2) and not _overlaps_itself(needle):
                for rare, offer in _offered(needle, items, texts, share):
                    named.append((needle, rare))
                    offers.append(offer)
    plan: Dict[int, _Members] = {}
    for item, index in sorted(covering.chosen(offers, len(texts)).items()):
        needle, rare = named[index]
        text = texts[item]
        places = [place for place in _places(text, needle) if not rare or place + 1 < len(text)]
        # Where what stands behind the needle is rarest.
        plan.setdefault(index, []).append((text, min(places, key=lambda place: (share(text[place:place + len(needle) + 1]), share(text[place:place + len(needle) + 2]), place))))
    return [(named[index], plan[index]) for index in sorted(plan, key=lambda one: (offers[one].base, one))]


def _offered(needle: bytes, items: Dict[int, List[int]], texts: Sequence[bytes], share: Share) -> Iterator[Tuple[bool, Offer]]:
    """(whether by memchr, at what cost) of the needle, which stands in these places of these texts."""
    often = share(needle)
    branches: Dict[bytes, int] = {}
    for item, places in items.items():
        for place in places:
            branch = texts[item][place:place + len(needle) + 1]
            branches[branch] = branches.get(branch, 0) | 1 << item
    if len(needle) == 1:
        priced = _priced((share(branch) * _NEAR_NS, served) for branch, served in branches.items() if len(branch) > 1)
        if priced:
            yield True, Offer(_FIND_NS + _HIT_NS * often, priced)
    base = (_BYTE_NS if len(needle) == 1 else _LITERAL_NS + 3.0 * share(needle[:1])) + _STOP_NS * often
    yield False, Offer(base, _priced((share(branch) * (_LOOK_NS if len(branch) > len(needle) else _MATCH_NS), served) for branch, served in branches.items()))


def _priced(branches: Iterable[Tuple[float, int]]) -> Tuple[Tuple[float, int], ...]:
    """The branches of an offer."""
    price_of: Dict[int, float] = {}
    cheap, cheap_price = 0, 0.0
    for price, served in branches:
        if price < _CHEAP_NS:    # most are: told apart, they take more memory than all the rest
            cheap |= served
            cheap_price += price
        else:
            price_of[served] = price_of.get(served, 0.0) + price
    if cheap:
        price_of[cheap] = price_of.get(cheap, 0.0) + cheap_price
    return tuple(sorted(((price, served) for served, price in price_of.items()), key=lambda one: (one[0] / covering.count(one[1]), one[1])))


def _places(text: bytes, needle: bytes) -> List[int]:
    places = []
    place = text.find(needle)
    while place >= 0:
        places.append(place)
        place = text.find(needle, place + 1)
    return places


def _overlaps_itself(needle: bytes) -> bool:
    """Whether two of it can stand in each other ("ss" in "sss"): a match would hide the second."""
    return any(needle.startswith(needle[place:]) for place in range(1, len(needle)))


def _trie(words: Iterable[Tuple[bytes, bytes]], needle: bytes) -> bytes:
    """A pattern for (what follows the needle, what it must all be the end of; empty: no matter). Branches differ in their first byte.

    It takes what it matches, which costs half as much as looking ahead, up to where another needle may begin: from there it looks.
    """
    branches: Dict[bytes, List[Tuple[bytes, bytes]]] = {}
    leaves: Set[bytes] = set()
    for word, whole in words:
        if word:
            branches.setdefault(word[:1], []).append((word[1:], whole))
        elif not whole:
            return b""    # what begins with it is found by it
        else:
            leaves.add(whole)
    parts = []
    for first, rests in sorted(branches.items()):
        if first == needle[:1]:
            parts.append(b"(?=" + re.escape(first) + _trie(rests, b"") + b")")
        else:
            parts.append(re.escape(first) + _trie(rests, needle))
    looks = [b"(?<=" + re.escape(whole) + b")" for whole in sorted(leaves)]
    if len(parts) > _MANY and not looks:
        return b"(?=[" + b"".join(re.escape(first) for first in sorted(branches)) + b"])(?:" + b"|".join(parts) + b")"
    return (parts + looks)[0] if len(parts) + len(looks) == 1 else b"(?:" + b"|".join(parts + looks) + b")"
