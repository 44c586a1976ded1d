"""Which tensors of Hugging Face make which of Megatron's, and how a tensor-parallel rank's part is cut. Pure.

Both sides hold the same numbers in another arrangement: Megatron keeps Q, K and V of a layer in one matrix,
for each group of heads that share a key its queries, then the key, then the value; gate and up of the MLP in
one matrix, gate first. Names on Megatron's side are those of megatron-core 0.16.1: ``key`` is a tensor's name
in a torch_dist checkpoint, where the layers (and in each the experts) are stacked in one tensor; ``name`` its
name in a rank's module. Hugging Face's names of a mixture are those of its files, where each expert has its own
tensors (transformers 5 stacks them when it has loaded them).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from trainer.spec.job import Model

Kind = Literal["copy", "column", "row", "qkv", "gate", "gate_up"]
"""copy: the same on all ranks; column: cut along dimension 0; row: along dimension 1; qkv and gate: several of
Hugging Face's in one, cut along dimension 0 by groups and by halves; gate_up: one there too, cut like gate."""


_MIXTURES: Mapping[str, tuple[str, str, str, str]] = {
    "qwen3_moe": ("mlp", "gate_proj", "up_proj", "down_proj"), "mixtral": ("block_sparse_moe", "w1", "w3", "w2")}
"""model_type -> what a layer's mixture is called, and the gate, up and down of its experts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of Megatron's."""

    key: str
    name: str
    """With ``{}`` for the number of the layer, counted within the rank's own, and another for the expert's."""
    hf: tuple[str, ...]
    kind: Kind
    shape: tuple[int, ...]
    """Of the whole tensor, all ranks together, one layer, one expert."""
    hf_shapes: tuple[tuple[int, ...], ...]
    layer: int | None = None
    """Counted over the whole model; None: not of a layer."""
    expert: int | None = None
    """Counted over all ranks; None: not of an expert."""

    @property
    def place(self) -> tuple[int, ...]:
        """Where it lies in the stacked tensor of a torch_dist checkpoint: layer, expert."""
        return tuple(number for number in (self.layer, self.expert) if number is not None)

    @property
    def cut(self) -> int | None:
        """The dimension that tensor parallelism cuts; None: it does not."""
        return {"copy": None, "row": 1}.get(self.kind, 0)


def entries(model: Model) -> Iterator[Entry]:
    """All tensors of a model, in the order of its layers; each of Hugging Face's occurs once."""
    wide, vocab = model.hidden_size, model.vocab_size
    yield _plain("embedding.word_embeddings.weight", "model.embed_tokens.weight", "column", (vocab, wide))
    for layer in range(model.num_layers):
        yield from _layer(model, layer)
    yield _plain("decoder.final_layernorm.weight", "model.norm.weight", "copy", (wide,))
    if model.untie_embeddings_and_output_weights:
        yield _plain("output_layer.weight", "lm_head.weight", "column", (vocab, wide))


def extra_states(model: Model) -> Iterator[tuple[str, int]]:
    """Name and layer of the empty objects that megatron-core's linears have in a torch_dist checkpoint."""
    for layer in range(model.num_layers):
        attention = ("self_attention.linear_proj", "self_attention.linear_qkv")
        for key in attention if model.num_experts else (*attention, "mlp.linear_fc1", "mlp.linear_fc2"):
            yield f"decoder.layers.{key}._extra_state/shard_{layer}_{model.num_layers}", layer
        for expert in range(model.num_experts):
            for key in ("linear_fc1", "linear_fc2"):
                yield f"decoder.layers.mlp.experts.experts.{key}._extra_state/shard_{layer}.{expert}_{model.num_layers}.{model.num_experts}", layer


def stacked(model: Model, entry: Entry) -> tuple[int, ...]:
    """The shape of an entry's tensor in a torch_dist checkpoint, that of its layers and experts first."""
    return (*(model.num_layers, model.num_experts)[: len(entry.place)], *entry.shape)


def kind_of(model: Model) -> str:
    """The model_type that has this shape: by experts, qk-norm, bias and interleaving, for a family's name may be anything."""
    if model.num_experts:
        return "qwen3_moe" if model.qk_layernorm else "mixtral"
    if model.qk_layernorm:
        return "qwen3"
    if model.rotary_interleaved or model.rotary_percent != 1.0:
        return "glm"
    return "qwen2" if model.add_qkv_bias else "llama"


def heads(model: Model) -> tuple[int, int, int]:
    """Groups of heads, queries in a group, width of a head."""
    groups = model.num_query_groups or model.num_attention_heads
    return groups, model.num_attention_heads // groups, model.kv_channels or model.hidden_size // model.num_attention_heads


def ffn(model: Model) -> int:
    """Inner width of the MLP, or of one expert's."""
    return (model.moe_ffn_hidden_size if model.num_experts else 0) or model.ffn_hidden_size or 4 * model.hidden_size


def stages(model: Model, pipeline_model_parallel_size: int) -> list[range]:
    """The layers of each pipeline stage. Raises ValueError where they do not go up."""
    size = pipeline_model_parallel_size
    if model.num_layer_list:
        counts = [int(word) for word in model.num_layer_list.split(",")]
        if len(counts) != size or sum(counts) != model.num_layers:
            raise ValueError(f"num_layer_list {model.num_layer_list!r} is not {size} stages of together {model.num_layers} layers")
    elif model.num_layers % size:
        raise ValueError(f"{model.num_layers} layers do not go up in {size} pipeline stages")
    else:
        counts = [model.num_layers // size] * size
    ends = [sum(counts[: stage + 1]) for stage in range(size)]
    return [range(end - count, end) for count, end in zip(counts, ends, strict=True)]


def check_tensor_parallel(model: Model, size: int) -> None:
    """Raises ValueError where the model cannot be cut into so many parts."""
    groups, _, _ = heads(model)
    for told, number in (("groups of heads", groups), ("of moe_ffn_hidden_size" if model.num_experts else "of ffn_hidden_size", ffn(model))):
        if size < 1 or number % size:
            raise ValueError(f"{number} {told} do not go up in {size} tensor-parallel parts")


def check_expert_parallel(model: Model, size: int) -> None:
    """Raises ValueError where the experts cannot be dealt to so many ranks."""
    if size != 1 and (size < 1 or not model.num_experts or model.num_experts % size):
        raise ValueError(f"{model.num_experts} experts do not go up in {size} expert-parallel parts" if model.num_experts else "a dense model has no experts to deal out")


def expert_rank(model: Model, entry: Entry, size: int) -> int:
    """The expert-parallel rank of ``size`` that has an entry; 0 for what is no expert's, which all have."""
    return 0 if entry.expert is None else entry.expert // (model.num_experts // size)


def padded(rows: int, size: int, multiple: int) -> int:
    """Rows of the vocabulary's tensors when each of ``size`` parts is to be a multiple of ``multiple``
    (Megatron's --make-vocab-size-divisible-by)."""
    unit = size * multiple
    return -(-rows // unit) * unit


def _layer(model: Model, layer: int) -> Iterator[Entry]:
    groups, queries, head = heads(model)
    wide, inner = model.hidden_size, ffn(model)
    source = f"model.layers.{layer}."
    q, kv = groups * queries * head, groups * head

    def entry(
        key: str, name: str, hf: tuple[str, ...], kind: Kind, shape: tuple[int, ...], hf_shapes: tuple[tuple[int, ...], ...], expert: int | None = None,
    ) -> Entry:
        return Entry(
            key=f"decoder.layers.{key}", name=f"decoder.layers.{{}}.{name}", hf=tuple(source + one for one in hf), kind=kind, shape=shape,
            hf_shapes=hf_shapes, layer=layer, expert=expert)

    qkv = tuple(f"self_attn.{one}_proj" for one in "qkv")
    # A rank of megatron-core's local layers has its norms beside the linears; a checkpoint names them as
    # Transformer Engine does, within the linear they come before.
    yield entry("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight", ("input_layernorm.weight",), "copy", (wide,), ((wide,),))
    yield entry(
        "self_attention.linear_qkv.weight", "self_attention.linear_qkv.weight", tuple(f"{one}.weight" for one in qkv), "qkv", (q + 2 * kv, wide),
        ((q, wide), (kv, wide), (kv, wide)))
    if model.add_qkv_bias:
        yield entry(
            "self_attention.linear_qkv.bias", "self_attention.linear_qkv.bias", tuple(f"{one}.bias" for one in qkv), "qkv", (q + 2 * kv,),
            ((q,), (kv,), (kv,)))
    if model.qk_layernorm:
        for one in "qk":
            name = f"self_attention.{one}_layernorm.weight"
            yield entry(name, name, (f"self_attn.{one}_norm.weight",), "copy", (head,), ((head,),))
    yield entry("self_attention.linear_proj.weight", "self_attention.linear_proj.weight", ("self_attn.o_proj.weight",), "row", (wide, q), ((wide, q),))
    yield entry("mlp.linear_fc1.layer_norm_weight", "pre_mlp_layernorm.weight", ("post_attention_layernorm.weight",), "copy", (wide,), ((wide,),))
    if model.num_experts:
        block, gate, up, down = _MIXTURES[kind_of(model)]
        yield entry("mlp.router.weight", "mlp.router.weight", (f"{block}.gate.weight",), "copy", (model.num_experts, wide), ((model.num_experts, wide),))
        for number in range(model.num_experts):
            key, name, own = "mlp.experts.experts.", "mlp.experts.local_experts.{}.", f"{block}.experts.{number}."
            yield entry(
                f"{key}linear_fc1.weight", f"{name}linear_fc1.weight", (f"{own}{gate}.weight", f"{own}{up}.weight"), "gate", (2 * inner, wide),
                ((inner, wide), (inner, wide)), number)
            yield entry(f"{key}linear_fc2.weight", f"{name}linear_fc2.weight", (f"{own}{down}.weight",), "row", (wide, inner), ((wide, inner),), number)
        return
    if kind_of(model) == "glm":
        yield entry("mlp.linear_fc1.weight", "mlp.linear_fc1.weight", ("mlp.gate_up_proj.weight",), "gate_up", (2 * inner, wide), ((2 * inner, wide),))
    else:
        yield entry(
            "mlp.linear_fc1.weight", "mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), "gate", (2 * inner, wide),
            ((inner, wide), (inner, wide)))
    yield entry("mlp.linear_fc2.weight", "mlp.linear_fc2.weight", ("mlp.down_proj.weight",), "row", (wide, inner), ((wide, inner),))


def _plain(name: str, hf: str, kind: Kind, shape: tuple[int, ...]) -> Entry:
    return Entry(key=name, name=name, hf=(hf,), kind=kind, shape=shape, hf_shapes=(shape,))
