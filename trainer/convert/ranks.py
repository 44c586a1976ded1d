"""Megatron's older checkpoints, a file a model-parallel rank: ``mp_rank_TT[_PPP][_EEE]/model_optim_rng.pt``.

The vendor's scripts load and save these (S3: MODEL_PATH, ``--saver megatron``). A file holds the rank's own
part of each tensor under its name in the rank's module, layers counted within the stage; here it is read
without running what is pickled in it, so the arguments a vendor put there do no harm and are not understood.
"""

from __future__ import annotations

import argparse
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch

from trainer.convert import arrange, names, torchfile
from trainer.convert.dist import refuse_unlike
from trainer.convert.names import Entry
from trainer.convert.torchfile import Handle
from trainer.data.refusal import DataError
from trainer.spec.job import Model

FILE = "model_optim_rng.pt"
OTHER_FILES = ("model_rng.pt", "model.pt")
"""Of runs with the distributed optimizer, which keep its state elsewhere."""

_DIRECTORY = re.compile(r"\Amp_rank_([0-9]{2,})(?:_([0-9]{3,}))?(?:_([0-9]{3,}))?\Z")
# mp_rank_01_003: TP rank 1, stage 3 (or expert-parallel rank 3 of a mixture without stages); mp_rank_01_003_000: with both.

_TE_NAMES: Mapping[str, str] = {
    "input_layernorm.weight": "self_attention.linear_qkv.layer_norm_weight", "pre_mlp_layernorm.weight": "mlp.linear_fc1.layer_norm_weight"}
"""What Transformer Engine's layers call the norms."""


def is_one(directory: Path) -> bool:
    """Whether a directory holds files of ranks."""
    return any(_DIRECTORY.match(one.name) for one in directory.glob("mp_rank_*"))


class Source:
    """The model in the files of all ranks."""

    kind = "torch"

    def __init__(self, directory: Path, model: Model, config: Mapping[str, Any] | None) -> None:
        """Raises DataError when a rank's file or a tensor is missing, or of another shape."""
        self.model, self.config = model, config
        states = {rank: _state(path) for rank, path in _files(directory).items()}
        # With one number behind the tensor-parallel rank it is the stage's, unless all of them have the embedding.
        if model.num_experts and all("embedding.word_embeddings.weight" in state for state in states.values()):
            states = {(tp, 0, pp or ep): state for (tp, pp, ep), state in states.items()}
        self._ranks = states
        self._tp, self._pp, self._ep = (1 + max(rank[number] for rank in states) for number in range(3))
        missing = [
            f"mp_rank_{tp:02d}_{pp:03d}" + (f"_{ep:03d}" if self._ep > 1 else "") for ep in range(self._ep) for pp in range(self._pp) for tp in range(self._tp)
            if (tp, pp, ep) not in states]
        if missing:
            raise DataError("files of ranks are missing", where=str(directory), got=f"{len(states)} of {self._tp * self._pp * self._ep}", expected=", ".join(missing[:4]), fix="Copy them from all nodes")
        self.layout: Mapping[str, Any] = {
            "tensor_model_parallel_size": self._tp, "pipeline_model_parallel_size": self._pp,
            **({"expert_model_parallel_size": self._ep} if model.num_experts else {})}
        self._stages = self._found_stages(directory)
        problems = []
        try:
            names.check_tensor_parallel(model, self._tp)
            names.check_expert_parallel(model, self._ep)
        except ValueError as error:
            problems.append(str(error))
        for entry in names.entries(model):
            problems += self._problems(entry)
        refuse_unlike(problems, str(directory))
        self.dtype = self._handles(next(iter(names.entries(model))))[0].dtype

    def dtype_of(self, entry: Entry) -> torch.dtype:
        return self._handles(entry)[0].dtype

    def read(self, entry: Entry) -> torch.Tensor:
        """Megatron's whole tensor; rows that were added to the vocabulary are taken off."""
        handles = self._handles(entry)
        found = arrange.whole(entry, [handle.read() for handle in (handles if entry.cut is not None else handles[:1])])
        return arrange.with_rows(found, entry.shape[0]) if entry.layer is None and entry.kind == "column" else found

    def _found_stages(self, directory: Path) -> list[range]:
        """Layers of each stage, as many as its first rank's file has."""
        counts = []
        for stage in range(self._pp):
            numbers = {int(match.group(1)) for name in self._ranks[0, stage, 0] if (match := re.match(r"decoder\.layers\.([0-9]+)\.", name))}
            counts.append(len(numbers))
        if sum(counts) != self.model.num_layers:
            raise DataError("the checkpoint is of another model", where=str(directory), got=f"{' + '.join(map(str, counts))} layers", expected=f"{self.model.num_layers} layers", fix="Name its config.json with --hf-config, or its job with --job")
        ends = [sum(counts[: stage + 1]) for stage in range(self._pp)]
        return [range(end - count, end) for count, end in zip(counts, ends, strict=True)]

    def _handles(self, entry: Entry) -> list[Handle]:
        """The parts of all tensor-parallel ranks. Raises KeyError."""
        stage = 0 if entry.key.startswith("embedding") else self._pp - 1
        name = entry.name
        ep = names.expert_rank(self.model, entry, self._ep)
        if entry.layer is not None:
            stage = next(number for number, own in enumerate(self._stages) if entry.layer in own)
            name = _own_name(self.model, entry, self._stages[stage].start, self._ep)
        found = []
        for tp in range(self._tp):
            state = self._ranks[tp, stage, ep]
            short = next((one for one in _TE_NAMES if name.endswith(one)), "")
            found.append(state[name] if name in state or not short else state[name[: -len(short)] + _TE_NAMES[short]])
        return found

    def _problems(self, entry: Entry) -> list[str]:
        try:
            handles = self._handles(entry)
        except KeyError:
            return [f"{entry.name.format(*entry.place)} is missing"]
        want, vocabulary = list(entry.shape), entry.layer is None and entry.kind == "column"
        for handle in handles:
            found = list(handle.shape)
            if entry.cut is not None and len(found) == len(want):
                found[entry.cut] *= self._tp
            if found != want and not (vocabulary and found[1:] == want[1:] and found[0] >= want[0]):
                return [f"{entry.name.format(*entry.place)} has shape {found} instead of {want}"]
        return []


def write(
    source: Any, out: Path, *, tensor_model_parallel_size: int, pipeline_model_parallel_size: int, dtype: torch.dtype | None, vocabulary_multiple: int,
    expert_model_parallel_size: int = 1,
) -> dict[str, Any]:
    """Write a source's tensors as one file a rank, one rank after another: no more than one rank's part is held."""
    model: Model = source.model
    rows = names.padded(model.vocab_size, tensor_model_parallel_size, vocabulary_multiple)
    for stage, own in enumerate(names.stages(model, pipeline_model_parallel_size)):
        last = stage == pipeline_model_parallel_size - 1
        for rank, expert_rank in itertools.product(range(tensor_model_parallel_size), range(expert_model_parallel_size)):
            state: dict[str, torch.Tensor] = {}
            for entry in names.entries(model):
                if entry.expert is not None and names.expert_rank(model, entry, expert_model_parallel_size) != expert_rank:
                    continue
                if entry.layer is not None and entry.layer in own:
                    name = _own_name(model, entry, own.start, expert_model_parallel_size)
                elif entry.layer is None and (stage == 0 if entry.key.startswith("embedding") else last):
                    name = entry.name
                elif entry.key.startswith("embedding") and last and not model.untie_embeddings_and_output_weights:
                    name = "output_layer.weight"  # a tied model's last stage has a copy of its own
                else:
                    continue
                tensor = source.read(entry)
                tensor = arrange.with_rows(tensor, rows) if entry.layer is None and entry.kind == "column" else tensor
                piece = arrange.part(entry, tensor, tensor_model_parallel_size, rank).to(dtype or tensor.dtype)
                # A view would keep, and torch.save would write, the whole tensor.
                state[name] = piece.clone(memory_format=torch.contiguous_format) if piece.untyped_storage().nbytes() != piece.numel() * piece.element_size() else piece
            directory = out / (f"mp_rank_{rank:02d}" + (f"_{stage:03d}" if pipeline_model_parallel_size > 1 else "") + (f"_{expert_rank:03d}" if expert_model_parallel_size > 1 else ""))
            directory.mkdir()
            torch.save({"args": _arguments(model, tensor_model_parallel_size, pipeline_model_parallel_size, expert_model_parallel_size, rows), "checkpoint_version": 3.0, "iteration": 0, "model": state}, directory / FILE)
    return {"padded_vocab_size": rows, "files": tensor_model_parallel_size * pipeline_model_parallel_size * expert_model_parallel_size}


def _own_name(model: Model, entry: Entry, first_layer: int, expert_model_parallel_size: int) -> str:
    """An entry's name in its rank's module, layers and experts counted within the rank's own."""
    own = [(entry.layer or 0) - first_layer]
    if entry.expert is not None:
        own.append(entry.expert % (model.num_experts // expert_model_parallel_size))
    return entry.name.format(*own)


def _arguments(model: Model, tp: int, pp: int, ep: int, rows: int) -> argparse.Namespace:
    """What Megatron compares its own arguments with when it loads (check_checkpoint_args)."""
    mixture = {
        "num_experts": model.num_experts, "moe_router_topk": model.moe_router_topk, "moe_ffn_hidden_size": names.ffn(model), "moe_grouped_gemm": False,
        "expert_model_parallel_size": ep, "expert_tensor_parallel_size": tp} if model.num_experts else {}
    return argparse.Namespace(
        **mixture,
        num_layers=model.num_layers, hidden_size=model.hidden_size, ffn_hidden_size=model.ffn_hidden_size or 4 * model.hidden_size, num_attention_heads=model.num_attention_heads,
        num_query_groups=names.heads(model)[0], group_query_attention=names.heads(model)[1] > 1, kv_channels=names.heads(model)[2],
        max_position_embeddings=model.max_position_embeddings, add_position_embedding=True, padded_vocab_size=rows, vocab_size=model.vocab_size,
        make_vocab_size_divisible_by=1, tensor_model_parallel_size=tp, pipeline_model_parallel_size=pp, normalization="RMSNorm", swiglu=True,
        add_qkv_bias=model.add_qkv_bias, qk_layernorm=model.qk_layernorm, untie_embeddings_and_output_weights=model.untie_embeddings_and_output_weights,
        position_embedding_type="rope", rotary_base=model.rotary_base, consumed_train_samples=0, consumed_valid_samples=0,
        tokenizer_type="PretrainedFromHF", data_parallel_random_init=False, phase_transition_iterations=None, use_distributed_optimizer=False)


def _files(directory: Path) -> dict[tuple[int, int, int], Path]:
    """Tensor-parallel rank, stage, expert-parallel rank -> file."""
    found = {}
    for one in directory.glob("mp_rank_*"):
        match = _DIRECTORY.match(one.name)
        file = next((one / name for name in (FILE, *OTHER_FILES) if (one / name).is_file()), None)
        if match and file:
            found[int(match.group(1)), int(match.group(2) or 0), int(match.group(3) or 0)] = file
    if not found:
        raise DataError("there are no files of ranks", where=str(directory), got="nothing", expected=f"mp_rank_00/{FILE}", fix="Check --load-dir")
    return found


def _state(path: Path) -> dict[str, Handle]:
    def opened() -> BinaryIO:
        return path.open("rb")

    found = torchfile.tree(opened, where=str(path))
    state = found.get("model") if isinstance(found, dict) else None
    if not isinstance(state, dict):
        virtual = isinstance(found, dict) and "model0" in found
        raise DataError("there is no model in the file", where=str(path), got="chunks of an interleaved pipeline" if virtual else "something else", expected="an object with model", fix="Save without virtual pipeline stages" if virtual else "Check --load-dir")
    return {name: value for name, value in state.items() if isinstance(value, Handle)}
