"""How fast a log is searched for iterations, checkpoints and all fault signatures, beside grep on the same file.

The log is made: 1 GB (RANKDECK_BENCH_MB, in MB, for less) of lines as trainers, torch, NCCL and CANN print
them, one in two hundred an iteration (one in ten of these with its timers), one in five thousand a fault. Each round takes every reader in turn, so
that what else the machine does hits all alike. Seconds are processor time: one core. grep's output is read
through a pipe (on /dev/null it would stop at the first match).
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent import backlog
from agent.catalogue import loader
from agent.follow import STORM_LIMIT, Follower
from agent.parse import reading, scan
from bench.result import Ratio, Result, Samples, ratio

BLOCK_BYTES = 1 << 20
ROUNDS = 3
"""At most: a round reads some gigabytes."""
STORM_MB = 48
PLACE = {"job": "bench", "attempt": "a", "round": 0, "rank": 0, "local_rank": 0}

_WORDS = (
    "rank", "worker", "device", "stream", "tensor", "shard", "layer", "bucket", "gradient", "optimizer", "memory", "buffer", "kernel",
    "shape", "module", "config", "value", "step", "cache", "loader", "sample", "batch", "queue", "socket", "link", "group", "ring", "tree",
    "channel", "warmup", "schedule", "precision", "fusion", "attention", "expert", "router", "norm", "embedding", "vocab", "token",
    "dataset", "index", "prefix", "shuffle", "epoch", "metric", "writer", "handler", "server", "client", "thread", "timer", "event",
    "context", "graph", "node", "host")
_LEVELS = ("INFO", "WARNING", "DEBUG", "EVENT")
_PARTS = ("HCCL", "RUNTIME", "GE", "TDT", "DRV", "ASCENDCL")


def lines(rng: random.Random) -> Iterator[str]:
    """Lines as they are printed, without end."""
    samples = [signature.sample for signature in loader.load()]
    iteration = 0
    while True:
        kind = rng.random()
        words = " ".join(rng.choice(_WORDS) for _ in range(rng.randrange(3, 14)))
        one, two, three = rng.choice(_WORDS), rng.choice(_WORDS), rng.choice(_WORDS)
        n, x = rng.randrange(10 ** 6), rng.random() * 1000
        clock = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}"
        if kind < 0.0002:
            yield rng.choice(samples)
        elif kind < 0.0003:
            yield f"saving checkpoint at iteration {iteration:7d} to /ckpt/run{n} in torch_dist format"
        elif kind < 0.005:
            iteration += 1
            yield (f" [2026-02-05 {clock}] iteration {iteration:8d}/  900000 | consumed samples: {iteration * 512:12d} | elapsed time per iteration "
                   f"(ms): {x:.1f} | throughput per GPU (TFLOP/s/GPU): {x / 3:.1f} | learning rate: {x / 1e8:.6E} | global batch size:   512 | "
                   f"lm loss: {x / 200:.6E} | loss scale: 1.0 | grad norm: {x / 900:.3f} | number of skipped iterations:   0 | "
                   "number of nan iterations:   0 |")
            if iteration % 10 == 0:
                yield f"time (ms) | forward-compute: {x:.2f} | backward-compute: {x * 2:.2f} | optimizer-unscale-and-check: {x / 7:.2f} | batch-generator: {x / 31:.2f}"
        elif kind < 0.20:
            yield (f"[{rng.choice(_LEVELS)}] {rng.choice(_PARTS)}({n},python):2026-02-05-{clock}.{n % 1000:03d}.{n % 997:03d} "
                   f"[{one}_{two}.cc:{n % 3000}][{n}] {words}, stream_id={n % 64}")
        elif kind < 0.35:
            yield f"node-{n % 512:03d}:{n}:{n + 7} [{n % 8}] NCCL INFO Channel {n % 32:02d}/32 : {n % 64}[{n:x}] -> {n % 63}[{n * 3:x}] via P2P/IPC/read {words}"
        elif kind < 0.5:
            yield f"load (%) | {one}-{two}: {x / 10:.2f} | {three}-compute: {x / 20:.2f} | optimizer-unscale-and-check: {x / 70:.2f} | batch-generator: {x / 31:.2f}"
        elif kind < 0.65:
            yield f"2026-02-05 {clock},{n % 1000:03d} - {one}.{two} - INFO - {words} = {n} ({x:.3f})"
        elif kind < 0.8:
            yield f'  File "/opt/conda/lib/python3.11/site-packages/{one}/{two}/{three}.py", line {n % 2000}, in {one}_{three}'
        elif kind < 0.9:
            yield f"    {words.replace(' ', '-')} ...............................: ({x:.2f}, {x + 1:.2f})"
        else:
            yield f"[rank{n % 64}]:[W205 {clock}.{n:09d} {one}.cpp:{n % 900}] Warning: {words}"


def made(path: Path, size: int, chosen: Iterator[str]) -> None:
    """Write about ``size`` bytes of such lines; after 64 MB the same again in another order."""
    rng = random.Random(11)
    pieces: list[bytes] = []
    total = 0
    while total < min(size, 64 << 20):
        piece = ("\n".join(next(chosen) for _ in range(2000)) + "\n").encode("utf-8")
        pieces.append(piece)
        total += len(piece)
    with path.open("wb") as out:
        written = 0
        while written < size:
            rng.shuffle(pieces)
            for piece in pieces:
                if written < size:
                    out.write(piece)
                    written += len(piece)


def scanned(path: Path) -> float:
    """Processor seconds of reading the file, as ``agent.follow`` does it, and its records."""
    began = time.process_time()
    scanner, at = scan.Scanner(), 0
    memory: reading.Memory = {}
    with path.open("rb", buffering=0) as stream:
        while True:
            stream.seek(at)
            block = stream.read(BLOCK_BYTES)
            end = block.rfind(b"\n") + 1
            if not end:
                break
            block = block[:end]
            if not at:
                scanner = scanner.tuned(block)
            at += end
            reading.read_block(block, scanner, memory)
    return time.process_time() - began


def grepped(path: Path, signatures: Path) -> float:
    """Processor seconds of grep -aFc -f SIGNATURES."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["grep", "-aFc", "-f", str(signatures), str(path)], stdout=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def followed(path: Path) -> tuple[float, float, int]:
    """(wall seconds, processor seconds of both, records) of following the whole backlog, grep looking ahead."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, began_cpu = time.perf_counter(), time.process_time()
    follower, records = Follower(str(path), PLACE), 0
    while True:
        found, _ = follower.poll(BLOCK_BYTES, final=True)
        records += len(found)
        if not follower.behind_bytes:
            break
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    follower.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, cpu + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, records


def walled(action: Callable[[], float]) -> tuple[float, float]:
    """(wall seconds, what the action returns)."""
    began = time.perf_counter()
    value = action()
    return time.perf_counter() - began, value


def run(rounds: int) -> Result:
    """MB/s of each reader, and the goals of the design as ratios."""
    megabytes = int(os.environ.get("RANKDECK_BENCH_MB", "1024"))
    rates: dict[str, list[float]] = {name: [] for name in ("scan", "grep -aFc", "grep -aFc, wall", "backlog with grep, wall", "backlog with grep, processor", "storm of faults")}
    notes = []
    folder = Path(tempfile.mkdtemp(prefix="rankdeck-bench-"))
    try:
        path, storm, signatures = folder / "mixed.log", folder / "storm.log", folder / "signatures"
        made(path, megabytes << 20, lines(random.Random(5)))
        samples = [signature.sample for signature in loader.load() if len(signature.sample) < 300]
        chooser = random.Random(6)
        made(storm, STORM_MB << 20, iter(lambda: chooser.choice(samples), ""))
        signatures.write_bytes(b"\n".join(scan.Scanner().texts) + b"\n")
        size, storm_size = path.stat().st_size / 1e6, storm.stat().st_size / 1e6
        path.read_bytes()[:1]    # into the page cache
        for _ in range(min(rounds, ROUNDS)):
            rates["scan"].append(size / scanned(path))
            wall, cpu = walled(lambda: grepped(path, signatures))
            rates["grep -aFc"].append(size / cpu)
            rates["grep -aFc, wall"].append(size / wall)
            wall, cpu, _ = followed(path)
            rates["backlog with grep, wall"].append(size / wall)
            rates["backlog with grep, processor"].append(size / cpu)
            wall, cpu, told = followed(storm)
            rates["storm of faults"].append(storm_size / cpu)
        notes.append(f"{size:.0f} MB, {len(scan.Scanner().texts)} texts in {len(loader.load())} signatures and the training lines; "
                     f"backlogs of {backlog.LEAST_BYTES >> 20} MiB and more are given to grep")
        notes.append(f"the storm of {storm_size:.0f} MB gave {told} records (at most {STORM_LIMIT} of a rule per MiB)")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = {name: Samples(name=name, unit="MB/s", values=tuple(values)) for name, values in rates.items()}

    def goal(name: str, rate: float) -> Ratio:
        return Ratio(name=f"{rate:g} MB/s over {name}", values=tuple(rate / value for value in found[name].values), at_most=1.0)

    return Result(samples=tuple(found.values()), ratios=(
        goal("scan", 100.0), ratio("grep over scan (0.6 x grep is 1.67)", found["grep -aFc"], found["scan"], at_most=1 / 0.6),
        ratio("grep over backlog with grep, wall (1.4 x grep is 0.71)", found["grep -aFc, wall"], found["backlog with grep, wall"], at_most=1 / 1.4),
        ratio("the same, processor time of both", found["grep -aFc"], found["backlog with grep, processor"], at_most=1 / 1.4),
        goal("storm of faults", 10.0)), notes=tuple(notes))
