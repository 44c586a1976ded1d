"""The model: megatron-core's GPTModel with parts that run alike on cpu, cuda and npu.

A Llama-like GPT: RMSNorm, rotary positions, gated SiLU MLP, no biases, untied embeddings, fp32. Neither
Transformer Engine nor Apex nor a fused kernel is needed: attention is torch's own
scaled_dot_product_attention, the norm torch's own. ``trainer.spec.parallel`` counts the same parameters.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as functional
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
from megatron.core.transformer import TransformerConfig
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build

from trainer.spec import parallel
from trainer.spec.job import JobSpec

NORM_EPSILON = 1e-5


class Norm:
    """RMSNorm as a layer of megatron-core: what it builds is torch's, with the mark that gradients of
    sequence-parallel parameters are found by."""

    def __new__(cls, config: TransformerConfig, hidden_size: int, eps: float = NORM_EPSILON, **_: Any) -> torch.nn.Module:  # type: ignore[misc]
        norm = torch.nn.RMSNorm(hidden_size, eps=eps)
        for parameter in norm.parameters():
            parameter.sequence_parallel = config.sequence_parallel
        return norm


class Attention(MegatronModule):
    """Causal attention over whole sequences by torch. No context parallelism, no packed sequences."""

    def __init__(self, config: TransformerConfig, softmax_scale: float | None = None, **_: Any) -> None:
        super().__init__(config=config)
        self._scale = softmax_scale

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """[seq, batch, heads, head width] each (key and value: query groups); returns [seq, batch, heads x head width]."""
        q, k, v = (tensor.permute(1, 2, 0, 3) for tensor in (query, key, value))
        context = functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self._scale, enable_gqa=q.shape[1] != k.shape[1])
        return context.permute(2, 0, 1, 3).reshape(query.shape[0], query.shape[1], -1)


def transformer_config(spec: JobSpec) -> TransformerConfig:
    """The job's model and parallel blocks in megatron-core's words; everything fused is off."""
    model, cut = spec.model, spec.parallel
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        ffn_hidden_size=parallel.ffn_hidden_size(model),
        num_attention_heads=model.num_attention_heads,
        num_query_groups=parallel.num_query_groups(model),
        tensor_model_parallel_size=cut.tensor_model_parallel_size,
        pipeline_model_parallel_size=cut.pipeline_model_parallel_size,
        context_parallel_size=cut.context_parallel_size,
        normalization="RMSNorm",
        layernorm_epsilon=NORM_EPSILON,
        gated_linear_unit=True,
        activation_func=functional.silu,
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        params_dtype=torch.float32,
        pipeline_dtype=torch.float32,
        # Initialised on the CPU on every device, so that a seed means the same weights everywhere.
        use_cpu_initialization=True,
        calculate_per_token_loss=True,
        deterministic_mode=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        cross_entropy_loss_fusion=False,
    )


def layers(config: TransformerConfig) -> TransformerBlockSubmodules:
    """megatron-core's local layer spec with our attention and norms, for all layers of this stage."""
    layer = copy.deepcopy(get_gpt_layer_local_spec(normalization=config.normalization))
    layer.submodules.input_layernorm = Norm
    layer.submodules.pre_mlp_layernorm = Norm
    layer.submodules.self_attention.submodules.core_attention = Attention
    return TransformerBlockSubmodules(layer_specs=[layer] * get_num_layers_to_build(config), layer_norm=Norm)


def build(spec: JobSpec, device: str) -> tuple[DistributedDataParallel, Any]:
    """The model of this rank on its device, in megatron-core's DDP, and its distributed optimizer.

    The process groups must be there. All ranks start from the same parameters.
    """
    config = transformer_config(spec)
    gpt = GPTModel(
        config=config,
        transformer_layer_spec=layers(config),
        vocab_size=spec.model.vocab_size,
        max_sequence_length=max(spec.model.max_position_embeddings, spec.train.seq_length),
        pre_process=parallel_state.is_pipeline_first_stage(),
        post_process=parallel_state.is_pipeline_last_stage(),
        position_embedding_type="rope",
        share_embeddings_and_output_weights=False,
        parallel_output=True,
    ).to(device)
    model = DistributedDataParallel(
        config, DistributedDataParallelConfig(grad_reduce_in_fp32=True, use_distributed_optimizer=True), gpt
    )
    model.broadcast_params()
    optimizer = get_megatron_optimizer(
        OptimizerConfig(
            optimizer="adam",
            lr=spec.train.learning_rate,
            min_lr=spec.train.min_learning_rate,
            weight_decay=spec.train.weight_decay,
            clip_grad=spec.train.clip_grad,
            use_distributed_optimizer=True,
        ),
        [model],
        use_gloo_process_groups=False,
    )
    config.finalize_model_grads_func = finalize_model_grads
    config.grad_scale_func = optimizer.scale_loss
    return model, optimizer


def set_rates(optimizer: Any, *, learning_rate: float, weight_decay: float) -> None:
    """Give every parameter group its rates for the next step, by the multipliers megatron-core put on it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]
