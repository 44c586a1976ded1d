"""What is trained on: samples by number. The same number is the same sample on every rank and world.

A source gives sample *n*; nothing is iterated, so there is no position to save or to lose but the count
of consumed samples. ``trainer.spec.batch`` says which numbers a rank's microbatch holds. A sample is a
mapping of equally long sequences: tokens, labels, loss_mask (1 where a token counts), position_ids, and for
samples that are packed of several, cu_seqlens: where each begins, and the end of the last.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
from collections.abc import Iterable, Iterator, Mapping
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


PREPARED = "trainer.data.samples"
"""Has ``open_dataset(spec) -> Source`` for prepared data; it raises ValueError for what it cannot open."""


class Source(Protocol):
    """Where samples come from."""

    def __len__(self) -> int:
        """Samples of one epoch; 0: it has no end. Sample n is sample n modulo this."""

    def sample(self, number: int) -> Mapping[str, Any]:
        """tokens, labels, loss_mask, position_ids, each of seq_length; packed samples: cu_seqlens."""


class _Tokens:
    """A source whose samples are runs of tokens, each the label of the one before."""

    def tokens(self, sample: int) -> list[int]:
        raise NotImplementedError

    def __len__(self) -> int:
        return 0

    def sample(self, number: int) -> Mapping[str, Any]:
        return shifted(self.tokens(number))


class Synthetic(_Tokens):
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


class Text(_Tokens):
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

    @property
    def samples_per_epoch(self) -> int:
        return self._windows

    def tokens(self, sample: int) -> list[int]:
        epoch, place = divmod(sample, self._windows)
        if epoch != self._epoch:
            self._order = list(range(self._windows))
            random.Random(f"{self._seed}/{epoch}").shuffle(self._order)
            self._epoch = epoch
        start = self._order[place] * self._length
        return list(self._bytes[start : start + self._length + 1])


class Instructions:
    """Made-up questions and answers, packed: the answer is the question's tokens, each shifted by SHIFT.

    Token 0 parts question and answer, token 1 ends the answer; only answer and end carry loss.
    """

    SHIFT = 7
    LENGTH = 6

    def __init__(self, *, seed: int, vocab_size: int, seq_length: int) -> None:
        self._seed, self._length = seed, seq_length
        self._period = min(PERIOD, vocab_size) - 2

    def __len__(self) -> int:
        return 0

    def pair(self, chance: random.Random) -> tuple[list[int], list[int]]:
        """Token ids of a question and its answer, the marks included."""
        question = [chance.randrange(self._period) for _ in range(self.LENGTH)]
        answer = [(token + self.SHIFT) % self._period + 2 for token in question]
        return [token + 2 for token in question] + [0], [*answer, 1]

    def sample(self, number: int) -> Mapping[str, Any]:
        chance = random.Random(f"{self._seed}/{number}")
        tokens: list[int] = []
        labels: list[int] = []
        mask: list[float] = []
        positions: list[int] = []
        bounds = [0]
        while len(tokens) < self._length:
            question, answer = self.pair(chance)
            whole = question + answer
            tokens += whole[:-1]
            labels += whole[1:]
            mask += [0.0] * (len(question) - 1) + [1.0] * len(answer)
            positions += range(len(whole) - 1)
            bounds.append(min(len(tokens), self._length))
        end = self._length
        return {"tokens": tokens[:end], "labels": labels[:end], "loss_mask": mask[:end], "position_ids": positions[:end], "cu_seqlens": bounds}


def source_of(spec: JobSpec) -> Source:
    """The job's source. Raises TrainerError for data that cannot be used."""
    if spec.data.format == "text":
        return Text(seed=spec.run.seed, path=spec.data.prefix, seq_length=spec.train.seq_length)
    if spec.data.format == "megatron-bin":
        return _prepared(spec)
    synthetic: Any = Instructions if spec.run.mode in ("sft", "lora") else Synthetic
    made: Source = synthetic(seed=spec.run.seed, vocab_size=spec.model.vocab_size, seq_length=spec.train.seq_length)
    return made


def _prepared(spec: JobSpec) -> Source:
    if importlib.util.find_spec(PREPARED) is None:
        raise TrainerError("prepared data cannot be read by this build", where="data.format", got=spec.data.format, expected="synthetic or text", fix="Install the trainer's data part")
    try:
        opened: Source = importlib.import_module(PREPARED).open_dataset(spec)
    except (OSError, ValueError) as error:
        if what := getattr(error, "what", ""):
            # The data part's own refusal tells all there is to tell.
            raise TrainerError(what, **{name: getattr(error, name) for name in ("where", "got", "expected", "fix")}) from error
        raise TrainerError("the data cannot be used", where=spec.data.prefix, got=str(error), fix="Check data.prefix on every node, or prepare the data anew") from error
    return opened


def microbatches(
    source: Source, spec: JobSpec, *, consumed: int, data_parallel_rank: int, data_parallel_size: int, device: str,
    context_parallel_rank: int = 0,
) -> Iterator[dict[str, Any]]:
    """This rank's microbatches of the iteration that starts after ``consumed`` samples, in order."""
    length, parts = len(source), spec.parallel.context_parallel_size
    for microbatch in range(spec.train.global_batch_size // (spec.train.micro_batch_size * data_parallel_size)):
        numbers = batch.sample_indices(
            consumed=consumed, microbatch=microbatch, micro_batch_size=spec.train.micro_batch_size,
            data_parallel_rank=data_parallel_rank, data_parallel_size=data_parallel_size,
        )
        made = collate((source.sample(number % length if length else number) for number in numbers), "cpu")
        yield {name: tensor if tensor is None else tensor.to(device) for name, tensor in own_part(made, rank=context_parallel_rank, parts=parts).items()}


def shifted(tokens: list[int]) -> Mapping[str, Any]:
    """The sample in which every token is the label of the one before."""
    length = len(tokens) - 1
    return {"tokens": tokens[:-1], "labels": tokens[1:], "loss_mask": [1.0] * length, "position_ids": range(length)}


def collate(samples: Iterable[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """tokens, labels, position_ids (int64), loss_mask (fp32), each [batch, seq]; attention_mask.

    attention_mask is None for samples that are one sequence each (causal attention over all of it), else
    bool [batch, 1, seq, seq], true where a query may look at a key: not ahead, nor into another sequence.
    """
    rows = list(samples)
    made: dict[str, Any] = {
        name: _stack(rows, name, torch.float32 if name == "loss_mask" else torch.int64).to(device)
        for name in ("tokens", "labels", "position_ids", "loss_mask")
    }
    made["attention_mask"] = None
    if any("cu_seqlens" in row for row in rows):
        length = made["tokens"].shape[1]
        segments = torch.stack([_segments(row.get("cu_seqlens", (0, length)), length) for row in rows])
        same = segments[:, None, :, None] == segments[:, None, None, :]
        made["attention_mask"] = (same & causal(length)).to(device)
    return made


def causal(length: int) -> torch.Tensor:
    """bool [seq, seq], true at and below the diagonal."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def own_part(made: dict[str, Any], *, rank: int, parts: int) -> dict[str, Any]:
    """What one of ``parts`` context-parallel ranks has of a batch: two pieces of the sequence, one from each
    end, as megatron-core deals them so that causal attention is as much work for all. Keys stay whole."""
    if parts == 1:
        return made
    length = made["tokens"].shape[1]
    own = places(length, rank=rank, parts=parts)
    mask = made["attention_mask"]
    mask = causal(length)[None, None] if mask is None else mask
    return {**{name: made[name][:, own].contiguous() for name in ("tokens", "labels", "position_ids", "loss_mask")}, "attention_mask": mask[:, :, own].contiguous()}


def places(length: int, *, rank: int, parts: int) -> torch.Tensor:
    """The places in the sequence that a context-parallel rank holds."""
    pieces = torch.arange(length).chunk(2 * parts)
    return torch.cat([pieces[rank], pieces[2 * parts - 1 - rank]])


def _stack(rows: list[Mapping[str, Any]], name: str, dtype: torch.dtype) -> torch.Tensor:
    return torch.stack([torch.as_tensor(list(row[name]) if isinstance(row[name], range) else row[name]).to(dtype) for row in rows])


def _segments(bounds: Any, length: int) -> torch.Tensor:
    marks = torch.zeros(length, dtype=torch.int64)
    for start in list(bounds)[1:]:
        if int(start) < length:
            marks[int(start)] += 1
    return marks.cumsum(0)
