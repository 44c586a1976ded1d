"""The history file's tables and how older files become newer ones. Refuses to read or write a record.

Version 1 kept everything in ``record``, as JSON. From version 2 on iterations have a table of columns: a
million of them are a tenth of the bytes and are read back in seconds.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from console.core.errors import FileError
from console.core.events import RecordArrived
from console.store import steps


def _version_1(db: sqlite3.Connection) -> None:
    _run(db, """
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
""")


def _version_2(db: sqlite3.Connection) -> None:
    _run(db, f"""
CREATE TABLE source (
    id INTEGER PRIMARY KEY, fleet TEXT NOT NULL, node TEXT NOT NULL, file_id TEXT NOT NULL, UNIQUE (fleet, node, file_id)
);
CREATE TABLE origin (
    id INTEGER PRIMARY KEY, fleet TEXT NOT NULL, node TEXT NOT NULL, job TEXT NOT NULL, attempt TEXT NOT NULL, round INTEGER NOT NULL,
    name TEXT NOT NULL, UNIQUE (fleet, name)
);
CREATE TABLE step (
    id INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL, spot INTEGER NOT NULL, nth INTEGER NOT NULL,
    origin INTEGER NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL, at REAL NOT NULL, {", ".join(steps.COLUMNS)}, more TEXT
);
CREATE UNIQUE INDEX step_by_place ON step (source, spot, nth);
CREATE TABLE pruned (
    fleet TEXT NOT NULL, job TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (fleet, job, kind)
)
""")
    table = steps.Steps(db)
    rows = db.execute("SELECT id, fleet, node, spool_id, seq, key, time, at, version, data FROM record WHERE kind = 'iteration'")
    moved = []
    for id_, fleet, node, spool_id, seq, key, time, at, version, data in rows:
        event = RecordArrived(node=node, spool_id=spool_id, seq=seq, kind="iteration", key=key, time=time, at=at, version=version,
                              data=json.loads(data))
        if table.put(fleet, event, id_):
            moved.append((id_,))
    db.executemany("DELETE FROM record WHERE id = ?", moved)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_version_1, _version_2)
"""The n-th makes version n + 1 out of version n."""


def migrate(db: sqlite3.Connection, where: str) -> None:
    """Bring the file to the newest version, in one transaction. Raises FileError for one of a newer rankdeck, sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise FileError("the history was written by a newer rankdeck", where=where, got=f"version {version}",
                            expected=f"at most {len(MIGRATIONS)}", fix="Use that version, or another XDG_STATE_HOME.")
        for change in MIGRATIONS[version:]:
            change(db)
        if version < len(MIGRATIONS):
            db.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _run(db: sqlite3.Connection, statements: str) -> None:
    # Not executescript: that would commit what was begun.
    for statement in statements.split(";"):
        if statement.strip():
            db.execute(statement)
