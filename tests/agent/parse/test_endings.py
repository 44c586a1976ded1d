"""Lines that a file's end cut: no value is made of half a number."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import reading, scan, training

SCANNER = scan.Scanner()
BEGIN = " [2025-09-05 16:08:14] iteration       10/    2000 | consumed samples:          128 | lm loss: "


def read(text: str) -> List[Tuple[str, Dict[str, Any]]]:
    return [(one.kind, one.data) for one in reading.read_block(text.encode(), SCANNER, {})]


@pytest.mark.parametrize("text, cut", [
    (BEGIN + "5.43", "lm_loss"), (BEGIN + "5.430000E+0", "lm_loss"), (BEGIN + "5", "lm_loss"), (BEGIN + "5.43 | mtp_1 loss: 2.1", "mtp_1 loss"),
    ("step: 20  loss: 11.83506  memory: 48.87GiB(51.44%)  tps: 4,37", "tokens_per_s_per_device"), ("step: 20  loss: 11.83506  tps: 4,", "tokens_per_s_per_device"),
    ("step:12 - actor/pg_loss:0.013 - actor/lr:1e-0", "learning_rate"), ("{'loss': 2.93, 'step': 4, 'grad_norm': 1.0", "grad_norm"),
    ("{ Epoch:[  1/  2], step:[    1/   19], loss: 10.649, per_step_time: 103328", "elapsed_ms")])
def test_a_number_that_the_end_of_the_file_cut_is_absent_with_a_reason(text: str, cut: str) -> None:
    ((_, data),) = read(text)
    assert data["absent"] == {cut: "unparseable"}
    assert data.get(cut) is None and cut not in data["extra"]
    ((_, whole),) = read(text + "\n")
    assert "absent" not in whole and (whole.get(cut) is not None or cut in whole["extra"])
    assert {name: value for name, value in whole.items() if name not in (cut, "extra")} == {name: value for name, value in data.items() if name not in (cut, "extra", "absent")}


@pytest.mark.parametrize("text", [BEGIN + "5.43 |", BEGIN + "5.43 ", BEGIN + "nan", "{'loss': 2.93, 'step': 4}", "step: 20  loss: 11.83506  mfu: 25.62%", BEGIN + "5.43\x1b[0m"])
def test_what_stands_whole_before_the_end_is_told(text: str) -> None:
    ((_, data),) = read(text)
    assert "absent" not in data and data["lm_loss"] is not None


@pytest.mark.parametrize("text", ["{'loss': 2.93, 'step': 4", "  successfully loaded checkpoint from /c at iteration 25", "Continuing training from global step 12", " iteration       10/    20"])
def test_a_record_of_an_iteration_that_was_cut_is_none(text: str) -> None:
    assert [data for _, data in read(text) if data["iteration"] is not None] == []


@pytest.mark.parametrize("text, kind, cut", [
    ("saving checkpoint at iteration    2500 to /ckp", "checkpoint", "path"), (" validation loss at iteration 2500 | lm loss value: 2.92", "validation", "lm_loss"),
    ("[Rank 20] (after 20 iterations) memory (MB) | allocated: 15426.4 | max allocated: 180", "memory", "max_allocated_mb"),
    ("dcmi module initialize failed. ret is -80", "fault", "code"), ("NPU function error: f, error code is 107002", "fault", "code")])
def test_other_records_lose_the_same(text: str, kind: str, cut: str) -> None:
    assert [(told, data[cut]) for told, data in read(text)] == [(kind, None)]
    assert [(told, data[cut] is not None) for told, data in read(text + "\n")] == [(kind, True)]


def test_a_line_that_is_too_long_is_cut_as_well() -> None:
    end = "| grad norm: 1"
    text = (BEGIN + "5.43 ").ljust(training.LINE_LIMIT - 3 - len(end), "|") + end
    ((_, data),) = read(text + "2.5 |\n")
    assert (data["lm_loss"], data["grad_norm"], data["absent"]) == (5.43, None, {"grad_norm": "unparseable"})
