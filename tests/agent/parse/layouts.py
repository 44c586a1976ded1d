"""Tables of ``npu-smi info`` in every layout there is, drawn from random values by the documented widths.

Written from the tool's printing code as the format notes describe it, not by the parser: what is drawn and what
was meant come out side by side.
"""

from __future__ import annotations

import random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple


class Layout(NamedTuple):
    """One release's table for one kind of chip."""

    name: str
    chip: str
    widths: Tuple[int, ...]
    version: str
    npus: Tuple[int, ...]
    chips: int = 1
    hbm: bool = True
    hugepages: bool = True
    phy_id: bool = False
    process_columns: int = 4
    power: bool = True
    bus: bool = True
    logical: bool = False
    """The 950's: NPU id and name in cells of their own, no chip id."""
    driver: Optional[str] = None


LAYOUTS = (
    Layout("310 21.0", "310", (22, 15, 39), "21.0.3.1", (0, 1), chips=4, hbm=False, hugepages=False, process_columns=0),
    Layout("910A 21.0", "910A", (22, 15, 45), "21.0.2", (0, 1, 2, 3), hugepages=False, process_columns=0),
    Layout("310P 22.0", "310P3", (27, 15, 48), "22.0.2", (1, 3), hbm=False, power=False, process_columns=0, driver="22.0.0"),
    Layout("310P 22.0 with processes", "310P3", (27, 15, 52), "22.0.4", (1, 3), chips=2, hbm=False, power=False),
    Layout("910ProB 23.0.rc1", "910ProB", (27, 15, 47), "23.0.rc1", (0, 1)),
    Layout("310 23.0", "310", (31, 17, 54), "23.0.2.1", (0,), chips=4, hbm=False),
    Layout("310P 24.1", "310P3", (31, 17, 54), "24.1.rc3", (4, 5, 2144), chips=2, hbm=False, power=False),
    Layout("310B 23.0", "310B4", (31, 17, 54), "23.0.rc3", (0,), hbm=False, bus=False, process_columns=0),
    Layout("910B 25.5", "910B3", (27, 15, 52), "25.5.1", tuple(range(8))),
    Layout("910B4-1 25.0", "910B4-1", (27, 15, 52), "25.0.rc1.2", (4, 5)),
    Layout("910B2C, a column wider", "910B2C", (27, 15, 53), "25.3.rc1", (0, 7)),
    Layout("A3 25.2", "Ascend910", (27, 15, 52), "25.2.0", tuple(range(8)), chips=2, phy_id=True),
    Layout("910B 26.0", "910B3", (33, 17, 62), "26.0.rc1", (0, 1), process_columns=5),
    Layout("A3 26.0", "Ascend910", (33, 17, 62), "26.0.rc2", (0, 1), chips=2, phy_id=True, process_columns=5),
    Layout("950 26.0", "950PR", (27, 15, 53), "26.0.rc1", (0, 1), logical=True),
    Layout("950 26.1", "950DT", (27, 15, 53), "26.1.0", (0, 1), logical=True, process_columns=5),
)


class Drawn(NamedTuple):
    """A table, and what stands in it."""

    text: str
    devices: List[Dict[str, Any]]
    processes: List[Dict[str, Any]]


def draw(layout: Layout, dice: random.Random) -> Drawn:
    """A table with values of the dice."""
    total = sum(layout.widths) + len(layout.widths) - 1
    head = (8, layout.widths[0] - 9, *layout.widths[1:]) if layout.logical else layout.widths
    lines = ["+" + "-" * total + "+", "|" + (" npu-smi %s" % layout.version).ljust(34) + ("Version: %s" % (layout.driver or layout.version)).ljust(total - 34) + "|",
             border(layout.widths, "-")]
    top = "Power(W)     Temp(C)" + ("           Hugepages-Usage(page)" if layout.hugepages else "")
    rest = "Memory-Usage(MB)" + ("  HBM-Usage(MB)" if layout.hbm else "")
    if layout.logical:
        lines += [row(head, ["NPU ID", "Name", "Health", top]), row(head, ["", "", "Bus-Id", "NPU Util(%) " + rest])]
    else:
        second = "Chip    Phy-ID" if layout.phy_id else "Chip" if layout.hbm else "Chip    Device"
        lines += [row(head, ["NPU     Name", "Health", top]), row(head, [second, "Bus-Id", "AICore(%)    " + rest])]
    lines.append(border(head, "="))
    devices = []
    for npu in layout.npus:
        for chip in range(layout.chips):
            device = _device(layout, dice, npu, chip)
            devices.append(device)
            lines += _rows(layout, head, device, chip, dice)
            if chip + 1 < layout.chips:
                lines.append("+" + "-" * total + "+" if layout.hbm else border(layout.widths, "-"))
        lines.append(border(head, "="))
    processes: List[Dict[str, Any]] = []
    if layout.process_columns:
        lines += _process_table(layout, dice, total, processes)
    return Drawn("\n".join(lines) + "\n", devices, processes)


def border(widths: Sequence[int], mark: str) -> str:
    return "+" + "+".join(mark * width for width in widths) + "+"


def row(widths: Sequence[int], cells: Sequence[str]) -> str:
    return "|" + "|".join((" " + cell).ljust(width) for cell, width in zip(cells, widths)) + "|"


def _device(layout: Layout, dice: random.Random, npu: int, chip: int) -> Dict[str, Any]:
    power = layout.power and not (layout.phy_id and chip == 1)
    rate = dice.randint(0, 100)
    return {"npu_id": npu, "chip_id": None if layout.logical else chip, "phy_id": 2 * npu + chip if layout.phy_id else None, "name": layout.chip,
            "health": dice.choice(["OK", "OK", "Warning", "Alarm", "Critical", "UNKNOWN"]), "power_w": round(dice.uniform(0, 400), 1) if power else None,
            "temperature_c": dice.randint(0, 110), "aicore_pct": None if layout.logical else rate, "npu_pct": rate if layout.logical else None,
            "bus_id": dice.choice(["0000:%02X:00.0" % dice.randint(0, 255), "0001:C1:1F.1"]) if layout.bus else None,
            "memory_used_mb": dice.choice([0, 3171]), "memory_total_mb": dice.choice([0, 15171, 131072]),
            "hbm_used_mb": dice.choice([0, 59356, 131072]) if layout.hbm else None, "hbm_total_mb": dice.choice([32768, 131072]) if layout.hbm else None,
            "hugepages_used": dice.choice([0, 15, 12345]) if layout.hugepages else None, "hugepages_total": dice.choice([0, 123456]) if layout.hugepages else None}


def _rows(layout: Layout, widths: Sequence[int], device: Dict[str, Any], chip: int, dice: random.Random) -> List[str]:
    power = "%.1f" % device["power_w"] if device["power_w"] is not None else "-" if layout.phy_id else "NA"
    huge = "%-5d/ %d" % (device["hugepages_used"], device["hugepages_total"]) if layout.hugepages else ""
    top = ("%-11s %-17d %s" % (power, device["temperature_c"], huge)).rstrip()
    rate = device["npu_pct"] if layout.logical else device["aicore_pct"]
    rest = "%-11d %-5d/ %-13d" % (rate, device["memory_used_mb"], device["memory_total_mb"])
    rest += "%-5d/ %d" % (device["hbm_used_mb"], device["hbm_total_mb"]) if layout.hbm else ""
    bus = device["bus_id"] or "NA"
    if layout.logical:
        return [row(widths, [str(device["npu_id"]), layout.chip, device["health"], top]), row(widths, ["", "", bus, rest.rstrip()])]
    beside = " %d" % device["phy_id"] if layout.phy_id else "" if layout.hbm else " %d" % dice.randint(0, 15)
    return [row(widths, ["%-7d %s" % (device["npu_id"], layout.chip), device["health"], top]), row(widths, ["%-7d%s" % (chip, beside), bus, rest.rstrip()])]


def _process_table(layout: Layout, dice: random.Random, total: int, processes: List[Dict[str, Any]]) -> List[str]:
    five = layout.process_columns == 5
    widths = (17, 15, 26, 22, max(26, total - 84)) if five else (27, 15, 26, total - 71)
    titles = ["NPU ID" if layout.logical else "NPU     Chip", "Process id", "Process name", "Process memory(MB)"] + (["Process id in container"] if five else [])
    lines = [border(widths, "-"), row(widths, titles), border(widths, "=")]
    for npu in layout.npus:
        count = dice.choice([0, 1, 2, 3])
        if not count:
            lines.append("|" + (" No running processes found in NPU %-7d" % npu).ljust(sum(widths) + len(widths) - 1) + "|")
        for _ in range(count):
            chip = dice.randrange(layout.chips)
            process = {"npu_id": npu, "chip_id": None if layout.logical else chip, "pid": dice.randint(1, 4194304),
                       "pid_in_container": dice.choice([None, dice.randint(1, 99999)]) if five else None,
                       "name": dice.choice(["python", "python3.9", "VLLMWorker_TP", "", "my job|x", "训练"]), "memory_mb": dice.randint(0, 131072)}
            processes.append(process)
            lines.append(row(widths, ["%d" % npu if layout.logical else "%-7d %d" % (npu, chip), str(process["pid"]), str(process["name"]), str(process["memory_mb"])]
                             + ([str(process["pid_in_container"] or "NA")] if five else [])))
        lines.append(border(widths, "="))
    return lines


def surroundings(text: str) -> Dict[str, str]:
    """How a capture comes to us: what it was copied with and from. Nothing in it changes what the text says."""
    lines = text.splitlines()
    return {
        "plain": text, "windows": text.replace("\n", "\r\n"), "byte order mark": "\ufeff" + text,
        "prompts": "[root@node1 ~]# npu-smi info | tee out\n" + text + "[root@node1 ~]# \n",
        "other prompts": "(base) ops@node1:~$ hostname; date\nnode1\nSun Nov 22 05:10:01 UTC 2026\n(base) ops@node1:~$ " + "\n" + text + "(base) ops@node1:~$ ls | head\na.txt\n",
        "colours": "\x1b[?2004l" + "".join("\x1b[32m%s\x1b[0m\n" % line for line in lines),
        "watch": "Every 2.0s: npu-smi info                node1: Sun Nov 22 05:10:01 2026\n\n" + text,
        "a page": "```\n" + text + "```\n", "set in": "".join("    %s\n" % line for line in lines), "tabs": "".join("\t%s\n" % line for line in lines),
        "chinese": "以下是节点一的输出：\n" + text + "如上所示，一切正常。\n",
        "the driver's words": "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n" + text,
        "script": "Script started on 2026-11-22 05:10:01+00:00\n$ npu-smi info\r\n" + text.replace("\n", "\r\n") + "$ exit\r\n\nScript done on 2026-11-22 05:10:10+00:00\n",
    }
