"""The 950's network ports through its own form of ``hccn_tool``: ``-g -OPTION -i N [-u UDIE -p PORT]``.

Owns how a device of several ports becomes one row of the ``network`` record: UP or DOWN where all ports agree,
else PARTIAL; counts are added up; the address is the first that is not the virtual one to the host (the same on
every device). Refuses every option that writes (``-s``), and to raise. Source: the 950's hccn_tool pages.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Tuple

from agent.parse import hccn

Ask = Callable[[List[str]], Tuple[Dict[str, Any], str]]
"""Words behind the tool's name -> (what was printed, why there is nothing)."""

UNKNOWN_THERE = ("net_health", "optical")
_VNIC = re.compile(r"^end[0-9]+v[0-9]+$")
_OWN_FORM = re.compile(r"-npu_info\b|<udie_id>|hccn_tool -g -[a-z_]+ -i\b")


def is_own_form(said: str) -> bool:
    """Whether the tool's usage text is of the 950's form."""
    return bool(_OWN_FORM.search(said))


def read_device(device: int, options: List[str], ask: Ask) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """(column -> value, option -> why it has none) of one device."""
    found: Dict[str, Any] = {}
    why: Dict[str, str] = {option: "unsupported" for option in options if option in UNKNOWN_THERE}
    place = ["-i", str(device)]
    info, reason = ask(["-g", "-dev_info"] + place)
    ports = info.get("ports") or [] if info.get("kind") == "dev_info" else []
    wanted = [option for option in ("link", "ip", "link_stat") if option in options]
    if not ports:
        why.update(dict.fromkeys(wanted, reason or "unparseable"))
        if reason == "timeout":
            return found, dict(why, tls=reason) if "tls" in options else why
    else:
        if "link" in wanted:
            found["link"] = together([port.get("link") for port in ports])
            if found["link"] is None:
                why["link"] = "unparseable"
        if "ip" in wanted:
            own = [face for face in info.get("interfaces") or () if face["addresses"] and not _VNIC.match(face["name"])]
            if own:
                found["address"], found["netmask"] = own[0]["addresses"][0], own[0]["netmasks"][0]
            else:
                why["ip"] = "unsupported"    # ports of the UB kind are known by EID
        if "link_stat" in wanted:
            counts, reason = _counts(place, ports, ask)
            found.update(counts)
            if reason:
                why["link_stat"] = reason
    if "tls" in options:
        tls, reason = ask(["-g", "-tls"] + place)
        found["tls"] = tls.get("enabled") if tls.get("kind") == "tls" else None
        if found["tls"] is None:
            why["tls"] = reason or "unparseable"
    return found, why


def together(states: List[Any]) -> Any:
    """UP or DOWN when every port is; PARTIAL when they differ; None when one is not known."""
    if not states or any(state not in ("UP", "DOWN") and not str(state or "").startswith("PARTIAL") for state in states):
        return None
    return states[0] if len(set(states)) == 1 else "PARTIAL"


def _counts(place: List[str], ports: List[Dict[str, Any]], ask: Ask) -> Tuple[Dict[str, Any], str]:
    total = {"link_up_count": 0, "link_down_count": 0}
    for port in ports:
        if port.get("udie") is None or port.get("port") is None:
            return {}, "unparseable"
        told, reason = ask(["-g", "-link_stat"] + place + ["-u", str(port["udie"]), "-p", str(port["port"])])
        for name in total:
            value = told.get(name)
            if told.get("kind") != "link_stat" or value is None:
                return {}, reason or "unparseable"
            total[name] += value
    return dict(total), ""


def parsed(out: str) -> Dict[str, Any]:
    """The reading of one answer; {} where no reader knows it."""
    found = hccn.parse(out)
    return found if hccn.recognised(found) else {}
