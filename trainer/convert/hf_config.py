"""Hugging Face's ``config.json`` for a model of ours: what ``spec.families.from_hf`` reads, written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.convert.names import ffn, kind_of
from trainer.spec.job import Model

_KINDS: Mapping[str, tuple[str, str]] = {
    "llama": ("llama", "LlamaForCausalLM"), "qwen2": ("qwen2", "Qwen2ForCausalLM"), "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "glm": ("glm", "GlmForCausalLM"), "qwen3_moe": ("qwen3_moe", "Qwen3MoeForCausalLM"), "mixtral": ("mixtral", "MixtralForCausalLM")}


def to_hf(model: Model, *, dtype: str) -> dict[str, Any]:
    """The config.json. ``dtype``: of the weights, as torch spells it. Raises ValueError for shapes that no model_type has."""
    kind = kind_of(model)
    if kind in ("qwen3", "qwen3_moe") and (model.rotary_interleaved or model.rotary_percent != 1.0):
        raise ValueError("no model_type has norms of Q and K together with partial or interleaved rotary positions")
    if kind == "mixtral" and (model.rotary_interleaved or model.rotary_percent != 1.0 or model.add_qkv_bias):
        raise ValueError("no model_type has a mixture of experts without norms of Q and K, and a bias or partial rotary positions")
    model_type, architecture = _KINDS[kind]
    groups = model.num_query_groups or model.num_attention_heads
    made: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.ffn_hidden_size or 4 * model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": groups,
        "head_dim": model.kv_channels or model.hidden_size // model.num_attention_heads,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.max_position_embeddings,
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": float(model.rotary_base),
        "hidden_act": "silu",
        "initializer_range": model.init_std,
        "tie_word_embeddings": not model.untie_embeddings_and_output_weights,
        "torch_dtype": dtype,
        # Ids of the byte tokenizer; those of another come with its files.
        "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    }
    if kind == "qwen3_moe":
        made |= {
            "num_experts": model.num_experts, "num_experts_per_tok": model.moe_router_topk, "moe_intermediate_size": ffn(model),
            "norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
    if kind == "mixtral":
        made |= {"num_local_experts": model.num_experts, "num_experts_per_tok": model.moe_router_topk, "intermediate_size": ffn(model), "sliding_window": None}
    if kind in ("qwen3", "qwen3_moe", "glm"):
        made["attention_bias"] = model.add_qkv_bias
    if kind == "qwen2":
        made["use_sliding_window"] = False
        del made["head_dim"]  # transformers' Qwen2 has none of its own
        if model.kv_channels not in (0, model.hidden_size // model.num_attention_heads):
            raise ValueError("qwen2 has no head width of its own (model.kv_channels)")
    if kind == "glm":
        made["partial_rotary_factor"] = model.rotary_percent
    if model.rope_scaling_factor:
        made["rope_scaling"] = {
            "rope_type": "llama3", "factor": model.rope_scaling_factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}
    return made
