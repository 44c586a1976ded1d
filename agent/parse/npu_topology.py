"""``npu-smi info -t topo``: how NPUs are connected to each other, and to which processor cores.

Owns the matrix. Refuses to read the legend below it. Never raises. Source: captures of 910B and 950::

               NPU0       NPU1       NIC0       CPU Affinity
    NPU0       X          HCCS       NA         144-167
    NPU1       HCCS       X          NA         0-63,128-191
    NIC0       NA         NA         X
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from agent.parse import values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 4000

LINKS = ("X", "HCCS", "SYS", "PHB", "PIX", "PXB", "SIO", "UB", "HCCS_SW", "NA")
_LABEL = re.compile(r"^(?:NPU|Phy-ID|NIC)[0-9]{1,5}$")
_CORES = re.compile(r"^[0-9]{1,5}(?:-[0-9]{1,5})?(?:,[0-9]{1,5}(?:-[0-9]{1,5})?)*$")


def parse(text: str) -> Dict[str, Any]:
    """{complete, columns, links, cpus}.

    ``columns``: the labels in order (``NPU0``, on A3 ``Phy-ID0``, network cards ``NIC0``). ``links``: {row
    label: [link to each column]}, None for ``NA`` and unreadable. ``cpus``: {label: core list as printed}.
    """
    columns: List[str] = []
    links: Dict[str, List[Optional[str]]] = {}
    cpus: Dict[str, str] = {}
    lines, rest = values.whole_lines(text)
    sound = not rest.strip()
    for raw in lines:
        cells = clean(raw[:LINE_LIMIT]).split()
        if not cells or not _LABEL.match(cells[0]):
            continue
        if not columns:
            columns = [cell for cell in cells if _LABEL.match(cell)]
            continue
        if len(cells) < len(columns) + 1 or len(cells) > len(columns) + 2:
            sound = False
            continue
        row = cells[1:len(columns) + 1]
        sound = sound and all(cell in LINKS for cell in row)
        links[cells[0]] = [cell if cell in LINKS and cell != "NA" else None for cell in row]
        if len(cells) == len(columns) + 2 and _CORES.match(cells[-1]):
            cpus[cells[0]] = cells[-1]
    return {"complete": bool(sound and columns and list(links) == columns), "columns": columns, "links": links, "cpus": cpus}


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether there was such a matrix."""
    return bool(parsed["links"])
