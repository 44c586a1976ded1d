"""The NPUs' own network ports through ``hccn_tool``: link, health, address, TLS, history, optics.

Owns which options are asked, how long a device may take, and what is not asked any more once a device does
not answer; the 950's form of the tool is ``network_ports``', and is chosen when the tool says that it has
that one. Refuses every option that writes (``-s``, ``-cfg``), to judge, and to raise. ``hccn_tool`` needs
root on most hosts: what is denied says so, and is not the same as a link that is down.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from agent.parse import hccn
from agent.probe import command, network_ports

COMMAND_S = 3.0
"""One query answers within a fraction of a second; after a card has dropped it may never do."""
BUDGET_S = 25.0
"""For all devices together; the rest is absent with "timeout"."""

# Option -> (column, field of agent.parse.hccn's reading).
OPTIONS: Dict[str, Tuple[Tuple[str, str], ...]] = {
    "link": (("link", "status"),),
    "net_health": (("net_health", "status"),),
    "ip": (("address", "address"), ("netmask", "netmask")),
    "tls": (("tls", "enabled"),),
    "link_stat": (("link_up_count", "link_up_count"), ("link_down_count", "link_down_count")),
    "optical": (("optical_present", "present"),),
}
COLUMNS = ("device",) + tuple(column for fields in OPTIONS.values() for column, _ in fields)
_own_form: Dict[str, bool] = {}
"""Tools (by path) that were found to be a 950's."""
_alone = threading.Lock()
"""Never two of a kind at once, whoever asks."""
BUSY_S = 0.3
_BUSY, _NO_ADDRESS = "hccn_tool is busy", "no ip was preset"
_LOST = ("recv time out", "host unreachable", "message too long")
_DENIED = ("permission denied", "not permitted", "must be root", "root permission", "need root")
_UNSUPPORTED = ("not support", "unknown option", "invalid option", "is not simulated", "usage:", "-npu_info")


def read(devices: Sequence[int], options: Optional[Sequence[str]] = None, timeout_s: float = COMMAND_S, budget_s: float = BUDGET_S,
         runner: Callable[..., command.Result] = command.run, finder: Callable[[str], Optional[str]] = command.find) -> Dict[str, Any]:
    """As ``_read``, one at a time; who comes while another asks waits as long as its own budget."""
    if not _alone.acquire(timeout=max(0.0, budget_s)):
        return {"source": "hccn_tool", "columns": {}, "absent": {"*": "timeout"}, "took_s": round(budget_s, 3)}
    try:
        return _read(devices, options, timeout_s, budget_s, runner, finder)
    finally:
        _alone.release()


def _read(devices: Sequence[int], options: Optional[Sequence[str]], timeout_s: float, budget_s: float, runner: Callable[..., command.Result],
          finder: Callable[[str], Optional[str]]) -> Dict[str, Any]:
    """A ``network`` record's data: columns by device, and ``absent``: column -> reason.

    ``devices``: physical ids, as in /dev/davinciN. A column is in ``absent`` when it lacks a value for at
    least one device; the reason is the first device's. ``gone``: devices that the tool does not know.
    """
    started = time.monotonic()
    asked = [option for option in OPTIONS if options is None or option in options]
    columns: Dict[str, List[Any]] = {"device": list(devices)}
    for option in asked:
        columns.update({column: [None] * len(devices) for column, _ in OPTIONS[option]})
    absent: Dict[str, str] = {}
    path = finder("hccn_tool")
    if path is None or not devices:
        return {"source": "hccn_tool", "columns": columns if path else {}, "absent": {} if path else {"*": "missing"}, "took_s": 0.0}
    if _own_form.get(path):
        if _read_950(path, asked, columns, absent, timeout_s, started + budget_s, runner):
            return {"source": "hccn_tool", "columns": columns, "absent": absent, "took_s": round(time.monotonic() - started, 3)}
        del _own_form[path]    # another tool lies there now
        absent.clear()
    hopeless: Dict[str, str] = {}
    for place, device in enumerate(devices):
        stuck = ""
        for option in asked:
            why = stuck or hopeless.get(option, "")
            if not why and time.monotonic() - started > budget_s:
                why = "timeout"
            if not why:
                found, why = _ask(path, device, option, timeout_s, runner)
                if place == 0 and option == asked[0] and why in ("unsupported", "unparseable", "error") and _is_950(path, timeout_s, runner):
                    _own_form[path] = _read_950(path, asked, columns, absent, timeout_s, started + budget_s, runner)
                    if _own_form[path]:
                        return {"source": "hccn_tool", "columns": columns, "absent": absent, "took_s": round(time.monotonic() - started, 3)}
                    absent.clear()
                for column, field in OPTIONS[option]:
                    columns[column][place] = found.get(field)
                if why == "timeout":
                    stuck = why
                elif why in ("denied", "unsupported"):
                    hopeless[option] = why
            if why:
                for column, _ in OPTIONS[option]:
                    absent.setdefault(column, why)
    return {"source": "hccn_tool", "columns": columns, "absent": absent, "took_s": round(time.monotonic() - started, 3)}


def _is_950(path: str, timeout_s: float, runner: Callable[..., command.Result]) -> bool:
    """Whether the tool's usage is that of the 950's."""
    return network_ports.is_own_form(runner([path, "-h"], timeout_s).out)


def _read_950(path: str, asked: Sequence[str], columns: Dict[str, List[Any]], absent: Dict[str, str], timeout_s: float, until: float,
              runner: Callable[..., command.Result]) -> bool:
    """Fill the columns in the 950's form. False when the tool does not know that form after all."""
    knows = False

    def ask(words: List[str]) -> Tuple[Dict[str, Any], str]:
        nonlocal knows
        if time.monotonic() > until:
            return {}, "timeout"
        result = runner([path] + words, timeout_s)
        found = network_ports.parsed(result.out)
        why = "" if found else result.reason or _refusal(result)
        knows = knows or bool(found) or why in ("timeout", "denied")
        return found, why

    for place, device in enumerate(columns["device"]):
        found, why = network_ports.read_device(device, list(asked), ask)
        for name, value in found.items():
            columns[name][place] = value
        for option, reason in why.items():
            for column, _ in OPTIONS[option]:
                absent.setdefault(column, reason)
        if not knows:
            return False
    return True


def _refusal(result: command.Result) -> str:
    """Why an answer is none."""
    low = result.out.lower()
    if any(mark in low for mark in _DENIED):
        return "denied"
    if any(mark in low for mark in _UNSUPPORTED):
        return "unsupported"
    return "error" if result.status else "unparseable"


def _ask(path: str, device: int, option: str, timeout_s: float, runner: Callable[..., command.Result]) -> Tuple[Dict[str, Any], str]:
    """(what was printed, why there is nothing). A tool that another one's call keeps busy is asked a second time."""
    for again in (True, False):
        result = runner([path, "-i", str(device), "-" + option, "-g"], timeout_s)
        parsed = hccn.parse(result.out)
        if parsed["kind"] == option:
            return parsed, "" if any(parsed.get(field) is not None for _, field in OPTIONS[option]) else "unparseable"
        if not again or _BUSY not in result.out:
            break
        time.sleep(BUSY_S)
    # That none was ever set is an answer: the device has no address.
    return {}, "" if option == "ip" and _NO_ADDRESS in result.out else result.reason or _refusal(result)


def ping(pairs: Sequence[Tuple[int, str]], limit_s: float, timeout_s: float = 8.0, runner: Callable[..., command.Result] = command.run,
         finder: Callable[[str], Optional[str]] = command.find) -> List[Dict[str, Any]]:
    """[{device, address, sent, received, why}] for each (device, address): ``hccn_tool -i N -ping -g address A``.

    Those for which there was no time have why "timeout" and ``sent`` None.
    """
    until = time.monotonic() + limit_s
    path = finder("hccn_tool")
    found = []
    for device, address in pairs:
        left = until - time.monotonic()
        row: Dict[str, Any] = {"device": device, "address": address, "sent": None, "received": None, "why": ""}
        if path is None:
            row["why"] = "missing"
        elif left <= 0:
            row["why"] = "timeout"
        else:
            result = runner([path, "-i", str(device), "-ping", "-g", "address", address], min(timeout_s, left))
            parsed = hccn.parse(result.out)
            if parsed["kind"] == "ping":
                replies = len(parsed["replies"])
                row.update(sent=parsed["sent"], received=parsed["received"] if parsed["received"] is not None else replies or None)
            low = result.out.lower()
            if row["received"] is None and parsed["kind"] == "ping" and any(mark in low for mark in _LOST):
                row["received"] = 0    # said without the summary
            if row["received"] is None:
                row["why"] = result.reason or ("denied" if any(mark in low for mark in _DENIED) else "unsupported" if any(
                    mark in low for mark in _UNSUPPORTED) else "error")
        found.append(row)
    return found
