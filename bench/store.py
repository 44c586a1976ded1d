"""A run of a million iterations in the history: bytes in memory and on disk, seconds to open it, to draw it and to take one in."""

from __future__ import annotations

import gc
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bench.result import Result, Samples, ratio
from console.core.events import RecordArrived
from console.core.fleet.state import RunState
from console.store import Store

POINTS = 1_000_000
BATCH = 5_000
PICTURE_BINS = 400
MEMORY_MB = 50.0


def records(first: int, last: int) -> Iterator[RecordArrived]:
    """Iterations as Megatron prints them: loss, rate, norm, time, TFLOP/s; counts of skipped and NaN."""
    random = Random(first)
    for i in range(first, last + 1):
        yield RecordArrived(
            node="n1", spool_id="s", seq=i, kind="iteration", key=f"64768:1234567:0123456789ab:{i * 330}:iteration", time=1.7e9 + i, at=1.7e9 + i, version=2,
            data={"job": "bench", "attempt": "20261122T050000Z-aaaa", "round": 0, "rank": 7, "local_rank": 7, "file": "/work/.rankdeck/bench/round-00/local_rank-7.log",
                  "file_id": "64768:1234567:0123456789ab", "offset": i * 330, "line": i, "iteration": i, "total": POINTS, "lm_loss": random.random() * 10,
                  "learning_rate": 1e-4 * random.random(), "elapsed_ms": 5000 + random.random(), "grad_norm": random.random(), "consumed_samples": i * 512,
                  "global_batch_size": 512, "loss_scale": 1.0, "skipped": 0, "nan": 0, "tflops": 150 + random.random(), "tokens_per_s_per_device": None,
                  "extra": {}, "time": "2026-11-22T05:10:01.123456"})


def run(rounds: int) -> Result:
    """Written once; opened and drawn at most five times over."""
    with tempfile.TemporaryDirectory(prefix="rankdeck-bench-") as folder:
        path = Path(folder) / "rankdeck.db"
        store = Store(path, "f")
        took = []
        for first in range(1, POINTS + 1, BATCH):
            batch = list(records(first, min(POINTS, first + BATCH - 1)))
            began = time.perf_counter()
            store.ingest(batch)
            store.drain()
            took.append((time.perf_counter() - began) / len(batch) * 1e6)
        store.close()
        opened, drawn = [], []
        for _ in range(max(1, min(5, rounds))):
            began = time.perf_counter()
            store = Store(path, "f")
            opened.append(time.perf_counter() - began)
            began = time.perf_counter()
            loss = store.state.runs["bench"].series["loss"]
            for at in range(10):
                loss.bins(PICTURE_BINS, 1, POINTS - at)
            drawn.append((time.perf_counter() - began) / 10 * 1e3)
            store.close()
            del store, loss
        gc.collect()
        size_mb = _in_memory_mb(path)
        quarter = len(took) // 4
        early, late = (Samples(name=f"one record, {name} quarter of the run", unit="us", values=tuple(part))
                       for name, part in (("first", took[:quarter]), ("last", took[-quarter:])))
        memory = Samples(name="a million iterations in memory", unit="MB", values=(size_mb,))
        limit = Samples(name="memory allowed", unit="MB", values=(MEMORY_MB,))
        return Result(
            samples=(memory, Samples(name="the file", unit="MB", values=(path.stat().st_size / 1e6,)), Samples(name="open", unit="s", values=tuple(opened)),
                     Samples(name=f"extremes for {PICTURE_BINS} columns", unit="ms", values=tuple(drawn)), early, late),
            ratios=(ratio("memory over what is allowed", memory, limit, at_most=1.0), ratio("a record late over early", late, early, at_most=1.5)),
            notes=("memory: tracemalloc, of the run's state alone, its pyramids drawn from; 5 curves of doubles, 2 of counts",))


def _in_memory_mb(path: Path) -> float:
    tracemalloc.start()
    try:
        store = Store(path, "f")
        found: RunState = store.state.runs["bench"]
        for series in found.series.values():
            series.bins(PICTURE_BINS)
        store.close()
        del store
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        assert found.total_iterations == POINTS
        return size / 1e6
    finally:
        tracemalloc.stop()
