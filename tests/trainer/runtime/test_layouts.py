"""The same steps under every layout: losses and gradient norms of one process, within rounding."""

from __future__ import annotations

import pytest

pytest.importorskip("megatron.core")

from trainer.runtime import layouts

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


Figures = dict[str, list[tuple[float, float]]]
PRETRAIN = ["single", "TP2", "PP2", "CP2", "DP2", "PP2 interleaved", "full recompute", "mixture, single", "mixture, DP2", "mixture, EP2", "mixture, CP2", "mixture, EP2 x TP2 + SP", "bf16, single", "bf16, TP2 x PP2", "bf16, CP2"]
PACKED = ["single", "TP2", "CP2", "TP2 with SP", "PP2"]
ADAPTED = ["mixture, single", "mixture, EP2", "mixture, CP2", "mixture, EP2 x TP2 + SP"]


@pytest.fixture(scope="module")
def modes() -> dict[str, Figures]:
    """All of them in one set of processes: it is their start that takes long."""
    wanted = [("pretrain", name) for name in PRETRAIN] + [("sft", name) for name in PACKED] + [("lora", name) for name in PACKED + ADAPTED]
    told: dict[str, Figures] = {}
    for (mode, name), pairs in layouts.measure_modes(wanted, steps=3, timeout_s=600.0).items():
        told.setdefault(mode, {})[name] = pairs
    return told


@pytest.fixture(scope="module")
def measured(modes: dict[str, Figures]) -> Figures:
    return modes["pretrain"]


@pytest.mark.parametrize("name", ["TP2", "PP2", "CP2", "DP2", "PP2 interleaved", "full recompute"])
def test_a_layout_is_the_single_process(name: str, measured: Figures) -> None:
    assert layouts.difference(measured["single"], measured[name]) < layouts.TOLERANCE


@pytest.mark.parametrize("name", ["mixture, DP2", "mixture, EP2", "mixture, CP2", "mixture, EP2 x TP2 + SP"])
def test_experts_may_lie_on_several_ranks(name: str, measured: Figures) -> None:
    assert layouts.difference(measured["mixture, single"], measured[name]) < layouts.TOLERANCE
    assert layouts.difference(measured["single"], measured[name]) > layouts.TOLERANCE, "another model"


@pytest.mark.parametrize("name", ["bf16, TP2 x PP2", "bf16, CP2"])
def test_half_precision_differs_by_its_own_rounding(name: str, measured: Figures) -> None:
    assert layouts.difference(measured["bf16, single"], measured[name]) < layouts.HALF_TOLERANCE
    assert 0.0 < layouts.difference(measured["single"], measured["bf16, single"]) < 2 * layouts.HALF_TOLERANCE


@pytest.mark.parametrize("mode", ["sft", "lora"])
def test_packed_answers_and_adapters_have_the_same_gradients_everywhere(mode: str, modes: dict[str, Figures]) -> None:
    got = modes[mode]
    for name in PACKED:
        assert layouts.difference(got["single"], got[name]) < layouts.TOLERANCE, name


def test_adapters_of_a_mixtures_attention_have_the_same_gradients_everywhere(modes: dict[str, Figures]) -> None:
    got = modes["lora"]
    for name in ADAPTED:
        assert layouts.difference(got["mixture, single"], got[name]) < layouts.TOLERANCE, name
    assert got["mixture, single"][0][0] > got["mixture, single"][2][0], "they learn"


def test_what_differs_is_found() -> None:
    assert layouts.difference([(1.0, 2.0)], [(1.0, 2.1)]) == pytest.approx(0.05)
    assert "| 5.0e-02 of single |" in layouts.table({"single": [(1.0, 2.0)], "other": [(1.0, 2.1)]})
