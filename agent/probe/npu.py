"""One look at all NPUs of the node, through the driver's library where it serves, else through ``npu-smi info``.

Owns which source is asked and what its failure is called. Refuses to judge values (the console does) and to
raise: whatever goes wrong is a sample whose columns are absent with a reason.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Optional

from agent.parse import npu_table
from agent.probe import command, dcmi

TIMEOUT_S = 8.0
"""``npu-smi info`` of eight devices takes one to five seconds on a busy node (reported, not measured here)."""

DCMI_AGAIN_S = 600.0
"""A library that failed is tried again after so long: a driver upgrade may have mended it."""

# DCMI codes (dcmi_interface_api.h) -> reason; the rest are errors.
_CODES = {-8002: "denied", -8006: "timeout", -8013: "unsupported", -8255: "unsupported"}


def read(timeout_s: float = TIMEOUT_S, runner: Callable[..., command.Result] = command.run,
         finder: Callable[[str], Optional[str]] = command.find) -> Dict[str, Any]:
    """A ``sample`` record's data (agent.wire), devices and processes as columns; never raises."""
    path = finder("npu-smi")
    if path is None:
        return _absent("missing", 0.0)
    result = runner([path, "info"], timeout_s)
    parsed = npu_table.parse(result.out)
    if not parsed["devices"]:
        data = _absent(_reason(result, parsed), result.took_s)
        data.update(tool_version=parsed["tool_version"], driver_version=parsed["driver_version"], errors=parsed["errors"])
        return data
    columns = npu_table.npu_columns(parsed)
    complete = bool(parsed["complete"]) and not result.reason
    why = result.reason or ("unsupported" if complete else "unparseable")
    absent = {name: why for name, values in columns.items() if all(value is None for value in values)}
    return {"source": "npu-smi", "tool_version": parsed["tool_version"], "driver_version": parsed["driver_version"],
            "complete": complete, "columns": columns, "processes": npu_table.process_columns(parsed),
            "errors": parsed["errors"], "absent": absent, "took_s": round(result.took_s, 3)}


class Npu:
    """The two sources: ``libdcmi.so`` first, and ``npu-smi`` whenever that cannot be had. ``read`` from one thread at a time."""

    def __init__(self, timeout_s: float = TIMEOUT_S, library: Optional[str] = None, tool: Callable[[float], Dict[str, Any]] = read) -> None:
        """``library``: path of libdcmi.so; None: where it is found, if anywhere."""
        self._timeout_s, self._tool = timeout_s, tool
        path = library or dcmi.find()
        self._source = dcmi.Source(path) if path else None
        self._not_before = 0.0
        self.why = "" if path else "missing"

    def read(self) -> Dict[str, Any]:
        """A ``sample`` record's data; its ``source`` says which it was. Never raises."""
        if self._source is not None and time.monotonic() >= self._not_before:
            try:
                data = self._source.read()
            except dcmi.Failed as error:
                self.why = "%s: %s" % (error.reason, error)
                self._not_before = time.monotonic() + DCMI_AGAIN_S
            else:
                self.why = ""
                return data
        return self._tool(self._timeout_s)

    def close(self) -> None:
        """End what was started."""
        if self._source is not None:
            self._source.close()


def _reason(result: command.Result, parsed: Dict[str, Any]) -> str:
    if result.reason:
        return result.reason
    for error in parsed["errors"]:
        if error["code"] is not None:
            return _CODES.get(error["code"], "error")
    low = result.out.lower()
    if "permission denied" in low or "not permitted" in low:
        return "denied"
    if result.status == 127 or "command not found" in low:
        return "missing"
    return "error" if parsed["errors"] or result.status else "unparseable"


def _absent(reason: str, took_s: float) -> Dict[str, Any]:
    return {"source": "npu-smi", "tool_version": None, "driver_version": None, "complete": False, "columns": {},
            "processes": {}, "errors": [], "absent": {"*": reason}, "took_s": round(took_s, 3)}
