"""The container engine of the node: is there one, does its daemon answer, what runs, and who was given which NPU.

Owns the questions to ``docker`` and ``podman``. Refuses to start, stop or pull anything, and to raise. A
daemon that hangs costs this record alone.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from agent.parse import containers as parse
from agent.probe import command

TIMEOUT_S = 8.0
ENGINES = ("docker", "podman")
INSPECTED_MAX = 200
_EMPTY: Dict[str, Any] = {"engine": None, "version": None, "daemon": None, "root_dir": None, "complete": False, "containers": [], "absent": {}, "took_s": 0.0}
_alone = threading.Lock()
"""Never two of a kind at once, whoever asks."""

Runner = Callable[..., command.Result]
Finder = Callable[[str], Optional[str]]


def read(timeout_s: float = TIMEOUT_S, runner: Runner = command.run, finder: Finder = command.find, engine: Optional[str] = None) -> Dict[str, Any]:
    """A ``containers`` record's data.

    ``engine``: the one that is wanted, where a node has several; without it, or where it is not installed,
    the first of ENGINES. It is what the record tells of; the containers are those of all engines, each with
    its ``engine``, because any of them may hold an NPU. ``daemon``: up, down, denied or timeout (podman has
    none and is up when it answers). ``containers``: of agent.parse.containers' inspect, with the mounts,
    labels and devices that matter here. ``absent``: also "containers:podman", of an engine beside. Engines are
    asked side by side, each command for ``timeout_s`` at most (s). Never raises.
    """
    if not _alone.acquire(timeout=timeout_s):
        return dict(_EMPTY, containers=[], absent={"*": "timeout"}, took_s=round(timeout_s, 3))
    try:
        return _read(timeout_s, runner, finder, engine)
    finally:
        _alone.release()


def _read(timeout_s: float, runner: Runner, finder: Finder, wanted: Optional[str]) -> Dict[str, Any]:
    started = time.monotonic()
    paths = {name: path for name, path in ((name, finder(name)) for name in ENGINES) if path is not None}
    if not paths:
        return dict(_EMPTY, containers=[], absent={"*": "missing"})
    first = wanted if wanted in paths else next(iter(paths))
    found: Dict[str, Dict[str, Any]] = {}

    def look(engine: str) -> None:
        found[engine] = _one(engine, paths[engine], timeout_s, runner)

    # Side by side: one that hangs must not use up the time of the others.
    beside = [threading.Thread(target=look, args=(engine,), name="list-" + engine, daemon=True) for engine in paths if engine != first]
    for each in beside:
        each.start()
    look(first)
    for each in beside:
        each.join()
    data = found.pop(first)
    for engine, other in sorted(found.items()):
        data["containers"] += other["containers"]
        if "containers" in other["absent"]:
            data["absent"]["containers:" + engine] = other["absent"]["containers"]
    data["took_s"] = round(time.monotonic() - started, 3)
    return data


def _one(engine: str, path: str, timeout_s: float, runner: Runner) -> Dict[str, Any]:
    """The record of one engine alone."""
    data: Dict[str, Any] = dict(_EMPTY, engine=engine, containers=[], absent={})
    data["version"] = parse.parse_version(runner([path, "--version"], timeout_s).out)
    listed = runner([path, "ps", "--no-trunc", "--format", "{{json .}}" if engine == "docker" else "json"], timeout_s)
    data["daemon"] = _daemon(listed)
    if data["daemon"] != "up":
        data["absent"]["containers"] = data["daemon"] if data["daemon"] in ("denied", "timeout") else "error"
        return data
    ids = [row["id"] for row in parse.parse_ps(listed.out)["containers"] if row["id"]]
    data["complete"] = True
    if ids:
        seen = runner([path, "inspect", "--type", "container"] + ids[:INSPECTED_MAX], timeout_s)
        parsed = parse.parse_inspect(seen.out)
        data["containers"] = [dict(_kept(one), engine=engine) for one in parsed["containers"]]
        # One that ended meanwhile makes the engine complain and list the others.
        data["complete"] = len(parsed["containers"]) >= len(ids) or (bool(parsed["containers"]) and seen.status is not None)
        if not parsed["containers"]:
            data["absent"]["containers"] = seen.reason or "unparseable"
    data["root_dir"] = _root(path, engine, timeout_s, runner)
    if data["root_dir"] is None:
        data["absent"]["root_dir"] = "unparseable"
    return data


def image(reference: str, timeout_s: float = TIMEOUT_S, runner: Runner = command.run, finder: Finder = command.find,
          engine: Optional[str] = None) -> Dict[str, Any]:
    """{reference, present, id, digests, why} of an image on this node; ``present`` None where it could not be told."""
    found: Dict[str, Any] = {"reference": reference, "present": None, "id": None, "digests": [], "why": ""}
    path = next((at for at in (finder(name) for name in ((engine,) if engine else ENGINES)) if at), None)
    if path is None:
        found["why"] = "missing"
        return found
    result = runner([path, "image", "inspect", "--", reference], timeout_s)
    try:
        data = json.loads(result.out[result.out.index("["):result.out.rindex("]") + 1])
    except ValueError:
        data = None
    if isinstance(data, list) and data and isinstance(data[0], dict):
        digests = data[0].get("RepoDigests")
        found.update(present=True, id=str(data[0].get("Id") or "") or None, digests=[str(each) for each in digests] if isinstance(digests, list) else [])
    elif "no such image" in result.out.lower() or "no such object" in result.out.lower() or "image not known" in result.out.lower():
        found["present"] = False
    else:
        found["why"] = result.reason or ("denied" if _daemon(result) == "denied" else "error")
    return found


def _daemon(result: command.Result) -> str:
    if result.reason:
        return "timeout" if result.reason == "timeout" else "denied" if result.reason == "denied" else "down"
    low = result.out.lower()
    if "permission denied" in low:
        return "denied"
    return "up" if result.status == 0 else "down"


def _root(path: str, engine: str, timeout_s: float, runner: Runner) -> Optional[str]:
    form = "{{.DockerRootDir}}" if engine == "docker" else "{{.Store.GraphRoot}}"
    result = runner([path, "info", "--format", form], timeout_s)
    lines = [line.strip() for line in result.out.splitlines() if line.strip().startswith("/")]
    return lines[-1] if lines and result.status == 0 else None


def _kept(one: Dict[str, Any]) -> Dict[str, Any]:
    """What a record keeps of a container: labels only ours, mounts only their paths."""
    labels = {name: text for name, text in one["labels"].items() if name.startswith("rankdeck.")}
    mounts: List[Dict[str, Any]] = one["mounts"][:64]
    return {"id": one["id"], "name": one["name"], "image": one["image"], "image_id": one["image_id"], "status": one["status"], "pid": one["pid"],
            "started": one["started"], "privileged": one["privileged"], "network": one["network"], "npus": one["npus"],
            "visible": one["visible"], "labels": labels, "mounts": mounts}
