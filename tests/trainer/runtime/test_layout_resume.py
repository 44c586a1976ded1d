"""A checkpoint goes on under its own layout bit for bit, and under any other within rounding."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.runtime import resumed
from trainer.runtime.layouts import TOLERANCE

pytestmark = [pytest.mark.torch, pytest.mark.timeout(400)]

DENSE = [
    ("interleaved", "interleaved"), ("CP2", "CP2"), ("CP2 x DP2", "CP2 x DP2"),
    ("interleaved", "single"), ("interleaved", "TP2 x PP2"), ("single", "interleaved"), ("CP2", "interleaved x DP2"),
]
EXPERTS = [("EP2", "EP2"), ("EP2 x DP2", "EP2 x DP2"), ("EP2", "single"), ("EP2", "EP2 x TP2"), ("DP2", "EP2 x PP2")]


@pytest.fixture(scope="module")
def dense() -> dict[tuple[str, str], dict[str, Any]]:
    return resumed.compare(DENSE, model=resumed.MODEL)


@pytest.fixture(scope="module")
def experts() -> dict[tuple[str, str], dict[str, Any]]:
    return resumed.compare(EXPERTS, model=resumed.MIXTURE)


def check(pair: tuple[str, str], told: dict[str, Any]) -> None:
    assert len(told["whole"]) == resumed.AFTER
    if pair[0] == pair[1]:
        assert told["resumed"] == told["whole"]
        assert told["same state"]
    else:
        assert told["resumed"] == pytest.approx(told["whole"], rel=TOLERANCE)


@pytest.mark.parametrize("pair", DENSE, ids=" to ".join)
def test_a_dense_model_goes_on(pair: tuple[str, str], dense: dict[tuple[str, str], dict[str, Any]]) -> None:
    check(pair, dense[pair])


@pytest.mark.parametrize("pair", EXPERTS, ids=" to ".join)
def test_a_mixture_goes_on(pair: tuple[str, str], experts: dict[tuple[str, str], dict[str, Any]]) -> None:
    check(pair, experts[pair])


def test_in_half_precision_its_own_layout_is_exact() -> None:
    told = resumed.compare([("interleaved", "interleaved")], model=resumed.MODEL, precision="bf16")
    check(("interleaved", "interleaved"), told["interleaved", "interleaved"])


def test_adapters_of_a_mixture_go_on() -> None:
    pairs = [("EP2", "EP2"), ("EP2", "single")]
    told = resumed.compare(pairs, model={**resumed.MIXTURE, "peft": {"type": "lora", "dropout": 0.1}})
    assert told[pairs[0]]["resumed"] == told[pairs[0]]["whole"]
    assert told[pairs[0]]["same state"]
    # Another number of ranks draws other dropouts, so that only the first loss says something.
    assert told[pairs[1]]["resumed"][0] == pytest.approx(told[pairs[1]]["whole"][0], rel=1e-2)
