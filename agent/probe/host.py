"""The machine itself: processor, memory, disk, shared memory, load. Standard library only.

Owns the reading of /proc and statvfs. Refuses psutil (nodes have no pip) and to raise: a value that
cannot be had is None and named in ``absent`` with its reason.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Optional, Tuple

from agent.parse import proc

SHM = "/dev/shm"
FIELDS = ("cpu_pct", "load1", "cores", "memory_used_mb", "memory_total_mb", "disk_used_mb", "disk_total_mb",
          "shm_used_mb", "shm_total_mb")


def read(previous: Optional[Dict[str, Any]] = None, disk: str = "/", root: str = "/proc") -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """(data of a ``host`` record, state for the next call).

    ``previous`` is the last call's state: cpu_pct is over the time between the two, so the first call has
    none ("unsupported" would be wrong: it is "missing" until then). ``disk``: the path whose file system
    counts, as a rule the work directory.
    """
    absent: Dict[str, str] = {}
    state: Dict[str, Any] = {}
    values: Dict[str, Any] = dict.fromkeys(FIELDS)

    def take(names: Tuple[str, ...], getter: Callable[[], Tuple[Any, ...]]) -> None:
        try:
            got = getter()
        except FileNotFoundError:
            got, why = (None,) * len(names), "missing"
        except PermissionError:
            got, why = (None,) * len(names), "denied"
        except (OSError, ValueError):
            got, why = (None,) * len(names), "error"
        else:
            why = "unparseable"
        for name, value in zip(names, got):
            values[name] = value
            if value is None:
                absent[name] = why

    def cpu() -> Tuple[Optional[float]]:
        ticks = proc.cpu_ticks(_text(os.path.join(root, "stat")))
        if ticks is None:
            return (None,)
        state["busy"], state["all"] = ticks
        if not previous or "all" not in previous:
            raise FileNotFoundError("no earlier reading")
        elapsed = ticks[1] - previous["all"]
        if elapsed <= 0:
            raise FileNotFoundError("no time has passed")
        return (round(min(100.0, max(0.0, 100.0 * (ticks[0] - previous["busy"]) / elapsed)), 1),)

    take(("cpu_pct",), cpu)
    take(("load1",), lambda: (proc.load1(_text(os.path.join(root, "loadavg"))),))
    take(("cores",), lambda: (os.cpu_count(),))
    take(("memory_used_mb", "memory_total_mb"), lambda: proc.memory_mb(_text(os.path.join(root, "meminfo"))))
    take(("disk_used_mb", "disk_total_mb"), lambda: _space_mb(disk))
    take(("shm_used_mb", "shm_total_mb"), lambda: _space_mb(SHM))
    return dict(values, absent=absent), state


def _text(path: str) -> str:
    with open(path, "rb") as opened:
        return opened.read(1 << 20).decode("utf-8", "replace")


def _space_mb(path: str) -> Tuple[float, float]:
    """(used, total) of the file system that holds the path, MB; used as df counts it."""
    space = os.statvfs(path)
    unit = space.f_frsize / float(1 << 20)
    return round((space.f_blocks - space.f_bfree) * unit, 1), round(space.f_blocks * unit, 1)
