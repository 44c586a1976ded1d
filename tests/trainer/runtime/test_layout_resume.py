"""A checkpoint goes on under its own layout bit for bit, and under any other within rounding."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.runtime import resumed
from trainer.runtime.layouts import TOLERANCE

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

DENSE = [
    ("interleaved", "interleaved"), ("CP2", "CP2"), ("CP2 x DP2", "CP2 x DP2"),
    ("interleaved", "single"), ("interleaved", "TP2 x PP2"), ("single", "interleaved"), ("CP2", "interleaved x DP2"),
]
EXPERTS = [("EP2", "EP2"), ("EP2 x DP2", "EP2 x DP2"), ("EP2", "single"), ("EP2", "EP2 x TP2"), ("DP2", "EP2 x PP2")]


HALF = [("interleaved", "interleaved")]
ADAPTERS = [("EP2", "EP2"), ("EP2", "single")]
Told = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def told() -> dict[str, Told]:
    groups = {
        "dense": {"pairs": DENSE, "model": resumed.MODEL}, "experts": {"pairs": EXPERTS, "model": resumed.MIXTURE},
        "half": {"pairs": HALF, "model": resumed.MODEL, "precision": "bf16"},
        "adapters": {"pairs": ADAPTERS, "model": {**resumed.MIXTURE, "peft": {"type": "lora", "dropout": 0.1}}},
    }
    return dict(zip(groups, resumed.compare(list(groups.values())), strict=True))


def check(pair: tuple[str, str], told: Told) -> None:
    came = told[pair]
    assert len(came["whole"]) == resumed.AFTER
    if pair[0] == pair[1]:
        assert came["resumed"] == came["whole"]
        assert came["same state"]
    else:
        assert came["resumed"] == pytest.approx(came["whole"], rel=TOLERANCE)


@pytest.mark.parametrize("pair", DENSE, ids=" to ".join)
def test_a_dense_model_goes_on(pair: tuple[str, str], told: dict[str, Told]) -> None:
    check(pair, told["dense"])


@pytest.mark.parametrize("pair", EXPERTS, ids=" to ".join)
def test_a_mixture_goes_on(pair: tuple[str, str], told: dict[str, Told]) -> None:
    check(pair, told["experts"])


def test_in_half_precision_its_own_layout_is_exact(told: dict[str, Told]) -> None:
    check(HALF[0], told["half"])


def test_adapters_of_a_mixture_go_on(told: dict[str, Told]) -> None:
    check(ADAPTERS[0], told["adapters"])
    # Another number of ranks draws other dropouts, so that only the first loss says something.
    elsewhere = told["adapters"][ADAPTERS[1]]
    assert elsewhere["resumed"][0] == pytest.approx(elsewhere["whole"][0], rel=1e-2)
