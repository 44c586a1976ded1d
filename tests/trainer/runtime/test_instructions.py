"""Instructions from a file to what was learnt of them: prepared, packed, trained on until they are known by heart."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("megatron.core")

from tests.trainer.spec.test_arithmetic import job
from trainer.__main__ import main

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

TARGET = 0.1
"""Nats a token of an answer; a byte of these that is guessed costs ln(10) = 2.3."""


def test_a_tiny_instruction_set_reaches_its_target_loss(world: SimpleNamespace, tmp_path: Path) -> None:
    from trainer.runtime import batches, model
    from trainer.runtime.step import Step

    chance = random.Random(3)
    records = [{"instruction": f"code of {chr(97 + n)}", "input": "", "output": str(chance.randrange(1000, 10000))} for n in range(8)]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main([
        "preprocess", "--input", str(tmp_path / "set.jsonl"), "--output-prefix", str(tmp_path / "set"), "--tokenizer-type", "Byte",
        "--handler-name", "GeneralInstructionHandler", "--prompt-type", "plain", "--seq-length", "64"]) == 0
    spec = job(
        1, 1, run={"name": "set", "mode": "sft"}, data={"format": "megatron-bin", "prefix": str(tmp_path / "set")},
        train={"iterations": 60, "global_batch_size": 4, "micro_batch_size": 4, "seq_length": 64, "learning_rate": 5e-3, "min_learning_rate": 1e-3})
    source: Any = batches.source_of(spec)
    masks = [[float(number) for number in source.sample(pack)["loss_mask"]] for pack in range(source.samples_per_epoch)]
    # Of each record the four digits and the mark that ends them; the last of a pack may be cut.
    assert 0.0 < sum(map(sum, masks)) <= 8 * 5.0, "questions carry no loss"
    modules, optimizer = model.wrap(spec, model.bare(spec, "cpu"), "cpu")
    step = Step(spec, "cpu", source, modules, optimizer)
    losses = [step(n + 1, 4 * n, judge=lambda loss, norm: "").loss for n in range(spec.train.iterations)]
    assert losses[0] > 5.0
    assert losses[-1] < TARGET, losses[::10]
