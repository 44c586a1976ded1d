"""Texts to token ids: the bytes themselves, or a Hugging Face tokenizer in a local directory.

Nothing is fetched and no code of a model directory is run. ``open_tokenizer`` is called once in each worker,
for tokenizers of others are not made to be sent between processes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from trainer.data.refusal import DataError, needed

BYTE = "Byte"
HUGGING_FACE = "PretrainedFromHF"


class Tokenizer(Protocol):
    """What preprocessing wants of one."""

    vocab_size: int
    """One more than the greatest id."""
    eod: int | None
    """Ends a document or an answer; None where the tokenizer names none."""

    def encode(self, text: str) -> list[int]:
        """The ids, nothing put before or behind."""


class Bytes:
    """UTF-8, a byte a token. 0, which no text needs, ends documents."""

    vocab_size = 256
    eod: int | None = 0

    def encode(self, text: str) -> list[int]:
        return list(text.encode("utf-8", "surrogatepass"))


class Fast:
    """``tokenizer.json``, by the tokenizers library; the end of text as tokenizer_config.json names it."""

    def __init__(self, directory: Path) -> None:
        library = needed("tokenizers", why=f"{directory}: this tokenizer", install="tokenizers")
        try:
            self._inner = library.Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:
            raise DataError("the tokenizer cannot be read", where=str(directory / "tokenizer.json"), got=str(error), fix="Fetch it anew") from error
        # A file may ask for cut or filled-up texts, which would be lost samples here.
        self._inner.no_truncation()
        self._inner.no_padding()
        self.vocab_size = self._inner.get_vocab_size(with_added_tokens=True)
        self.eod = self._inner.token_to_id(name) if (name := _end_of(directory)) else None

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids


class Slow:
    """Everything else that transformers reads (sentencepiece models, vocab.json with merges.txt)."""

    def __init__(self, directory: Path) -> None:
        library = needed("transformers", why=f"{directory}: a tokenizer without tokenizer.json", install="transformers")
        try:
            self._inner = library.AutoTokenizer.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, ImportError) as error:
            raise DataError("the tokenizer cannot be read", where=str(directory), got=str(error).strip().splitlines()[0], fix="Name the directory that holds the tokenizer's files") from error
        self.vocab_size = len(self._inner)
        self.eod = self._inner.eos_token_id

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._inner.encode(text, add_special_tokens=False)
        return ids


def open_tokenizer(kind: str, path: str) -> Tokenizer:
    """The tokenizer of a kind (Byte, PretrainedFromHF) and its local directory. Raises DataError."""
    if kind == BYTE:
        return Bytes()
    if kind != HUGGING_FACE:
        raise DataError("no such kind of tokenizer here", where="--tokenizer-type", got=kind, expected=f"{BYTE} or {HUGGING_FACE}", fix="Most models have Hugging Face files")
    directory = Path(path).expanduser()
    directory = directory.parent if directory.is_file() else directory
    if not path or not directory.is_dir():
        raise DataError("there is no tokenizer", where="--tokenizer-name-or-path", got=path or "nothing", expected="a local directory with tokenizer.json or other tokenizer files", fix=f"Name one, or take --tokenizer-type {BYTE}")
    return Fast(directory) if (directory / "tokenizer.json").is_file() else Slow(directory)


def _end_of(directory: Path) -> str:
    """The end-of-text token's name, from tokenizer_config.json or special_tokens_map.json; empty: none is named."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            found: Any = json.loads((directory / name).read_text("utf-8")).get("eos_token")
        except (OSError, ValueError, AttributeError):
            continue
        found = found.get("content") if isinstance(found, dict) else found
        if isinstance(found, str) and found:
            return found
    return ""
