"""The simulated npu-smi and hccn_tool: the real tool's shape, the real processes' figures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.parse import npu_table
from console.lab import npu_sim
from tests.patience import PATIENCE_S

# Captured with npu-smi 24.1.rc1.b030 on eight 910B3 (first card), and a process row as 23.0 and later print it.
CAPTURED = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc1.b030            Version: 24.1.rc1.b030                                        |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 101.8       43                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3318 / 65536         |
+===========================+===============+====================================================+
"""
CAPTURED_PROCESS = "| 0       0                 | 2441447       | python                   | 59618                   |"
CAPTURED_NONE = "| No running processes found in NPU 0                                                            |"


def run(node: Path, tool: str, *argv: str) -> str:
    return subprocess.run([str(node / "bin" / tool), *argv], check=True, capture_output=True, text=True, timeout=30,
                          env={"RANKDECK_SIM_NODE_DIR": str(node), "PATH": os.environ["PATH"]}).stdout


@pytest.fixture
def node(tmp_path: Path) -> Path:
    path = tmp_path / "node-1"
    npu_sim.install(str(path), sys.executable)
    return path


@pytest.fixture
def worker(node: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started = []

    def start(local_rank: int, body: str, at: Path = node) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", body], env={
            **os.environ, "RANKDECK_SIM_NODE_DIR": str(at), "RANKDECK_ROUND": "0", "RANK": str(local_rank + 4),
            "LOCAL_RANK": str(local_rank)})
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()


def poll(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def shape(line: str) -> str:
    """A line with its values blanked: where the bars, slashes and first letters of values stand."""
    return re.sub(r"[0-9.]*[0-9A-Za-z]+", lambda found: "x" + " " * (len(found.group()) - 1), line)


def test_table_has_the_real_tools_columns(node: Path) -> None:
    printed = run(node, "npu-smi", "info").splitlines()
    captured = CAPTURED.splitlines()
    assert printed[0] == captured[0]
    assert printed[2:6] == captured[2:6]
    assert [shape(line) for line in printed[6:9]] == [shape(line) for line in captured[6:9]]
    assert {len(line) for line in printed} == {len(captured[0])}
    assert CAPTURED_NONE in printed


def test_process_row_has_the_real_tools_columns() -> None:
    rank = npu_sim.Worker(2441447, 0, "python", 1, 1, 59618 / npu_sim.HBM_PER_RSS)
    assert CAPTURED_PROCESS in npu_sim.table([rank], {}).splitlines()


def test_five_digit_memory_closes_the_gap_before_the_slash() -> None:
    rank = npu_sim.Worker(1, 0, "python", 1, 1, 500.0)
    assert f" {npu_sim.HBM_IDLE_MB + 32000}/ 65536         |" in npu_sim.table([rank], {})


def test_table_follows_a_busy_process_and_forgets_it(node: Path, worker: Callable[..., subprocess.Popen[bytes]]) -> None:
    busy = worker(3, "while True: pass")
    idle = worker(5, "import time; time.sleep(120)")
    worker(3, "while True: pass", node.with_name("node-2"))

    def look() -> dict[str, Any]:
        found.clear()
        found.update(npu_table.parse(run(node, "npu-smi", "info")))
        return found

    def shows() -> bool:
        # A busy process has only what its neighbours leave it, and an idle one is busy while it starts.
        busy_pct, idle_pct = (look()["devices"][device]["aicore_pct"] for device in (3, 5))
        return bool(busy_pct >= 10 and idle_pct <= 1)

    found: dict[str, Any] = {}
    poll(shows, "the busy process does not show")
    assert found["complete"] is True
    assert len(found["devices"]) == 8
    assert {(row["npu_id"], row["pid"]) for row in found["processes"]} == {(3, busy.pid), (5, idle.pid)}
    devices = found["devices"]
    assert devices[0]["aicore_pct"] == 0
    assert devices[3]["hbm_used_mb"] > devices[0]["hbm_used_mb"] == npu_sim.HBM_IDLE_MB
    assert devices[3]["power_w"] > devices[5]["power_w"] > 90
    busy.kill()
    busy.wait()
    poll(lambda: look()["devices"][3]["aicore_pct"] == 0, "the dead process is still shown")


def test_children_of_a_worker_are_no_workers(node: Path, worker: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    mark, helper = tmp_path / "forked", tmp_path / "helper.py"
    helper.write_text(f"import sys\nopen({str(mark)!r}, 'w').close()\nsys.stdin.read()\n")
    parent = worker(0, f"import subprocess, sys\nsubprocess.Popen([sys.executable, {str(helper)!r}], stdin=subprocess.PIPE).wait()")
    poll(mark.exists, "the worker did not fork")
    assert [found.pid for found in npu_sim.workers_of(str(node))] == [parent.pid]


def test_key_value_queries(node: Path) -> None:
    usages = run(node, "npu-smi", "info", "-t", "usages", "-i", "7")
    assert "\tHBM Capacity(MB)               : 65536\n" in usages
    assert usages.endswith("\tChip ID                        : 0\n")
    assert run(node, "npu-smi", "info", "-l").count("NPU ID") == 8
    assert "\t7                              0                              7                              Ascend 910B3\n" in (
        run(node, "npu-smi", "info", "-m"))
    assert run(node, "npu-smi", "info", "-t", "health", "-i", "0", "-c", "0") == (
        "\tHealth Status                  : OK\n\tError Code                     : NA\n\tError Information              : NA\n")


def test_hccn_tool(node: Path) -> None:
    assert run(node, "hccn_tool", "-i", "2", "-link", "-g") == "link status: UP\n"
    assert run(node, "hccn_tool", "-i", "2", "-net_health", "-g") == "net health status: Success\n"
    assert run(node, "hccn_tool", "-i", "2", "-ip", "-g").startswith("ipaddr:192.168.1.12\n")


def test_state_file_changes_health_link_and_presence(node: Path) -> None:
    (node / npu_sim.STATE_FILE).write_text("health 1 Alarm\ncode 1 80E01801\nlink 2 DOWN\nlost 4 1\n")
    devices = npu_table.parse(run(node, "npu-smi", "info"))["devices"]
    assert [row["npu_id"] for row in devices] == [0, 1, 2, 3, 5, 6, 7]
    assert devices[1]["health"] == "Alarm"
    assert "80E01801" in run(node, "npu-smi", "info", "-t", "health", "-i", "1", "-c", "0")
    assert run(node, "hccn_tool", "-i", "2", "-link", "-g") == "link status: DOWN\n"
    assert run(node, "hccn_tool", "-i", "2", "-net_health", "-g") == "net health status: Fault\n"


def test_the_program_imports_nothing_heavy(node: Path) -> None:
    trace = subprocess.run([sys.executable, "-I", "-S", "-X", "importtime", npu_sim.__file__, "npu-smi", "-v"],
                           check=True, capture_output=True, text=True, env={"RANKDECK_SIM_NODE_DIR": str(node)}).stderr
    imported = {line.rsplit("|", 1)[1].strip() for line in trace.splitlines() if "|" in line}
    assert "time" in imported
    assert not imported & {"re", "json", "subprocess", "pathlib", "typing", "collections", "dataclasses", "site", "console"}


def test_tls_switch_and_ping_follow_the_link(tmp_path: Path) -> None:
    from agent.parse import hccn

    (tmp_path / npu_sim.STATE_FILE).write_text("link 1 DOWN\n")
    status, text = npu_sim.hccn_tool(["-i", "0", "-tls", "-g"], str(tmp_path))
    assert status == 0 and hccn.parse(text)["enabled"] is False
    for device, received in ((0, 3), (1, 0)):
        status, text = npu_sim.hccn_tool(["-i", str(device), "-ping", "-g", "address", "192.168.2.10"], str(tmp_path))
        found = hccn.parse(text)
        assert status == 0 and (found["kind"], found["address"], found["received"], len(found["replies"])) == ("ping", "192.168.2.10", received, received)
