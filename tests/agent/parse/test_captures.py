"""Every capture against its index: our own always, the corpus where RANKDECK_CORPUS names it (else skipped, visibly)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import reading, scan

SCANNER = scan.Scanner()
NAMES = {"lr": "learning_rate", "gbs": "global_batch_size", "loss": "lm_loss", "tps": "tokens_per_s_per_device", "ts": "time"}
EXTRA = {"consumed_tokens": ("consumed tokens", "consumed_tokens"), "num_zeros": ("num zeros",), "mfu": ("mfu",), "z_loss": ("z_loss",),
         "mtp_1_loss": ("mtp_1 loss",), "mtp_7_loss": ("mtp_7 loss",), "load_balancing_loss": ("load_balancing_loss",), "epoch": ("epoch",),
         "iteration_in_epoch": ("iteration_in_epoch",), "total_in_epoch": ("total_in_epoch",), "global_step": ("global_step",)}
OWN = Path(__file__).parent / "fixtures"


def rows(corpus: Path) -> List[List[str]]:
    lines = (corpus / "logs" / "INDEX.tsv").read_text(encoding="utf-8").split("\n")[1:]
    return [line.split("\t") for line in lines if line]


def read(path: Path) -> Dict[str, List[Dict[str, Any]]]:
    found: Dict[str, List[Dict[str, Any]]] = {}
    for one in reading.read_block(path.read_bytes(), SCANNER, {}):
        found.setdefault(one.kind, []).append(dict(one.data, line=one.line + 1))
    return found


def value_of(record: Dict[str, Any], name: str) -> Any:
    for other in EXTRA.get(name, ()):
        if other in record["extra"]:
            return record["extra"][other]
    return record.get(NAMES.get(name, name))


def same(have: Any, want: Any) -> bool:
    if isinstance(want, (int, float)) and isinstance(have, (int, float)):
        return math.isclose(have, want, rel_tol=1e-9, abs_tol=1e-15)
    if isinstance(want, str) and isinstance(have, str):
        return have.replace("T", " ").replace(".", ",") == want.replace(".", ",")
    return bool(have == want)


def compare(corpus: Path) -> Tuple[int, List[Any]]:
    """(how many values were compared, what differs)"""
    checked, wrong = 0, []
    for row in rows(corpus):
        wanted = json.loads(row[7]) if len(row) > 7 and row[7].startswith("[") else []
        if row[1] == "validation":
            continue
        got = read(corpus / "logs" / row[0]).get("iteration", [])
        place = 0
        for want in wanted:    # in their order; the index may leave records out
            fits = [index for index in range(place, len(got))
                    if all(same(value_of(got[index], name), value) for name, value in want.items() if name in ("iteration", "loss", "lm_loss"))]
            if not fits:
                wrong.append((row[0], "no record", want))
                continue
            place = fits[0] + 1
            for name, value in want.items():
                checked += 1
                if not same(value_of(got[fits[0]], name), value):
                    wrong.append((row[0], name, value, value_of(got[fits[0]], name)))
    return checked, wrong


def test_iterations_have_the_values_of_the_index(corpus: Path) -> None:
    checked, wrong = compare(corpus)
    assert wrong == []
    assert checked > 900


def test_our_own_captures_have_the_values_of_their_index() -> None:
    checked, wrong = compare(OWN)
    assert wrong == []
    assert checked > 100
    for row in rows(OWN):
        assert len(read(OWN / "logs" / row[0])["iteration"]) == len(json.loads(row[7])), row[0]


@pytest.mark.parametrize("name, kind, fields", [
    ("torchtitan.log", "validation", {"iteration": 10, "lm_loss": 11.5, "ppl": None}),
    ("torchtitan.log", "checkpoint", {"iteration": 10, "event": "saved", "seconds": 5.25}),
    ("llamafactory.log", "validation", {"iteration": 2, "lm_loss": 1.375}),
    ("llamafactory.log", "checkpoint", {"iteration": 6, "event": "started", "path": "saves/qwen/checkpoint-6"}),
    ("swift-megatron.log", "checkpoint", {"iteration": 12, "event": "started"}),
    ("verl.log", "checkpoint", {"iteration": 1, "event": "started", "path": "/ckpt/verl/global_step_1"}),
    ("verl.log", "validation", {"iteration": 20, "lm_loss": 1.5}),
    ("mindspeed-llm.log", "memory", {"iteration": 1, "max_allocated_mb": 41234.25}),
    ("mindspeed-llm.log", "start", {"time": "2026-03-01T10:00:00"}),
    ("mindspeed-llm.log", "fault", {"rule": "grad-norm-nan", "role": "root"}),
])
def test_our_own_captures_give_more_than_iterations(name: str, kind: str, fields: Dict[str, Any]) -> None:
    found = read(OWN / "logs" / name)[kind]
    assert any(all(one[field] == value for field, value in fields.items()) for one in found), found


def test_where_the_index_names_iterations_there_are_no_others(corpus: Path) -> None:
    # These list only the first of many, or one of several drawings.
    partial = ("nemo2-ray-prefix", "torchtitan-ansi", "swift-", "hf-trainer-aurora", "mindformers-ha", "lf-npu-gradnorm", "veomni")
    for row in rows(corpus):
        wanted = json.loads(row[7]) if len(row) > 7 and row[7].startswith("[") else []
        if wanted and row[1] != "validation" and not any(name in row[0] for name in partial):
            assert len(read(corpus / "logs" / row[0]).get("iteration", [])) == len(wanted), row[0]


def test_validations(corpus: Path) -> None:
    seen = 0
    for row in rows(corpus):
        if row[1] == "validation" and row[7].startswith("["):
            got = read(corpus / "logs" / row[0])["validation"]
            for have, want in zip(got, json.loads(row[7])):
                assert (have["iteration"], have["lm_loss"], have["ppl"]) == (want["iteration"], want["val_lm_loss"], want["val_ppl"])
                seen += 1
    assert seen


def test_faults_named_by_the_index_are_found(corpus: Path) -> None:
    wrong = []
    for row in rows(corpus):
        if len(row) < 8 or not row[7].startswith("{") or not row[0].startswith("failure"):
            continue
        want = json.loads(row[7])
        faults = read(corpus / "logs" / row[0]).get("fault", [])
        told = [(fault["code"], fault["rank"], fault["device"]) for fault in faults]
        for name, value in (("code", want.get("code")), ("code", want.get("acl")), ("code", want.get("exitcode"))):
            if value is not None and str(value) not in [code for code, _, _ in told]:
                wrong.append((row[0], name, value, told))
        for name, value, where in (("rank", want.get("rank"), 1), ("device", want.get("device", want.get("npu", want.get("chipId"))), 2)):
            if value is not None and value not in [one[where] for one in told]:
                wrong.append((row[0], name, value, told))
        # What no field of its own is for must stand in a text that is told: it is the evidence.
        texts = [fault["text"] for fault in faults]
        for name in sorted(set(want) - {"code", "acl", "exitcode", "rank", "device", "npu", "chipId"}):
            spelled = str(want[name]).replace("1800", "30min") if name == "timeout_s" else str(want[name])
            if name == "time":
                spelled = spelled.replace("_", "T")
            if not any(spelled in text for text in texts + [str(fault.get(name)) for fault in faults]):
                wrong.append((row[0], name, want[name], texts))
    assert wrong == []


def test_no_failure_is_silent(corpus: Path) -> None:
    silent = [row[0] for row in rows(corpus) if row[0].startswith("failure") and not read(corpus / "logs" / row[0]).get("fault")]
    assert len(silent) <= 4, silent


@pytest.mark.parametrize("name, event, iteration", [
    ("checkpoint/nemo2-async-finalized.log", "saved", 19), ("checkpoint/nemo2-async-finalized.log", "started", 19),
    ("checkpoint/hf-npu-save-then-fail.log", "started", 10), ("checkpoint/load-release-checkpoint.log", "loaded", 0),
    ("checkpoint/tr1-save-at-iteration.log", "saved", 33241), ("iteration/epoch-ckpt-unexpected-pos.log", "failed", 600),
    ("hf-trainer/swift-npu-dict-and-bar.log", "started", 5),
])
def test_checkpoint_events(corpus: Path, name: str, event: str, iteration: int) -> None:
    found = read(corpus / "logs" / name)["checkpoint"]
    assert (event, iteration) in [(data["event"], data["iteration"]) for data in found], found


def test_a_timer_is_no_save(corpus: Path) -> None:
    assert "checkpoint" not in read(corpus / "logs" / "checkpoint" / "async-timer-misleading.log")
