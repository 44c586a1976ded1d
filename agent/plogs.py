"""The process logs that CANN writes beside a trainer's own: where they lie, which files are an attempt's, whose they are.

Layout below the directory (CANN's ASCEND_PROCESS_LOG_PATH, else ASCEND_WORK_PATH/log, else ~/ascend/log)::

    debug/plog/plog-<pid>_<time>.log        run/plog/...        security/plog/...
    debug/device-<id>/device-<pid>_<time>.log

and before CANN 7 the same without debug and run. A process begins a new file when one is full and deletes
its oldest, so files come and go by themselves. The pid is the one in the process's own PID namespace. Owns
the finding and the choice; refuses to read the files (``follow``) and to list what is not this attempt's:
in a directory that others share a file counts only where its pid is a process of the attempt.
Sources: CANN's reference of environment variables and its log reference.
"""

from __future__ import annotations

import os
import pwd
import re
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

from agent import clock, mounts, processes
from agent.processes import Process

LOOK_S = 2.0
FILES_MAX = 512
"""So many unfinished files of one attempt are followed, the newest; a rank has about four."""
OPEN_MAX = 64
"""So many of them are held open at a time."""
_SCAN_S = 5.0
_TRIES = 3
# File times are coarse, and a process writes its first line a moment after it began.
_BEFORE_S = 5.0
_KINDS = ("", "debug", "run", "security")
_PLOG = re.compile(r"(?:plog|device)-([0-9]{1,10})_[0-9]{1,20}\.log\Z")
_DEVICE = re.compile(r"device-([0-9]{1,5})\Z")


class Owner(NamedTuple):
    """A process of the attempt: its place where its environment names it, when it began (s, wall)."""

    round: Optional[int]
    rank: Optional[int]
    local_rank: Optional[int]
    began: float


class Plog(NamedTuple):
    """One process log, and what its path says."""

    path: str
    pid: int
    device: Optional[int]


def folder_of(process: Process) -> Optional[str]:
    """The directory to which a process's logs go, as this agent sees it; None where its environment cannot be read."""
    env = process.env
    if not env:
        return None
    path = env.get("ASCEND_PROCESS_LOG_PATH") or (env["ASCEND_WORK_PATH"] + "/log" if env.get("ASCEND_WORK_PATH") else "")
    if not path:
        home = env.get("HOME") or _home_of(process.pid)
        path = home + "/ascend/log" if home else ""
    return mounts.on_host(process.pid, path) if path.startswith("/") else None


def _home_of(pid: int) -> str:
    try:
        return pwd.getpwuid(os.stat("/proc/%d" % pid).st_uid).pw_dir
    except (OSError, KeyError):
        return ""


def listed(folders: Iterable[str]) -> List[Plog]:
    """Every process log below these directories, oldest first."""
    found = Plogs()
    return _by_age([plog for folder in folders for plog in found.below(folder)])


class Plogs:
    """Those of one attempt."""

    def __init__(self) -> None:
        self.owners: Dict[int, Owner] = {}
        """By the pid that stands in file names."""
        self.ended: Set[int] = set()
        """Of these, the ones that have written their last."""
        self._shared: Set[str] = set()
        self._asked: Set[Tuple[int, int]] = set()
        self._dirs: Dict[str, Tuple[int, List[Plog]]] = {}
        self._tries: Dict[str, int] = {}
        self._scan_at = 0.0
        self._look_at = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again (monotonic, s); notes that it was."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        return True

    def know(self, pid: Any, place: Any, rank: Any, local_rank: Any, began: Any) -> None:
        """A worker's exit record or its rank map names it; what is known already stays."""
        if isinstance(pid, int) and pid > 0 and (pid not in self.owners or self.owners[pid].rank is None):
            self.owners[pid] = Owner(place, rank, local_rank, began if isinstance(began, (int, float)) else 0.0)

    def take(self, members: Iterable[Process]) -> None:
        """Learn from living processes of the attempt who they are and where their logs go."""
        self._scan_at = clock.mono_s() + _SCAN_S
        for process in members:
            if (process.pid, process.ticks) in self._asked:
                continue
            self._asked.add((process.pid, process.ticks))
            place, rank, local_rank = (_number(process.env.get(name)) for name in ("RANKDECK_ROUND", "RANK", "LOCAL_RANK"))
            self.know(processes.inner_pid(process.pid), 0 if place is None and rank is not None else place, rank, local_rank, processes.began_at(process.ticks))
            folder = folder_of(process)
            if folder is not None:
                self._shared.add(os.path.normpath(folder))

    def look(self, own: Iterable[str], members: Callable[[], Iterable[Process]]) -> List[Plog]:
        """Every process log of the attempt that is there now, oldest first.

        ``own``: directories in which everything is the attempt's. ``members``: its living processes, asked
        for only when there is need.
        """
        own = [os.path.normpath(folder) for folder in own]
        found = [plog for base in own for plog in self.below(base)]
        shared = [plog for base in sorted(self._shared) if not any(base == folder or base.startswith(folder + "/") for folder in own)
                  for plog in self.below(base)]
        unknown = [plog for plog in found + shared if plog.pid not in self.owners and self._tries.get(plog.path, 0) < _TRIES]
        if (unknown or not self._scan_at) and clock.mono_s() >= self._scan_at:
            self.take(members())
            for plog in unknown:
                self._tries[plog.path] = self._tries.get(plog.path, 0) + 1
        found += [plog for plog in shared if plog.pid in self.owners and _written_after(plog.path, self.owners[plog.pid].began)]
        return _by_age(found)

    def below(self, base: str) -> List[Plog]:
        """Every process log in one directory, whosesoever."""
        found: List[Plog] = []
        for kind in _KINDS:
            above = os.path.join(base, kind) if kind else base
            for name in self._names(above):
                device = _DEVICE.match(name)
                if name == "plog" or device:
                    found += self._files(os.path.join(above, name), int(device.group(1)) if device else None)
        return found

    def _names(self, folder: str) -> List[str]:
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def _files(self, folder: str, device: Optional[int]) -> List[Plog]:
        try:
            changed = os.stat(folder).st_mtime_ns
        except OSError:
            return []
        known = self._dirs.get(folder)
        # A directory's time is coarse: what changed just now may change again under the same one.
        if known is not None and known[0] == changed and clock.wall_s() - changed / 1e9 > LOOK_S:
            return known[1]
        files = [Plog(os.path.join(folder, name), int(match.group(1)), device) for name in self._names(folder)
                 for match in [_PLOG.match(name)] if match]
        self._dirs[folder] = (changed, files)
        return files


def _by_age(found: List[Plog]) -> List[Plog]:
    return sorted(found, key=lambda plog: plog.path[plog.path.rfind("_"):])


def _written_after(path: str, began: float) -> bool:
    try:
        return os.stat(path).st_mtime >= began - _BEFORE_S
    except OSError:
        return False


def _number(text: Optional[str]) -> Optional[int]:
    return int(text) if text and text.isdigit() and len(text) < 10 else None
