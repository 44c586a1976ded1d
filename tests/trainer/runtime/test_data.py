"""Samples by number, and how they become batches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.trainer.spec.test_arithmetic import job
from trainer.runtime import batches
from trainer.runtime.errors import TrainerError

pytestmark = pytest.mark.torch


def test_a_synthetic_sample_is_its_number_and_the_seed() -> None:
    made = batches.Synthetic(seed=1, vocab_size=256, seq_length=32)
    again = batches.Synthetic(seed=1, vocab_size=256, seq_length=32)
    assert made.tokens(7) == again.tokens(7)
    assert made.tokens(7) != made.tokens(8)
    assert made.tokens(7) != batches.Synthetic(seed=2, vocab_size=256, seq_length=32).tokens(7)
    assert len(made.tokens(7)) == 33


def test_synthetic_samples_can_be_learnt_and_fit_the_vocabulary() -> None:
    made = batches.Synthetic(seed=1, vocab_size=8, seq_length=200)
    tokens = made.tokens(0)
    assert set(tokens) <= set(range(8))
    steps = [(b - a) % 8 for a, b in pairwise(tokens)]
    assert max(steps.count(step) for step in set(steps)) > 0.85 * len(steps)


def test_synthetic_samples_do_not_change_with_versions() -> None:
    # A checkpoint of last year goes on with the same data: these numbers are for ever.
    assert batches.Synthetic(seed=1234, vocab_size=256, seq_length=7).tokens(0) == FIRST


FIRST = [29, 0, 3, 6, 9, 12, 15, 18]


def text(tmp_path: Path, content: bytes, length: int = 4) -> batches.Text:
    path = tmp_path / "text"
    path.write_bytes(content)
    return batches.Text(seed=3, path=str(path), seq_length=length)


def test_an_epoch_of_text_is_every_window_once(tmp_path: Path) -> None:
    content = bytes(range(65, 65 + 22))
    made = text(tmp_path, content)
    first, second = ([bytes(made.tokens(sample)) for sample in range(5 * epoch, 5 * epoch + 5)] for epoch in (0, 1))
    windows = [content[start : start + 5] for start in range(0, 20, 4)]
    assert sorted(first) == sorted(second) == windows
    assert first != second
    assert bytes(made.tokens(2)) == first[2], "going back is allowed"


def test_text_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"too short \(got 4 bytes, expected more than 4\)"):
        text(tmp_path, b"abcd")
    with pytest.raises(TrainerError, match="byte 2: the text is not UTF-8"):
        text(tmp_path, b"ab\xff cd ef")
    with pytest.raises(TrainerError, match="No such file"):
        batches.Text(seed=3, path=str(tmp_path / "none"), seq_length=4)


def test_microbatches_are_the_global_batch(tmp_path: Path) -> None:
    spec = job(2, train={"iterations": 1, "global_batch_size": 8, "micro_batch_size": 2, "seq_length": 16})
    source = batches.source_of(spec)
    rows = [
        row
        for rank in (0, 1)
        for one in batches.microbatches(source, spec, consumed=8, data_parallel_rank=rank, data_parallel_size=2, device="cpu")
        for row in one["tokens"].tolist()
    ]
    assert sorted(rows) == sorted(source.tokens(sample)[:-1] for sample in range(8, 16))


def test_labels_are_the_next_tokens() -> None:
    one = batches.collate([batches.shifted([1, 2, 3, 4]), batches.shifted([5, 6, 7, 8])], "cpu")
    assert one["tokens"].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert one["labels"].tolist() == [[2, 3, 4], [6, 7, 8]]
    assert one["position_ids"].tolist() == [[0, 1, 2]] * 2
    assert one["loss_mask"].tolist() == [[1.0] * 3] * 2
    assert one["attention_mask"] is None


def test_packed_samples_do_not_look_into_each_other() -> None:
    row = {**batches.shifted([1, 2, 3, 4, 5, 6]), "cu_seqlens": [0, 2, 5]}
    mask = batches.collate([row, batches.shifted([1, 2, 3, 4, 5, 6])], "cpu")["attention_mask"]
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert mask[1, 0].tolist() == batches.causal(5).tolist()


def test_questions_carry_no_loss() -> None:
    made = batches.Instructions(seed=1, vocab_size=256, seq_length=40).sample(3)
    assert {len(made[name]) for name in ("tokens", "labels", "loss_mask", "position_ids")} == {40}
    assert made["cu_seqlens"] == [0, 13, 26, 39, 40]
    question, answer = made["tokens"][:7], made["labels"][6:13]
    assert question[-1] == 0
    assert answer == [(token - 2 + 7) % 30 + 2 for token in question[:-1]] + [1]
    assert made["loss_mask"][:13] == [0.0] * 6 + [1.0] * 7
    assert made["position_ids"][:14] == [*range(13), 0]


def test_context_parallel_ranks_hold_every_place_once() -> None:
    whole = batches.collate([batches.shifted(list(range(9)))], "cpu")
    parts = [batches.own_part(whole, rank=rank, parts=2) for rank in (0, 1)]
    assert [part["tokens"].tolist() for part in parts] == [[[0, 1, 6, 7]], [[2, 3, 4, 5]]]
    assert parts[0]["attention_mask"][0, 0].sum(-1).tolist() == [1, 2, 7, 8], "keys stay whole"
    assert batches.own_part(whole, rank=0, parts=1) is whole
