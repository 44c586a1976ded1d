"""What it costs the node's agent to follow logs, and how soon a line is found.

A real resident follows the logs of an attempt that a writer process fills: 16 files at 300 lines/s, then 8 at
5,000 lines/s. CPU and memory are the resident's own (its ``stats``); a line's delay is from the moment that is
written in it until its record is taken in. Every numbered line must have become a record.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agent import attempt, processes
from agent.attempt import Pointer
from agent.home import Home
from bench.result import Result, Samples, ratio

ROOT = str(Path(__file__).resolve().parents[1])
SECONDS = 10.0
ITERATIONS_PER_S = 1
RESIDENT = f"import sys; sys.path.insert(0, {ROOT!r}); from agent.__main__ import main; sys.exit(main())"
# The time of writing, in microseconds, stands as the consumed samples.
WRITER = r'''
import sys, time
files, rate, seconds, every = [open(path, "a", buffering=1 << 20) for path in sys.argv[4:]], float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
noise = "    forward-backward ...............................: (1234.56, 1240.12) | optimizer: 3.1 | rank 7 cached 41 buckets\n"
began, written, number = time.time(), 0, 0
while time.time() < began + seconds:
    due = int((time.time() - began) * rate)
    for file in files:
        lines = []
        for at in range(written, due):
            if at % every == 0:
                lines.append(" [2026-11-22 05:10:01.123456] iteration %8d/99999999 | consumed samples: %d | elapsed time per iteration (ms): 100.0 | learning rate: 1.0E-04 | lm loss: 5.5E+00 | grad norm: 1.2 |\n" % (at // every + 1, int(time.time() * 1e6)))
            else:
                lines.append(noise)
        file.write("".join(lines))
        file.flush()
    written = due
    time.sleep(0.02)
print(len(range(0, written, every)) * len(files))
'''


def run(rounds: int) -> Result:
    """Both loads, at most three times over."""
    found: dict[str, list[float]] = {}
    for _ in range(max(1, min(3, rounds))):
        for name, files, rate in (("16 x 300 lines/s", 16, 300), ("8 x 5,000 lines/s", 8, 5000)):
            for key, value in measure(files, rate).items():
                if "," not in key:
                    continue
                found.setdefault(f"{name}: {key}", []).append(value)
    samples = {name: Samples(name=name, unit=name.rpartition(", ")[2], values=tuple(values)) for name, values in found.items()}

    def against(name: str, limit: float) -> Any:
        one = samples[name]
        return ratio(f"{name} over {limit:g}", one, Samples(name="", unit="", values=(limit,) * len(one.values)), at_most=1.0)

    return Result(samples=tuple(samples.values()), ratios=(
        against("16 x 300 lines/s: of a core, %", 2.0), against("16 x 300 lines/s: 99th percentile of delays, s", 0.3), against("8 x 5,000 lines/s: of a core, %", 10.0),
        against("8 x 5,000 lines/s: resident set, MiB", 25.0)), notes=("records lost or doubled would fail the bench", "one line in a second of each file is an iteration; the rest is what trainers print beside"))


def measure(files: int, rate: int, seconds: float = SECONDS, options: tuple[str, ...] = ("--npu-s", "3600", "--host-s", "3600"), path: str = "") -> dict[str, float]:
    """One resident that follows so many files at so many lines/s. ``options``: its command line's; ``path``: directory of tools that it finds first."""
    with tempfile.TemporaryDirectory(prefix="rankdeck-bench-") as place:
        home, folder = Home(f"{place}/state"), Path(place) / "attempt"
        logs = [folder / "round-00" / f"local_rank-{number}.log" for number in range(files)]
        logs[0].parent.mkdir(parents=True)
        for log in logs:
            log.touch()
        for name in ("prepared", "committed"):
            (folder / f"{name}.json").write_text("{}")
        # The attempt lives as long as its shim does; here that is this process.
        status = processes.stat_of(os.getpid())
        assert status is not None
        (folder / "shim.json").write_text(json.dumps({"pid": os.getpid(), "start_ticks": status[3], "boot_id": processes.boot_id()}))
        columns: dict[str, list[int]] = {name: list(range(files)) for name in ("rank", "local_rank", "pid")}
        (logs[0].parent / "rank_map.json").write_text(json.dumps({"job": "bench", "attempt": "a", "round": 0, "restart_count": 0, "world_size": files, "complete": True, "ranks": columns}))
        attempt.save(home.attempts, Pointer({"job": "bench", "attempt": "a", "dir": str(folder), "epoch": 1, "node": "n", "node_index": 0}))
        resident = subprocess.Popen([sys.executable, "-I", "-c", RESIDENT, "resident", "--state", home.path, *options],
                                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PATH": f"{path}:{os.environ.get('PATH', os.defpath)}"} if path else None)
        try:
            _until(lambda: _stats(home) is not None)
            time.sleep(2.0)
            before = _stats(home)
            began = time.monotonic()
            writer = subprocess.run([sys.executable, "-c", WRITER, str(rate), str(seconds), str(rate // ITERATIONS_PER_S), *map(str, logs)], check=True, stdout=subprocess.PIPE)
            after = _stats(home)
            took = time.monotonic() - began
            expected = int(writer.stdout)
            _until(lambda: _count(home) >= expected)
            with sqlite3.connect(f"file:{home.spool}?mode=ro", uri=True) as spool:
                rows = [(at, json.loads(text)) for at, text in spool.execute("SELECT time, data FROM record WHERE kind = 'iteration'")]
            spool.close()
            if len(rows) != expected or len({(data["file_id"], data["offset"]) for _, data in rows}) != expected:
                raise RuntimeError(f"{len(rows)} records of {expected} lines")
            delays = sorted(at - data["consumed_samples"] / 1e6 for at, data in rows)
            assert before is not None and after is not None
            return {"of a core, %": (after["cpu_s"] - before["cpu_s"]) / took * 100, "99th percentile of delays, s": delays[len(delays) * 99 // 100],
                    "resident set, MiB": after["rss_bytes"] / (1 << 20),
                    "samples": float(_count(home, "sample")), "looks at the network": float(_count(home, "network"))}
        finally:
            resident.send_signal(signal.SIGKILL)
            resident.wait()


def _count(home: Home, kind: str = "iteration") -> int:
    with sqlite3.connect(f"file:{home.spool}?mode=ro", uri=True) as spool:
        (count,) = spool.execute("SELECT COUNT(*) FROM record WHERE kind = ?", (kind,)).fetchone()
    spool.close()
    return int(count)


def _stats(home: Home) -> dict[str, Any] | None:
    try:
        link = home.connect(5.0)
    except OSError:
        return None
    with link:
        stream = link.makefile("rwb")
        stream.readline()
        for message in ({"t": "hello", "proto": 1, "min_proto": 1, "operator": "bench", "console": "bench", "after": None}, {"t": "req", "id": 1, "op": "stats", "args": {}}):
            stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()
        for line in stream:
            message = json.loads(line)
            if message.get("t") == "res":
                return dict(message["result"])
    return None


def _until(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("not within 60 s")
        time.sleep(0.05)


if __name__ == "__main__":
    print(measure(int(sys.argv[1]), int(sys.argv[2])), os.cpu_count())
