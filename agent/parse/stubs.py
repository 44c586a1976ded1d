"""Short pieces of the texts that are looked for, for a reader that only asks which lines to look at.

Owns the choice: every text holds one of the pieces, and they begin with bytes that are rare in the log. A
matcher that goes from state to state by bytes (GNU grep's) then seldom leaves its first state: half as fast
again as with the whole texts. That a line holds a piece means nothing yet. Pure.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Set

from agent.parse import covering
from agent.parse.covering import Offer
from agent.parse.frequency import Share

SHORTEST, LONGEST = 4, 6
# Relative: a byte that a piece begins with, one that goes on with its second, its third, and a line for nothing.
_FIRST, _SECOND, _THIRD, _FOURTH = 1.0, 1.0, 2.0, 20.0


def of(texts: Sequence[bytes], share: Share) -> List[bytes]:
    """The pieces, each of SHORTEST to LONGEST bytes; none is part of another."""
    found: Dict[bytes, Dict[bytes, Set[int]]] = {}
    for item, text in enumerate(texts):
        for place in range(len(text) - SHORTEST + 1):
            piece = text[place:place + LONGEST]
            found.setdefault(piece[:1], {}).setdefault(piece, set()).add(item)
    offers: List[Offer] = []
    prices: List[Dict[bytes, float]] = []
    for first, pieces in sorted(found.items()):
        price = {piece: _SECOND * share(piece[:2]) + _THIRD * share(piece[:3]) + _FOURTH * share(piece[:4]) for piece in pieces}
        prices.append(price)
        offers.append(Offer(_FIRST * share(first), tuple(sorted(((price[piece], covering.bits(items)) for piece, items in pieces.items()),
                                                               key=lambda one: (one[0] / covering.count(one[1]), one[1])))))
    firsts = sorted(found)
    chosen: Set[bytes] = set()
    for item, index in covering.chosen(offers, len(texts), rounds=1).items():
        chosen.add(min((price, piece) for piece, price in prices[index].items() if item in found[firsts[index]][piece])[1])
    return sorted(piece for piece in chosen if not any(other != piece and other in piece for other in chosen))
