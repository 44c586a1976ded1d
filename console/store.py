"""The console's only store: SQLite is the record, ``FleetState`` in memory a cache rebuilt from it.

Reader threads call ``ingest``: one transaction, committed before it returns, so that what was taken is
never asked for again and what was not is. The thread that draws calls ``drain``, which folds what was
committed since into ``state``; nobody else touches it. Raw log lines pass through bounded rings in
memory and are never written.

Exactly once: records are numbered per spool; one that is behind this store's cursor is a duplicate and is
dropped. A record with a key replaces the record of that key (also from another spool of the same node,
which rescanned the same file), so history holds each fact once.

The file lies in ``$XDG_STATE_HOME/rankdeck/rankdeck.db`` unless told otherwise. Several consoles may have it
open; each keeps its own state and its own place in the nodes' streams.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from console.core.errors import FileError
from console.core.events import STORED, FleetEvent, LaunchProgress, LinkChanged, LogLines, NodeMet, RecordArrived
from console.core.fleet.state import FleetState, apply

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE record (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    fleet TEXT NOT NULL, node TEXT NOT NULL, spool_id TEXT NOT NULL, seq INTEGER NOT NULL,
    kind TEXT NOT NULL, key TEXT, time REAL NOT NULL, at REAL NOT NULL, version INTEGER NOT NULL,
    job TEXT, attempt TEXT, data TEXT NOT NULL,
    UNIQUE (fleet, node, spool_id, seq)
);
CREATE UNIQUE INDEX record_by_key ON record (fleet, node, key) WHERE key IS NOT NULL;
CREATE INDEX record_by_kind ON record (fleet, kind, node, id);
CREATE TABLE cursor (
    fleet TEXT NOT NULL, node TEXT NOT NULL, spool_id TEXT NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (fleet, node)
);
CREATE TABLE happening (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fleet TEXT NOT NULL, type TEXT NOT NULL, at REAL NOT NULL, data TEXT NOT NULL
);
CREATE INDEX happening_by_fleet ON happening (fleet, id);
"""
_HAPPENINGS: Mapping[str, type[NodeMet] | type[LinkChanged] | type[LaunchProgress]] = {
    "node-met": NodeMet, "link": LinkChanged, "launch": LaunchProgress}
_TYPE_NAMES = {cls: name for name, cls in _HAPPENINGS.items()}
# Readings are only of the moment here: of these kinds the state needs the newest one a node has.
_READINGS = ("sample", "host")
KEPT_READINGS = 20_000
"""Samples kept per node and kind, newest first; at one every 2 s about 11 hours."""
KEPT_LOG_LINES = 20_000
"""Lines kept per open log."""
_PRUNE_EVERY = 5_000


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """``$XDG_STATE_HOME/rankdeck/rankdeck.db`` (XDG base directory specification; default ~/.local/state)."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_STATE_HOME") or ""
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return home / "rankdeck" / "rankdeck.db"


class LogRing:
    """The newest lines of one followed log, with how many were pushed out at the top."""

    __slots__ = ("dropped", "generation", "lines", "next_offset", "size")

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        self.dropped = 0
        self.generation = 0
        self.next_offset: int | None = None
        self.size = 0

    def add(self, event: LogLines) -> None:
        """Append the lines; a chunk that starts before the last one's end is a repeat and is ignored."""
        if self.next_offset is not None and event.offset < self.next_offset and event.next_offset <= self.next_offset:
            return
        self.dropped += max(0, len(self.lines) + len(event.lines) - KEPT_LOG_LINES)
        self.lines.extend(event.lines)
        self.next_offset, self.size = event.next_offset, event.size
        self.generation += 1


class Store:
    """History and present of one fleet."""

    def __init__(self, path: Path | str, fleet: str) -> None:
        """Open or create the file. Raises FileError when it is of a newer version or not a database."""
        self.path, self.fleet = Path(path), fleet
        self.state = FleetState()
        self.logs: dict[tuple[str, str], LogRing] = {}
        self._lock = threading.Lock()
        self._pending: deque[FleetEvent] = deque()
        self._cursors: dict[str, tuple[str, int]] = {}
        self._links: dict[str, str] = {}
        self._taken = 0
        self._closed = False
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._db = self._open()
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
        db.execute("BEGIN IMMEDIATE")
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise FileError("the history was written by a newer rankdeck", where=str(self.path), got=f"version {version}",
                                expected=f"at most {SCHEMA_VERSION}", fix="Use that version, or another XDG_STATE_HOME.")
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
        return db

    def _load(self) -> None:
        self._db.execute("BEGIN")  # one snapshot: cursors and records of the same moment
        try:
            for node, spool_id, seq in self._db.execute("SELECT node, spool_id, seq FROM cursor WHERE fleet = ?", (self.fleet,)):
                self._cursors[node] = (spool_id, seq)
            for event in self._history():
                self.state = apply(self.state, event)
        finally:
            self._db.execute("ROLLBACK")
        # What a link was when the last console ended says nothing about now.
        self.state = replace(self.state, nodes={
            name: replace(node, link="connecting", link_why="", waiting=0) for name, node in self.state.nodes.items()})

    def _history(self) -> Iterable[FleetEvent]:
        for type_name, text in self._db.execute("SELECT type, data FROM happening WHERE fleet = ? ORDER BY id", (self.fleet,)):
            yield _HAPPENINGS[type_name](**json.loads(text))
        columns = "node, spool_id, seq, kind, key, time, at, version, data"
        yield from map(_event, self._db.execute(
            f"SELECT {columns} FROM record WHERE fleet = ? AND kind NOT IN (?, ?) ORDER BY id", (self.fleet, *_READINGS)))
        yield from map(_event, self._db.execute(
            f"SELECT {columns} FROM record WHERE id IN (SELECT max(id) FROM record WHERE fleet = ? AND kind IN (?, ?)"
            " GROUP BY node, kind)", (self.fleet, *_READINGS)))

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
                for event in events:
                    if isinstance(event, RecordArrived):
                        known = cursors.get(event.node)
                        if known and known[0] == event.spool_id and event.seq <= known[1]:
                            continue
                        cursors[event.node] = (event.spool_id, event.seq)
                        self._insert(event)
                    elif isinstance(event, STORED):
                        self._insert_happening(event)
                    taken.append(event)
                for node, (spool_id, seq) in cursors.items():
                    if self._cursors.get(node) != (spool_id, seq):
                        self._db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?, ?)", (self.fleet, node, spool_id, seq))
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self._cursors = cursors
            self._pending.extend(taken)
            self._taken += len(taken)
            if self._taken >= _PRUNE_EVERY:
                self._taken = 0
                self._prune()

    def _insert(self, event: RecordArrived) -> None:
        data = event.data
        self._db.execute(
            "INSERT OR REPLACE INTO record (fleet, node, spool_id, seq, kind, key, time, at, version, job, attempt, data)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self.fleet, event.node, event.spool_id, event.seq, event.kind, event.key, event.time, event.at, event.version,
             data.get("job"), data.get("attempt"), json.dumps(data, ensure_ascii=False, separators=(",", ":"))))

    def _insert_happening(self, event: NodeMet | LinkChanged | LaunchProgress) -> None:
        if isinstance(event, LinkChanged):
            if self._links.get(event.node) == event.state:
                return  # only the round trip was measured again
            self._links[event.node] = event.state
        self._db.execute("INSERT INTO happening (fleet, type, at, data) VALUES (?, ?, ?, ?)",
                         (self.fleet, _TYPE_NAMES[type(event)], event.at, json.dumps(asdict(event), ensure_ascii=False)))

    def _prune(self) -> None:
        for node in self._cursors:
            for kind in _READINGS:
                self._db.execute(
                    "DELETE FROM record WHERE fleet = ? AND kind = ? AND node = ? AND id <= (SELECT id FROM record WHERE fleet = ?"
                    " AND kind = ? AND node = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    (self.fleet, kind, node, self.fleet, kind, node, KEPT_READINGS))

    def drain(self) -> bool:
        """Fold what was committed since the last call into ``state``; True when anything was."""
        with self._lock:
            pending, self._pending = self._pending, deque()
        for event in pending:
            if isinstance(event, LogLines):
                self.logs.setdefault((event.node, event.path), LogRing()).add(event)
            self.state = apply(self.state, event)
        return bool(pending)

    def forget_log(self, node: str, path: str) -> None:
        """Drop the ring of a log that no pane shows any more."""
        self.logs.pop((node, path), None)

    def close(self) -> None:
        """Close the file; later calls to ``ingest`` are ignored."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()


def _event(row: tuple[Any, ...]) -> RecordArrived:
    node, spool_id, seq, kind, key, time, at, version, data = row
    return RecordArrived(node=node, spool_id=spool_id, seq=seq, kind=kind, key=key, time=time, at=at,
                         version=version, data=json.loads(data))
