"""The note beside converted weights: of what they were made, how they are cut, what model they are."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.spec.job import Model

NAME = "rankdeck-weights.json"
VERSION = 1

SHAPE = tuple(field.name for field in dataclasses.fields(Model) if field.name not in (
    "preset", "size", "weights", "tokenizer", "access_token", "hf_config", "peft"))
"""Of the model block: what the weights say, and not where their files are."""


def write(directory: Path, *, kind: str, model: Model, hf_config: Mapping[str, Any] | None, layout: Mapping[str, Any], made_from: str, dtype: str) -> None:
    """Put the note there."""
    note = {
        "version": VERSION, "format": kind, "made_from": made_from, "dtype": dtype, "layout": dict(layout),
        "model": {name: getattr(model, name) for name in SHAPE}, "hf_config": dict(hf_config) if hf_config else None}
    beside = directory / f".{NAME}.{os.getpid()}"
    beside.write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", "utf-8")
    os.replace(beside, directory / NAME)


def read(directory: Path) -> Mapping[str, Any]:
    """The note of a directory; empty when there is none that can be read."""
    try:
        found = json.loads((directory / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == VERSION else {}


def model_of(note: Mapping[str, Any]) -> Model | None:
    """The model of a note."""
    told = note.get("model")
    return Model(**{name: told[name] for name in SHAPE if name in told}) if isinstance(told, dict) else None
