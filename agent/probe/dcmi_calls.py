"""Calling ``libdcmi.so``: its structures, and what its numbers mean. For ``dcmi`` and ``dcmi_logical``.

Owns ctypes. Refuses to know which functions there are in which generation of the library, and every call that
changes something. Source of structures and units: dcmi_interface_api.h (power 0.1 W, temperature C, HBM and
DDR MB, process memory bytes); a value whose call fails is None.
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict, List, Optional

NPU_TYPE = 0
CARDS_MAX = 64
PROCESSES_MAX = 32
HEALTHS = {0: "OK", 1: "Warning", 2: "Alarm", 3: "Critical"}
TEMPERATURE_INVALID = (0x7ffd, 0x7fff)
AICORE, OVERALL = 2, 13
"""input_type of the functions that tell a utilisation."""


class Chip(ctypes.Structure):
    """struct dcmi_chip_info_v2; the older one ends before ``npu_name``."""

    _fields_ = [("type", ctypes.c_char * 32), ("name", ctypes.c_char * 32), ("version", ctypes.c_char * 32), ("aicores", ctypes.c_uint),
                ("npu_name", ctypes.c_char * 32)]


class Pcie(ctypes.Structure):
    """struct dcmi_pcie_info_all."""

    _fields_ = [("vendor", ctypes.c_uint), ("subvendor", ctypes.c_uint), ("device", ctypes.c_uint), ("subdevice", ctypes.c_uint), ("domain", ctypes.c_int),
                ("bus", ctypes.c_uint), ("slot", ctypes.c_uint), ("function", ctypes.c_uint), ("reserve", ctypes.c_ubyte * 32)]

    @property
    def bus_id(self) -> str:
        """As npu-smi prints it: 0000:C1:00.0."""
        return "%04X:%02X:%02X.%X" % (self.domain & 0xffff, self.bus, self.slot, self.function)


class Hbm(ctypes.Structure):
    """struct dcmi_hbm_info."""

    _fields_ = [("size", ctypes.c_ulonglong), ("freq", ctypes.c_uint), ("usage", ctypes.c_ulonglong), ("temp", ctypes.c_int), ("bandwidth", ctypes.c_uint)]


class Memory(ctypes.Structure):
    """struct dcmi_get_memory_info_stru."""

    _fields_ = [("size", ctypes.c_ulonglong), ("available", ctypes.c_ulonglong), ("freq", ctypes.c_uint), ("page_kb", ctypes.c_ulong),
                ("pages", ctypes.c_ulong), ("pages_free", ctypes.c_ulong), ("rate", ctypes.c_uint), ("reserve", ctypes.c_ubyte * 60)]


class Process(ctypes.Structure):
    """struct dcmi_proc_mem_info."""

    _fields_ = [("pid", ctypes.c_int), ("bytes", ctypes.c_ulong)]


class Failed(Exception):
    """The library cannot be used; ``reason`` is one of agent.wire.ABSENT_REASONS."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Calls:
    """The functions of one loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library

    def has(self, name: str) -> bool:
        """Whether this library has the function."""
        return hasattr(self._library, name)

    def call(self, name: str, *args: Any) -> Optional[int]:
        """What a function returns; None where this library does not have it."""
        try:
            function = getattr(self._library, name)
        except AttributeError:
            return None
        return int(function(*args))

    def number(self, name: str, kind: Any, *args: Any) -> Optional[int]:
        """The number that a function with one out parameter, its last, gives; None where it fails."""
        value = kind()
        return int(value.value) if self.call(name, *(args + (ctypes.byref(value),))) == 0 else None

    def struct(self, name: str, kind: Any, *args: Any) -> Any:
        """The same for a structure."""
        value = kind()
        return value if self.call(name, *(args + (ctypes.byref(value),))) == 0 else None

    def version(self, name: str) -> Optional[str]:
        """The text that a function (buffer, length) writes."""
        buffer = ctypes.create_string_buffer(64)
        return text(buffer.value) if self.call(name, buffer, 64) == 0 else None


def start(calls: Calls, name: str) -> None:
    """Initialise the library by this function. Raises Failed."""
    code = calls.call(name)
    if code != 0:
        raise Failed({-8002: "denied", -8255: "unsupported", None: "unsupported"}.get(code, "error"), "%s: %s" % (name, code))


def health_word(value: Optional[int]) -> Optional[str]:
    """The word that npu-smi prints for a health."""
    return None if value is None else HEALTHS.get(value, "UNKNOWN")


def watts(tenths: Optional[int]) -> Optional[float]:
    """A power in W; None where it cannot be one."""
    return round(tenths / 10.0, 1) if tenths is not None and 0 <= tenths < 100000 else None


def degrees(value: Optional[int]) -> Optional[int]:
    """A temperature in C; None where it stands for "invalid" or "failed"."""
    return value if value not in TEMPERATURE_INVALID else None


def percent(value: Optional[int]) -> Optional[int]:
    """A rate in percent; None where it cannot be one."""
    return value if value is not None and 0 <= value <= 100 else None


def process_rows(calls: Calls, name: str, npu_id: int, chip_id: Optional[int], *place: int) -> List[Dict[str, Any]]:
    """The processes on a device, by a function (place..., list, count)."""
    rows, count = (Process * PROCESSES_MAX)(), ctypes.c_int()
    if calls.call(name, *(place + (rows, ctypes.byref(count)))) != 0:
        return []
    return [{"npu_id": npu_id, "chip_id": chip_id, "pid": int(row.pid), "pid_in_container": None, "name": process_name(int(row.pid)),
             "memory_mb": int(row.bytes) >> 20} for row in rows[:max(0, min(count.value, PROCESSES_MAX))]]


def process_name(pid: int) -> Optional[str]:
    """As npu-smi names it: /proc/PID/status, 15 bytes at most, without colons."""
    try:
        with open("/proc/%d/comm" % pid, "rb") as file:
            return text(file.read(64).replace(b":", b"")) or None
    except OSError:
        return None


def text(raw: bytes) -> Optional[str]:
    """The text in a buffer; None where it is empty."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace").strip() or None
