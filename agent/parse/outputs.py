"""Which of the known tools printed this text, and what it says in the one shape users are promised.

Owns the order of asking, and the joining of the parsers' own shapes into the document of
``rankdeck inspect npu`` (DESIGN section 8). Refuses to guess where nothing fits. Never raises.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional

from agent.parse import hccn_many, npu_keyvalue, npu_mapping, npu_table, npu_topology, npu_watch, values
from agent.parse.text import clean

# "[root@node1 ~]#", "(base) ops@node1:~$": the last line of what was copied from a terminal.
_PROMPT = re.compile(r"^(?:\([\w.-]+\) ?)?(?:\[[^\]|]{1,80}\]|[\w.-]+@[\w.-]+:[^|]{0,80}?)? ?[#$%>]$")
# What stands before every line where an output was passed on: "node-1: " (pdsh, ansible), "> " (a mail), the time of
# a container's log (with the stream behind it), torchrun's "[default0]:", a number (cat -n).
_NODE = re.compile(r"[A-Za-z][\w.-]{0,63}: ?")
_PASSED_ON = (_NODE, re.compile(r"> ?"), re.compile(r"\[[a-z]+\d+\]: ?"), re.compile(r" {0,8}\d{1,6}(?:\t|(?=\s*\Z))"),
              re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,18}(?:Z|[+-]\d\d:\d\d) ?(?:std(?:out|err) [FP] ?)?"))
# "node1 | CHANGED | rc=0 >>": ansible's line above the output, which looks like a row of a table
_ANSIBLE = re.compile(r"(?m)^[\w.-]{1,64} \| [A-Z]+!? \| rc=\d{1,3} >>[ \t]*\r?\n")
# Field of a device <- what the -t types call it. The rest of a type's values stay in its own shape.
_FROM_VALUES = {"health": "health", "power_w": "power_w", "temperature_c": "temperature_c", "aicore_pct": "aicore_pct",
                "bus_id": "pcie_bus_info", "memory_total_mb": "ddr_total_mb", "hbm_total_mb": "hbm_total_mb",
                "npu_pct": "npu_pct"}


def document(text: str) -> Optional[Dict[str, Any]]:
    """The document of ``rankdeck inspect npu`` for any known output; None where no parser knows the text.

    Its keys are those of ``npu_table.parse``, and ``output``: ``table``, ``mapping``, ``watch``, ``topo``,
    ``npu-`` and the -t type (``npu-usages``), or ``hccn-`` and the option (``hccn-link``). For all but the
    table, ``details`` holds what that output says in its own shape; where several outputs of hccn_tool stand in
    one text, those of the first, and all of them as ``outputs``.
    """
    text = text.lstrip("\ufeff")    # what some editors put before a file's first line
    if text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
            return None    # a document of some program's, this one's too
        except (ValueError, RecursionError):
            pass
    text = _ANSIBLE.sub("", _bare(text)) if "rc=" in text else _bare(text)
    rest = values.whole_lines(text)[1]
    if rest.strip() and _ended(text):    # a prompt
        text = text[:len(text) - len(rest)]
    table = npu_table.parse(text)
    if table["devices"] or table["processes"] or table["tool_version"]:
        return dict(table, output="table")
    watch = npu_watch.parse(text)
    if npu_watch.recognised(watch):
        latest = {(row.get("npu_id"), row.get("chip_id")): row for row in watch["rows"]}
        return _document("watch", watch, [_device(row) for row in latest.values()], watch["complete"])
    mapping = npu_mapping.parse(text)
    if npu_mapping.recognised(mapping):
        return _document("mapping", mapping, [_device(row) for row in mapping["devices"]], mapping["complete"])
    topology = npu_topology.parse(text)
    if npu_topology.recognised(topology):
        return _document("topo", topology, [], topology["complete"])
    networks = hccn_many.parse(text)
    if networks:
        # A line without its end is no reading; a prompt is none either.
        whole = _ended(text) and all(one["kind"] is not None and one.get("complete", True) for one in networks)
        first = next(one for one in networks if one["kind"] is not None)
        details = dict(first, outputs=networks) if len(networks) > 1 else first
        return _document("hccn-" + first["kind"], details, [], whole)
    blocks = npu_keyvalue.parse(text)
    if npu_keyvalue.recognised(blocks):
        return _blocks(blocks)
    if npu_table.recognised(table):
        return dict(table, output="table")
    networks = hccn_many.parse(text + "\n") if not text.endswith("\n") else []
    if len(networks) != 1:
        return None
    # All there is has no end: it tells what was asked for, and no value.
    return _document("hccn-" + networks[0]["kind"], {name: value if name == "kind" else None for name, value in networks[0].items()}, [], False)


def _bare(text: str) -> str:
    """The text without what was put before every line of it, or blank between any two, in passing it on; else as it is."""
    lines = text.splitlines(True)
    if len(lines) >= 6 and not "".join(lines[1::2]).strip():
        lines = lines[::2]
    written = [line for line in lines if line.strip()]
    for pattern in _PASSED_ON if len(written) > 1 else ():
        if all(pattern.match(line) for line in written):
            bare = [pattern.sub("", line, count=1) for line in lines]
            if pattern is not _NODE or _one_node(written, bare):
                return "".join(bare)
    return "".join(lines)


def _one_node(written: List[str], bare: List[str]) -> bool:
    """Whether the word before every line is a node's name: the same throughout, and no key of what stands behind it."""
    words = {line.partition(":")[0] for line in written}
    return len(words) == 1 and not words & {"ipaddr", "netmask"} and (
        any(character in "-.0123456789" for character in "".join(words)) or any(":" in line or "|" in line or "  " in line.strip() for line in bare))


def _ended(text: str) -> bool:
    """Whether the text's last line has its end, or is only the prompt of a shell."""
    rest = values.whole_lines(text)[1].strip()
    return not rest or bool(_PROMPT.match(clean(rest[:200])))


def _blocks(blocks: Dict[str, Any]) -> Dict[str, Any]:
    devices: List[Dict[str, Any]] = []
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
            devices.append(device)
        for process in chip["processes"] or []:
            row: Dict[str, Any] = dict.fromkeys(npu_table.PROCESS_FIELDS)
            row.update(process, npu_id=chip["npu_id"], chip_id=chip["chip_id"])
            processes.append(row)
    seen = {device["npu_id"] for device in devices}
    devices += [_device({"npu_id": npu_id}) for npu_id in sorted({chip["npu_id"] for chip in blocks["chips"] if chip["npu_id"] is not None} - seen)]
    told = blocks["total"] is None or blocks["total"] == len(devices)
    found = _document("npu-" + blocks["kind"], blocks, devices, told and not blocks["cut"] and not any(error["code"] for error in blocks["errors"]))
    return dict(found, processes=processes, errors=blocks["errors"], tool_version=version)


def _device(row: Dict[str, Any]) -> Dict[str, Any]:
    return {name: row.get(name) for name in npu_table.DEVICE_FIELDS}


def _document(output: str, details: Dict[str, Any], devices: List[Dict[str, Any]], complete: bool) -> Dict[str, Any]:
    return {"tool_version": None, "driver_version": None, "complete": complete, "devices": devices, "processes": [],
            "errors": [], "output": output, "details": details}
