"""A run of a million iterations in the history: bytes in memory and on disk, seconds to open it, to draw it and to take one in.

A million records taken one by one would take a minute and teach nothing more than the first and the last do:
those between are copied within the file. Seconds are processor time: this is not about who else is at work.
"""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bench.result import Result, Samples, ratio
from console.core.events import RecordArrived
from console.core.fleet.state import RunState
from console.store import Store

POINTS = 1_000_000
TAKEN = 50_000
"""So many of the first and so many of the last are taken in as they would come from a node."""
BATCH = 5_000
SPACING = 330
"""Bytes between two iterations in the log."""
PICTURE_BINS = 400
MEMORY_MB = 50.0


def records(first: int, last: int) -> Iterator[RecordArrived]:
    """Iterations as Megatron prints them: loss, rate, norm, time, TFLOP/s; counts of skipped and NaN."""
    random = Random(first)
    for i in range(first, last + 1):
        yield RecordArrived(
            node="n1", spool_id="s", seq=i, kind="iteration", key=f"64768:1234567:0123456789ab:{i * SPACING}:iteration", time=1.7e9 + i, at=1.7e9 + i, version=2,
            data={"job": "bench", "attempt": "20261122T050000Z-aaaa", "round": 0, "rank": 7, "local_rank": 7, "file": "/data/.rankdeck/bench/round-00/local_rank-7.log",
                  "file_id": "64768:1234567:0123456789ab", "offset": i * SPACING, "line": i, "iteration": i, "total": POINTS, "lm_loss": random.random() * 10,
                  "learning_rate": 1e-4 * random.random(), "elapsed_ms": 5000 + random.random(), "grad_norm": random.random(), "consumed_samples": i * 512,
                  "global_batch_size": 512, "loss_scale": 1.0, "skipped": 0, "nan": 0, "tflops": 150 + random.random(), "tokens_per_s_per_device": None,
                  "extra": {}, "time": "2026-11-22T05:10:01.123456"})


def taken_in(path: Path, first: int, last: int) -> list[float]:
    """Microseconds a record of taking in so many, batch by batch."""
    store, took = Store(path, "f"), []
    for start in range(first, last + 1, BATCH):
        batch = list(records(start, min(last, start + BATCH - 1)))
        began = time.process_time()
        store.ingest(batch)
        store.drain()
        took.append((time.process_time() - began) / len(batch) * 1e6)
    store.close()
    return took


def filled(path: Path, known: int, last: int) -> None:
    """Copy the known iterations behind themselves until there are so many."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(step)")]
        moved = {"id": known, "seq": known, "line": known, "iteration": known, "time": known, "at": known, "spot": known * SPACING}
        copied = ", ".join(f"{name} + {moved[name]} * :nth" if name in moved else name for name in columns)
        for nth in range(1, last // known):
            db.execute(f"INSERT INTO step ({', '.join(columns)}) SELECT {copied} FROM step WHERE iteration <= :known ORDER BY id", {"nth": nth, "known": known})
        db.execute("UPDATE cursor SET seq = ?", (last,))
        db.commit()


def run(rounds: int) -> Result:
    """Written once; opened and drawn at most three times over."""
    with tempfile.TemporaryDirectory(prefix="rankdeck-bench-") as folder:
        path = Path(folder) / "rankdeck.db"
        early = taken_in(path, 1, TAKEN)
        filled(path, TAKEN, POINTS - TAKEN)
        late = taken_in(path, POINTS - TAKEN + 1, POINTS)
        opened, drawn = [], []
        for _ in range(max(1, min(3, rounds))):
            began = time.process_time()
            store = Store(path, "f")
            opened.append(time.process_time() - began)
            began = time.process_time()
            loss = store.state.runs["bench"].series["loss"]
            for at in range(10):
                loss.bins(PICTURE_BINS, 1, POINTS - at)
            drawn.append((time.process_time() - began) / 10 * 1e3)
            store.close()
            del store, loss
        size_mb = _in_memory_mb(path)
        first, last = (Samples(name=f"one record, of the {name} {TAKEN:,}", unit="us", values=tuple(part)) for name, part in (("first", early), ("last", late)))
        memory = Samples(name="a million iterations in memory", unit="MB", values=(size_mb,))
        limit = Samples(name="memory allowed", unit="MB", values=(MEMORY_MB,))
        return Result(
            samples=(memory, Samples(name="the file", unit="MB", values=(path.stat().st_size / 1e6,)), Samples(name="open", unit="s", values=tuple(opened)),
                     Samples(name=f"extremes for {PICTURE_BINS} columns", unit="ms", values=tuple(drawn)), first, last),
            ratios=(ratio("memory over what is allowed", memory, limit, at_most=1.0), ratio("a record late over early", last, first, at_most=1.5)),
            notes=("memory: of the run's state alone, object by object, its pyramids drawn from; 5 curves of doubles, 2 of counts",))


def _in_memory_mb(path: Path) -> float:
    """Megabytes of all that hangs on the run in the state, once pictures have been drawn of it."""
    store = Store(path, "f")
    found: RunState = store.state.runs["bench"]
    for series in found.series.values():
        series.bins(PICTURE_BINS)
    store.close()
    assert found.total_iterations == POINTS
    # What every run shares is not the run's: types, modules, functions.
    waiting: list[object] = [found]
    known = {id(found)}
    size = 0
    while waiting:
        one = waiting.pop()
        size += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in known and not isinstance(other, (type, types.ModuleType, types.FunctionType)):
                known.add(id(other))
                waiting.append(other)
    return size / 1e6
