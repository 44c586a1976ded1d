"""Samples of prepared data: each once an epoch, conversations apart, unusable data refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.spec.test_arithmetic import job
from trainer.data.index import Reader, Writer
from trainer.data.order import Shuffled
from trainer.data.refusal import DataError
from trainer.data.samples import open_dataset


def spec(prefix: Path, *, mode: str = "pretrain", seq_length: int = 8, vocab_size: int = 256) -> Any:
    made = job(1, 1, train={"iterations": 1, "seq_length": seq_length}, data={"format": "megatron-bin", "prefix": str(prefix)}, model={"vocab_size": vocab_size})
    return dataclasses.replace(made, run=dataclasses.replace(made.run, mode=mode))


def text(prefix: Path, *documents: list[int]) -> Path:
    with Writer(f"{prefix}_text_document", "uint16") as writer:
        for document in documents:
            writer.sequence(document)
            writer.end_document()
    return prefix


def packs(prefix: Path, *rows: tuple[list[int], list[int], list[int]]) -> Path:
    for at, name in enumerate(("input_ids", "labels", "attention_mask")):
        with Writer(f"{prefix}_packed_{name}_document", "int32") as writer:
            for row in rows:
                writer.sequence(row[at])
                writer.end_document()
    return prefix


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 1000])
def test_an_order_is_a_permutation(count: int) -> None:
    order = Shuffled(count, "key")
    found = [order.of(number) for number in range(count)]
    assert sorted(found) == list(range(count))
    if count > 10:
        assert found != sorted(found)
        assert found != [Shuffled(count, "other").of(number) for number in range(count)]


def test_every_window_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    source = open_dataset(spec(text(tmp_path / "d", list(range(50)), list(range(50, 101)))))
    assert len(source) == 0 and source.samples_per_epoch == 12
    epochs = [[source.sample(epoch * 12 + n) for n in range(12)] for epoch in range(2)]
    for epoch in epochs:
        assert sorted(tuple(sample["tokens"]) for sample in epoch) == [tuple(range(n * 8, n * 8 + 8)) for n in range(12)]
        for sample in epoch:
            assert sample["labels"] == [token + 1 for token in sample["tokens"]]
    assert epochs[0] != epochs[1]
    again = open_dataset(spec(tmp_path / "d_text_document"))
    assert again.sample(17) == epochs[1][5], "a sample depends on its number alone"


def test_a_label_is_the_next_token_of_the_same_conversation(tmp_path: Path) -> None:
    prefix = packs(tmp_path / "d", ([11, 12, 13, 21, 22], [-100, 12, 13, 21, 22], [1, 1, 1, 2, 2]))
    sample = open_dataset(spec(prefix, mode="sft")).sample(0)
    assert sample["tokens"] == [11, 12, 13, 21, 22, 0, 0, 0]
    assert sample["loss_mask"] == [1, 1, 0, 1, 0, 0, 0, 0]
    assert [label for label, counts in zip(sample["labels"], sample["loss_mask"], strict=True) if counts] == [12, 13, 22]
    assert sample["position_ids"] == [0, 1, 2, 0, 1, 0, 1, 2]
    assert sample["cu_seqlens"] == [0, 3, 5, 8]


def test_packs_with_a_mask_of_ones_are_one_conversation(tmp_path: Path) -> None:
    sample = open_dataset(spec(packs(tmp_path / "d", ([1] * 8, [1] * 8, [1] * 8)), mode="sft")).sample(5)
    assert sample["cu_seqlens"] == [0, 8] and sample["loss_mask"] == [1.0] * 7 + [0.0]


def test_the_mode_decides_between_two_kinds(tmp_path: Path) -> None:
    packs(text(tmp_path / "d", list(range(50))), ([1, 2], [-100, 2], [1, 1]))
    assert "cu_seqlens" in open_dataset(spec(tmp_path / "d", mode="lora")).sample(0)
    assert "cu_seqlens" not in open_dataset(spec(tmp_path / "d")).sample(0)


@pytest.mark.parametrize(("what", "told"), [
    ("nothing", "make one with: python -m trainer preprocess"), ("short", "the data is too short"), ("long packs", "the packs do not fit"),
    ("cut index", "the index is not whole"), ("cut bin", "the .bin is shorter"), ("other magic", "no index of Megatron's"), ("ids", "token ids that the model has not")])
def test_unusable_data_is_refused(what: str, told: str, tmp_path: Path) -> None:
    prefix = tmp_path / "d"
    made = spec(prefix, mode="sft" if "packs" in what else "pretrain")
    if what == "long packs":
        packs(prefix, ([1] * 9, [1] * 9, [1] * 9))
    elif what != "nothing":
        text(prefix, list(range(8 if what == "short" else 60)))
    index, data = (tmp_path / f"d_text_document{suffix}" for suffix in (".idx", ".bin"))
    if what == "cut index":
        index.write_bytes(index.read_bytes()[:-3])
    elif what == "cut bin":
        data.write_bytes(data.read_bytes()[:-1])
    elif what == "other magic":
        index.write_bytes(b"X" + index.read_bytes()[1:])
    elif what == "ids":
        (tmp_path / "d_preprocess.json").write_text(json.dumps({"greatest_id": 256, "files": ["d_text_document"]}))
    with pytest.raises(DataError, match=told):
        open_dataset(made)


def test_the_note_of_other_data_is_not_heeded(tmp_path: Path) -> None:
    (tmp_path / "d_preprocess.json").write_text(json.dumps({"greatest_id": 999, "files": ["d_text_document"]}))
    text(tmp_path / "d_zh", list(range(60)))
    assert open_dataset(spec(tmp_path / "d_zh")).samples_per_epoch == 7


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Writer(str(tmp_path / "d"), "uint16") as writer:
        writer.sequence([1])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    with Writer(str(tmp_path / "e"), "uint16") as writer:
        pass
    assert len(Reader(str(tmp_path / "e"))) == 0
