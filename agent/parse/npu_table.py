"""``npu-smi info``: the big table of devices and processes, read by its own titles.

Owns every layout of the table from 21.0 to 26.x: 310, 310P, 310B, 910A/ProB, 910B, A3 and 950. A value
is found by the title that stands over it, never by column position or total width: the tool's widths
differ between releases. Refuses to guess: what the titles do not explain, what is cut, ``NA`` and ``-``
are None, and then ``complete`` tells whether a row was lost. Never raises.

Source of the layouts: the tool's printing code (hicann/driver, npu_info_print.c) and captured tables.
Two rows a chip stand between two borders::

    | NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
    | Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
    +===========================+===============+====================================================+
    | 0     910B3               | OK            | 93.1        37                0    / 0             |
    | 0                         | 0000:C1:00.0  | 0           0    / 0          59356/ 65536         |
    +===========================+===============+====================================================+
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from agent.parse import tool_errors, values
from agent.parse.text import clean

VERSION = 1

LINE_LIMIT = 2000
"""Characters of a line that are looked at; the tool's own lines have at most 118."""

DEVICE_FIELDS = ("npu_id", "chip_id", "phy_id", "name", "health", "power_w", "temperature_c", "aicore_pct",
                 "bus_id", "memory_used_mb", "memory_total_mb", "hbm_used_mb", "hbm_total_mb",
                 "hugepages_used", "hugepages_total", "npu_pct")
PROCESS_FIELDS = ("npu_id", "chip_id", "pid", "pid_in_container", "name", "memory_mb")

_INT, _FLOAT, _TEXT, _PAIR, _SKIP = "int", "float", "text", "pair", "skip"

# Title (lower case, blanks collapsed, unit off) -> kind of value, the fields it fills.
_DEVICE_TITLES: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "npu": (_INT, ("npu_id",)), "npu id": (_INT, ("npu_id",)), "name": (_TEXT, ("name",)),
    "health": (_TEXT, ("health",)), "power": (_FLOAT, ("power_w",)), "temp": (_INT, ("temperature_c",)),
    "hugepages-usage": (_PAIR, ("hugepages_used", "hugepages_total")),
    "chip": (_INT, ("chip_id",)), "device": (_SKIP, ()), "phy-id": (_INT, ("phy_id",)),
    "bus-id": (_TEXT, ("bus_id",)), "aicore": (_INT, ("aicore_pct",)), "npu util": (_INT, ("npu_pct",)),
    "memory-usage": (_PAIR, ("memory_used_mb", "memory_total_mb")),
    "hbm-usage": (_PAIR, ("hbm_used_mb", "hbm_total_mb")),
}
_PROCESS_TITLES: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "npu": (_INT, ("npu_id",)), "npu id": (_INT, ("npu_id",)), "chip": (_INT, ("chip_id",)),
    "process id": (_INT, ("pid",)), "process name": (_TEXT, ("name",)),
    "process memory": (_INT, ("memory_mb",)), "process id in container": (_INT, ("pid_in_container",)),
}

_TITLE = re.compile(r"(npu id|npu util|npu|name|health|power|temp|hugepages-usage|chip|device|phy-id|bus-id"
                    r"|aicore|memory-usage|hbm-usage|process id in container|process id|process name"
                    r"|process memory|\S+?)(?:\((?:w|c|%|mb|page)\))?(?=\s|$)")
_BORDER = re.compile(r"^[+|][-=+|\s]*$")
_VERSION_ROW = re.compile(r"\bnpu-smi\s+(\S+)(?:\s+Version:\s*(\S+))?")
# "[root@node1 ~]# npu-smi info | tee out", "(base) ops@node1:~$ ls | head": a bar, and no row.
_COMMAND = re.compile(r"[#$%] +\S")
_NO_PROCESS = re.compile(r"No running processes found in NPU\s+([0-9]{1,9})(?![0-9])")
# What no other tool draws between bars, of a table whose titles were lost.
_TRACES = re.compile(r"(?m)^[^|\n]{0,80}\|[^\n]*(?:No running processes found in NPU|\|[ \t]*(?:Process id|Bus-Id)[ \t]*\||Hugepages-Usage\(page\)"
                     r"|\|[ \t]*[0-9A-F]{4}:[0-9A-F]{2}:[0-9A-F]{2}\.[0-9A-F][ \t]*\|)")
_BUS_ID = re.compile(r"^[0-9A-Za-z*]{4,8}:[0-9A-Za-z*]{2}:[0-9A-Za-z*]{2}\.[0-9A-Za-z*]$")
_NUMBER = {_INT: re.compile(r"^-?[0-9]{1,15}$"), _FLOAT: re.compile(r"^-?[0-9]{1,15}(?:\.[0-9]{1,9})?$")}
_HEALTH = frozenset(("ok", "warning", "alarm", "critical", "offline", "unknown"))
# 910B3, 310: a second row has the number of a chip, a device or a die there.
_NAME = re.compile(r"[A-Za-z]|^[1-9][0-9]{2}$")
_WORDS = re.compile(r"^[A-Za-z]+(?: [A-Za-z]+){0,3}$")
_ABSENT = frozenset(("na", "n/a", "-", "--", ""))

_Titles = List[List[Tuple[str, Tuple[str, ...]]]]


class _Reading:
    """The table as it is built up, line by line; ``result`` judges what came of it."""

    def __init__(self) -> None:
        self.tool_version: Optional[str] = None
        self.driver_version: Optional[str] = None
        self.devices: List[Dict[str, Any]] = []
        self.processes: List[Dict[str, Any]] = []
        self.errors: List[Dict[str, Any]] = []
        self.first: Optional[_Titles] = None
        self.second: Optional[_Titles] = None
        self.process_titles: Optional[_Titles] = None
        self.half: Optional[Dict[str, Any]] = None
        self.sound = True
        self.borders = 0
        self.since_border = 0
        self.last_border_thick = False
        self.width = 0
        self.last_border_whole = True
        self.end_before = (False, True)
        self.without_process: List[int] = []
        self.closed = False
        self.ended = True
        """Whether the line that is read has its end."""

    def line(self, text: str) -> None:
        stripped = text.strip()
        if not stripped:
            return
        bar = stripped.find("|")
        if self.closed or (stripped[0] not in "+|" and (bar < 0 or _COMMAND.search(stripped[:bar]))):
            self._loose(stripped)
        elif stripped[0] == "+" or _BORDER.match(stripped):
            self._border(stripped)
        else:
            self._row(stripped[bar:])

    def _loose(self, text: str) -> None:
        if set(text) <= {".", "…"}:
            self.sound = False
            return
        error = tool_errors.smi(text, self.ended)
        if error is not None:
            self.errors.append(error)

    def _border(self, text: str) -> None:
        if not _BORDER.match(text):
            self.sound = False
        self.width = max(self.width, len(text))
        self.end_before = (self.last_border_thick, self.last_border_whole)
        self.last_border_whole = text[-1] in "+|" and len(text) == self.width
        self._end_pair()
        self.borders += 1
        self.last_border_thick = "=" in text
        self.since_border = 0

    def _row(self, text: str) -> None:
        cells, whole = _cells(text)
        whole = whole and (self.ended or len(text) >= self.width)    # a bar in a name may stand at the end of a cut row
        lowered = " ".join(text.lower().split())
        digits = any(character.isdigit() for character in lowered)
        version = _VERSION_ROW.search(text) if whole else None
        if version:
            if self.devices or self.half is not None:
                # A second table (a log of repeated calls): the first one is the answer, and ended before this one's first border.
                if self.since_border == 0:
                    self.last_border_thick, self.last_border_whole = self.end_before
                self.closed = True
                return
            self.tool_version, self.driver_version = version.group(1), version.group(2)
        elif "process id" in lowered and "process name" in lowered and not digits:
            self._end_pair()
            self.process_titles = _titles(cells, _PROCESS_TITLES)
            self.sound = self.sound and whole
        elif self.process_titles is None and "health" in lowered and "name" in lowered and "npu" in lowered:
            if self.first is not None and self.devices:
                self.closed = True
                return
            self.first = _titles(cells, _DEVICE_TITLES)
            self.sound = self.sound and whole
        elif self.process_titles is None and "memory-usage" in lowered and not digits:
            self.second = _titles(cells, _DEVICE_TITLES)
            self.sound = self.sound and whole
        elif self.process_titles is not None:
            self._process(text, cells, whole)
        else:
            self._device(cells, whole)
        self.since_border += 1

    def _device(self, cells: List[str], whole: bool) -> None:
        first = _read(cells, whole, self.first)
        if first is not None:
            first = _as_first(cells, self.first, first)
        second = _read(cells, whole, self.second)
        if second is not None and not _is_second(cells, self.second):
            second = None
        if second is not None and (first is None or self.half is not None):
            # Where the health of a chip cannot be had the tool leaves its first row out: no NPU id then.
            row = self.half if self.half is not None else dict.fromkeys(DEVICE_FIELDS)
            self.sound = self.sound and second[1] and self.half is not None
            row.update(second[0])
            self.devices.append(row)
            self.half = None
        elif first is not None:
            self._end_pair()
            self.sound = self.sound and first[1]
            self.half = dict.fromkeys(DEVICE_FIELDS)
            self.half.update(first[0])
            if self.second is None:
                self._end_pair()
        else:
            self.sound = False
            self._end_pair()

    def _end_pair(self) -> None:
        if self.half is not None:
            self.sound = self.sound and self.second is None
            self.devices.append(self.half)
            self.half = None

    def _process(self, text: str, cells: List[str], whole: bool) -> None:
        idle = _NO_PROCESS.search(text)
        if idle:
            self.sound = self.sound and whole
            if whole:
                self.without_process.append(int(idle.group(1)))
            return
        if whole:
            cells = _rejoin(cells, self.process_titles or [])
        read = _read(cells, whole, self.process_titles)
        if read is None:
            self.sound = False
            return
        row: Dict[str, Any] = dict.fromkeys(PROCESS_FIELDS)
        row.update(read[0])
        name = _under("name", cells, self.process_titles)
        row["name"] = name if row["name"] is None else row["name"]    # "" where /proc/PID cannot be seen
        if not whole:
            # A name may hold bars: where the row is cut, what stands behind the process id may be its beginning.
            row.update(name=None, memory_mb=None, pid_in_container=None)
        self.sound = self.sound and read[1] and row["pid"] is not None
        self.processes.append(row)

    def result(self) -> Dict[str, Any]:
        self._end_pair()
        return {"tool_version": self.tool_version, "driver_version": self.driver_version,
                "complete": self._complete(), "devices": self.devices, "processes": self.processes,
                "errors": self.errors}

    def _complete(self) -> bool:
        failed = any(error["code"] is not None for error in self.errors)
        if not self.sound or failed or not self.devices or self.first is None:
            return False
        if self.borders and (self.since_border or not self.last_border_whole):
            return False    # the text ends inside a row group or a border
        devices = {device["npu_id"] for device in self.devices}
        if None in devices or (any(device["chip_id"] is None for device in self.devices) and self._has_chips()):
            return False
        if self.process_titles is None:
            # A thin border after the last row announces another chip or a process table that did not come.
            return (self.borders == 0 or self.last_border_thick) and not self._wants_processes()
        told = {process["npu_id"] for process in self.processes} | set(self.without_process)
        return told == devices

    def _wants_processes(self) -> bool:
        """Whether this release prints a process table under these devices; one that is not there was cut off.

        All do since 23.0 but for the 310B (npu_info_print.c); of older releases no capture has one.
        """
        major = re.match(r"^([0-9]{2})\.", self.tool_version or "")
        return bool(major and int(major.group(1)) >= 23 and not any(str(device["name"]).startswith("310B") for device in self.devices))

    def _has_chips(self) -> bool:
        return any("chip_id" in fields for cell in self.second or [] for _, fields in cell)


def parse(text: str) -> Dict[str, Any]:
    """The table as ``rankdeck inspect npu`` promises it; the keys are always all there.

    ``complete`` is False where rows were lost, the text is cut, or the tool reported an error instead of a
    table. Of several tables in one text the first is read. Units: W, degrees C, %, MB (2^20 bytes), pages.
    """
    reading = _Reading()
    lines, rest = values.whole_lines(text)
    for line in lines:
        reading.line(clean(line[:LINE_LIMIT]))
    reading.ended = False
    reading.line(clean(rest[:LINE_LIMIT]))
    return reading.result()


def recognised(parsed: Dict[str, Any]) -> bool:
    """Whether what ``parse`` returned came from npu-smi at all: a version, a device, a process or an error."""
    return bool(parsed["tool_version"] or parsed["devices"] or parsed["processes"] or parsed["errors"])


def mentioned(text: str) -> bool:
    """Whether rows or titles of the table stand in a text of which nothing else can be read: its head was cut off."""
    return bool(_TRACES.search(text))


def npu_columns(parsed: Dict[str, Any]) -> Dict[str, List[Any]]:
    """The devices as columns (``sample`` record, field ``columns``): field name -> one value a device."""
    return {name: [device[name] for device in parsed["devices"]] for name in DEVICE_FIELDS}


def process_columns(parsed: Dict[str, Any]) -> Dict[str, List[Any]]:
    """The processes as columns (``sample`` record, field ``processes``)."""
    return {name: [process[name] for process in parsed["processes"]] for name in PROCESS_FIELDS}


def _cells(row: str) -> Tuple[List[str], bool]:
    """The cells of a row that starts with a bar, and whether the last one is closed by a bar.

    An unclosed cell is dropped: its last value may be cut in the middle.
    """
    parts = row.rstrip().split("|")
    return [part.strip() for part in parts[1:-1]], parts[-1].strip() == ""


def _titles(cells: List[str], known: Dict[str, Tuple[str, Tuple[str, ...]]]) -> _Titles:
    """Per cell the (kind, fields) of its titles; a title nobody knows is a value to skip."""
    rows: _Titles = []
    for cell in cells:
        names = [match.group(1) for match in _TITLE.finditer(" ".join(cell.lower().split()))]
        rows.append([known.get(name, (_SKIP, ())) for name in names])
    return rows


def _read(cells: List[str], whole: bool, titles: Optional[_Titles]) -> Optional[Tuple[Dict[str, Any], bool]]:
    """(values, nothing lost) of a row under these titles; None where it has not their number of cells."""
    if titles is None or not cells or len(cells) > len(titles) or (whole and len(cells) < len(titles)):
        return None
    values: Dict[str, Any] = {}
    sound = whole
    for cell, wanted in zip(cells, titles):
        tokens = re.sub(r"\s*/\s*", "/", cell).split()
        if len(wanted) == 1 and wanted[0][0] == _TEXT:
            tokens = [cell]    # a process name may hold blanks, or be empty
        elif len(wanted) == 2 and wanted[1][0] == _TEXT and len(tokens) == 1:
            tokens.append("")    # where the chip's name cannot be had, the tool prints blanks
        elif wanted and wanted[-1][0] == _TEXT and len(tokens) > len(wanted):
            tokens = tokens[:len(wanted) - 1] + [" ".join(tokens[len(wanted) - 1:])]
        if len(tokens) != len(wanted):
            sound = False
            continue
        for token, (kind, fields) in zip(tokens, wanted):
            read = _value(token, kind)
            sound = sound and read is not None
            values.update(zip(fields, read or (None,) * len(fields)))
    return values, sound


def _value(token: str, kind: str) -> Optional[Tuple[Any, ...]]:
    """The token's value(s); (None,) where the tool says there is none; None where it cannot be read."""
    if kind == _SKIP:
        return ()
    if kind == _PAIR:
        used, bar, total = token.partition("/")
        if token.lower() in _ABSENT:
            return (None, None)
        if not bar:
            return None
        left, right = _value(used, _INT), _value(total, _INT)
        return left + right if left is not None and right is not None else None
    if token.lower() in _ABSENT:
        return (None,)
    if kind == _TEXT:
        return (token,)
    if not _NUMBER[kind].match(token):
        return None
    return (int(token),) if kind == _INT else (float(token),)


def _rejoin(cells: List[str], titles: _Titles) -> List[str]:
    """The cells of a process row whose name holds bars itself, put together again."""
    surplus = len(cells) - len(titles)
    place = next((number for number, wanted in enumerate(titles) if wanted == [_PROCESS_TITLES["process name"]]), None)
    if surplus <= 0 or place is None:
        return cells
    return cells[:place] + ["|".join(cells[place:place + surplus + 1])] + cells[place + surplus + 1:]


def _as_first(cells: List[str], titles: Optional[_Titles], read: Tuple[Dict[str, Any], bool]) -> Optional[Tuple[Dict[str, Any], bool]]:
    """What was read, where the row can be a chip's first: an NPU id that is a number, a health; else None.

    A word that the tool has for no health is none, and then the chip must have a name: a second row may read NA there.
    """
    found, sound = read
    health = _under("health", cells, titles)
    if found.get("npu_id") is None:
        return None
    if health is None:
        return None if _titled("health", titles) else read
    if health.lower() in _HEALTH:
        return read
    absent = health.lower() in _ABSENT
    if not (absent or _WORDS.match(health)) or not _NAME.search(found.get("name") or ""):
        return None
    return dict(found, health=None), sound and absent


def _is_second(cells: List[str], titles: Optional[_Titles]) -> bool:
    """Whether a row can be a chip's second: what stands under Bus-Id looks like one."""
    bus = _under("bus_id", cells, titles)
    return not _titled("bus_id", titles) if bus is None else bus == "NA" or bool(_BUS_ID.match(bus))


def _titled(field: str, titles: Optional[_Titles]) -> bool:
    return any(fields == (field,) for wanted in titles or [] for _, fields in wanted)


def _under(field: str, cells: List[str], titles: Optional[_Titles]) -> Optional[str]:
    for cell, wanted in zip(cells, titles or []):
        if any(fields == (field,) for _, fields in wanted):
            return cell
    return None
