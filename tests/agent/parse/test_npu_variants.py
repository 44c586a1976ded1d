"""Every layout of the table with values of all kinds, and every output as it is copied: out of terminals, pages and loops."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Dict, List

import pytest

from agent.parse import hccn_many, outputs
from tests.agent.parse.layouts import LAYOUTS, Layout, draw, surroundings
from tests.agent.parse.test_outputs_damage import TEXTS

ROUNDS = 12
AROUND = sorted(surroundings("x\n"))


def document(text: str) -> Dict[str, Any]:
    found = outputs.document(text)
    assert found is not None
    return found


@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout.name for layout in LAYOUTS])
def test_every_layout_gives_what_was_drawn(layout: Layout) -> None:
    dice = random.Random(layout.name)
    for _ in range(ROUNDS):
        drawn = draw(layout, dice)
        for how, text in surroundings(drawn.text).items():
            found = document(text)
            assert found["output"] == "table" and found["devices"] == drawn.devices, (how, text)
            assert found["processes"] == drawn.processes and found["complete"], (how, text)
            assert (found["tool_version"], found["driver_version"]) == (layout.version, layout.driver or layout.version)


@pytest.mark.parametrize("layout", LAYOUTS, ids=[layout.name for layout in LAYOUTS])
def test_of_two_tables_the_first_is_read_and_is_whole(layout: Layout) -> None:
    dice = random.Random(layout.name)
    first, second = draw(layout, dice), draw(layout, dice)
    for between in ("", "\n", "[root@node1 ~]# sleep 2; npu-smi info\n"):
        found = document(first.text + between + second.text)
        assert (found["devices"], found["processes"], found["complete"]) == (first.devices, first.processes, True)
    if layout.process_columns:    # without, a table that ends with a card is a table
        assert not document(first.text[:len(first.text) // 2] + "\n" + second.text)["complete"]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_stands_around_an_output_changes_nothing(name: str) -> None:
    want = outputs.document(TEXTS[name])
    for how, text in surroundings(TEXTS[name]).items():
        found = outputs.document(text)
        assert want is not None and found is not None, how
        # Words of the driver stand among the errors of an output that is one.
        assert {key: value for key, value in found.items() if key != "errors"} == {key: value for key, value in want.items() if key != "errors"}, (how, text)
        assert [error["code"] for error in found["errors"]] == [error["code"] for error in want["errors"]], how


def test_a_loop_over_the_devices_tells_of_each() -> None:
    states = ["UP", "UP", "DOWN", "UP"]
    bare = document("".join("link status: %s\n" % state for state in states))
    assert bare["output"] == "hccn-link" and bare["complete"] and bare["details"]["status"] == "UP"
    assert [one["status"] for one in bare["details"]["outputs"]] == states and {one["device"] for one in bare["details"]["outputs"]} == {None}
    typed = document("".join("[root@node1 ~]# hccn_tool -i %d -link -g\nlink status: %s\n" % (at, state) for at, state in enumerate(states)) + "[root@node1 ~]# ")
    assert [(one["device"], one["status"]) for one in typed["details"]["outputs"]] == list(enumerate(states)) and typed["complete"]
    addresses = document("".join("===> %d\nipaddr:29.0.0.%d\nnetmask:255.255.0.0\n" % (at, at) for at in range(3)))
    assert [one["address"] for one in addresses["details"]["outputs"]] == ["29.0.0.0", "29.0.0.1", "29.0.0.2"]


def test_one_output_stands_alone() -> None:
    for name, text in TEXTS.items():
        details = document(text).get("details", {})
        assert "outputs" not in details, name


@pytest.mark.parametrize("text, kinds, complete", [
    ("# hccn_tool -i 0 -ip -g\nipaddr:29.0.0.1\nnetmask:255.255.0.0\n# hccn_tool -i 0 -net_health -g\nnet health status: Success\n", ["ip", "net_health"], True),
    ("$ sudo hccn_tool -i 0 -link -g\nlink status: UP\n$ sudo hccn_tool -i 1 -link -g\nsome error\n", ["link", None], False),
    ("+ /usr/local/bin/hccn_tool -g -link -i 1 -u 0 -p 4\nlink status: UP\n+ hccn_tool -i 2 -link -g\nlink status: DO", ["link", None], False),
])
def test_a_session_of_different_commands(text: str, kinds: List[Any], complete: bool) -> None:
    found = document(text)
    assert [one["kind"] for one in found["details"]["outputs"]] == kinds and found["complete"] is complete
    assert found["output"] == "hccn-" + str(kinds[0])


def test_blocks_of_several_devices_in_one_text() -> None:
    block = "\tNPU ID                         : %d\n\tChip Count                     : 1\n\n\tAicore Usage Rate(%%)           : 9%d\n\tHBM Usage Rate(%%)              : 5\n\tChip ID                        : 0\n\n"
    for between in ("", "[root@node1 ~]# npu-smi info -t usages -i 4\n"):
        found = document("[root@node1 ~]# npu-smi info -t usages -i 3\n" + block % (3, 3) + between + block % (4, 4))
        assert [(device["npu_id"], device["chip_id"], device["aicore_pct"]) for device in found["devices"]] == [(3, 0, 93), (4, 0, 94)] and found["complete"]


def block(npu: int, *lines: str) -> str:
    rows = "".join("\t%-30s : %s\n" % tuple(line.split("=")) if line else "\n" for line in lines)
    return "\tNPU ID                         : %d\n\tChip Count                     : 1\n\n%s" % (npu, rows)


@pytest.mark.parametrize("text, output, device", [
    (block(1, "Temperature (C)=45", "Chip ID=0", "", "Temperature (C)=40", "Chip Name=mcu"), "npu-temp", {"temperature_c": 45}),
    (block(1, "NPU Temperature (C)=45", "Chip ID=0"), "npu-temp", {"temperature_c": 45}),
    (block(1, "Rated Power Dissipation(W)=8", "Chip ID=0"), "npu-power", {"power_w": None}),    # what it may take, not what it takes
    (block(1, "Chip ID=0", "Power Dissipation(W)=6.1"), "npu-power", {"power_w": 6.1}),
    (block(1, "NPU Real-time Power(W)=NA", "Chip ID=0"), "npu-power", {"power_w": None}),
    (block(1, "NPU Real-time Power(W)=93.5", "Chip ID=0", "", "Power Dissipation(W)=20.1", "Chip Name=mcu"), "npu-power", {"power_w": 93.5}),
    (block(1, "DDR Capacity(MB)=7767", "DDR Clock Speed(MHz)=1600", "Chip ID=0"), "npu-memory", {"memory_total_mb": 7767, "hbm_total_mb": None}),
    (block(1, "Memory Capacity(MB)=15171", "Memory Usage Rate(%)=14", "Aicore Usage Rate(%)=12", "Memory Bandwidth Usage Rate(%)=1", "Chip ID=0"),
     "npu-usages", {"aicore_pct": 12}),
    (block(1, "HBM Usage Rate(%)=5", "Aicore Usage Rate(%)=0", "Aicube Usage Rate(%)=0", "HBM Bandwidth Usage Rate(%)=0", "NPU Utilization(%)=31", "Chip ID=0"),
     "npu-usages", {"aicore_pct": 0, "npu_pct": 31}),
    (block(1, "Chip ID=0", "Memory Usage Rate(%)=3", "Aicore Usage Rate(%)=9", "Aicore Freq(MHZ)=1800", "Temperature(C)=41", "NPU Real-time Power(W)=69.9"),
     "npu-common", {"aicore_pct": 9, "temperature_c": 41, "power_w": 69.9}),
    (block(1, "Chip ID=0", "Health=Critical"), "npu-health", {"health": "Critical"}),
])
def test_the_spellings_of_the_releases(text: str, output: str, device: Dict[str, Any]) -> None:
    found = document(text)
    assert found["output"] == output and found["complete"], found
    (one,) = found["devices"]
    assert (one["npu_id"], one["chip_id"]) == (1, 0) and {name: one[name] for name in device} == device


def test_a_list_with_products_and_one_without() -> None:
    ids = ["\tNPU ID                         : %d\n%s\tChip Count                     : 1\n\n" % (npu, product)
           for npu, product in ((1, "\tProduct Name                   : Card\n\tSerial Number                  : S1\n"), (4, ""))]
    for text in ("\tTotal Count                    : 2\n\n" + ids[0] + ids[1], "\tTotal Count                    : 2\n\n" + ids[1] + ids[0]):
        found = document(text)
        assert found["output"] == "npu-list" and found["complete"] and sorted(device["npu_id"] for device in found["devices"]) == [1, 4]
    assert not document("\tTotal Count                    : 3\n\n" + ids[0] + ids[1])["complete"]


@pytest.mark.parametrize("text", [
    "-bash: npu-smi: command not found\n", "zsh: command not found: npu-smi\n", "bash: npu-smi：未找到命令\n", "sh: 1: hccn_tool: not found\n",
    "bash: /usr/local/bin/npu-smi: Permission denied\n", "sudo: hccn_tool: command not found\n"])
def test_a_tool_that_does_not_start_is_an_error_and_no_stranger(text: str) -> None:
    found = document(text)
    assert not found["complete"] and [error["code"] for error in found["errors"]] == [None] and found["devices"] == []


def test_prose_about_the_tool_is_none_of_its_output() -> None:
    for text in ("Run hccn_tool -i 0 -link -g on every node.\n", "[root@node1 ~]# hccn_tool -i 0 -link -g\n", "the link status: it was down\n", "note: time: 05:10:01\n"):
        assert outputs.document(text) is None, text
        assert hccn_many.parse(text) == []


def test_captures_say_the_same_however_they_were_copied(corpus: Path) -> None:
    read = 0
    for path in sorted((corpus / "npu-smi").glob("*/*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        # Noise of other commands is set apart from the output by its margin, and then it is not any more.
        if "excerpt" in path.name or path.name.startswith("cut_") or not text.endswith("\n") or "lspci" in text:
            continue
        want = outputs.document(text)
        for how, copied in surroundings(text).items() if want is not None else ():
            assert outputs.document(copied) == want, (path.name, how)
            read += 1
    assert read > 1500
