"""What goes when the history has grown beyond its cap: readings first, then the oldest run's iterations, told every time.

Nothing of the newest run goes while anything else is left, and of it the oldest iterations go before what
triage needs (exits, checkpoints, faults, rank maps). Works in bounded pieces, so that taking records in is
never held up for long; the next piece is taken at the next call.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from console.store.steps import Steps

CAP_BYTES = 2 << 30
"""A line's iteration is about 170 bytes here, so ten runs of a million of them fit."""
READINGS = ("sample", "host")
"""Readings are only of the moment: of these kinds the state needs the newest one a node has."""
KEPT_READINGS = 20_000
"""Readings kept per node and kind, newest first; at one every 2 s about 11 hours."""
KEPT_LINKS = 20_000
"""Link changes kept per fleet, newest first."""
_PIECE = 50_000
_PIECES = 4


def used_bytes(db: sqlite3.Connection) -> int:
    """Bytes of the pages in use; freed pages are used again before the file grows."""
    pages, free, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    return int((pages - free) * size)


def trim(db: sqlite3.Connection, fleet: str, nodes: Iterator[str]) -> None:
    """Drop readings and link changes beyond those that are kept; they age out, as a window does, and are not told."""
    for node in nodes:
        for kind in READINGS:
            db.execute(
                "DELETE FROM record WHERE fleet = ? AND kind = ? AND node = ? AND id <= (SELECT id FROM record WHERE fleet = ?"
                " AND kind = ? AND node = ? ORDER BY id DESC LIMIT 1 OFFSET ?)", (fleet, kind, node, fleet, kind, node, KEPT_READINGS))
    db.execute("DELETE FROM happening WHERE fleet = ? AND type = 'link' AND id <= (SELECT id FROM happening WHERE fleet = ?"
               " AND type = 'link' ORDER BY id DESC LIMIT 1 OFFSET ?)", (fleet, fleet, KEPT_LINKS))


def prune(db: sqlite3.Connection, steps: Steps, cap_bytes: int) -> dict[tuple[str, str, str], int]:
    """Make room, when the cap is passed; (fleet, job, kind) -> how many records went. Inside the caller's transaction."""
    gone: dict[tuple[str, str, str], int] = {}
    if used_bytes(db) <= cap_bytes:
        return gone
    goal, pieces = cap_bytes * 9 // 10, 0
    for fleet, job, kind, count in _pieces(db, steps):
        if count:
            gone[(fleet, job, kind)] = gone.get((fleet, job, kind), 0) + count
            pieces += 1
        if used_bytes(db) <= goal or pieces >= _PIECES:
            break
    return gone


def _pieces(db: sqlite3.Connection, steps: Steps) -> Iterator[tuple[str, str, str, int]]:
    """Delete piece by piece in the order in which things can be missed, telling each."""
    for kind in READINGS:
        for fleet, in db.execute("SELECT DISTINCT fleet FROM record WHERE kind = ?", (kind,)).fetchall():
            yield fleet, "", kind, db.execute(
                "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE fleet = ? AND kind = ? AND id NOT IN"
                " (SELECT max(id) FROM record WHERE fleet = ? AND kind = ? GROUP BY node) ORDER BY id LIMIT ?)",
                (fleet, kind, fleet, kind, _PIECE)).rowcount
    newest: dict[tuple[str, str], str] = {(fleet, job): attempt for fleet, job, attempt in db.execute(
        "SELECT fleet, job, max(attempt) FROM record WHERE job IS NOT NULL GROUP BY fleet, job")}
    for name, attempt in steps.newest_attempts().items():
        newest[name] = max(attempt, newest.get(name) or "")
    runs = sorted(newest, key=lambda name: newest[name] or "")
    for fleet, job in runs[:-1]:
        while count := steps.drop_oldest(fleet, job, _PIECE):
            yield fleet, job, "iteration", count
    for fleet, job in runs[:-1]:
        for kind, in db.execute("SELECT DISTINCT kind FROM record WHERE fleet = ? AND job = ?", (fleet, job)).fetchall():
            yield fleet, job, kind, db.execute("DELETE FROM record WHERE id IN (SELECT id FROM record WHERE fleet = ? AND job = ? AND kind = ?"
                                               " ORDER BY id LIMIT ?)", (fleet, job, kind, _PIECE)).rowcount
    for fleet, job in runs[-1:]:
        while count := steps.drop_oldest(fleet, job, _PIECE):
            yield fleet, job, "iteration", count
