"""``npu-smi info watch``: one row per chip and interval, for ever.

Owns rows under a title line whose columns depend on hardware and ``-s``. Refuses to add times the tool does
not print. Never raises. Source: hicann/driver, npu_info_watch.c (columns of 12), and captures::

    NpuID(Idx)  ChipId(Idx) Pwr(W)      Temp(C)     AI Core(%)  AI Cpu(%)   Ctrl Cpu(%) Memory(%)   Memory BW(%)
    2           0           90.1        34          0           0           2           5           0
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from agent.parse import values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 2000

_TITLE = re.compile(r"[A-Za-z]+(?: [A-Za-z]+){0,3}\([^()\s]{1,5}\)")
_FIELDS = {"NpuID(Idx)": "npu_id", "ChipId(Idx)": "chip_id", "Pwr(W)": "power_w", "Temp(C)": "temperature_c",
           "AI Core(%)": "aicore_pct", "AI Cpu(%)": "aicpu_pct", "Ctrl Cpu(%)": "ctrlcpu_pct",
           "Memory(%)": "memory_pct", "Memory BW(%)": "memory_bandwidth_pct", "NPU Util(%)": "npu_pct",
           "AI Cube(%)": "aicube_pct"}


def parse(text: str) -> Dict[str, Any]:
    """{complete, rows}: each row has the printed columns' fields; an unfinished last row is left out."""
    titles: Optional[List[Optional[str]]] = None
    rows: List[Dict[str, Any]] = []
    lines, rest = values.whole_lines(text)
    sound = not rest.strip()
    for raw in lines:
        line = clean(raw[:LINE_LIMIT]).strip()
        if line.startswith("NpuID(Idx)"):
            titles = [_FIELDS.get(title) for title in _TITLE.findall(line)]
        elif titles is not None and line:
            cells = line.split()
            if 2 * sum(values.number(cell) is not None for cell in cells) < len(titles) - sum(cell.lower() in values.ABSENT for cell in cells):
                continue  # a prompt, or a sentence: no row however damaged
            if len(cells) != len(titles) or values.whole(cells[0]) is None:
                sound = False
                continue
            rows.append({title: values.number(cell) for title, cell in zip(titles, cells) if title is not None})
    return {"complete": bool(sound and rows), "rows": rows}


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether there was such a table."""
    return bool(parsed["rows"])
