"""``npu-smi info -m``: which NPU id and chip id is which logical and physical device.

Owns the table by its titles: A2 prints NPU, chip, logic id and a name of two words; A3 adds the physical id;
the 950 prints slot and physical id and no logic id. Refuses to compute ids that were not printed. Never
raises. Source: hicann/driver (columns of 30) and captures; cells are parted by two blanks or more::

    NPU ID                         Chip ID                        Chip Logic ID                  Chip Name
    0                              0                              0                              Ascend 910B3
    0                              1                              -                              Mcu
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from agent.parse import values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 2000

_FIELDS = {"npu id": "npu_id", "chip id": "chip_id", "chip logic id": "logic_id", "chip phy-id": "phy_id",
           "slot id": "slot_id", "chip name": "name"}


def parse(text: str) -> Dict[str, Any]:
    """{complete, devices}: devices [{npu_id, chip_id, logic_id, phy_id, slot_id, name}], MCU rows left out.

    ``complete`` is False where a row could not be read or there is none.
    """
    titles: Optional[List[Optional[str]]] = None
    devices: List[Dict[str, Any]] = []
    lines, rest = values.whole_lines(text)
    sound = not rest.strip()
    for raw in lines:
        line = clean(raw[:LINE_LIMIT]).strip()
        cells = re.split(r"\s{2,}|\t", line) if line else []
        if titles is None:
            if len(cells) >= 3 and cells[0].lower() == "npu id":
                titles = [_FIELDS.get(cell.lower()) for cell in cells]
            continue
        if len(cells) < 2:
            continue  # a prompt, or a sentence: no row however damaged
        if len(cells) != len(titles) or values.whole(cells[0]) is None:
            sound = False
            continue
        row: Dict[str, Any] = dict.fromkeys(_FIELDS.values())
        for title, cell in zip(titles, cells):
            if title is not None:
                row[title] = values.text(cell) if title == "name" else values.whole(cell)
        if any(cell.lower() == "mcu" for cell in cells):
            continue
        sound = sound and row["chip_id"] is not None
        devices.append(row)
    return {"complete": bool(sound and devices), "devices": devices}


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether there was such a table."""
    return bool(parsed["devices"])
