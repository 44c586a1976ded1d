"""The comparison with a plain model: same shape, same precision, and the figures that come of it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

pytest.importorskip("megatron.core")

import torch

from tests.trainer.spec.test_arithmetic import job
from trainer.runtime import bench
from trainer.spec.parallel import parameter_count

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

SPEC = job(1, 1, model=bench.SHAPES["0.6M"], train={"iterations": 10, "global_batch_size": 2, "micro_batch_size": 2, "seq_length": 16})


def test_the_plain_model_is_of_the_same_shape() -> None:
    for shape in ("5M", "0.6M"):
        spec = job(1, 1, model=bench.SHAPES[shape])
        assert sum(parameter.numel() for parameter in bench._plain(spec).parameters()) == parameter_count(spec.model)
    assert parameter_count(job(1, 1, model=bench.SHAPES["124M"]).model) == pytest.approx(124e6, rel=0.01)


def test_all_of_them_train_turn_by_turn_in_the_precision_of_the_job(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []

    def compiled(plain: torch.nn.Module) -> torch.nn.Module:
        plain.head.register_forward_hook(lambda *values: seen.append(values[2].dtype))  # type: ignore[union-attr]
        return plain

    monkeypatch.setattr(torch, "compile", compiled)
    told = bench.compare(SPEC, "cpu", 2, compiled=True)
    assert [len(told[f"{one}_s"]) for one in ("trainer", "plain", "compiled")] == [2, 2, 2]
    assert min(told[f"{one}_tokens_per_s"] for one in ("trainer", "plain", "compiled")) > 0
    assert len(told["ratio"]) == len(told["cpu_ratio"]) == len(told["compiled_ratio"]) == 3
    assert seen == [torch.float32] * 3, "the first turn is made, and not counted"
    bench.compare(dataclasses.replace(SPEC, train=dataclasses.replace(SPEC.train, precision="bf16")), "cpu", 1, compiled=True)
    assert seen[3:] == [torch.bfloat16] * 2
