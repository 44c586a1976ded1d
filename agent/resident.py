"""The resident: one process per node and user that observes, keeps the spool and serves the clients.

Owns the wiring: one loop for clients and the spool, one lane for each thing that may hang. Refuses to be
needed: it holds nothing that is not on disk, so killing it at any point costs nothing but the time until
somebody attaches again. It leaves by itself when it has had neither an attempt nor a client for a while,
and when an agent of a higher revision asks it to.
"""

from __future__ import annotations

import functools
import os
import pkgutil
import pwd
import resource
import signal
import socket
import sqlite3
import sys
import time
from typing import Any, Callable

import agent
from agent import clock, company, jobs, pieces, processes, requests, tails, wire
from agent.clients import SILENT_S, Clients, room_for_stream
from agent.follow import Follower
from agent.home import Home
from agent.loop import Lane, LaneFull, Loop
from agent.refusal import Refused
from agent.serve import Client
from agent.spool import CAP_BYTES, Spool
from agent.watch import Batch, Watch

_FOLLOW_S = 0.25
_FOLLOW_BYTES = 1 << 20
_TIDY_S = 1.0
_KILL_S = 0.5
# SIGKILL goes to workers alone this many times, so that their shims can write down how they ended.
_GENTLE_KILLS = 2
_UNSTORED_MAX = 1000
_LOCK_WAIT_S = 15.0
# How long a request that changes something is waited for when leaving; cut off, it can be said again.
_DRAIN_S = 5.0


class Options:
    """What can be set: cadences in seconds, limits, and the agent's own content hash."""

    def __init__(self, **values: Any) -> None:
        self.hash: str = values.get("hash") or ""
        self.npu_s: float = float(values.get("npu_s") or 2.0)
        self.host_s: float = float(values.get("host_s") or 5.0)
        self.idle_s: float = float(values.get("idle_s") or 600.0)
        self.silent_s: float = float(values.get("silent_s") or SILENT_S)
        self.cap_bytes: int = int(values.get("cap_bytes") or CAP_BYTES)
        # 0 switches these four off.
        self.network_s: float = _period(values, "network_s", 60.0)
        self.containers_s: float = _period(values, "containers_s", 30.0)
        self.occupancy_s: float = _period(values, "occupancy_s", 15.0)
        self.health_s: float = _period(values, "health_s", 30.0)
        self.npu_timeout_s: float = float(values.get("npu_timeout_s") or 10.0)


def _period(values: dict[str, Any], name: str, default: float) -> float:
    given = values.get(name)
    return float(given) if given not in (None, "") else default


class Resident:
    """Everything of one running resident. ``run`` returns when it has to leave."""

    def __init__(self, home: Home, options: Options) -> None:
        self._home, self._options = home, options
        self._boot_id = processes.boot_id()
        self._loop = Loop()
        self._spool = Spool(home.spool, self._boot_id, options.cap_bytes)
        self._spool_id = self._spool.spool_id
        source = pkgutil.get_data("agent", "shim.py")
        assert source is not None
        self._desk = jobs.Desk(home, source.decode("utf-8"))
        self._lanes = {name: Lane(self._loop, name, threads) for name, threads in
                       (("reads", 3), ("scans", 2), ("searches", 2), ("writes", 1), ("kills", 1), ("watch", 1), ("npu", 1), ("host", 1), ("network", 1),
                        ("containers", 1), ("occupancy", 1), ("health", 1), ("checks", 2), ("remedies", 1), ("makes", 4), ("sweeps", 1))}
        self._watch = Watch(home, self._spool.states(), _make_follower, reopen=self._spool.is_new)
        self._unstored: list[dict[str, Any]] = []
        self._lost: dict[str, int] = {}
        self._found: Batch | None = None
        self._stored: Batch | None = None
        self._open_attempts: int | None = None
        self._kills: dict[str, int] = {}
        self._samplers: Any = None
        self._started = self._busy_at = clock.mono_s()
        self._leaving = ""
        self._said: dict[str, float] = {}
        self._listener = home.listen()
        self._company = company.Company()
        self._clients = Clients(self._loop, self._listener, self._spool, self._hello, self._answer, options.silent_s)

    def run(self) -> None:
        """Serve until there is a reason to leave."""
        signal.set_wakeup_fd(self._loop.wake_write, warn_on_full_buffer=False)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda number, frame: self._leave("signal %d" % number))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._note("started", "")
        self._sample()
        self._loop.every(_FOLLOW_S, self._poll)
        self._loop.every(_TIDY_S, functools.partial(self._when_idle, "writes", self._desk.tidy, "tidy"))
        self._loop.every(_TIDY_S, functools.partial(self._when_idle, "sweeps", self._desk.phase.sweep, "containers"))
        self._loop.every(_KILL_S, functools.partial(self._when_idle, "kills", self._kill_overdue, "kill"))
        self._loop.every(1.0, self._check_idle)
        self._loop.every(1.0, self._tell_company)
        self._watch_saves()
        while not self._leaving:
            self._loop.step()
            self._clients.pump()
            if self._spool.spool_id != self._spool_id:
                self._begin_anew()
        end = clock.mono_s() + _DRAIN_S
        while self._lanes["writes"].pending and clock.mono_s() < end:
            self._loop.step(0.1)
        # The name first: whoever connects from now on finds nobody and starts the next one, which waits for the lock.
        self._home.unlisten()
        self._clients.close()
        self._note("upgrading" if self._leaving == "upgrading" else "stopping", self._leaving)
        self._clients.pump()
        self._clients.say_bye(self._leaving)
        if self._samplers is not None:
            self._samplers.close()
        self._spool.close()

    def _leave(self, why: str) -> None:
        self._leaving = self._leaving or why

    def _hello(self) -> dict[str, Any]:
        oldest, newest = self._spool.bounds()
        return {"t": "hello", "proto": wire.PROTOCOL, "min_proto": wire.MIN_PROTOCOL, "agent": self._options.hash, "revision": agent.REVISION,
                "node_time": clock.wall_s(), "boot_id": self._boot_id, "spool_id": self._spool.spool_id, "oldest_seq": oldest, "newest_seq": newest,
                "pid": os.getpid(), "user": _user(), "hostname": socket.gethostname()}

    # Storing

    def _store(self, records: list[dict[str, Any]], states: dict[str, dict[str, Any]] | None = None, durable: bool = False) -> bool:
        """Store records together with what could not be stored before; whether it could be done now."""
        if self._spool.spool_id != self._spool_id:
            self._begin_anew()
            states = None  # they point behind records that are gone
        try:
            self._spool.put(self._unstored + records, states, durable, self._lost)
        except sqlite3.Error as error:
            self._say("spool", "the spool cannot be written: %s" % error)
            return False
        self._unstored, self._lost = [], {}
        if self._spool.spool_id != self._spool_id:
            self._begin_anew()
        return True

    def _take_in(self, kind: str, data: dict[str, Any], durable: bool = False) -> None:
        """Store one record that no file could give again; keep it for a while when that cannot be done."""
        record = wire.record(kind, clock.wall_s(), clock.mono_s(), data)
        if not self._store([record], durable=durable):
            self._unstored.append(record)
            if len(self._unstored) > _UNSTORED_MAX:
                gone = self._unstored.pop(0)["kind"]
                self._lost[gone] = self._lost.get(gone, 0) + 1

    def _begin_anew(self) -> None:
        self._say("spool", "the spool was corrupt and has been set aside; a new one has begun")
        self._spool_id = self._spool.spool_id
        self._watch = Watch(self._home, {}, _make_follower, reopen=True)
        self._found = self._stored = None
        self._clients.say_bye("the spool was set aside; a new one has begun")

    def _note(self, state: str, why: str) -> None:
        self._take_in("resident", {"state": state, "agent": self._options.hash, "revision": agent.REVISION, "pid": os.getpid(), "why": why})

    # Observing

    def _sample(self) -> None:
        try:
            from agent.samplers import Samplers
        except ImportError as error:
            self._say("probe", "no probes: %s" % error)
            return
        self._samplers = Samplers(self._options, self._when_idle, self._take_in)
        self._samplers.start(self._loop.every)

    def _watch_saves(self) -> None:
        try:
            from agent.saves import LOOK_S, Saves
        except ImportError:
            return  # an agent without the manifest's rules; told at the start
        saves = Saves(self._home)

        def store(records: list[dict[str, Any]]) -> None:
            if records and not self._store(records):
                saves.forget()

        self._loop.every(LOOK_S, functools.partial(self._when_idle, "scans", saves.look, "saves", store))

    def _when_idle(self, lane: str, work: Callable[[], Any], name: str, then: Callable[[Any], None] | None = None) -> None:
        """Do something in a lane unless it is busy: never two at once, and what hangs is not asked again."""
        def end(result: Any, error: Exception | None) -> None:
            if error is not None:
                self._say(name, "%s: %s: %s" % (name, type(error).__name__, error))
            elif then is not None:
                then(result)

        if not self._lanes[lane].pending:
            self._lanes[lane].do(work, end)

    def _poll(self) -> None:
        if self._found is not None and not self._store_found():
            return
        if self._lanes["watch"].pending:
            return
        watch, stored, self._stored = self._watch, self._stored, None

        def end(found: Batch | None, error: Exception | None) -> None:
            if watch is not self._watch:
                return
            if found is None:
                self._stored = stored
                self._say("watch", "watch: %s: %s" % (type(error).__name__, error))
                return
            self._found = found
            if self._store_found() and found.more:
                self._poll()

        self._lanes["watch"].do(lambda: watch.poll(stored, _FOLLOW_BYTES), end)

    def _store_found(self) -> bool:
        found = self._found
        assert found is not None
        if (found.records or found.states) and not self._store(found.records, found.states):
            return False
        if self._found is not found:
            return True  # the spool has begun anew meanwhile
        self._found, self._stored, self._open_attempts = None, found, found.open
        if found.forget:
            try:
                self._spool.forget(found.forget)
            except sqlite3.Error as error:
                self._say("spool", "the spool cannot be written: %s" % error)
        for attempt in found.recorded_ends:
            self._lanes["writes"].do(functools.partial(self._desk.locks.release, attempt), _ignore)
        return True

    def _kill_overdue(self) -> None:
        for pointer in self._desk.overdue():
            count = self._kills.get(pointer.attempt, 0)
            self._kills[pointer.attempt] = count + 1
            jobs.kill(pointer, gently=count < _GENTLE_KILLS)

    def _check_idle(self) -> None:
        if self._open_attempts != 0 or self._clients.all or self._desk.locks.all() or self._desk.phase.pending():
            self._busy_at = clock.mono_s()
        elif clock.mono_s() >= self._busy_at + self._options.idle_s:
            self._leave("no job and no client for %d s" % self._options.idle_s)

    def _tell_company(self) -> None:
        record = self._company.changed(self._clients.all)
        if record is not None:
            self._store([record])

    # Answering

    def _answer(self, client: Client, number: Any, op: str, args: Any) -> None:
        writes = wire.OPS.get(op, ("read",))[0] == "write"
        client.in_flight += 1

        def end(result: Any, error: Exception | None) -> None:
            client.in_flight -= 1
            problem = _four_parts(error)
            if problem is not None and not isinstance(error, (Refused, LaneFull)):
                self._say(op, "%s: %s: %s" % (op, type(error).__name__, error))
            # A console that says again that it is still there has done nothing anew.
            if writes and not (problem is None and op == "commit" and "hold_s" in args):
                self._take_in("audit", {"operator": client.operator, "peer_uid": client.uid, "op": op, "ok": problem is None,
                                        "args": _audited(op, args), "why": problem["what"] if problem else ""}, durable=True)
            if problem is not None:
                client.send({"t": "res", "id": number, "ok": False, "error": problem})
            else:
                client.send({"t": "res", "id": number, "ok": True, "result": result or {}})
            if writes:
                self._poll()

        try:
            self._begin(client, op, requests.checked(op, args), end)
        except (Refused, LaneFull) as error:
            end(None, error)

    def _begin(self, client: Client, op: str, args: dict[str, Any], end: Callable[[Any, Exception | None], None]) -> None:
        """Have a request carried out; ``end`` is called now or later. Raises Refused, LaneFull."""
        if op == "stats":
            end(self._stats(), None)
        elif op == "note":
            end({}, None)
        elif op == "armed":
            end(company.armed(client, args), None)
        elif op == "remark":
            if not self._store([company.remark(client, args)], durable=True):
                raise Refused("the remark cannot be kept", where=socket.gethostname(), got="a spool that cannot be written", move="See to the node's disk")
            end({}, None)
        elif op == "retire":
            if args["revision"] <= agent.REVISION:
                raise Refused("this agent is not older", where=socket.gethostname(), got="revision %d" % args["revision"],
                              expected="a revision above %d" % agent.REVISION, move="Attach to it as it is")
            end({}, None)
            self._leave("upgrading")
        elif op == "untail":
            client.streams.pop(args["stream"], None)
            end({}, None)
        elif op == "tail":
            if not room_for_stream(client):
                raise Refused("too many open logs", got="%d" % len(client.streams), move="Close one")
            self._lanes["reads"].do(lambda: tails.Tail(args["path"], args["lines"]), lambda tail, error: end(
                {"stream": self._clients.tail(client, tail)} if error is None else None, error))
        elif op in ("lock", "prepare", "commit", "abort", "stop", "adopt"):
            self._lanes["writes"].do(functools.partial(getattr(self._desk, op), args, client.operator), end)
        elif op == "container":
            self._lanes["writes"].do(functools.partial(self._desk.hold, args, client.operator), lambda held, error: self._make_container(held, error, args, end))
        elif op == "left":
            self._lanes["checks"].do(functools.partial(self._desk.left, args), end)
        elif op in ("check_facts", "npu_ping"):
            self._lanes["checks"].do(functools.partial(_check, op, args, self._samplers), end)
        elif op in ("nonce", "write_speed", "remedy"):
            from agent import repairs

            # A remedy may take an hour (an image that is pulled); nothing else has to wait for it.
            self._lanes["remedies" if op == "remedy" else "checks"].do(functools.partial(getattr(repairs, op), args), end)
        elif op == "checkpoints":
            self._lanes["scans"].do(functools.partial(_checkpoints, args["dir"]), end)
        elif op == "search":
            self._lanes["searches"].do(functools.partial(pieces.search, args), end)
        else:
            self._lanes["reads"].do({
                "facts": lambda: requests.facts(self._samplers.npu_count if self._samplers is not None else None, args.get("dir")),
                "jobs": self._desk.jobs,
                "files": lambda: requests.files(self._home, args["attempt"]),
                "read": lambda: tails.read_piece(args["path"], args["offset"], args["length"]),
                "window": lambda: pieces.window(args),
                "bytes": lambda: pieces.piece(args),
            }[op], end)

    def _make_container(self, held: Any, error: Exception | None, args: dict[str, Any], end: Callable[[Any, Exception | None], None]) -> None:
        """The slow middle of a `container` request, in a lane where nothing else waits for it."""
        if error is not None:
            return end(None, error)

        def made(result: Any, error: Exception | None) -> None:
            try:
                self._lanes["writes"].do(functools.partial(self._desk.rest, held.attempt), lambda _, failure: end(result, error or failure))
            except LaneFull as full:
                end(None, error or full)

        try:
            self._lanes["makes"].do(functools.partial(self._desk.phase.make, held, args), made)
        except LaneFull as full:
            made(None, full)
        return None

    def _stats(self) -> dict[str, Any]:
        with open("/proc/self/statm", encoding="ascii") as file:
            rss_pages = int(file.read().split()[1])
        times = os.times()
        return {"pid": os.getpid(), "rss_bytes": rss_pages * resource.getpagesize(), "cpu_s": times.user + times.system,
                "uptime_s": clock.mono_s() - self._started, "spool_bytes": self._spool.used_bytes(), "clients": len(self._clients.all),
                "records": self._spool.count(), "newest_seq": self._spool.bounds()[1], "lanes": {name: lane.pending for name, lane in self._lanes.items()},
                "who": [{"operator": each.operator, "console": each.console, "uid": each.uid, "out_bytes": each.out_bytes} for each in self._clients.all]}

    def _say(self, about: str, text: str) -> None:
        """A line in the resident's log, at most one about a thing in ten seconds."""
        if clock.mono_s() >= self._said.get(about, -1e9) + 10.0:
            self._said[about] = clock.mono_s()
            sys.stderr.write("%s %s\n" % (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text))
            sys.stderr.flush()


def serve(state: str, options: Options) -> int:
    """Be the resident of a state directory; 0 when it has left, or when another one is there already. Raises HomeError, OSError."""
    home = Home(state)
    end = clock.mono_s() + _LOCK_WAIT_S
    while home.take_lock() is None:
        # One that is leaving has taken its socket's name away; one that answers stays.
        if clock.mono_s() >= end or _answers(home):
            sys.stderr.write("another resident is there\n")
            return 0
        time.sleep(0.05)
    os.chdir("/")
    _load_all()
    home.sweep()
    Resident(home, options).run()
    sys.stderr.flush()
    # Threads that hang in a dead file system are left where they are.
    os._exit(0)


def _answers(home: Home) -> bool:
    try:
        home.connect(1.0).close()
    except OSError:
        return False
    return True


def _make_follower(path: str, place: dict, state: Any) -> Any:
    return Follower(path, place, state)


def _checkpoints(folder: str) -> dict[str, Any]:
    # The manifest's rules come with the trainer's package; an agent without them serves everything else.
    from agent import checkpoints

    return checkpoints.scan(tails.checked(folder))


def _check(op: str, args: dict[str, Any], samplers: Any) -> dict[str, Any]:
    from agent import facts
    from agent.probe import network

    if op == "check_facts":
        return facts.gather(args["ask"], samplers)
    pairs = [(pair[0], pair[1]) for pair in args["pairs"] if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) and isinstance(pair[1], str)]
    return {"pings": network.ping(pairs, min(300.0, float(args["limit_s"])))}


def _load_all() -> None:
    """Load what is imported late, now: the directory we run from may be pruned while we run."""
    try:
        from agent import checkpoints  # noqa: F401
    except ImportError as error:
        sys.stderr.write("no checkpoint scan: %s\n" % error)
    try:
        from agent import facts, repairs  # noqa: F401
    except ImportError as error:
        sys.stderr.write("no checks: %s\n" % error)


def _four_parts(error: Exception | None) -> dict[str, str] | None:
    if error is None:
        return None
    if isinstance(error, Refused):
        return error.error
    if isinstance(error, LaneFull):
        return Refused("the node is too busy with earlier requests", where=socket.gethostname(), got="a queue of them (%s)" % error,
                       move="Check whether its work directory still answers, then try again").error
    return Refused("the request failed", where=socket.gethostname(), got="%s: %s" % (type(error).__name__, error),
                   move="See resident.log in the agent's state directory").error


def _audited(op: str, args: Any) -> dict[str, Any]:
    try:
        return requests.audited(op, args)
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}  # refused for its shape


def _ignore(result: Any, error: Exception | None) -> None:
    pass  # locks of an ended attempt are no obstacle; tidy removes them too


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
