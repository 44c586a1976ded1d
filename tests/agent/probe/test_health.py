"""Why a device is not OK."""

from __future__ import annotations

from agent import wire
from agent.catalogue import npu_codes
from agent.probe import health
from agent.probe.command import Result

SAID = """\tHealth Status                  : Alarm
\tError Code                     : A4025021 80E01801 DEADBEEF
\tError Information              : node type=L2BUFF, sensor type=RAS State, event state=multi bit ecc

\t                               : second line
"""


def test_only_what_is_not_ok_is_asked() -> None:
    sample = {"columns": {"npu_id": [0, 1, 2, 3], "chip_id": [0, 0, None, 0], "health": ["OK", "Alarm", "Warning", None]}}
    assert health.suspects(sample) == [(1, 0, "Alarm"), (2, None, "Warning")]
    assert health.suspects({"columns": {}}) == health.suspects({}) == []


def test_codes_come_worst_first_with_their_meaning_and_none_is_dropped() -> None:
    asked: list[list[str]] = []

    def run(argv: list[str], timeout_s: float) -> Result:
        asked.append(argv[1:])
        return Result(0, SAID, 0.1, "")

    data = health.read([(1, 0, "Alarm"), (2, None, "Warning")], runner=run, finder=lambda tool: tool)
    assert wire.problems_in("health", data) == []
    assert asked == [["info", "-t", "health", "-i", "1", "-c", "0"], ["info", "-t", "health", "-i", "2", "-c", "0"]]
    first = data["devices"][0]
    assert {code["code"] for code in first["codes"]} == {"A4025021", "80E01801", "DEADBEEF"}
    assert next(code for code in first["codes"] if code["code"] == "DEADBEEF")["known"] is False
    assert first["codes"][0]["known"] and data["release"] == npu_codes.load().release
    assert first["texts"][0].startswith("node type=L2BUFF")


def test_a_query_that_fails_says_why() -> None:
    for result, why in ((Result(None, "", 5.0, "timeout"), "timeout"), (Result(0, "nonsense", 0.1, ""), "unparseable"), (Result(1, "", 0.1, ""), "error")):
        data = health.read([(0, 0, "Alarm")], runner=lambda argv, timeout_s, result=result: result, finder=lambda tool: tool)  # type: ignore[misc]
        assert data["devices"][0]["why"] == why and data["devices"][0]["codes"] == []
    assert health.read([(0, 0, "Alarm")], finder=lambda tool: None)["devices"][0]["why"] == "missing"
