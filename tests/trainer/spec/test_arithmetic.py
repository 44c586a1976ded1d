"""How a job is cut and counted, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.spec import batch, parallel, rules
from trainer.spec.job import JobSpec, from_mapping


def job(nodes: int = 2, npus: int = 1, **blocks: dict[str, Any]) -> JobSpec:
    mapping: dict[str, Any] = {
        "run": {"name": "j"},
        "paths": {"work": "/w"},
        "fleet": {"nodes": [f"n{n}" for n in range(nodes)], "npus_per_node": npus},
        "train": {"iterations": 60},
        "checkpoint": {"dir": "/ck", "interval": 10},
    }
    for name, block in blocks.items():
        mapping[name] = {**mapping.get(name, {}), **block}
    return from_mapping(mapping)


def found(spec: JobSpec, **facts: Any) -> dict[str, rules.Finding]:
    """By rule; where one rule speaks twice, the first."""
    return {finding.rule: finding for finding in reversed(rules.check(spec, **facts))}


def test_a_world_is_cut_into_copies_of_the_model() -> None:
    spec = job(4, 8, parallel={"tensor_model_parallel_size": 4, "pipeline_model_parallel_size": 2}, train={"global_batch_size": 64, "micro_batch_size": 2})
    assert parallel.world_size(spec) == 32
    assert parallel.model_parallel_size(spec) == 8
    assert parallel.data_parallel_size(spec) == 4
    assert batch.num_microbatches(spec) == 8


def test_parameters_are_counted_as_the_model_has_them() -> None:
    # 2 layers of: qkv 3 x 64 x 64, projection 64 x 64, MLP 3 x 64 x 256, two norms; final norm; two 256 x 64 tables.
    assert parallel.parameter_count(job().model) == 2 * (4 * 64 * 64 + 3 * 64 * 256 + 128) + 64 + 2 * 256 * 64 == 164160
    grouped = job(model={"num_query_groups": 1, "num_attention_heads": 4}).model
    assert 164160 - parallel.parameter_count(grouped) == 2 * 2 * 3 * 16 * 64


def test_saves_are_every_interval_and_last() -> None:
    assert batch.save_iterations(job()) == (10, 20, 30, 40, 50, 60)
    assert batch.save_iterations(job(train={"iterations": 55})) == (10, 20, 30, 40, 50, 55)
    assert batch.save_iterations(job(train={"iterations": 55}, checkpoint={"save_last": False})) == (10, 20, 30, 40, 50)
    assert batch.save_iterations(job(checkpoint={"interval": 0})) == (60,)
    assert batch.save_iterations(job(checkpoint={"interval": 0, "save_last": False})) == ()


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("micro", [1, 2])
def test_every_world_sees_the_same_samples(world: int, micro: int) -> None:
    for step in range(3):
        seen = [
            sample
            for rank in range(world)
            for microbatch in range(8 // (micro * world))
            for sample in batch.sample_indices(
                consumed=step * 8, microbatch=microbatch, micro_batch_size=micro, data_parallel_rank=rank, data_parallel_size=world)
        ]
        assert sorted(seen) == list(range(step * 8, step * 8 + 8))


def test_samples_are_dealt_rank_by_rank() -> None:
    deal = [list(batch.sample_indices(consumed=8, microbatch=1, micro_batch_size=2, data_parallel_rank=rank, data_parallel_size=2)) for rank in (0, 1)]
    assert deal == [[12, 13], [14, 15]]


def test_the_rate_warms_up_and_comes_down() -> None:
    train = job(train={"iterations": 100, "warmup_iterations": 10, "learning_rate": 1e-3, "min_learning_rate": 1e-4}).train
    assert batch.learning_rate(train, 1) == pytest.approx(1e-4)
    assert batch.learning_rate(train, 10) == pytest.approx(1e-3)
    assert batch.learning_rate(train, 55) == pytest.approx(5.5e-4)
    assert batch.learning_rate(train, 100) == pytest.approx(1e-4)
    assert batch.learning_rate(train, 200) == pytest.approx(1e-4)
    rates = [batch.learning_rate(train, iteration) for iteration in range(10, 101)]
    assert rates == sorted(rates, reverse=True)


def test_the_rate_survives_a_warm_up_as_long_as_the_run() -> None:
    train = job(train={"iterations": 5, "warmup_iterations": 5}).train
    assert batch.learning_rate(train, 5) == train.learning_rate
    assert batch.learning_rate(train, 6) == pytest.approx(train.min_learning_rate)


def test_what_follows_from_a_job() -> None:
    derived = batch.derived(job())
    assert {name: derived[name] for name in ("world_size", "data_parallel_size", "num_microbatches", "saves", "consumed_samples")} == {
        "world_size": 2, "data_parallel_size": 2, "num_microbatches": 4, "saves": 6, "consumed_samples": 480}
    assert derived["save_iterations"] == [10, 20, 30, 40, 50, 60]
    assert derived["checkpoints_bytes"] == 6 * derived["checkpoint_bytes"]


def test_a_job_that_fits_has_nothing_but_what_it_will_save() -> None:
    (finding,) = rules.check(job())
    assert (finding.rule, finding.severity) == ("S1r", "info")
    assert finding.message == "6 checkpoints of about 2.7 MB will be written"
    assert finding.got == "10, 20, 30, 40, ... 60"


def test_p1_world_and_model_parallel() -> None:
    finding = found(job(3, 10, parallel={"tensor_model_parallel_size": 8}))["P1"]
    assert (finding.severity, finding.path) == ("error", ("parallel",))
    assert finding.message == "world size 30 is not divisible by TP x PP x CP = 8"
    assert finding.fix == "use 24 or 32 devices, or other parallel sizes"
    assert "P1" not in found(job(4, 8, parallel={"tensor_model_parallel_size": 8}))


def test_p2_heads() -> None:
    assert found(job(4, 8, parallel={"tensor_model_parallel_size": 8}))["P2"].severity == "error"
    both = {"tensor_model_parallel_size": 4, "context_parallel_size": 2}
    assert found(job(1, 8, parallel=both))["P2"].severity == "warning"
    assert "P2" not in found(job(1, 8, parallel=both, model={"num_attention_heads": 8, "hidden_size": 64}))
    assert found(job(model={"hidden_size": 66}))["P2"].path == ("model", "hidden_size")
    assert found(job(model={"hidden_size": 60}))["P2"].expected == "an even hidden_size / num_attention_heads"
    assert found(job(model={"num_query_groups": 3}))["P2"].path == ("model", "num_query_groups")


def test_p3_batches() -> None:
    assert found(job(train={"global_batch_size": 9, "micro_batch_size": 2}))["P3"].expected == "a multiple of 2"
    finding = found(job(3, train={"global_batch_size": 8}))["P3"]
    assert finding.expected == "a multiple of micro_batch_size x DP = 3"
    assert finding.fix == "use 6 or 9"
    assert "P3" not in found(job(2, train={"global_batch_size": 8}))


def test_p8_layers() -> None:
    assert found(job(3, parallel={"pipeline_model_parallel_size": 3}))["P8"].expected == "a multiple of 3"
    assert "P8" not in found(job(2, parallel={"pipeline_model_parallel_size": 2}))


def test_p10_tensor_parallel_within_a_node() -> None:
    assert found(job(4, 1, parallel={"tensor_model_parallel_size": 4}))["P10"].severity == "warning"
    assert "P10" not in found(job(1, 4, parallel={"tensor_model_parallel_size": 4}))


def test_lengths_and_rates_warn() -> None:
    long = found(job(train={"seq_length": 40000, "min_learning_rate": 1.0}))
    assert [long[rule].severity for rule in ("P6", "P7", "P9")] == ["warning"] * 3


def test_s2r_no_checkpoint_on_the_way() -> None:
    assert found(job(checkpoint={"interval": 61}))["S2r"].severity == "warning"
    assert found(job(checkpoint={"interval": 0}))["S2r"].severity == "warning"
    assert "S2r" not in found(job(checkpoint={"interval": 60}))


def test_m6_nothing_left_to_train() -> None:
    assert found(job(), saved_iteration=60)["M6"].expected == "more than the saved iteration 60"
    assert "M6" not in found(job(), saved_iteration=59)
    assert "M6" not in found(job())


def test_own_limits_hold_for_the_own_trainer_only() -> None:
    unfit = {"train": {"iterations": 5, "precision": "fp8"}, "data": {"format": "jsonl"}}
    assert [finding.path for finding in rules.check(job(**unfit)) if finding.rule == "B1"] == [("train", "precision"), ("data", "format")]
    assert "B1" not in found(job(**unfit, runner={"entry": "mine.py"}))


def test_text_needs_a_file_and_bytes() -> None:
    spec = job(data={"format": "text"}, model={"vocab_size": 128})
    assert [finding.path for finding in rules.check(spec) if finding.rule == "B2"] == [("data", "prefix"), ("model", "vocab_size")]


def test_storage_of_each_node_its_own_is_refused() -> None:
    assert found(job(2, checkpoint={"storage": "per-node"}))["B3"].severity == "error"
    assert "B3" not in found(job(1, checkpoint={"storage": "per-node"}))


def test_sizes_that_are_not_positive_are_all_named_and_nothing_is_divided() -> None:
    spec = job(0, 0, train={"iterations": 0, "micro_batch_size": 0, "timeout_s": 0.0}, model={"num_attention_heads": 0}, parallel={"context_parallel_size": 0})
    findings = rules.check(spec)
    assert {finding.rule for finding in findings} == {"V1"}
    assert {".".join(finding.path) for finding in findings} == {
        "fleet.nodes", "fleet.npus_per_node", "train.iterations", "train.micro_batch_size", "train.timeout_s",
        "model.num_attention_heads", "parallel.context_parallel_size"}
    batch.derived(spec)


def test_errors_come_first() -> None:
    severities = [finding.severity for finding in rules.check(job(3, checkpoint={"interval": 0}))]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert severities[0] == "error"


def test_the_spec_does_not_need_torch() -> None:
    modules = "trainer.spec.batch, trainer.spec.manifest, trainer.spec.parallel, trainer.spec.rules"
    check = f"import sys, {modules}; sys.exit(bool({{'torch', 'megatron', 'numpy'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[3], check=True)


def test_a_layout_that_the_own_trainer_cannot_cut_is_refused() -> None:
    def places(nodes: int = 1, **blocks: object) -> list[str]:
        return [".".join(finding.path) for finding in rules.check(job(nodes, 4, **blocks)) if finding.rule == "B4"]

    assert places(parallel={"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}) == []
    assert places(parallel={"tensor_model_parallel_size": 4}, model={"vocab_size": 254, "num_query_groups": 2}) == ["model.vocab_size", "model.num_query_groups"]
    assert places(parallel={"context_parallel_size": 4}, train={"iterations": 5, "seq_length": 36}) == ["train.seq_length"]
    assert places(parallel={"expert_model_parallel_size": 2}) == ["parallel.expert_model_parallel_size"]
    experts = {"num_experts": 4}
    assert places(parallel={"expert_model_parallel_size": 2}, model=experts) == []
    assert places(parallel={"expert_model_parallel_size": 2, "tensor_model_parallel_size": 4, "sequence_parallel": True}, model=experts) == ["parallel.expert_model_parallel_size"]
    assert places(parallel={"tensor_model_parallel_size": 2}, model=experts) == ["parallel.sequence_parallel"]
    assert places(model=experts, run={"mode": "lora"}) == []
    assert places(model=experts, export={"dir": "/hf"}) == []
    assert places(parallel={"virtual_pipeline_model_parallel_size": 2}) == ["parallel.virtual_pipeline_model_parallel_size"]
