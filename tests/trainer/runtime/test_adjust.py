"""The table of adjustments: each row does what it says, and no row is applied to source nobody has read.

The rows for megatron-core on CPU are seen at work in a world of one rank within the test's own process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("megatron.core")

import torch
import torch.distributed as dist

from tests.trainer.runtime.started import SPEC
from trainer.runtime import adjust
from trainer.runtime.adamw import AdamW
from trainer.runtime.errors import TrainerError

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

def jit_fuser(world: Any) -> None:
    import megatron.core.jit as jit

    jit.enable_jit_fuser()
    assert jit.jit_fuser is jit.noop_decorator


def own_adamw(world: Any) -> None:
    assert type(world.inner.optimizer) is AdamW
    one, other = (torch.nn.Parameter(torch.linspace(-1.0, 1.0, 100)) for _ in range(2))
    settings: Any = {"lr": 0.1, "weight_decay": 0.1, "betas": (0.9, 0.95), "fused": True}
    own, torchs = AdamW([{"params": [one]}], **settings), torch.optim.AdamW([{"params": [other]}], **settings)
    for step in range(4):
        for parameter, optimizer in ((one, own), (other, torchs)):
            optimizer.zero_grad()
            (parameter ** 3).sum().backward()
            optimizer.step()
            if step == 1:
                optimizer.load_state_dict(optimizer.state_dict())
    assert torch.equal(one, other)
    assert {str(told) for told in own.state_dict()["state"].values()} == {str(told) for told in torchs.state_dict()["state"].values()}


def rng_state(world: Any) -> None:
    from megatron.core.tensor_parallel import random

    wanted = torch.Generator().manual_seed(77).get_state()
    random._set_cuda_rng_state(wanted)
    assert torch.equal(torch.get_rng_state(), wanted)


def rng_tracker(world: Any) -> None:
    from megatron.core.tensor_parallel.random import CudaRNGStatesTracker

    before = torch.get_rng_state()
    tracker = CudaRNGStatesTracker()
    tracker.add("own", 77)
    assert torch.equal(tracker.get_states()["own"], torch.Generator().manual_seed(77).get_state())
    assert torch.equal(torch.get_rng_state(), before)


def model_parallel_seed(world: Any) -> None:
    from megatron.core.tensor_parallel.random import model_parallel_cuda_manual_seed

    model_parallel_cuda_manual_seed(77, force_reset_rng=True)
    assert torch.initial_seed() == 77


def rotary(world: Any) -> None:
    from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding

    table = RotaryEmbedding(8, 1.0, use_cpu_initialization=True).get_emb(4)
    assert table.device.type == "cpu"
    assert table[0].abs().sum() == 0
    assert table[1, 0, 0, 0] == 1.0


def buffers(world: Any) -> None:
    (buffer,) = world.module.buffers
    assert (buffer.grad_data.device.type, buffer.param_data.device.type) == ("cpu", "cpu")


def schedule(world: Any) -> None:
    # Loss per token: had the token count gone astray, this would not be near ln(256).
    assert world.outcome.loss == pytest.approx(5.545, abs=0.1)


def scale(world: Any) -> None:
    assert world.inner.get_loss_scale().device.type == "cpu"
    assert world.inner._dummy_overflow_buf.device.type == "cpu"


def grad_norm(world: Any) -> None:
    from megatron.core.optimizer.clip_grads import get_grad_norm_fp32

    group = dist.group.WORLD
    assert get_grad_norm_fp32([torch.tensor([3.0]), torch.tensor([4.0])], grad_stats_parallel_group=group) == 5.0
    assert get_grad_norm_fp32([], grad_stats_parallel_group=group) == 0.0


def l2_norm(world: Any) -> None:
    from megatron.core.utils import local_multi_tensor_l2_norm

    norm, _ = local_multi_tensor_l2_norm(1, None, [[torch.tensor([3.0]), torch.tensor([4.0])]], False)
    assert (norm.item(), norm.device.type) == (5.0, "cpu")


def clip(world: Any) -> None:
    from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32

    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    clip_grad_by_total_norm_fp32([parameter], 1.0, 5.0)
    assert parameter.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)


def scaled(world: Any) -> None:
    from megatron.core.utils import local_multi_tensor_scale

    one = torch.tensor([3.0, -4.0])
    # Scaled where it lies: another tensor's memory would be asked for by the product.
    with mock.patch.object(torch.Tensor, "copy_", side_effect=AssertionError("a copy")):
        local_multi_tensor_scale(1, None, [[one], [one]], 0.5)
    assert one.tolist() == [1.5, -2.0]


def half_parameters(world: Any) -> None:
    from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig
    from megatron.core.optimizer import OptimizerConfig, distrib_optimizer, get_megatron_optimizer

    from trainer.runtime import model

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(128, dtype=torch.bfloat16))

    module = DistributedDataParallel(model.transformer_config(SPEC), DistributedDataParallelConfig(use_distributed_optimizer=True), Half())
    own = distrib_optimizer.DistributedOptimizer
    marked: list[bool] = []
    build = own._build_optimizer_group_ranges

    def seen(_: Any, *arguments: Any) -> Any:
        marked.append(module.module.weight.main_param is None and module.module.weight.main_param_sharded)
        return build(*arguments)

    with mock.patch.object(own, "_build_optimizer_group_ranges", seen):
        get_megatron_optimizer(OptimizerConfig(optimizer="adam", bf16=True, lr=0.1, use_distributed_optimizer=True), [module], use_gloo_process_groups=False)
    assert marked == [True], "a rank that holds no part of a half parameter must know that some other has it"
    assert module.module.weight.main_param.dtype == torch.float32


def parameter_groups(world: Any) -> None:
    assert sum(map(len, world.inner.model_fp32_groups)) == len(list(world.module.parameters()))
    assert sum(map(len, world.inner.model_float16_groups)) == 0


def fresh_step(world: Any) -> None:
    assert {group["step"] for group in world.fresh["optimizer"]["param_groups"]} == {0.0}


def own_step(world: Any) -> None:
    world.inner.load_state_dict(world.inner.state_dict())
    steps = [state["step"] for state in world.inner.optimizer.state.values()]
    assert len({id(step) for step in steps}) == len(steps) > 1
    before = steps[0].item()
    world.step(2, 2)
    assert {state["step"].item() for state in world.inner.optimizer.state.values()} == {before + 1}


def kept_step(world: Any) -> None:
    parameter = next(iter(world.inner.model_param_group_index_map))
    state = world.inner._get_main_param_and_optimizer_states(parameter)
    step = state["step"].item()
    tensors = {key: value.detach().clone() for key, value in state.items() if key != "step"}
    tensors["exp_avg"].fill_(7.0)
    with torch.no_grad():
        world.inner._set_main_param_and_optimizer_states(parameter, tensors)
        world.inner._set_main_param_and_optimizer_states(parameter, {**tensors, "step": torch.tensor(0.0)})
    after = world.inner._get_main_param_and_optimizer_states(parameter)
    assert after["step"].item() == step > 0
    assert after["exp_avg"].eq(7.0).all()


def write_queue(world: Any) -> None:
    import queue

    from megatron.core.dist_checkpointing.strategies import filesystem_async

    assert isinstance(filesystem_async._get_write_results_queue(), queue.Queue)


def write_in_process(world: Any) -> None:
    import queue

    from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync as Writer

    results: Any = queue.Queue()
    with mock.patch("os.fork", side_effect=AssertionError("forked")):
        Writer.write_preloaded_data_multiproc([], False, 0, [("/nowhere/at/all", "a", ([], []))], results)
    assert isinstance(results.get_nowait(), FileNotFoundError)


def preload(world: Any) -> None:
    from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync as Writer

    tensor = torch.ones(2)
    assert Writer.preload_tensors([("file", "key", ([], [("item", tensor)]))], True) == [("file", "key", ([], [("item", tensor)]))]


def finalize(world: Any) -> None:
    from megatron.core.dist_checkpointing.strategies.state_dict_saver import save_state_dict_async_finalize

    finished: list[Any] = []
    writer = SimpleNamespace(retrieve_write_results=lambda: ["one"], finish=lambda metadata, results: finished.append((metadata, results)))
    wrapper = SimpleNamespace(gather_object=lambda mine: [mine], is_coordinator=True, coordinator_rank=0, group=dist.group.WORLD)
    save_state_dict_async_finalize(writer, "metadata", wrapper)
    assert finished == [("metadata", [["one"]])]


def rng_get(world: Any) -> None:
    from megatron.core.tensor_parallel import random

    assert torch.equal(random._get_cuda_rng_state(), torch.get_rng_state())


def places(world: Any) -> None:
    from megatron.core.models.common.embeddings.rope_utils import get_pos_emb_on_this_cp_rank

    group: Any = SimpleNamespace(size=lambda: 2, rank=lambda: 1)
    assert get_pos_emb_on_this_cp_rank(torch.arange(8), 0, group).tolist() == [2, 3, 4, 5]


def gathering(world: Any) -> None:
    from megatron.core.tensor_parallel import mappings

    group: Any = SimpleNamespace(size=lambda: 2, rank=lambda: 0)

    def twice(output: torch.Tensor, own: torch.Tensor, group: Any) -> None:
        output.copy_(torch.cat([own, own]))

    with mock.patch.object(mappings, "dist_all_gather_func", twice):
        assert mappings._gather_along_first_dim(torch.tensor([[1.0, 2.0]]), group).tolist() == [[1.0, 2.0]] * 2
        assert mappings._gather_along_last_dim(torch.tensor([[1.0, 2.0]]), group).tolist() == [[1.0, 2.0, 1.0, 2.0]]


def scattering(world: Any) -> None:
    from megatron.core.tensor_parallel import mappings

    group: Any = SimpleNamespace(size=lambda: 2, rank=lambda: 0)
    with mock.patch.object(mappings, "dist_reduce_scatter_func", lambda output, whole, group: output.copy_(whole.chunk(2)[0])):
        assert mappings._reduce_scatter_along_first_dim(torch.tensor([1.0, 2.0]), group).tolist() == [1.0]


def memory(world: Any) -> None:
    from megatron.core.utils import GlobalMemoryBuffer

    assert GlobalMemoryBuffer().get_tensor([2, 3], torch.float32, "own").device.type == "cpu"


def routed(world: Any) -> None:
    from megatron.core.transformer.moe.moe_utils import RouterGatingLinearFunction

    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    output = RouterGatingLinearFunction.apply(x, weight, None, torch.float32)
    assert output.tolist() == [[3.0] * 4] * 2
    output.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[4.0] * 3] * 2


def balanced(world: Any) -> None:
    from megatron.core.transformer.moe import router

    own = SimpleNamespace(config=SimpleNamespace(num_layers=1, mtp_num_layers=None), layer_number=1, calculate_per_token_loss=True)
    group: Any = SimpleNamespace(size=lambda: 2)
    loss = torch.ones((), requires_grad=True)
    with mock.patch.object(router, "save_to_aux_losses_tracker"):
        router.TopKRouter.attach_and_log_load_balancing_loss(own, torch.ones(3, 4, requires_grad=True), 0.01, loss, "told", group, valid_token_count=3).sum().backward()
    # 3 tokens here are 6 of the microbatch on the two ranks.
    assert loss.grad is not None
    assert loss.grad.item() == 6.0


def turned(world: Any) -> None:
    from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd

    torch.manual_seed(1)
    t, angles = torch.randn(3, 1, 1, 8), torch.randn(3, 1, 1, 4)
    # Half of a head turns: what turns is what turns alone, and the rest is as it was.
    half = _apply_rotary_pos_emb_bshd(t, angles)
    assert torch.equal(half[..., :4], _apply_rotary_pos_emb_bshd(t[..., :4].contiguous(), angles))
    assert torch.equal(half[..., 4:], t[..., 4:])
    with mock.patch.object(torch, "cat", wraps=torch.cat) as cat:
        _apply_rotary_pos_emb_bshd(t[..., :4], angles)
    assert cat.call_count == 0, "nothing is put together"


def gated(world: Any) -> None:
    mlp = next(module for module in world.module.modules() if type(module).__name__ == "MLP")
    x = torch.randn(4, 1, mlp.config.hidden_size)
    with torch.no_grad():
        plain, _ = mlp(x)
        gate, up = mlp.linear_fc1(x)[0].chunk(2, dim=-1)
        assert torch.equal(plain, mlp.linear_fc2(torch.nn.functional.silu(gate) * up)[0])
        with mock.patch.object(mlp.config, "activation_func_clamp_value", 0.0):
            assert mlp(x)[0].abs().max() == 0.0
        with mock.patch.object(mlp.config, "glu_linear_offset", 1.0):
            assert torch.equal(mlp(x)[0], mlp.linear_fc2(torch.nn.functional.silu(gate) * (up + 1.0))[0])


def linear(world: Any) -> None:
    from megatron.core.tensor_parallel import layers

    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    output = layers.linear_with_grad_accumulation_and_async_allreduce(x, weight, None, False, False, False)
    assert torch.equal(output, torch.nn.functional.linear(x, weight))
    assert type(output.grad_fn).__name__ == "MmBackward0"
    other = layers.linear_with_grad_accumulation_and_async_allreduce(x, weight, torch.zeros(5), False, False, False)
    assert type(other.grad_fn).__name__ == "LinearWithGradAccumulationAndAsyncCommunicationBackward"


def straight(world: Any) -> None:
    from megatron.core.tensor_parallel import mappings

    x, two = torch.ones(2, requires_grad=True), SimpleNamespace(size=lambda: 2)
    for place, name in ((mappings.copy_to_tensor_model_parallel_region, "_CopyToModelParallelRegion"), (mappings.reduce_from_tensor_model_parallel_region, "_ReduceFromModelParallelRegion")):
        assert place(x) is x
        with mock.patch.object(getattr(mappings, name), "apply", return_value="through Python"):
            assert place(x, two) == "through Python"


def whole_logits(world: Any) -> None:
    from megatron.core.tensor_parallel import cross_entropy

    torch.manual_seed(1)
    logits, labels = torch.randn(3, 2, 7, requires_grad=True), torch.randint(0, 7, (3, 2))
    given = torch.randn(3, 2)
    loss = cross_entropy.vocab_parallel_cross_entropy(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits, given)
    # Megatron's own changes the logits it is given.
    other = logits.detach().clone().requires_grad_()
    wanted = cross_entropy._VocabParallelCrossEntropy.apply(other * 1.0, labels, 0.0)
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, other, given)[0])
    assert loss.grad_fn is not None
    assert "VocabParallel" not in type(loss.grad_fn).__name__
    assert cross_entropy.vocab_parallel_cross_entropy(logits.bfloat16(), labels).dtype == torch.float32
    with mock.patch.object(cross_entropy._VocabParallelCrossEntropy, "apply", return_value="shared"):
        assert cross_entropy.vocab_parallel_cross_entropy(logits, labels, 0.1) == "shared"
        with mock.patch.object(cross_entropy, "get_tensor_model_parallel_world_size", return_value=2):
            assert cross_entropy.vocab_parallel_cross_entropy(logits, labels) == "shared"


def alone(world: Any) -> None:
    from megatron.core.distributed import param_and_grad_buffer as buffers

    (group,) = world.module.bucket_groups
    refusing = mock.Mock(side_effect=AssertionError("a collective of one"))
    with mock.patch.multiple(buffers, dist_all_gather_func=refusing, dist_reduce_scatter_func=refusing):
        group.param_gather_dispatched = False
        group.start_param_sync()
        assert group.param_gather_dispatched
        group.start_grad_sync()
        assert group.grad_reduce_handle is None
        with mock.patch.object(group, "intra_distributed_optimizer_instance_size", 2):
            for start in (group.start_param_sync, group.start_grad_sync):
                with pytest.raises(AssertionError, match="a collective of one"):
                    start()
    group.cached_param_buffer_shard_list[:] = group.cached_grad_buffer_shard_list[:] = [None]


def zero_state(world: Any) -> None:
    state = world.inner.get_parameter_state_dp_zero(use_gloo_comm=False, return_on_all_ranks=True)
    (tensors,) = state[0].values()
    assert tensors["param"].abs().sum() > 0


def without_cuda(place: str) -> Callable[[Any], None]:
    """Of places that only several ranks come to: the words are gone. test_layouts runs them."""

    def gone(world: Any) -> None:
        code = adjust.find(place)[2].__code__
        codes = [code, *(constant for constant in code.co_consts if hasattr(constant, "co_names"))]
        assert not {"current_device", "synchronize"} & {name for one in codes for name in one.co_names}
        assert "cuda" not in {constant for one in codes for constant in one.co_consts if isinstance(constant, str)}

    return gone


RANDOM = "megatron.core.tensor_parallel.random"
MAPPINGS = "megatron.core.tensor_parallel.mappings"
GATING = "megatron.core.transformer.moe.moe_utils:RouterGatingLinearFunction"
BALANCE = "megatron.core.transformer.moe.router:TopKRouter.attach_and_log_load_balancing_loss"
ROTARY = "megatron.core.models.common.embeddings.rope_utils:_apply_rotary_pos_emb_bshd"
CROSS_ENTROPY = "megatron.core.tensor_parallel.cross_entropy:vocab_parallel_cross_entropy"
SCALE = "megatron.core.utils:local_multi_tensor_scale"
MLP = "megatron.core.transformer.mlp:MLP.forward"
SEVERAL_RANKS = (
    "megatron.core.tensor_parallel.layers:LinearWithGradAccumulationAndAsyncCommunication.backward",
    "megatron.core.pipeline_parallel.p2p_communication:P2PCommunicator._communicate",
    "megatron.core.pipeline_parallel.schedules:forward_backward_pipelining_without_interleaving",
    "megatron.core.pipeline_parallel.schedules:forward_backward_pipelining_with_interleaving",
    "megatron.core.models.common.language_module.language_module:LanguageModule.setup_embeddings_and_output_layer",
    "megatron.core.transformer.moe.router:Router.gating",
)
OPTIMIZER = "megatron.core.optimizer.distrib_optimizer:DistributedOptimizer"
WRITER = "megatron.core.dist_checkpointing.strategies.filesystem_async"

SEEN_AT_WORK: dict[str, Callable[[Any], None]] = {
    adjust.JIT: jit_fuser,
    "megatron.core.optimizer:_get_megatron_optimizer_based_on_param_groups": own_adamw,
    f"{RANDOM}:_get_cuda_rng_state": rng_get,
    f"{MAPPINGS}:_gather_along_last_dim": gathering,
    f"{MAPPINGS}:_gather_along_first_dim": gathering,
    f"{MAPPINGS}:_reduce_scatter_along_first_dim": scattering,
    "megatron.core.utils:GlobalMemoryBuffer.get_tensor": memory,
    "megatron.core.models.common.embeddings.rope_utils:get_pos_emb_on_this_cp_rank": places,
    f"{GATING}.forward": routed,
    f"{GATING}.backward": routed,
    BALANCE: balanced,
    f"{MAPPINGS}:copy_to_tensor_model_parallel_region": straight,
    f"{MAPPINGS}:reduce_from_tensor_model_parallel_region": straight,
    CROSS_ENTROPY: whole_logits,
    ROTARY: turned,
    MLP: gated,
    "megatron.core.tensor_parallel.layers:linear_with_grad_accumulation_and_async_allreduce": linear,
    "megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBucketGroup.start_param_sync": alone,
    "megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBucketGroup.start_grad_sync": alone,
    "megatron.core.optimizer.distrib_optimizer:DistributedOptimizer.get_parameter_state_dp_zero": zero_state,
    **{place: without_cuda(place) for place in SEVERAL_RANKS},
    f"{RANDOM}:_set_cuda_rng_state": rng_state,
    f"{RANDOM}:CudaRNGStatesTracker.add": rng_tracker,
    f"{RANDOM}:model_parallel_cuda_manual_seed": model_parallel_seed,
    "megatron.core.models.common.embeddings.rotary_pos_embedding:RotaryEmbedding.get_emb": rotary,
    "megatron.core.distributed.param_and_grad_buffer:_ParamAndGradBuffer.__init__": buffers,
    "megatron.core.pipeline_parallel.schedules:forward_backward_no_pipelining": schedule,
    "megatron.core.optimizer.optimizer:MixedPrecisionOptimizer.__init__": scale,
    "megatron.core.optimizer.clip_grads:get_grad_norm_fp32": grad_norm,
    "megatron.core.utils:local_multi_tensor_l2_norm": l2_norm,
    "megatron.core.optimizer.clip_grads:clip_grad_by_total_norm_fp32": clip,
    SCALE: scaled,
    f"{OPTIMIZER}.__init__": half_parameters,
    f"{OPTIMIZER}._build_model_and_main_param_groups": parameter_groups,
    f"{OPTIMIZER}.state_dict": fresh_step,
    f"{OPTIMIZER}.load_state_dict": own_step,
    f"{OPTIMIZER}._set_main_param_and_optimizer_states": kept_step,
    f"{WRITER}:_get_write_results_queue": write_queue,
    f"{WRITER}:FileSystemWriterAsync.write_preloaded_data_multiproc": write_in_process,
    f"{WRITER}:FileSystemWriterAsync.preload_tensors": preload,
    "megatron.core.dist_checkpointing.strategies.state_dict_saver:save_state_dict_async_finalize": finalize,
}


@pytest.mark.parametrize("row", adjust.TABLE, ids=lambda row: row.place.rpartition(":")[2])
def test_the_row_does_what_it_says(row: adjust.Adjustment, world: SimpleNamespace) -> None:
    SEEN_AT_WORK[row.place](world)


def test_what_is_hidden_from_an_import_is_there_again_behind_it() -> None:
    real = torch.compile
    with mock.patch.dict(sys.modules):
        sys.modules.pop(adjust.TENSORBOARD, None)
        with adjust.importing("cpu"):
            assert torch.compile is not real
            assert sys.modules[adjust.TENSORBOARD] is None
        assert adjust.TENSORBOARD not in sys.modules
        # What is there already stays.
        sys.modules[adjust.TENSORBOARD] = pytest
        with adjust.importing("cpu"):
            assert sys.modules[adjust.TENSORBOARD] is pytest
        assert sys.modules[adjust.TENSORBOARD] is pytest
    assert torch.compile is real


def test_applying_twice_is_applying_once(world: SimpleNamespace) -> None:
    places = adjust.apply("cpu")
    assert places == [row.place for row in adjust.TABLE]
    functions = [adjust.find(place)[2] for place in places]
    assert adjust.apply("cpu") == places
    assert [adjust.find(place)[2] for place in places] == functions


def test_every_swap_is_found_in_the_source(world: SimpleNamespace) -> None:
    for row in adjust.TABLE:
        function = adjust.find(row.place)[2]
        for swap in row.swaps:
            adjust.rewritten(function, [swap])


def test_source_that_differs_is_refused_before_anything_is_changed(world: SimpleNamespace) -> None:
    here = "tests.trainer.runtime.test_adjust:sample"
    row = adjust.Adjustment(place=here, why="", source_sha256="0" * 64, swaps=(adjust.Swap(old="1", new="2"),))
    with pytest.raises(TrainerError) as caught:
        adjust.apply("cpu", (row,))
    assert caught.value.where == here
    assert "1 of 1 places in megatron-core" in caught.value.what
    assert "0.16.1" in caught.value.expected
    assert caught.value.fix
    assert sample() == 1


def sample() -> int:
    return 1


def named() -> int:
    return getattr(named, "told", 1)


def test_a_function_that_names_itself_can_be_rewritten() -> None:
    named.__code__ = adjust.rewritten(named, [adjust.Swap(old="told", new="seen")])  # type: ignore[arg-type]
    assert named() == 1
    named.seen = 2  # type: ignore[attr-defined]
    assert named() == 2


def test_words_that_do_not_occur_are_an_error() -> None:
    with pytest.raises(ValueError, match="does not occur in sample"):
        adjust.rewritten(sample, [adjust.Swap(old="three", new="four")])


class Base:
    def __init__(self) -> None:
        self.seen = ["base"]


class Sample(Base):
    @staticmethod
    def outside() -> str:
        return "outside"

    def __init__(self, word: str = "given") -> None:
        super().__init__()
        if word:
            self.seen.append(f"{word} old")


def test_what_is_rewritten_keeps_its_super_its_defaults_and_its_lines() -> None:
    function: Any = Sample.__init__
    line = function.__code__.co_firstlineno
    function.__code__ = adjust.rewritten(function, [adjust.Swap(old="        if word:\n            self", new="        if not word or word:\n            self"), adjust.Swap(old="old", new="new")])
    assert Sample().seen == ["base", "given new"]
    assert function.__code__.co_firstlineno == line


def test_rows_for_one_device_leave_the_others_alone() -> None:
    concerned = {kind: {row.place for row in adjust.TABLE if row.concerns(kind)} for kind in adjust.ALL}
    assert concerned["cpu"] == set(SEEN_AT_WORK)
    # On CUDA only what is wrong there too; on an NPU also what is told by CUDA's names of types.
    assert concerned["cuda"] == {
        f"{OPTIMIZER}.state_dict", f"{OPTIMIZER}.load_state_dict", f"{OPTIMIZER}._set_main_param_and_optimizer_states",
        f"{GATING}.forward", f"{GATING}.backward", BALANCE, CROSS_ENTROPY, ROTARY, MLP, SCALE,
        f"{WRITER}:_get_write_results_queue", f"{WRITER}:FileSystemWriterAsync.write_preloaded_data_multiproc"}
    assert concerned["npu"] - concerned["cuda"] == {
        f"{OPTIMIZER}.__init__", f"{OPTIMIZER}._build_model_and_main_param_groups",
        "megatron.core.optimizer.clip_grads:clip_grad_by_total_norm_fp32"}


def test_parameters_are_as_many_as_the_arithmetic_says(world: SimpleNamespace) -> None:
    from trainer.spec.parallel import parameter_count

    assert sum(parameter.numel() for parameter in world.module.parameters()) == parameter_count(SPEC.model)


def test_norms_are_not_decayed(world: SimpleNamespace) -> None:
    from trainer.runtime.model import set_rates

    set_rates(world.optimizer, learning_rate=0.5, weight_decay=0.1)
    assert {(group["lr"], group["weight_decay"]) for group in world.optimizer.param_groups} == {(0.5, 0.1), (0.5, 0.0)}


def test_adamw_goes_over_memory_once_where_its_kernel_is_known(world: SimpleNamespace) -> None:
    from trainer.runtime import model

    for kinds, fused in (((), False), (model.FUSED, True)):
        # What a checkpoint of another device said does not count.
        with mock.patch.object(model, "FUSED", kinds):
            model.set_rates(world.optimizer, learning_rate=0.5, weight_decay=0.1)
        assert {group["fused"] for group in world.optimizer.param_groups} == {fused}
