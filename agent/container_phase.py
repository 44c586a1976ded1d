"""The container of an attempt: made by a script of the console's, and surely taken away by another.

Owns the order: what undoes is written down in the state directory before anything is made, so that whoever
comes next (a new resident after a kill, a sweep after a lost console) can undo it, again and again until it
has worked. Refuses to know an engine: what to run is in the scripts, which are kept beside the attempt's
other files; both are safe to repeat.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

from agent import attempt as attempts
from agent import clock, disk
from agent.attempt import Pointer
from agent.home import Home
from agent.probe.command import TOOL_DIRS
from agent.refusal import Refused

UNDO_S = 60.0
"""Time limit of one undo; `docker rm -f` takes under a second unless the daemon hangs."""
AGAIN_S = 15.0
"""A make that was cut off may still be carried out by the engine's daemon: undone once more after so long."""
RETRY_S = 10.0
SAID_LIMIT = 2000
# Names the command that failed: the scripts run under set -e and an engine's message alone does not say who spoke.
_BASH = ["bash", "-c", 'set -E; trap \'s=$?; printf "rankdeck: exit status %s of: %s\\n" "$s" "$BASH_COMMAND" >&2\' ERR; . "$1"', "rankdeck"]


class ContainerPhase:
    """The containers of one state directory's attempts. Thread-safe."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._folder = home.containers
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._running: dict[str, int] = {}
        self._cancelled: set[str] = set()
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def make(self, pointer: Pointer, args: dict[str, Any]) -> dict[str, Any]:
        """Run the script of an attempt that is prepared; the same again for one that was made. Raises Refused."""
        with self._lock(pointer.attempt):
            with self._guard:
                if pointer.attempt in self._cancelled:
                    raise Refused("attempt %s was undone meanwhile" % pointer.attempt, where=pointer.dir, move="Launch again")
            disk.replace(self._path(pointer.attempt), {"attempt": pointer.attempt, "undo": args["undo"], "keep": bool(args["keep"]),
                                                       "begun": clock.wall_s(), "made": False, "again_at": 0.0})
            for name, text in (("container.sh", args["script"]), ("container-undo.sh", args["undo"])):
                disk.write_new(pointer.path(name), text, 0o755)
            status = self._run(pointer, float(args["limit_s"]))
            said = _end_of(pointer.path("container.log"))
            if status != 0:
                raise Refused("the container did not come up", where=pointer.path("container.log"),
                              got="%s: %s" % ("it was still busy after %g s" % args["limit_s"] if status is None else "exit status %d" % status, said or "no word of why"),
                              expected="exit status 0", move="Mend what it says, then launch again")
            self._change(pointer.attempt, made=True)
            return {"said": said}

    def keep(self, attempt: str, keep: bool) -> None:
        """Change what is to become of a container after the end of its attempt."""
        self._change(attempt, keep=keep)

    def has(self, attempt: str) -> bool:
        """Whether there is, or may be, a container of that attempt that is still to be taken away."""
        return os.path.exists(self._path(attempt))

    def cancel(self, attempt: str) -> None:
        """Cut off what makes the attempt's container, and let it make no more."""
        with self._guard:
            self._cancelled.add(attempt)
            group = self._running.get(attempt)
            if group:
                _signal(group, signal.SIGKILL)
        if group and self.has(attempt):
            self._change(attempt, again_at=clock.wall_s() + AGAIN_S)

    def pending(self) -> bool:
        """Whether any container is still to be taken away one day."""
        try:
            return any(name.endswith(".json") for name in os.listdir(self._folder))
        except OSError:
            return False

    def sweep(self) -> int:
        """Undo everything that is due; how much was tried."""
        due = self.due()
        for attempt in due:
            self.undo(attempt)
        return len(due)

    def undo(self, attempt: str, limit_s: float = UNDO_S) -> str:
        """Take away what was made for an attempt: "" when that is done, else why not."""
        if not self.has(attempt):
            return ""
        with self._lock(attempt):
            record = disk.read_json(self._path(attempt))
            if record is None:
                return ""
            try:
                done = subprocess.run(["bash", "-c", str(record.get("undo") or "")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, cwd="/", env=environment(), start_new_session=True, timeout=limit_s, check=False)
                why = "" if done.returncode == 0 else "exit status %d: %s" % (done.returncode, done.stdout.decode("utf-8", "replace").strip()[-SAID_LIMIT:])
            except (OSError, subprocess.TimeoutExpired) as error:
                why = str(error)
            again_at = float(record.get("again_at") or 0.0)
            if why or again_at > clock.wall_s():
                self._change(attempt, tried=clock.wall_s(), trouble=why)
                return why
            disk.remove(self._path(attempt))
            return ""

    def due(self) -> list[str]:
        """Attempts whose container has to go now."""
        found = []
        now = clock.wall_s()
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return []
        for name in names:
            record = disk.read_json(os.path.join(self._folder, name)) if name.endswith(".json") else None
            if record is None or not attempts.is_name(record.get("attempt")):
                continue
            attempt = record["attempt"]
            pointer = attempts.load(self._home.attempts, attempt)
            if pointer is not None and not pointer.ended and attempts.is_live(pointer, now):
                continue
            if record.get("keep") and pointer is not None and pointer.has("committed.json"):
                disk.remove(self._path(attempt))
            elif now >= max(float(record.get("again_at") or 0.0), float(record.get("tried") or 0.0) + RETRY_S if record.get("trouble") else 0.0):
                found.append(attempt)
        return found

    def _run(self, pointer: Pointer, limit_s: float) -> int | None:
        log = os.open(pointer.path("container.log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        try:
            child = subprocess.Popen(_BASH + [pointer.path("container.sh")], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                     env=environment(), start_new_session=True)
        except OSError as error:
            os.write(log, ("rankdeck: bash: %s\n" % error).encode("utf-8", "replace"))
            return 127
        finally:
            os.close(log)
        with self._guard:
            self._running[pointer.attempt] = child.pid
            if pointer.attempt in self._cancelled:
                _signal(child.pid, signal.SIGKILL)
        try:
            return child.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with self._guard:
                del self._running[pointer.attempt]
                # Not reaped before this, or killed by us now: the number is still its own.
                if child.returncode is None:
                    _signal(child.pid, signal.SIGKILL)
            try:
                child.wait(5.0)
            except subprocess.TimeoutExpired:
                pass  # stuck in the kernel; the undo is tried all the same

    def _lock(self, attempt: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(attempt, threading.Lock())

    def _change(self, attempt: str, **fields: Any) -> None:
        record = disk.read_json(self._path(attempt))
        if record is not None:
            disk.replace(self._path(attempt), dict(record, **fields))

    def _path(self, attempt: str) -> str:
        return os.path.join(self._folder, attempt + ".json")


def environment() -> dict[str, str]:
    """Ours, with the places where engines and tools are."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    return dict(os.environ, PATH=os.pathsep.join(folders + [folder for folder in TOOL_DIRS + ("/usr/bin", "/bin") if folder not in folders]))


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def _end_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - SAID_LIMIT))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
