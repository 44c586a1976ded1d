"""Processes of this node, read from /proc, and signals to them. Refuses to signal a process it cannot name.

A process is named by its pid together with its start time (field 22 of /proc/PID/stat, clock ticks since
boot) and the boot id: a pid alone may be somebody else's by now. Processes of an attempt are found by
RANKDECK_ATTEMPT and RANKDECK_DIR in the environment they were started with. Formats: proc(5).
"""

from __future__ import annotations

import os

from agent import clock


class Process:
    """One process as it was when read: pid, parent, process group, start time in ticks, environment."""

    def __init__(self, pid: int, ppid: int, pgid: int, ticks: int, env: dict[str, str]) -> None:
        self.pid, self.ppid, self.pgid, self.ticks, self.env = pid, ppid, pgid, ticks, env


def boot_id() -> str:
    """This boot's id; an empty string where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def stat_of(pid: int) -> tuple[str, int, int, int] | None:
    """State letter, parent pid, process group and start ticks of a process; None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The second field is the name in brackets and may hold blanks and brackets itself.
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return fields[0].decode("ascii", "replace"), int(fields[1]), int(fields[2]), int(fields[19])


def is_alive(pid: int | None, ticks: int | None, boot: str | None) -> bool:
    """Whether that very process still runs (a zombie does not). ticks or boot None: not compared."""
    if not pid or pid <= 0 or (boot is not None and boot != boot_id()):
        return False
    found = stat_of(pid)
    return found is not None and found[0] not in "ZX" and (ticks is None or found[3] == ticks)


def environ_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it is gone or not ours to read."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            raw = file.read()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, _, value in pairs}


def inner_pid(pid: int) -> int:
    """The number by which a process knows itself: in a container another one than ours; 0 when it is gone."""
    try:
        with open("/proc/%d/status" % pid, "rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return int(line.split()[-1])
    except (OSError, ValueError):
        return 0
    return pid  # a kernel before 4.1


def began_at(ticks: int) -> float:
    """Wall clock, s, at which a process began that has these start ticks; 0.0 where the kernel does not tell."""
    try:
        with open("/proc/uptime", encoding="ascii") as file:
            up = float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return clock.wall_s() - up + ticks / float(os.sysconf("SC_CLK_TCK"))


def of_attempt(attempt: str, folder: str) -> list[Process]:
    """All living processes started with that RANKDECK_ATTEMPT and RANKDECK_DIR, by pid."""
    marks = {b"RANKDECK_ATTEMPT=" + attempt.encode(), b"RANKDECK_DIR=" + os.fsencode(folder)}
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as file:
                raw = file.read()
        except OSError:
            continue
        if not marks <= set(raw.split(b"\0")):
            continue
        pid = int(name)
        status = stat_of(pid)
        if status is not None and status[0] not in "ZX":
            found.append(Process(pid, status[1], status[2], status[3], environ_of(pid)))
    return sorted(found, key=lambda process: process.pid)


def send(pid: int, ticks: int | None, signal_number: int) -> bool:
    """Signal that very process; whether it was there."""
    if not is_alive(pid, ticks, None):
        return False
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def send_group(pgid: int, signal_number: int) -> bool:
    """Signal a process group; whether it had members. The caller has made sure whose group it is."""
    if pgid <= 1 or pgid == os.getpgrp():
        return False
    try:
        os.killpg(pgid, signal_number)
    except (ProcessLookupError, PermissionError):
        return False
    return True

