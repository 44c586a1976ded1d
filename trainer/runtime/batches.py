"""What is trained on: samples by number. The same number is the same sample on every rank and world.

A source gives the tokens of sample *n*; nothing is iterated, so there is no position to save or to lose
but the count of consumed samples. ``trainer.spec.batch`` says which numbers a rank's microbatch holds.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from trainer.runtime.errors import TrainerError
from trainer.spec import batch
from trainer.spec.job import JobSpec

PERIOD = 32
"""Token ids that synthetic samples use, from 0: fewer than the vocabulary, which is the first thing learnt."""

STRIDES = (1, 3, 5)
"""Steps of the synthetic progressions: told apart after two tokens, so most of a sample can be learnt."""

NOISE = 0.02
"""Share of synthetic tokens that nothing foretells, so that a loss has a floor as on real data."""


class Source(Protocol):
    """Where samples come from."""

    def tokens(self, sample: int) -> list[int]:
        """``seq_length`` + 1 token ids of a sample."""


class Synthetic:
    """Arithmetic progressions modulo a period, with a little noise: learnt within tens of steps."""

    def __init__(self, *, seed: int, vocab_size: int, seq_length: int) -> None:
        self._seed, self._period, self._length = seed, min(PERIOD, vocab_size), seq_length + 1

    def tokens(self, sample: int) -> list[int]:
        # Python's own generator: its sequence does not change with torch.
        chance = random.Random(f"{self._seed}/{sample}")
        start, stride = chance.randrange(self._period), chance.choice(STRIDES)
        return [
            chance.randrange(self._period) if chance.random() < NOISE else (start + stride * place) % self._period
            for place in range(self._length)
        ]


class Text:
    """The bytes of one UTF-8 file in windows of ``seq_length`` + 1, each once an epoch, shuffled by the seed."""

    def __init__(self, *, seed: int, path: str, seq_length: int) -> None:
        self._seed, self._length = seed, seq_length
        try:
            self._bytes = Path(path).expanduser().read_bytes()
            self._bytes.decode("utf-8")
        except OSError as error:
            raise TrainerError("the text cannot be read", where=path, got=error.strerror or str(error), expected="a readable file", fix="Check data.prefix on every node") from error
        except UnicodeDecodeError as error:
            raise TrainerError("the text is not UTF-8", where=f"{path}, byte {error.start}", got=error.reason, expected="UTF-8", fix="Convert it first (iconv)") from error
        self._windows = (len(self._bytes) - 1) // seq_length
        if self._windows < 1:
            raise TrainerError("the text is too short", where=path, got=f"{len(self._bytes)} bytes", expected=f"more than {seq_length}", fix="Use a longer text or a shorter train.seq_length")
        self._epoch, self._order = -1, [0]

    def tokens(self, sample: int) -> list[int]:
        epoch, place = divmod(sample, self._windows)
        if epoch != self._epoch:
            self._order = list(range(self._windows))
            random.Random(f"{self._seed}/{epoch}").shuffle(self._order)
            self._epoch = epoch
        start = self._order[place] * self._length
        return list(self._bytes[start : start + self._length + 1])


def source_of(spec: JobSpec) -> Source:
    """The job's source. Raises TrainerError for a text that cannot be used."""
    if spec.data.format == "text":
        return Text(seed=spec.run.seed, path=spec.data.prefix, seq_length=spec.train.seq_length)
    return Synthetic(seed=spec.run.seed, vocab_size=spec.model.vocab_size, seq_length=spec.train.seq_length)


def microbatches(
    source: Source, spec: JobSpec, *, consumed: int, data_parallel_rank: int, data_parallel_size: int, device: str
) -> Iterator[dict[str, Any]]:
    """This rank's microbatches of the iteration that starts after ``consumed`` samples, in order."""
    for microbatch in range(spec.train.global_batch_size // (spec.train.micro_batch_size * data_parallel_size)):
        samples = batch.sample_indices(
            consumed=consumed, microbatch=microbatch, micro_batch_size=spec.train.micro_batch_size,
            data_parallel_rank=data_parallel_rank, data_parallel_size=data_parallel_size,
        )
        yield collate((source.tokens(sample) for sample in samples), device)


def collate(samples: Iterable[list[int]], device: str) -> dict[str, Any]:
    """tokens, labels, position_ids (int64) and loss_mask (fp32), each [batch, seq], on the device."""
    rows = torch.tensor(list(samples), dtype=torch.int64)
    tokens, labels = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    positions = torch.arange(tokens.shape[1]).expand_as(tokens).contiguous()
    made = {"tokens": tokens, "labels": labels, "position_ids": positions, "loss_mask": torch.ones(tokens.shape)}
    return {name: tensor.to(device) for name, tensor in made.items()}
