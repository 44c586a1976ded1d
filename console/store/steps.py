"""Iterations in the history: a row of columns each, where it was printed and by whom kept once. Refuses all other records.

An iteration is named by its file and the offset of its line, as the agent's key says; the same line read
again, under another rank or by another spool, replaces itself. What does not fit the columns (a key of
another shape, a field that is no number) is refused here and kept as JSON like any other record.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from console.core.events import RecordArrived
from console.core.fleet.points import METRICS

COLUMNS = ("line", "iteration", "total", "lm_loss", "learning_rate", "elapsed_ms", "grad_norm", "tokens_per_s_per_device", "tflops",
           "skipped", "nan", "consumed_samples", "global_batch_size", "loss_scale", "printed")
_FIELDS = tuple("time" if name == "printed" else name for name in COLUMNS)
# In the origin, once for all lines of one file; the rest of a record's place.
_PLACE = ("job", "attempt", "round", "rank", "local_rank", "file")
_KEY = re.compile(r"\A(.+):([0-9]{1,18}):iteration(?::([0-9]{1,6}))?\Z", re.DOTALL)
_CHUNK = 20_000
_LOSS = 4 + list(METRICS.values()).index("lm_loss")
Admit = Callable[[str, tuple[str, int], str, str, int | None, int, bool], bool]
_MOST = 1 << 63


class Steps:
    """The tables ``step``, ``origin`` and ``source`` of one open file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._sources: dict[tuple[str, str, str], int] = {}
        self._origins: dict[tuple[Any, ...], int] = {}

    def forget(self) -> None:
        """Ids that were given in a transaction that was rolled back are not to be used."""
        self._sources.clear()
        self._origins.clear()

    def put(self, fleet: str, event: RecordArrived, id_: int) -> bool:
        """Write one iteration under a number that orders it among all records; False when it does not fit."""
        data = event.data
        named = _KEY.match(event.key or "")
        place = tuple(data.get(name) for name in _PLACE)
        values = [data.get(name) for name in _FIELDS]
        if not named or not isinstance(place[0], str) or not isinstance(place[1], str) or type(data.get("iteration")) is not int \
                or not all(map(_fits, (*place, *values))) \
                or (data.get("file_id", named[1]), data.get("offset", int(named[2]))) != (named[1], int(named[2])):
            return False
        more = {name: value for name, value in data.items() if name not in _KNOWN and not (name == "extra" and value in (None, {}))}
        self._db.execute(
            _INSERT, (id_, self._source(fleet, event.node, named[1]), int(named[2]), int(named[3] or 0), self._origin(fleet, event, place),
                      event.seq, event.time, event.at, *values, json.dumps(more, ensure_ascii=False, separators=(",", ":")) if more else None))
        return True

    def _source(self, fleet: str, node: str, file_id: str) -> int:
        name = (fleet, node, file_id)
        if name not in self._sources:
            self._db.execute("INSERT OR IGNORE INTO source (fleet, node, file_id) VALUES (?, ?, ?)", name)
            (self._sources[name],) = self._db.execute("SELECT id FROM source WHERE fleet = ? AND node = ? AND file_id = ?", name).fetchone()
        return self._sources[name]

    def _origin(self, fleet: str, event: RecordArrived, place: tuple[Any, ...]) -> int:
        key = (fleet, event.node, event.spool_id, event.version, *place)
        if key not in self._origins:
            name = json.dumps(key[1:], ensure_ascii=False)
            self._db.execute("INSERT OR IGNORE INTO origin (fleet, node, job, attempt, round, name) VALUES (?, ?, ?, ?, ?, ?)",
                             (fleet, event.node, place[0], place[1], place[2] or 0, name))
            (self._origins[key],) = self._db.execute("SELECT id FROM origin WHERE fleet = ? AND name = ?", (fleet, name)).fetchone()
        return self._origins[key]

    def newest(self) -> int:
        """The highest number that was given."""
        (found,) = self._db.execute("SELECT max(id) FROM step").fetchone()
        return int(found or 0)

    def more_than(self, fleet: str, count: int) -> bool:
        """Whether there are more iterations than so many. Quick: it counts no further."""
        origins = [id_ for (id_,) in self._db.execute("SELECT id FROM origin WHERE fleet = ?", (fleet,))]
        (found,) = self._db.execute(f"SELECT count(*) FROM (SELECT 1 FROM step WHERE {_of_fleet(origins)} LIMIT ?)", (count + 1,)).fetchone()
        return int(found) > count

    def columns(self, fleet: str, admit: Admit, *, upto: int = _MOST - 1, last: int = -1) -> Iterator[tuple[str, tuple[str, int], list[int], dict[str, tuple[Any, ...]], int | None, float]]:
        """(job, (attempt, round), iterations, metric -> values, last known total, time of the last) of stretches in order of arrival.

        ``admit(job, place, node, file, rank, iteration, has_loss)`` says which steps' values stand where several logs
        of one start print them; it is told of every log, and asked of every step only where there are several.
        ``upto``: the highest number to read; ``last``: no more than so many, the newest (-1: all).
        """
        sources = {id_: (job, (attempt, number), *_source_of(name)) for id_, job, attempt, number, name in self._db.execute(
            "SELECT id, job, attempt, round, name FROM origin WHERE fleet = ?", (fleet,))}
        logs: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        for source in sources.values():
            logs.setdefault(source[:2], set()).add(source[2:4])
        crowded = {id_ for id_, source in sources.items() if len(logs[source[:2]]) > 1}
        fields = ", ".join(METRICS.values())
        steps = f"step WHERE {_of_fleet(sources)} AND id <= ?"
        if last >= 0:
            steps = f"(SELECT * FROM {steps} ORDER BY id DESC LIMIT {last:d})"
        cursor = self._db.execute(f"SELECT origin, iteration, total, time, {fields} FROM {steps} ORDER BY id", (upto,))
        while rows := cursor.fetchmany(_CHUNK):
            if not crowded.isdisjoint(row[0] for row in rows):
                rows = _standing([row for row in rows if row[0] not in crowded or admit(*sources[row[0]], row[1], row[_LOSS] is not None)], sources)
            for (job, place), stretch in groupby(rows, lambda row: sources[row[0]][:2]):
                origins, iterations, totals, times, *values = zip(*stretch, strict=True)
                if origins[-1] not in crowded:
                    admit(*sources[origins[-1]], iterations[-1], any(loss is not None for loss in values[_LOSS - 4]))
                total = next((known for known in reversed(totals) if known is not None), None)
                yield job, place, list(iterations), dict(zip(METRICS, values, strict=True)), total, times[-1]

    def records(self, fleet: str, after: int = 0, job: str | None = None) -> Iterator[tuple[int, RecordArrived]]:
        """(number, record) of every iteration with a higher number, as it arrived, ascending."""
        origins = {id_: json.loads(name) for id_, known, name in self._db.execute("SELECT id, job, name FROM origin WHERE fleet = ?", (fleet,))
                   if job in (None, known)}
        sources = dict(self._db.execute("SELECT id, file_id FROM source WHERE fleet = ?", (fleet,)))
        cursor = self._db.execute(f"SELECT id, source, spot, nth, origin, seq, time, at, {', '.join(COLUMNS)}, more FROM step"
                                  f" WHERE id > ? AND {_of_fleet(origins)} ORDER BY id", (after,))
        for id_, source, spot, nth, origin, seq, time, at, *values, more in cursor:
            node, spool_id, version, *place = origins[origin]
            data: dict[str, Any] = {**dict(zip(_PLACE, place, strict=True)), **dict(zip(_FIELDS, values, strict=True)), "extra": {},
                                    "file_id": sources[source], "offset": spot, **(json.loads(more) if more else {})}
            key = f"{sources[source]}:{spot}:iteration" + (f":{nth}" if nth else "")
            yield id_, RecordArrived(node=node, spool_id=spool_id, seq=seq, kind="iteration", key=key, time=time, at=at, version=version, data=data)

    def ends(self, fleet: str, most: int = 64) -> list[tuple[int, RecordArrived]]:
        """(number, record) of the first and the last iteration of each of the newest logs, as far as they are known here, ascending."""
        origins = {id_: json.loads(name) for id_, name in self._db.execute("SELECT id, name FROM origin WHERE fleet = ?", (fleet,))}
        found: dict[int, RecordArrived] = {}
        for (source,) in self._db.execute("SELECT id FROM source WHERE fleet = ? ORDER BY id DESC LIMIT ?", (fleet, most)).fetchall():
            for way in ("ASC", "DESC"):
                for id_, origin, seq, time, at, iteration, total in self._db.execute(
                        f"SELECT id, origin, seq, time, at, iteration, total FROM step WHERE source = ? ORDER BY spot {way}, nth {way} LIMIT 1", (source,)):
                    if origin in origins:
                        node, spool_id, version, *place = origins[origin]
                        found[id_] = RecordArrived(node=node, spool_id=spool_id, seq=seq, kind="iteration", key=None, time=time, at=at, version=version,
                                                   data={**dict(zip(_PLACE, place, strict=True)), "iteration": iteration, "total": total})
        return sorted(found.items())

    def drop_oldest(self, fleet: str, job: str, most: int) -> int:
        """Delete so many of a run's iterations, the first that arrived; how many there were to delete."""
        return self._db.execute(
            "DELETE FROM step WHERE id IN (SELECT step.id FROM step JOIN origin ON origin.id = step.origin"
            " WHERE origin.fleet = ? AND origin.job = ? ORDER BY step.id LIMIT ?)", (fleet, job, most)).rowcount

    def newest_attempts(self) -> dict[tuple[str, str], str]:
        """(fleet, job) -> newest attempt, of every run that has iterations here."""
        return {(fleet, job): attempt for fleet, job, attempt in self._db.execute(
            "SELECT fleet, job, max(attempt) FROM origin WHERE id IN (SELECT DISTINCT origin FROM step) GROUP BY fleet, job")}


def _source_of(name: str) -> tuple[str, str, int | None]:
    """(node, file, rank) out of an origin's name."""
    node, _, _, *place = json.loads(name)
    of = dict(zip(_PLACE, place, strict=True))
    return node, of["file"] or "", of["rank"] if isinstance(of["rank"], int) else None


def _standing(rows: list[tuple[Any, ...]], sources: Mapping[int, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with one for each step where several follow one another: the last, with what only the ones before had, as if they had come one by one."""
    found: list[tuple[Any, ...]] = []
    for row in rows:
        before = found[-1] if found else None
        if before is not None and before[1] == row[1] and sources[before[0]][:2] == sources[row[0]][:2]:
            found[-1] = (*row[:2], *(old if new is None else new for old, new in zip(before[2:], row[2:], strict=True)))
        else:
            found.append(row)
    return found


_KNOWN = frozenset((*_FIELDS, *_PLACE, "file_id", "offset"))
_INSERT = (f"INSERT OR REPLACE INTO step (id, source, spot, nth, origin, seq, time, at, {', '.join(COLUMNS)}, more)"
           f" VALUES ({', '.join('?' * (9 + len(COLUMNS)))})")


def _fits(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -_MOST <= value < _MOST
    return value is None or isinstance(value, str) or (isinstance(value, float) and value == value)


def _of_fleet(origins: Iterable[int] | Mapping[int, Any]) -> str:
    return f"origin IN ({', '.join(map(str, sorted(origins)))})"
