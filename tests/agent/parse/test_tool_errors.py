"""What the tools and the shells that start them say instead of an output: told as an error, never as a value."""

from __future__ import annotations

from typing import Optional

import pytest

from agent.parse import outputs, tool_errors

NETWORK = ("Cmd execute failed!", "Command execute failed!", "hccn_tool is busy, please try again.", "permission denied: pls check this cmd run permission.",
           "Get gateway failed, because no gateway was preset there!", "Get ipconf failed, because no ip was preset there!", "The device is not exist!",
           "Control link unreachable.", "The command is not supported on this product.", "Get invalid device id.", "Execute failed: Link status is down.",
           "I2c is busy. Please try again.", "No certificate found, please set certs firstly!", "target port is invalid, please check.",
           "The cmd line execute timeout!", "bash: /usr/local/Ascend/driver/tools/hccn_tool: No such file or directory")


@pytest.mark.parametrize("line, code", [
    ("dcmi module initialize failed. ret is -8005", -8005), ("dcmi model initialized failed, because the device is used. ret is -8020", -8020),
    ("Failed to query chip count.", None), ("Failed to query npu chip: 1 info.", None), ("Failed to get card num. ret is -8002", -8002),
    ("show npu card info fail!", None), ("This command cannot be executed on a VM.", None),
    ("bash: /usr/local/sbin/npu-smi: Permission denied", None), ("bash: /usr/local/bin/npu-smi: No such file or directory", None),
    ("env: 'npu-smi': No such file or directory", None), ("-bash: npu-smi：未找到命令", None),
    ("npu-smi: error while loading shared libraries: libc_sec.so: cannot open shared object file: No such file or directory", None),
    ('OCI runtime exec failed: exec failed: unable to start container process: exec: "npu-smi": executable file not found in $PATH: unknown', None)])
def test_a_tool_that_did_not_start_is_an_error_with_its_code(line: str, code: Optional[int]) -> None:
    found = outputs.document(line + "\n")
    assert found is not None and found["errors"] == [{"code": code, "text": line}]
    assert not found["complete"] and found["devices"] == found["processes"] == []


@pytest.mark.parametrize("line", NETWORK)
def test_hccn_tool_says_why_it_has_no_output(line: str) -> None:
    found = outputs.document(line + "\n")
    assert found is not None and (found["output"], found["complete"]) == ("hccn-error", False)
    assert found["errors"] == [{"code": None, "text": line}]
    among = outputs.document("link status: UP\n" + line + "\nlink status: DOWN\n")
    assert among is not None and not among["complete"] and [error["text"] for error in among["errors"]] == [line]
    assert [one["status"] for one in among["details"]["outputs"]] == ["UP", "DOWN"]


def test_a_ping_that_reached_nothing_is_a_reading() -> None:
    found = outputs.document("device 0 PING 10.0.0.2\nrecv time out seq=0\n1 packets transmitted, 0 received, 100.00% packet loss\nCmd execute failed!\n")
    assert found is not None and found["complete"] and found["details"]["received"] == 0 and len(found["errors"]) == 1


def test_what_ansible_writes_behind_a_code_is_no_part_of_it() -> None:
    found = outputs.document("node1 | FAILED | rc=187 >>\nDrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi module initialize failed. ret is -8005non-zero return code\n")
    assert found is not None and [error["code"] for error in found["errors"]] == [-8005]


@pytest.mark.parametrize("text", ["2025-03-01 10:00:00 Failed to get the model's config\n", "RuntimeError: Failed to get device\n", "Permission denied\n",
                                  "node1 | FAILED | rc=1 >>\nnon-zero return code\n", "Settings for eth0:\n\tSpeed: 10000Mb/s\n", "MemTotal:  100 kB\n",
                                  "| a | b |\n|---|---|\n| 1 | 2 |\n", "CONTAINER ID   IMAGE\nabc            x\n"])
def test_other_programs_are_not_taken_for_the_tools(text: str) -> None:
    assert outputs.document(text) is None


def test_a_code_of_a_cut_line_counts_only_where_it_cannot_go_on() -> None:
    assert tool_errors.smi("dcmi module initialize failed. ret is -80", ended=False) == {"code": None, "text": "dcmi module initialize failed. ret is -80"}
