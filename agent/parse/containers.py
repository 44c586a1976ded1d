"""``docker ps`` and ``docker inspect`` (podman's too): which container holds which NPU.

Owns both forms of ps (a table with titles, one JSON object a line) and the part of inspect that says what a
container may touch. Refuses to ask the engine, and to decide whether a container is in the way. Never
raises; what cannot be read is left out and ``complete`` says so.

An NPU is given to a container by ``--device /dev/davinciN``, by the Ascend runtime's
``ASCEND_VISIBLE_DEVICES``, or by ``--privileged`` (all of them).
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Optional

from agent.parse import values
from agent.parse.text import clean

VERSION = 1
LINE_LIMIT = 20000

_PS_FIELDS = {"container id": "id", "image": "image", "command": "command", "created": "created", "status": "status",
              "ports": "ports", "names": "name"}
_PS_KEYS = {"id": "ID", "image": "Image", "command": "Command", "created": "CreatedAt", "status": "Status", "ports": "Ports", "name": "Names"}
_PS_TITLES = frozenset(_PS_FIELDS) | {"size", "pod id", "podname", "local volumes", "networks", "mounts", "labels", "state", "runtime", "namespace"}
_ID = re.compile(r"^[0-9a-f]{1,64}$")
# "Docker version 24.0.7, build afdd53b", "podman version 4.9.4"; " Version:           24.0.7" (docker version)
_VERSION = re.compile(r"(?im)\b(?:docker|podman) version ([0-9][^\s,]{0,40})|^ ?Version: {1,20}([0-9][^\s,]{0,40})\s*$")
_DAVINCI = re.compile(r"^/dev/davinci([0-9]{1,4})$")


def parse_ps(text: str) -> Dict[str, Any]:
    """{complete, containers}: containers [{id, image, command, created, status, ports, name}], as printed."""
    rows: List[Dict[str, Optional[str]]] = []
    array = _array(text)
    if array is not None:
        return {"complete": all(isinstance(one, dict) for one in array), "containers": [_listed(one) for one in array if isinstance(one, dict)]}
    starts: List[int] = []
    titles: List[str] = []
    sound = True
    lines, rest = values.whole_lines(text)
    for number, raw in enumerate(lines + [rest]):
        line = clean(raw[:LINE_LIMIT])
        if not line.strip():
            continue
        if line.lstrip().startswith("{"):
            record = _json(line)
            sound = sound and isinstance(record, dict)
            if isinstance(record, dict):
                rows.append(_listed(record))
            continue
        found = list(re.finditer(r"\S+(?: \S+)*", line))
        if not titles and len(found) > 1 and all(match.group().lower() in _PS_TITLES for match in found):
            titles, starts = [match.group().lower() for match in found], [match.start() for match in found]
        elif titles:
            row = _row(line, titles, starts, ended=number < len(lines))
            if row is not None:
                sound = sound and (row["name"] is not None or "names" not in titles) and number < len(lines)
                rows.append(row)
            elif len(found) > 1:
                sound = False    # not a prompt that stands alone behind the table
    return {"complete": sound and bool(rows or titles), "containers": rows}


def _row(line: str, titles: List[str], starts: List[int], ended: bool) -> Optional[Dict[str, Optional[str]]]:
    """One row of the table: the engine aligns cells under their titles, and an empty cell is nothing but blanks; None where it is none.

    Of a line without its end the last cell may lack letters, and is left out.
    """
    if not all(start == 0 or line[start - 1:start] in ("", " ") for start in starts):
        return None
    row: Dict[str, Optional[str]] = dict.fromkeys(_PS_FIELDS.values())
    for title, start, end in zip(titles, starts, starts[1:] + [len(line) + 1]):
        if title in _PS_FIELDS and (ended or end <= len(line)):
            row[_PS_FIELDS[title]] = line[start:end].strip() or None
    if "container id" in titles and not _ID.match(line[starts[titles.index("container id")]:].split(" ", 1)[0]):
        return None
    return row


def parse_version(text: str) -> Optional[str]:
    """The version in ``Docker version 24.0.7, build afdd53b`` or ``podman version 4.9.4``; None where there is none."""
    found = _VERSION.search("\n".join(clean(line) for line in text[:LINE_LIMIT].splitlines()))
    return found.group(1) or found.group(2) if found else None


def _listed(record: Dict[str, Any]) -> Dict[str, Optional[str]]:
    """One row of ps from its JSON: docker's keys, and podman's where they differ (``Id``)."""
    row = {field: _name(record.get(key)) for field, key in _PS_KEYS.items()}
    row["id"] = row["id"] or _name(record.get("Id"))
    command = record.get("Command")
    if isinstance(command, list):
        row["command"] = " ".join(str(word) for word in command) or None
    return row


def _array(text: str) -> Optional[List[Any]]:
    """podman's ``--format json``: one array over many lines; None where the text is something else."""
    if not text.lstrip().startswith("["):
        return None
    found = _json(text)
    return found if isinstance(found, list) else None


def parse_inspect(text: str) -> Dict[str, Any]:
    """{complete, containers} of ``inspect``.

    Containers: [{id, name, image, image_id, running, status, pid, started, privileged, network, shm_bytes,
    devices, npus, visible, mounts, labels}]. ``npus``: numbers of the davinci devices passed in, ascending;
    ``visible``: ASCEND_VISIBLE_DEVICES as set, or None; ``mounts``: [{source, target, writable}].
    """
    data = _json(text)
    found = data if isinstance(data, list) else [data] if isinstance(data, dict) else []
    containers = [_inspected(one) for one in found if isinstance(one, dict)]
    return {"complete": bool(found) and len(containers) == len(found) and all(one["id"] for one in containers), "containers": containers}


def _inspected(one: Dict[str, Any]) -> Dict[str, Any]:
    state, config, host = _dict(one.get("State")), _dict(one.get("Config")), _dict(one.get("HostConfig"))
    devices = [str(_dict(device).get("PathOnHost")) for device in _list(host.get("Devices")) if _dict(device).get("PathOnHost")]
    numbers = [match.group(1) for match in (_DAVINCI.match(device) for device in devices) if match]
    environment = [item for item in _list(config.get("Env")) if isinstance(item, str)]
    visible = [item.partition("=")[2] for item in environment if item.startswith("ASCEND_VISIBLE_DEVICES=")]
    pid = state.get("Pid")
    return {"id": _name(one.get("Id")), "name": (_name(one.get("Name")) or "").lstrip("/") or None,
            "image": _name(config.get("Image")) or _name(one.get("ImageName")), "image_id": _name(one.get("Image")),
            "running": state.get("Running") if isinstance(state.get("Running"), bool) else None,
            "status": _name(state.get("Status")), "pid": pid if isinstance(pid, int) and pid > 0 else None,
            "started": _name(state.get("StartedAt")), "privileged": host.get("Privileged") is True,
            "network": _name(host.get("NetworkMode")),
            "shm_bytes": host.get("ShmSize") if isinstance(host.get("ShmSize"), int) else None,
            "devices": devices, "npus": sorted(int(number) for number in numbers), "visible": visible[-1] if visible else None,
            "mounts": [{"source": _name(mount.get("Source")), "target": _name(mount.get("Destination")), "writable": mount.get("RW") is True}
                       for mount in map(_dict, _list(one.get("Mounts")))],
            "labels": {str(key): str(value) for key, value in _dict(config.get("Labels")).items()}}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _dict(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> List[Any]:
    return value if isinstance(value, list) else []


def _name(value: Any) -> Optional[str]:
    """Text, or the first of a list (podman prints names as one); None for all else and for nothing."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) and value else None
