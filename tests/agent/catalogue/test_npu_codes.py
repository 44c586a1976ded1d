from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.catalogue import loader, npu_codes

CODES = npu_codes.load()


@pytest.mark.parametrize("spelling", ["80E01801", "0x80E01801", "0X80e01801", " 80e01801\n"])
def test_a_code_in_any_spelling(spelling: str) -> None:
    found = CODES.look_up(spelling)
    assert (found["code"], found["known"], found["level"], found["component"], found["event"], found["action"]) == (
        "80E01801", True, "RestartBusiness", "HBM", "ecc-multi-bit", "resume")
    assert found["meaning"]["en"] == "HBM memory: multi-bit ECC error"
    assert "HBM" in found["meaning"]["zh"]
    assert "mind-cluster" in found["release"]


def test_an_unknown_code_is_told_as_unknown() -> None:
    found = CODES.look_up("DEADBEEF")
    assert (found["code"], found["known"], found["level"], found["meaning"], found["action"]) == ("DEADBEEF", False, None, None, "none")


def test_of_two_levels_the_worse_counts() -> None:
    assert CODES.look_up("A2301001")["level"] == "SeparateNPU"
    assert CODES.look_up("A2301001")["levels"] == ["RestartBusiness", "SeparateNPU"]


def test_a_level_without_a_published_meaning() -> None:
    found = CODES.look_up("81318006")
    assert (found["known"], found["level"], found["meaning"]) == (True, "NotHandleFault", None)


def test_switch_codes_and_repetition() -> None:
    assert CODES.look_up("[0x00f1fef5,155914,npu,na]")["level"] == "RestartRequest"
    assert CODES.repeated("0x80e01801") == {"times": 2, "window_s": 86400, "then": "SeparateNPU"}
    assert CODES.repeated("DEADBEEF") is None


def test_the_file_keeps_its_promises() -> None:
    path = Path(npu_codes.__file__).with_name("npu-codes.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert len(CODES) == 802
    assert set(data["levels"]) == set(npu_codes.ORDER)
    for rule in data["levels"].values():
        assert rule["action"] in loader.ACTIONS
        assert rule["advice"]["en"] and rule["advice"]["zh"]
    for code, entry in data["codes"].items():
        assert code == npu_codes.normal(code)
        assert set(entry["levels"]) <= set(npu_codes.ORDER)
        assert entry["levels"]
        assert ("component" in entry) == ("event" in entry), code
        if "event" in entry:
            assert entry["event"] in data["events"] and entry["component"] in data["components"], code
    for text in list(data["components"].values()) + list(data["events"].values()):
        assert text["en"] and text["zh"]


def test_levels_are_those_of_the_release(corpus: Path) -> None:
    published = json.loads((corpus / "fault-codes" / "faultCode.json").read_text(encoding="utf-8"))
    for name, codes in published.items():
        for code in codes:
            assert name[:-len("Codes")] in CODES.look_up(code)["levels"], code
