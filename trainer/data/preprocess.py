"""Raw samples to indexed files: read, encode in workers, write in the order of the input.

What comes out depends on the input and the settings alone, not on the number of workers: batches are of fixed
size and are written in the order in which they were read. Only so many batches are on their way at a time, so
memory does not grow with the input. Beside the files a note is left (``PREFIX_preprocess.json``) of how they
were made; the trainer checks its job against it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from trainer.data import handlers, index, readers
from trainer.data.encode import Encoder, Encoding, Result, encode_in_worker, prepare_worker
from trainer.data.packing import Pack, Packer
from trainer.data.progress import Progress
from trainer.data.readers import Record
from trainer.data.refusal import DataError

BATCH = 256
"""Records a worker is given at once."""

AHEAD = 4
"""Batches on their way for each worker."""

PACKED = ("input_ids", "labels", "attention_mask")
NOTE_SUFFIX = "_preprocess.json"
BROKEN_KEPT = 20
"""Broken records that the note and the last lines name; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to make of what."""

    inputs: tuple[str, ...]
    output_prefix: str
    encoding: Encoding
    workers: int = 1
    on_error: Literal["refuse", "skip"] = "refuse"
    log_interval: int = 1000
    make_vocab_size_divisible_by: int = 1
    overwrite: bool = False


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was made, as the note has it."""

    version: int = 1
    files: list[str] = field(default_factory=list)
    """Prefixes of the .bin/.idx pairs."""
    documents: int = 0
    sequences: int = 0
    tokens: int = 0
    greatest_id: int = -1
    vocab_size: int = 0
    """The tokenizer's; 0: not known."""
    padded_vocab_size: int = 0
    broken: int = 0
    broken_examples: list[str] = field(default_factory=list)
    cut: int = 0
    """Conversations cut to the length of a sequence."""
    encoding: dict[str, Any] = field(default_factory=dict)


def run(settings: Settings, *, progress_to: IO[str] | None = None) -> Outcome:
    """Make the files. Raises DataError; nothing is left under the output's names then.

    ``on_error`` refuse: the first broken record ends it, told with file and line; skip: they are counted.
    """
    encoding = settings.encoding
    _checked(settings)
    encoder = Encoder(encoding)
    outcome = Outcome(vocab_size=encoder.tokenizer.vocab_size if encoder.tokenizer else encoding.vocab_size, encoding=asdict(encoding))
    multiple = settings.make_vocab_size_divisible_by
    outcome.padded_vocab_size = -(-outcome.vocab_size // multiple) * multiple
    files = readers.inputs(list(settings.inputs))
    progress = Progress(sum(file.stat().st_size for file in files), progress_to or sys.stderr, every=settings.log_interval)

    def source() -> Iterator[Record]:
        for file in files:
            yield from readers.records(file, told=progress.read)

    prefixes = {name: f"{Path(settings.output_prefix).expanduser()}_{name}_document" for name in outputs(encoding)}
    outcome.files = [str(prefix) for prefix in prefixes.values()]
    _free(prefixes, settings.overwrite)
    with ExitStack() as stack:
        numbers = index.number_type(outcome.vocab_size) if outcome.vocab_size else "int32"
        # Labels have IGNORED among them, and three files of one type are easier to live with.
        writers = {name: stack.enter_context(index.Writer(prefix, numbers if encoding.handler == handlers.PRETRAIN else "int32")) for name, prefix in prefixes.items()}
        writing = _Writing(writers, outcome, encoding)
        for result, count in _encoded(source(), encoder, encoding, settings.workers):
            _broken(result, settings, outcome)
            writing.add(result)
            progress.done(count)
        writing.end()
        if not outcome.sequences:
            raise DataError("no record could be used", where=", ".join(settings.inputs), got=f"{outcome.broken} broken records" if outcome.broken else "no records", expected="at least one", fix="Check --input, --handler-name and --json-keys")
        # Only what is whole gets its names, and the note says so of it: it comes before them.
        _note(settings.output_prefix, outcome)
    progress.end()
    return outcome


def outputs(encoding: Encoding) -> tuple[str, ...]:
    """The middles of the files' names, between the prefix and ``_document``."""
    if encoding.handler == handlers.PRETRAIN:
        return encoding.json_keys
    return tuple(f"packed_{name}" for name in PACKED)


def note_of(prefix: str) -> Mapping[str, Any]:
    """The note of data by its prefix (with or without ``_text_document`` and the like); empty when there is none."""
    whole = Path(prefix).expanduser()
    words = whole.name.split("_")
    for count in range(len(words), 0, -1):
        try:
            found = json.loads(whole.with_name("_".join(words[:count]) + NOTE_SUFFIX).read_text("utf-8"))
            # alpaca_zh_text_document is none of what the note of alpaca is about.
            if count == len(words) or whole.name in {Path(one).name for one in found["files"]}:
                return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


class _Writing:
    """Puts encoded batches into the files."""

    def __init__(self, writers: Mapping[str, index.Writer], outcome: Outcome, encoding: Encoding) -> None:
        self._writers, self._outcome = writers, outcome
        self._packer = Packer(encoding.seq_length)

    def add(self, result: Result) -> None:
        for texts in result.texts:
            self._outcome.documents += 1
            for key, ids in texts.items():
                self._put(key, ids)
                self._count(ids)
        for encoded in result.conversations:
            self._outcome.documents += 1
            for pack in self._packer.add(encoded):
                self._pack(pack)
        self._outcome.cut += result.cut

    def end(self) -> None:
        for pack in self._packer.rest():
            self._pack(pack)

    def _pack(self, pack: Pack) -> None:
        for name in PACKED:
            self._put(f"packed_{name}", getattr(pack, name))
        self._count(pack.input_ids)

    def _put(self, name: str, values: list[int]) -> None:
        try:
            self._writers[name].sequence(values)
        except OverflowError as error:
            raise DataError("a token id is too great for the files", got=str(max(values)), expected="an id below the tokenizer's vocabulary", fix="Check the tokenizer's files") from error
        self._writers[name].end_document()

    def _count(self, ids: list[int]) -> None:
        outcome = self._outcome
        outcome.sequences, outcome.tokens, outcome.greatest_id = outcome.sequences + 1, outcome.tokens + len(ids), max(outcome.greatest_id, max(ids))


def _encoded(source: Iterator[Record], encoder: Encoder, encoding: Encoding, workers: int) -> Iterator[tuple[Result, int]]:
    """Encoded batches in the order of the source, and how many records each was of."""
    if workers <= 1:
        for batch in _batches(source):
            yield encoder.batch(batch), len(batch)
        return
    waiting: deque[tuple[Future[Result], int]] = deque()
    # Spawned, not forked: pyarrow and tokenizers have threads of their own, which a fork would cut off.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=prepare_worker, initargs=(encoding,)) as pool:
        try:
            for batch in _batches(source):
                waiting.append((pool.submit(encode_in_worker, batch), len(batch)))
                if len(waiting) >= workers * AHEAD:
                    future, count = waiting.popleft()
                    yield future.result(), count
            while waiting:
                future, count = waiting.popleft()
                yield future.result(), count
        except BrokenProcessPool as error:
            raise DataError("a worker process was lost", got=str(error), fix="Look for the out-of-memory killer (dmesg), or take fewer --workers") from error
        finally:
            for future, _ in waiting:
                future.cancel()


def _batches(source: Iterator[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in source:
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _broken(result: Result, settings: Settings, outcome: Outcome) -> None:
    for place, why in result.broken:
        if settings.on_error == "refuse":
            raise DataError(f"broken record: {why}", where=place, fix="Mend it, or pass over such records with --on-error skip")
        outcome.broken += 1
        if len(outcome.broken_examples) < BROKEN_KEPT:
            outcome.broken_examples.append(f"{place}: {why}")


def _checked(settings: Settings) -> None:
    encoding = settings.encoding
    if encoding.handler not in handlers.NAMES:
        raise DataError("no such handler", where="--handler-name", got=encoding.handler, expected=", ".join(handlers.NAMES), fix="Mend the name")
    if encoding.handler != handlers.PRETRAIN and encoding.seq_length < 2:
        raise DataError("conversations are packed to a length", where="--seq-length", got=str(encoding.seq_length or "none"), expected="train.seq_length of the job", fix="Say --seq-length")
    if encoding.handler != handlers.PRETRAIN and encoding.pretokenized:
        raise DataError("conversations cannot be tokenized already", where="--pretokenized", got=encoding.handler, expected=handlers.PRETRAIN, fix="Leave it away")


def _free(prefixes: Mapping[str, str], overwrite: bool) -> None:
    """Raises DataError when the output is there already or cannot be written."""
    for prefix in prefixes.values():
        there = [str(path) for path in (Path(f"{prefix}.bin"), Path(f"{prefix}.idx")) if path.exists()]
        if there and not overwrite:
            raise DataError("the output is there already", where=there[0], got="a file", expected="none", fix="Choose another --output-prefix, or say --overwrite")
        try:
            Path(prefix).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError("the output's directory cannot be made", where=str(Path(prefix).parent), got=error.strerror or str(error), fix="Check --output-prefix") from error


def _note(prefix: str, outcome: Outcome) -> None:
    path = Path(prefix).expanduser()
    beside = path.with_name(f".{path.name}{NOTE_SUFFIX}.{os.getpid()}")
    beside.write_text(json.dumps(asdict(outcome), indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(beside, str(path) + NOTE_SUFFIX)


