"""What the project's own trainer cannot do (rules B1 to B4). Torch-free, pure."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.spec import batch, parallel
from trainer.spec.finding import Finding, error
from trainer.spec.job import JobSpec

BYTE_VOCABULARY = 256
"""B2: ``text`` trains on bytes."""


def own_trainer(spec: JobSpec) -> bool:
    """Whether the ranks run the project's trainer, not a program of somebody else's."""
    return spec.runner.kind == "torchrun" and not spec.runner.entry


def check(spec: JobSpec) -> Iterator[Finding]:
    """All that the project's trainer cannot do with this job; nothing for a job of another program."""
    if not own_trainer(spec):
        return
    if spec.train.precision in ("fp8", "fp16"):
        yield error("B1", ("train", "precision"), "the built-in trainer does not train in it", spec.train.precision, "auto, fp32 or bf16", "use bf16")
    if spec.data.format not in ("synthetic", "text", "megatron-bin"):
        yield error("B1", ("data", "format"), "the built-in trainer reads prepared data only", spec.data.format, "synthetic, text or megatron-bin", "prepare it: python -m trainer preprocess")
    yield from _own_layout(spec)
    if spec.data.format == "text":
        if not spec.data.prefix:
            yield error("B2", ("data", "prefix"), "no text file is named", "nothing", "the path of a UTF-8 file", "set data.prefix")
        if spec.model.vocab_size < BYTE_VOCABULARY:
            yield error("B2", ("model", "vocab_size"), "text is trained on bytes", str(spec.model.vocab_size), f"{BYTE_VOCABULARY} or more", f"set it to {BYTE_VOCABULARY}")
    train = spec.train
    if train.eval_interval < 0 or (train.eval_interval and train.eval_iterations < 1):
        field = "eval_interval" if train.eval_interval < 0 else "eval_iterations"
        yield error("B2", ("train", field), "not a number to validate by", str(getattr(train, field)), "0 (never) or more" if train.eval_interval < 0 else "1 or more", f"set train.{field}")
    elif train.eval_interval and spec.data.format != "synthetic" and not spec.data.valid_prefix:
        yield error("B2", ("data", "valid_prefix"), "validation needs data that is not trained on", "nothing", "as data.prefix, of other samples", "name it, or set train.eval_interval to 0")
    if spec.checkpoint.storage == "per-node" and len(spec.fleet.nodes) > 1:
        yield error(
            "B3", ("checkpoint", "storage"), "the built-in trainer needs storage that all nodes see",
            "per-node", "shared", "put checkpoint.dir on shared storage",
        )


def _own_layout(spec: JobSpec) -> Iterator[Finding]:
    cut, model, train = spec.parallel, spec.model, spec.train
    tp, pp, cp, ep = (cut.tensor_model_parallel_size, cut.pipeline_model_parallel_size, cut.context_parallel_size, cut.expert_model_parallel_size)
    if model.vocab_size % tp:
        yield error("B4", ("model", "vocab_size"), f"the vocabulary cannot be cut into TP = {tp} parts", str(model.vocab_size), f"a multiple of {tp}", "raise vocab_size to one")
    if parallel.num_query_groups(model) % tp:
        yield error("B4", ("model", "num_query_groups"), f"the built-in trainer gives every rank of TP = {tp} whole query groups", str(parallel.num_query_groups(model)), f"a multiple of {tp}", "lower TP")
    if parallel.ffn_hidden_size(model) % tp:
        yield error("B4", ("model", "ffn_hidden_size"), f"the MLP cannot be cut into TP = {tp} parts", str(parallel.ffn_hidden_size(model)), f"a multiple of {tp}", "lower TP")
    if cp > 1 and train.seq_length % (2 * cp):
        yield error("B4", ("train", "seq_length"), f"a sequence cannot be cut into the 2 x CP = {2 * cp} pieces of context parallelism", str(train.seq_length), f"a multiple of {2 * cp}", "change seq_length")
    if cut.sequence_parallel and tp > 1 and train.seq_length // cp % tp:
        yield error("B4", ("train", "seq_length"), f"a rank's sequence cannot be cut into TP = {tp} parts", str(train.seq_length // cp), f"a multiple of {tp}", "change seq_length")
    if ep > 1 and (not model.num_experts or model.num_experts % ep):
        yield error("B4", ("parallel", "expert_model_parallel_size"), "experts cannot be dealt to that many ranks", str(ep), f"a divisor of num_experts = {model.num_experts}" if model.num_experts else "1 for a dense model", "change it")
    if ep > 1 and parallel.data_parallel_size(spec) * cp % ep:
        yield error("B4", ("parallel", "expert_model_parallel_size"), "it is taken out of the ranks of CP x DP", str(ep), f"a divisor of {parallel.data_parallel_size(spec) * cp}", "lower it")
    if model.num_experts and tp > 1 and not cut.sequence_parallel:
        yield error("B4", ("parallel", "sequence_parallel"), f"a mixture of experts under TP = {tp} is trained with sequence parallelism only", "false", "true", "set it, or TP to 1")
    if model.num_experts and model.moe_router_topk > model.num_experts:
        yield error("B4", ("model", "moe_router_topk"), "more experts a token than there are", str(model.moe_router_topk), f"at most {model.num_experts}", "lower it")
    chunks = cut.virtual_pipeline_model_parallel_size
    if chunks > 1:
        if pp < 2:
            yield error("B4", ("parallel", "virtual_pipeline_model_parallel_size"), "interleaving needs a pipeline", str(chunks), "PP of 2 or more", "set it to 0")
        elif model.num_layers % (pp * chunks):
            yield error("B4", ("model", "num_layers"), f"layers cannot be dealt to {pp} stages of {chunks} chunks", str(model.num_layers), f"a multiple of {pp * chunks}", "change the chunks")
        if batch.num_microbatches(spec) % pp:
            yield error("B4", ("train", "global_batch_size"), f"interleaving needs microbatches in multiples of PP = {pp}", str(batch.num_microbatches(spec)), f"a multiple of {pp}", "change the batch sizes")
    if spec.run.mode == "lora" and not spec.model.peft.target_modules:
        yield error("B4", ("model", "peft", "target_modules"), "no module would get an adapter", "none", "linear_qkv, linear_proj, linear_fc1, linear_fc2", "name some")
