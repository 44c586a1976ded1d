"""Choosing, of many offers that each serve some items at a price, the cheapest few that serve them all.

Owns the choice: greedy, then bettered as long as that is quick. Refuses to know what an offer is. Pure; the
same offers give the same choice. Items are bits of an integer: there are some thousand sets of them, which as
sets would take megabytes that an agent does not get back.
"""

from __future__ import annotations

import heapq
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

_ROUNDS, _TRIED = 2, 4
_SLANTS = (1.0, 0.3)
"""Greed looks at prices with these factors in turn: seen too low, few great offers win, which often are cheaper together."""


class Offer(NamedTuple):
    """To be had for ``base``, and for the price of each branch that is used; one branch serves any of its items."""

    base: float
    branches: Tuple[Tuple[float, int], ...]
    """(price, items as ``bits``), ascending by price for an item."""


def bits(items: Iterable[int]) -> int:
    """The items, numbers from 0 on, as one integer."""
    taken = 0
    for item in items:
        taken |= 1 << item
    return taken


def items_in(taken: int) -> Iterator[int]:
    """The items in ``bits``, ascending."""
    while taken:
        lowest = taken & -taken
        yield lowest.bit_length() - 1
        taken ^= lowest


def count(taken: int) -> int:
    """How many items are in ``bits``."""
    return bin(taken).count("1")


def chosen(offers: Sequence[Offer], items: int, rounds: int = _ROUNDS) -> Dict[int, int]:
    """For each of the items 0 to ``items`` - 1 the offer that serves it; raises ValueError where none does.

    ``rounds``: so often at most it is tried to better the choice.
    """
    everything = (1 << items) - 1
    best, served = min((_pruned(_greedy(offers, everything, frozenset(), slant), offers, everything) for slant in _SLANTS), key=lambda found: found[0])
    for _ in range(rounds):
        before = best
        for one in sorted(served, key=lambda index: (-offers[index].base, index))[:_TRIED]:
            rest = frozenset(served) - {one}
            bare = everything
            for index in rest:
                for _, branch in offers[index].branches:
                    bare &= ~branch
            try:
                cost, found = _pruned(_greedy(offers, bare, rest | {one}, 1.0) | rest, offers, everything)
            except ValueError:
                continue
            if cost < best:
                best, served = cost, found
        if best >= before:
            break
    return {item: index for index, group in served.items() for item in items_in(group)}


def _greedy(offers: Sequence[Offer], items: int, without: Iterable[int], slant: float) -> Set[int]:
    """Offers that serve the items, each time the one that serves most for its price."""
    waiting = items
    taken: Set[int] = set()
    rates = [(0.0, index) for index in range(len(offers)) if index not in without]    # sorted already: a heap
    while waiting:
        if not rates:
            raise ValueError("nothing serves %d items" % count(waiting))
        _, index = heapq.heappop(rates)
        cost, group, size = _bargain(offers[index], waiting, index in taken, slant)
        if not group:
            continue
        # As fewer wait, no offer gets better: one that still beats the others' last rates is the best.
        if rates and cost / size > rates[0][0]:
            heapq.heappush(rates, (cost / size, index))
            continue
        taken.add(index)
        waiting &= ~group
        heapq.heappush(rates, (0.0, index))    # it may serve more now that it is taken
    return taken


def _bargain(offer: Offer, waiting: int, taken: bool, slant: float) -> Tuple[float, int, int]:
    """(cost, items, how many) of those branches that make the offer cheapest per item."""
    cost = 0.0 if taken else offer.base
    served = size = 0
    for price, branch in offer.branches:
        more = branch & waiting & ~served
        if more:
            growth = count(more)
            if not (served and (cost + price * slant) * size > cost * (size + growth)):
                cost += price * slant
                served |= more
                size += growth
    return cost, served, size


def _served(taken: Iterable[int], offers: Sequence[Offer], items: int) -> Optional[Tuple[float, Dict[int, int]]]:
    """(cost, offer -> the items it serves) where each item takes its cheapest branch; None where one has none."""
    cost, waiting = 0.0, items
    served: Dict[int, int] = {}
    branches: List[Tuple[float, int, int]] = [(price, index, branch) for index in taken for price, branch in offers[index].branches]
    for price, index, branch in sorted(branches):
        more = branch & waiting
        if more:
            waiting ^= more
            cost += price + (0.0 if index in served else offers[index].base)
            served[index] = served.get(index, 0) | more
            if not waiting:
                return cost, served
    return None if waiting else (cost, served)


def _pruned(taken: Set[int], offers: Sequence[Offer], items: int) -> Tuple[float, Dict[int, int]]:
    """As ``_served``, without the offers that cost more than they save."""
    kept = set(taken)
    best = _served(kept, offers, items)
    assert best is not None
    for one in sorted(taken, key=lambda index: (-offers[index].base, index)):
        other = _served(kept - {one}, offers, items)
        if other is not None and other[0] <= best[0]:
            kept, best = kept - {one}, other
    return best
