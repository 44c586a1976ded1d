"""``npu-smi info -l`` and ``-t TYPE``: lists of ``key : value``, one block a chip.

Owns the block order, which is a trap: ``-t common``, ``power`` and ``health`` print ``Chip ID`` before the
values, ``usages``, ``ecc``, ``temp``, ``memory`` and ``proc-mem`` after them; a block of the board's MCU
follows, and with ``-c`` there are no ids at all. Refuses to guess a type that is not asked for by its keys.
Never raises.

Source: the tool's printing code (hicann/driver, ``%-30s : %s``; ``-t ecc`` pads to 40) and captures::

            NPU ID                         : 0
            Chip Count                     : 1

            HBM Capacity(MB)               : 65536
            Aicore Usage Rate(%)           : 0
            Chip ID                        : 0
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from agent.parse import tool_errors, values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 2000

# Differently spelled between types and releases -> one field name.
_SAME = {"npu_temperature_c": "temperature_c", "npu_real_time_power_w": "power_w", "health_status": "health",
         "aicore_usage_rate_pct": "aicore_pct", "aivector_usage_rate_pct": "aivector_pct",
         "aicube_usage_rate_pct": "aicube_pct", "aicpu_usage_rate_pct": "aicpu_pct",
         "ctrlcpu_usage_rate_pct": "ctrlcpu_pct", "npu_utilization_pct": "npu_pct", "hbm_usage_rate_pct": "hbm_pct",
         "ddr_usage_rate_pct": "ddr_pct", "memory_usage_rate_pct": "memory_pct", "hbm_capacity_mb": "hbm_total_mb",
         "ddr_capacity_mb": "ddr_total_mb", "error_code": "error_codes", "error_information": "error_texts"}
# What the tool calls the board's controller and its processor, whose values stand among the chips'.
_CONTROLLERS = ("mcu", "3559")
_COUNTS = re.compile(r"(?:_count|_cnt|_total_err_cnt)$")

# Type -> a field that only it prints; looked at in this order.
_KINDS = (("list", "total_count"), ("ecc", "hbm_double_bit_error_count"), ("ecc", "ddr_double_bit_error_count"),
          ("board", "board_id"), ("memory", "hbm_manufacturer_id"), ("memory", "hbm_clock_speed_mhz"), ("memory", "ddr_clock_speed_mhz"),
          ("common", "aicore_count"), ("usages", "hbm_bandwidth_usage_rate_pct"), ("usages", "ddr_bandwidth_usage_rate_pct"),
          ("usages", "memory_bandwidth_usage_rate_pct"), ("common", "memory_pct"),
          ("usages", "aicore_pct"), ("health", "health"), ("power", "power_w"), ("power", "power_dissipation_w"), ("power", "rated_power_dissipation_w"),
          ("temp", "temperature_c"), ("volt", "voltage_v"), ("flash", "flash_count"), ("ecc-enable", "hbm_ecc_enable_status"),
          ("fault-events", "fault_event_count"), ("version", "npu_smi_version"),
          ("sensors", "soc_max_temperature_c"), ("sensors", "ndie_temperature_c"), ("sio-info", "tx_error_count"),
          ("phyid-remap", "chip_phy_id"), ("sys-time", "system_time_local"))

# "Process id:3229095 Process name:python          Process memory(MB):48208"
_PROCESS = re.compile(r"^\s*Process id: ?([0-9]{1,10})\s+Process name: ?(.*?)\s+Process memory\(MB\): ?([0-9]{1,12})\s*$")
# At the margin: the tool's blank before the colon, or at least a key of plain words with no time of day behind it.
_KEY = re.compile(r"^[^:]*\s:(?:\s|$)|^[A-Za-z][\w /()%+-]{0,60}:(?![0-9]{2}(?::|\b))")
# "[root@node1 ~]# npu-smi info -t health -i 3 -c 0": what follows is of that chip, and of none before.
_COMMAND = re.compile(r"(?:^|[\s/])npu-smi info((?: +[\w.-]+)*)\s*$")
_TYPED = "$ npu-smi info"
_EVENT = re.compile(r"event id=0x([0-9A-Fa-f]{1,9}), severity=([0-9]{1,3})")


def parse(text: str) -> Dict[str, Any]:
    """{kind, total, chips, errors, cut}; the keys are always there.

    ``kind``: the ``-t`` type told by its keys (``list`` for -l, ``other`` for one that only its ids tell), None where they are not known. ``total``:
    of -l. ``chips``: [{npu_id, chip_id, mcu, values, processes}] in print order; ids that were not printed
    are None. ``values``: field names with their unit (``hbm_total_mb``); absent values None; ``error_codes``
    (upper hex without 0x) and ``error_texts`` lists. ``cut``: the last line has no end and was left out. ``processes``: None, or [{pid, name, memory_mb}].
    """
    groups, errors = _groups(text)
    total: Optional[int] = None
    npu_id: Optional[int] = None
    asked: Optional[int] = None    # the chip that a typed command named
    since = 0    # where the chips of the last command begin
    chips: List[Dict[str, Any]] = []
    seen: Dict[str, Any] = {}
    for group in groups:
        if group and group[0][0] == _TYPED:
            npu_id, asked, since = _option("i", group[0][1][0]), _option("c", group[0][1][0]), len(chips)
            continue
        body: List[Tuple[str, List[str]]] = []
        names = [values.field(key) for key, _ in group]
        of_a_board = "board_id" in names    # there the count is a value; elsewhere it heads a list
        for name, (key, printed) in zip(names, group):
            if name == "npu_id":
                npu_id = values.whole(printed[0])
                seen.setdefault("npu_ids", []).append(npu_id)
            elif name in ("total_count", "card_count"):
                total = values.whole(printed[0])
                seen["total_count"] = total
            elif name != "chip_count" or of_a_board:
                body.append((key, printed))
            else:
                seen[name] = True
        for part in _chips_of(body):
            chip = _chip(npu_id, part)
            if chip["chip_id"] is None and not chip["mcu"]:
                chip["chip_id"] = asked
            seen.update(chip["values"])
            chips.append(chip)
    kind = next((kind for kind, name in _KINDS if name in seen), None)
    if kind is None and any(chip["processes"] is not None for chip in chips):
        kind = "proc-mem"
    if kind is None and "npu_ids" in seen and "chip_count" in seen:
        kind = "other" if any(chip["values"] for chip in chips) else "list"
    if kind == "list":
        # Newer releases name product and serial number of each; the others print its id alone.
        named = {chip["npu_id"]: chip for chip in chips}
        chips = [named.get(found) or _chip(found, []) for found in seen.get("npu_ids", [])] or chips
    cut = bool(values.whole_lines(text)[1].strip())
    if len(chips) > since + 1 and _is_nobodys(chips[-1], chips[since:-1]):
        # The text ends before it says whose these are: a chip's, or the board's own.
        chips, cut = chips[:-1], True
    return {"kind": kind, "total": total, "chips": chips, "errors": errors, "cut": cut}


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether the text was output of a kind known here."""
    return parsed["kind"] is not None


def _is_nobodys(last: Dict[str, Any], others: List[Dict[str, Any]]) -> bool:
    """Whether a block has no owner where others of its NPU have one."""
    return last["chip_id"] is None and not last["mcu"] and bool(last["values"] or last["processes"]) and any(
        other["npu_id"] == last["npu_id"] and (other["chip_id"] is not None or other["mcu"]) for other in others)


def _option(letter: str, words: str) -> Optional[int]:
    found = re.search(r" -%s +([0-9]{1,9})(?= |$)" % letter, words)
    return int(found.group(1)) if found else None


def _groups(text: str) -> Tuple[List[List[Tuple[str, List[str]]]], List[Dict[str, Any]]]:
    """Runs of ``key : value`` lines between blank lines; continuation lines (an empty key) join their value."""
    groups: List[List[Tuple[str, List[str]]]] = [[]]
    errors: List[Dict[str, Any]] = []
    blank = False
    lines, rest = values.whole_lines(text)
    key, _, value = _split(clean(rest[:LINE_LIMIT]))
    if value and values.field(key) == "chip_name" and any(name.startswith(value.lower()) for name in _CONTROLLERS):
        lines.append(key + " : MCU")    # else what stands above, the board's own, would be a chip's
    for raw in lines:
        line = clean(raw[:LINE_LIMIT])
        if not line.strip():
            blank = True
            continue
        error = tool_errors.smi(line)
        if error is not None:
            errors.append(error)
            continue
        typed = _COMMAND.search(line)
        if typed:
            groups += [[(_TYPED, [typed.group(1)])], []]
            blank = False
            continue
        process = _PROCESS.match(line)
        key, colon, value = ("process", ":", line) if process or line.strip() == "No process in device." else _split(line)
        if not colon or (not process and line[:1] not in " \t" and not _KEY.match(line)):
            continue    # a prompt, a date, a title: no key however many colons it has
        if not key and groups[-1]:
            groups[-1][-1][1].append(value)
            blank = False
            continue
        if blank and groups[-1]:
            groups.append([])
        blank = False
        groups[-1].append((key, [value]))
    return groups, errors


def _split(line: str) -> Tuple[str, str, str]:
    """(key, colon, value), parted at the first colon; all empty without one."""
    key, colon, value = line.partition(":")
    return (key.strip(), colon, value.strip()) if colon else ("", "", "")


def _chips_of(body: List[Tuple[str, List[str]]]) -> List[List[Tuple[str, List[str]]]]:
    """A group cut into one part per chip, should the blank lines between them have been lost."""
    marks = [place for place, (key, printed) in enumerate(body) if _is_mark(key, printed)]
    if len(marks) < 2:
        return [body] if body else []
    if marks[0] == 0:
        starts = marks
    else:
        starts = [0] + [place + 1 for place in marks]
    parts = [body[start:end] for start, end in zip(starts, starts[1:] + [len(body)])]
    return [part for part in parts if part]


def _is_mark(key: str, printed: List[str]) -> bool:
    name = values.field(key)
    return name == "chip_id" or (name == "chip_name" and printed[0].strip().lower() in _CONTROLLERS)


def _chip(npu_id: Optional[int], part: List[Tuple[str, List[str]]]) -> Dict[str, Any]:
    chip: Dict[str, Any] = {"npu_id": npu_id, "chip_id": None, "mcu": False, "values": {}, "processes": None}
    for key, printed in part:
        name = values.field(key)
        if key == "process":
            process = _PROCESS.match(printed[0])
            rows = chip["processes"] = chip["processes"] or []
            if process:
                rows.append({"pid": int(process.group(1)), "name": values.text(process.group(2)), "memory_mb": int(process.group(3))})
        elif name == "chip_id":
            chip["chip_id"] = values.whole(printed[0])
        elif _is_mark(key, printed):
            chip["mcu"] = True
        else:
            name = _SAME.get(name, name)
            chip["values"][name] = _value(name, key, printed)
    return chip


def _value(name: str, key: str, printed: List[str]) -> Any:
    if name == "error_codes":
        codes = [re.sub("^0[xX]", "", word).upper() for word in (values.text(printed[0]) or "").split()]
        return [code for code in codes if re.match("^[0-9A-F]{1,9}$", code)]
    if name == "error_texts":
        return [line for line in (values.text(one) for one in printed) if line is not None]
    if name == "health" and printed[0].strip().upper() == "UNKNOWN":
        return printed[0].strip()    # a state of its own, as in the table
    if name == "fault_event_information":
        return [{"code": code.upper(), "severity": int(severity)} for one in printed for code, severity in _EVENT.findall(one)]
    if values.has_unit(key) or _COUNTS.search(name):
        return values.number(printed[0])
    return values.text(" ".join(printed))
