"""Weights with a run's adapters added in, tensor by tensor: a source like any other.

An adapter's matrices lie in the checkpoint under the name of the linear they belong to, ``adapter_a`` (rank x
in) and ``adapter_b`` (out x rank), stacked by layer and expert like the linear itself; their product times alpha / rank is
added, in fp32, and rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trainer.convert.dist import Reader
from trainer.convert.names import Entry
from trainer.data.refusal import DataError

LINEARS = (
    "self_attention.linear_qkv", "self_attention.linear_proj", "mlp.linear_fc1", "mlp.linear_fc2",
    "mlp.experts.experts.linear_fc1", "mlp.experts.experts.linear_fc2")


class Merged:
    """A source of weights and the adapters on it."""

    kind = "merged"

    def __init__(self, base: Any, adapters: Path, *, alpha: float) -> None:
        """``adapters``: the directory of one iteration. Raises DataError when it holds none, or none that fit."""
        self._base, self._reader = base, Reader(adapters)
        self.model, self.config, self.layout, self.dtype = base.model, base.config, base.layout, base.dtype
        there = self._reader.keys()
        self._scale: Mapping[str, float] = {
            f"decoder.layers.{name}.weight": alpha / self._reader.shape(f"decoder.layers.{name}.adapter_a")[-2]
            for name in LINEARS if {f"decoder.layers.{name}.adapter_a", f"decoder.layers.{name}.adapter_b"} <= there}
        if not self._scale:
            raise DataError("there are no adapters", where=str(adapters), got="none", expected="a checkpoint of a lora run", fix="Name the checkpoint directory of the lora run")
        found = self._reader.shape(f"{next(iter(self._scale)).removesuffix('weight')}adapter_a")[0]
        if found != self.model.num_layers:
            raise DataError("the adapters are of another model", where=str(adapters), got=f"{found} layers", expected=f"{self.model.num_layers} layers", fix="Name the weights that the lora run started from")

    @property
    def adapted(self) -> int:
        """Linears that have an adapter."""
        return sum(int(self.model.num_layers) * (int(self.model.num_experts) if ".experts." in key else 1) for key in self._scale)

    def dtype_of(self, entry: Entry) -> torch.dtype:
        found: torch.dtype = self._base.dtype_of(entry)
        return found

    def read(self, entry: Entry) -> torch.Tensor:
        """Megatron's whole tensor, adapter included."""
        tensor: torch.Tensor = self._base.read(entry)
        scale = self._scale.get(entry.key)
        if scale is None:
            return tensor
        stem = entry.key.removesuffix("weight")
        a, b = (self._reader.read(stem + name, entry.place).float() for name in ("adapter_a", "adapter_b"))
        if (b.shape[0], a.shape[1]) != tuple(tensor.shape):
            raise DataError("an adapter does not fit its weights", where=entry.key, got=f"{b.shape[0]} x {a.shape[1]}", expected=" x ".join(map(str, tensor.shape)), fix="Name the weights that the lora run started from")
        return (tensor.float() + b @ a * scale).to(tensor.dtype)
