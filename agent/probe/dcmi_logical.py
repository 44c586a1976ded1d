"""The devices of a library that counts them by logical number: the 950's ``dcmiv2_*`` functions.

Owns which of them are asked. Refuses those that set, reset or clear. Source: dcmi_interface_api.h
(DCMI_VERSION_2) and the DCMI pages for 950. The NPU id is the logical number, and there are no chips in it, as
npu-smi prints them; ``dcmi_init`` says "not supported" on these hosts.
"""

from __future__ import annotations

import ctypes
from typing import Any, Dict

from agent.parse import npu_table
from agent.probe import dcmi_calls
from agent.probe.dcmi_calls import CARDS_MAX, NPU_TYPE, Failed

INIT = "dcmiv2_init"


class LogicalDevices:
    """See the module. Raises Failed where the library has no such functions, or they refuse."""

    def __init__(self, calls: dcmi_calls.Calls) -> None:
        self._calls = calls
        dcmi_calls.start(calls, INIT)

    def sample(self) -> Dict[str, Any]:
        """{version, devices, processes} with the fields of agent.parse.npu_table. Raises Failed when there is no device."""
        calls, count, found = self._calls, ctypes.c_int(), (ctypes.c_int * CARDS_MAX)()
        code = calls.call("dcmiv2_get_device_list", found, ctypes.byref(count), CARDS_MAX)
        if code != 0 or not 0 < count.value <= CARDS_MAX:
            raise Failed("error" if code else "missing", "dcmiv2_get_device_list: %s, %d devices" % (code, count.value))
        devices, processes = [], []
        for device in sorted(found[:count.value]):
            if calls.number("dcmiv2_get_device_type", ctypes.c_int, device) in (None, NPU_TYPE):
                devices.append(self._device(device))
                processes += dcmi_calls.process_rows(calls, "dcmiv2_get_device_proc_mem_info", device, None, device)
        return {"version": calls.version("dcmiv2_get_driver_version"), "devices": devices, "processes": processes}

    def _device(self, device: int) -> Dict[str, Any]:
        calls = self._calls
        row: Dict[str, Any] = dict.fromkeys(npu_table.DEVICE_FIELDS)
        info = calls.struct("dcmiv2_get_device_chip_info", dcmi_calls.Chip, device)
        row.update(
            npu_id=device, name=None if info is None else dcmi_calls.text(info.name) or dcmi_calls.text(info.npu_name),
            health=dcmi_calls.health_word(calls.number("dcmiv2_get_device_health", ctypes.c_uint, device)),
            power_w=dcmi_calls.watts(calls.number("dcmiv2_get_device_power_info", ctypes.c_int, device)),
            temperature_c=dcmi_calls.degrees(calls.number("dcmiv2_get_device_temperature", ctypes.c_int, device)),
            phy_id=calls.number("dcmiv2_get_chip_phy_id_by_dev_id", ctypes.c_uint, device))
        for field, which in (("aicore_pct", dcmi_calls.AICORE), ("npu_pct", dcmi_calls.OVERALL)):
            row[field] = dcmi_calls.percent(calls.number("dcmiv2_get_device_utilization_rate", ctypes.c_uint, device, which))
        hbm = calls.struct("dcmiv2_get_device_hbm_info", dcmi_calls.Hbm, device)
        if hbm is not None:
            row["hbm_used_mb"], row["hbm_total_mb"] = int(hbm.usage), int(hbm.size)
        pcie = calls.struct("dcmiv2_get_device_pcie_info", dcmi_calls.Pcie, device)
        row["bus_id"] = None if pcie is None else pcie.bus_id
        return row
