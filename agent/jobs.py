"""Attempts on this node: lock, prepare, commit, abort, stop, and the list of them. Refuses to watch them run.

All on disk, so that nothing is known only to a process: killed at any point, the next resident goes on from
what it finds. One lane calls everything here but ``kill``. Nothing is recorded here; the watch reads the
states from the same files and puts them into the spool.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Any

from agent import adopted, clock, disk, overtime, processes
from agent import attempt as attempts
from agent.attempt import Pointer
from agent.container_phase import ContainerPhase
from agent.home import Home
from agent.locks import Locks
from agent.probe import occupancy
from agent.refusal import Refused

# A commit whose resident died before the shim began is carried out by the next one, if it comes this soon:
# later, the other nodes have given up waiting at the rendezvous.
_LATE_START_S = 60.0
# Ended attempts that the node still lists; their directories stay in any case.
_CLOSED_KEPT = 200
# A second stop may shorten the first one's grace; nothing is overwritten, so it gets a name of its own.
_STOPS = ("stop.json",) + tuple("stop-%d.json" % again for again in range(1, 100))
# An undone launch waits no longer for its container's end; a sweep goes on trying.
_UNDO_S = 20.0
_CONTAINER_MAX_S = 24 * 3600.0
_OWN_FILES = ("container.sh", "container-undo.sh", "container.log", "prepared.json", "committed.json", "settled.json", "shim.json", "stop.json", "exit-command.json", "launcher.log", "shim.py", "command.sh")


class Desk:
    """The attempts of one state directory. ``shim_source``: the text of agent/shim.py."""

    def __init__(self, home: Home, shim_source: str) -> None:
        self._home = home
        self._shim_source = shim_source
        self.locks = Locks(home.locks, self._lock_is_live)
        self._pruned = False
        self.phase = ContainerPhase(home)

    def lock(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Lock devices for an attempt to come. Raises Refused."""
        devices = sorted(set(args["devices"]))
        if not all(isinstance(device, int) and not isinstance(device, bool) and device >= 0 for device in devices):
            raise Refused("devices must be whole numbers", got=repr(args["devices"]), move="Correct the request")
        self._check_names(args)
        now = clock.wall_s()
        claim = {"job": args["job"], "attempt": args["attempt"], "epoch": args["epoch"], "operator": operator,
                 "pid": os.getpid(), "time": now, "deadline": now + args["ttl_s"]}
        return {"locked": self.locks.take(devices, claim)}

    def prepare(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Write an attempt's directory; it is removed again when no commit comes within ttl_s. Raises Refused."""
        self._check_names(args)
        folder = self._checked_dir(args)
        known = attempts.load(self._home.attempts, args["attempt"])
        if known is not None and not known.ended:
            if known.epoch > args["epoch"]:
                raise _overtaken(args["epoch"], known.epoch)
            if known.dir != folder or known.epoch < args["epoch"] or known.has("committed.json"):
                raise Refused("attempt %s is here already" % args["attempt"], where=known.dir, got="epoch %d" % args["epoch"],
                              expected="a new attempt id", move="Launch again")
            if known.has("prepared.json") and clock.wall_s() < known.deadline:
                return {"dir": folder}
            self._clear(known)
        now = clock.wall_s()
        pointer = Pointer({"job": args["job"], "attempt": args["attempt"], "epoch": args["epoch"], "node": args["node"],
                           "node_index": args["node_index"], "dir": folder, "operator": operator, "deadline": now + args["ttl_s"],
                           "ended": "", "why": "", "closed": False, "ttl_s": args["ttl_s"],
                           "time_limit_s": overtime.seconds(args.get("time_limit_s")), "stop_grace_s": overtime.seconds(args.get("stop_grace_s"))})
        if os.path.lexists(folder):
            raise Refused("the attempt's directory is there already", where=folder, expected="no such directory", move="Launch again, under a new attempt id")
        # First the pointer: whatever happens now, somebody knows what to clean up.
        attempts.save(self._home.attempts, pointer)
        try:
            self._write_dir(pointer, args)
        except OSError as error:
            self._clear(pointer)
            disk.remove(os.path.join(self._home.attempts, pointer.attempt + ".json"))
            raise Refused("the attempt could not be prepared", where=error.filename or folder, got=error.strerror or str(error),
                          expected="a writable directory with room", move="Check the work directory's owner and free space")
        return {"dir": folder}

    def hold(self, args: dict[str, Any], operator: str) -> Pointer:
        """A prepared attempt, held while its container is made: that may take longer than a commit may. Raises Refused."""
        pointer = self._known(args["attempt"])
        if pointer.ended or pointer.has("committed.json") or not pointer.has("prepared.json") or clock.wall_s() >= pointer.deadline:
            raise Refused("attempt %s is not prepared" % pointer.attempt, where=pointer.dir, got=pointer.ended or "another state", expected="a prepared attempt", move="Launch again")
        if pointer.epoch != args["epoch"]:
            raise _overtaken(args["epoch"], pointer.epoch)
        if not 0 < args["limit_s"] <= _CONTAINER_MAX_S:
            raise Refused("limit_s is out of range", got=repr(args["limit_s"]), expected="up to %d" % _CONTAINER_MAX_S, move="Correct the request")
        pointer = pointer.changed(deadline=clock.wall_s() + args["limit_s"] + _ttl(pointer))
        attempts.save(self._home.attempts, pointer)
        return pointer

    def rest(self, attempt: str) -> None:
        """The container is made, or is not: from now on the usual time limit for the commit counts again."""
        pointer = attempts.load(self._home.attempts, attempt)
        if pointer is not None and not pointer.ended and not pointer.has("committed.json"):
            attempts.save(self._home.attempts, pointer.changed(deadline=clock.wall_s() + _ttl(pointer)))

    def commit(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Start a prepared attempt. Said again, it only answers. Raises Refused."""
        pointer = self._known(args["attempt"])
        if pointer.ended:
            raise Refused("attempt %s is %s" % (pointer.attempt, pointer.ended), where=socket.gethostname(), got=pointer.why,
                          expected="a prepared attempt", move="Launch again")
        if pointer.epoch != args["epoch"]:
            raise _overtaken(args["epoch"], pointer.epoch)
        if not pointer.has("committed.json"):
            if pointer.has("stop.json"):
                raise Refused("attempt %s has been told to stop" % pointer.attempt, where=pointer.dir, move="Launch again")
            if clock.wall_s() >= pointer.deadline or not pointer.has("prepared.json"):
                raise Refused("the commit comes too late", where=pointer.dir, got="no prepared attempt any more",
                              expected="a commit within the time limit", move="Launch again")
            disk.write_new(pointer.path("committed.json"), {"epoch": pointer.epoch, "time": clock.wall_s(), "boot_id": processes.boot_id(), "operator": operator,
                                                            "settle_s": overtime.seconds(args.get("settle_s"))})
        hold_s = overtime.seconds(args.get("hold_s"))
        if (args.get("settled") is True or hold_s is not None) and not pointer.has(overtime.SETTLED):
            stop = disk.read_json(pointer.path("stop.json"))
            if stop is not None:
                raise Refused("attempt %s has been told to stop" % pointer.attempt, where=pointer.dir, got="by %s: %s" % (stop.get("operator"), stop.get("why") or "no reason given"),
                              expected="a running attempt", move="Launch again")
            if hold_s is None:
                disk.write_new(pointer.path(overtime.SETTLED), {"time": clock.wall_s(), "operator": operator})
            else:
                pointer = pointer.changed(held_until=clock.wall_s() + hold_s)
                attempts.save(self._home.attempts, pointer)
        if not pointer.has("shim.json") and not pointer.has("exit-command.json"):
            self._start(pointer)
        return {"pid": (disk.read_json(pointer.path("shim.json")) or {}).get("pid"), "dir": pointer.dir}

    def abort(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Take away what lock and prepare left. Raises Refused for an attempt that was committed."""
        pointer = attempts.load(self._home.attempts, args["attempt"])
        if pointer is not None and pointer.has(adopted.FILE):
            if not pointer.has("exit-command.json"):
                self._give_up(pointer, "released by %s" % operator)
            return {"released": []}
        if pointer is None or pointer.ended:
            return {"released": self.locks.release(args["attempt"])}
        if pointer.has("committed.json"):
            raise Refused("attempt %s was committed" % pointer.attempt, where=pointer.dir, got="a running or ended attempt",
                          expected="a prepared one", move="Stop it instead")
        held = self.locks.held_by(pointer.attempt)
        left = self._end(pointer.changed(operator=operator), "aborted", args.get("why") or "")
        return dict({"released": held}, **({"left": left} if left else {}))

    def stop(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Ask an attempt to end: SIGTERM to the command's group; ``kill`` follows after grace_s. Raises Refused."""
        pointer = self._known(args["attempt"])
        if pointer.has(adopted.FILE):
            raise Refused("%s was adopted: it is only watched" % pointer.job, where=socket.gethostname(), got="an attempt that somebody started by hand",
                          expected="one that was launched", move="End it where it was started; rankdeck adopt --release ends the watching")
        if not pointer.ended and not pointer.has("committed.json"):
            self.abort(args, operator)
            return {"state": "aborted"}
        if pointer.ended or pointer.has("exit-command.json"):
            return {"state": attempts.passed(pointer)[-1][0]}
        if isinstance(args.get("keep_container"), bool):
            self.phase.keep(pointer.attempt, args["keep_container"])
        note = {"operator": operator, "why": args.get("why") or "", "time": clock.wall_s(), "grace_s": max(0.0, float(args["grace_s"]))}
        if not any(disk.write_new(pointer.path(name), note) for name in _STOPS):
            raise Refused("attempt %s was told to stop %d times" % (pointer.attempt, len(_STOPS)), where=pointer.dir, move="See which process hangs, and why")
        self._terminate(pointer)
        return {"state": "stopping"}

    def adopt(self, args: dict[str, Any], operator: str) -> dict[str, Any]:
        """Watch what somebody started by hand, as an attempt. Raises Refused."""
        self._check_names(dict(args, ttl_s=1))
        folder = os.path.join(self._home.path, "adopted", args["attempt"])
        if attempts.load(self._home.attempts, args["attempt"]) is not None or os.path.lexists(folder):
            raise Refused("attempt %s is here already" % args["attempt"], where=folder, expected="a new attempt id", move="Adopt again")
        found = adopted.begin(folder, args["what"])
        os.makedirs(folder, mode=0o700)
        disk.write_new(os.path.join(folder, "job.json"), {"run": {"name": args["job"]}, "checkpoint": {"dir": str(args["what"].get("checkpoint_dir") or "")}})
        disk.write_new(os.path.join(folder, adopted.FILE), found)
        attempts.save(self._home.attempts, Pointer({
            "job": args["job"], "attempt": args["attempt"], "epoch": args["epoch"], "node": args["node"], "node_index": args["node_index"], "dir": folder,
            "operator": operator, "deadline": 0.0, "ended": "", "why": "", "closed": False}))
        return {"dir": folder, "logs": found["logs"], "processes": [process.pid for process in adopted.members(found)], "kind": found["kind"]}

    def jobs(self) -> dict[str, Any]:
        """Every attempt that this node knows, oldest first."""
        found = []
        for pointer in attempts.load_all(self._home.attempts):
            states = attempts.passed(pointer)
            shim = disk.read_json(pointer.path("shim.json")) or {}
            found.append({"job": pointer.job, "attempt": pointer.attempt, "epoch": pointer.epoch, "node": pointer.node,
                          "node_index": pointer.node_index, "state": states[-1][0] if states else None, "dir": pointer.dir,
                          "operator": pointer.operator, "pid": shim.get("pid"), "exit": disk.read_json(pointer.path("exit-command.json")),
                          "devices": self.locks.held_by(pointer.attempt), "container": self.phase.has(pointer.attempt), "adopted": pointer.has(adopted.FILE)})
        return {"attempts": found}

    def tidy(self) -> int:
        """Expire what was not committed in time, carry out or give up what was left half done; how much was changed."""
        now, changed = clock.wall_s(), 0
        if not self._pruned:
            self._pruned = True
            for pointer in [each for each in attempts.load_all(self._home.attempts) if each.closed][:-_CLOSED_KEPT]:
                disk.remove(os.path.join(self._home.attempts, pointer.attempt + ".json"))
        for pointer in attempts.load_all(self._home.attempts):
            if pointer.clearing:
                # Whoever ended it was killed before all of it was gone.
                self._take_away(pointer)
                changed += 1
                continue
            if pointer.ended or pointer.closed or pointer.has("exit-command.json"):
                continue
            watched = adopted.read(pointer)
            if watched is not None:
                if adopted.is_over(watched):
                    self._give_up(pointer, "its processes are gone; how they ended is not known to us")
                    changed += 1
            elif not pointer.has("committed.json"):
                if now >= pointer.deadline:
                    self._end(pointer, "expired", "no commit came within the time limit")
                    changed += 1
            elif not pointer.has("shim.json"):
                committed = disk.read_json(pointer.path("committed.json")) or {}
                fresh = committed.get("boot_id") == processes.boot_id() and now < float(committed.get("time") or 0) + _LATE_START_S
                try:
                    if fresh and not pointer.has("stop.json"):
                        self._start(pointer)
                    else:
                        self._give_up(pointer, "it was committed, but the node went away before it began")
                except Refused:
                    pass  # given up, with its reason
                changed += 1
            elif not pointer.has("stop.json") and self._end_overtime(pointer, now):
                changed += 1
            elif not attempts.is_live(pointer, now):
                self._give_up(pointer, "its shim ended without writing a record (killed, or the node was restarted)")
                changed += 1
        for device, lock in self.locks.all().items():
            if not self._lock_is_live(lock):
                changed += bool(self.locks.release(lock["attempt"])) if lock.get("attempt") else 0
                if not lock:
                    disk.remove(os.path.join(self._home.locks, "device-%d.json" % device))
        return changed

    def _end_overtime(self, pointer: Pointer, now: float) -> bool:
        """Tell an attempt that has to end by itself to stop, as an operator would; whether it was told."""
        why = overtime.why_over(pointer, now)
        if not why:
            return False
        grace_s = overtime.seconds(pointer.data.get("stop_grace_s"))
        if not disk.write_new(pointer.path("stop.json"), {"operator": "rankdeck", "why": why, "time": now, "grace_s": 60.0 if grace_s is None else grace_s}):
            return False
        self._terminate(pointer)
        return True

    def left(self, args: dict[str, Any]) -> dict[str, Any]:
        """What is left of an attempt on this node: processes, its container, who holds the given devices."""
        pointer = self._known(args["attempt"])
        found = processes.of_attempt(pointer.attempt, pointer.dir)
        seen = occupancy.read()
        wanted = set(args.get("devices") or ())
        return {"processes": [process.pid for process in found], "container": self.phase.has(pointer.attempt),
                "holders": [holder for holder in seen["holders"] if holder.get("device") in wanted], "complete": seen["complete"]}

    def overdue(self) -> list[Pointer]:
        """Attempts that were told to stop, have had their grace and still run."""
        now = clock.wall_s()
        return [pointer for pointer in attempts.load_all(self._home.attempts)
                if not pointer.ended and not pointer.closed and not pointer.has("exit-command.json") and now >= _kill_time(pointer)]

    def _check_names(self, args: dict[str, Any]) -> None:
        for name in ("job", "attempt", "node"):
            if name in args and not attempts.is_name(args[name]):
                raise Refused("%s is not a name" % name, got=repr(args[name])[:80], expected="letters, digits, '.', '_' and '-'", move="Rename it")
        if args["ttl_s"] <= 0:
            raise Refused("ttl_s must be positive", got=repr(args["ttl_s"]), move="Correct the request")

    def _checked_dir(self, args: dict[str, Any]) -> str:
        folder: str = os.path.normpath(os.path.expanduser(args["dir"]))
        # We remove this directory when no commit comes: it must be one that nobody else can mean.
        tail = os.path.join(".rankdeck", args["job"], args["attempt"], args["node"])
        if not os.path.isabs(folder) or not folder.endswith(os.sep + tail):
            raise Refused("not an attempt's directory", where=socket.gethostname(), got=folder, expected="an absolute path ending in %s" % tail, move="Correct the request")
        for name in args["files"]:
            parts = name.split("/")
            if not all(attempts.is_name(part) for part in parts) or name in _OWN_FILES or not isinstance(args["files"][name], str):
                raise Refused("not a file for an attempt's directory", got=repr(name)[:80], expected="a relative path with a text, none of the agent's own files", move="Correct the request")
        return folder

    def _write_dir(self, pointer: Pointer, args: dict[str, Any]) -> None:
        os.makedirs(pointer.dir)
        for name, text in sorted(args["files"].items()):
            path = pointer.path(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            disk.write_new(path, text)
        disk.write_new(pointer.path("command.sh"), args["script"], 0o755)
        disk.write_new(pointer.path("shim.py"), self._shim_source)
        disk.write_new(pointer.path("prepared.json"), {
            "job": pointer.job, "attempt": pointer.attempt, "epoch": pointer.epoch, "node": pointer.node, "node_index": pointer.node_index,
            "deadline": pointer.deadline, "operator": pointer.operator, "devices": self.locks.held_by(pointer.attempt)})

    def _known(self, attempt: str) -> Pointer:
        pointer = attempts.load(self._home.attempts, attempt)
        if pointer is None:
            raise Refused("attempt %s is not known here" % attempt, where=socket.gethostname(), got="nothing", expected="a prepared attempt", move="See rankdeck status")
        return pointer

    def _start(self, pointer: Pointer) -> None:
        command = [sys.executable, "-I", pointer.path("shim.py"), "run", "--dir", pointer.dir]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  cwd="/", start_new_session=True, timeout=30.0, check=False)
            failure = done.stderr.decode("utf-8", "replace").strip() if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = str(error)
        if failure or not pointer.has("shim.json"):
            self._give_up(pointer, "the shim could not be started: %s" % (failure or "no shim.json"))
            raise Refused("the attempt could not be started", where=pointer.dir, got=failure or "no shim.json", expected="a running shim",
                          move="Check the node's Python, disk and process limits")

    def _terminate(self, pointer: Pointer) -> None:
        shim = disk.read_json(pointer.path("shim.json")) or {}
        if attempts.shim_lives(shim) and not pointer.has("exit-command.json"):
            # The group lives as long as its shim waits for it, so its number is nobody else's.
            processes.send_group(shim.get("child_pid") or 0, signal.SIGTERM)
            return
        for process in processes.of_attempt(pointer.attempt, pointer.dir):
            processes.send(process.pid, process.ticks, signal.SIGTERM)

    def _end(self, pointer: Pointer, state: str, why: str) -> str:
        """Take an uncommitted attempt away; why its container could not go, "" when it has. The pointer stays until
        the watch has recorded how it ended and nothing of the attempt is left."""
        pointer = pointer.changed(ended=state, why=why, operator=pointer.operator, clearing=True)
        attempts.save(self._home.attempts, pointer)
        return self._take_away(pointer)

    def _take_away(self, pointer: Pointer) -> str:
        # Before its directory: what the container still writes there would come back as root's.
        self.phase.cancel(pointer.attempt)
        left = self.phase.undo(pointer.attempt, _UNDO_S)
        self._clear(pointer)
        self.locks.release(pointer.attempt)
        attempts.save(self._home.attempts, pointer.changed(clearing=False))
        return left

    def _clear(self, pointer: Pointer) -> None:
        import shutil  # here, not above: it brings three compressors along, 1 MiB

        shutil.rmtree(pointer.dir, ignore_errors=True)
        # What only this attempt needed; a directory with anything else in it stays.
        folder = pointer.dir
        for _ in ("attempt", "job", ".rankdeck"):
            folder = os.path.dirname(folder)
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue  # gone already: somebody was killed between this one and the next
            except OSError:
                break

    def _give_up(self, pointer: Pointer, why: str) -> None:
        shim = disk.read_json(pointer.path("shim.json")) or {}
        disk.write_new(pointer.path("exit-command.json"), {
            "job": pointer.job, "attempt": pointer.attempt, "round": None, "scope": "command", "rank": None, "local_rank": None,
            "pid": shim.get("child_pid"), "code": None, "signal": None, "started": shim.get("started"), "ended": clock.wall_s(),
            "asked": pointer.has("stop.json"), "why": why})

    def _lock_is_live(self, lock: dict[str, Any]) -> bool:
        pointer = attempts.load(self._home.attempts, lock.get("attempt") or "")
        if pointer is None:
            return clock.wall_s() < float(lock.get("deadline") or 0.0)
        return attempts.is_live(pointer, clock.wall_s())


def kill(pointer: Pointer, gently: bool) -> int:
    """SIGKILL what is left of an attempt; how many processes were hit.

    ``gently``: only workers (they have a round), so that their shims can still write down how they ended.
    """
    found = processes.of_attempt(pointer.attempt, pointer.dir)
    workers = [process for process in found if "RANKDECK_ROUND" in process.env]
    if gently and workers:
        return sum([processes.send(process.pid, process.ticks, signal.SIGKILL) for process in workers])
    shim = disk.read_json(pointer.path("shim.json")) or {}
    hit = sum([processes.send(process.pid, process.ticks, signal.SIGKILL) for process in found])
    if attempts.shim_lives(shim) and not pointer.has("exit-command.json"):
        hit += processes.send_group(shim.get("child_pid") or 0, signal.SIGKILL)
    return hit


def _kill_time(pointer: Pointer) -> float:
    times = []
    for name in _STOPS:
        note = disk.read_json(pointer.path(name))
        if note is None:
            break
        times.append(float(note.get("time") or 0) + float(note.get("grace_s") or 0))
    return min(times) if times else float("inf")


def _ttl(pointer: Pointer) -> float:
    return float(pointer.data.get("ttl_s") or 60.0)


def _overtaken(got: int, newest: int) -> Refused:
    return Refused("this request belongs to another launch", where=socket.gethostname(), got="epoch %d" % got, expected="epoch %d" % newest,
                   move="Look at rankdeck status; launch again if it is still wanted")
