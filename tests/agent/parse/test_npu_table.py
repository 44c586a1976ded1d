from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import npu_table, outputs

FIXTURES = Path(__file__).parent / "fixtures" / "npu_table"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.txt"))
TEXTS = {name: (FIXTURES / (name + ".txt")).read_text(encoding="utf-8") for name in NAMES}

# Written by reading the fixtures. Order: DEVICE_FIELDS, PROCESS_FIELDS; _ is None.
_ = None
DEVICES: Dict[str, List[Tuple[Any, ...]]] = {
    "910b3-24.1.rc2": [(0, 0, _, "910B3", "OK", 93.1, 37, 0, "0000:C1:00.0", 0, 0, 3416, 65536, 0, 0, _),
                       (1, 0, _, "910B3", "OK", 311.4, 58, 87, "0000:C2:00.0", 0, 0, 59356, 65536, 0, 0, _),
                       (4, 0, _, "910B3", "Alarm", 90.0, 36, 0, "0000:01:00.0", 0, 0, 3411, 65536, 0, 0, _)],
    "a3-25.2.0": [(3, 0, 6, "Ascend910", "OK", 162.8, 37, 0, "0000:9C:00.0", 0, 0, 3133, 65536, 0, 0, _),
                  (3, 1, 7, "Ascend910", "Warning", _, 38, 12, "0000:9E:00.0", 0, 0, 10568, 65536, 0, 0, _)],
    "910b4-26.0": [(6, 0, _, "910B4-1", "OK", 97.8, 49, 3, "0000:41:00.0", 0, 0, 3402, 65536, 0, 0, _)],
    "950-doc": [(0, _, _, "950PR", "OK", 204.4, 56, _, "0000:91:00.0", 0, 0, 4439, 86016, 0, 0, 17),
                (2, _, _, "950PR", "Critical", 188.0, 61, _, _, 0, 0, 86000, 86016, 0, 0, 0)],
    "310-21.0": [(1, 0, _, "310", "OK", 12.8, 42, 0, "0000:01:00.0", 2621, 8192, _, _, _, _, _),
                 (1, 1, _, "310", "OK", 12.7, 43, 5, "0000:02:00.0", 2703, 8192, _, _, _, _, _)],
    "310p3-duo-25.2": [(32768, 0, _, "310P3", "OK", _, 59, 0, "0000:01:00.0", 1397, 44280, _, _, 15, 1304, _),
                       (32768, 1, _, "310P3", "OK", _, 58, 0, "0000:01:00.0", 15200, 43693, _, _, 0, 0, _)],
    "310b4-alarm": [(0, 0, _, "310B4", "Alarm", 0.0, 65, 0, _, 3628, 15609, _, _, 15, 15, _)],
    "910prob-23.0.rc1": [(0, 0, _, "910ProB", "OK", 78.4, 33, 41, "0000:C1:00.0", 1198, 15137, 30711, 32768, 1123, 1123, _)],
    "910a-21.0": [(4, 0, _, "910A", "OK", 63.6, 44, 9, "0000:86:00.0", 1809, 15082, 17, 32768, _, _, _)],
}
PROCESSES: Dict[str, List[Tuple[Any, ...]]] = {
    "910b3-24.1.rc2": [(1, 0, 4711, _, "python3", 55940), (1, 0, 4712, _, "", 617), (4, 0, 80123, _, "ray Worker", 120)],
    "a3-25.2.0": [(3, 1, 990711, _, "python", 7746)],
    "910b4-26.0": [(6, 0, 485946, _, "pytest", 5175), (6, 0, 485999, 88, "python", 197)],
    "950-doc": [(0, _, 1001, _, "python", 256)],
    "910prob-23.0.rc1": [(0, 0, 55115, _, "python", 30784)],
}
VERSIONS = {"910prob-23.0.rc1": ("23.0.rc3", "23.0.rc2.3"), "910b4-26.0": ("26.0.rc1", "26.0.rc1")}


def rows(parsed: Dict[str, Any]) -> List[Tuple[Any, ...]]:
    return [tuple(device[name] for name in npu_table.DEVICE_FIELDS) for device in parsed["devices"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_layout(name: str) -> None:
    parsed = npu_table.parse(TEXTS[name])
    assert rows(parsed) == DEVICES[name]
    assert [tuple(row[field] for field in npu_table.PROCESS_FIELDS) for row in parsed["processes"]] == PROCESSES.get(name, [])
    assert parsed["complete"] is True
    assert parsed["errors"] == []
    if name in VERSIONS:
        assert (parsed["tool_version"], parsed["driver_version"]) == VERSIONS[name]
    assert set(parsed) == {"tool_version", "driver_version", "complete", "devices", "processes", "errors"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [
    lambda text: text.replace("\n", "\r\n"),
    lambda text: "".join("\x1b[1;32m" + line + "\x1b[0m\n" for line in text.splitlines()),
    lambda text: "节点一 正在查询……\n[INFO limiter] won manager election\n" + text + "\n完成。\n",
    lambda text: "".join("   " + line + " \n" for line in text.splitlines()),
    lambda text: text.replace(" / ", "/ "),
    lambda text: re.sub(" {2,}", " ", re.sub("(?m)^[+].*\n", "", text)),
], ids=["crlf", "ansi", "chinese", "indent", "slash", "collapsed"])
def test_what_terminals_and_people_do_to_a_table(name: str, change: Any) -> None:
    parsed = npu_table.parse(change(TEXTS[name]))
    assert rows(parsed) == DEVICES[name]
    assert parsed["complete"] is True


@pytest.mark.parametrize("text, code", [
    ("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005\n", -8005),
    ("dcmi model initialized failed, because the device is used. ret is -8020\n", -8020),
])
def test_errors_instead_of_a_table(text: str, code: int) -> None:
    parsed = npu_table.parse(text)
    assert [error["code"] for error in parsed["errors"]] == [code]
    assert parsed["complete"] is False
    assert npu_table.recognised(parsed)


def test_what_is_no_npu_smi_output_is_not_recognised() -> None:
    for text in ("", "hello\n", "| a | b |\n| 1 | 2 |\n", "NVIDIA-SMI 535.54\n"):
        assert not npu_table.recognised(npu_table.parse(text))


def test_a_warning_after_the_table_does_not_spoil_it() -> None:
    parsed = npu_table.parse(TEXTS["310b4-alarm"] + "[WARNING]The driver package may not be completely installed, please check.\n")
    assert parsed["complete"] is True
    assert [error["code"] for error in parsed["errors"]] == [None]


def test_a_first_row_that_the_tool_left_out() -> None:
    # Where the health lookup fails the tool prints the second row alone: no NPU id, and no shift of the rest.
    lines = [line for line in TEXTS["910b3-24.1.rc2"].splitlines() if "311.4" not in line]
    parsed = npu_table.parse("\n".join(lines) + "\n")
    assert rows(parsed)[0] == DEVICES["910b3-24.1.rc2"][0]
    assert rows(parsed)[2] == DEVICES["910b3-24.1.rc2"][2]
    lost = parsed["devices"][1]
    assert (lost["npu_id"], lost["name"], lost["power_w"], lost["hbm_used_mb"]) == (None, None, None, 59356)
    assert parsed["complete"] is False


def test_a_process_name_may_hold_bars() -> None:
    parsed = npu_table.parse(TEXTS["910b4-26.0"].replace("| pytest             |", "| a|b|c              |"))
    assert [(row["pid"], row["name"], row["memory_mb"]) for row in parsed["processes"]] == [(485946, "a|b|c", 5175), (485999, "python", 197)]


def test_a_chip_without_a_name_keeps_its_values() -> None:
    parsed = npu_table.parse(TEXTS["a3-25.2.0"].replace("Ascend910", "         "))
    assert [row[3] for row in rows(parsed)] == [None, None]
    assert [row[:3] + row[4:] for row in rows(parsed)] == [row[:3] + row[4:] for row in DEVICES["a3-25.2.0"]]
    assert parsed["complete"] is True


def test_a_process_table_that_did_not_come() -> None:
    text = TEXTS["910b3-24.1.rc2"]
    cut = text[:text.index("+---------------------------+---------------+----------------------------------------------------+\n| NPU     Chip")]
    assert rows(npu_table.parse(cut)) == DEVICES["910b3-24.1.rc2"]
    assert npu_table.parse(cut)["complete"] is False
    # The 310B prints none, and neither did releases before 23.0.
    assert npu_table.parse(TEXTS["310b4-alarm"])["complete"] is True
    assert npu_table.parse(TEXTS["910a-21.0"])["complete"] is True


def test_elided_rows_are_missed() -> None:
    lines = TEXTS["910b3-24.1.rc2"].splitlines()
    assert npu_table.parse("\n".join(lines[:9] + ["..."] + lines[12:]))["complete"] is False
    # Even without the dots: the process table speaks of an NPU that has no rows.
    assert npu_table.parse("\n".join(lines[:9] + lines[12:]))["complete"] is False


def test_of_two_tables_the_first_is_read() -> None:
    parsed = npu_table.parse(TEXTS["310-21.0"] + TEXTS["310b4-alarm"])
    assert rows(parsed) == DEVICES["310-21.0"]


def test_unknown_is_a_health_of_its_own() -> None:
    parsed = npu_table.parse(TEXTS["310b4-alarm"].replace("Alarm  ", "UNKNOWN"))
    assert rows(parsed)[0][:5] == (0, 0, None, "310B4", "UNKNOWN")
    assert parsed["complete"] is True


@pytest.mark.parametrize("word, health, complete", [("Offline", "Offline", True), ("NA", None, True), ("-", None, True), ("N/A", None, True), ("Zzzz", None, False)])
def test_a_health_that_is_none_costs_the_chip_nothing_else(word: str, health: Any, complete: bool) -> None:
    for name in ("910b3-24.1.rc2", "a3-25.2.0", "310-21.0", "950-doc", "310b4-alarm"):
        text = re.sub(r"\| (OK|Alarm) +\|", lambda found: ("| " + word).ljust(len(found.group()) - 1) + "|", TEXTS[name], count=1)
        parsed = npu_table.parse(text)
        assert rows(parsed) == [DEVICES[name][0][:4] + (health,) + DEVICES[name][0][5:]] + DEVICES[name][1:], name
        assert parsed["complete"] is complete, name


def test_a_name_with_bars_leaves_nothing_where_its_row_is_cut() -> None:
    for name, shown in (("910b3-24.1.rc2", "python3"), ("910b4-26.0", "python")):
        text = TEXTS[name].replace(shown.ljust(10), "a|b c".ljust(10))
        printed = {(row["pid"], row["name"], row["memory_mb"], row["pid_in_container"]) for row in npu_table.parse(text)["processes"]}
        assert any(row[1] == "a|b c" for row in printed)
        for end in range(len(text)):
            for row in npu_table.parse(text[:end])["processes"]:
                told = (row["pid"], row["name"], row["memory_mb"], row["pid_in_container"])
                assert any(all(value in (None, want) for value, want in zip(told, whole)) for whole in printed), text[:end][-60:]


def test_a_pair_that_is_not_there() -> None:
    parsed = npu_table.parse(re.sub(r"59356/ 65536", "N/A         ", TEXTS["910b3-24.1.rc2"]))
    assert parsed["complete"] and [device["hbm_used_mb"] for device in parsed["devices"]].count(None) >= 1


def test_a_table_whose_titles_were_cut_off_is_known_and_not_whole() -> None:
    text = TEXTS["910b3-24.1.rc2"]
    found = outputs.document(text[text.index("OK"):])
    assert found is not None and not found["complete"] and found["devices"] == []


def test_columns() -> None:
    parsed = npu_table.parse(TEXTS["a3-25.2.0"])
    columns = npu_table.npu_columns(parsed)
    assert set(columns) == set(npu_table.DEVICE_FIELDS)
    assert columns["power_w"] == [162.8, None]
    assert npu_table.process_columns(parsed)["pid"] == [990711]


# Damage. A value is the printed one or null: each number read must stand in the text, in a row of its chip.

def tokens(text: str) -> List[str]:
    return re.findall(r"[^\s|/]+", text)


def assert_nothing_invented(text: str, parsed: Dict[str, Any]) -> None:
    there = set(tokens(text))
    for row in parsed["devices"] + parsed["processes"]:
        for name, value in row.items():
            if value is None:
                continue
            if isinstance(value, str):
                assert set(tokens(value)) <= there, (name, value)
            else:
                assert any(_same(token, value) for token in there), (name, value)


def _same(token: str, value: float) -> bool:
    try:
        return float(token) == float(value)
    except ValueError:
        return False


def prefix_of(damaged: List[Tuple[Any, ...]], whole: List[Tuple[Any, ...]]) -> bool:
    """Each damaged row is the whole one's, or the whole one's with values missing."""
    if len(damaged) > len(whole):
        return False
    return all(have is None or have == want for damaged_row, row in zip(damaged, whole) for have, want in zip(damaged_row, row))


@pytest.mark.parametrize("name", NAMES)
def test_cut_at_any_byte(name: str) -> None:
    text = TEXTS[name]
    # Every byte of three layouts, every third of the others (each cut parses the whole text again).
    for end in range(0, len(text) - 1, 1 if name in ("a3-25.2.0", "950-doc", "310b4-alarm") else 3):
        parsed = npu_table.parse(text[:end])
        assert prefix_of(rows(parsed), DEVICES[name]), end
        assert len(parsed["processes"]) <= len(PROCESSES.get(name, []))
        if len(rows(parsed)) < len(DEVICES[name]) and rows(parsed) and "Process id" in text:
            assert parsed["complete"] is False, end
        if rows(parsed) != DEVICES[name][:len(rows(parsed))]:
            assert parsed["complete"] is False, end


@pytest.mark.parametrize("name", NAMES)
def test_any_line_dropped(name: str) -> None:
    lines = TEXTS[name].splitlines()
    for gone in range(len(lines)):
        text = "\n".join(lines[:gone] + lines[gone + 1:]) + "\n"
        parsed = npu_table.parse(text)
        assert_nothing_invented(text, parsed)
        for row in rows(parsed):
            if row[0] is not None and row[1] is not None:
                assert any(all(have is None or have == want for have, want in zip(row, whole)) for whole in DEVICES[name]), (gone, row)
        table = next((number for number, line in enumerate(lines) if "Process name" in line), len(lines))
        another = gone > table and lines[gone].split("|")[1:2] in [other.split("|")[1:2] for number, other in enumerate(lines)
                                                                  if number > table and number != gone and "|" in other]
        if lines[gone].startswith("|") and "npu-smi" not in lines[gone] and not another:
            # Not noticed: one of several processes of an NPU, which nothing in the table counts.
            assert parsed["complete"] is False, lines[gone]


def test_a_long_line_takes_no_long_time() -> None:
    # Bounded by size, not by luck of a regular expression: a megabyte of the worst is read in the test's time.
    for text in ("|" * 300000, "| NPU Name | Health " * 20000, "dcmi module initialize failed " * 30000, "Memory-Usage(MB " * 60000,
                 "| NPU Name | Health |\n| " + "9" * 300000 + " x | OK |\n"):
        npu_table.parse(text)


def test_captures(corpus: Path) -> None:
    paths = sorted((corpus / "npu-smi").glob("*/*.txt"))
    assert len(paths) > 200
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        parsed = npu_table.parse(text)
        assert_nothing_invented(text, parsed)
        # What was fed to the real tool's code to make it print this (tool-runs/README.md).
        fed = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) if path.with_suffix(".json").exists() else {}
        if parsed["devices"] and fed:
            for kind in ("devices", "processes"):
                assert [{name: row[name] for name in want} for row, want in zip(parsed[kind], fed[kind])] == fed[kind], path.name
                assert len(parsed[kind]) == len(fed[kind]), path.name
            assert (parsed["tool_version"], parsed["complete"], parsed["errors"]) == (fed["tool_version"], fed["complete"], fed["errors"]), path.name
        if path.parent.name == "info-table":
            assert parsed["devices"] or parsed["processes"], path.name
        if "excerpt" in path.name or "elided" in path.name:
            assert parsed["complete"] is False, path.name
