"""Jobs that somebody started by hand, watched and not touched: a log file, a process and its children, a container.

Owns what is needed to follow one: which processes it has, which logs they write, whether it is over. All
that is written is an attempt's directory below the state directory, so that everything else follows it like
any other attempt. Refuses to signal, stop or change what it watches.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from agent import clock, disk, mounts, processes
from agent.attempt import Pointer
from agent.parse import containers as parse
from agent.parse import proc
from agent.probe import command, containers
from agent.processes import Process
from agent.ranks import environment_of
from agent.refusal import Refused

FILE = "adopted.json"
LOGS_MAX = 64
INSPECT_S = 8.0


def begin(folder: str, what: dict[str, Any]) -> dict[str, Any]:
    """What adopted.json says of the thing that is to be watched. Raises Refused when it is not there."""
    logs = what.get("logs") or []
    if not isinstance(logs, list) or not all(isinstance(path, str) and os.path.isabs(os.path.expanduser(path)) for path in logs) or len(logs) > LOGS_MAX:
        raise Refused("the logs must be absolute paths", got=repr(logs)[:80], expected="at most %d" % LOGS_MAX, move="Correct the request")
    found: dict[str, Any] = {"logs": [os.path.expanduser(path) for path in logs], "kind": "log", "members": [], "container": None, "since": clock.wall_s()}
    missing = [path for path in found["logs"] if not _is_log(path)]
    if missing:
        raise Refused("a log is not there", where=folder, got=", ".join(missing)[:200], expected="files that can be read", move="Name the file as it is on that node")
    if what.get("container"):
        found.update(kind="container", container=_container(str(what["container"])))
        found["members"] = [[process.pid, process.ticks] for process in _in_container(found["container"])]
    elif isinstance(what.get("pid"), int):
        ticks = (processes.stat_of(what["pid"]) or ("", 0, 0, None))[3]
        if ticks is None:
            raise Refused("there is no process %d" % what["pid"], expected="a process of this node", move="Look again: ps, or rankdeck exec")
        found.update(kind="process", members=[[what["pid"], ticks]])
    elif not found["logs"]:
        raise Refused("nothing to adopt is named", expected="a log, a process or a container", move="Correct the request")
    if found["kind"] != "log":
        for path in _written_by(members(found)):
            if path not in found["logs"] and len(found["logs"]) < LOGS_MAX:
                found["logs"].append(path)
    return found


def read(pointer: Pointer) -> dict[str, Any] | None:
    """adopted.json of an attempt, None for one of our own."""
    return disk.read_json(pointer.path(FILE))


def members(adopted: dict[str, Any]) -> list[Process]:
    """Its living processes: those known at the beginning that still live, and all their descendants; of a container all in it."""
    if adopted.get("container"):
        return _in_container(adopted["container"])
    known = {int(pid) for pid, ticks in adopted.get("members") or [] if processes.is_alive(pid, ticks, None)}
    if not known:
        return []
    below: dict[int, list[int]] = {}
    for pid in _pids():
        seen = processes.stat_of(pid)
        if seen is not None and seen[0] not in "ZX":
            below.setdefault(seen[1], []).append(pid)
    waiting = list(known)
    while waiting:
        for child in below.get(waiting.pop(), []):
            if child not in known:
                known.add(child)
                waiting.append(child)
    return [process for process in map(_process, sorted(known)) if process is not None]


def is_over(adopted: dict[str, Any]) -> bool:
    """Whether nothing of it runs any more. Of a log alone nobody can tell: it is followed until it is released."""
    return adopted.get("kind") != "log" and not members(adopted)


def workers(members: list[Process]) -> dict[int, dict[str, Any]]:
    """Local rank -> what the environment of that worker says: the topmost process with RANK and LOCAL_RANK."""
    found = {process.pid: process for process in members}
    ranks: dict[int, dict[str, Any]] = {}
    for process in found.values():
        row = environment_of(process)
        above = found.get(process.ppid)
        if row is not None and (above is None or environment_of(above) is None):
            ranks[row["local_rank"]] = row
    return ranks


def _container(name: str) -> dict[str, Any]:
    for engine in containers.ENGINES:
        path = command.find(engine)
        if path is None:
            continue
        seen = parse.parse_inspect(command.run([path, "inspect", "--type", "container", "--", name], INSPECT_S).out)["containers"]
        if seen and seen[0]["id"]:
            if not seen[0]["pid"]:
                raise Refused("container %s does not run" % name, got=str(seen[0]["status"]), expected="a running container", move="Start it first, or adopt its log")
            return {"id": seen[0]["id"], "name": seen[0]["name"], "pid": seen[0]["pid"]}
    raise Refused("there is no container %s" % name, expected="a container of this node's engine", move="Look again: docker ps")


def _in_container(container: dict[str, Any]) -> list[Process]:
    found = []
    for pid in _pids():
        try:
            with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as file:
                inside = proc.container_id(file.read())
        except OSError:
            continue
        if inside and container["id"].startswith(inside[:12]):
            process = _process(pid)
            if process is not None:
                found.append(process)
    return found


def _written_by(found: list[Process]) -> list[str]:
    """The regular files to which standard output and error of these processes go, each once."""
    paths: list[str] = []
    for process in found:
        for fd in (1, 2):
            try:
                path = os.readlink("/proc/%d/fd/%d" % (process.pid, fd))
            except OSError:
                continue
            # In a container the path is the container's.
            for seen in (path, mounts.on_host(process.pid, path), "/proc/%d/root%s" % (process.pid, path)):
                if os.path.isabs(path) and _is_log(seen) and _same(seen, process.pid, fd):
                    if seen not in paths:
                        paths.append(seen)
                    break
    return paths


def _same(path: str, pid: int, fd: int) -> bool:
    try:
        return os.path.samefile(path, "/proc/%d/fd/%d" % (pid, fd))
    except OSError:
        return False


def _is_log(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.R_OK)
    except OSError:
        return False


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _process(pid: int) -> Process | None:
    seen = processes.stat_of(pid)
    return None if seen is None or seen[0] in "ZX" else Process(pid, seen[1], seen[2], seen[3], processes.environ_of(pid))
