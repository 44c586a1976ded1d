"""Choosing, of many offers that each serve some items at a price, the cheapest few that serve them all.

Owns the choice: greedy, then bettered as long as that is quick. Refuses to know what an offer is. Pure; the
same offers give the same choice.
"""

from __future__ import annotations

import heapq
from typing import Dict, FrozenSet, NamedTuple, Optional, Sequence, Set, Tuple

_ROUNDS, _TRIED = 2, 4
_SLANTS = (1.0, 0.3)
"""Greed looks at prices with these factors in turn: seen too low, few great offers win, which often are cheaper together."""


class Offer(NamedTuple):
    """To be had for ``base``, and for the price of each branch that is used; one branch serves any of its items."""

    base: float
    branches: Tuple[Tuple[float, FrozenSet[int]], ...]
    """(price, items), ascending by price for an item."""


def chosen(offers: Sequence[Offer], items: int, rounds: int = _ROUNDS) -> Dict[int, int]:
    """For each of the items 0 to ``items`` - 1 the offer that serves it; raises ValueError where none does.

    ``rounds``: so often at most it is tried to better the choice.
    """
    everything = frozenset(range(items))
    best, served = min((_pruned(_greedy(offers, everything, frozenset(), slant), offers, items) for slant in _SLANTS), key=lambda found: found[0])
    for _ in range(rounds):
        before = best
        for one in sorted(set(served.values()), key=lambda index: (-offers[index].base, index))[:_TRIED]:
            rest = frozenset(served.values()) - {one}
            bare = everything - {item for index in rest for _, branch in offers[index].branches for item in branch}
            try:
                cost, found = _pruned(_greedy(offers, bare, rest | {one}, 1.0) | rest, offers, items)
            except ValueError:
                continue
            if cost < best:
                best, served = cost, found
        if best >= before:
            break
    return served


def _greedy(offers: Sequence[Offer], items: FrozenSet[int], without: FrozenSet[int], slant: float) -> Set[int]:
    """Offers that serve the items, each time the one that serves most for its price."""
    waiting = set(items)
    taken: Set[int] = set()
    rates = [(0.0, index) for index in range(len(offers)) if index not in without]    # sorted already: a heap
    while waiting:
        if not rates:
            raise ValueError("nothing serves %d items" % len(waiting))
        _, index = heapq.heappop(rates)
        cost, group = _bargain(offers[index], waiting, index in taken, slant)
        if not group:
            continue
        # As fewer wait, no offer gets better: one that still beats the others' last rates is the best.
        if rates and cost / len(group) > rates[0][0]:
            heapq.heappush(rates, (cost / len(group), index))
            continue
        taken.add(index)
        waiting -= group
        heapq.heappush(rates, (0.0, index))    # it may serve more now that it is taken
    return taken


def _bargain(offer: Offer, waiting: Set[int], taken: bool, slant: float) -> Tuple[float, Set[int]]:
    """(cost, items) of those branches that make the offer cheapest per item."""
    cost = 0.0 if taken else offer.base
    served: Set[int] = set()
    for price, branch in offer.branches:
        more = (branch & waiting) - served
        if more and not (served and (cost + price * slant) * len(served) > cost * (len(served) + len(more))):
            cost += price * slant
            served |= more
    return cost, served


def _served(taken: Set[int], offers: Sequence[Offer], items: int) -> Optional[Tuple[float, Dict[int, int]]]:
    """(cost, item -> offer) where each item takes its cheapest branch; None where one has none."""
    price_of: Dict[int, Tuple[float, int, int]] = {}
    for index in sorted(taken):
        for number, (price, branch) in enumerate(offers[index].branches):
            for item in branch:
                if item not in price_of or price < price_of[item][0]:
                    price_of[item] = (price, index, number)
    if len(price_of) < items:
        return None
    used = {(index, number): price for price, index, number in price_of.values()}
    return sum(used.values()) + sum(offers[index].base for index in {index for index, _ in used}), {item: index for item, (_, index, _) in price_of.items()}


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
