"""Which of the known tools printed this text, and what it says in the one shape users are promised.

Owns the order of asking, and the joining of the parsers' own shapes into the document of
``rankdeck inspect npu`` (DESIGN section 8). Refuses to guess where nothing fits. Never raises.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional

from agent.parse import hccn_many, npu_keyvalue, npu_mapping, npu_table, npu_topology, npu_watch, passed_on, values
from agent.parse.text import clean

# "[root@node1 ~]#", "(base) ops@node1:~$": the last line of what was copied from a terminal.
_PROMPT = re.compile(r"^(?:\([\w.-]+\) ?)?(?:\[[^\]|]{1,80}\]|[\w.-]+@[\w.-]+:[^|]{0,80}?)? ?[#$%>]$")
# Field of a device <- what the -t types call it. The rest of a type's values stay in its own shape.
_FROM_VALUES = {"health": "health", "power_w": "power_w", "temperature_c": "temperature_c", "aicore_pct": "aicore_pct",
                "bus_id": "pcie_bus_info", "memory_total_mb": "ddr_total_mb", "hbm_total_mb": "hbm_total_mb",
                "npu_pct": "npu_pct"}


def document(text: str) -> Optional[Dict[str, Any]]:
    """The document of ``rankdeck inspect npu`` for any known output; None where no parser knows the text.

    Its keys are those of ``npu_table.parse``, and ``output``: ``table``, ``mapping``, ``watch``, ``topo``,
    ``npu-`` and the -t type (``npu-usages``), or ``hccn-`` and the option (``hccn-link``). For all but the
    table, ``details`` holds what that output says in its own shape; where several outputs of hccn_tool stand in
    one text, those of the first, and all of them as ``outputs``. ``hccn-error``: hccn_tool said why it has no output.
    """
    text = text.lstrip("\ufeff")    # what some editors put before a file's first line
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
            return None    # a document of some program's, this one's too
        except (ValueError, RecursionError):
            pass
    bare = passed_on.bare(text)
    found = _document_of(bare)
    if found is None:
        line = passed_on.of_one_line(bare)
        found = _document_of(line) if line is not None else None
    return found


def _document_of(text: str) -> Optional[Dict[str, Any]]:
    rest = values.whole_lines(text)[1]
    if rest.strip() and _ended(text):    # a prompt
        text = text[:len(text) - len(rest)]
    table = npu_table.parse(passed_on.unwrapped(text))
    if table["devices"] or table["processes"] or table["tool_version"]:
        return dict(table, output="table")
    unfolded = passed_on.unfolded(text)
    watch = npu_watch.parse(unfolded)
    if npu_watch.recognised(watch):
        latest = {(row.get("npu_id"), row.get("chip_id")): row for row in watch["rows"]}
        return _document("watch", watch, [_device(row) for row in latest.values()], watch["complete"])
    mapping = npu_mapping.parse(unfolded)
    if npu_mapping.recognised(mapping):
        return _document("mapping", mapping, [_device(row) for row in mapping["devices"]], mapping["complete"])
    topology = npu_topology.parse(unfolded)
    if npu_topology.recognised(topology):
        return _document("topo", topology, [], topology["complete"])
    networks = hccn_many.parse(text)
    refused = hccn_many.errors(text)
    if networks:
        # A line without its end is no reading; a prompt is none either. What a ping could not reach is a reading.
        whole = _ended(text) and all(one["kind"] is not None and one.get("complete", True) for one in networks)
        first = next(one for one in networks if one["kind"] is not None)
        details = dict(first, outputs=networks) if len(networks) > 1 else first
        return dict(_document("hccn-" + first["kind"], details, [], whole and (not refused or all(one["kind"] == "ping" for one in networks))), errors=refused)
    blocks = npu_keyvalue.parse(text)
    if npu_keyvalue.recognised(blocks):
        return _blocks(blocks)
    if refused:
        return dict(_document("hccn-error", {"kind": None, "device": None}, [], False), errors=refused)
    if npu_table.recognised(table) or npu_table.mentioned(text):
        return dict(table, output="table")
    networks = hccn_many.parse(text + "\n") if not text.endswith("\n") else []
    if len(networks) != 1:
        return None
    # All there is has no end: it tells what was asked for, and no value.
    return _document("hccn-" + networks[0]["kind"], {name: value if name == "kind" else None for name, value in networks[0].items()}, [], False)


def _ended(text: str) -> bool:
    """Whether the text's last line has its end, or is only the prompt of a shell."""
    rest = values.whole_lines(text)[1].strip()
    return not rest or bool(_PROMPT.match(clean(rest[:200])))


def _blocks(blocks: Dict[str, Any]) -> Dict[str, Any]:
    devices: List[Dict[str, Any]] = []
    known: Dict[Any, Dict[str, Any]] = {}
    processes: List[Dict[str, Any]] = []
    version = None
    for chip in blocks["chips"]:
        version = version or chip["values"].get("npu_smi_version")
        if chip["mcu"]:
            continue
        printed = {field: chip["values"].get(name) for field, name in _FROM_VALUES.items()}
        if printed["power_w"] is None:
            printed["power_w"] = chip["values"].get("power_dissipation_w")    # the 310B's word for the same
        device = _device(dict(printed, npu_id=chip["npu_id"], chip_id=chip["chip_id"]))
        if any(value is not None for value in device.values()):
            # Several -t types may stand in one text: what a later one says besides joins the chip's row.
            key = (chip["npu_id"], chip["chip_id"]) if None not in (chip["npu_id"], chip["chip_id"]) else len(devices)
            if key in known:
                known[key].update({name: value for name, value in device.items() if known[key][name] is None})
            else:
                devices.append(device)
                known[key] = device
        for process in chip["processes"] or []:
            row: Dict[str, Any] = dict.fromkeys(npu_table.PROCESS_FIELDS)
            row.update(process, npu_id=chip["npu_id"], chip_id=chip["chip_id"])
            processes.append(row)
    seen = {device["npu_id"] for device in devices}
    devices += [_device({"npu_id": npu_id}) for npu_id in sorted({chip["npu_id"] for chip in blocks["chips"] if chip["npu_id"] is not None} - seen)]
    told = (blocks["total"] is None and blocks["kind"] != "list") or blocks["total"] == len(devices)
    found = _document("npu-" + blocks["kind"], blocks, devices, told and not blocks["cut"] and not any(error["code"] for error in blocks["errors"]))
    return dict(found, processes=processes, errors=blocks["errors"], tool_version=version)


def _device(row: Dict[str, Any]) -> Dict[str, Any]:
    return {name: row.get(name) for name in npu_table.DEVICE_FIELDS}


def _document(output: str, details: Dict[str, Any], devices: List[Dict[str, Any]], complete: bool) -> Dict[str, Any]:
    return {"tool_version": None, "driver_version": None, "complete": complete, "devices": devices, "processes": [],
            "errors": [], "output": output, "details": details}
