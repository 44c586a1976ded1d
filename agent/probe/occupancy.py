"""Who holds which NPU: host processes by their open ``/dev/davinciN``, the container each is in, whose, since when.

Owns the scan of /proc. Refuses to end, signal or even blame anybody: it says who is there. Where other
users' files cannot be looked into (not root) that is said, and what ``npu-smi`` lists as processes is used
for the pids instead.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from typing import Any, Dict, Iterable, List, Optional, Tuple

from agent.parse import proc as parse

_NODE = re.compile(r"/davinci([0-9]{1,4})$")
_DELETED = " (deleted)"
BUDGET_S = 5.0
"""A scan stops after this long; then ``complete`` is False."""


def read(processes: Optional[Dict[str, List[Any]]] = None, root: str = "/proc", dev: str = "/dev", budget_s: float = BUDGET_S) -> Dict[str, Any]:
    """An ``occupancy`` record's data: {devices, holders, complete, absent, took_s}.

    ``processes``: those of the last ``sample`` (columns). ``devices``: numbers of the device files, ascending.
    ``holders``: [{device, pid, name, uid, user, since, container, job, attempt, source}], ``since`` in s since
    the epoch, ``container`` its id or None for the host, ``source`` "fd" or "npu-smi". ``device`` is N of
    /dev/davinciN; of a process that only npu-smi names it is None and ``npu_id``/``chip_id`` say which.
    """
    started = time.monotonic()
    data: Dict[str, Any] = {"devices": device_numbers(dev), "holders": [], "complete": True, "absent": {}, "took_s": 0.0}
    boot = parse.boot_time(_text(os.path.join(root, "stat")) or "")
    prefix = os.path.join(dev, "davinci")
    held: Dict[int, List[int]] = {}
    denied = 0
    try:
        pids = [int(name) for name in os.listdir(root) if name.isdigit()]
    except OSError:
        data.update(complete=False, absent={"*": "denied"})
        return data
    for pid in pids:
        if time.monotonic() - started > budget_s:
            data["complete"] = False
            data["absent"]["holders"] = "timeout"
            break
        found, refused = _open_devices(os.path.join(root, str(pid), "fd"), prefix)
        denied += refused
        if found:
            held[pid] = found
    if denied and "holders" not in data["absent"]:
        data["complete"] = False
        data["absent"]["holders"] = "denied"
    named = _named(processes)
    ticks = os.sysconf("SC_CLK_TCK")
    for pid in sorted(set(held) | set(named)):
        who = _who(pid, root, boot, ticks)
        if who is None and pid not in held:
            # npu-smi prints the host's pid, which a container does not see.
            who = {"pid": pid, "name": named[pid][0][2], "uid": None, "user": None, "since": None, "container": None, "job": None, "attempt": None}
        if who is None:
            continue
        for device in held.get(pid, ()):
            data["holders"].append(dict(who, device=device, npu_id=None, chip_id=None, source="fd"))
        if pid not in held:
            data["holders"] += [dict(who, device=None, npu_id=npu_id, chip_id=chip_id, source="npu-smi") for npu_id, chip_id, _ in named[pid]]
    data["took_s"] = round(time.monotonic() - started, 3)
    return data


def device_numbers(dev: str = "/dev") -> List[int]:
    """N of every /dev/davinciN, ascending."""
    try:
        names = os.listdir(dev)
    except OSError:
        return []
    return sorted(int(match.group(1)) for match in (re.match(r"davinci([0-9]{1,4})$", name) for name in names) if match)


def _open_devices(folder: str, prefix: str) -> Tuple[List[int], int]:
    """(device numbers open in a process, 1 when it could not be looked into)."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return [], 1
    except OSError:
        return [], 0  # gone meanwhile
    found = set()
    for name in names:
        try:
            target = os.readlink(folder + "/" + name)
        except OSError:
            continue
        if target.startswith(prefix):
            match = _NODE.search(target[:-len(_DELETED)] if target.endswith(_DELETED) else target)
            if match:
                found.add(int(match.group(1)))
    return sorted(found), 0


def _named(processes: Optional[Dict[str, List[Any]]]) -> Dict[int, List[Tuple[Any, Any, Any]]]:
    columns = processes or {}
    found: Dict[int, List[Tuple[Any, Any, Any]]] = {}
    empty: Iterable[Any] = ()
    for pid, npu_id, chip_id, name in zip(*(columns.get(key, empty) for key in ("pid", "npu_id", "chip_id", "name"))):
        if isinstance(pid, int):
            found.setdefault(pid, []).append((npu_id, chip_id, name))
    return found


def _who(pid: int, root: str, boot: Optional[int], ticks: int) -> Optional[Dict[str, Any]]:
    """Everything about a process that everybody may read, and its job where its environment may be read too."""
    folder = os.path.join(root, str(pid))
    stat = parse.process_stat(_text(os.path.join(folder, "stat")) or "")
    if stat is None:
        return None
    uid = parse.user_id(_text(os.path.join(folder, "status")) or "")
    environ = parse.environment((_text(os.path.join(folder, "environ")) or "").encode("utf-8", "replace"))
    return {"pid": pid, "name": stat["name"], "uid": uid, "user": _user(uid),
            "since": round(boot + stat["start_ticks"] / float(ticks), 1) if boot is not None else None,
            "container": parse.container_id(_text(os.path.join(folder, "cgroup")) or ""),
            "job": environ.get("RANKDECK_JOB"), "attempt": environ.get("RANKDECK_ATTEMPT")}


def _user(uid: Optional[int]) -> Optional[str]:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return None
