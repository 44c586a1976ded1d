"""Outputs as they are handed on: with a prompt, a node's name, a time or a mail's mark before every line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, List

import pytest

from agent.parse import outputs
from tests.agent.parse.test_outputs_damage import (
    ALL,
    COMMON,
    HCCN,
    HEALTH,
    MAPPING,
    TABLES,
    TOPOLOGY,
    USAGES,
    WATCH,
    without_details,
)

TABLE = TABLES[0].read_text(encoding="utf-8")


def each(put: str) -> Callable[[str], str]:
    return lambda text: "".join(put + line if line.strip() else put.rstrip() + line for line in text.splitlines(True))


WAYS = {"pdsh": each("node-1: "), "mail": each("> "), "engine": each("2025-03-01T10:00:00.123456789Z "), "file": each("2025-03-01T10:00:00.1+08:00 stdout F "),
        "torchrun": each("[default0]:"), "cat -n": each("    12\t"), "prompt": lambda text: "[root@n1 ~]# npu-smi info\n" + text + "[root@n1 ~]# ",
        "ansible": lambda text: "node1 | CHANGED | rc=0 >>\n" + text, "kubectl": each("[pod/train-0/main] "),
        "kubectl --timestamps": each("[pod/train-0/main] 2025-03-01T10:00:00.1Z "), "compose": each("npu-1  | "), "srun": each("0: "), "address": each("10.0.0.1: "),
        "mpirun": each("[1,0]<stdout>:"), "logger": each("2025-03-01 10:00:00,123 "), "ts": each("[2025-03-01 10:00:00] "), "bare time": each("Mar  1 10:00:00 "),
        "journal": each("Nov 22 10:00:00 node1 smi[123]: "), "syslog": each("Nov  2 10:00:00 node1 smi: "), "ray": each("(train pid=123, ip=10.0.0.3) "),
        "parallel": each("node-1\t"), "comment": each("# "), "patch": each("+ "), "indented comment": each("        # "), "indented mail": each("    > "), "slashes": each("// "),
        "star": each(" * "), "logger and level": each("2025-03-01 10:00:00,123 - INFO - "), "logger and place": each("2025-03-01 10:00:00,123 INFO [smi.py:12] "),
        "loguru": each("2025-03-01 10:00:00.123 | INFO     | __main__:run:12 - "), "glog": each("I0301 10:00:00.123456   812 smi.cc:12] "),
        "journal -o short-iso": each("2025-03-01T10:00:00+08:00 node1 smi[123]: "), "journal -o short-unix": each("1740800000.123456 node1 smi[123]: "),
        "rfc 5424": each("<14>1 2025-03-01T10:00:00.123Z node1 smi 123 - - "), "zone": each("2025-03-01 10:00:00 +0800 CST "), "slashed day": each("2025/03/01 10:00:00 "),
        "clock": each("10:00:00.123 "), "pipeline": each("train\tCHECK\t2025-03-01T10:00:00.1234567Z "), "coloured ray": each("\x1b[36m(train pid=123)\x1b[0m "),
        "page": lambda text: "<pre><code>" + text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") + "</code></pre>\n",
        "page's blanks": lambda text: text.replace("  ", "\u00a0 "), "mark-down cell": lambda text: text.replace("|", "\\|"),
        "ansible's lines": lambda text: 'ok: [node1] => {\n    "out.stdout_lines": [\n' + ",\n".join("        " + json.dumps(line) for line in text.splitlines()) + "\n    ]\n}\n",
        "salt": lambda text: "node-1:\n" + "".join("    " + line for line in text.splitlines(True)),
        "engine's file": lambda text: "".join(json.dumps({"log": line, "stream": "stdout"}, separators=(",", ":")) + "\n" for line in text.splitlines(True)),
        "a pane beside": lambda text: "".join(line.rstrip("\n").ljust(160) + "\u2502 $ top\n" for line in text.splitlines(True))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [TABLE, USAGES, COMMON, HEALTH, MAPPING, TOPOLOGY, WATCH, HCCN["stat"], HCCN["ip"], HCCN["ping"]])
def test_what_was_put_before_every_line_changes_nothing(text: str, way: str) -> None:
    assert without_details(WAYS[way](text)) == without_details(text) is not None


@pytest.mark.parametrize("text, values", [("Speed: 200000 Mb/s\nSpeed: 100000 Mb/s\n", 2), ("ipaddr:10.0.0.1\nipaddr:10.0.0.2\n", 2)])
def test_a_key_that_comes_again_is_no_nodes_name(text: str, values: int) -> None:
    found = outputs.document(text)
    assert found is not None and len(found["details"]["outputs"]) == values


@pytest.mark.parametrize("text", [TABLE, USAGES, HCCN["stat"]])
def test_of_several_nodes_the_first_is_read_however_their_lines_are_mixed(text: str) -> None:
    first = [WAYS["pdsh"](line) for line in text.splitlines(True)]
    second = [each("node-2: ")(line.replace("0", "9")) for line in text.splitlines(True)]
    mixed = "".join(line for both in zip(first, second) for line in both)
    assert without_details(mixed) == without_details("".join(first + second)) == without_details(text)


def test_one_line_of_one_node() -> None:
    found = outputs.document("node-01: link status: DOWN\n")
    assert found is not None and (found["complete"], found["details"]["status"]) == (True, "DOWN")


@pytest.mark.parametrize("width", [41, 60, 72, 80])
@pytest.mark.parametrize("table", TABLES, ids=[path.stem for path in TABLES])
def test_a_terminal_narrower_than_the_table_changes_nothing(table: Path, width: int) -> None:
    text = table.read_text(encoding="utf-8")
    if len(text.splitlines()[0]) <= width:
        pytest.skip("not wider than the terminal")
    broken = "".join(line[start:start + width].rstrip() + "\n" for line in text.splitlines() for start in range(0, max(len(line), 1), width))
    assert outputs.document(broken) == outputs.document(text)
    cut = outputs.document(broken[:len(broken) // 2])
    assert cut is None or not cut["complete"]


@pytest.mark.parametrize("width", [60, 72, 80, 100])
@pytest.mark.parametrize("text", [MAPPING, TOPOLOGY, WATCH])
def test_a_terminal_narrower_than_a_listing_changes_nothing(text: str, width: int) -> None:
    broken = "".join(line[start:start + width].rstrip() + "\n" for line in text.splitlines() for start in range(0, max(len(line), 1), width))
    assert without_details(broken) == without_details(text)


@pytest.mark.parametrize("put", ["2025-03-01 10:00:0%d node-%d smi: ", "I0301 10:00:0%d.1 812 smi-%d:12] "])
def test_of_several_nodes_whose_lines_have_a_time_the_first_is_read(put: str) -> None:
    first, second = ([each(put % (number, number))(line) for line in TABLE.splitlines(True)] for number in (1, 2))
    mixed = "".join(line for both in zip(first, second) for line in both)
    assert without_details(mixed) == without_details(TABLE)


def test_what_is_the_tools_own_is_no_margin() -> None:
    found = outputs.document("2025-03-01 10:00:00 [devid 3] link status: UP\n2025-03-01 10:00:01 [devid 3] Speed: 100000 Mb/s\n")
    assert found is not None and [one["device"] for one in found["details"]["outputs"]] == [3, 3]
    again = outputs.document("ipaddr:10.0.0.1\nnetmask:255.255.0.0\n")
    assert again is not None and again["details"]["address"] == "10.0.0.1"


def test_one_line_with_a_time() -> None:
    found = outputs.document("2025-03-01T10:00:00.1Z link status: DOWN\n")
    assert found is not None and (found["complete"], found["details"]["status"]) == (True, "DOWN")


def test_blank_lines_between_all_lines_change_nothing() -> None:
    for text in (USAGES, COMMON, TABLE):
        assert without_details(text.replace("\n", "\n\n")) == without_details(text)


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_document_in_json_is_no_output(name: str) -> None:
    found = outputs.document(ALL[name])
    assert outputs.document(json.dumps(found, indent=1)) is None
    assert outputs.document(json.dumps([found, found], indent=4) + "\n") is None


@pytest.mark.parametrize("text", ["net health status: Success", "link status: UP"])
def test_a_single_line_without_its_end_is_told_without_its_value(text: str) -> None:
    found = outputs.document(text)
    assert found is not None and not found["complete"]
    told: List[Any] = [value for name, value in found["details"].items() if name != "kind"]
    assert not any(told) and found["output"].startswith("hccn-")


@pytest.mark.parametrize("cut, code", [(0, -8020), (1, None), (2, None), (3, None)])
def test_a_code_without_its_lines_end_is_told_where_no_digit_can_be_missing(cut: int, code: Any) -> None:
    text = "dcmi model initialized failed, because the device is used. ret is -8020"
    found = outputs.document(text[:len(text) - cut])
    assert found is not None and [error["code"] for error in found["errors"]] == [code] and not found["complete"]


def test_the_boards_controller_is_no_device_where_the_text_ends_in_its_name() -> None:
    text = "\tNPU ID                         : 3\n\tChip Count                     : 1\n\n\tHealth                         : OK\n\tChip ID                        : 0\n\n" \
           "\tHealth                         : Warning\n\tChip Name                      : MCU"
    for cut in range(3):
        found = outputs.document(text[:len(text) - cut])
        assert found is not None and [(device["chip_id"], device["health"]) for device in found["devices"]] == [(0, "OK")]
        assert not found["complete"]
