"""Texts of /proc: CPU time, memory, load, mounts, one process. Pure; nothing here opens a file.

Owns the formats of proc(5). Refuses to derive rates (``agent.probe.host`` keeps the previous reading).
Never raises: what cannot be read is None or left out.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple


def cpu_ticks(text: str) -> Optional[Tuple[int, int]]:
    """(busy, all) clock ticks of all cores together, from /proc/stat's first line; None where it is not one.

    ``cpu  user nice system idle iowait irq softirq steal guest guest_nice``: guest time is part of user
    time already; waiting for a disk counts as idle.
    """
    fields = text.split("\n", 1)[0].split()
    if len(fields) < 5 or fields[0] != "cpu" or not all(field.isdecimal() and len(field) < 20 for field in fields[1:]):
        return None
    ticks = [int(field) for field in fields[1:9]]
    idle = ticks[3] + (ticks[4] if len(ticks) > 4 else 0)
    return sum(ticks) - idle, sum(ticks)


def memory_mb(text: str) -> Tuple[Optional[float], Optional[float]]:
    """(used, total) in MB (2^20 bytes) from /proc/meminfo; used is total less MemAvailable."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable|MemFree):\s+([0-9]{1,15}) kB", text, re.MULTILINE))
    if "MemTotal" not in found:
        return None, None
    total = int(found["MemTotal"])
    free = found.get("MemAvailable", found.get("MemFree"))
    return (round((total - int(free)) / 1024.0, 1) if free is not None else None), round(total / 1024.0, 1)


def load1(text: str) -> Optional[float]:
    """The one-minute load from /proc/loadavg."""
    found = re.match(r"([0-9]{1,9}\.[0-9]{1,4}) ", text)
    return float(found.group(1)) if found else None


def process_stat(text: str) -> Optional[Dict[str, Any]]:
    """{pid, name, state, parent, group, session, start_ticks} of /proc/PID/stat; None where it is not one.

    The name stands in parentheses and may hold blanks and parentheses: the last one ends it.
    """
    opening, closing = text.find("("), text.rfind(")")
    fields = text[closing + 1:].split()
    if opening < 0 or closing < opening or len(fields) < 20:
        return None
    try:
        return {"pid": int(text[:opening]), "name": text[opening + 1:closing], "state": fields[0],
                "parent": int(fields[1]), "group": int(fields[2]), "session": int(fields[3]),
                "start_ticks": int(fields[19])}
    except ValueError:
        return None


def environment(data: bytes) -> Dict[str, str]:
    """The variables in /proc/PID/environ."""
    pairs = (item.decode("utf-8", "replace").partition("=") for item in data.split(b"\0") if b"=" in item)
    return {name: value for name, _, value in pairs if name}


def mounts(text: str) -> List[Dict[str, str]]:
    """[{device, path, type, options}] of /proc/mounts, in its order; octal escapes (\\040) are undone."""
    rows = []
    for line in text.splitlines():
        fields = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field) for field in line.split(" ")]
        if len(fields) >= 4:
            rows.append({"device": fields[0], "path": fields[1], "type": fields[2], "options": fields[3]})
    return rows


def version_info(text: str) -> Dict[str, str]:
    """``key=value`` lines of the driver's version.info and of CANN's *_install.info, keys in lower case."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() and not line.lstrip().startswith("#"):
            found[key.strip().lower()] = value.strip()
    return found


def container_id(text: str) -> Optional[str]:
    """The container in /proc/PID/cgroup, 64 hex digits; None on the host.

    ``12:devices:/docker/<id>`` (cgroup v1), ``0::/system.slice/docker-<id>.scope`` (v2), ``libpod-<id>`` of
    podman, ``cri-containerd-<id>`` and ``crio-<id>`` under Kubernetes. The innermost one counts.
    """
    found = re.findall(r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])", text)
    return found[-1] if found else None


def user_id(text: str) -> Optional[int]:
    """The real user of /proc/PID/status (``Uid:\t1000\t1000\t1000\t1000``)."""
    found = re.search(r"^Uid:\s+([0-9]{1,10})", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def boot_time(text: str) -> Optional[int]:
    """When the machine was started, s since the epoch (``btime`` of /proc/stat)."""
    found = re.search(r"^btime ([0-9]{1,12})$", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def limits(text: str) -> Dict[str, List[Optional[int]]]:
    """Name -> [soft, hard] of /proc/PID/limits; None stands for unlimited. ``max_open_files``, ``max_locked_memory``, ..."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(Max [A-Za-z]{1,40}(?: [A-Za-z]{1,40}){0,5})\s{2,}(unlimited|[0-9]{1,20})\s+(unlimited|[0-9]{1,20})(?:\s|$)", line)
        if match:
            name = match.group(1).lower().replace(" ", "_")
            found[name] = [None if each == "unlimited" else int(each) for each in match.groups()[1:]]
    return found


def listening_ports(text: str) -> List[int]:
    """Ports that something listens on, of /proc/net/tcp or tcp6 (state 0A), ascending."""
    found = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A" and re.match(r"^[0-9A-Fa-f]{8,32}:[0-9A-Fa-f]{4}$", fields[1]):
            found.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(found)


def os_release(text: str) -> Optional[str]:
    """PRETTY_NAME of /etc/os-release (os-release(5)) without its quotes; None where there is none."""
    found = re.search(r"^PRETTY_NAME=(.*)$", text, re.MULTILINE)
    return re.sub(r"^[\"']|[\"']$", "", found.group(1).rstrip()) or None if found else None


def mount_of(path: str, rows: List[Dict[str, str]]) -> Optional[Dict[str, str]]:
    """The mount that holds an absolute path: the longest that is above it, the later one of two alike."""
    best: Optional[Dict[str, str]] = None
    for row in rows:
        folder = row["path"].rstrip("/")
        above = path == folder or path.startswith(folder + "/")
        if above and (best is None or len(folder) >= len(best["path"].rstrip("/"))):
            best = row
    return best
