"""The NPUs through the driver's own library, ``libdcmi.so``: the same sample as ``npu-smi info``, without the tool.

Owns the calls (ctypes) and the process they are made in. The library prints, and a call may block for good
after a card has dropped or take the process with it; so it lives in a child that answers one JSON line a
question, and is ended when it does not. Refuses every call that changes something. Whatever fails, the
caller falls back to ``npu-smi``.

Source: dcmi_interface_api.h and the DCMI pages for 910B; the 950's functions are in ``dcmi_logical``.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Union

from agent.parse import npu_table
from agent.probe import dcmi_calls, dcmi_logical
from agent.probe.dcmi_calls import CARDS_MAX, NPU_TYPE, Failed
from agent.probe.dcmi_logical import LogicalDevices

__all__ = ["Cards", "Failed", "Source", "as_sample", "find", "opened", "serve"]

LIBRARIES = ("/usr/local/dcmi/libdcmi.so", "/usr/local/Ascend/driver/lib64/driver/libdcmi.so", "/usr/local/Ascend/driver/lib64/libdcmi.so")
START_S = 8.0
"""dcmi_init was seen to take two seconds on a cold node."""
SAMPLE_S = 4.0

# In the child

class Cards:
    """The devices by card and chip, through ``dcmi_*``: all generations before the 950. Raises Failed."""

    def __init__(self, calls: dcmi_calls.Calls) -> None:
        self._calls = calls
        dcmi_calls.start(calls, "dcmi_init")

    def sample(self) -> Dict[str, Any]:
        """{version, devices, processes} with the fields of agent.parse.npu_table. Raises Failed when there is no card."""
        calls, count, cards = self._calls, ctypes.c_int(), (ctypes.c_int * CARDS_MAX)()
        code = calls.call("dcmi_get_card_list", ctypes.byref(count), cards, CARDS_MAX)
        if code != 0 or not 0 < count.value <= CARDS_MAX:
            raise Failed("error" if code else "missing", "dcmi_get_card_list: %s, %d cards" % (code, count.value))
        devices: List[Dict[str, Any]] = []
        processes: List[Dict[str, Any]] = []
        for card in cards[:count.value]:
            chips = calls.number("dcmi_get_device_num_in_card", ctypes.c_int, card)
            if chips is None:
                raise Failed("error", "dcmi_get_device_num_in_card of card %d" % card)
            for chip in range(chips):
                kind = calls.number("dcmi_get_device_type", ctypes.c_int, card, chip)
                if kind in (None, NPU_TYPE):
                    devices.append(self._device(card, chip))
                    processes += dcmi_calls.process_rows(calls, "dcmi_get_device_resource_info", card, chip, card, chip)
        return {"version": calls.version("dcmi_get_driver_version"), "devices": devices, "processes": processes}

    def _device(self, card: int, chip: int) -> Dict[str, Any]:
        calls = self._calls
        row: Dict[str, Any] = dict.fromkeys(npu_table.DEVICE_FIELDS)
        info = calls.struct("dcmi_get_device_chip_info", dcmi_calls.Chip, card, chip)
        row.update(
            npu_id=card, chip_id=chip, name=None if info is None else dcmi_calls.text(info.name),
            health=dcmi_calls.health_word(calls.number("dcmi_get_device_health", ctypes.c_uint, card, chip)),
            power_w=dcmi_calls.watts(calls.number("dcmi_get_device_power_info", ctypes.c_int, card, chip)),
            temperature_c=dcmi_calls.degrees(calls.number("dcmi_get_device_temperature", ctypes.c_int, card, chip)))
        for field, which in (("aicore_pct", dcmi_calls.AICORE), ("npu_pct", dcmi_calls.OVERALL)):
            row[field] = dcmi_calls.percent(calls.number("dcmi_get_device_utilization_rate", ctypes.c_uint, card, chip, which))
        hbm = calls.struct("dcmi_get_device_hbm_info", dcmi_calls.Hbm, card, chip)
        if hbm is not None:
            row["hbm_used_mb"], row["hbm_total_mb"] = int(hbm.usage), int(hbm.size)
        memory = calls.struct("dcmi_get_device_memory_info_v3", dcmi_calls.Memory, card, chip)
        if memory is not None:
            row["memory_total_mb"] = int(memory.size)
            row["memory_used_mb"] = max(0, int(memory.size) - int(memory.available))
            row["hugepages_total"] = int(memory.pages)
            row["hugepages_used"] = max(0, int(memory.pages) - int(memory.pages_free))
        pcie = calls.struct("dcmi_get_device_pcie_info_v2", dcmi_calls.Pcie, card, chip)
        row["bus_id"] = None if pcie is None else pcie.bus_id
        logic = ctypes.c_int()
        if calls.call("dcmi_get_device_logic_id", ctypes.byref(logic), card, chip) == 0:
            row["phy_id"] = calls.number("dcmi_get_device_phyid_from_logicid", ctypes.c_uint, ctypes.c_uint(logic.value))
        return row


def opened(path: str) -> Union[Cards, LogicalDevices]:
    """libdcmi.so, initialised: by cards where it lets us, else by logical devices. Raises Failed, for the first of the two reasons."""
    try:
        calls = dcmi_calls.Calls(ctypes.CDLL(path))
    except OSError as error:
        raise Failed("missing", str(error))
    try:
        return Cards(calls)
    except Failed:
        # A 950's library has both, and says of the first that it is not supported there.
        if not calls.has(dcmi_logical.INIT):
            raise
    return LogicalDevices(calls)


def serve(path: str) -> int:
    """Answer a JSON line for each line on standard input. The library's own printing goes nowhere."""
    out = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        library = opened(path)
    except Failed as error:
        out.write(json.dumps({"reason": error.reason, "text": str(error)}) + "\n")
        out.flush()
        return 1
    out.write("{}\n")
    out.flush()
    for _ in iter(sys.stdin.readline, ""):
        try:
            answer = library.sample()
        except Failed as error:
            answer = {"reason": error.reason, "text": str(error)}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    return 0


# In the agent

class Source:
    """The child, started at the first look and after a failure not before its caller asks for a new one."""

    def __init__(self, library: str, start_s: float = START_S, sample_s: float = SAMPLE_S) -> None:
        self._library, self._start_s, self._sample_s = library, start_s, sample_s
        self._child: Optional["subprocess.Popen[bytes]"] = None
        self._rest = b""

    @property
    def running(self) -> bool:
        """Whether there is a child that has not ended."""
        return self._child is not None and self._child.poll() is None

    def read(self) -> Dict[str, Any]:
        """A ``sample`` record's data, source "dcmi". Raises Failed, and then the child is gone."""
        started = time.monotonic()
        try:
            if self._child is None:
                self._start()
            child = self._child
            assert child is not None and child.stdin is not None
            try:
                child.stdin.write(b"s\n")
                child.stdin.flush()
            except OSError as error:
                raise Failed("error", "the helper is gone: %s" % error)
            answer = self._line(self._sample_s)
        except BaseException:
            self.close()
            raise
        return as_sample(answer, time.monotonic() - started)

    def close(self) -> None:
        """End the child; one stuck in the driver is left behind."""
        child, self._child, self._rest = self._child, None, b""
        if child is None:
            return
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            child.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass

    def _start(self) -> None:
        base = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        program = "import sys; sys.path.insert(0, sys.argv[1]); from agent.probe import dcmi; sys.exit(dcmi.serve(sys.argv[2]))"
        try:
            self._child = subprocess.Popen([sys.executable, "-I", "-S", "-c", program, base, self._library], stdin=subprocess.PIPE,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            raise Failed("error", str(error))
        self._line(self._start_s)

    def _line(self, timeout_s: float) -> Dict[str, Any]:
        assert self._child is not None and self._child.stdout is not None
        handle, until = self._child.stdout.fileno(), time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                raise Failed("timeout", "no answer in %g s" % timeout_s)
            data = os.read(handle, 1 << 16)
            if not data:
                raise Failed("error", "the helper ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        try:
            answer = json.loads(line.decode("utf-8", "replace"))
        except ValueError:
            raise Failed("unparseable", repr(line[:80]))
        if "reason" in answer:
            raise Failed(str(answer["reason"]), str(answer.get("text")))
        return dict(answer)


def as_sample(answer: Dict[str, Any], took_s: float) -> Dict[str, Any]:
    """The child's answer as a ``sample`` record's data. Raises Failed when it names no device."""
    devices = answer.get("devices") or []
    if not devices:
        raise Failed("missing", "no device")
    columns = {name: [device[name] for device in devices] for name in npu_table.DEVICE_FIELDS}
    processes = answer.get("processes") or []
    return {"source": "dcmi", "tool_version": None, "driver_version": answer.get("version"), "complete": True, "columns": columns,
            "processes": {name: [process[name] for process in processes] for name in npu_table.PROCESS_FIELDS}, "errors": [],
            "absent": {name: "unsupported" for name, values in columns.items() if all(value is None for value in values)},
            "took_s": round(took_s, 3)}


def find(exists: Callable[[str], bool] = os.path.exists) -> Optional[str]:
    """The library's path: RANKDECK_DCMI (empty: not used), else where the driver package puts it; None where there is none."""
    named = os.environ.get("RANKDECK_DCMI")
    if named is not None:
        return named or None
    return next((path for path in LIBRARIES if exists(path)), None)
