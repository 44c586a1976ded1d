"""What megatron-core 0.16.1 must be told otherwise: one table, and the engine that applies it.

megatron-core assumes CUDA in places where it means "the device". torch itself is left alone: each row
names one function of megatron-core and the few words of its source that are exchanged, so that nothing
else in the process sees another torch. A row carries the hash of the source it was written for; where the
installed source differs (another version, a vendor's patch, an edit) the trainer refuses to start rather
than exchange words in code nobody has read. A new place is a new row and its test.

Rows marked for all devices are not about devices: they mend megatron-core's distributed optimizer where
torch's own AdamW is used (no Transformer Engine, no Apex), and keep saving inside the process.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from trainer.runtime.errors import TrainerError

ALL = ("cpu", "cuda", "npu")
CPU = ("cpu",)
CPU_AND_NPU = ("cpu", "npu")
"""Type texts: torch names a tensor's type after its device, and megatron-core compares with CUDA's names."""

JIT = "megatron.core.jit:enable_jit_fuser"
TENSORBOARD = "torch.utils.tensorboard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One exchange of words within a function's source, on some devices. ``old`` must occur in it."""

    old: str
    new: str
    devices: tuple[str, ...] = CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """One row. ``replacement`` names a function of this module that takes the place of the whole."""

    place: str
    """``module:qualified name``."""
    why: str
    source_sha256: str
    """Of ``inspect.getsource`` of the place, UTF-8."""
    swaps: tuple[Swap, ...] = ()
    replacement: str = ""
    devices: tuple[str, ...] = ALL
    """Where a ``replacement`` is made; swaps say it for themselves."""

    def concerns(self, device: str) -> bool:
        """Whether anything of this row is done on that device."""
        return device in self.devices if not self.swaps else any(device in swap.devices for swap in self.swaps)


_DEVICE_WORD = (Swap(old="device='cuda'", new="device='cpu'"),)
_DEVICE_WORD_DOUBLE = (Swap(old='device="cuda"', new='device="cpu"'),)
_CURRENT_DEVICE = (Swap(old="torch.cuda.current_device()", new="'cpu'"),)
_FLOAT_TYPE_TEXT = "'torch.cuda.FloatTensor'"
_ELEMENTWISE = "__import__('trainer.runtime.elementwise', fromlist=['elementwise'])"
_HALF_TYPE_TEXTS = "['torch.cuda.HalfTensor', 'torch.cuda.BFloat16Tensor']"

TABLE: tuple[Adjustment, ...] = (
    Adjustment(
        place=JIT,
        why="torch.compile of fusions that are switched off here imports the whole of inductor: 1.5 s of start-up",
        source_sha256="0714694302faf5a48f921990887817cc113a67aa05fc4f97a242205ae1415461",
        replacement="_no_jit_fuser",
        devices=CPU,
    ),
    Adjustment(
        place="megatron.core.optimizer:_get_megatron_optimizer_based_on_param_groups",
        why="torch's own AdamW imports the whole of the compiler: most of a second of start-up",
        source_sha256="34bc6add4c25e9093fa33ca4c8dc1c7b9eb173180b6f8adfd60f1988231f0020",
        swaps=(Swap(old="adam_cls = torch.optim.AdamW if", new="adam_cls = __import__('trainer.runtime.adamw', fromlist=['adamw']).AdamW if"),),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.random:_set_cuda_rng_state",
        why="on CPU the default generator plays the device's",
        source_sha256="b179c9d95438b61c1d9b58e8e13cc6534f2ae2f870d991c42438de53829ed398",
        swaps=(Swap(old="    _lazy_call(cb)", new="    torch.set_rng_state(new_state)"),),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.random:CudaRNGStatesTracker.add",
        why="on CPU the default generator plays the device's",
        source_sha256="e5e9ab39a7c1e085fe0b95cb0ef4e25f5c43e3ad9caf876813ef78e3f52f0eec",
        swaps=(
            Swap(old="torch.cuda.get_rng_state()", new="torch.get_rng_state()"),
            Swap(old="torch.cuda.manual_seed(seed)", new="torch.default_generator.manual_seed(seed)"),
        ),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.random:model_parallel_cuda_manual_seed",
        why="on CPU the default generator plays the device's",
        source_sha256="7423a4a62741adea516a50b3dc5f3305d0129448a42363d55cd56227c12f3da8",
        swaps=(Swap(old="torch.cuda.manual_seed(data", new="torch.default_generator.manual_seed(data"),),
    ),
    Adjustment(
        place="megatron.core.models.common.embeddings.rotary_pos_embedding:RotaryEmbedding.get_emb",
        why="the frequencies stay where the model is",
        source_sha256="d36bc7732392e41930edc9311ccce70bafe0013ce9c1946cebcf8e916eb2c083",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBuffer.__init__",
        why="buffers of parameters and gradients are made on the device",
        source_sha256="6dee7ab4c9ec64c8fd77ea60adc8254243ba8dfeeed6e520703ec74e402869d7",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.pipeline_parallel.schedules:forward_backward_no_pipelining",
        why="the token count is made on the device",
        source_sha256="84399467bcc062966d3494d9d6956128ed8346fca89b70adac3cb8fbda94e246",
        swaps=_DEVICE_WORD_DOUBLE,
    ),
    Adjustment(
        place="megatron.core.optimizer.optimizer:MixedPrecisionOptimizer.__init__",
        why="scale and overflow flag are made on the device",
        source_sha256="9a3397b649b9dace4d11ca685a4b027a8dd64b9bea501b67d490773337ba527a",
        swaps=_DEVICE_WORD,
    ),
    Adjustment(
        place="megatron.core.optimizer.clip_grads:get_grad_norm_fp32",
        why="the norm is made on the device",
        source_sha256="7fa2ba2493d43f1d3693ee62b5558ffccf3b0b2976bf746613187ff3bbc8b86f",
        swaps=_DEVICE_WORD,
    ),
    Adjustment(
        place="megatron.core.utils:local_multi_tensor_l2_norm",
        why="the norm is made on the device",
        source_sha256="01526c55444a73bd00bebbf536bc92f9ac80eadca0cbbbfbd3a1d8c99cb07548",
        swaps=_DEVICE_WORD_DOUBLE,
    ),
    Adjustment(
        place="megatron.core.optimizer.clip_grads:clip_grad_by_total_norm_fp32",
        why="gradients are told by their dtype, not by CUDA's name for it",
        source_sha256="8edb9da5365045a5d1c21c4ca81697412bbdbab725209db8df00dc90d03363e1",
        swaps=(
            Swap(old=f"param.grad.type() == {_FLOAT_TYPE_TEXT}", new="param.grad.dtype == torch.float32", devices=CPU_AND_NPU),
            *_DEVICE_WORD,
        ),
    ),
    Adjustment(
        place="megatron.core.utils:local_multi_tensor_scale",
        why="clipping makes each gradient a second time and copies it back",
        source_sha256="a271d86b61250d2f00bad84f72ecd194291f5be4a5e1c80a24703dafe25d9171",
        swaps=(Swap(old="dst.copy_(src * scale)", new="torch.mul(src, scale, out=dst)", devices=ALL),),
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer.__init__",
        why="parameters are told by their dtype, not by CUDA's name for it",
        source_sha256="3275f640fc1b7377182f3907efc162ae4df4ad14c267417c78041d53b9fb2adf",
        swaps=(Swap(old=f"param.type() in {_HALF_TYPE_TEXTS}", new="param.dtype in (torch.float16, torch.bfloat16)", devices=CPU_AND_NPU),),
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer._build_model_and_main_param_groups",
        why="parameters are told by their dtype, not by CUDA's name for it",
        source_sha256="1b9f0ec06718f817fe8ce6b8bc62ae2a4e096a3cf599a19511ce9d9355f3b7f8",
        swaps=(
            Swap(old=f"model_param.type() in {_HALF_TYPE_TEXTS}", new="model_param.dtype in (torch.float16, torch.bfloat16)", devices=CPU_AND_NPU),
            Swap(old=f"model_param.type() == {_FLOAT_TYPE_TEXT}", new="model_param.dtype == torch.float32", devices=CPU_AND_NPU),
        ),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.random:_get_cuda_rng_state",
        why="on CPU the default generator plays the device's",
        source_sha256="aa26caaa069c5c4feff0f9f4e69f0f2ab6d6fc7940f71c3a6d0fe9303447d3dc",
        swaps=(Swap(old="torch.cuda.random.get_rng_state(device=device)", new="torch.get_rng_state()"),),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.mappings:_gather_along_last_dim",
        why="what is gathered is made on the device",
        source_sha256="78507d5543935a72907e72b34fdb3eec3900eb0837609d620c66a6968c87ef6b",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.mappings:_gather_along_first_dim",
        why="what is gathered is made on the device",
        source_sha256="44633fe36d60a51f5e5b3d4c6e65037ef8cb66ae1edd80046f209f3339b12e46",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.mappings:_reduce_scatter_along_first_dim",
        why="what is scattered is made on the device",
        source_sha256="7322068fab71d319dd9d5f3a55a84f790e935cc9fc0130f8f8fb5bee443a78fa",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.layers:LinearWithGradAccumulationAndAsyncCommunication.backward",
        why="the gradient of a sequence-parallel input is made on the device",
        source_sha256="b50b2ea4a1c9027040516475a8b40a0bd86ddf9e17fcb5c2c56feb3156c3ae3e",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.utils:GlobalMemoryBuffer.get_tensor",
        why="the buffer of sequence-parallel inputs is made on the device",
        source_sha256="2b843a83eb762098e280232a8a6ad2a826f66ffbddd35a3ea5447b9035310b1d",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.pipeline_parallel.p2p_communication:P2PCommunicator._communicate",
        why="what a pipeline stage receives is made on the device, and there is nothing to wait for",
        source_sha256="a902480caa75a26026f9380a63ea5aa1a6d37950f58d2531ebaac5b1ba4c8ba0",
        swaps=(*_CURRENT_DEVICE, Swap(old="torch.cuda.synchronize()", new="pass")),
    ),
    Adjustment(
        place="megatron.core.pipeline_parallel.schedules:forward_backward_pipelining_without_interleaving",
        why="the token count is made on the device",
        source_sha256="ecf7d69308cda660e9e06a2cd420e8301c12d0e190f3675650bd929cced3521e",
        swaps=_DEVICE_WORD_DOUBLE,
    ),
    Adjustment(
        place="megatron.core.pipeline_parallel.schedules:forward_backward_pipelining_with_interleaving",
        why="the token count is made on the device",
        source_sha256="bd10736079d7ed41962bdd926554194feb77c69e31e5b16fe46f5fe6e171ef01",
        swaps=_DEVICE_WORD_DOUBLE,
    ),
    Adjustment(
        place="megatron.core.models.common.embeddings.rope_utils:get_pos_emb_on_this_cp_rank",
        why="the places of a context-parallel rank go to the device by pinned memory",
        source_sha256="ab7c5cb71dce22a97126819ff1c36167f807010688467298c84e05e318461bcd",
        swaps=(Swap(old='device="cpu", pin_memory=True\n    ).cuda(non_blocking=True)', new='device="cpu"\n    )'),),
    ),
    Adjustment(
        place="megatron.core.models.common.language_module.language_module:LanguageModule.setup_embeddings_and_output_layer",
        why="tied embeddings are moved to the device before the first and last stage agree on them",
        source_sha256="005bdd3315b0611b09dabea160e81a72cb455fc211020af407edf97e57064e35",
        swaps=(Swap(old="weight.data = weight.data.cuda()", new="pass"),),
    ),
    Adjustment(
        place="megatron.core.transformer.moe.router:Router.gating",
        why="the router's weights stay where the model is",
        source_sha256="642d0c2eb9ba6638b306d44a28621be1098d2ab63d14b0ee463194f529be5079",
        swaps=_CURRENT_DEVICE,
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer.get_parameter_state_dp_zero",
        why="the optimizer's state is gathered on the device",
        source_sha256="812c52ea4568b0ffae6132290b6bffe247fa0c44e42835be3e1ae55cbadd838b",
        swaps=(*_CURRENT_DEVICE, Swap(old="send_tensor = send_tensor.cuda()", new="pass")),
    ),
    Adjustment(
        place="megatron.core.transformer.moe.moe_utils:RouterGatingLinearFunction.forward",
        why="without Transformer Engine the name is not there to be asked",
        source_sha256="dcba4f9f02b30a3662d27126739a667cbaf345a82443d1a0cff5792491b95580",
        swaps=(Swap(old="te_general_gemm is not None and", new="'te_general_gemm' in globals() and te_general_gemm is not None and", devices=ALL),),
    ),
    Adjustment(
        place="megatron.core.transformer.moe.moe_utils:RouterGatingLinearFunction.backward",
        why="without Transformer Engine the name is not there to be asked",
        source_sha256="222f6d592730bd2833e8eee669fc55412b40f923a810e9c2b65f707784db4bbf",
        swaps=(Swap(old="te_general_gemm is not None and", new="'te_general_gemm' in globals() and te_general_gemm is not None and", devices=ALL),),
    ),
    Adjustment(
        place="megatron.core.transformer.moe.router:TopKRouter.attach_and_log_load_balancing_loss",
        why="the balancing loss is multiplied with this rank's tokens and divided by those of the whole microbatch: "
        "under context or sequence parallelism it would weigh a fraction of what it should",
        source_sha256="270a6dc143a8c3221046680970a5b8505b90663a61de359e959e259a9bd7081a",
        swaps=(Swap(old="aux_loss * num_tokens)", new="aux_loss * num_tokens * reduce_group.size())", devices=ALL),),
    ),
    Adjustment(
        place="megatron.core.models.common.embeddings.rope_utils:_apply_rotary_pos_emb_bshd",
        why="heads are cut into halves, put together again, and the part that does not turn put back even if empty: copies, forward and backward",
        source_sha256="2d6f53f0fe6f5352d43f16b920a92ec8562445eb19b6a82555a1e90c79fe0d82",
        swaps=(
            Swap(
                old="    t, t_pass = t[..., :rot_dim], t[..., rot_dim:]\n",
                new="    t, t_pass = (t[..., :rot_dim], t[..., rot_dim:]) if rot_dim < t.shape[-1] else (t, None)\n",
                devices=ALL,
            ),
            Swap(old="(t * cos_) + (_rotate_half(t, rotary_interleaved) * sin_)", new=f"{_ELEMENTWISE}.turned(t, cos_, sin_, rotary_interleaved)", devices=ALL),
            Swap(old="    return torch.cat((t, t_pass), dim=-1)", new="    return t if t_pass is None else torch.cat((t, t_pass), dim=-1)", devices=ALL),
        ),
    ),
    Adjustment(
        place="megatron.core.transformer.mlp:MLP.forward",
        why="an offset of 0 is added to half of every MLP's activations, and the gradient of the halves is put together by a copy",
        source_sha256="c68406f3ca95514d26cb5a883f94aa2308eb7fbd3ed5da190da355fbcebab61d",
        swaps=(
            Swap(
                old="                    x_glu, x_linear = torch.chunk(x, 2, dim=-1)\n",
                new="                    if self.config.activation_func is F.silu and self.config.activation_func_clamp_value is None and not self.config.glu_linear_offset:\n"
                f"                        return {_ELEMENTWISE}.gated_silu(x)\n"
                "                    x_glu, x_linear = torch.chunk(x, 2, dim=-1)\n",
                devices=ALL,
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.layers:linear_with_grad_accumulation_and_async_allreduce",
        why="with nothing to gather, reduce or fuse this is torch's linear, whose backward needs no Python",
        source_sha256="a7dce2d67feac8f06e5c985dc44629ff4abe36114cac789b8c5d2c28b3c1cfc2",
        swaps=(
            Swap(
                old="    return LinearWithGradAccumulationAndAsyncCommunication.apply(*args)",
                new="    if bias is None and grad_output_buffer is None and not (gradient_accumulation_fusion or allreduce_dgrad or sequence_parallel):\n"
                "        return torch.nn.functional.linear(input, weight)\n"
                "    return LinearWithGradAccumulationAndAsyncCommunication.apply(*args)",
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.mappings:copy_to_tensor_model_parallel_region",
        why="in a group of one there is nothing to add up on the way back, and a detour of every layer through Python",
        source_sha256="31582c91bd424e80f6291621b1b070080044e4ced24d64920904a555963e500e",
        swaps=(Swap(old="    return _Copy", new="    return input_ if group.size() == 1 else _Copy"),),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.mappings:reduce_from_tensor_model_parallel_region",
        why="in a group of one there is nothing to add up, and a detour of every layer through Python",
        source_sha256="77b82012d4139132c7b8090a42700dfd29acad912809bdfa0c365919ef504296",
        swaps=(Swap(old="    return _Reduce", new="    return input_ if group.size() == 1 else _Reduce"),),
    ),
    Adjustment(
        place="megatron.core.tensor_parallel.cross_entropy:vocab_parallel_cross_entropy",
        why="logits that a rank has whole are read and written a dozen times, in parts that several ranks would exchange",
        source_sha256="7020333e3478a55b879d51601b38316729e811c11497ca065743f26b9d30e674",
        swaps=(
            Swap(
                old="    return _Vocab",
                new="    if get_tensor_model_parallel_world_size() == 1 and not label_smoothing:\n"
                "        whole = vocab_parallel_logits.flatten(0, -2).float()\n"
                "        return torch.nn.functional.cross_entropy(whole, target.flatten(), reduction='none').view(target.shape)\n"
                "    return _Vocab",
                devices=ALL,
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBucketGroup.start_param_sync",
        why="gloo copies the parameters of a group of one through a buffer that is made for it",
        source_sha256="ec6000db1595ca418ca5f67461e5164d0ed31a0ab05cf9d54ee6ee7f437e35ef",
        swaps=(
            Swap(
                old="        async_op = self.ddp_config.overlap_param_gather and not force_sync\n",
                new="        async_op = self.ddp_config.overlap_param_gather and not force_sync\n"
                "        if self.intra_distributed_optimizer_instance_size == 1 and not async_op:\n"
                "            self.param_gather_dispatched = True\n"
                "            return\n",
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBucketGroup.start_grad_sync",
        why="gloo copies the gradients of a group of one through a buffer that is made for it",
        source_sha256="d8391c531988157b5446317bc44022ad38a3e751ad1f0b6bb9bfb3effd1effe7",
        swaps=(
            Swap(
                old="        # Decide reduce_op.\n",
                new="        if self.ddp_config.use_distributed_optimizer and self.intra_distributed_optimizer_instance_size == 1 \\\n"
                "                and not self.ddp_config.overlap_grad_reduce and self.ddp_config.num_distributed_optimizer_instances == 1:\n"
                "            return\n"
                "        # Decide reduce_op.\n",
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer.state_dict",
        why="an optimizer that has not stepped yet has no step, and loading asks it for one",
        source_sha256="fe621ae6a622b58752df0330a2a30056dda222d73f22dc6bce6a5d1ac2bfa3d8",
        swaps=(
            Swap(
                old="            assert len(steps) == 1\n            step = steps[0]\n        elif",
                new="            assert len(steps) <= 1\n            step = steps[0] if steps else 0.0\n        elif",
                devices=ALL,
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer.load_state_dict",
        why="every parameter gets the same step tensor, so AdamW advances it once per parameter: the first "
        "resumed loss is right and all later ones are wrong",
        source_sha256="15f257b4c4f9a7ef6d6660e829de088d39997615c2a4e52ec5e7e1306b465f04",
        swaps=(
            Swap(old='                s["step"] = step\n', new='                s["step"] = step.clone()\n', devices=ALL),
            *_CURRENT_DEVICE,
        ),
    ),
    Adjustment(
        place="megatron.core.optimizer.distrib_optimizer:DistributedOptimizer._set_main_param_and_optimizer_states",
        why="the step is not among the checkpoint's tensors: depending on the format this is a KeyError or "
        "sets the loaded step back to 0",
        source_sha256="93c254228283b2df0147fe436a2fe5d9e754ab4b7276a96f023be179c737329f",
        swaps=(
            Swap(
                old="            for key in dst_tensors:\n                dst",
                new="            for key in [key for key in dst_tensors if key != 'step']:\n                dst",
                devices=ALL,
            ),
        ),
    ),
    Adjustment(
        place="megatron.core.dist_checkpointing.strategies.filesystem_async:_get_write_results_queue",
        why="a manager process for one queue costs seconds and outlives a killed trainer",
        source_sha256="349269cbdd569d41032d20cdb858316d492096999e7a05dd2d1ccde6ae9d7d95",
        replacement="_queue_in_process",
    ),
    Adjustment(
        place="megatron.core.dist_checkpointing.strategies.filesystem_async:FileSystemWriterAsync.write_preloaded_data_multiproc",
        why="forking a process that has collectives open is not safe, and a forked writer outlives a killed trainer",
        source_sha256="bef05e8d525e7eede0c7e31037b9b8f4918866d5892a62f81d239cfe31e837c7",
        replacement="_write_in_process",
    ),
    Adjustment(
        place="megatron.core.dist_checkpointing.strategies.filesystem_async:FileSystemWriterAsync.preload_tensors",
        why="there is no device to wait for",
        source_sha256="df5b267188bbfd773df18ad0839235d7de074655336527d4dea2c37d47389670",
        swaps=(Swap(old="torch.cuda.synchronize()", new="pass"),),
    ),
    Adjustment(
        place="megatron.core.dist_checkpointing.strategies.state_dict_saver:save_state_dict_async_finalize",
        why="the outcome is broadcast from the device",
        source_sha256="e833e30e9e4f946b36b047ae15bd532f05fbae2bfca8110f4d81b84dcb576f0b",
        swaps=_CURRENT_DEVICE,
    ),
)


@contextmanager
def importing(device: str) -> Iterator[None]:
    """Around the first import of megatron.core: what must hold while its modules are executed.

    Its modules decorate their fusions with torch.compile as they are imported, so on CPU torch.compile is
    the identity for as long as this lasts (row ``JIT``). Nor is TensorBoard there, which its timers take a name
    from that nobody asks for: the trainer writes its events without.
    """
    if device != "cpu":
        yield
        return
    import torch

    real = torch.compile
    torch.compile = _uncompiled  # type: ignore[assignment]
    hidden = sys.modules.setdefault(TENSORBOARD, None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        torch.compile = real
        if hidden:
            del sys.modules[TENSORBOARD]


def apply(device: str, table: tuple[Adjustment, ...] = TABLE) -> list[str]:
    """Apply every row that concerns the device; megatron.core must have been imported. Returns the places.

    Sources are checked before anything is exchanged. Raises TrainerError naming every place that differs.
    A place that was adjusted before is left as it is.
    """
    rows = [row for row in table if row.concerns(device)]
    differing = [row.place for row in rows if source_sha256(find(row.place)[2]) != row.source_sha256]
    if differing:
        raise TrainerError(
            f"{len(differing)} of {len(rows)} places in megatron-core are not as they were when the trainer was written",
            where=", ".join(differing),
            got="another source",
            expected="megatron-core 0.16.1 as published",
            fix="Reinstall it (pip install --force-reinstall megatron-core==0.16.1), or review trainer/runtime/adjust.py against the changed source",
        )
    for row in rows:
        owner, name, function = find(row.place)
        if hasattr(function, "_rankdeck_source_sha256"):
            continue
        if row.replacement:
            function = _stand_in(globals()[row.replacement])
            setattr(owner, name, staticmethod(function) if isinstance(owner, type) else function)
        else:
            function.__code__ = rewritten(function, [swap for swap in row.swaps if device in swap.devices])
        function._rankdeck_source_sha256 = row.source_sha256
    return [row.place for row in rows]


def find(place: str) -> tuple[Any, str, Any]:
    """The owner (module or class) of a place, its name there, and the function itself, unwrapped."""
    module, _, qualified = place.partition(":")
    owner: Any = importlib.import_module(module)
    *path, name = qualified.split(".")
    for step in path:
        owner = getattr(owner, step)
    function = inspect.unwrap(getattr(owner, name))
    return owner, name, getattr(function, "__func__", function)


def source_sha256(function: Any) -> str:
    """The hash a row carries: of the function's source as installed, decorators included; kept when adjusted."""
    before = getattr(function, "_rankdeck_source_sha256", "")
    return before or hashlib.sha256(inspect.getsource(function).encode()).hexdigest()


def rewritten(function: FunctionType, swaps: list[Swap]) -> CodeType:
    """The function's code with words of its source exchanged; line numbers stay those of the file.

    Raises ValueError for words that do not occur.
    """
    source = textwrap.dedent(inspect.getsource(function))
    shift = len(inspect.getsource(function).splitlines()[0]) - len(source.splitlines()[0])
    for swap in swaps:
        old, new = (_outdent(text, shift) for text in (swap.old, swap.new))
        if old not in source:
            raise ValueError(f"{swap.old!r} does not occur in {function.__qualname__}")
        source = source.replace(old, new)
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    # Free variables (zero-argument super() has one, __class__) must be free in the new code too: an outer
    # function that is compiled and never called gives them a scope. The function's own name is not one of them.
    outer = ast.parse(f"def _outer({', '.join(function.__code__.co_freevars)}):\n    global {function.__name__}")
    outer.body[0].body.append(definition)  # type: ignore[attr-defined]
    ast.increment_lineno(definition, function.__code__.co_firstlineno - 1)
    code = compile(outer, function.__code__.co_filename, "exec", dont_inherit=True)
    for name in ("_outer", function.__name__):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
    assert code.co_freevars == function.__code__.co_freevars, function.__qualname__
    return code


def _outdent(text: str, columns: int) -> str:
    lines = text.split("\n")
    return "\n".join(line[columns:] if not line[:columns].strip() and len(line) > columns else line for line in lines)


def _stand_in(replacement: Callable[..., Any]) -> Any:
    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return replacement(*args, **kwargs)

    return stand_in


def _uncompiled(model: Any = None, **_options: Any) -> Any:
    """torch.compile without the compiling, as a decorator with and without arguments."""
    return model if model is not None else lambda function: function


def _no_jit_fuser() -> None:
    """enable_jit_fuser: what is imported later is not compiled either."""
    import megatron.core.jit

    megatron.core.jit.disable_jit_fuser()


def _queue_in_process() -> Any:
    """_get_write_results_queue: a queue of this process."""
    import queue

    return queue.Queue()


def _write_in_process(transform_list: list[Any], use_msc: bool, rank: int, write_buckets: list[Any], global_results_queue: Any) -> None:
    """write_preloaded_data_multiproc: every bucket (one a file) written by this process, one after another.

    Puts {bucket: results} into the queue, or the first exception.
    """
    import queue

    from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync

    results: dict[int, Any] = {}
    for index, bucket in enumerate(write_buckets):
        done, pending = queue.Queue(), queue.Queue()
        pending.put(index)
        FileSystemWriterAsync.write_preloaded_data(transform_list, index, bucket, done, pending, True, use_msc=use_msc)
        outcome = done.get_nowait()[1]
        if isinstance(outcome, Exception):
            global_results_queue.put(_first_cause(outcome))
            return
        results[index] = outcome
    global_results_queue.put(results)


def _first_cause(error: BaseException) -> BaseException:
    """The operating system's own error behind one of torch's writer ("unexpected pos 704 vs 598"), if any."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, OSError):
        seen = seen.__cause__ or seen.__context__
    return seen or error
