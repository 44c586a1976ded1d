"""The rules a job must keep, each with its id: what does not fit, where, and what to do. Torch-free, pure.

``check`` reports everything at once. The ids are those of the rules table that ``rankdeck plan`` and the
waivers in a job file use: P (parallel layout), S (saving), M (mode and resume), T (this trainer's own
limits). The console adds file and line to ``path`` and the rules that need nodes.

Sources: Megatron's arguments.py (P1, P3, P8), megatron-core's attention.py (P2), Huawei's training guides
(P6, P7, P9, S1r, S2r, M6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from trainer.spec import batch, parallel
from trainer.spec.job import JobSpec

LONG_SEQUENCE_TOKENS = 32768
"""P6: beyond this Huawei's guide asks for context parallelism."""

BYTE_VOCABULARY = 256
"""T3: ``text`` trains on bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that does not fit."""

    rule: str
    """Id, e.g. ``P1``."""
    severity: Literal["error", "warning", "info"]
    path: tuple[str, ...]
    """Keys of the job file, e.g. ("train", "global_batch_size")."""
    message: str
    got: str = ""
    expected: str = ""
    fix: str = ""


def check(spec: JobSpec, *, saved_iteration: int | None = None) -> list[Finding]:
    """All findings of a job, errors first, then in the order of the table.

    ``saved_iteration`` is the checkpoint the run would go on from, where it is known; None skips the rules
    about it. A job whose sizes are not even positive gets those findings only: nothing can be said about
    how zero ranks are cut.
    """
    found = list(_positive(spec))
    if not found:
        for rule in _RULES:
            found.extend(rule(spec))
        found.extend(_resume(spec, saved_iteration))
    order = {"error": 0, "warning": 1, "info": 2}
    return sorted(found, key=lambda finding: order[finding.severity])


def _positive(spec: JobSpec) -> Iterator[Finding]:
    sizes = {
        ("fleet", "npus_per_node"): spec.fleet.npus_per_node,
        ("train", "iterations"): spec.train.iterations,
        ("train", "micro_batch_size"): spec.train.micro_batch_size,
        ("train", "global_batch_size"): spec.train.global_batch_size,
        ("train", "seq_length"): spec.train.seq_length,
        ("train", "log_interval"): spec.train.log_interval,
        ("model", "num_layers"): spec.model.num_layers,
        ("model", "hidden_size"): spec.model.hidden_size,
        ("model", "num_attention_heads"): spec.model.num_attention_heads,
        ("model", "vocab_size"): spec.model.vocab_size,
        ("parallel", "tensor_model_parallel_size"): spec.parallel.tensor_model_parallel_size,
        ("parallel", "pipeline_model_parallel_size"): spec.parallel.pipeline_model_parallel_size,
        ("parallel", "context_parallel_size"): spec.parallel.context_parallel_size,
        ("parallel", "expert_model_parallel_size"): spec.parallel.expert_model_parallel_size,
    }
    for path, value in sizes.items():
        if value < 1:
            yield _error("T1", path, "a size must be positive", str(value), "1 or more", f"set {'.'.join(path)}")
    for path, amount in {
        ("checkpoint", "interval"): float(spec.checkpoint.interval),
        ("train", "warmup_iterations"): float(spec.train.warmup_iterations),
        ("train", "exit_after_iterations"): float(spec.train.exit_after_iterations),
        ("train", "min_step_s"): spec.train.min_step_s,
        ("model", "ffn_hidden_size"): float(spec.model.ffn_hidden_size),
        ("model", "num_query_groups"): float(spec.model.num_query_groups),
        ("recovery", "in_place"): float(spec.recovery.in_place),
    }.items():
        if amount < 0:
            yield _error("T1", path, "a count cannot be negative", f"{amount:g}", "0 or more", f"set {'.'.join(path)}")
    for path, seconds in {
        ("train", "timeout_s"): spec.train.timeout_s,
        ("recovery", "join_timeout_s"): spec.recovery.join_timeout_s,
    }.items():
        if seconds <= 0:
            yield _error("T1", path, "a time limit must be positive", f"{seconds:g} s", "more than 0 s", f"set {'.'.join(path)}")
    if not spec.fleet.nodes:
        yield _error("T1", ("fleet", "nodes"), "the job has no node", "an empty list", "at least one node", "name the nodes")


def _world(spec: JobSpec) -> Iterator[Finding]:
    world, model = parallel.world_size(spec), parallel.model_parallel_size(spec)
    if world % model:
        low, high = world // model * model, (world // model + 1) * model
        yield _error(
            "P1", ("parallel",), f"world size {world} is not divisible by TP x PP x CP = {model}",
            str(world), f"a multiple of {model}",
            f"use {f'{low} or {high}' if low else high} devices, or other parallel sizes",
        )


def _heads(spec: JobSpec) -> Iterator[Finding]:
    heads, groups = spec.model.num_attention_heads, parallel.num_query_groups(spec.model)
    tp, cp = spec.parallel.tensor_model_parallel_size, spec.parallel.context_parallel_size
    path = ("model", "num_attention_heads")
    if spec.model.hidden_size % heads and not spec.model.kv_channels:
        yield _error(
            "P2", ("model", "hidden_size"), f"hidden size is not divisible by {heads} attention heads",
            str(spec.model.hidden_size), f"a multiple of {heads}", "change hidden_size or num_attention_heads",
        )
    elif parallel.head_width(spec.model) % 2:
        yield _error(
            "P2", ("model", "hidden_size"), "a head must have an even width, for rotary positions",
            str(parallel.head_width(spec.model)), "an even hidden_size / num_attention_heads", "change one of them",
        )
    if heads % groups:
        yield _error(
            "P2", ("model", "num_query_groups"), f"{heads} attention heads cannot be cut into {groups} query groups",
            str(groups), f"a divisor of {heads}", "change num_query_groups",
        )
    if heads % tp:
        yield _error("P2", path, f"attention heads are not divisible by TP = {tp}", str(heads), f"a multiple of {tp}", "lower TP")
    elif groups % tp and tp % groups:
        yield _error(
            "P2", ("model", "num_query_groups"), f"query groups neither divide TP = {tp} nor are divided by it",
            str(groups), f"a multiple or divisor of {tp}", "lower TP",
        )
    elif heads % (tp * cp):
        yield _warning(
            "P2", path, f"attention heads are not divisible by TP x CP = {tp * cp}; vendor runners refuse this",
            str(heads), f"a multiple of {tp * cp}", "lower TP or CP",
        )


def _batches(spec: JobSpec) -> Iterator[Finding]:
    size, micro = spec.train.global_batch_size, spec.train.micro_batch_size
    path = ("train", "global_batch_size")
    if size % micro:
        yield _error("P3", path, f"not divisible by micro_batch_size = {micro}", str(size), f"a multiple of {micro}", "change one of them")
        return
    dp = parallel.data_parallel_size(spec)
    if dp and not parallel.world_size(spec) % parallel.model_parallel_size(spec) and size // micro % dp:
        unit = micro * dp
        yield _error(
            "P3", path, f"{size // micro} microbatches cannot be dealt to {dp} data-parallel ranks",
            str(size), f"a multiple of micro_batch_size x DP = {unit}",
            f"use {max(unit, size // unit * unit)} or {(size // unit + 1) * unit}",
        )


def _lengths(spec: JobSpec) -> Iterator[Finding]:
    length = spec.train.seq_length
    if length > LONG_SEQUENCE_TOKENS and spec.parallel.context_parallel_size < 2:
        yield _warning(
            "P6", ("train", "seq_length"), "sequences this long want context parallelism",
            str(length), f"CP of 2 or more beyond {LONG_SEQUENCE_TOKENS} tokens", "raise context_parallel_size",
        )
    if length > spec.model.max_position_embeddings:
        yield _warning(
            "P7", ("train", "seq_length"), "longer than the model's positions reach",
            str(length), f"at most {spec.model.max_position_embeddings}", "raise model.max_position_embeddings",
        )


def _layers(spec: JobSpec) -> Iterator[Finding]:
    pp = spec.parallel.pipeline_model_parallel_size
    if spec.model.num_layers % pp:
        yield _error(
            "P8", ("model", "num_layers"), f"layers cannot be dealt to {pp} pipeline stages",
            str(spec.model.num_layers), f"a multiple of {pp}", "change PP",
        )


def _rates(spec: JobSpec) -> Iterator[Finding]:
    if spec.train.min_learning_rate > spec.train.learning_rate:
        yield _warning(
            "P9", ("train", "min_learning_rate"), "above the learning rate, so the rate rises",
            f"{spec.train.min_learning_rate:g}", f"at most {spec.train.learning_rate:g}", "swap them",
        )


def _inside_node(spec: JobSpec) -> Iterator[Finding]:
    tp, per_node = spec.parallel.tensor_model_parallel_size, spec.fleet.npus_per_node
    if tp > per_node:
        yield _warning(
            "P10", ("parallel", "tensor_model_parallel_size"), "tensor parallelism reaches across nodes, which is slow",
            str(tp), f"at most the {per_node} NPUs of a node", "lower TP and raise PP",
        )


def _saves(spec: JobSpec) -> Iterator[Finding]:
    saves, interval = batch.save_iterations(spec), spec.checkpoint.interval
    one_mb = parallel.checkpoint_bytes(spec.model) / 1e6
    yield Finding(
        rule="S1r", severity="info", path=("checkpoint", "interval"),
        message=f"{len(saves)} checkpoint{'' if len(saves) == 1 else 's'} of about {one_mb:.1f} MB will be written",
        got=", ".join(map(str, saves[:4])) + (f", ... {saves[-1]}" if len(saves) > 4 else "") if saves else "none",
    )
    if interval == 0 or interval > spec.train.iterations:
        yield _warning(
            "S2r", ("checkpoint", "interval"), "no checkpoint is written during the run: a restart begins anew",
            str(interval), f"1 to {spec.train.iterations}", "set an interval that one can afford to lose",
        )


def _own_trainer(spec: JobSpec) -> Iterator[Finding]:
    if spec.runner.kind != "torchrun" or spec.runner.entry:
        return
    if spec.train.precision in ("fp8", "fp16"):
        yield _error("T2", ("train", "precision"), "the built-in trainer does not train in it", spec.train.precision, "auto, fp32 or bf16", "use bf16")
    if spec.data.format not in ("synthetic", "text", "megatron-bin"):
        yield _error("T2", ("data", "format"), "the built-in trainer reads prepared data only", spec.data.format, "synthetic, text or megatron-bin", "prepare it: python -m trainer preprocess")
    yield from _own_layout(spec)
    if spec.data.format == "text":
        if not spec.data.prefix:
            yield _error("T3", ("data", "prefix"), "no text file is named", "nothing", "the path of a UTF-8 file", "set data.prefix")
        if spec.model.vocab_size < BYTE_VOCABULARY:
            yield _error("T3", ("model", "vocab_size"), "text is trained on bytes", str(spec.model.vocab_size), f"{BYTE_VOCABULARY} or more", f"set it to {BYTE_VOCABULARY}")
    if spec.checkpoint.storage == "per-node" and len(spec.fleet.nodes) > 1:
        yield _error(
            "T4", ("checkpoint", "storage"), "the built-in trainer needs storage that all nodes see",
            "per-node", "shared", "put checkpoint.dir on shared storage",
        )


def _own_layout(spec: JobSpec) -> Iterator[Finding]:
    cut, model, train = spec.parallel, spec.model, spec.train
    tp, pp, cp, ep = (cut.tensor_model_parallel_size, cut.pipeline_model_parallel_size, cut.context_parallel_size, cut.expert_model_parallel_size)
    if model.vocab_size % tp:
        yield _error("T5", ("model", "vocab_size"), f"the vocabulary cannot be cut into TP = {tp} parts", str(model.vocab_size), f"a multiple of {tp}", "raise vocab_size to one")
    if parallel.num_query_groups(model) % tp:
        yield _error("T5", ("model", "num_query_groups"), f"the built-in trainer gives every rank of TP = {tp} whole query groups", str(parallel.num_query_groups(model)), f"a multiple of {tp}", "lower TP")
    if parallel.ffn_hidden_size(model) % tp:
        yield _error("T5", ("model", "ffn_hidden_size"), f"the MLP cannot be cut into TP = {tp} parts", str(parallel.ffn_hidden_size(model)), f"a multiple of {tp}", "lower TP")
    if cp > 1 and train.seq_length % (2 * cp):
        yield _error("T5", ("train", "seq_length"), f"a sequence cannot be cut into the 2 x CP = {2 * cp} pieces of context parallelism", str(train.seq_length), f"a multiple of {2 * cp}", "change seq_length")
    if cut.sequence_parallel and tp > 1 and train.seq_length // cp % tp:
        yield _error("T5", ("train", "seq_length"), f"a rank's sequence cannot be cut into TP = {tp} parts", str(train.seq_length // cp), f"a multiple of {tp}", "change seq_length")
    if ep > 1 and (not model.num_experts or model.num_experts % ep):
        yield _error("T5", ("parallel", "expert_model_parallel_size"), "experts cannot be dealt to that many ranks", str(ep), f"a divisor of num_experts = {model.num_experts}" if model.num_experts else "1 for a dense model", "change it")
    if ep > 1 and parallel.data_parallel_size(spec) * cp * tp % ep:
        yield _error("T5", ("parallel", "expert_model_parallel_size"), "it is taken out of the ranks of TP x CP x DP", str(ep), f"a divisor of {parallel.data_parallel_size(spec) * cp * tp}", "lower it")
    if model.num_experts and model.moe_router_topk > model.num_experts:
        yield _error("T5", ("model", "moe_router_topk"), "more experts a token than there are", str(model.moe_router_topk), f"at most {model.num_experts}", "lower it")
    chunks = cut.virtual_pipeline_model_parallel_size
    if chunks > 1:
        if pp < 2:
            yield _error("T5", ("parallel", "virtual_pipeline_model_parallel_size"), "interleaving needs a pipeline", str(chunks), "PP of 2 or more", "set it to 0")
        elif model.num_layers % (pp * chunks):
            yield _error("T5", ("model", "num_layers"), f"layers cannot be dealt to {pp} stages of {chunks} chunks", str(model.num_layers), f"a multiple of {pp * chunks}", "change the chunks")
        if batch.num_microbatches(spec) % pp:
            yield _error("T5", ("train", "global_batch_size"), f"interleaving needs microbatches in multiples of PP = {pp}", str(batch.num_microbatches(spec)), f"a multiple of {pp}", "change the batch sizes")
    if spec.run.mode == "lora" and not spec.model.peft.target_modules:
        yield _error("T5", ("model", "peft", "target_modules"), "no module would get an adapter", "none", "linear_qkv, linear_proj, linear_fc1, linear_fc2", "name some")
    if model.num_experts and spec.run.mode == "lora":
        yield _error("T5", ("run", "mode"), "adapters for mixtures of experts are not built", "lora", "pretrain or sft", "use a dense model")


def _resume(spec: JobSpec, saved_iteration: int | None) -> Iterator[Finding]:
    if saved_iteration is not None and spec.train.iterations <= saved_iteration:
        yield _error(
            "M6", ("train", "iterations"), "the checkpoint to go on from is already there",
            str(spec.train.iterations), f"more than the saved iteration {saved_iteration}", "raise train.iterations",
        )


_RULES: tuple[Callable[[JobSpec], Iterator[Finding]], ...] = (
    _world, _heads, _batches, _lengths, _layers, _rates, _inside_node, _saves, _own_trainer,
)


def _error(rule: str, path: tuple[str, ...], message: str, got: str, expected: str, fix: str) -> Finding:
    return Finding(rule=rule, severity="error", path=path, message=message, got=got, expected=expected, fix=fix)


def _warning(rule: str, path: tuple[str, ...], message: str, got: str, expected: str, fix: str) -> Finding:
    return Finding(rule=rule, severity="warning", path=path, message=message, got=got, expected=expected, fix=fix)
