"""Stages: answers alone carry loss, adapters alone are trained and saved, and what they learnt can be merged."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("megatron.core")

import torch

from tests.trainer.spec.test_arithmetic import job
from trainer.runtime.anomaly import Watch
from trainer.runtime.errors import TrainerError
from trainer.spec import manifest

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

TRAIN = {"iterations": 60, "global_batch_size": 8, "micro_batch_size": 8, "seq_length": 52, "learning_rate": 1e-2}


def spec_of(mode: str, directory: Path, **blocks: Any) -> Any:
    return job(1, 1, **{"run": {"name": "stage", "mode": mode}, "train": TRAIN, "checkpoint": {"dir": str(directory)}, **blocks})


def trained(spec: Any, steps: int, directory: Path, chunks: Any = None) -> tuple[Any, list[float]]:
    """The modules after some steps, saved; and the losses."""
    from trainer.runtime import batches, lora, model
    from trainer.runtime.checkpoint import Checkpoints, Position
    from trainer.runtime.step import Step

    chunks = chunks or model.bare(spec, "cpu")
    if spec.run.mode == "lora":
        lora.attach(chunks, spec.model.peft, seed=spec.run.seed)
    modules, optimizer = model.wrap(spec, chunks, "cpu")
    step = Step(spec, "cpu", batches.source_of(spec), modules, optimizer)
    losses = [step(n + 1, n * 8, judge=lambda loss, norm: "").loss for n in range(steps)]
    checkpoints = Checkpoints(str(directory), layout={})
    checkpoints.open()
    checkpoints.save(modules, optimizer, Position(iteration=steps, consumed_samples=8 * steps))
    return modules, losses


def logits(chunk: Any) -> torch.Tensor:
    tokens = torch.arange(24).view(1, 24) % 32
    with torch.no_grad():
        return chunk(tokens, torch.arange(24).view(1, 24), None)  # type: ignore[no-any-return]


def test_answers_are_learnt_by_adapters_alone_and_merged(world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime import checkpoint, lora, merge, model
    from trainer.runtime.start import weights_in

    base = spec_of("pretrain", tmp_path / "base", train={**TRAIN, "iterations": 150, "learning_rate": 5e-3})
    trained(base, 150, tmp_path / "base")
    tuned = spec_of("lora", tmp_path / "lora", checkpoint={"dir": str(tmp_path / "lora"), "load_dir": str(tmp_path / "base")}, model={"peft": {"type": "lora", "rank": 16, "alpha": 32}}, train={**TRAIN, "iterations": 120})
    chunks = model.bare(tuned, "cpu")
    path = weights_in(tmp_path / "base")
    assert path == tmp_path / "base" / manifest.directory_name(150)
    checkpoint.load_weights(chunks, path)
    before = {name: parameter.detach().clone() for name, parameter in chunks[0].named_parameters()}
    plain = logits(chunks[0])
    modules, losses = trained(tuned, 120, tmp_path / "lora", chunks)
    assert losses[0] > 3.0
    assert losses[-1] < 1.0, "the adapters learn what the base does not know"
    gpt = model.inner(modules[0])
    kept = {name.replace(".base.", "."): parameter for name, parameter in gpt.named_parameters() if "adapter_" not in name}
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items()), "the base stays as it was"
    with_adapters = logits(gpt)
    assert (with_adapters - plain).abs().max() > 0.1
    size = {name: (tmp_path / name / manifest.directory_name(n) / "__0_0.distcp").stat().st_size for name, n in (("base", 150), ("lora", 120))}
    assert size["lora"] < size["base"] / 2, "only adapters are saved"

    assert merge.merge(tuned, "cpu", tmp_path / "merged") == 8
    with pytest.raises(TrainerError, match="there is something already"):
        merge.merge(tuned, "cpu", tmp_path / "merged")
    again = model.bare(base, "cpu")
    checkpoint.load_weights(again, weights_in(tmp_path / "merged"))
    assert (logits(again[0]) - with_adapters).abs().median() < 1e-5
    # What fp32 makes of single tokens depends on where training came to; merged weights are rounded to it once.
    assert (logits(again[0].double()) - logits(gpt.double())).abs().max() < 1e-4
    with pytest.raises(TrainerError, match="no module is called so"):
        lora.attach(again, dataclasses.replace(tuned.model.peft, target_modules=("linear_nothing",)), seed=1)


def test_a_question_has_no_part_in_the_loss(world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime import batches
    from trainer.runtime.step import _loss_of

    one = batches.collate([batches.Instructions(seed=1, vocab_size=256, seq_length=26).sample(0)], "cpu")
    output = torch.rand(1, 26)
    total, tokens, _ = _loss_of(one["loss_mask"], output)
    changed = torch.where(one["loss_mask"] > 0, output, output + 100.0)
    assert torch.equal(_loss_of(one["loss_mask"], changed)[0], total)
    assert tokens.item() == one["loss_mask"].sum() == 14


def test_packed_sequences_are_as_if_alone(world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime import batches, model

    chunk = model.bare(spec_of("sft", tmp_path), "cpu")[0]
    one = batches.collate([batches.Instructions(seed=1, vocab_size=256, seq_length=26).sample(0)], "cpu")
    with torch.no_grad():
        packed = chunk(one["tokens"], one["position_ids"], one["attention_mask"])
        alone = chunk(one["tokens"][:, 13:], torch.arange(13).view(1, 13), None)
        leaking = chunk(one["tokens"], one["position_ids"], None)
    assert (packed[:, 13:] - alone).abs().max() < 1e-5
    assert (leaking[:, 13:] - alone).abs().max() > 1e-3


def test_a_step_that_is_none_changes_nothing(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.runtime.fingerprint import state_sha256

    before = state_sha256(world.module, world.optimizer)
    outcome = world.step(2, 2, judge=lambda loss, norm: "looks bad")
    assert outcome.anomaly == "looks bad"
    assert state_sha256(world.module, world.optimizer) == before
    from trainer.runtime import step

    real = step._loss_of
    monkeypatch.setattr(step, "_loss_of", lambda mask, output: real(mask, output * float("nan")))
    watch = Watch(job(1, 1).train)
    assert world.step(3, 4, judge=watch.judge).anomaly == "the loss is nan"
    assert state_sha256(world.module, world.optimizer) == before


def test_spikes_are_told_by_the_median_and_many_in_a_row_end_it() -> None:
    train = job(1, 1, train={"iterations": 5, "spike_factor": 2.0, "spike_window": 4, "anomaly_limit": 2}).train
    watch = Watch(train)
    assert [watch.judge(loss, 1.0) for loss in (9.0, 5.0, 4.0, 4.0)] == [""] * 4, "no window yet"
    assert "above 2 x the median 4.500" in watch.judge(9.1, 1.0)
    assert not watch.exhausted
    assert Watch(train, tuple(watch.losses)).judge(9.1, 1.0), "a resumed run judges alike"
    assert watch.judge(4.0, float("inf")) == "the gradient norm is inf"
    assert watch.exhausted
    assert watch.judge(4.0, 1.0) == ""
    assert not watch.exhausted
    assert watch.losses == [5.0, 4.0, 4.0, 4.0]


def test_bf16_trains(world: SimpleNamespace, tmp_path: Path) -> None:
    _, losses = trained(spec_of("pretrain", tmp_path, train={**TRAIN, "precision": "bf16"}), 6, tmp_path / "half")
    assert losses[-1] < losses[0] - 0.3


def looping(world: SimpleNamespace, directory: Path, monkeypatch: pytest.MonkeyPatch, *, bad: int, **train: Any) -> Any:
    """A loop that has gone to iteration 6 with saves after every 2; the microbatch with number ``bad`` is no number."""
    from trainer.runtime import batches, device, model, pulse, step
    from trainer.runtime import train as training
    from trainer.runtime.checkpoint import Checkpoints, Position

    spec = spec_of("pretrain", directory, train={**TRAIN, "iterations": 6, **train}, checkpoint={"dir": str(directory), "interval": 2})
    real, calls = step._loss_of, []

    def loss_of(mask: Any, output: Any) -> Any:
        calls.append(1)
        return real(mask, output * float("nan") if len(calls) == bad else output)

    monkeypatch.setattr(step, "_loss_of", loss_of)
    modules, optimizer = model.wrap(spec, model.bare(spec, "cpu"), "cpu")
    checkpoints = Checkpoints(str(directory), layout={})
    checkpoints.open()
    ready = device.Device(kind="cpu", name="cpu", backend="gloo")
    loop = training._Loop(spec, ready, batches.source_of(spec), modules, optimizer, checkpoints, Position(), pulse.Heartbeat(0))
    loop.reason = loop.go(training.Stop(), 0.0)  # type: ignore[attr-defined]
    return loop


def test_a_step_with_nan_is_left_out_and_counted(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    loop = looping(world, tmp_path, monkeypatch, bad=4)
    assert (loop.reason, loop.position.iteration, loop.position.consumed_samples) == ("finished", 6, 48)
    assert loop.summary.told()["skipped"] == 1
    told = capsys.readouterr().out
    assert "iteration 4 was left out: the loss is nan" in told
    assert "lm loss: NAN | loss scale: 1.0 | grad norm: nan | number of skipped iterations:   1 | number of nan iterations:   1 |" in told


def test_rolling_back_goes_on_behind_the_data_that_did_it(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    loop = looping(world, tmp_path, monkeypatch, bad=4, anomaly="roll-back")
    assert "rolled back to iteration 2; going on with sample 32" in capsys.readouterr().out
    # 4 iterations were seen, then 4 more from the second on.
    assert (loop.position.iteration, loop.position.consumed_samples) == (6, 64)


def test_a_policy_of_stopping_stops(world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainerError, match="iteration 4: training is not going well"):
        looping(world, tmp_path, monkeypatch, bad=4, anomaly="stop")
    from trainer.runtime.shelf import iterations

    assert iterations(tmp_path) == [2]
