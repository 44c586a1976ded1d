"""Conversion as a whole: find out what is there, say where it goes, write it so that it is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from trainer.convert import dist, hf, hf_config, names, ranks, sidecar
from trainer.data.refusal import DataError
from trainer.spec import families, manifest
from trainer.spec.job import Model

Format = Literal["hf", "torch_dist", "torch"]
DTYPES: Mapping[str, torch.dtype | None] = {"keep": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
GB = 1_000_000_000
RELEASE = "release"
"""Megatron's name for weights without a run: ``DIR/release``, and the same word in the tracker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to write."""

    out: Path
    format: Format
    tensor_model_parallel_size: int = 1
    pipeline_model_parallel_size: int = 1
    expert_model_parallel_size: int = 1
    make_vocab_size_divisible_by: int = 1
    dtype: str = "keep"
    shard_bytes: int = 5 * GB
    companions: Path | None = None
    """A Hugging Face directory whose config.json and tokenizer files go with the weights; None: the source's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was written."""

    source: str
    source_format: str
    out: str
    format: str
    tensors: int
    parameters: int
    layout: dict[str, Any] = field(default_factory=dict)
    companions: list[str] = field(default_factory=list)


def open_source(directory: Path, *, model: Model | None = None, config_from: Path | None = None, iteration: int | None = None) -> Any:
    """The weights of a directory: Hugging Face's, a checkpoint of one iteration, or the newest in a directory of them.

    What model Megatron's files are of is said, in this order, by ``config_from`` (a config.json or its
    directory), ``model``, the note beside them. Raises DataError.
    """
    directory = directory.expanduser()
    if (directory / "config.json").is_file():
        return hf.Source(directory)
    found = located(directory, iteration)
    note = sidecar.read(found)
    config = note.get("hf_config")
    if config_from is not None:
        config = _config(config_from)
        try:
            model = families.from_hf(config, Model())
        except ValueError as error:
            raise DataError("this model cannot be converted", where=str(config_from), got=str(error), fix="Llama, Qwen 1.5 to 3 and 3-MoE, Mixtral and GLM-4 can") from error
    model = model or sidecar.model_of(note)
    if model is None:
        raise DataError("nothing says what model this is", where=str(found), got=f"no {sidecar.NAME}", expected="its config.json or its job", fix="Say --hf-config DIR or --job JOB.JSON")
    if (found / dist.METADATA).is_file():
        return dist.Source(found, model, config, _layout_of(found, note))
    return ranks.Source(found, model, config)


def located(directory: Path, iteration: int | None) -> Path:
    """The directory that holds the weights: this one, its iteration, what its tracker names, or its ``release``.

    An iteration that has a manifest must be whole by it. Raises DataError.
    """
    if _holds(directory):
        _whole(directory)
        return directory
    candidates = []
    tracker = manifest.tracker_iteration(_read(directory / manifest.TRACKER_NAME))
    wanted = iteration if iteration is not None else tracker
    if wanted is not None:
        candidates.append(directory / manifest.directory_name(wanted))
    if iteration is None:
        candidates.append(directory / RELEASE)
    for path in candidates:
        if _holds(path):
            _whole(path)
            return path
    raise DataError("there are no weights", where=str(directory), got=", ".join(path.name for path in candidates) + " without any" if candidates else "neither tracker nor release", expected="Hugging Face files, a torch_dist directory, or mp_rank_* files", fix="Check --load-dir and --iteration")


def convert(source: Any, target: Target, *, made_from: str) -> Outcome:
    """Write a source's weights. Raises DataError; under the target's name nothing is left then.

    Megatron's formats go to ``OUT/release`` with a tracker that says so, Hugging Face's to OUT itself.
    """
    model: Model = source.model
    check(model, target)
    dtype = DTYPES[target.dtype]
    out = target.out.expanduser()
    final = out if target.format == "hf" else out / RELEASE
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise DataError("the output is there already", where=str(final), got="a directory with files", expected="none, or an empty one", fix="Choose another --save-dir")
    partial = final.with_name(f".{final.name}.converting")
    shutil.rmtree(partial, ignore_errors=True)
    copied: list[str] = []
    try:
        partial.mkdir(parents=True)
        config = source.config or (_config(target.companions) if target.companions else None)
        if target.format == "hf":
            name = str(dtype or source.dtype).removeprefix("torch.")
            config = {**config, "torch_dtype": name} if config else _made(model, name)
            layout = hf.write(source, partial, config=config, dtype=dtype, shard_bytes=target.shard_bytes)
            companions = target.companions or (Path(made_from) if getattr(source, "kind", "") == "hf" else None)
            if companions:
                copied = hf.copy_companions(companions.expanduser(), partial)
        else:
            sizes = {"tensor_model_parallel_size": target.tensor_model_parallel_size, "pipeline_model_parallel_size": target.pipeline_model_parallel_size}
            if model.num_experts:
                sizes["expert_model_parallel_size"] = target.expert_model_parallel_size
            if target.format == "torch_dist":
                layout = dist.write(source, partial, dtype=dtype, **sizes)
            else:
                layout = ranks.write(source, partial, dtype=dtype, vocabulary_multiple=target.make_vocab_size_divisible_by, **sizes)
            layout = {**sizes, **layout}
        sidecar.write(
            partial, kind=target.format, model=model, hf_config=config, layout=layout, made_from=made_from, dtype=str(dtype or source.dtype).removeprefix("torch."))
        _sync(partial)
        if final.is_dir():
            final.rmdir()
        partial.rename(final)
        if target.format != "hf":
            (out / manifest.TRACKER_NAME).write_text(RELEASE, "utf-8")
    except OSError as error:
        raise DataError("the weights cannot be written", where=str(out), got=error.strerror or str(error), fix="Check the directory, its owner and its space") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    made = list(names.entries(model))
    return Outcome(
        source=made_from, source_format=source.kind, out=str(final), format=target.format, tensors=len(made),
        parameters=sum(torch.Size(entry.shape).numel() for entry in made), layout=layout, companions=copied)


def as_mapping(outcome: Outcome) -> dict[str, Any]:
    """For JSON."""
    return asdict(outcome)


def check(model: Model, target: Target) -> None:
    """Raises DataError where the model cannot be cut as the target says."""
    if target.format == "hf":
        return
    tp, pp = target.tensor_model_parallel_size, target.pipeline_model_parallel_size
    try:
        names.check_tensor_parallel(model, tp)
        names.stages(model, pp)
        names.check_expert_parallel(model, target.expert_model_parallel_size)
        if target.format == "torch_dist" and model.vocab_size % tp:
            raise ValueError(f"a vocabulary of {model.vocab_size} does not go up in {tp} tensor-parallel parts")
    except ValueError as error:
        raise DataError("the model cannot be cut so", where="--target-tensor-parallel-size, --target-pipeline-parallel-size, --target-expert-parallel-size", got=str(error), expected="sizes that go up", fix="Choose others") from error


def _layout_of(directory: Path, note: Mapping[str, Any]) -> Mapping[str, Any]:
    if note:
        return dict(note.get("layout", {}))
    try:
        return dict(json.loads((directory / manifest.MANIFEST_NAME).read_text("utf-8"))["layout"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _whole(path: Path) -> None:
    told = _read(path / manifest.MANIFEST_NAME)
    iteration = manifest.iteration_of(path.name)
    if told is None or iteration is None:
        return
    try:
        decoded = json.loads(told)
    except ValueError:
        decoded = None
    good, why = manifest.judge(decoded, {one.name: one.stat().st_size for one in path.iterdir() if one.is_file()}, None, iteration)
    if not good:
        raise DataError("the checkpoint is not whole", where=str(path), got=why, expected="all files of its manifest", fix="Take another iteration (--iteration)")


def _holds(path: Path) -> bool:
    return (path / dist.METADATA).is_file() or (path.is_dir() and ranks.is_one(path))


def _config(path: Path) -> dict[str, Any]:
    path = path.expanduser()
    path = path / "config.json" if path.is_dir() else path
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError("config.json cannot be read", where=str(path), got=getattr(error, "strerror", None) or str(error), fix="Check --hf-config") from error


def _made(model: Model, dtype: str) -> dict[str, Any]:
    try:
        return hf_config.to_hf(model, dtype=dtype)
    except ValueError as error:
        raise DataError("Hugging Face has no such model", got=str(error), expected="a Llama, Qwen or GLM shape", fix="Keep it as a checkpoint") from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _sync(directory: Path) -> None:


    for path in [*(one for one in directory.rglob("*") if one.is_file()), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
