"""Model shapes from config.json as transformers writes it, and what is refused rather than guessed."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.spec.blocks import Model
from trainer.spec.families import PRESETS, from_hf, preset

BASE: dict[str, Any] = {
    "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 512,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "num_key_value_heads": 2, "max_position_embeddings": 4096,
}


def shape(**config: Any) -> Model:
    return from_hf({**BASE, **config}, Model())


def test_sizes_are_taken_over() -> None:
    model = shape(model_type="llama")
    assert (model.num_layers, model.hidden_size, model.ffn_hidden_size, model.num_attention_heads) == (3, 96, 128, 4)
    assert (model.num_query_groups, model.vocab_size, model.max_position_embeddings, model.norm_epsilon) == (2, 512, 4096, 1e-6)


def test_families_differ_where_they_do() -> None:
    assert [shape(model_type=kind).add_qkv_bias for kind in ("llama", "qwen2", "qwen3", "glm")] == [False, True, False, True]
    assert shape(model_type="qwen3", head_dim=32).kv_channels == 32
    assert shape(model_type="qwen3").qk_layernorm
    glm = shape(model_type="glm")
    assert (glm.rotary_percent, glm.rotary_interleaved) == (0.5, True)
    assert not shape(model_type="qwen2", tie_word_embeddings=True).untie_embeddings_and_output_weights


QWEN = {"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 4, "moe_intermediate_size": 48, "norm_topk_prob": True}


def test_mixtures_are_taken_over() -> None:
    model = shape(**QWEN)
    assert (model.num_experts, model.moe_router_topk, model.moe_ffn_hidden_size, model.ffn_hidden_size, model.qk_layernorm) == (8, 4, 48, 128, True)
    # As transformers 5 writes it.
    assert shape(**{name: value for name, value in QWEN.items() if name != "num_experts"}, num_local_experts=8) == model
    mixtral = shape(model_type="mixtral", num_local_experts=8, num_experts_per_tok=2, sliding_window=None)
    assert (mixtral.num_experts, mixtral.moe_router_topk, mixtral.moe_ffn_hidden_size, mixtral.qk_layernorm) == (8, 2, 128, False)


@pytest.mark.parametrize(("change", "told"), [
    ({"norm_topk_prob": False}, "do not add up to 1"),
    ({"mlp_only_layers": [0]}, "some layers have no experts"),
    ({"decoder_sparse_step": 2}, "some layers have no experts"),
    ({"moe_intermediate_size": None}, "moe_intermediate_size is missing"),
    ({"model_type": "mixtral", "sliding_window": 4096}, "sliding_window is set"),
])
def test_mixtures_that_would_be_trained_as_others_are_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        shape(**{**QWEN, **change})


@pytest.mark.parametrize("rope", [
    {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}},
    {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}},
])
def test_rotary_settings_of_old_and_new_files(rope: dict[str, Any]) -> None:
    model = shape(model_type="llama", **rope)
    assert (model.rotary_base, model.rope_scaling_factor) == (500000, 8.0)


def test_what_would_be_trained_as_something_else_is_refused_all_at_once() -> None:
    with pytest.raises(ValueError, match=r"gelu.*mlp_bias.*yarn"):
        shape(model_type="llama", hidden_act="gelu", mlp_bias=True, rope_scaling={"type": "yarn", "factor": 4.0})
    with pytest.raises(ValueError, match="model_type 'mamba' is not one of llama"):
        shape(model_type="mamba")
    with pytest.raises(ValueError, match="vocab_size is missing"):
        shape(model_type="llama", vocab_size=None)


def test_a_preset_gives_way_to_what_was_set() -> None:
    assert preset(Model(preset="tiny-qwen3")).qk_layernorm
    assert preset(Model(preset="tiny-qwen3", num_query_groups=4)).num_query_groups == 4
    assert preset(Model()) == Model()
    with pytest.raises(ValueError, match="tiny-llama"):
        preset(Model(preset="huge"))
    for name in PRESETS:
        preset(Model(preset=name))
