"""How a world of ranks is cut, and how much the model weighs. Torch-free arithmetic on a JobSpec.

Everything here is total: a spec that does not fit gives a number one can still show (``rules`` says what
is wrong with it). Formulas: Megatron's arguments.py (world = tp x pp x cp x dp) and the GPT that
``runtime.model`` builds (RMSNorm, rotary positions, gated SiLU MLP, no biases, untied embeddings).
"""

from __future__ import annotations

from trainer.spec.job import JobSpec, Model

CHECKPOINT_BYTES_PER_PARAMETER = 16
"""torch_dist with the distributed optimizer in fp32: the model's own copy, the main parameter, exp_avg, exp_avg_sq."""

CHECKPOINT_BYTES_FIXED = 64 * 1024
"""Metadata, common state and headers that come on top; measured 20 to 60 kB for the demo's model."""


def nnodes(spec: JobSpec) -> int:
    """Nodes that take part."""
    return len(spec.fleet.nodes)


def world_size(spec: JobSpec) -> int:
    """Ranks of the whole job: nodes x NPUs per node."""
    return nnodes(spec) * spec.fleet.npus_per_node


def model_parallel_size(spec: JobSpec) -> int:
    """Ranks that one copy of the model takes: tp x pp x cp."""
    parallel = spec.parallel
    return (
        parallel.tensor_model_parallel_size
        * parallel.pipeline_model_parallel_size
        * parallel.context_parallel_size
    )


def data_parallel_size(spec: JobSpec) -> int:
    """Copies of the model, rounded down; 0 when the world is too small or a size is not positive."""
    return world_size(spec) // model_parallel_size(spec) if model_parallel_size(spec) > 0 else 0


def ffn_hidden_size(model: Model) -> int:
    """Inner width of the MLP."""
    return model.ffn_hidden_size or 4 * model.hidden_size


def num_query_groups(model: Model) -> int:
    """Key/value heads."""
    return model.num_query_groups or model.num_attention_heads


def parameter_count(model: Model) -> int:
    """Parameters of the whole model, embeddings and output layer included."""
    hidden, heads, groups = model.hidden_size, model.num_attention_heads, num_query_groups(model)
    head = head_width(model)
    attention = hidden * head * (heads + 2 * groups) + heads * head * hidden
    if model.add_qkv_bias:
        attention += head * (heads + 2 * groups)
    if model.qk_layernorm:
        attention += 2 * head
    mlp = 3 * hidden * ffn_hidden_size(model)
    if model.num_experts:
        mlp = model.num_experts * (3 * hidden * (model.moe_ffn_hidden_size or ffn_hidden_size(model)) + hidden)
    embeddings = (2 if model.untie_embeddings_and_output_weights else 1) * model.vocab_size * hidden
    return model.num_layers * (attention + mlp + 2 * hidden) + hidden + embeddings


def head_width(model: Model) -> int:
    """Width of one attention head; 0 for a model without heads."""
    return model.kv_channels or (model.hidden_size // model.num_attention_heads if model.num_attention_heads > 0 else 0)


def checkpoint_bytes(model: Model) -> int:
    """Expected size of one checkpoint on disk, all ranks together, in bytes; right to a few per cent."""
    return parameter_count(model) * CHECKPOINT_BYTES_PER_PARAMETER + CHECKPOINT_BYTES_FIXED


def flops_per_sample(model: Model, seq_length: int) -> float:
    """Floating point operations of one training step on one sample, forward and backward.

    6 per matrix parameter and token, plus the two attention products (12 x layers x hidden x seq_length a
    token), as Megatron's num_floating_point_operations counts them; the input embedding is a look-up, and
    of a mixture only the experts that a token is sent to count.
    """
    matrix_parameters = parameter_count(model)
    if model.untie_embeddings_and_output_weights:
        matrix_parameters -= model.vocab_size * model.hidden_size
    if model.num_experts:
        idle = max(0, model.num_experts - model.moe_router_topk)
        matrix_parameters -= model.num_layers * idle * 3 * model.hidden_size * (model.moe_ffn_hidden_size or ffn_hidden_size(model))
    attention = 12 * model.num_layers * model.num_attention_heads * head_width(model) * seq_length
    return float(seq_length) * (6 * matrix_parameters + attention)
