"""Adapters on a mixture's experts: saved alone, and merged by the runtime and by the export into the same weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("megatron.core")

import torch

from tests.trainer.spec.test_arithmetic import job
from trainer.spec import manifest

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]


def test_what_experts_learnt_is_merged_alike_by_runtime_and_export(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from megatron.core.transformer.moe.moe_utils import MoEAuxLossAutoScaler

    from trainer.convert import weights
    from trainer.convert.export import export_checkpoint
    from trainer.convert.hf import Source
    from trainer.runtime import batches, checkpoint, lora, merge, model
    from trainer.runtime.start import resolved, weights_in
    from trainer.runtime.step import Step

    spec = resolved(job(
        1, 1, run={"name": "experts", "mode": "lora"}, train={"iterations": 3, "global_batch_size": 4, "micro_batch_size": 4, "seq_length": 26, "learning_rate": 1e-2},
        model={"num_experts": 4, "moe_ffn_hidden_size": 48, "qk_layernorm": True, "peft": {"type": "lora", "rank": 4, "alpha": 8}},
        checkpoint={"dir": str(tmp_path / "lora"), "load_dir": str(tmp_path / "base")}))
    # megatron-core keeps it for as long as the process lives, in the shape in which it got it first.
    monkeypatch.setattr(MoEAuxLossAutoScaler, "main_loss_backward_scale", None)
    chunks = model.bare(spec, "cpu")
    (tmp_path / "base" / "release").mkdir(parents=True)
    checkpoint.save_weights(chunks, tmp_path / "base" / "release")
    tokens = torch.arange(24).view(1, 24)
    places = torch.arange(24).view(1, 24)
    with torch.no_grad():
        plain = chunks[0].eval()(tokens, places, None)
    # 2 layers: of each Q, K, V and projection, and of each of 4 experts both linears.
    assert lora.attach(chunks, spec.model.peft, seed=1) == 2 * (2 + 4 * 2)
    modules, optimizer = model.wrap(spec, chunks, "cpu")
    step = Step(spec, "cpu", batches.source_of(spec), modules, optimizer)
    before = {name: parameter.detach().clone() for name, parameter in chunks[0].named_parameters()}
    for number in range(3):
        step(number + 1, number * 4, judge=lambda loss, norm: "")
    changed = {name for name, parameter in chunks[0].named_parameters() if not torch.equal(parameter, before[name])}
    assert any(".experts." in name for name in changed)
    assert all("adapter_" in name for name in changed), "the base, its router included, stays as it was"
    checkpoints = checkpoint.Checkpoints(spec.checkpoint.dir, layout={})
    checkpoints.open()
    checkpoints.save(modules, optimizer, checkpoint.Position(iteration=3, consumed_samples=12))
    with torch.no_grad():
        adapted = chunks[0].eval()(tokens, places, None)
    assert (adapted - plain).abs().max() > 1e-3

    assert merge.merge(spec, "cpu", tmp_path / "merged") == 20
    again = model.bare(spec, "cpu")
    checkpoint.load_weights(again, weights_in(tmp_path / "merged"))
    with torch.no_grad():
        assert (again[0].eval()(tokens, places, None) - adapted).abs().max() < 1e-5
    outcome = export_checkpoint(spec, tmp_path / "lora" / manifest.directory_name(3), tmp_path / "hf")
    assert outcome.tensors == 2 + 1 + 2 * (6 + 1 + 4 * 2)
    exported, merged = Source(tmp_path / "hf"), weights.open_source(tmp_path / "merged", model=spec.model)
    from trainer.convert import names

    for entry in names.entries(spec.model):
        assert torch.allclose(exported.read(entry), merged.read(entry), atol=1e-6), entry.key
