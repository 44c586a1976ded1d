"""Prepared data as the trainer takes it: sample n of a job, the same for every rank, world and Python.

Pretraining data (one pair, ``..._text_document``) is one run of tokens cut into windows of the job's sequence
length, each window once an epoch, in an order of its own every epoch. Instruction data (three pairs,
``..._packed_*_document``) is a pack a sample, in a new order every epoch as well; a token's label is the next
token of its own conversation, if that is to be learnt. Nothing is remembered between samples: resuming needs
the count of consumed samples alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.data.index import Reader
from trainer.data.order import Shuffled
from trainer.data.packing import IGNORED
from trainer.data.preprocess import PACKED, note_of
from trainer.data.refusal import DataError
from trainer.spec.job import JobSpec


def open_dataset(spec: JobSpec, prefix: str = "") -> Windows | Packs:
    """The data of a job, from ``data.prefix`` unless another is named. Raises DataError, a ValueError.

    A prefix may be that of preprocessing or the full one of a pair; packed data is taken where it is there
    and the mode is sft or lora, or where there is nothing else.
    """
    prefix = str(Path(prefix or spec.data.prefix).expanduser())
    note = note_of(prefix)
    greatest = note.get("greatest_id", -1)
    if isinstance(greatest, int) and greatest >= spec.model.vocab_size:
        raise DataError("the data has token ids that the model has not", where=prefix, got=f"id {greatest}", expected=f"below model.vocab_size = {spec.model.vocab_size}", fix="Set model.vocab_size to that of the tokenizer, or preprocess with the model's own tokenizer")
    text = next((one for one in (prefix, f"{prefix}_{spec.data.json_key}_document") if Path(f"{one}.idx").is_file()), "")
    packed = Path(f"{prefix}_packed_{PACKED[0]}_document.idx").is_file()
    if packed and (spec.run.mode in ("sft", "lora") or not text):
        return Packs(prefix, seq_length=spec.train.seq_length, seed=spec.run.seed)
    return Windows(text or prefix, seq_length=spec.train.seq_length, seed=spec.run.seed)


class _Epochs:
    """The order of samples over epochs."""

    def __init__(self, count: int, seed: int, prefix: str) -> None:
        self._count, self._key = count, f"{seed}/{Path(prefix).name}"
        self._epoch, self._order = 0, Shuffled(count, f"{self._key}/0")

    def __len__(self) -> int:
        return self._count

    def of(self, number: int) -> int:
        epoch, place = divmod(number, self._count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, Shuffled(self._count, f"{self._key}/{epoch}")
        return self._order.of(place)


class Windows:
    """Pretraining samples."""

    def __init__(self, prefix: str, *, seq_length: int, seed: int) -> None:
        self._data, self._length = Reader(prefix), seq_length
        if not self._data.in_one_run:
            raise DataError("the sequences do not lie one behind another", where=f"{prefix}.idx", got="gaps", expected="what preprocess writes", fix="Preprocess the data anew")
        count = (self._data.tokens - 1) // seq_length
        if count < 1:
            raise DataError("the data is too short", where=prefix, got=f"{self._data.tokens} tokens", expected=f"more than train.seq_length = {seq_length}", fix="Prepare more, or train with shorter sequences")
        self._order = _Epochs(count, seed, prefix)

    def __len__(self) -> int:
        """0: samples have no end; every epoch has its own order."""
        return 0

    @property
    def samples_per_epoch(self) -> int:
        return len(self._order)

    def sample(self, number: int) -> Mapping[str, Any]:
        """Sample ``number``, counted over all epochs."""
        ids = self._data.run(self._order.of(number) * self._length, self._length + 1)
        return {"tokens": ids[:-1], "labels": ids[1:], "loss_mask": [1.0] * self._length, "position_ids": range(self._length)}


class Packs:
    """Instruction samples."""

    def __init__(self, prefix: str, *, seq_length: int, seed: int) -> None:
        self._parts = [Reader(f"{prefix}_packed_{name}_document") for name in PACKED]
        self._length = seq_length
        ids, labels, mask = self._parts
        if not (list(ids.lengths) == list(labels.lengths) == list(mask.lengths)):
            raise DataError("the three files are not of one making", where=f"{prefix}_packed_*_document", got="sequences of other lengths", expected="alike ones", fix="Preprocess the data anew")
        longest = max(ids.lengths, default=0)
        if not longest or longest > seq_length:
            raise DataError("the packs do not fit into a sequence" if longest else "there is no pack", where=prefix, got=f"{longest} tokens", expected=f"at most train.seq_length = {seq_length}", fix="Preprocess with that --seq-length, or train with the data's")
        self._order = _Epochs(len(ids), seed, prefix)

    def __len__(self) -> int:
        """0: samples have no end; every epoch has its own order."""
        return 0

    @property
    def samples_per_epoch(self) -> int:
        return len(self._order)

    def sample(self, number: int) -> Mapping[str, Any]:
        """Sample ``number``; behind its conversations a sequence is filled up with 0, without loss."""
        ids, labels, segments = (part.sequence(self._order.of(number)) for part in self._parts)
        fill = self._length - len(ids)
        bounds = [0, *(at for at in range(1, len(segments)) if segments[at] != segments[at - 1]), len(ids)]
        # Foreign packs have a mask of ones: then the whole sequence is one conversation.
        ends = set(bounds[1:])
        # The label of a conversation's last token would be the next conversation's first.
        following = [labels[at + 1] if at + 1 not in ends else IGNORED for at in range(len(ids))]
        positions = [at - start for start, end in itertools.pairwise(bounds) for at in range(start, end)]
        return {
            "tokens": ids + [0] * fill,
            "labels": [0 if label == IGNORED else label for label in following] + [0] * fill,
            "loss_mask": [0.0 if label == IGNORED else 1.0 for label in following] + [0.0] * fill,
            "position_ids": positions + list(range(fill)),
            "cu_seqlens": [*bounds, self._length] if fill else bounds,
        }
