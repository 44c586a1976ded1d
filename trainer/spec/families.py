"""Model shapes by name: what a Hugging Face ``config.json`` says, and the tiny presets. Pure, torch-free.

``from_hf`` reads the keys that transformers writes for Llama 2/3, Qwen 1.5/2/2.5/3, GLM-4 and the mixtures
Qwen3-MoE and Mixtral (models of one shape: RMSNorm, rotary positions, gated SiLU MLP, no bias but that of
Q, K and V; of a mixture every layer, without shared experts) and refuses what the trainer would silently
train as something else: another activation, another rotary scaling than Llama 3's, biases elsewhere,
sliding windows in use, dense layers among those of experts, experts whose weights do not add up to 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from trainer.spec.blocks import Model

_QKV_BIAS_DEFAULT = {"qwen2": True, "qwen3": False, "llama": False, "glm": True, "qwen3_moe": False, "mixtral": False}
"""Whether Q, K and V have a bias where config.json does not say: Qwen2's files never do."""

KNOWN = ("llama", "qwen2", "qwen3", "glm", "qwen3_moe", "mixtral")
"""``model_type`` values. Qwen 1.5 and 2.5 are qwen2; Llama 2 and 3 are llama."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "tiny-llama": {"family": "llama"},
    "tiny-llama3": {"family": "llama", "num_query_groups": 2, "rotary_base": 500000, "rope_scaling_factor": 8.0},
    "tiny-qwen2": {"family": "qwen2", "num_query_groups": 2, "add_qkv_bias": True, "untie_embeddings_and_output_weights": False, "norm_epsilon": 1e-6, "rotary_base": 1000000},
    "tiny-qwen3": {"family": "qwen3", "num_query_groups": 2, "qk_layernorm": True, "kv_channels": 32, "norm_epsilon": 1e-6, "rotary_base": 1000000},
    "tiny-glm": {"family": "glm", "num_query_groups": 2, "add_qkv_bias": True, "rotary_percent": 0.5, "rotary_interleaved": True},
    "tiny-moe": {"family": "moe", "num_experts": 4, "moe_router_topk": 2, "moe_ffn_hidden_size": 64},
}
"""Beside Model's defaults (2 layers of 64, 4 heads, 256 tokens, a byte each)."""


def preset(model: Model) -> Model:
    """The model with its preset's values; what was set to something else than Model's default stays.

    Raises ValueError for a preset that is none. An empty one changes nothing.
    """
    if not model.preset:
        return model
    if model.preset not in PRESETS:
        raise ValueError(f"no preset is called {model.preset!r}; there are {', '.join(PRESETS)}")
    given = {field.name: getattr(model, field.name) for field in dataclasses.fields(Model)}
    defaults = {field.name: field.default for field in dataclasses.fields(Model)}
    values = {name: value for name, value in PRESETS[model.preset].items() if given[name] == defaults[name]}
    return dataclasses.replace(model, **values)


def from_hf(config: Mapping[str, Any], model: Model) -> Model:
    """``model`` with the shape that a config.json gives. Raises ValueError naming all that cannot be trained."""
    kind = str(config.get("model_type", ""))
    problems = [] if kind in KNOWN else [f"model_type {kind!r} is not one of {', '.join(KNOWN)}"]
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    problems += [f"{name} is missing" for name in needed if not isinstance(config.get(name), int)]
    if config.get("hidden_act", "silu") not in ("silu", "swish"):
        problems.append(f"hidden_act {config['hidden_act']!r} is not silu")
    if config.get("mlp_bias"):
        problems.append("mlp_bias is set")
    mixture: dict[str, Any] = {}
    if kind in ("qwen3_moe", "mixtral"):
        mixture = _mixture(config, kind, problems)
    if config.get("use_sliding_window"):
        problems.append("use_sliding_window is set")
    if kind == "llama" and config.get("attention_bias"):
        problems.append("attention_bias is set, which for Llama puts a bias on the output projection too")
    rope = _rope(config)
    scaling = str(rope.get("rope_type", rope.get("type", "default")))
    if scaling not in ("default", "llama3"):
        problems.append(f"rope scaling {scaling!r} is neither default nor llama3")
    if scaling == "llama3":
        shape = (rope.get("low_freq_factor", 1.0), rope.get("high_freq_factor", 4.0), rope.get("original_max_position_embeddings", 8192))
        if shape != (1.0, 4.0, 8192):
            problems.append(f"llama3 rope scaling of {shape} instead of (1.0, 4.0, 8192)")
    if problems:
        raise ValueError("; ".join(problems))
    heads = int(config["num_attention_heads"])
    return dataclasses.replace(
        model,
        family=model.family or kind,
        num_layers=int(config["num_hidden_layers"]),
        hidden_size=int(config["hidden_size"]),
        ffn_hidden_size=int(config["intermediate_size"]),
        num_attention_heads=heads,
        num_query_groups=int(config.get("num_key_value_heads") or heads),
        kv_channels=int(config.get("head_dim") or 0),
        vocab_size=int(config["vocab_size"]),
        max_position_embeddings=int(config.get("max_position_embeddings", model.max_position_embeddings)),
        add_qkv_bias=bool(config.get("attention_bias", _QKV_BIAS_DEFAULT[kind])),
        qk_layernorm=kind in ("qwen3", "qwen3_moe"),
        untie_embeddings_and_output_weights=not config.get("tie_word_embeddings", False),
        norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
        rotary_base=int(rope.get("rope_theta", config.get("rope_theta", 10000))),
        rotary_percent=float(rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 0.5 if kind == "glm" else 1.0))),
        rotary_interleaved=kind == "glm",
        rope_scaling_factor=float(rope["factor"]) if scaling == "llama3" else 0.0,
        init_std=float(config.get("initializer_range", model.init_std)),
        **mixture,
    )


def _mixture(config: Mapping[str, Any], kind: str, problems: list[str]) -> dict[str, Any]:
    """What a config.json says of experts; what cannot be trained of it goes to ``problems``."""
    # transformers 5 calls them num_local_experts in both; before it, and on the hub, Qwen's are num_experts.
    experts = config.get("num_experts", config.get("num_local_experts"))
    inner = config.get("moe_intermediate_size" if kind == "qwen3_moe" else "intermediate_size")
    given = {"num_experts": experts, "num_experts_per_tok": config.get("num_experts_per_tok"), "moe_intermediate_size": inner}
    problems += [f"{name} is missing" for name, value in given.items() if not isinstance(value, int)]
    if kind == "mixtral" and config.get("sliding_window"):
        problems.append("sliding_window is set")
    if kind == "qwen3_moe":
        if not config.get("norm_topk_prob"):
            problems.append("norm_topk_prob is not set, so that the weights of a token's experts do not add up to 1")
        if config.get("decoder_sparse_step", 1) != 1 or config.get("mlp_only_layers"):
            problems.append("some layers have no experts (decoder_sparse_step, mlp_only_layers)")
    return {} if problems else {"num_experts": experts, "moe_router_topk": given["num_experts_per_tok"], "moe_ffn_hidden_size": inner}


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    # transformers 5 writes rope_parameters, with theta in it; before it was rope_scaling, or null.
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return found if isinstance(found, Mapping) else {}
