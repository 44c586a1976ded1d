from __future__ import annotations

import itertools
import random
from typing import Dict, List, Tuple

import pytest

from agent.parse import covering
from agent.parse.covering import Offer


def cost(offers: List[Offer], served: Dict[int, int]) -> float:
    branches = set()
    for item, index in served.items():
        price, number = min((price, number) for number, (price, branch) in enumerate(offers[index].branches) if branch >> item & 1)
        branches.add((index, number, price))
    return sum(offers[index].base for index in set(served.values())) + sum(price for _, _, price in branches)


def made(rng: random.Random, items: int, count: int) -> List[Offer]:
    def branch() -> Tuple[float, int]:
        return rng.random(), covering.bits(rng.sample(range(items), rng.randint(1, 4)))

    offers = [Offer(1 + rng.random() * 3, tuple(sorted((branch() for _ in range(rng.randint(1, 3))), key=lambda one: one[0]))) for _ in range(count)]
    return offers + [Offer(9.0, ((9.0, covering.bits(range(items))),))]


def test_every_item_is_served_at_nearly_the_least_price() -> None:
    rng = random.Random(3)
    for _ in range(40):
        offers = made(rng, 8, 6)
        served = covering.chosen(offers, 8)
        assert sorted(served) == list(range(8))
        assert all(any(branch >> item & 1 for _, branch in offers[index].branches) for item, index in served.items())
        least = min(cost(offers, dict(zip(range(8), choice))) for size in range(1, 5) for kept in itertools.combinations(range(len(offers)), size)
                    for choice in [[next((one for one in kept if any(branch >> item & 1 for _, branch in offers[one].branches)), -1) for item in range(8)]] if -1 not in choice)
        assert cost(offers, served) <= least * 1.5


def test_what_nothing_serves_is_an_error_and_the_choice_is_always_the_same() -> None:
    with pytest.raises(ValueError):
        covering.chosen([Offer(1.0, ((0.0, covering.bits([0])),))], 2)
    offers = made(random.Random(5), 30, 40)
    assert covering.chosen(offers, 30) == covering.chosen(offers, 30)


def test_items_are_bits() -> None:
    items = [0, 3, 64, 500]
    assert list(covering.items_in(covering.bits(items))) == items
    assert covering.count(covering.bits(items)) == 4
    assert covering.bits([]) == 0 and not list(covering.items_in(0))
