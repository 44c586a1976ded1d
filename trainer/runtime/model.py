"""The model: megatron-core's GPTModel with parts that run alike on cpu, cuda and npu.

A GPT of the Llama, Qwen or GLM kind: RMSNorm, rotary positions, gated SiLU MLP, grouped queries, optional
bias of Q, K and V, optional norms of Q and K, tied or untied embeddings, optionally a mixture of experts.
Neither Transformer Engine nor Apex nor a fused kernel is needed. ``trainer.spec.parallel`` counts the same
parameters. A rank holds one chunk of the layers, or several where the pipeline is interleaved.
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
from megatron.core.transformer.module import Float16Module
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build

from trainer.runtime import initial
from trainer.runtime.attention import Attention, Norm
from trainer.spec import parallel
from trainer.spec.job import JobSpec

AUX_LOSS = 0.01
"""Weight of the loss that keeps a mixture's experts evenly used, as in the Switch and Mixtral papers."""

FUSED = ("cpu",)
"""Kinds of device on which torch's fused AdamW is used: where it has been seen to save, load and go on."""


def half(spec: JobSpec, device: str) -> bool:
    """Whether to train in bf16 (main parameters and sums stay fp32). auto: not on a CPU."""
    return spec.train.precision == "bf16" or (spec.train.precision == "auto" and not device.startswith("cpu"))


def transformer_config(spec: JobSpec, device: str = "cpu") -> TransformerConfig:
    """The job's model and parallel blocks in megatron-core's words; everything fused is off."""
    model, cut = spec.model, spec.parallel
    dtype = torch.bfloat16 if half(spec, device) else torch.float32
    mixture: dict[str, Any] = {}
    if model.num_experts:
        mixture = {
            "num_moe_experts": model.num_experts,
            "moe_router_topk": model.moe_router_topk,
            "moe_ffn_hidden_size": model.moe_ffn_hidden_size or parallel.ffn_hidden_size(model),
            "moe_router_load_balancing_type": "aux_loss",
            "moe_aux_loss_coeff": AUX_LOSS,
            # The other one uses streams, which a CPU has not.
            "moe_token_dispatcher_type": "allgather",
        }
    return TransformerConfig(
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        ffn_hidden_size=parallel.ffn_hidden_size(model),
        num_attention_heads=model.num_attention_heads,
        num_query_groups=parallel.num_query_groups(model),
        kv_channels=parallel.head_width(model),
        tensor_model_parallel_size=cut.tensor_model_parallel_size,
        pipeline_model_parallel_size=cut.pipeline_model_parallel_size,
        virtual_pipeline_model_parallel_size=_chunks(spec) if _chunks(spec) > 1 else None,
        context_parallel_size=cut.context_parallel_size,
        expert_model_parallel_size=cut.expert_model_parallel_size,
        sequence_parallel=cut.sequence_parallel and cut.tensor_model_parallel_size > 1,
        recompute_granularity="full" if cut.recompute == "full" else None,
        recompute_method="uniform" if cut.recompute == "full" else None,
        recompute_num_layers=1 if cut.recompute == "full" else None,
        normalization="RMSNorm",
        layernorm_epsilon=model.norm_epsilon,
        qk_layernorm=model.qk_layernorm,
        init_method_std=model.init_std,
        gated_linear_unit=True,
        activation_func=functional.silu,
        add_bias_linear=False,
        add_qkv_bias=model.add_qkv_bias,
        rotary_interleaved=model.rotary_interleaved,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        bf16=dtype == torch.bfloat16,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        # Made on the CPU on every device, and drawn by ``initial``: a seed means the same weights everywhere.
        use_cpu_initialization=True,
        perform_initialization=False,
        calculate_per_token_loss=True,
        deterministic_mode=False,
        # Batched, the two messages between two stages of a ring of two would be taken for each other.
        overlap_p2p_comm=_chunks(spec) > 1,
        batch_p2p_comm=_chunks(spec) == 1,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
        cross_entropy_loss_fusion=False,
        **mixture,
    )


def layers(config: TransformerConfig, chunk: int | None = None) -> TransformerBlockSubmodules:
    """megatron-core's local layer spec with our attention and norms, for all layers of this chunk."""
    layer = copy.deepcopy(get_gpt_layer_local_spec(
        num_experts=config.num_moe_experts, moe_grouped_gemm=False, qk_layernorm=config.qk_layernorm, normalization=config.normalization))
    parts = layer.submodules
    parts.input_layernorm = Norm
    parts.pre_mlp_layernorm = Norm
    attention = parts.self_attention.submodules
    attention.core_attention = Attention
    if config.qk_layernorm:
        attention.q_layernorm = Norm
        attention.k_layernorm = Norm
    return TransformerBlockSubmodules(layer_specs=[layer] * get_num_layers_to_build(config, vp_stage=chunk), layer_norm=Norm)


def bare(spec: JobSpec, device: str) -> list[GPTModel]:
    """The chunks of this rank on its device, with parameters from the seed. The process groups must be there."""
    config = transformer_config(spec, device)
    made = []
    for number in range(_chunks(spec)):
        chunk = number if _chunks(spec) > 1 else None
        first = parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=chunk)
        last = parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=chunk)
        gpt = GPTModel(
            config=config,
            transformer_layer_spec=layers(config, chunk),
            vocab_size=spec.model.vocab_size,
            max_sequence_length=max(spec.model.max_position_embeddings, spec.train.seq_length),
            pre_process=first,
            post_process=last,
            position_embedding_type="rope",
            rotary_percent=spec.model.rotary_percent,
            rotary_base=spec.model.rotary_base,
            rope_scaling=spec.model.rope_scaling_factor > 0,
            rope_scaling_factor=spec.model.rope_scaling_factor or 8.0,
            share_embeddings_and_output_weights=not spec.model.untie_embeddings_and_output_weights,
            parallel_output=True,
            vp_stage=chunk,
        )
        made.append(gpt)
    initial.draw(made, spec.run.seed)
    return [gpt.to(device) for gpt in made]


def wrap(spec: JobSpec, chunks: list[GPTModel], device: str) -> tuple[list[DistributedDataParallel], Any]:
    """The chunks in megatron-core's DDP, and the distributed optimizer of what is trained in them.

    All ranks start from the same parameters: those of the first of their data-parallel group.
    """
    config = chunks[0].config
    settings = DistributedDataParallelConfig(grad_reduce_in_fp32=True, use_distributed_optimizer=True)
    wrapped = [
        DistributedDataParallel(config, settings, Float16Module(config, gpt) if config.bf16 else gpt, disable_bucketing=number > 0)
        for number, gpt in enumerate(chunks)
    ]
    for one in wrapped:
        one.broadcast_params()
    optimizer = get_megatron_optimizer(
        OptimizerConfig(
            optimizer="adam",
            lr=spec.train.learning_rate,
            min_lr=spec.train.min_learning_rate,
            weight_decay=spec.train.weight_decay,
            clip_grad=spec.train.clip_grad,
            bf16=config.bf16,
            params_dtype=config.params_dtype,
            use_distributed_optimizer=True,
        ),
        wrapped,
        use_gloo_process_groups=False,
    )
    config.finalize_model_grads_func = finalize_model_grads
    config.grad_scale_func = optimizer.scale_loss
    return wrapped, optimizer


def inner(module: Any) -> Any:
    """The GPTModel in its wrappings."""
    while hasattr(module, "module"):
        module = module.module
    return module


def set_rates(optimizer: Any, *, learning_rate: float, weight_decay: float) -> None:
    """Give every parameter group its rates for the next step, by the multipliers megatron-core put on it.

    Also whether AdamW goes over memory once (FUSED): a group that was loaded says what held where it was saved.
    """
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["lr_mult"]
        group["weight_decay"] = weight_decay * group["wd_mult"]
        group["fused"] = all(parameter.device.type in FUSED for parameter in group["params"])


def _chunks(spec: JobSpec) -> int:
    return max(1, spec.parallel.virtual_pipeline_model_parallel_size)
