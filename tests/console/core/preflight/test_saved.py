"""The rules of a job that need the nodes: its data's files, and the checkpoint that it is to go on from."""

from __future__ import annotations

from typing import Any

import pytest

from console.core.preflight import asking, saved_checks, table
from console.core.preflight.finding import Finding
from tests.console.core.preflight.facts import case, node, path, process_job
from trainer.spec.job import JobSpec

RUNNER = {"kind": "env-script", "entry": "/w/train.sh", "trainer_dir": ""}
PREFIX = "/w/data_text_document"
THERE = {f"path:{name}": path(name) for name in ("/w/train.sh", "/w/saved", "/w/tok", f"{PREFIX}.bin", f"{PREFIX}.idx")}


def retrain(**blocks: dict[str, Any]) -> JobSpec:
    base: dict[str, Any] = {"run": {"mode": "retrain"}, "runner": RUNNER, "model": {"tokenizer": "/w/tok"}, "data": {"format": "megatron-bin", "prefix": PREFIX},
                            "train": {"iterations": 300}, "checkpoint": {"load_dir": "/w/saved"}}
    return process_job(**{**base, **blocks})


def survey(tracker: int | None, *iterations: int, **row: Any) -> dict[str, Any]:
    """As ``agent.checkpoints.scan`` says it."""
    rows = [{"iteration": each, "format": "legacy", "complete": True, "layout": {"tp": 1, "pp": 1}, **row} for each in iterations]
    return {"iterations": rows, "tracker": tracker, "tracker_state": "ok" if tracker is not None else "missing", "why": ""}


def found(job: JobSpec, *nodes: Any, **saved: Any) -> list[Finding]:
    what = case(*(nodes or (node("n0", **THERE), node("n1", **THERE))), job=job, **saved)
    return [finding for finding in table.judge(what).findings if finding.id == "job-rules"]


def test_a_checkpoint_that_fits_is_nothing_to_tell() -> None:
    assert found(retrain(), saved={"/w/saved": survey(200, 100, 200)}) == []
    assert found(retrain()) == [] and saved_checks.saved_places(process_job()) == {}


@pytest.mark.parametrize(("told", "rule", "where"), [
    (survey(300, 300), "M6", "train.iterations"), (survey(250, 100, 200), "M7", "checkpoint.load_dir"), (survey(200, 200, layout={"tp": 2, "pp": 1}), "M8", "parallel")])
def test_a_checkpoint_that_does_not_fit(told: dict[str, Any], rule: str, where: str) -> None:
    (finding,) = found(retrain(), saved={"/w/saved": told})
    assert (finding.severity, finding.where) == ("error", where) and finding.fix.endswith(f"[{rule}]") and finding.got and finding.expected
    # Waived in the job file by the rule's own id.
    assert found(retrain(preflight={"waive": [{"id": rule, "reason": "known"}]}), saved={"/w/saved": told}) == []


def test_a_checkpoint_that_can_be_cut_anew_may_have_another_layout() -> None:
    assert found(retrain(), saved={"/w/saved": survey(200, 200, layout={"tp": 2, "pp": 1}, format="torch_dist")}) == []


def test_what_could_not_be_looked_at_is_not_known() -> None:
    (finding,) = found(retrain(), saved={"/w/saved": {"why": "denied"}})
    assert finding.severity == "unknown" and finding.where == "/w/saved"


def test_data_that_one_node_lacks() -> None:
    gone = {**THERE, f"path:{PREFIX}.idx": path(f"{PREFIX}.idx", exists=False)}
    (finding,) = found(retrain(), node("n0", **THERE), node("n1", **gone), saved={"/w/saved": survey(200, 200)})
    assert finding.expected == f"{PREFIX}.idx" and finding.fix.endswith("[D1]")
    assert f"{PREFIX}.bin" in asking.ask_for(retrain(), "standard", 30.0)["paths"] and f"{PREFIX}.bin" not in asking.ask_for(retrain(), "quick", 30.0)["paths"]
    # A step makes it first.
    made = retrain(data={"format": "megatron-bin", "prefix": PREFIX, "prepare": True, "input": "/w/raw"})
    assert saved_checks.read_data(made) == () and found(made, node("n0", **THERE), node("n1", **gone)) == []


@pytest.mark.parametrize(("told", "errors"), [(survey(None), 0), ({"iterations": [], "why": "missing"}, 0), (survey(100, 100), 1)])
def test_fast_recovery_goes_before_a_directory_to_load(told: dict[str, Any], errors: int) -> None:
    job = process_job(runner={"kind": "ascendfactory", "trainer_dir": "", "ascendfactory": {"model_name": "m", "exp_name": "e"}}, run={"mode": "sft"},
                      data={"format": "megatron-bin", "prefix": PREFIX}, checkpoint={"load_dir": "/w/base", "auto_resume": True})
    assert saved_checks.saved_places(job) == {"checkpoint.dir": "/w/ckpt/saved_checkpoints"}
    assert [finding.fix[-4:] for finding in found(job, saved={"/w/ckpt/saved_checkpoints": told})] == ["[M4]"] * errors
