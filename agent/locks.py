"""Device locks of this node: who may use which NPU, as files. Refuses older launches and devices in use.

``locks/device-N.json`` {device, job, attempt, epoch, operator, pid, time, deadline} is created exclusively.
``locks/epochs.json`` keeps the newest epoch that has held each device and launched each job, so that the
late request of a launch that was overtaken is refused even when everything of the newer one is gone.
One writer: the resident, in one lane.
"""

from __future__ import annotations

import os
import re
import socket
import time
from typing import Any, Callable

from agent import disk
from agent.refusal import Refused

_FILE = re.compile(r"device-(\d{1,4})\.json\Z")
_JOBS_KEPT = 1000


class Locks:
    """The locks under one folder. ``is_live(lock)`` says whether a lock's attempt still has a claim."""

    def __init__(self, folder: str, is_live: Callable[[dict[str, Any]], bool]) -> None:
        self._folder = folder
        self._is_live = is_live

    def take(self, devices: list[int], claim: dict[str, Any]) -> list[int]:
        """Lock all devices for ``claim`` (job, attempt, epoch, operator, pid, time, deadline), or none.

        Devices which the attempt holds already are held on with the new deadline; those of a dead attempt
        are taken over. Raises Refused naming the holder, or the newer epoch.
        """
        held = self.all()
        self._check_epoch(devices, claim, held)
        for device in devices:
            lock = held.get(device)
            if lock is not None and lock.get("attempt") != claim["attempt"] and self._is_live(lock):
                raise Refused(
                    "device %d is in use" % device, where=socket.gethostname(), got=_holder(lock), expected="a free device",
                    move="Stop that attempt (rankdeck stop %s) or choose other devices" % lock.get("job"))
        taken = []
        try:
            for device in devices:
                path = self._path(device)
                if device in held:
                    disk.remove(path)
                if not disk.write_new(path, dict(claim, device=device), 0o600):
                    raise Refused("device %d was locked by somebody else at this moment" % device, where=path, move="Try again")
                taken.append(device)
            self._note_epoch(devices, claim)
        except BaseException:
            for device in taken:
                disk.remove(self._path(device))
            raise
        return devices

    def release(self, attempt: str) -> list[int]:
        """Unlock what an attempt holds; which devices. Raises OSError."""
        gone = [device for device, lock in sorted(self.all().items()) if lock.get("attempt") == attempt]
        for device in gone:
            disk.remove(self._path(device))
        return gone

    def held_by(self, attempt: str) -> list[int]:
        """The devices that an attempt has locked."""
        return [device for device, lock in sorted(self.all().items()) if lock.get("attempt") == attempt]

    def all(self) -> dict[int, dict[str, Any]]:
        """Device -> its lock."""
        found = {}
        for name in os.listdir(self._folder):
            match = _FILE.match(name)
            if match:
                found[int(match.group(1))] = disk.read_json(os.path.join(self._folder, name)) or {}
        return found

    def _path(self, device: int) -> str:
        return os.path.join(self._folder, "device-%d.json" % device)

    def _epochs(self) -> dict[str, dict[str, int]]:
        kept = disk.read_json(os.path.join(self._folder, "epochs.json")) or {}
        return {"devices": kept.get("devices") or {}, "jobs": kept.get("jobs") or {}}

    def _check_epoch(self, devices: list[int], claim: dict[str, Any], held: dict[int, dict[str, Any]]) -> None:
        kept = self._epochs()
        newest = [("job %s" % claim["job"], kept["jobs"].get(claim["job"], 0))]
        newest += [("device %d" % device, kept["devices"].get(str(device), 0)) for device in devices]
        for name, epoch in newest:
            if epoch > claim["epoch"]:
                theirs = next((lock for lock in held.values() if lock.get("epoch") == epoch and self._is_live(lock)), None)
                raise Refused(
                    "a newer launch has had %s" % name, where=socket.gethostname(),
                    got="epoch %d" % claim["epoch"] + (", behind %s" % _holder(theirs) if theirs is not None else ""),
                    expected="epoch %d or later" % epoch, move="This launch was overtaken; launch again if it is still wanted")

    def _note_epoch(self, devices: list[int], claim: dict[str, Any]) -> None:
        kept = self._epochs()
        kept["jobs"][claim["job"]] = claim["epoch"]
        for device in devices:
            kept["devices"][str(device)] = claim["epoch"]
        newest = sorted(kept["jobs"].items(), key=lambda pair: pair[1])[-_JOBS_KEPT:]
        disk.replace(os.path.join(self._folder, "epochs.json"), {"devices": kept["devices"], "jobs": dict(newest)})


def _holder(lock: dict[str, Any]) -> str:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(lock.get("time") or 0))
    return "attempt %s of job %s, by %s since %s" % (lock.get("attempt"), lock.get("job"), lock.get("operator") or "unknown", since)
