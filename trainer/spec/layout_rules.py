"""How ranks, layers, heads and samples are cut (rules P, EP, H, A), and sizes that are sizes (V). Torch-free, pure.

Sources: Megatron's arguments.py (P1, P3, P8), megatron-core's attention.py (P2), Huawei's training guides
(P4 to P7, P9; seeds S2, S3), MindSpeed's high_availability.md (H1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from trainer.spec import batch, parallel
from trainer.spec.finding import Finding, error, info, warning
from trainer.spec.job import JobSpec
from trainer.spec.trainer_rules import own_trainer

LONG_SEQUENCE_TOKENS = 32768
"""P6: beyond this Huawei's guide asks for context parallelism."""

FULL_PIPELINE = 4
"""P5: microbatches per pipeline stage below which the bubble is more than a fifth: (PP - 1) / (m + PP - 1)."""

RECOMMENDED: Mapping[tuple[str, str], Mapping[str, int]] = {
    ("qwen", "7B"): {"tp": 4, "pp": 1, "mbs": 2, "mbs_lora": 2},
    ("qwen", "14B"): {"tp": 8, "pp": 1, "mbs": 2, "mbs_lora": 4},
    ("qwen", "72B"): {"tp": 8, "pp": 5, "mbs": 1, "mbs_lora": 1},
}
"""P5: S3's tables; for 72B ``pp`` is the least, and the number of nodes is meant."""


def vendor(spec: JobSpec) -> bool:
    """Whether a vendor's own launcher starts the ranks."""
    return spec.runner.kind in ("env-script", "ascendfactory")


def shape_known(spec: JobSpec) -> bool:
    """Whether the job says what the model looks like: the project's trainer always knows, others only if told."""
    plain = type(spec.model)()
    model = spec.model
    return own_trainer(spec) or (model.num_layers, model.hidden_size, model.num_attention_heads) != (
        plain.num_layers, plain.hidden_size, plain.num_attention_heads)


def check(spec: JobSpec) -> Iterator[Finding]:
    """All findings of the layout. The sizes must be positive (``positive``)."""
    for rule in (_world, _heads, _batches, _nodes, _recommended, _lengths, _layers, _rates, _inside_node, _experts, _availability, _accumulation):
        yield from rule(spec)


def positive(spec: JobSpec) -> Iterator[Finding]:
    """Sizes that must be at least 1 and are not; the other rules divide by them."""
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
            yield error("V1", path, "a size must be positive", str(value), "1 or more", f"set {'.'.join(path)}")
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
            yield error("V1", path, "a count cannot be negative", f"{amount:g}", "0 or more", f"set {'.'.join(path)}")
    for path, seconds in {
        ("train", "timeout_s"): spec.train.timeout_s,
        ("recovery", "join_timeout_s"): spec.recovery.join_timeout_s,
    }.items():
        if seconds <= 0:
            yield error("V1", path, "a time limit must be positive", f"{seconds:g} s", "more than 0 s", f"set {'.'.join(path)}")
    if not spec.fleet.nodes:
        yield error("V1", ("fleet", "nodes"), "the job has no node", "an empty list", "at least one node", "name the nodes")


def _world(spec: JobSpec) -> Iterator[Finding]:
    world, model = parallel.world_size(spec), parallel.model_parallel_size(spec)
    if world % model:
        low, high = world // model * model, (world // model + 1) * model
        yield error(
            "P1", ("parallel",), f"world size {world} is not divisible by TP x PP x CP = {model}",
            str(world), f"a multiple of {model}",
            f"use {f'{low} or {high}' if low else high} devices, or other parallel sizes",
        )


def _heads(spec: JobSpec) -> Iterator[Finding]:
    if not shape_known(spec):
        yield info("P2", ("model",), "the model's shape is not stated, so heads and layers (P2, P8) are not checked; a recipe would state it")
        return
    heads, groups = spec.model.num_attention_heads, parallel.num_query_groups(spec.model)
    tp, cp = spec.parallel.tensor_model_parallel_size, spec.parallel.context_parallel_size
    path = ("model", "num_attention_heads")
    if spec.model.hidden_size % heads and not spec.model.kv_channels:
        yield error(
            "P2", ("model", "hidden_size"), f"hidden size is not divisible by {heads} attention heads",
            str(spec.model.hidden_size), f"a multiple of {heads}", "change hidden_size or num_attention_heads",
        )
    elif parallel.head_width(spec.model) % 2:
        yield error(
            "P2", ("model", "hidden_size"), "a head must have an even width, for rotary positions",
            str(parallel.head_width(spec.model)), "an even hidden_size / num_attention_heads", "change one of them",
        )
    if heads % groups:
        yield error(
            "P2", ("model", "num_query_groups"), f"{heads} attention heads cannot be cut into {groups} query groups",
            str(groups), f"a divisor of {heads}", "change num_query_groups",
        )
    if heads % tp:
        yield error("P2", path, f"attention heads are not divisible by TP = {tp}", str(heads), f"a multiple of {tp}", "lower TP")
    elif groups % tp and tp % groups:
        yield error(
            "P2", ("model", "num_query_groups"), f"query groups neither divide TP = {tp} nor are divided by it",
            str(groups), f"a multiple or divisor of {tp}", "lower TP",
        )
    elif heads % (tp * cp):
        make = error if vendor(spec) else warning
        yield make(
            "P2", path, f"attention heads are not divisible by TP x CP = {tp * cp}; vendor runners refuse this",
            str(heads), f"a multiple of {tp * cp}", "lower TP or CP",
        )


def _batches(spec: JobSpec) -> Iterator[Finding]:
    size, micro = spec.train.global_batch_size, spec.train.micro_batch_size
    path = ("train", "global_batch_size")
    if size % micro:
        yield error("P3", path, f"not divisible by micro_batch_size = {micro}", str(size), f"a multiple of {micro}", "change one of them")
        return
    dp = parallel.data_parallel_size(spec)
    if dp and not parallel.world_size(spec) % parallel.model_parallel_size(spec) and size // micro % dp:
        unit = micro * dp
        yield error(
            "P3", path, f"{size // micro} microbatches cannot be dealt to {dp} data-parallel ranks",
            str(size), f"a multiple of micro_batch_size x DP = {unit}",
            f"use {max(unit, size // unit * unit)} or {(size // unit + 1) * unit}",
        )


def _lengths(spec: JobSpec) -> Iterator[Finding]:
    length = spec.train.seq_length
    if length > LONG_SEQUENCE_TOKENS and spec.parallel.context_parallel_size < 2:
        yield warning(
            "P6", ("train", "seq_length"), "sequences this long want context parallelism",
            str(length), f"CP of 2 or more beyond {LONG_SEQUENCE_TOKENS} tokens", "raise context_parallel_size",
        )
    if length > spec.model.max_position_embeddings:
        yield warning(
            "P7", ("train", "seq_length"), "longer than the model's positions reach",
            str(length), f"at most {spec.model.max_position_embeddings}", "raise model.max_position_embeddings",
        )


def _layers(spec: JobSpec) -> Iterator[Finding]:
    pp = spec.parallel.pipeline_model_parallel_size
    if not shape_known(spec):
        return
    if spec.model.num_layer_list:
        stages = [int(part) if re.fullmatch(r"[0-9]{1,6}", part) else 0 for part in spec.model.num_layer_list.replace(" ", "").split(",")]
        if len(stages) != pp or sum(stages) != spec.model.num_layers or 0 in stages:
            yield error(
                "P8", ("model", "num_layer_list"), f"this does not deal {spec.model.num_layers} layers to {pp} pipeline stages",
                spec.model.num_layer_list, f"{pp} numbers that add up to {spec.model.num_layers}", "mend the list",
            )
    elif spec.model.num_layers % pp:
        yield error(
            "P8", ("model", "num_layers"), f"layers cannot be dealt to {pp} pipeline stages",
            str(spec.model.num_layers), f"a multiple of {pp}", "change PP",
        )


def _rates(spec: JobSpec) -> Iterator[Finding]:
    if spec.train.min_learning_rate > spec.train.learning_rate:
        yield warning(
            "P9", ("train", "min_learning_rate"), "above the learning rate, so the rate rises",
            f"{spec.train.min_learning_rate:g}", f"at most {spec.train.learning_rate:g}", "swap them",
        )


def _inside_node(spec: JobSpec) -> Iterator[Finding]:
    tp, per_node = spec.parallel.tensor_model_parallel_size, spec.fleet.npus_per_node
    if tp > per_node:
        yield warning(
            "P10", ("parallel", "tensor_model_parallel_size"), "tensor parallelism reaches across nodes, which is slow",
            str(tp), f"at most the {per_node} NPUs of a node", "lower TP and raise PP",
        )


def _nodes(spec: JobSpec) -> Iterator[Finding]:
    nodes, pp = parallel.nnodes(spec), spec.parallel.pipeline_model_parallel_size
    # Where S3 recommends a PP for the model, that is P5's business, and for 14B on two nodes it says 1.
    if vendor(spec) and nodes > 1 and pp != nodes and (spec.model.family, spec.model.size) not in RECOMMENDED:
        yield warning(
            "P4", ("parallel", "pipeline_model_parallel_size"), "PP is usually the number of nodes",
            str(pp), str(nodes), "set it to the number of nodes, or waive P4",
        )


def _recommended(spec: JobSpec) -> Iterator[Finding]:
    cut, train = spec.parallel, spec.train
    found = RECOMMENDED.get((spec.model.family, spec.model.size))
    if found:
        name = f"Qwen-{spec.model.size}"
        least = found["pp"] > 1
        want = max(found["pp"], parallel.nnodes(spec)) if least else found["pp"]
        micro = found["mbs_lora" if spec.run.mode == "lora" else "mbs"]
        if cut.tensor_model_parallel_size != found["tp"]:
            yield warning("P5", ("parallel", "tensor_model_parallel_size"), f"{name} is recommended another TP",
                          str(cut.tensor_model_parallel_size), str(found["tp"]), "set it, or waive P5")
        pp = cut.pipeline_model_parallel_size
        if pp < found["pp"] if least else pp != found["pp"]:
            yield warning("P5", ("parallel", "pipeline_model_parallel_size"), f"{name} is recommended another PP",
                          str(pp), f"{found['pp']} or more, the number of nodes: {want}" if least else str(found["pp"]), "set it, or waive P5")
        if train.micro_batch_size != micro:
            yield warning("P5", ("train", "micro_batch_size"), f"{name} is recommended another micro batch for {spec.run.mode}",
                          str(train.micro_batch_size), str(micro), "set it, or waive P5")
    stages, count = cut.pipeline_model_parallel_size, batch.num_microbatches(spec)
    if not own_trainer(spec) and stages > 1 and 0 < count < FULL_PIPELINE * stages:
        yield warning("P5", ("train", "global_batch_size"), f"{count} microbatches leave a pipeline of {stages} stages idle for much of each step",
                      str(train.global_batch_size), f"{FULL_PIPELINE * stages} microbatches or more", "raise global_batch_size")


def _experts(spec: JobSpec) -> Iterator[Finding]:
    experts, ep = spec.model.num_experts, spec.parallel.expert_model_parallel_size
    if own_trainer(spec) or ep == 1:
        return
    path = ("parallel", "expert_model_parallel_size")
    if not experts and shape_known(spec):
        yield error("EP1", path, "the model has no experts to deal out", str(ep), "1", "set it to 1, or model.num_experts")
    elif experts % ep:
        yield error("EP1", path, f"{experts} experts cannot be dealt to that many ranks", str(ep), f"a divisor of {experts}", "change EP")
    world, whole = parallel.world_size(spec), spec.parallel.tensor_model_parallel_size * ep * spec.parallel.pipeline_model_parallel_size
    if world % whole:
        yield error("EP2", path, f"world size {world} is not divisible by TP x EP x PP = {whole}", str(world), f"a multiple of {whole}",
                    "lower EP or take more devices")


def _availability(spec: JobSpec) -> Iterator[Finding]:
    if parallel.data_parallel_size(spec) == 1 and (
            "HIGH_AVAILABILITY" in spec.env or (vendor(spec) and parallel.nnodes(spec) > 1)):
        yield warning("H1", ("parallel",), "with one copy of the model nothing can be saved when a rank dies (MindSpeed's high availability "
                      "needs data parallelism)", "DP 1", "DP of 2 or more", "save often, or take more nodes")


def _accumulation(spec: JobSpec) -> Iterator[Finding]:
    if spec.runner.kind == "ascendfactory" and spec.runner.ascendfactory.backend == "llamafactory":
        yield info("A1", ("train", "global_batch_size"),
                   f"per_device_train_batch_size {spec.train.micro_batch_size} x gradient_accumulation_steps {batch.num_microbatches(spec)} "
                   f"x DP {parallel.data_parallel_size(spec)} is this global batch", str(spec.train.global_batch_size))
