"""What leaves the history is what is in it, in a form that other tools read."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from console.cli import main
from console.core import event_file
from console.core.events import RecordArrived
from console.store import Store, default_path
from tests.console.test_store import ATTEMPT, full


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten iterations, a restart in place from 6 that comes to 12, and a validation."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = Store(default_path(), "fleet")
    again = [full(100 + i, round=1, iteration=i, lm_loss="nan" if i == 9 else 100.0 + i) for i in range(7, 13)]
    load = RecordArrived(node="n1", spool_id="s", seq=60, kind="checkpoint", key="l", time=60.0, at=60.0,
                         data={"job": "gpt", "attempt": ATTEMPT, "round": 1, "iteration": 6, "event": "loaded"})
    valid = RecordArrived(node="n1", spool_id="s", seq=200, kind="validation", key="v", time=200.0, at=60.0,
                          data={"job": "gpt", "attempt": ATTEMPT, "round": 1, "iteration": 12, "lm_loss": 3.5, "ppl": 33.0})
    beside = [RecordArrived(node="n1", spool_id="s", seq=50 + at, kind=kind, key=kind, time=55.0, at=55.0,
                            data={"job": "gpt", "attempt": ATTEMPT, "round": 0, "iteration": 2, **data})
              for at, (kind, data) in enumerate((("timers", {"ms": {"optimizer": [1.0, 12.0]}}), ("memory", {"rank": 7, "max_allocated_mb": 100.5})))]
    store.ingest([*(full(i, round=0, lm_loss=1.0 + i) for i in range(1, 11)), *beside, load, *again, valid])
    store.close()


@pytest.mark.usefixtures("history")
def test_csv_has_every_start_and_marks_what_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-run", "gpt"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["round"], int(row["iteration"])) for row in rows] == [("0", i) for i in range(1, 11)] + [("1", i) for i in range(7, 13)]
    assert [int(row["iteration"]) for row in rows if row["joined"] == "1"] == list(range(1, 13))
    assert rows[0]["lm_loss"] == "2.0" and rows[12]["lm_loss"] == "nan" and rows[0]["learning_rate"] == "1e-05" and rows[0]["tflops"] == ""
    assert [(row["timers/optimizer_ms"], row["max_allocated_mb"]) for row in rows[:3]] == [("", ""), ("12.0", "100.5"), ("", "")]
    assert main(["export-run", "gpt", "--csv", str(tmp_path / "o.csv"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"ok": True, "job": "gpt", "fleet": "fleet", "rows": 16, "files": [str(tmp_path / "o.csv")], "dropped": 0}
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 17


@pytest.mark.usefixtures("history")
def test_tensorboard_reads_what_is_written(tmp_path: Path) -> None:
    assert main(["export-run", "gpt", "--tensorboard", str(tmp_path / "tb")]) == 0
    assert main(["export-run", "gpt", "--tensorboard", str(tmp_path / "tb")]) == 0
    (joined,) = (tmp_path / "tb" / "gpt" / "joined").iterdir()
    (single,) = (tmp_path / "tb" / "gpt" / ATTEMPT).iterdir()
    losses = [(step, values["train/lm_loss"]) for _, step, values in event_file.read(joined.read_bytes()) if "train/lm_loss" in values]
    assert [step for step, _ in losses] == list(range(1, 13)) and losses[11][1] == 112.0 and math.isnan(losses[8][1])
    assert len([1 for _, _, values in event_file.read(single.read_bytes()) if "train/lm_loss" in values]) == 16
    assert [values for _, _, values in event_file.read(joined.read_bytes())][-1] == {"valid/lm_loss": 3.5, "valid/ppl": 33.0}
    found = {tag: (step, value) for _, step, values in event_file.read(single.read_bytes()) for tag, value in values.items()}
    assert found["timers/optimizer_ms"] == (2, 12.0) and found["memory/max_allocated_mb/rank7"] == (2, 100.5)


@pytest.mark.usefixtures("history")
def test_tensorboards_own_reader_agrees(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert main(["export-run", "gpt", "--tensorboard", str(tmp_path / "tb")]) == 0
    events = accumulator.EventAccumulator(str(tmp_path / "tb" / "gpt" / "joined"))
    events.Reload()
    assert {"train/lm_loss", "train/learning_rate", "perf/step_time_ms", "valid/ppl"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/lm_loss")] == list(range(1, 13))
    assert events.Scalars("perf/step_time_ms")[0].value == 12.5


def test_of_a_step_that_several_ranks_print_the_best_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    events = []
    for seq, (rank, at) in enumerate([(0, 1), (7, 1), (7, 2), (0, 2), (0, 3)], 1):
        one = full(seq, lm_loss=float(rank))
        events.append(replace(one, key=f"{rank}:{one.key}", data={**one.data, "iteration": at, "rank": rank, "file": f"/w/local_rank-{rank}.log"}))
    Store(default_path(), "a").ingest([replace(event, key=None) for event in events])
    assert main(["export-run", "gpt"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["iteration"], row["lm_loss"]) for row in rows] == [("1", "7.0"), ("2", "7.0"), ("3", "0.0")]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("argv", [["nothing"], ["gpt", "--fleet", "other"], ["gpt", "--attempt", "x"], ["gpt", "--json"], ["gpt", "--csv", "/nonexistent/x"]])
def test_what_is_not_there_is_wrong_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-run", *argv]) == 2
    assert capsys.readouterr()[int("--json" not in argv)] != ""


def test_two_fleets_with_one_job_have_to_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for fleet, loss in (("a", 1.0), ("b", 2.0)):
        Store(default_path(), fleet).ingest([full(1, lm_loss=loss), replace(full(2), key=None)])
    assert main(["export-run", "gpt"]) == 2
    assert "a, b" in capsys.readouterr().err
    assert main(["export-run", "gpt", "--fleet", "b"]) == 0
    assert ",2.0," in capsys.readouterr().out


def test_check_sums_and_framing() -> None:
    assert event_file.crc32c(b"123456789") == 0xE3069283
    # The beginning of a file that TensorBoard's own writer made for the time 1.0.
    assert event_file.header(1.0)[:12].hex() == "1800000000000000a37f4b22"
    data = event_file.header(1.0) + event_file.scalars(2.0, 7, {"a": 0.5, "b": 1e300})
    assert list(event_file.read(data)) == [(2.0, 7, {"a": 0.5, "b": math.inf})]
    for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data[:30] + b"x" + data[31:]):
        with pytest.raises(ValueError, match=r"wrong|cut off"):
            list(event_file.read(damaged))


