from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional

import pytest

from agent import wire
from agent.probe import command, npu

TABLE = (Path(__file__).parent.parent / "parse" / "fixtures" / "npu_table" / "a3-25.2.0.txt").read_text(encoding="utf-8")


def look(out: str = "", status: Optional[int] = 0, reason: str = "", path: Optional[str] = "/usr/local/sbin/npu-smi") -> Any:
    calls: List[Any] = []

    def runner(argv: List[str], timeout_s: float) -> command.Result:
        calls.append((argv, timeout_s))
        return command.Result(status, out, 1.25, reason)

    data = npu.read(3.0, runner, lambda tool: path)
    assert wire.problems_in("sample", data) == []
    wire.encode({"t": "rec", "data": data})
    if path is not None:
        assert calls == [([path, "info"], 3.0)]
    return data


def test_a_table_becomes_columns() -> None:
    data = look(TABLE)
    assert (data["source"], data["tool_version"], data["complete"], data["took_s"]) == ("npu-smi", "25.2.0", True, 1.25)
    assert data["columns"]["hbm_used_mb"] == [3133, 10568]
    assert data["columns"]["power_w"] == [162.8, None]
    assert data["processes"]["pid"] == [990711]
    # Nowhere a value: said by name. One chip without a value is no absence of the column.
    assert data["absent"] == {"npu_pct": "unsupported"}


@pytest.mark.parametrize("out, status, reason, absent", [
    ("", None, "timeout", "timeout"),
    ("", None, "denied", "denied"),
    ("dcmi module initialize failed. ret is -8005\n", 187, "", "error"),
    ("dcmi module initialize failed. ret is -8002\n", 190, "", "denied"),
    ("dcmi model initialized failed, because the device is used. ret is -8020\n", 172, "", "error"),
    ("npu-smi: Permission denied\n", 1, "", "denied"),
    ("Segmentation fault\n", 139, "", "error"),
    ("something else entirely\n", 0, "", "unparseable"),
])
def test_no_table_is_an_absence_with_a_reason(out: str, status: Optional[int], reason: str, absent: str) -> None:
    data = look(out, status, reason)
    assert data["absent"] == {"*": absent}
    assert (data["columns"], data["complete"]) == ({}, False)


def test_the_error_itself_is_kept() -> None:
    assert look("dcmi module initialize failed. ret is -8005\n", 187)["errors"][0]["code"] == -8005


def test_no_tool() -> None:
    assert look(path=None)["absent"] == {"*": "missing"}


def test_what_a_hanging_tool_printed_before_is_kept_and_called_incomplete() -> None:
    cut = TABLE[:TABLE.index("| 3     Ascend910           | Warning")]
    data = look(cut, None, "timeout")
    assert data["complete"] is False
    assert data["columns"]["npu_id"] == [3]
    assert data["absent"]["npu_pct"] == "timeout"
