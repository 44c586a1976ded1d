"""The boxes that ``hccn_tool`` of the 950 draws: ports, interfaces, rates, one row each.

Owns a box by its titles. Refuses to judge and to raise; a row that has not the titles' number of cells is left
out, and ``sound`` says so. Source: the 950's hccn_tool pages (dev_info, speed, fec)::

    +---------+---------+---------------------+-----------+-------------+------------+
    | UDie ID | Port ID | Speed Ability(Gbps) | Port Type | Link Status | Media Type |
    +---------+---------+---------------------+-----------+-------------+------------+
    | 0       | 4       | 400                 | UB        | UP          | Electrical |
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional

from agent.parse import values

_BORDER = re.compile(r"^\+(?:-+\+)+$")
_FIELDS = {"udie id": "udie", "udie": "udie", "port id": "port", "port": "port", "npu": "device", "speed ability(gbps)": "speed_gbps",
           "speed": "speed_gbps", "port type": "type", "link status": "link", "media type": "media", "rs_mode": "mode"}
_NUMBERS = ("udie", "port", "device", "speed_gbps")


class Box(NamedTuple):
    """One box."""

    titles: List[str]
    rows: List[List[str]]
    sound: bool


def boxes(lines: List[str]) -> List[Box]:
    """All boxes in the lines; the titles are the row between the first two borders."""
    found: List[Box] = []
    rows: List[List[str]] = []
    titles: Optional[List[str]] = None
    sound, open_box, closed = True, False, False
    for line in lines:
        text = line.strip()
        if _BORDER.match(text):
            if not open_box:
                titles, rows, sound, open_box = None, [], True, True
            closed = True
        elif text.startswith("|") and open_box:
            cells = [cell.strip() for cell in text.strip("|").split("|")] if text.endswith("|") else []
            if titles is not None and closed and cells and cells[0].lower() in ("udie id", "interface name", "name", "npu", "lane"):
                found.append(Box(titles, rows, sound))    # the border between two boxes may be drawn once
                titles, rows, sound = None, [], True
            if titles is None:
                titles = cells
            elif len(cells) == len(titles):
                rows.append(cells)
            else:
                sound = False
            closed = False
        elif open_box:
            if titles is not None:
                found.append(Box(titles, rows, sound and closed))
            open_box = False
    if open_box and titles is not None:
        found.append(Box(titles, rows, sound and closed))
    return found


def ports(box: Box) -> List[Dict[str, Any]]:
    """A box of ports as mappings with this module's field names; numbers are ints, what is not there None."""
    found = []
    for row in box.rows:
        port: Dict[str, Any] = {}
        for title, cell in zip(box.titles, row):
            name = _FIELDS.get(title.lower(), values.field(title))
            port[name] = values.whole(cell.partition(" ")[0]) if name in _NUMBERS else values.text(cell)
        found.append(port)
    return found


def dev_info(lines: List[str]) -> Optional[Dict[str, Any]]:
    """``-dev_info``: {ports, interfaces: [{name, addresses, netmasks}], eids: {name: [eid]}, complete}."""
    result: Dict[str, Any] = {"ports": [], "interfaces": [], "eids": {}}
    sound = True
    for box in boxes(lines):
        titles = [title.lower() for title in box.titles]
        sound = sound and box.sound
        if titles[:2] == ["udie id", "port id"]:
            result["ports"] = ports(box)
        elif titles[:3] == ["interface name", "ip address", "netmask"]:
            for row in box.rows:
                if row[0]:
                    result["interfaces"].append({"name": row[0], "addresses": [], "netmasks": []})
                if result["interfaces"] and values.text(row[1]):
                    result["interfaces"][-1]["addresses"].append(row[1])
                    result["interfaces"][-1]["netmasks"].append(values.text(row[2]))
        elif titles[:1] == ["name"] and "eid" in titles:
            name = ""
            for row in box.rows:
                name = row[0] or name
                if name and values.text(row[titles.index("eid")]):
                    result["eids"].setdefault(name, []).append(row[titles.index("eid")])
    return dict(result, complete=sound and bool(result["ports"]))


def rates(lines: List[str]) -> Optional[Dict[str, Any]]:
    """``-speed`` of the 950: {speed_mb_s, ports, complete}; the rate is one only where all ports have the same."""
    found = boxes(lines)
    rows = ports(found[0]) if found else []
    speeds = {row.get("speed_gbps") for row in rows}
    same = speeds.pop() if len(speeds) == 1 else None
    return {"speed_mb_s": same * 1000 if same is not None else None, "ports": rows, "complete": bool(found and found[0].sound and rows)}


def modes(lines: List[str]) -> Optional[Dict[str, Any]]:
    """``-fec`` of the 950: {mode, ports, complete}."""
    found = boxes(lines)
    rows = ports(found[0]) if found else []
    kinds = {row.get("mode") for row in rows}
    return {"mode": kinds.pop() if len(kinds) == 1 else None, "ports": rows, "complete": bool(found and found[0].sound and rows)}
