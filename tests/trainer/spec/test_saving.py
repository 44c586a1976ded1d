"""Time limits, what is loaded, throughput, which rank tells the loss; secrets and waivers in a job file."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.runtime.start import without_a_base
from trainer.spec import batch, saving_rules
from trainer.spec.job import JobSpec, Secret, SpecError, from_mapping, to_mapping


def job(**changes: Any) -> JobSpec:
    base: dict[str, Any] = {"run": {"name": "j"}, "paths": {"work": "/w"}, "fleet": {"nodes": ["n0"], "npus_per_node": 8},
                            "train": {"iterations": 10, "global_batch_size": 64, "seq_length": 4096}, "checkpoint": {"dir": "/c"}}
    for block, values in changes.items():
        base[block] = {**base.get(block, {}), **values} if isinstance(values, dict) else values
    return from_mapping(base)


@pytest.mark.parametrize(
    ("mode", "load_dir", "newest", "said"),
    [("lora", "", None, "adapters"), ("lora", "", 10, "adapters"), ("lora", "/base", None, ""), ("sft", "", None, "answers"), ("sft", "", 10, ""),
     ("sft", "/base", None, ""), ("pretrain", "", None, ""), ("retrain", "", 10, "")])
def test_a_base_that_is_drawn_from_the_seed_is_said(mode: str, load_dir: str, newest: int | None, said: str) -> None:
    told = without_a_base(job(run={"mode": mode}, checkpoint={"load_dir": load_dir}), newest)
    assert (said in told) if said else told == ""


@pytest.mark.parametrize(("text", "seconds"), [
    ("6-00:00:00", 518400), ("0-00:00:01", 1), ("1-02:03:04", 93784), ("12:30:00", 45000), ("00:59:59", 3599), ("", None), ("6", None), ("1-24:00:00", None),
    ("24:00:00", None), ("0-00:60:00", None), ("-1-00:00:00", None), ("6 days", None), ("6-00:00:00\n", None), ("٦-00:00:00", None)])
def test_time_limits(text: str, seconds: int | None) -> None:
    assert saving_rules.time_limit_s(text) == seconds


def test_throughput_is_counted_as_the_vendor_does() -> None:
    """S3: GBS x sequence / (devices x ms) x 1000; its own example is 3276.8."""
    assert batch.tokens_per_s_per_device(job(), 10000) == pytest.approx(3276.8)
    assert batch.tokens_per_s_per_device(job(), 0) == 0.0


@pytest.mark.parametrize(("mode", "load_dir", "load", "found"), [
    ("pretrain", "", "auto", "none"), ("pretrain", "/x", "auto", "none"), ("sft", "/x", "auto", "weights"), ("lora", "/x", "auto", "weights"),
    ("retrain", "/x", "auto", "resume"), ("sft", "", "auto", "none"), ("sft", "/x", "resume", "resume"), ("retrain", "/x", "weights", "weights")])
def test_what_is_loaded(mode: str, load_dir: str, load: str, found: str) -> None:
    assert saving_rules.loads(job(run={"mode": mode}, checkpoint={"load_dir": load_dir, "load": load})) == found


@pytest.mark.parametrize(("runner", "logging", "rank"), [
    ({"kind": "env-script"}, {}, 7), ({"kind": "ascendfactory"}, {}, 7), ({"kind": "ascendfactory", "ascendfactory": {"backend": "llamafactory"}}, {}, 0),
    ({"kind": "ascendfactory", "ascendfactory": {"backend": "verl"}}, {"loss_rank": "last"}, 7), ({}, {"loss_rank": "first"}, 0)])
def test_which_rank_tells_the_loss(runner: dict[str, Any], logging: dict[str, Any], rank: int) -> None:
    assert batch.loss_rank(job(runner=runner, logging=logging)) == rank


def test_kept_checkpoints_are_what_the_disk_needs() -> None:
    few, all_of_them = (batch.derived(job(checkpoint={"interval": 2, "keep": keep}, model={"hidden_size": 64})) for keep in (2, 0))
    assert (few["saves"], few["checkpoints_bytes"]) == (5, 2 * few["checkpoint_bytes"]) and all_of_them["checkpoints_bytes"] == 5 * few["checkpoint_bytes"]


def test_secrets_are_places_and_come_back() -> None:
    spec = job(env={"A": 1, "B": {"from_env": "X"}, "C": {"from_file": "/x"}}, code={"token": {"from_env": "T"}})
    assert spec.env == {"A": "1", "B": Secret(from_env="X"), "C": Secret(from_file="/x")} and spec.code.token == Secret(from_env="T")
    assert from_mapping(to_mapping(spec)) == spec and job().model.access_token is None


@pytest.mark.parametrize("value", [{}, {"from_env": "A", "from_file": "/b"}, {"value": "hunter2"}, ["a"]])
def test_a_secret_names_one_place(value: Any) -> None:
    with pytest.raises(SpecError, match=r"env\.A"):
        job(env={"A": value})
    with pytest.raises(SpecError, match=r"access_token"):
        job(model={"access_token": value})


def test_a_secret_that_was_written_down_is_not_printed() -> None:
    with pytest.raises(SpecError, match=r"model\.access_token: got a value, expected a block") as raised:
        job(model={"access_token": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_waivers_are_blocks() -> None:
    assert job(preflight={"waive": [{"id": "P4", "reason": "why"}]}).preflight.waive[0].reason == "why"
    with pytest.raises(SpecError, match=r"preflight\.waive\.1: key 'reason' is missing"):
        job(preflight={"waive": [{"id": "P4", "reason": "why"}, {"id": "P5"}]})
    with pytest.raises(SpecError, match="expected a list of blocks"):
        job(preflight={"waive": "P4"})
