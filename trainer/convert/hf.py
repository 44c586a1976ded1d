"""A directory of Hugging Face weights: checked against its index and its model, read; written in shards.

What is checked before anything is converted, all at once: the files of ``model.safetensors.index.json`` are
there and not empty, each tensor is in the file that the index names and in no other, the model's tensors are
all there with their shapes, and nothing is there that no one would read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.convert import arrange, names, safetensors
from trainer.convert.names import Entry
from trainer.convert.safetensors import Info
from trainer.data.refusal import DataError
from trainer.spec import families
from trainer.spec.job import Model

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PROBLEMS_TOLD = 8

_DERIVED = re.compile(r"rotary_emb\.inv_freq\Z|\.attention\.bias\Z|\.masked_bias\Z")
"""Buffers that older transformers saved: computed from config.json, not weights."""

COMPANIONS = ("tokenizer*", "special_tokens_map.json", "vocab.json", "merges.txt", "added_tokens.json", "generation_config.json", "chat_template*", "*.tiktoken", "*.model")
"""What belongs to a model and is no weight."""


class Source:
    """Hugging Face weights as Megatron's whole tensors."""

    kind = "hf"

    def __init__(self, directory: Path) -> None:
        """Raises DataError with all that is wrong."""
        self.directory = directory
        self.config = _config(directory)
        try:
            self.model = families.from_hf(self.config, Model())
        except ValueError as error:
            raise DataError("this model cannot be converted", where=str(directory / "config.json"), got=str(error), fix="Llama, Qwen 1.5 to 3 and 3-MoE, Mixtral and GLM-4 can") from error
        self.layout: Mapping[str, Any] = {"tensor_model_parallel_size": 1, "pipeline_model_parallel_size": 1}
        self._tensors = _checked(directory, self.model)
        self.dtype = self._tensors["model.embed_tokens.weight"].dtype

    def dtype_of(self, entry: Entry) -> torch.dtype:
        return self._tensors[entry.hf[0]].dtype

    def read(self, entry: Entry) -> torch.Tensor:
        """Megatron's whole tensor."""
        return arrange.joined(entry, [safetensors.read(self._tensors[name]) for name in entry.hf], self.model)


def write(source: Any, out: Path, *, config: Mapping[str, Any], dtype: torch.dtype | None, shard_bytes: int) -> dict[str, Any]:
    """Write the weights of a source with its config.json; returns the layout. The index and config come last."""
    made = list(names.entries(source.model))
    kinds = {name: dtype or source.dtype_of(entry) for entry in made for name in entry.hf}
    planned = _shards(made, kinds, shard_bytes)
    total, places = 0, {}
    for number, shard in enumerate(planned, start=1):
        file = SINGLE if len(planned) == 1 else f"model-{number:05d}-of-{len(planned):05d}.safetensors"
        listed = [(name, kinds[name], shape) for entry in shard for name, shape in zip(entry.hf, entry.hf_shapes, strict=True)]
        with safetensors.Writer(out / file, listed) as writer:
            for entry in shard:
                for name, tensor in zip(entry.hf, arrange.parted(entry, source.read(entry), source.model), strict=True):
                    writer.put(name, tensor.to(kinds[name]))
                    total += tensor.numel() * kinds[name].itemsize
                    places[name] = file
    if len(planned) > 1:
        _put(out / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
    _put(out / "config.json", config)
    return {"shards": len(planned), "bytes": total}


def copy_companions(source: Path, out: Path) -> list[str]:
    """Copy tokenizer files and the like; the names."""
    found = sorted({file for pattern in COMPANIONS for file in source.glob(pattern) if file.is_file()})
    for file in found:
        shutil.copyfile(file, out / file.name)
    return [file.name for file in found]


def _shards(made: list[Entry], kinds: Mapping[str, torch.dtype], limit: int) -> list[list[Entry]]:
    """Entries by shard: filled up to the limit, in order. What Megatron has in one stays together."""
    shards: list[list[Entry]] = [[]]
    size = 0
    for entry in made:
        own = sum(torch.Size(shape).numel() * kinds[name].itemsize for name, shape in zip(entry.hf, entry.hf_shapes, strict=True))
        if shards[-1] and size + own > limit:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += own
    return shards


def _config(directory: Path) -> dict[str, Any]:
    try:
        found = json.loads((directory / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError("config.json cannot be read", where=str(directory), got=getattr(error, "strerror", None) or str(error), expected="a directory of Hugging Face weights", fix="Check --load-dir") from error
    if not isinstance(found, dict):
        raise DataError("config.json is no object", where=str(directory), fix="Fetch it anew")
    return found


def _checked(directory: Path, model: Model) -> dict[str, Info]:
    problems: list[str] = []
    tensors = _indexed(directory, problems)
    known = set()
    for entry in names.entries(model):
        for name, shape in zip(entry.hf, entry.hf_shapes, strict=True):
            known.add(name)
            if name not in tensors:
                problems.append(f"{name} is missing")
            elif tensors[name].shape != shape:
                problems.append(f"{name} has shape {list(tensors[name].shape)}, config.json says {list(shape)}")
    tied = not model.untie_embeddings_and_output_weights
    for name in sorted(set(tensors) - known):
        # Tied weights are sometimes written twice.
        if not _DERIVED.search(name) and not (tied and name == "lm_head.weight"):
            problems.append(f"{name} belongs to no part of the model")
    if problems:
        told = "; ".join(problems[:PROBLEMS_TOLD]) + (f"; and {len(problems) - PROBLEMS_TOLD} more" if len(problems) > PROBLEMS_TOLD else "")
        raise DataError("the weights are not whole, or not of this model", where=str(directory), got=told, expected="all tensors of config.json's model, once", fix="Fetch the files anew, or mend config.json")
    return tensors


def _indexed(directory: Path, problems: list[str]) -> dict[str, Info]:
    """The tensors of a directory; what is wrong with its files goes to ``problems``."""
    index, single = directory / INDEX, directory / SINGLE
    if not index.is_file():
        if not single.is_file():
            other = next((file.name for file in directory.glob("pytorch_model*.bin*")), "")
            raise DataError("there are no safetensors", where=str(directory), got=other or "nothing", expected=f"{SINGLE} or {INDEX}", fix="Save the model as safetensors (save_pretrained of transformers does)" if other else "Check --load-dir")
        return safetensors.contents(single)
    try:
        mapped = dict(json.loads(index.read_text("utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError("the index cannot be read", where=str(index), got=str(error), expected="an object with weight_map", fix="Fetch it anew") from error
    tensors: dict[str, Info] = {}
    for file in sorted(set(mapped.values())):
        path = directory / file
        if Path(file).name != file:
            problems.append(f"{file} is outside the directory")
        elif not path.is_file():
            problems.append(f"file {file} is missing")
        elif not path.stat().st_size:
            problems.append(f"file {file} is empty")
        else:
            for name, info in safetensors.contents(path).items():
                if mapped.get(name) == file:
                    tensors[name] = info
                elif name not in mapped:
                    problems.append(f"{name} is in {file}, but not in the index")
    listed = set(mapped.values())
    problems += [f"file {file.name} is not in the index" for file in sorted(directory.glob("model*.safetensors")) if file.name not in listed]
    told = " ".join(problems)
    problems += [f"{name} is not in {file}, where the index has it" for name, file in sorted(mapped.items()) if name not in tensors and f"file {file} " not in told]
    return tensors


def _put(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(beside, path)
