from __future__ import annotations

from typing import Any, Dict, List

import pytest

from agent.parse import npu_keyvalue, outputs


def pad(text: str) -> str:
    """Lines as the tool prints them: a tab, the key padded to 30."""
    rows = []
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        rows.append("\t%-30s : %s" % (key, value) if colon else line)
    return "\n".join(rows) + "\n"


USAGES = pad("""NPU ID: 3
Chip Count: 2

DDR Capacity(MB): 0
HBM Capacity(MB): 65536
HBM Usage Rate(%): 5
Aicore Usage Rate(%): 97
HBM Bandwidth Usage Rate(%): 1
NPU Utilization(%): NA
Chip ID: 0

DDR Capacity(MB): 0
HBM Capacity(MB): 65536
HBM Usage Rate(%): 4
Aicore Usage Rate(%): 12
HBM Bandwidth Usage Rate(%): 0
NPU Utilization(%): 30
Chip ID: 1
""")
COMMON = pad("""NPU ID: 1
Chip Count: 1

Chip ID: 0
Memory Usage Rate(%): 0
Aicore Usage Rate(%): 7
Aicore Count: 24
Temperature(C): 46
NPU Real-time Power(W): 93.4

Chip Name: mcu
Temperature(C): 38
""")


def chips(text: str) -> List[Dict[str, Any]]:
    return npu_keyvalue.parse(text)["chips"]


def test_ids_after_their_block() -> None:
    parsed = npu_keyvalue.parse(USAGES)
    assert parsed["kind"] == "usages"
    assert [(chip["npu_id"], chip["chip_id"], chip["values"]["aicore_pct"], chip["values"]["npu_pct"]) for chip in parsed["chips"]] == [
        (3, 0, 97, None), (3, 1, 12, 30)]
    assert parsed["chips"][0]["values"]["hbm_total_mb"] == 65536


def test_ids_before_their_block_and_the_mcu() -> None:
    parsed = npu_keyvalue.parse(COMMON)
    assert parsed["kind"] == "common"
    assert [(chip["chip_id"], chip["mcu"], chip["values"]["temperature_c"]) for chip in parsed["chips"]] == [(0, False, 46), (None, True, 38)]
    assert parsed["chips"][0]["values"]["power_w"] == 93.4


@pytest.mark.parametrize("text", [USAGES, COMMON])
def test_lost_blank_lines_do_not_mix_chips(text: str) -> None:
    lines = "".join(line + "\n" for line in text.splitlines() if line.strip())
    want = [(chip["chip_id"], chip["mcu"], chip["values"]) for chip in chips(text)]
    assert [(chip["chip_id"], chip["mcu"], chip["values"]) for chip in chips(lines)] == want


def test_health_with_codes_over_many_lines() -> None:
    parsed = npu_keyvalue.parse("\tHealth Status                  : Alarm\n\tError Code                     : A4025021 8C03A000 0x8c084e00\n"
                                "\tError Information              : adda heart beat lost\n\n\t                               : node type=process-manager, sensor type=General Software\n\n"
                                "\t                               : node type=adda\n")
    assert parsed["kind"] == "health"
    assert parsed["chips"] == [{"npu_id": None, "chip_id": None, "mcu": False, "processes": None, "values": {
        "health": "Alarm", "error_codes": ["A4025021", "8C03A000", "8C084E00"],
        "error_texts": ["adda heart beat lost", "node type=process-manager, sensor type=General Software", "node type=adda"]}}]
    assert chips(pad("Health Status: OK\nError Code: NA\nError Information: NA"))[0]["values"] == {"health": "OK", "error_codes": [], "error_texts": []}


def test_processes() -> None:
    parsed = npu_keyvalue.parse("\tNPU ID                         : 0\n\tChip Count                     : 2\n\n\tNo process in device.\n\tChip ID                        : 0\n\n"
                                "\tProcess id:3229095 Process name:                  Process memory(MB):48208\n\tProcess id:77 Process name:a b:c Process memory(MB):5\n\tChip ID                        : 1\n")
    assert parsed["kind"] == "proc-mem"
    assert [chip["processes"] for chip in parsed["chips"]] == [[], [
        {"pid": 3229095, "name": None, "memory_mb": 48208}, {"pid": 77, "name": "a b:c", "memory_mb": 5}]]


def test_list() -> None:
    parsed = npu_keyvalue.parse(pad("Total Count: 3\n\nNPU ID: 0\nChip Count: 1\n\nNPU ID: 4\nChip Count: 1\n"))
    assert (parsed["kind"], parsed["total"], [chip["npu_id"] for chip in parsed["chips"]]) == ("list", 3, [0, 4])


def test_a_list_whose_count_was_cut_off_is_not_whole() -> None:
    found = outputs.document(pad("NPU ID: 0\nChip Count: 1\n\nNPU ID: 4\nChip Count: 1\n"))
    assert found is not None and (found["output"], found["complete"], [device["npu_id"] for device in found["devices"]]) == ("npu-list", False, [0, 4])


def test_a_type_that_only_its_ids_tell_and_the_boards_processor() -> None:
    found = outputs.document(pad("NPU ID: 2\nChip Count: 1\n\nSOMETHING_NEW (C): 41\nChip ID: 0\n\nTemperature (C): 66\nChip Name: 3559\n"))
    assert found is not None and found["complete"] and [(device["npu_id"], device["temperature_c"]) for device in found["devices"]] == [(2, None)]
    assert found["details"]["chips"][0]["values"] == {"something_new_c": 41}


def test_what_a_typed_command_names_is_of_that_chip() -> None:
    one = pad("Health Status: %s\nError Code: NA\nError Information: NA\n")
    text = "".join("[root@n1 ~]# npu-smi info -t health -i %d -c 1\n" % number + one % word for number, word in ((0, "OK"), (3, "Alarm")))
    for before in ("", "# npu-smi info -t usages -i 7\n" + USAGES):
        found = outputs.document(before + text)
        assert found is not None and found["complete"]
        told = sorted((device["npu_id"], device["chip_id"], device["health"]) for device in found["devices"] if device["health"])
        assert told == [(0, 1, "OK"), (3, 1, "Alarm")]


def test_values_that_the_text_ends_before_naming_the_owner_of_are_nobodys() -> None:
    found = outputs.document(pad("NPU ID: 0\nChip Count: 1\n\nChip ID: 0\nHealth: Warning\n\nHealth: OK\n"))
    assert found is not None and not found["complete"] and [device["health"] for device in found["devices"]] == ["Warning"]


def test_two_types_in_one_text_are_one_row_a_chip() -> None:
    found = outputs.document(USAGES + COMMON)
    assert found is not None and len({(device["npu_id"], device["chip_id"]) for device in found["devices"]}) == len(found["devices"])
    both = outputs.document(pad("NPU ID: 0\nChip Count: 1\n\nAicore Usage Rate(%): 7\nChip ID: 0\n\nNPU ID: 0\nChip Count: 1\n\nNPU Temperature (C): 41\nChip ID: 0\n"))
    assert both is not None and [(device["aicore_pct"], device["temperature_c"]) for device in both["devices"]] == [(7, 41)]


def test_board_and_ecc() -> None:
    board = npu_keyvalue.parse(pad("NPU ID: 0\nChip ID: 0\nChip Name: 910A\nBoard ID: 0x02\nPCIe Bus Info: 0000:61:00.0\nPCB ID: NA\nFirmware Version: 7.1.0.7.220"))
    assert board["kind"] == "board"
    assert (board["chips"][0]["values"]["chip_name"], board["chips"][0]["values"]["pcie_bus_info"], board["chips"][0]["values"]["pcb_id"]) == ("910A", "0000:61:00.0", None)
    ecc = npu_keyvalue.parse(pad("NPU ID: 1\nHBM Double Bit Error Count: 2\nHBM Double Bit Aggregate Total Err Cnt: 7\nChip ID: 0"))
    assert (ecc["kind"], ecc["chips"][0]["values"]["hbm_double_bit_error_count"], ecc["chips"][0]["values"]["hbm_double_bit_aggregate_total_err_cnt"]) == ("ecc", 2, 7)


def test_fault_events_of_the_950() -> None:
    parsed = npu_keyvalue.parse(pad("Fault Event Count: 1\nFault Event Information: event id=0x81AF8000, severity=2, node type ex=215"))
    assert parsed["kind"] == "fault-events"
    assert parsed["chips"][0]["values"]["fault_event_information"] == [{"code": "81AF8000", "severity": 2}]


@pytest.mark.parametrize("text, code", [("dcmi module initialize failed. ret is -8005\n", -8005), ("This device does not support querying topo.\n", None)])
def test_errors(text: str, code: Any) -> None:
    parsed = npu_keyvalue.parse(text)
    assert (parsed["kind"], [error["code"] for error in parsed["errors"]]) == (None, [code])


def test_cut_and_garbled_text_is_survived() -> None:
    for text in (USAGES, COMMON):
        for end in range(len(text)):
            npu_keyvalue.parse(text[:end])
            npu_keyvalue.parse(text[:end] + "\x00\xff|" + text[end + 1:])
    npu_keyvalue.parse(" : " * 100000 + "\n" + "\t" * 100000 + "x" * 100000)


def test_a_line_of_many_options_is_read_as_quickly_as_a_short_one() -> None:
    line = "npu-smi info" + " -i 0 -t" * 100 + " ,\n"    # the comma is in no option: every way to read the rest used to be tried
    assert npu_keyvalue.parse(line)["chips"] == []
