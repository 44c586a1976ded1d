"""The outputs that are plain tables: info -m, info watch, -t topo; and telling which output a text is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import pytest

from agent.parse import npu_mapping, npu_table, npu_topology, npu_watch, outputs

FIXTURES = Path(__file__).parent / "fixtures" / "npu_table"


def columns(*rows: List[str]) -> str:
    return "".join("\t" + "".join("%-31s" % cell for cell in row) + "\n" for row in rows)


A2 = columns(["NPU ID", "Chip ID", "Chip Logic ID", "Chip Name"], ["0", "0", "0", "Ascend 910B3"], ["0", "1", "-", "Mcu"], ["4", "0", "1", "Ascend 910B3"])
A3 = columns(["NPU ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID", "Chip Name"], ["1", "1", "3", "3", "Ascend910"], ["1", "2", "-", "-", "Mcu"])
A5 = "NPU ID          Slot ID          Chip ID          Chip Phy-ID          Chip Name\n2               1                0                5                    950PR\n"
WATCH = ("NpuID(Idx)  ChipId(Idx) Pwr(W)      Temp(C)     AI Core(%)  AI Cpu(%)   Ctrl Cpu(%) Memory(%)   Memory BW(%)\n"
         "2           0           90.1        34          0           0           2           5           0           \n"
         "2           1           -           34          7           0           2           5           NA          \n")
TOPO = ("\t   NPU0       NPU1       NIC0       CPU Affinity\nNPU0       X          HCCS       NA         144-167\nNPU1       HCCS       X          PHB        0-63,128-191\n"
        "NIC0       NA         PHB        X\n\nNIC0: eth3\n\nLegend:\n\n  X    = Self\n  PHB  = Path\n")


def test_mapping() -> None:
    parsed = npu_mapping.parse(A2)
    assert [(row["npu_id"], row["chip_id"], row["logic_id"], row["phy_id"], row["name"]) for row in parsed["devices"]] == [
        (0, 0, 0, None, "Ascend 910B3"), (4, 0, 1, None, "Ascend 910B3")]
    assert parsed["complete"] is True
    assert [(row["npu_id"], row["chip_id"], row["logic_id"], row["phy_id"]) for row in npu_mapping.parse(A3)["devices"]] == [(1, 1, 3, 3)]
    assert npu_mapping.parse(A5)["devices"] == [{"npu_id": 2, "chip_id": 0, "logic_id": None, "phy_id": 5, "slot_id": 1, "name": "950PR"}]


def test_watch() -> None:
    parsed = npu_watch.parse(WATCH)
    assert parsed["complete"] is True
    assert parsed["rows"][0] == {"npu_id": 2, "chip_id": 0, "power_w": 90.1, "temperature_c": 34, "aicore_pct": 0, "aicpu_pct": 0,
                                 "ctrlcpu_pct": 2, "memory_pct": 5, "memory_bandwidth_pct": 0}
    assert (parsed["rows"][1]["power_w"], parsed["rows"][1]["memory_bandwidth_pct"]) == (None, None)
    cut = npu_watch.parse(WATCH[:-30])
    assert (cut["complete"], len(cut["rows"])) == (False, 1)
    assert npu_watch.parse("NpuID(Idx)  AI Core(%)\n0           9\n")["rows"] == [{"npu_id": 0, "aicore_pct": 9}]


def test_topology() -> None:
    parsed = npu_topology.parse(TOPO)
    assert parsed == {"complete": True, "columns": ["NPU0", "NPU1", "NIC0"], "cpus": {"NPU0": "144-167", "NPU1": "0-63,128-191"},
                      "links": {"NPU0": ["X", "HCCS", None], "NPU1": ["HCCS", "X", "PHB"], "NIC0": [None, "PHB", "X"]}}
    assert npu_topology.parse("\n".join(line for line in TOPO.splitlines() if not line.startswith("NPU1")))["complete"] is False


@pytest.mark.parametrize("text, output, devices", [
    (A2, "mapping", 2), (WATCH, "watch", 2), (TOPO, "topo", 0), ("link status: UP\n", "hccn-link", 0),
    ("\tNPU ID : 0\n\tNPU Real-time Power(W) : 103.5\n\tChip ID : 0\n", "npu-power", 1),
    ("dcmi module initialize failed. ret is -8005\n", "table", 0), ((FIXTURES / "a3-25.2.0.txt").read_text(encoding="utf-8"), "table", 2),
])
def test_an_output_is_told_by_its_text(text: str, output: str, devices: int) -> None:
    found = outputs.document(text)
    assert found is not None
    assert (found["output"], len(found["devices"])) == (output, devices)
    assert set(npu_table.parse("")) <= set(found)
    for device in found["devices"]:
        assert set(device) == set(npu_table.DEVICE_FIELDS)
    json.dumps(found, allow_nan=False)


def test_what_is_none_of_them() -> None:
    for text in ("", "hello", "Usage: npu-smi info <watch|proc|-h>\n", "key : value\n"):
        assert outputs.document(text) is None


# Where the text prints more than the null that was fed, the printed value is right (A3: power of chip 1).
PRINTED = {"sub_a3_common.txt", "sub_a3_power.txt"}


def test_runs_of_the_real_tools_code(corpus: Path) -> None:
    checked = 0
    for path in sorted((corpus / "npu-smi" / "tool-runs").glob("*.txt")):
        fed: Dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        found = outputs.document(path.read_text(encoding="utf-8", errors="replace"))
        if path.name == "cli_help.txt":
            assert found is None
            continue
        assert found is not None, path.name
        for kind in ("devices", "processes"):
            assert len(found[kind]) == len(fed[kind]), path.name
            for row, want in zip(found[kind], fed[kind]):
                for name, value in want.items():
                    assert row[name] == value or (value is None and path.name in PRINTED), (path.name, name, row[name], value)
                    checked += 1
    assert checked > 3000
