"""torch_dist checkpoints, read and written without megatron-core and without process groups.

Layout (torch.distributed.checkpoint as megatron-core 0.16.1 uses it): ``.metadata``, a pickle that gives for
each tensor its whole shape and chunks, and for each chunk file, place and length; ``__<rank>_0.distcp`` with
the chunks, each as torch.save writes it; ``common.pt`` and ``metadata.json``. The tensors of all layers are
stacked. Any TP and PP may read what any wrote; here a cut only decides what lies in which file.
"""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch.distributed.checkpoint.filesystem import _StorageInfo
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)

from trainer.convert import arrange, names, torchfile
from trainer.convert.names import Entry
from trainer.data.refusal import DataError
from trainer.spec.job import Model

METADATA = ".metadata"
_BACKEND = {"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1}


class Reader:
    """The tensors of one checkpoint directory, whole, a layer at a time."""

    def __init__(self, directory: Path) -> None:
        """Raises DataError for a directory without readable metadata."""
        self.directory = directory
        self._at: dict[tuple[str, int], dict[tuple[int, ...], list[tuple[int, ...]]]] = {}
        try:
            with (directory / METADATA).open("rb") as stream:
                found = _Unpickler(stream).load()
            self._tensors: Mapping[str, Any] = found.state_dict_metadata
            self._places: Mapping[Any, Any] = found.storage_data
        except OSError as error:
            raise DataError("there is no torch_dist checkpoint", where=str(directory), got=error.strerror or str(error), expected=f"a directory with {METADATA}", fix="Name the directory of one iteration, or of the checkpoints") from error
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, TypeError, KeyError, ImportError) as error:
            raise DataError("the checkpoint's metadata cannot be read", where=str(directory / METADATA), got=str(error), expected="that of torch.distributed.checkpoint", fix="Copy the checkpoint anew") from error

    def keys(self) -> set[str]:
        """Names of the tensors that are there."""
        return {key for key, told in self._tensors.items() if isinstance(told, TensorStorageMetadata)}

    def shape(self, key: str) -> tuple[int, ...]:
        """The whole shape, layers first where they are stacked. Raises KeyError."""
        return tuple(self._tensors[key].size)

    def dtype(self, key: str) -> torch.dtype:
        """Raises KeyError."""
        found: torch.dtype = self._tensors[key].properties.dtype
        return found

    def read(self, key: str, place: tuple[int, ...] = ()) -> torch.Tensor:
        """The tensor, or of a stacked one that of a layer, or of a layer and expert. Raises DataError when a part of
        it is not there."""
        told = self._tensors[key]
        stacked = len(place)
        shape = tuple(told.size)[stacked:]
        made, filled = None, 0
        for offsets in self._chunks_at(key, stacked).get(place, ()):
            piece = self._chunk(key, offsets)
            for number, start in zip(place, offsets, strict=False):
                piece = piece[number - start]
            if tuple(piece.shape) == shape:
                return piece
            if made is None:
                made = torch.empty(shape, dtype=told.properties.dtype)
            made[tuple(slice(start, start + size) for start, size in zip(offsets[stacked:], piece.shape, strict=True))] = piece
            filled += piece.numel()
        if made is None or filled != made.numel():
            raise DataError("a tensor is not whole", where=f"{self.directory}: {key}", got=f"{filled} elements", expected=str(torch.Size(shape).numel()), fix="The checkpoint is damaged; take another")
        return made

    def _chunks_at(self, key: str, depth: int) -> Mapping[tuple[int, ...], list[tuple[int, ...]]]:
        """Place in the first ``depth`` dimensions -> the offsets of the chunks that lie over it. A mixture has
        thousands of them, and each is asked for."""
        found = self._at.setdefault((key, depth), {})
        if not found:
            for chunk in self._tensors[key].chunks:
                leading = (range(start, start + size) for start, size in zip(chunk.offsets[:depth], chunk.sizes[:depth], strict=True))
                for place in itertools.product(*leading):
                    found.setdefault(place, []).append(tuple(chunk.offsets))
        return found

    def _chunk(self, key: str, offsets: tuple[int, ...]) -> torch.Tensor:
        place = self._places.get(MetadataIndex(key, offsets))
        if place is None or Path(place.relative_path).name != place.relative_path:
            raise DataError("the metadata names no file for a tensor", where=f"{self.directory}: {key}", got=str(offsets), fix="The checkpoint is damaged; take another")
        path = self.directory / place.relative_path

        def opened() -> BinaryIO:
            return torchfile.Window(path, place.offset, place.length)

        found = torchfile.tree(opened, where=str(path))
        if not isinstance(found, torchfile.Handle):
            raise DataError("there is something else than a tensor", where=f"{path}: {key}", got=type(found).__name__, fix="The checkpoint is damaged; take another")
        return found.read()


class Source:
    """The model in a torch_dist checkpoint."""

    kind = "torch_dist"

    def __init__(self, directory: Path, model: Model, config: Mapping[str, Any] | None, layout: Mapping[str, Any]) -> None:
        """Raises DataError when tensors of the model are missing or of another shape."""
        self.model, self.config, self.layout, self._reader = model, config, layout, Reader(directory)
        problems = []
        there = self._reader.keys()
        for entry in names.entries(model):
            shape = names.stacked(model, entry)
            found = self._reader.shape(entry.key) if entry.key in there else None
            if found is None:
                problems.append(f"{entry.key} is missing")
            elif found != shape and not (_vocabulary(entry) and found[0] >= shape[0] and found[1:] == shape[1:]):
                problems.append(f"{entry.key} has shape {list(found)} instead of {list(shape)}")
        refuse_unlike(problems, str(directory))
        self.dtype = self._reader.dtype("embedding.word_embeddings.weight")

    def dtype_of(self, entry: Entry) -> torch.dtype:
        return self._reader.dtype(entry.key)

    def read(self, entry: Entry) -> torch.Tensor:
        """Megatron's whole tensor; rows that were added to the vocabulary are taken off."""
        found = self._reader.read(entry.key, entry.place)
        return arrange.with_rows(found, entry.shape[0]) if _vocabulary(entry) else found


def write(
    source: Any, out: Path, *, tensor_model_parallel_size: int, pipeline_model_parallel_size: int, dtype: torch.dtype | None, expert_model_parallel_size: int = 1,
) -> dict[str, Any]:
    """Write a source's tensors into ``out``; what metadata.json and common.pt hold is no run's."""
    model: Model = source.model
    stages = names.stages(model, pipeline_model_parallel_size)
    files = tensor_model_parallel_size * pipeline_model_parallel_size * expert_model_parallel_size
    writing = _Writing(out, files)
    with writing:
        for entry in names.entries(model):
            tensor = source.read(entry)
            tensor = tensor.to(dtype) if dtype else tensor
            # What is no expert's lies with the first of the ranks that have it.
            group = _stage(entry, stages) * expert_model_parallel_size + names.expert_rank(model, entry, expert_model_parallel_size)
            for offsets, piece, rank in _chunks(entry, tensor, tensor_model_parallel_size):
                writing.tensor(
                    entry.key, names.stacked(model, entry), (*entry.place, *offsets), piece[(None,) * len(entry.place)], group * tensor_model_parallel_size + rank)
        for name, layer in names.extra_states(model):
            stage = next(number for number, own in enumerate(stages) if layer in own)
            writing.nothing(name, stage * expert_model_parallel_size * tensor_model_parallel_size)
    with (out / METADATA).open("wb") as stream:
        pickle.dump(writing.metadata(), stream)
    torch.save({"checkpoint_version": 3.0, "iteration": 0}, out / "common.pt")
    (out / "metadata.json").write_text(json.dumps(_BACKEND), "utf-8")
    return {"files": files}


def refuse_unlike(problems: list[str], where: str) -> None:
    """Raises DataError when there are problems."""
    if problems:
        told = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise DataError("the checkpoint is of another model, or holds adapters only", where=where, got=told, expected="the tensors of the model named", fix="Name its config.json with --hf-config, or its job with --job; adapters: merge-lora")


class _Writing:
    """Chunks into files, and the metadata of them."""

    def __init__(self, out: Path, files: int) -> None:
        self._names = [f"__{rank}_0.distcp" for rank in range(files)]
        self._out = out
        self._tensors: dict[str, Any] = {}
        self._places: dict[MetadataIndex, _StorageInfo] = {}

    def __enter__(self) -> None:
        self._streams = [(self._out / name).open("wb") for name in self._names]

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.close()

    def tensor(self, key: str, size: tuple[int, ...], offsets: tuple[Any, ...], piece: torch.Tensor, rank: int) -> None:
        if piece.untyped_storage().nbytes() != piece.numel() * piece.element_size() or not piece.is_contiguous():
            piece = piece.clone(memory_format=torch.contiguous_format)  # torch.save writes all of a view's storage
        told = self._tensors.setdefault(
            key, TensorStorageMetadata(properties=TensorProperties(dtype=piece.dtype), size=torch.Size(size), chunks=[]))
        told.chunks.append(ChunkStorageMetadata(offsets=torch.Size(offsets), sizes=piece.shape))
        self._put(MetadataIndex(key, offsets), piece, rank)

    def nothing(self, key: str, rank: int) -> None:
        self._tensors[key] = BytesStorageMetadata()
        self._put(MetadataIndex(key), [None], rank)

    def metadata(self) -> Metadata:
        return Metadata(state_dict_metadata=self._tensors, storage_data=self._places)

    def _put(self, index: MetadataIndex, content: Any, rank: int) -> None:
        stream = self._streams[rank]
        start = stream.tell()
        torch.save(content, stream)
        self._places[index] = _StorageInfo(self._names[rank], start, stream.tell() - start)


def _chunks(entry: Entry, tensor: torch.Tensor, size: int) -> list[tuple[tuple[int, ...], torch.Tensor, int]]:
    """Offset, piece and rank of each piece; a gated MLP's rank has two."""
    zero = (0,) * tensor.dim()
    if entry.cut is None or size == 1:
        return [(zero, tensor, 0)]
    halves = tensor.chunk(2) if entry.kind in ("gate", "gate_up") else (tensor,)
    made = []
    for half, part in enumerate(halves):
        start = half * part.shape[0]
        for rank, piece in enumerate(part.tensor_split(size, dim=entry.cut)):
            made.append(((start, *zero[1:]) if entry.cut == 0 else (0, start, *zero[2:]), piece, rank))
            start += piece.shape[entry.cut]
    return made


def _stage(entry: Entry, stages: list[range]) -> int:
    if entry.layer is None:
        return 0 if entry.key.startswith("embedding") else len(stages) - 1
    return next(number for number, own in enumerate(stages) if entry.layer in own)


def _vocabulary(entry: Entry) -> bool:
    return entry.kind == "column" and entry.layer is None


class _Unpickler(pickle.Unpickler):
    """Of torch.distributed.checkpoint's metadata only what it is made of."""

    def find_class(self, module: str, name: str) -> Any:
        known = module in (
            "torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem", "torch.distributed.checkpoint.planner",
            "torch.distributed.checkpoint.storage")
        if (known and "." not in name and isinstance(super().find_class(module, name), type)) or (module, name) in (
                ("torch", "Size"), ("torch.serialization", "_get_layout"), ("collections", "OrderedDict"), ("io", "BytesIO"), ("pathlib", "PosixPath"), ("pathlib._local", "PosixPath")):
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong there")
