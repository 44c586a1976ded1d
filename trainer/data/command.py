"""``python -m trainer preprocess``: its words and what it prints. Words are those of Megatron's preprocess_data.py."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from trainer.data import handlers, preprocess
from trainer.data.encode import Encoding
from trainer.data.refusal import DataError
from trainer.data.templates import TEMPLATES
from trainer.data.tokenizer import BYTE, HUGGING_FACE


def arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the command's words."""
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, directories or patterns")
    parser.add_argument("--output-prefix", required=True, metavar="PREFIX", help="PREFIX_text_document.bin and .idx, or PREFIX_packed_..._document")
    parser.add_argument("--handler-name", default=handlers.PRETRAIN, choices=handlers.NAMES, metavar="NAME", help=f"what a record is: {', '.join(handlers.NAMES)} (default the first)")
    parser.add_argument("--tokenizer-type", default=HUGGING_FACE, choices=(HUGGING_FACE, BYTE))
    parser.add_argument("--tokenizer-name-or-path", default="", metavar="DIR", help="a local directory; nothing is fetched")
    parser.add_argument("--json-keys", nargs="+", default=["text"], metavar="KEY", help=f"of {handlers.PRETRAIN}: the fields to take (default text), each into files of its own")
    parser.add_argument("--map-keys", type=_mapping, default={}, metavar="JSON", help='other names of an instruction record\'s fields: {"instruction": "question"}')
    parser.add_argument("--prompt-type", default="alpaca", choices=tuple(TEMPLATES), help="marks around what is said (default alpaca)")
    parser.add_argument("--seq-length", type=_number(2), default=0, metavar="N", help="tokens of a packed sequence; wanted for instruction data")
    parser.add_argument("--append-eod", "--append-eos", action="store_true", help="end each document with the tokenizer's end of text")
    parser.add_argument("--pretokenized", action="store_true", help="the fields hold token ids")
    parser.add_argument("--vocab-size", type=_number(0), default=0, metavar="N", help="with --pretokenized: ids must be below it")
    parser.add_argument("--workers", type=_number(1), default=1, metavar="N", help="processes; the files are the same with any number")
    parser.add_argument("--on-error", choices=("refuse", "skip"), default="refuse", help="a broken record ends it, with its file and line (default), or is counted and passed over")
    parser.add_argument("--log-interval", type=_number(0), default=1000, metavar="N", help="records between lines of progress where standard error is no terminal; 0: none")
    parser.add_argument("--make-vocab-size-divisible-by", type=_number(1), default=1, metavar="N", help="for padded_vocab_size in the note")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def command(given: argparse.Namespace) -> int:
    """Do it; the exit status: 0, or 3 refused."""
    settings = preprocess.Settings(
        inputs=tuple(given.input), output_prefix=given.output_prefix, workers=given.workers, on_error=given.on_error,
        log_interval=given.log_interval, make_vocab_size_divisible_by=given.make_vocab_size_divisible_by, overwrite=given.overwrite,
        encoding=Encoding(
            handler=given.handler_name, tokenizer_type=given.tokenizer_type, tokenizer=given.tokenizer_name_or_path,
            json_keys=tuple(dict.fromkeys(given.json_keys)), map_keys=given.map_keys, prompt_type=given.prompt_type,
            append_eod=given.append_eod, pretokenized=given.pretokenized, vocab_size=given.vocab_size, seq_length=given.seq_length))
    try:
        outcome = preprocess.run(settings)
    except DataError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.EXIT_CODE
    except OSError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return DataError.EXIT_CODE
    print(json.dumps(asdict(outcome), indent=1, ensure_ascii=False) if given.json else _text(outcome))  # noqa: T201
    return 0


def _text(outcome: preprocess.Outcome) -> str:
    lines = [f"{outcome.documents} documents, {outcome.sequences} sequences, {outcome.tokens} tokens"]
    if outcome.cut:
        lines.append(f"{outcome.cut} conversations were longer than a sequence and cut")
    if outcome.broken:
        lines.append(f"{outcome.broken} broken records passed over:")
        lines += [f"  {one}" for one in outcome.broken_examples]
        if outcome.broken > len(outcome.broken_examples):
            lines.append(f"  and {outcome.broken - len(outcome.broken_examples)} more")
    return "\n".join([*lines, *(f"wrote {prefix}.bin and .idx" for prefix in outcome.files)])


def _number(least: int) -> Any:
    def number(word: str) -> int:
        value = int(word)
        if value < least:
            raise argparse.ArgumentTypeError(f"{word} is less than {least}")
        return value

    return number


def _mapping(word: str) -> dict[str, str]:
    try:
        found = json.loads(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise argparse.ArgumentTypeError("not an object of texts")
    return found
