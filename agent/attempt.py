"""An attempt on this node: the pointer that the agent keeps to it, and what its directory says. Refuses to change it.

The directory (``<work>/.rankdeck/<job>/<attempt>/<node>``) is the truth; any state can be read from it:
prepared.json, committed.json, shim.json, stop*.json and exit-command.json appear in that order, each once.
The pointer (``attempts/<attempt>.json`` in the state directory) is how a restarted resident finds it again.
"""

from __future__ import annotations

import os
import re
from typing import Any

from agent import disk, processes

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_ROUND = re.compile(r"round-(\d{2,4})\Z")
_LOG = re.compile(r"local_rank-(\d{1,4})\.log\Z")
_EXIT = re.compile(r"exit-local_rank-(\d{1,4})\.json\Z")


def is_name(text: Any) -> bool:
    """Whether a job, attempt or node name is fit to be a part of a path."""
    return isinstance(text, str) and _NAME.match(text) is not None


class Pointer:
    """What the agent keeps of an attempt outside of its directory.

    ended: "aborted" or "expired" when the directory was taken away, else "". clearing: it is ended, and its
    directory may still be there. closed: everything of it has been recorded, nothing is followed any more.
    deadline: node wall clock, s, for the commit.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.job: str = data.get("job") or ""
        self.attempt: str = data.get("attempt") or ""
        self.epoch: int = int(data.get("epoch") or 0)
        self.node: str = data.get("node") or ""
        self.node_index: int | None = data.get("node_index")
        self.dir: str = data.get("dir") or ""
        self.operator: str = data.get("operator") or ""
        self.deadline: float = float(data.get("deadline") or 0.0)
        self.ended: str = data.get("ended") or ""
        self.why: str = data.get("why") or ""
        self.clearing: bool = bool(data.get("clearing"))
        self.closed: bool = bool(data.get("closed"))

    def path(self, name: str) -> str:
        """A file of the attempt."""
        return os.path.join(self.dir, name)

    def has(self, name: str) -> bool:
        """Whether a file of the attempt is there."""
        return os.path.exists(self.path(name))

    def changed(self, **fields: Any) -> Pointer:
        """A copy with other fields."""
        return Pointer(dict(self.data, **fields))


def load(folder: str, attempt: str) -> Pointer | None:
    """The pointer of an attempt, None when this node does not know it."""
    data = disk.read_json(os.path.join(folder, attempt + ".json")) if is_name(attempt) else None
    return Pointer(data) if data is not None else None


def load_all(folder: str) -> list[Pointer]:
    """All pointers, oldest attempt first."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except OSError:
        return []
    found = [load(folder, name[: -len(".json")]) for name in names]
    return [pointer for pointer in found if pointer is not None]


def save(folder: str, pointer: Pointer) -> None:
    """Keep a pointer. Raises OSError."""
    disk.replace(os.path.join(folder, pointer.attempt + ".json"), pointer.data)


def passed(pointer: Pointer) -> list[tuple[str, str, str]]:
    """The states of JOB_STATES that an attempt has been in, in order, each with operator and why; the last is current."""
    if pointer.ended:
        return [(pointer.ended, pointer.operator, pointer.why)]
    states = []
    if pointer.has("adopted.json"):
        # Somebody else's, and it runs: nobody here would otherwise follow it.
        states += [("adopted", pointer.operator, ""), ("running", pointer.operator, "")]
    if pointer.has("prepared.json"):
        states.append(("prepared", pointer.operator, ""))
    if pointer.has("committed.json"):
        states.append(("committed", pointer.operator, ""))
    if pointer.has("shim.json"):
        states.append(("running", pointer.operator, ""))
    stop = disk.read_json(pointer.path("stop.json"))
    if stop is not None:
        states.append(("stopping", stop.get("operator") or "", stop.get("why") or ""))
    end = disk.read_json(pointer.path("exit-command.json"))
    if end is not None:
        asked = bool(end.get("asked"))
        states.append(("stopped" if asked else "exited", (stop or {}).get("operator") or pointer.operator, how_it_ended(end)))
    return states


def how_it_ended(end: dict[str, Any]) -> str:
    """An exit record in words."""
    if end.get("why"):
        return str(end["why"])
    if end.get("signal") is not None:
        return "signal %s" % end["signal"]
    return "exit status %s" % end.get("code")


def is_live(pointer: Pointer, now: float) -> bool:
    """Whether an attempt still has a claim on the devices it locked."""
    if pointer.ended or pointer.closed or pointer.has("exit-command.json"):
        return False
    if pointer.has("adopted.json"):
        return True
    shim = disk.read_json(pointer.path("shim.json"))
    if shim is not None:
        return shim_lives(shim) or command_lives(shim) or bool(processes.of_attempt(pointer.attempt, pointer.dir))
    committed = disk.read_json(pointer.path("committed.json"))
    if committed is not None:
        # Committed and not begun: its resident was killed in between, and the next one begins it or gives it up.
        return committed.get("boot_id") == processes.boot_id()
    return now < pointer.deadline


def shim_lives(shim: dict[str, Any]) -> bool:
    """Whether the shim of a shim.json still runs."""
    return processes.is_alive(shim.get("pid"), shim.get("start_ticks"), shim.get("boot_id"))


def command_lives(shim: dict[str, Any]) -> bool:
    """Whether the command of a shim.json still runs. Its environment does not tell while it is being executed: it has none then."""
    return processes.is_alive(shim.get("child_pid"), shim.get("child_start_ticks"), shim.get("boot_id"))


def rounds(folder: str) -> list[tuple[int, str]]:
    """Number and directory of each round, ascending."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = [(int(match.group(1)), os.path.join(folder, name)) for name in names for match in [_ROUND.match(name)] if match]
    return sorted(found)


def logs(round_folder: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """Of one round: (local rank, path) of its logs and of its exit records, each ascending."""
    try:
        names = os.listdir(round_folder)
    except OSError:
        return [], []
    found: list[list[tuple[int, str]]] = [[], []]
    for name in names:
        for place, pattern in enumerate((_LOG, _EXIT)):
            match = pattern.match(name)
            if match:
                found[place].append((int(match.group(1)), os.path.join(round_folder, name)))
    return sorted(found[0]), sorted(found[1])
