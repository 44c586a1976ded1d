"""The console's only store: SQLite is the record, ``FleetState`` in memory a cache rebuilt from it.

Reader threads call ``ingest``: one transaction, committed before it returns, so that what was taken is
never asked for again and what was not is. The thread that draws calls ``drain``, which folds what was
committed since into ``state``; nobody else touches it. Raw log lines pass through bounded rings in
memory and are never written.

Exactly once: records are numbered per spool; one that is behind this store's cursor is a duplicate and is
dropped. A record with a key replaces the record of that key (also from another spool of the same node,
which rescanned the same file), so history holds each fact once.

The file lies in ``$XDG_STATE_HOME/rankdeck/rankdeck.db`` unless told otherwise, and is kept below a cap
(``pruning``); what had to go is told as ``HistoryPruned``, now and at every later start. Several consoles
may have it open; each keeps its own state and its own place in the nodes' streams.
"""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from console.core.errors import FileError
from console.core.events import (
    STORED,
    FleetEvent,
    HistoryPruned,
    LaunchProgress,
    LinkChanged,
    LogBehind,
    LogLines,
    NodeMet,
    RecordArrived,
)
from console.core.fleet.carriers import Carriers
from console.core.fleet.standing import Standing
from console.core.fleet.state import FleetState, RunState, apply, no_series, put_points, reached
from console.store import pruning
from console.store.ring import KEPT_LOG_LINES, LogRing
from console.store.schema import MIGRATIONS, migrate
from console.store.steps import Steps

SCHEMA_VERSION = len(MIGRATIONS)
_HAPPENINGS: Mapping[str, type[NodeMet] | type[LinkChanged] | type[LaunchProgress]] = {
    "node-met": NodeMet, "link": LinkChanged, "launch": LaunchProgress}
_TYPE_NAMES = {cls: name for name, cls in _HAPPENINGS.items()}
_PRUNE_EVERY = 5_000


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_STATE_HOME/rankdeck/rankdeck.db`` (XDG base directory specification; default ~/.local/state)."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_STATE_HOME") or ""
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return home / "rankdeck" / "rankdeck.db"


class Store:
    """History and present of one fleet."""

    def __init__(self, path: Path | str, fleet: str, *, cap_bytes: int = pruning.CAP_BYTES, at_first: int = 0) -> None:
        """Open or create the file. Raises FileError when it is of a newer version or not a database.

        ``at_first``: so many iterations, the newest, are enough for now; where there are more, somebody calls
        ``load_rest``, and until that is done nothing but links is folded in. 0: all of them, before this returns.
        """
        self.path, self.fleet = Path(path), fleet
        self.state = FleetState()
        self.logs: dict[tuple[str, str], LogRing] = {}
        self._cap_bytes = cap_bytes
        self._lock = threading.Lock()
        self._pending: deque[FleetEvent] = deque()
        """Put in by ``ingest`` and taken out by ``drain``, without the lock: whoever draws must not wait for a disk."""
        self._cursors: dict[str, tuple[str, int]] = {}
        self._links: dict[str, str] = {}
        self._taken = 0
        self._closed = False
        self._at_first, self._upto = at_first, 0
        self._early: Mapping[str, RunState] | None = None
        """The runs without their iterations, while these are still to be loaded."""
        self._loaded: Mapping[str, RunState] | FileError | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._db = self._open()
            self._steps = Steps(self._db)
            self._load()
        except sqlite3.DatabaseError as error:
            raise FileError("cannot read the history", where=str(self.path), got=str(error), expected="a rankdeck database",
                            fix="Move the file away; what the nodes still hold will be fetched again.") from error

    def _open(self) -> sqlite3.Connection:
        fresh = not self.path.exists()
        db = sqlite3.connect(self.path, timeout=10.0, check_same_thread=False, isolation_level=None)
        if fresh:
            self.path.chmod(0o600)
        db.execute("PRAGMA journal_mode=WAL")
        # NORMAL under WAL: a crash of the console loses nothing; a power cut may lose the newest transactions
        # together with the cursor that vouched for them, and the nodes send those records again.
        db.execute("PRAGMA synchronous=NORMAL")
        migrate(db, str(self.path))
        return db

    def _load(self) -> None:
        self._db.execute("BEGIN")  # one snapshot: cursors and records of the same moment
        try:
            for node, spool_id, seq in self._db.execute("SELECT node, spool_id, seq FROM cursor WHERE fleet = ?", (self.fleet,)):
                self._cursors[node] = (spool_id, seq)
            ends = self._steps.ends(self.fleet)
            bare_ends = {id(event) for _, event in ends}    # a record may lack its key as well; these are known by what they are
            for event in self._history(ends):
                self.state = reached(self.state, event) if id(event) in bare_ends else apply(self.state, event)
            for _, event in ends:
                self.state = reached(self.state, event)  # an exit that came before what it is judged by
            if self._at_first and self._steps.more_than(self.fleet, self._at_first):
                self._early, self._upto = self.state.runs, self._steps.newest()
                bare = {name: replace(run, series=no_series(), standing=Standing(), overtaken={}, carriers=Carriers()) for name, run in self._early.items()}
                self.state = replace(self.state, runs=self._with_steps(self._steps, bare, last=self._at_first))
            else:
                self.state = replace(self.state, runs=self._with_steps(self._steps, self.state.runs))
        finally:
            self._db.execute("ROLLBACK")
        # What a link was when the last console ended says nothing about now.
        self.state = replace(self.state, nodes={
            name: replace(node, link="connecting", link_why="", waiting=0) for name, node in self.state.nodes.items()})

    def _history(self, ends: Iterable[tuple[int, RecordArrived]]) -> Iterator[FleetEvent]:
        """What the state is made of again but for the iterations; of these the ``ends``, in their places."""
        for type_name, text in self._db.execute("SELECT type, data FROM happening WHERE fleet = ? ORDER BY id", (self.fleet,)):
            yield _HAPPENINGS[type_name](**json.loads(text))
        for job, kind, count, at in self._db.execute("SELECT job, kind, count, at FROM pruned WHERE fleet = ?", (self.fleet,)):
            yield HistoryPruned(at=at, job=job, kind=kind, count=count)
        yield from map(itemgetter(1), heapq.merge(_records(self._db, self.fleet, "kind NOT IN (?, ?)", pruning.READINGS), ends, key=itemgetter(0)))
        yield from map(itemgetter(1), _records(
            self._db, self.fleet, "id IN (SELECT max(id) FROM record WHERE fleet = ? AND kind IN (?, ?) GROUP BY node, kind)",
            (self.fleet, *pruning.READINGS)))

    def _with_steps(self, steps: Steps, before: Mapping[str, RunState], *, upto: int = (1 << 63) - 1, last: int = -1) -> dict[str, RunState]:
        """The runs with their iterations, put into the columns directly: as events a million of them would take a minute."""
        runs = dict(before)

        def admit(job: str, *step: Any) -> bool:
            if job not in runs:
                runs[job] = RunState(job=job)
            return runs[job].carriers.admit(*step)

        for job, place, iterations, columns, total, time in steps.columns(self.fleet, admit, upto=upto, last=last):
            if self._closed:
                break
            run = runs.get(job) or RunState(job=job)
            put_points(run, place, iterations, columns)
            runs[job] = replace(run, total_iterations=run.total_iterations if total is None else total, last_iteration_time=time)
        return runs

    def ends(self) -> list[RecordArrived]:
        """The first and the last iteration of the newest logs: what tells when an attempt began to train and that it finished."""
        return [event for _, event in self._steps.ends(self.fleet)]

    def load_rest(self) -> None:
        """Load what ``at_first`` left out; the next ``drain`` has it. On a thread of the caller's, beside everything else; once."""
        early = self._early
        if early is None:
            return
        try:
            with closing(sqlite3.connect(f"file:{self.path.absolute()}?mode=ro", uri=True, timeout=10.0)) as db:
                self._loaded = self._with_steps(Steps(db), early, upto=self._upto)
        except sqlite3.Error as error:
            self._loaded = FileError("cannot read the history", where=str(self.path), got=str(error), expected="a rankdeck database",
                                     fix="Start again; what the nodes still hold will be fetched again.")

    def cursor(self, node: str) -> dict[str, Any] | None:
        """Where to go on in the node's stream: {"spool_id", "seq"}, or None when nothing was ever taken."""
        with self._lock:
            known = self._cursors.get(node)
        return {"spool_id": known[0], "seq": known[1]} if known else None

    def ingest(self, events: Iterable[FleetEvent]) -> None:
        """Take events for good. Returns when they are committed; thread-safe."""
        with self._lock:
            if self._closed:
                return
            taken: list[FleetEvent] = []
            cursors = dict(self._cursors)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                (id_,) = self._db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name IN ('record', 'step')").fetchone()
                id_ = id_ or 0
                for event in events:
                    if isinstance(event, RecordArrived):
                        known = cursors.get(event.node)
                        if known and known[0] == event.spool_id and event.seq <= known[1]:
                            continue
                        cursors[event.node] = (event.spool_id, event.seq)
                        id_ += 1
                        self._insert(event, id_)
                    elif isinstance(event, STORED):
                        self._insert_happening(event)
                    taken.append(event)
                for node, (spool_id, seq) in cursors.items():
                    if self._cursors.get(node) != (spool_id, seq):
                        self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)", (self.fleet, node, spool_id, seq))
                self._taken += len(taken)
                if self._taken >= _PRUNE_EVERY and taken:
                    self._taken = 0
                    taken += self._prune(taken)
            except BaseException:
                self._db.execute("ROLLBACK")
                self._steps.forget()
                raise
            self._db.execute("COMMIT")
            self._cursors = cursors
            self._pending.extend(taken)

    def _insert(self, event: RecordArrived, id_: int) -> None:
        if event.kind == "iteration" and self._steps.put(self.fleet, event, id_):
            return
        data = event.data
        self._db.execute(
            "INSERT OR REPLACE INTO record (id, fleet, node, spool_id, seq, kind, key, time, at, version, job, attempt, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (id_, self.fleet, event.node, event.spool_id, event.seq, event.kind, event.key, event.time, event.at, event.version,
             data.get("job"), data.get("attempt"), json.dumps(data, ensure_ascii=False, separators=(",", ":"))))

    def _insert_happening(self, event: NodeMet | LinkChanged | LaunchProgress | HistoryPruned) -> None:
        if isinstance(event, HistoryPruned):
            return  # the store's own word; nobody else can know
        if isinstance(event, LinkChanged):
            if self._links.get(event.node) == event.state:
                return  # only the round trip was measured again
            self._links[event.node] = event.state
        self._db.execute("INSERT INTO happening (fleet, type, at, data) VALUES (?, ?, ?, ?)",
                         (self.fleet, _TYPE_NAMES[type(event)], event.at, json.dumps(asdict(event), ensure_ascii=False)))

    def _prune(self, taken: list[FleetEvent]) -> list[FleetEvent]:
        pruning.trim(self._db, self.fleet, iter(self._cursors))
        told: list[FleetEvent] = []
        # No clock of its own: it is told as of the newest event that made the history too large.
        at = max((float(getattr(event, "at", 0.0)) for event in taken), default=0.0)
        for (fleet, job, kind), count in pruning.prune(self._db, self._steps, self._cap_bytes).items():
            self._db.execute("INSERT INTO pruned VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count, at = excluded.at",
                             (fleet, job, kind, count, at))
            if fleet == self.fleet:
                told.append(HistoryPruned(at=at, job=job, kind=kind, count=count))
        return told

    def drain(self, most: int = 0) -> bool:
        """Fold what was committed since the last call, so many events of it (0: all), into ``state``; True when anything was."""
        whole = False
        if self._early is not None:
            if self._loaded is None:
                return self._drain_early()
            if isinstance(self._loaded, FileError):
                raise self._loaded
            self.state, self._early, self._loaded, whole = replace(self.state, runs=self._loaded), None, None, True
        count = min(most or len(self._pending), len(self._pending))
        for _ in range(count):
            event = self._pending.popleft()
            if isinstance(event, LogLines):
                self.logs.setdefault((event.node, event.path), LogRing()).add(event)
            elif isinstance(event, LogBehind):
                self.logs.setdefault((event.node, event.path), LogRing()).wait(event)
            self.state = apply(self.state, event)
        return count > 0 or whole

    def _drain_early(self) -> bool:
        """What concerns no run, as far as nothing else came before it."""
        found = False
        while self._pending and isinstance(self._pending[0], LinkChanged):
            self.state, found = apply(self.state, self._pending.popleft()), True
        return found

    def forget_log(self, node: str, path: str) -> None:
        """Drop the ring of a log that no pane shows any more."""
        self.logs.pop((node, path), None)

    def records(self, *, kinds: Iterable[str] = (), job: str | None = None) -> Iterator[RecordArrived]:
        """The history's records in the order in which they arrived, as they arrived; of these kinds, of this job.

        Reads the file beside everything else; what is taken in meanwhile may or may not be among them.
        """
        return read_records(self.path, self.fleet, kinds=kinds, job=job)

    def close(self) -> None:
        """Close the file; later calls to ``ingest`` are ignored."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()


def read_records(path: Path | str, fleet: str, *, kinds: Iterable[str] = (), job: str | None = None) -> Iterator[RecordArrived]:
    """``Store.records`` of a file that some store keeps, without a store of one's own. Raises sqlite3.Error."""
    wanted = tuple(kinds)
    with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True, timeout=10.0)) as db:
        db.execute("BEGIN")
        where, values = (f"kind IN ({', '.join('?' * len(wanted))})", wanted) if wanted else ("1", ())
        if job is not None:
            where, values = f"{where} AND job = ?", (*values, job)
        streams: list[Iterator[tuple[int, RecordArrived]]] = [_records(db, fleet, where, values)]
        if not wanted or "iteration" in wanted:
            streams.append(Steps(db).records(fleet, job=job))
        yield from map(itemgetter(1), heapq.merge(*streams, key=itemgetter(0)))


def read_happenings(path: Path | str, fleet: str) -> Iterator[FleetEvent]:
    """The console's own dealings with the nodes (links, greetings, launches) in the order in which they were kept. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True, timeout=10.0)) as db:
        for type_name, text in db.execute("SELECT type, data FROM happening WHERE fleet = ? ORDER BY id", (fleet,)):
            yield _HAPPENINGS[type_name](**json.loads(text))


def fleets_of(path: Path | str, job: str) -> list[str]:
    """The fleets in whose history there is a job of that name. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True, timeout=10.0)) as db:
        return sorted({fleet for (fleet,) in db.execute(
            "SELECT DISTINCT fleet FROM record WHERE job = ? UNION SELECT DISTINCT fleet FROM origin WHERE job = ?", (job, job))})


def jobs_of(path: Path | str) -> list[str]:
    """Every job that any fleet's history has something of. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True, timeout=10.0)) as db:
        return sorted({job for (job,) in db.execute("SELECT DISTINCT job FROM origin UNION SELECT DISTINCT job FROM record WHERE kind = 'job'") if job})


def _records(db: sqlite3.Connection, fleet: str, where: str, values: Iterable[Any]) -> Iterator[tuple[int, RecordArrived]]:
    columns = "id, node, spool_id, seq, kind, key, time, at, version, data"
    for id_, node, spool_id, seq, kind, key, time, at, version, data in db.execute(
            f"SELECT {columns} FROM record WHERE fleet = ? AND {where} ORDER BY id", (fleet, *values)):
        yield id_, RecordArrived(node=node, spool_id=spool_id, seq=seq, kind=kind, key=key, time=time, at=at, version=version, data=json.loads(data))


__all__ = ["KEPT_LOG_LINES", "SCHEMA_VERSION", "LogRing", "Store", "default_path", "fleets_of", "jobs_of", "read_happenings", "read_records"]
