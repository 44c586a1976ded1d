"""``rankdeck inspect log`` and ``inspect npu``: promised shapes, exit statuses, what several ranks print."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from agent.parse import scan
from console import cli
from console.core import log_report

SCHEMA = Path(__file__).parents[2] / "console" / "schema"
LOGS = Path(__file__).parents[1] / "agent" / "parse" / "fixtures" / "logs"
TABLES = Path(__file__).parents[1] / "agent" / "parse" / "fixtures" / "npu_table"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = cli.main(["inspect", *argv])
    out, err = capsys.readouterr()
    return status, out, err


def inspected(capsys: pytest.CaptureFixture[str], *names: str, what: str = "log") -> tuple[int, dict[str, Any]]:
    status, out, _ = run(capsys, what, *names, "--json")
    found = json.loads(out, parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    jsonschema.validate(found, json.loads((SCHEMA / f"inspect-{what}.schema.json").read_text()))
    return status, found


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_documents_fit_their_schema(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = inspected(capsys, str(path))
    assert found["lines"] == len(path.read_bytes().splitlines()) or b"\r" in path.read_bytes()
    assert found["iterations"]
    assert all(one["file"] == str(path) and 1 <= one["line"] <= found["lines"] for kind in ("iterations", "faults", "checkpoints", "validations") for one in found[kind])
    assert status == (1 if any(fault["role"] == "root" for fault in found["faults"]) else 0)


def test_nan_is_a_string_and_a_derived_throughput_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = inspected(capsys, str(LOGS / "mindspeed-llm.log"))
    assert [one["grad_norm"] for one in found["iterations"]] == [40.25, "nan"]
    assert [one["tokens_per_s_per_device"] for one in found["iterations"]] == [1000.0, 4000.0]
    assert (status, found["faults"][0]["rule"]) == (1, "grad-norm-nan")


def test_what_every_rank_prints_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "%d: 2026-03-04 00:44:44,441 - root - INFO - step: %d  loss:  3.4370  memory: 68.57GiB(86.69%%)  tps: 6,785  mfu: 39.73%%"
    path = tmp_path / "x.log"
    path.write_text("\n".join(line % (rank, step) for step in (10, 20) for rank in (1, 0, 0, 3)) + "\n")
    _, found = inspected(capsys, str(path))
    assert [(one["iteration"], one["rank"]) for one in found["iterations"]] == [(10, None), (20, None)]


def test_a_restart_repeats_its_iterations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f" [2026-03-04 0{start}:00:0{n}] iteration {n}/ 9 | lm loss: 1.5 |\n" for start in (1, 2) for n in (1, 2, 3)))
    _, found = inspected(capsys, str(path))
    assert [one["iteration"] for one in found["iterations"]] == [1, 2, 3, 1, 2, 3]


def test_a_label_is_a_rank_only_with_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log"
    iteration = "7:  [2026-05-27 07:58:10] iteration 1/ 4 | lm loss: 1.3E+01 |\n"
    path.write_text(iteration)
    assert inspected(capsys, str(path))[1]["iterations"][0]["rank"] is None
    path.write_text(iteration + "3: [rank3]: RuntimeError: x\n5: ValueError: y\n")
    found = inspected(capsys, str(path))[1]
    assert found["iterations"][0]["rank"] == 7
    assert [fault["rank"] for fault in found["faults"]] == [3, 5]
    path.write_text(iteration + "3: [rank3]: RuntimeError: x\n0: [rank12]: RuntimeError: y\n")
    assert inspected(capsys, str(path))[1]["iterations"][0]["rank"] is None


def test_interleaved_processes_are_told_apart_by_pid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log"
    path.write_text("[ERROR] 2026-10-11-15:09:34 (PID:2969, Device:5, RankID:101) ERR00100 PTA call acl api failed.\n"
                    "[ERROR] 2026-10-11-15:09:34 (PID:3000, Device:6, RankID:102) ERR00100 PTA call acl api failed.\n"
                    "EI0002: [PID: 2969] 2026-10-11-15:09:34.713.335 The wait execution of the Notify register times out.\n")
    found = inspected(capsys, str(path))[1]
    assert [(fault["code"], fault["rank"], fault["device"]) for fault in found["faults"]] == [("ERR00100", 101, 5), ("ERR00100", 102, 6), ("EI0002", 101, 5)]


def test_the_log_with_the_loss_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, last = tmp_path / "rank0.log", tmp_path / "rank7.log"
    first.write_text("saving checkpoint at iteration      2 to /c in torch_dist format\n")
    last.write_text("".join(f" iteration {n}/ 60 | elapsed time per iteration (ms): 100.0 | lm loss: {9 - n / 10:.3f} |\n" for n in range(1, 60)))
    status, out, _ = run(capsys, "log", str(first), str(last))
    assert status == 0
    assert "rank7.log: 59 lines, carries the loss" in out
    assert "rank0.log: 1 lines\n" in out
    assert "█" in out and "▁" in out and "8.9 to 3.1" in out


def test_blocks_and_long_lines_make_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from console.cli import inspect

    path = tmp_path / "x.log"
    path.write_text("".join(f" iteration {n}/ 999 | lm loss: {n}.5 |\nnoise {'x' * (n % 90)}\n" for n in range(600)) + "EI0002 last")
    whole = inspected(capsys, str(path))[1]
    monkeypatch.setattr(inspect, "BLOCK_BYTES", 700)
    assert inspected(capsys, str(path))[1] == whole
    assert (len(whole["iterations"]), whole["lines"], whole["faults"][0]["line"]) == (600, 1201, 1201)


def test_a_storm_is_counted_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.log"
    path.write_text("OSError: [Errno 28] No space left on device\n" * (log_report.FAULT_LIMIT + 7))
    status, out, err = run(capsys, "log", str(path), "--json")
    assert len(json.loads(out)["faults"]) == log_report.FAULT_LIMIT
    assert "7 more faults of the rule disk-full" in err
    assert status == 1


def test_standard_input_and_what_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" iteration 1/ 9 | lm loss: 2.5 |\n")))
    assert inspected(capsys, "-")[1]["iterations"][0]["lm_loss"] == 2.5
    status, out, _ = run(capsys, "log", str(tmp_path / "none"), "--json")
    assert (status, json.loads(out)["ok"]) == (2, False)
    status, out, err = run(capsys, "log", str(tmp_path))
    assert (status, out) == (2, "") and "cannot be read" in err
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    assert inspected(capsys, str(empty)) == (0, {"lines": 0, "iterations": [], "validations": [], "checkpoints": [], "faults": []})


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress, lambda raw: raw.decode().encode("utf-16"),
                                    lambda raw: gzip.compress(raw.decode().encode("utf-16"))], ids=["gz", "bz2", "xz", "utf-16", "utf-16-gz"])
def test_packed_logs_and_those_of_other_systems(packed: Callable[[bytes], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    raw = (LOGS / "mindspeed-llm.log").read_bytes()
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.write_bytes(raw)
    other.write_bytes(packed(raw))
    want = inspected(capsys, str(plain))
    assert json.dumps(inspected(capsys, str(other))).replace(str(other), str(plain)) == json.dumps(want)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(packed(raw))))
    assert json.dumps(inspected(capsys, "-")).replace('"-"', f'"{plain}"') == json.dumps(want)
    if other.read_bytes()[:2] != b"\xff\xfe":
        other.write_bytes(packed(raw)[:-20])
        assert run(capsys, "log", str(other))[0] == 2


def test_a_packed_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = sorted(TABLES.glob("*.txt"))[0]
    for packed in (gzip.compress(table.read_bytes()), table.read_text(encoding="utf-8").encode("utf-16")):
        (tmp_path / "x").write_bytes(packed)
        assert inspected(capsys, str(tmp_path / "x"), what="npu") == inspected(capsys, str(table), what="npu")


def test_what_is_no_text_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(random.Random(1).randbytes(100_000))
    status, out, _ = run(capsys, "log", str(path), "--json")
    assert (status, json.loads(out)["error"]["what"]) == (2, "this is no log")
    record = b" iteration 1/ 9 | lm loss: 2.5 |\n"
    for text in (b"\0" * 100_000 + record, "训练开始\n".encode("gbk") * 1000 + record, b"\x1b[31mred\x1b[0m\r" * 1000 + b"\n" + record):
        path.write_bytes(text)
        assert inspected(capsys, str(path))[1]["iterations"][0]["lm_loss"] == 2.5


def test_sparkline() -> None:
    assert log_report.sparkline([]) == ""
    assert log_report.sparkline([1.0, 1.0]) == "▁▁"
    assert log_report.sparkline([0.0, 7.0]) == "▁█"
    assert len(log_report.sparkline([math.sin(n) for n in range(1000)])) == 60


def test_npu_tables(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path in sorted(TABLES.glob("*.txt")):
        status, found = inspected(capsys, str(path), what="npu")
        assert status == (0 if found["complete"] and not found["errors"] else 1)
        assert "output" not in found or found["output"] != "table"
        assert run(capsys, "npu", str(path))[1]
    other = tmp_path / "x"
    other.write_text("total 12\ndrwxr-xr-x 2 root root\n")
    status, out, _ = run(capsys, "npu", str(other), "--json")
    assert (status, json.loads(out)["error"]["what"]) == (2, "this is not output of npu-smi or hccn_tool")


def test_every_capture_gives_a_document(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    validators = {what: jsonschema.Draft202012Validator(json.loads((SCHEMA / f"inspect-{what}.schema.json").read_text())) for what in ("log", "npu")}
    scanner, reports = scan.Scanner(), []
    for path in sorted((corpus / "logs").glob("*/*.log")):
        reports.append(log_report.FileReport(str(path), scanner))
        reports[-1].feed(path.read_bytes())
        reports[-1].close()
    assert len(reports) == 172
    assert list(validators["log"].iter_errors(json.loads(log_report.encoded(log_report.document(reports))))) == []
    assert log_report.text(reports)
    for path in sorted((corpus / "npu-smi").glob("**/*.txt")):
        status, out, _ = run(capsys, "npu", str(path), "--json")
        if status != 2:
            assert list(validators["npu"].iter_errors(json.loads(out))) == [], path


def test_a_loop_over_the_devices_is_told_device_by_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "links.txt"
    path.write_text("".join(f"[root@n1 ~]# hccn_tool -i {at} -link -g\nlink status: {state}\n" for at, state in enumerate(("UP", "DOWN"))))
    assert cli.main(["inspect", "npu", str(path)]) == 0
    assert capsys.readouterr().out == "device 0: link: status UP\ndevice 1: link: status DOWN\n"
    assert cli.main(["inspect", "npu", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator(json.loads((SCHEMA / "inspect-npu.schema.json").read_text())).validate(document)
    assert [one["status"] for one in document["details"]["outputs"]] == ["UP", "DOWN"]


def test_a_value_that_the_end_of_the_file_cut_is_absent_and_the_document_as_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.log").write_text(" iteration 9/20 | lm loss: 2.5 |\n iteration 10/20 | lm loss: 2.5 | grad norm: 1.2")
    _, document = inspected(capsys, str(tmp_path / "a.log"))
    assert [(one["iteration"], one["grad_norm"], one.get("absent")) for one in document["iterations"]] == [(9, None, None), (10, None, {"grad_norm": "unparseable"})]
