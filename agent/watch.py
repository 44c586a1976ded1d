"""What happens to the attempts of this node, read from their directories: states, ranks, exits, log lines.

Runs in a lane of its own, because the directories may lie on a file system that hangs. ``poll`` returns a
``Batch`` and remembers what it has given; the loop stores the batch in one transaction and hands it back
with the next ``poll``, which may then forget what is done with. A batch that was not stored was not given:
a new process begins where the spool says. Refuses to store, to judge, and to change an attempt.
"""

from __future__ import annotations

import os
from typing import Any, Callable

from agent import adopted, clock, disk, plogs, processes, ranks, wire
from agent import attempt as attempts
from agent.attempt import Pointer
from agent.home import Home

# How long a worker's log waits for its rank to be known. Reading the environment takes one look; a
# worker that printed and died within one look has its rank in its exit record.
_RANK_WAIT_S = 5.0
_LOOK_S = 0.5
_RANKS_S = 1.0
# Where a follower stands is stored with every record it gives; else only so often, and what it read since would be
# read again after a kill, to the same end.
_PLACE_S = 2.0

MakeFollower = Callable[[str, dict, Any], Any]


class Batch:
    """One poll's findings: what to store together, and what may be done once it is stored."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.states: dict[str, dict[str, Any]] = {}
        self.recorded_ends: list[str] = []
        self.open = 0
        self.more = False
        self.forget: list[str] = []

    def add(self, kind: str, data: dict[str, Any], key: str | None, version: int = 1) -> None:
        """One more record, taken in now."""
        self.records.append(wire.record(kind, clock.wall_s(), clock.mono_s(), data, key, version))


class _Watched:
    """One open attempt, as far as it has been recorded."""

    def __init__(self, pointer: Pointer) -> None:
        self.pointer = pointer
        self.states: set[str] = set()
        self.exits: set[str] = set()
        self.logs: dict[str, tuple[int | None, int | None, float]] = {}
        self.followers: dict[str, tuple[Any, int | None]] = {}
        self.plogs = plogs.Plogs()
        self.plog_at: dict[str, plogs.Plog] = {}
        self.plog_turn: list[str] = []
        self.plog_done: set[str] = set()
        self.plog_gone: set[str] = set()
        self.ranks: dict[int, dict[int, dict[str, Any]]] = {}
        self.mapped: dict[int, dict[str, Any]] = {}
        self.settled: set[int] = set()
        self.ended = False
        self.end_stored = False
        self.last_look = False
        self.idle_polls = 0
        self.look_at = 0.0
        self.ranks_at = 0.0


class Watch:
    """Follows all open attempts of one state directory. ``states``: of the spool's followers, by path."""

    def __init__(self, home: Home, states: dict[str, dict[str, Any]], make_follower: MakeFollower, reopen: bool = False) -> None:
        self._home = home
        self._states = states
        self._make_follower = make_follower
        self._watched: dict[str, _Watched] = {}
        self._closed: set[str] = set()
        self._turn = 0
        self._open_plogs: dict[str, _Watched] = {}
        self._unstored: set[str] = set()
        self._store_at = 0.0
        # A spool that begins anew wants to hear of everything that is still to be read.
        self._reopen = reopen

    def poll(self, stored: Batch | None, budget_bytes: int) -> Batch:
        """What is new, after ``stored`` has been stored. Raises OSError where the state directory cannot be read."""
        batch = Batch()
        if stored is not None:
            self._settle(stored, batch)
        self._find()
        now = clock.mono_s()
        for watched in list(self._watched.values()):
            if now >= watched.look_at:
                watched.look_at = now + _LOOK_S
                self._look(watched, batch)
        self._follow(batch, budget_bytes)
        batch.open = len(self._watched)
        return batch

    def _find(self) -> None:
        for name in os.listdir(self._home.attempts):
            attempt = name[: -len(".json")]
            if not name.endswith(".json") or name.startswith(".") or attempt in self._closed or attempt in self._watched:
                continue
            pointer = attempts.load(self._home.attempts, attempt)
            if pointer is None:
                continue
            if pointer.closed and not (self._reopen and os.path.isdir(pointer.dir)):
                self._closed.add(attempt)
            else:
                self._watched[attempt] = _Watched(pointer)
        self._reopen = False

    def _settle(self, stored: Batch, batch: Batch) -> None:
        for attempt, watched in list(self._watched.items()):
            watched.end_stored = watched.end_stored or attempt in stored.recorded_ends
            if not watched.end_stored:
                continue
            if watched.pointer.ended:
                known = attempts.load(self._home.attempts, attempt)
                if known is not None and known.clearing:
                    continue  # the next resident has to find it, if we are killed before its directory is gone
                disk.remove(os.path.join(self._home.attempts, attempt + ".json"))
            elif watched.idle_polls < 2 or not watched.last_look:
                continue
            else:
                attempts.save(self._home.attempts, watched.pointer.changed(closed=True))
                self._closed.add(attempt)
            batch.forget.extend(watched.logs)
            self._unstored.difference_update(watched.logs)
            for path, (follower, _) in watched.followers.items():
                follower.close()
                self._open_plogs.pop(path, None)
            del self._watched[attempt]

    def _look(self, watched: _Watched, batch: Batch) -> None:
        pointer = attempts.load(self._home.attempts, watched.pointer.attempt) or watched.pointer
        watched.pointer = pointer
        watched.last_look = watched.ended
        for state, operator, why in attempts.passed(pointer):
            if state in watched.states:
                continue
            watched.states.add(state)
            batch.add("job", {"job": pointer.job, "attempt": pointer.attempt, "epoch": pointer.epoch, "state": state,
                              "node_index": pointer.node_index, "dir": pointer.dir, "operator": operator, "why": why},
                      "job:%s:%s" % (pointer.attempt, state))
        if pointer.ended:
            if not watched.ended:
                watched.ended = True
                batch.recorded_ends.append(pointer.attempt)
            return
        if pointer.has("launcher.log"):
            watched.logs.setdefault(pointer.path("launcher.log"), (None, None, clock.mono_s()))
        theirs = adopted.read(pointer)
        if theirs is not None:
            for path in theirs.get("logs") or []:
                watched.logs.setdefault(path, (None, None, clock.mono_s()))
            self._map_adopted(watched, batch, theirs)
        rounds = attempts.rounds(pointer.dir)
        for place, folder in rounds:
            found, exits = attempts.logs(folder)
            for local_rank, path in found:
                watched.logs.setdefault(path, (place, local_rank, clock.mono_s()))
            for _, path in exits:
                self._exit(watched, batch, path)
        # Before the workers' records are asked for, so that a round whose command has ended has them all.
        over = pointer.has("exit-command.json")
        # A script that starts its ranks itself makes no directory for its one round.
        self._map_ranks(watched, batch, [place for place, _ in rounds] or ([0] if pointer.has("shim.json") and not over else []), over)
        if over and not watched.ended:
            watched.ended = self._exit(watched, batch, pointer.path("exit-command.json"))
            if watched.ended:
                batch.recorded_ends.append(pointer.attempt)
        if watched.plogs.is_due(clock.mono_s()) or watched.ended:
            self._find_plogs(watched, theirs, [folder for _, folder in rounds])

    def _find_plogs(self, watched: _Watched, theirs: dict[str, Any] | None, rounds: list[str]) -> None:
        pointer = watched.pointer
        own = [os.path.join(folder, "plog") for folder in [pointer.dir] + rounds]
        found = watched.plogs.look(own, lambda: processes.of_attempt(pointer.attempt, pointer.dir) if theirs is None else adopted.members(theirs))
        for plog in found:
            watched.plog_at[plog.path] = plog
            owner = watched.plogs.owners.get(plog.pid)
            _, _, seen = watched.logs.get(plog.path) or (None, None, clock.mono_s())
            watched.logs[plog.path] = (owner.round if owner else None, owner.local_rank if owner else None, seen)
        watched.plog_turn = [plog.path for plog in found if plog.path not in watched.plog_done][-plogs.FILES_MAX:]
        # What its process has deleted is read to its end through the open file, until the next look.
        turn = set(watched.plog_turn)
        gone = {path for path in watched.followers if path in watched.plog_at and path not in turn}
        for path in gone & watched.plog_gone:
            self._rest(watched, path, True)
        watched.plog_gone = gone - watched.plog_gone
        watched.plog_turn += sorted(watched.plog_gone)

    def _exit(self, watched: _Watched, batch: Batch, path: str) -> bool:
        data = disk.read_json(path) if path not in watched.exits else None
        if data is None:
            return False
        watched.exits.add(path)
        record = {name: data.get(name) for name in wire.RECORD_FIELDS["exit"]}
        where = "command" if data.get("scope") == "command" else "%s:%s" % (data.get("round"), data.get("local_rank"))
        batch.add("exit", record, "exit:%s:%s" % (watched.pointer.attempt, where))
        if data.get("scope") == "rank" and isinstance(data.get("round"), int) and isinstance(data.get("local_rank"), int):
            watched.ranks.setdefault(data["round"], {}).setdefault(data["local_rank"], ranks.from_exit(data))
            watched.plogs.know(data.get("pid"), data["round"], data.get("rank"), data["local_rank"], data.get("started"))
            watched.plogs.ended.add(data.get("pid") or 0)
        return True

    def _map_ranks(self, watched: _Watched, batch: Batch, rounds: list[int], over: bool) -> None:
        pointer = watched.pointer
        for place in rounds:
            if place not in watched.mapped:
                kept = disk.read_json(self._map_path(pointer, place))
                if kept is not None:
                    self._keep_map(watched, batch, place, kept)
                    watched.settled.add(place)
        unsure = [place for place in rounds if place not in watched.settled]
        now = clock.mono_s()
        if not unsure or (now < watched.ranks_at and not over):
            return
        watched.ranks_at = now + _RANKS_S
        if not over:
            members = processes.of_attempt(pointer.attempt, pointer.dir)
            watched.plogs.take(members)
            for place, found in ranks.workers(members).items():
                watched.ranks.setdefault(place, {}).update(found)
        for place in unsure:
            found = watched.ranks.get(place) or {}
            last = over or place != rounds[-1]
            if not found and not last:
                continue
            data = ranks.rank_map(pointer.job, pointer.attempt, place, found)
            if data["complete"] or last:
                watched.settled.add(place)
                try:
                    os.makedirs(os.path.dirname(self._map_path(pointer, place)), exist_ok=True)
                    disk.write_new(self._map_path(pointer, place), data)
                except OSError:
                    pass  # the record says the same
            if data != watched.mapped.get(place):
                self._keep_map(watched, batch, place, data)

    def _map_adopted(self, watched: _Watched, batch: Batch, theirs: dict[str, Any]) -> None:
        now = clock.mono_s()
        if now < watched.ranks_at or watched.ended:
            return
        watched.ranks_at = now + _RANKS_S
        members = adopted.members(theirs)
        watched.plogs.take(members)
        found = adopted.workers(members)
        data = ranks.rank_map(watched.pointer.job, watched.pointer.attempt, 0, found)
        if found and data != watched.mapped.get(0):
            self._keep_map(watched, batch, 0, data)

    def _keep_map(self, watched: _Watched, batch: Batch, place: int, data: dict[str, Any]) -> None:
        watched.mapped[place] = data
        batch.add("rank_map", data, "rank_map:%s:%d" % (watched.pointer.attempt, place))
        columns = data.get("ranks") or {}
        for local_rank, rank, pid in zip(columns.get("local_rank") or [], columns.get("rank") or [], columns.get("pid") or []):
            watched.ranks.setdefault(place, {}).setdefault(local_rank, {"rank": rank, "local_rank": local_rank})
            watched.plogs.know(pid, place, rank, local_rank, 0.0)

    def _map_path(self, pointer: Pointer, place: int) -> str:
        return pointer.path("round-%02d/rank_map.json" % place)

    def _follow(self, batch: Batch, budget_bytes: int) -> None:
        work = [(watched, path) for watched in self._watched.values()
                for path in sorted(path for path in watched.logs if path not in watched.plog_at) + watched.plog_turn]
        quiet = {watched.pointer.attempt for watched in self._watched.values() if watched.end_stored}
        # Each poll begins with another file, so that a busy one cannot starve those behind it.
        self._turn += 1
        start = self._turn % len(work) if work else 0
        for watched, path in work[start:] + work[:start]:
            if budget_bytes <= 0:
                batch.more = True
                quiet.discard(watched.pointer.attempt)
                continue
            before = self._states.get(path) or {}
            plog = watched.plog_at.get(path)
            if plog is not None and path not in watched.plog_gone and _is_read(path, before):
                self._rest(watched, path, plog.pid in watched.plogs.ended)
                continue
            follower = self._follower(watched, path)
            if follower is None:
                quiet.discard(watched.pointer.attempt)
                continue
            found, state = follower.poll(budget_bytes, final=self._is_over(watched, path))
            for record in found:
                batch.add(record["kind"], record["data"], record["key"], record.get("v", 1))
            if state == before and not found:
                continue
            read = max(0, (state.get("offset") or 0) - (before.get("offset") or 0))
            budget_bytes -= max(read, 4096)
            self._states[path] = dict(state)
            if found or watched.ended:
                batch.states[path] = self._states[path]
                self._unstored.discard(path)
            else:
                self._unstored.add(path)
            quiet.discard(watched.pointer.attempt)
        if self._unstored and clock.mono_s() >= self._store_at:
            self._store_at = clock.mono_s() + _PLACE_S
            batch.states.update({path: self._states[path] for path in self._unstored if path in self._states})
            self._unstored.clear()
        for watched in self._watched.values():
            watched.idle_polls = watched.idle_polls + 1 if watched.pointer.attempt in quiet else 0

    def _rest(self, watched: _Watched, path: str, ended: bool) -> None:
        """A process log that is read to its end: done with when its process has ended, else let go of when many are open."""
        if ended:
            watched.plog_done.add(path)
        if path in watched.followers and (ended or len(self._open_plogs) >= plogs.OPEN_MAX):
            watched.followers.pop(path)[0].close()
            self._open_plogs.pop(path, None)

    def _plog_follower(self, watched: _Watched, plog: plogs.Plog, seen: float) -> Any:
        owner = watched.plogs.owners.get(plog.pid)
        if owner is None and not watched.ended and clock.mono_s() < seen + _RANK_WAIT_S:
            return None
        rank = owner.rank if owner is not None else None
        kept = watched.followers.get(plog.path)
        if kept is None or kept[1] != rank:
            if kept is not None:
                kept[0].close()
            where = {"job": watched.pointer.job, "attempt": watched.pointer.attempt, "round": owner.round if owner else None, "rank": rank,
                     "local_rank": owner.local_rank if owner else None, "device": plog.device, "pid": plog.pid}
            kept = watched.followers[plog.path] = (self._make_follower(plog.path, where, self._states.get(plog.path)), rank)
        self._open_plogs.pop(plog.path, None)
        self._open_plogs[plog.path] = watched     # the newest in use last
        while len(self._open_plogs) > plogs.OPEN_MAX:
            oldest = next(iter(self._open_plogs))
            self._open_plogs.pop(oldest).followers.pop(oldest)[0].close()
        return kept[0]

    def _is_over(self, watched: _Watched, path: str) -> bool:
        """Whether the writer of a log has ended, so that a last line without its newline is whole."""
        place, local_rank, _ = watched.logs[path]
        if path in watched.plog_at:
            return watched.ended or watched.plog_at[path].pid in watched.plogs.ended
        return watched.ended or (place is not None and _exit_beside(path, local_rank) in watched.exits)

    def _follower(self, watched: _Watched, path: str) -> Any:
        """The follower of a log under the rank that is known now; None while it is worth waiting for one."""
        place, local_rank, seen = watched.logs[path]
        plog = watched.plog_at.get(path)
        if plog is not None:
            return self._plog_follower(watched, plog, seen)
        rank = None
        if place is not None and local_rank is not None:
            rank = (watched.ranks.get(place, {}).get(local_rank) or {}).get("rank")
            if rank is None and "running" in watched.states and not watched.ended and _exit_beside(path, local_rank) not in watched.exits and clock.mono_s() < seen + _RANK_WAIT_S:
                return None
        kept = watched.followers.get(path)
        if kept is None or kept[1] != rank:
            if kept is not None:
                kept[0].close()
            where = {"job": watched.pointer.job, "attempt": watched.pointer.attempt, "round": place, "rank": rank, "local_rank": local_rank}
            kept = (self._make_follower(path, where, self._states.get(path)), rank)
            watched.followers[path] = kept
        return kept[0]


def _is_read(path: str, state: dict[str, Any]) -> bool:
    """Whether a file is the one that was read to its end, and has not grown since."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return status.st_size == state.get("offset") and str(state.get("file_id")).startswith("%d:%d:" % (status.st_dev, status.st_ino))


def _exit_beside(log: str, local_rank: int | None) -> str:
    return os.path.join(os.path.dirname(log), "exit-local_rank-%s.json" % local_rank)
