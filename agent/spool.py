"""The spool: what happened on this node, numbered and bounded, in one SQLite file. Refuses to interpret it.

Every change is one transaction, and what followers have read is stored together with how far they have
read: killed at any point, the agent has either both or neither.

Durability: WAL with ``synchronous=NORMAL``. A killed process loses nothing that was committed, because the
kernel has it. A power cut may take the last commits, but everything read from files is read from them
again; only samples are lost, and the node was down anyway. What must not happen is that a number which a
console has seen is given out twice, so the numbering jumps ahead at every new boot. Audit records can be
derived from nothing else; they ask for ``durable`` (``synchronous=FULL``).

Numbers ascend, are never reused and have holes: a record with a key replaces the one of that key under a
new number. When the used pages pass the cap, records go in the order of ``wire.EVICTION_ORDER``, then other
kinds, then what triage needs most (``PRECIOUS``), oldest first; a ``gap`` record per kind tells how many.

A file that SQLite calls corrupt is set aside and a new spool with a new id begun.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
from typing import Any, Callable, Iterable, TypeVar

from agent import clock, wire

CAP_BYTES = 256 << 20
PRECIOUS = ("iteration", "checkpoint", "fault", "exit", "job", "rank_map")
# More than could be written and lost between two checkpoints of the WAL (about 4 MiB).
BOOT_JUMP = 1 << 20
_EVICT_ROWS = 256
# Leaves room in a wire line for everything but the data itself.
_DATA_MAX_BYTES = wire.MAX_LINE_BYTES - 4096
_WAITING_MAX = 100000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS record(seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT UNIQUE,
    time REAL NOT NULL, mono REAL NOT NULL, v INTEGER NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS record_kind ON record(kind, seq);
CREATE TABLE IF NOT EXISTS follower(path TEXT PRIMARY KEY, state TEXT NOT NULL);
"""

Result = TypeVar("Result")


class Spool:
    """One open spool. Used from one thread. ``spool_id`` changes when a corrupt file was set aside; ``is_new``: just made."""

    def __init__(self, path: str, boot_id: str, cap_bytes: int = CAP_BYTES) -> None:
        self.path = path
        self.boot_id = boot_id
        self.cap_bytes = max(cap_bytes, 1 << 16)
        self.spool_id = ""
        self.is_new = False
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            self._set_aside()

    def put(self, records: Iterable[dict[str, Any]], states: dict[str, dict[str, Any]] | None = None,
            durable: bool = False, lost: dict[str, int] | None = None) -> int:
        """Store records (as wire.record makes them) and followers' states in one transaction; how many were new.

        A record whose key is there with the same data is not new. ``lost``: kind -> how many there were for
        which there was no room before; told as a gap. Raises sqlite3.Error when it cannot be stored now
        (disk full); nothing of it is stored then.
        """
        records = list(records)
        before = self.spool_id

        def store() -> int:
            # After a new beginning the states would point behind records that are gone.
            return self._store(records, states if self.spool_id == before else None, durable, lost or {})

        return self._guarded(store, twice=True)

    def read(self, after_seq: int, limit: int) -> list[dict[str, Any]]:
        """At most ``limit`` rec messages with a number above ``after_seq``, ascending."""

        def select() -> list[dict[str, Any]]:
            rows = self._db.execute(
                "SELECT seq, kind, key, time, mono, v, data FROM record WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
            )
            return [
                {"t": "rec", "seq": seq, "kind": kind, "key": key, "time": at, "mono": mono, "v": version, "data": json.loads(data)}
                for seq, kind, key, at, mono, version, data in rows
            ]

        return self._guarded(select, otherwise=[])

    def bounds(self) -> tuple[int, int]:
        """The oldest number still here and the newest ever given; oldest is newest + 1 when the spool is empty."""

        def select() -> tuple[int, int]:
            newest = self._newest()
            oldest = self._db.execute("SELECT MIN(seq) FROM record").fetchone()[0]
            return (newest + 1 if oldest is None else int(oldest)), newest

        return self._guarded(select, otherwise=(1, 0))

    def behind(self, after_seq: int) -> int:
        """How many records have a number above ``after_seq``, counted up to 100,000."""
        query = "SELECT COUNT(*) FROM (SELECT 1 FROM record WHERE seq > ? LIMIT ?)"
        return self._guarded(lambda: int(self._db.execute(query, (after_seq, _WAITING_MAX)).fetchone()[0]), otherwise=0)

    def states(self) -> dict[str, dict[str, Any]]:
        """Path of every followed file -> its follower's last stored state."""
        rows: list[tuple[str, str]] = self._guarded(lambda: self._db.execute("SELECT path, state FROM follower").fetchall(), otherwise=[])
        return {path: json.loads(state) for path, state in rows}

    def forget(self, paths: Iterable[str]) -> None:
        """Drop followers' states. Raises sqlite3.Error."""
        gone = [(path,) for path in paths]
        if gone:
            self._guarded(lambda: self._db.executemany("DELETE FROM follower WHERE path = ?", gone), twice=True)

    def has(self, key: str) -> bool:
        """Whether a record of that key is here."""
        row = self._guarded(lambda: self._db.execute("SELECT 1 FROM record WHERE key = ?", (key,)).fetchone(), otherwise=None)
        return row is not None

    def count(self) -> int:
        """How many records are here."""
        return self._guarded(lambda: int(self._db.execute("SELECT COUNT(*) FROM record").fetchone()[0]), otherwise=0)

    def used_bytes(self) -> int:
        """Bytes of the pages in use, without the WAL (which SQLite resets at about 4 MiB)."""
        pages = self._db.execute("PRAGMA page_count").fetchone()[0] - self._db.execute("PRAGMA freelist_count").fetchone()[0]
        return int(pages * self._page_bytes)

    def close(self) -> None:
        """Close the file; what was committed stays."""
        try:
            self._db.close()
        except sqlite3.Error:
            pass

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        db = sqlite3.connect(self.path, timeout=5.0, isolation_level=None)
        try:
            db.execute("PRAGMA auto_vacuum=INCREMENTAL")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA journal_size_limit=8388608")
            # A quarter of the usual: the agent is to stay below 25 MiB, and reads its records in order.
            db.execute("PRAGMA cache_size=-512")
            db.executescript(_SCHEMA)
            self._page_bytes = int(db.execute("PRAGMA page_size").fetchone()[0])
            db.execute("BEGIN IMMEDIATE")
            known = dict(db.execute("SELECT name, value FROM meta").fetchall())
            self.is_new = "spool_id" not in known
            self.spool_id = known.get("spool_id") or os.urandom(16).hex()
            if known.get("boot_id", self.boot_id) != self.boot_id:
                row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
                if row is not None:
                    db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'record'", (int(row[0]) + BOOT_JUMP,))
            db.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", [("spool_id", self.spool_id), ("boot_id", self.boot_id)])
            db.execute("COMMIT")
            db.execute("SELECT MIN(seq), MAX(seq) FROM record").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            try:
                # One set-aside file is kept, for whoever wants to look; more would fill the disk.
                os.replace(self.path + suffix, self.path + ".corrupt" + suffix)
            except FileNotFoundError:
                pass
        self._db = self._open()

    def _guarded(self, work: Callable[[], Result], otherwise: Result | None = None, twice: bool = False) -> Result:
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            self.close()
            self._set_aside()
        return work() if twice else otherwise  # type: ignore[return-value]  # callers without twice give otherwise

    def _newest(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'record'").fetchone()
        return int(row[0]) if row is not None else 0

    def _store(self, records: list[dict[str, Any]], states: dict[str, dict[str, Any]] | None, durable: bool, lost: dict[str, int]) -> int:
        if durable:
            self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            new = sum([self._insert(record) for record in records])
            for kind, count in lost.items():
                self._tell_gap(kind, self._newest(), self._newest(), count)
            if states:
                rows = [(path, json.dumps(state)) for path, state in states.items()]
                self._db.executemany("INSERT OR REPLACE INTO follower VALUES(?, ?)", rows)
            if new:
                self._evict()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        finally:
            if durable:
                self._db.execute("PRAGMA synchronous=NORMAL")
        return new

    def _insert(self, record: dict[str, Any]) -> int:
        key, text = record.get("key"), _text(record["data"])
        if len(text.encode("utf-8", "replace")) > _DATA_MAX_BYTES:
            # It could never be sent; told as what it is, a record that is missing.
            seq = self._newest()
            self._tell_gap(record["kind"], seq, seq, 1)
            return 1
        if key is not None:
            old = self._db.execute("SELECT seq, data, v FROM record WHERE key = ?", (key,)).fetchone()
            if old is not None and old[1] == text:
                if old[2] != record["v"]:
                    self._db.execute("UPDATE record SET v = ? WHERE seq = ?", (record["v"], old[0]))
                return 0
            if old is not None:
                self._db.execute("DELETE FROM record WHERE seq = ?", (old[0],))
        self._db.execute(
            "INSERT INTO record(kind, key, time, mono, v, data) VALUES(?, ?, ?, ?, ?, ?)",
            (record["kind"], key, record["time"], record["mono"], record["v"], text),
        )
        return 1

    def _evict(self) -> None:
        if self.used_bytes() <= self.cap_bytes:
            return
        goal = self.cap_bytes * 9 // 10
        told: dict[str, list[int]] = {}
        last = [kind for kind in PRECIOUS if kind not in wire.EVICTION_ORDER]
        for kind in wire.EVICTION_ORDER:
            self._evict_where("kind = ?", [kind], goal, told)
        marks = ",".join("?" * len(last))
        self._evict_where("kind NOT IN ('gap',%s)" % marks, last, goal, told)
        self._evict_where("kind IN (%s)" % marks, last, goal, told)
        for kind, (first, end, count) in sorted(told.items()):
            self._tell_gap(kind, first, end, count)
        self._db.execute("PRAGMA incremental_vacuum(1024)").fetchall()

    def _evict_where(self, condition: str, values: list[str], goal: int, told: dict[str, list[int]]) -> None:
        while self.used_bytes() > goal:
            rows = self._db.execute("SELECT seq, kind FROM record WHERE %s ORDER BY seq LIMIT %d" % (condition, _EVICT_ROWS), values).fetchall()
            if not rows:
                return
            self._db.executemany("DELETE FROM record WHERE seq = ?", [(seq,) for seq, _ in rows])
            for seq, kind in rows:
                entry = told.setdefault(kind, [seq, seq, 0])
                entry[0], entry[1], entry[2] = min(entry[0], seq), max(entry[1], seq), entry[2] + 1

    def _tell_gap(self, kind: str, first: int, last: int, count: int) -> None:
        key = "gap:" + kind
        row = self._db.execute("SELECT data FROM record WHERE key = ?", (key,)).fetchone()
        if row is not None:
            old = json.loads(row[0])
            first, last, count = min(first, old["from_seq"]), max(last, old["to_seq"]), count + old["count"]
        data = {"kind": kind, "from_seq": first, "to_seq": last, "count": count}
        self._insert(wire.record("gap", clock.wall_s(), clock.mono_s(), data, key))


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    """Whether SQLite means the file itself: then it raises DatabaseError, not one of its subclasses."""
    return type(error) is sqlite3.DatabaseError


def _text(data: dict[str, Any]) -> str:
    try:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError):
        # A parser that let a NaN or an odd object through must not stop everything behind it.
        return json.dumps(_plain(data), sort_keys=True, separators=(",", ":"), default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if value != value else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
