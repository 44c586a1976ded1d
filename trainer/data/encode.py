"""One record to token ids, the same in this process and in a worker. Workers are given batches and keep no state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.data import handlers
from trainer.data.packing import IGNORED, Encoded
from trainer.data.readers import Broken, Record
from trainer.data.refusal import DataError
from trainer.data.templates import TEMPLATES
from trainer.data.tokenizer import Tokenizer, open_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How records become token ids."""

    handler: str = handlers.PRETRAIN
    tokenizer_type: str = "PretrainedFromHF"
    tokenizer: str = ""
    json_keys: tuple[str, ...] = ("text",)
    """Of GeneralPretrainHandler: each makes a data set of its own."""
    map_keys: Mapping[str, str] = field(default_factory=dict)
    prompt_type: str = "alpaca"
    append_eod: bool = False
    pretokenized: bool = False
    vocab_size: int = 0
    """Greatest id allowed in pretokenized records, plus one; 0: not known."""
    seq_length: int = 0
    """Conversations are cut to this; 0: they are not."""


@dataclass(slots=True)
class Result:
    """What became of a batch, in its order."""

    texts: list[dict[str, list[int]]] = field(default_factory=list)
    """Pretraining: ids by JSON key."""
    conversations: list[Encoded] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    """Place and reason."""
    cut: int = 0
    """Conversations that were longer than a sequence."""


class Encoder:
    """Encodes batches."""

    def __init__(self, encoding: Encoding) -> None:
        """Raises DataError for a tokenizer that cannot be used, or lacks an end where one is wanted."""
        self._encoding = encoding
        self.tokenizer: Tokenizer | None = None
        if not encoding.pretokenized:
            self.tokenizer = open_tokenizer(encoding.tokenizer_type, encoding.tokenizer)
            if encoding.append_eod and self.tokenizer.eod is None:
                raise DataError("the tokenizer names no end of text", where=encoding.tokenizer, got="no eos_token", expected="one in tokenizer_config.json", fix="Name one there, or leave --append-eod away")
        self._settings = handlers.Settings(template=TEMPLATES[encoding.prompt_type], keys=encoding.map_keys)

    def batch(self, records: list[Record]) -> Result:
        """The batch encoded; broken records are listed, not raised."""
        result = Result()
        for place, record in records:
            try:
                if isinstance(record, Broken):
                    raise handlers.Unfit(record.why)
                if self._encoding.handler == handlers.PRETRAIN:
                    result.texts.append({key: self._text(record, key) for key in self._encoding.json_keys})
                else:
                    result.conversations.append(self._conversation(record, result))
            except handlers.Unfit as error:
                result.broken.append((str(place), str(error)))
        return result

    def _text(self, record: Mapping[str, Any], key: str) -> list[int]:
        if self.tokenizer is None:
            return handlers.token_ids(record, key, self._encoding.vocab_size)
        ids = self.tokenizer.encode(handlers.plain_text(record, key))
        if not ids:
            raise handlers.Unfit(f"the text under {key!r} has no tokens")
        if self._encoding.append_eod:
            assert self.tokenizer.eod is not None
            ids.append(self.tokenizer.eod)
        return ids

    def _conversation(self, record: Mapping[str, Any], result: Result) -> Encoded:
        assert self.tokenizer is not None
        ids: list[int] = []
        labels: list[int] = []
        for turn in handlers.INSTRUCTION[self._encoding.handler](record, self._settings):
            # By turns, so that no token belongs to a question and an answer at once.
            piece = self.tokenizer.encode(turn.text) if turn.text else []
            if turn.ends and self.tokenizer.eod is not None:
                piece.append(self.tokenizer.eod)
            ids += piece
            labels += piece if turn.learnt else [IGNORED] * len(piece)
        limit = self._encoding.seq_length
        if limit and len(ids) > limit:
            result.cut += 1
            ids, labels = ids[:limit], labels[:limit]
        # The first token has nothing before it to be told from.
        if all(label == IGNORED for label in labels[1:]):
            raise handlers.Unfit(f"nothing of an answer is within {limit} tokens" if limit else "there is no answer to learn")
        return ids, labels


_encoder: Encoder | None = None


def prepare_worker(encoding: Encoding) -> None:
    """First thing in a worker process."""
    global _encoder
    # A worker is one of several; the library's own threads would only get in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _encoder = Encoder(encoding)


def encode_in_worker(records: list[Record]) -> Result:
    """``Encoder.batch`` of this worker."""
    assert _encoder is not None
    return _encoder.batch(records)
