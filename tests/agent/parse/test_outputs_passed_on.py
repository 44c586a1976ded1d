"""Outputs as they are handed on: with a prompt, a node's name, a time or a mail's mark before every line."""

from __future__ import annotations

import json
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
        "ansible": lambda text: "node1 | CHANGED | rc=0 >>\n" + text}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", [TABLE, USAGES, COMMON, HEALTH, MAPPING, TOPOLOGY, WATCH, HCCN["stat"], HCCN["ip"], HCCN["ping"]])
def test_what_was_put_before_every_line_changes_nothing(text: str, way: str) -> None:
    assert without_details(WAYS[way](text)) == without_details(text) is not None


@pytest.mark.parametrize("text, values", [("Speed: 200000 Mb/s\nSpeed: 100000 Mb/s\n", 2), ("ipaddr:10.0.0.1\nipaddr:10.0.0.2\n", 2)])
def test_a_key_that_comes_again_is_no_nodes_name(text: str, values: int) -> None:
    found = outputs.document(text)
    assert found is not None and len(found["details"]["outputs"]) == values


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
