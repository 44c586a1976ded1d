"""A recorded moment of a fleet, and a feed that plays it: what the screen's tests look at.

Four nodes: two train, one of them with a sick NPU; one is idle; one has not answered for a while. The run
was killed once at iteration 43 and went on from the checkpoint of iteration 40.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import exp, sin
from typing import Any

from console.core.clock import FixedClock
from console.core.events import Answer, FleetEvent, LaunchProgress, LinkChanged, NodeMet, RecordArrived
from console.core.fleet.run_views import PHASES
from console.core.fleet.state import FleetState, apply
from console.core.intents import Intent

NOW = 1_795_324_200.0  # 2026-11-22T05:10:00Z
JOB = "demo-gpt-tiny"
FIRST, SECOND = "20261122T050100Z-3f9a", "20261122T050812Z-c41d"
DEVICES = 8


class Tail:
    """A followed log, as the store keeps it."""

    def __init__(self, lines: Iterable[str] = (), maxlen: int | None = None) -> None:
        self.lines: deque[str] = deque(lines, maxlen)
        self.dropped = 0
        self.generation = 0

    def add(self, *lines: str) -> None:
        if self.lines.maxlen is not None:
            self.dropped += max(0, len(self.lines) + len(lines) - self.lines.maxlen)
        self.lines.extend(lines)
        self.generation += 1


class FakeFeed:
    """A feed whose events are put in by hand; ``intents`` is what was submitted."""

    def __init__(self, events: Iterable[FleetEvent] = ()) -> None:
        self.state = FleetState()
        self.logs: dict[tuple[str, str], Tail] = {}
        self.intents: list[Intent] = []
        self.pending: list[FleetEvent] = list(events)
        self.said: list[Answer] = []
        self.drain()

    def drain(self, most: int = 0) -> bool:
        pending, self.pending = self.pending, []
        for event in pending:
            self.state = apply(self.state, event)
        return bool(pending)

    def answers(self) -> Sequence[Answer]:
        said, self.said = self.said, []
        return said

    def submit(self, intent: Intent) -> None:
        self.intents.append(intent)


class Recorder:
    """Makes the events of nodes, numbered as a spool would."""

    def __init__(self) -> None:
        self._seq = 0

    def __call__(self, node: str, kind: str, time: float, /, **data: Any) -> RecordArrived:
        self._seq += 1
        return RecordArrived(node=node, spool_id=f"spool-{node}", seq=self._seq, kind=kind, key=None, time=time, at=time, data=data)


def met(node: str, offset_s: float = 0.0) -> NodeMet:
    return NodeMet(node=node, at=NOW - 600, agent="0123456789abcdef", revision=1, spool_id=f"spool-{node}", boot_id=f"boot-{node}",
                   oldest_seq=1, newest_seq=1, clock_offset_s=offset_s, clock_error_s=0.002)


def sample(record: Recorder, node: str, time: float, loads: Sequence[int], *, health: Sequence[str] = (), pids: Sequence[int] = ()) -> RecordArrived:
    count = len(loads)
    return record(
        node, "sample", time, source="npu-smi info", tool_version="24.1.rc2", driver_version="24.1.rc2", complete=True,
        errors=[], absent={}, took_s=0.4,
        columns={
            "npu_id": list(range(count)), "chip_id": [0] * count, "name": ["910B3"] * count,
            "health": list(health) or ["OK"] * count, "aicore_pct": list(loads),
            "temperature_c": [36 + load // 5 for load in loads], "power_w": [92.0 + 2.6 * load for load in loads],
            "hbm_used_mb": [3400 + 520 * load for load in loads], "hbm_total_mb": [65536] * count},
        processes={"npu_id": list(range(len(pids))), "chip_id": [0] * len(pids), "pid": list(pids), "name": ["python3"] * len(pids)})


def host(record: Recorder, node: str, time: float, cpu: float) -> RecordArrived:
    return record(node, "host", time, cpu_pct=cpu, load1=cpu / 10, cores=192, memory_used_mb=181_000, memory_total_mb=1_546_000,
                  disk_used_mb=880_000, disk_total_mb=1_800_000, shm_used_mb=900, shm_total_mb=64_000, absent={})


def loss_at(iteration: int) -> float:
    return 4.1 * exp(-iteration / 26) + 2.02 + 0.05 * sin(iteration * 2.1) + 0.03 * sin(iteration * 0.7)


def iteration(record: Recorder, attempt: str, number: int, time: float) -> RecordArrived:
    return record(
        "atlas-02", "iteration", time, job=JOB, attempt=attempt, round=0, rank=15, local_rank=7, file="local_rank-7.log", file_id="f", offset=number * 200,
        iteration=number, total=120, lm_loss=loss_at(number), learning_rate=1e-3 * min(1, number / 10), elapsed_ms=1210.0 + 30 * sin(number),
        grad_norm=1.4 + 0.3 * sin(number), consumed_samples=number * 8, global_batch_size=8, tokens_per_s_per_device=3820.0)


def checkpoint(record: Recorder, attempt: str, number: int, event: str, time: float, seconds: float | None = None) -> RecordArrived:
    return record("atlas-01", "checkpoint", time, job=JOB, attempt=attempt, round=0, rank=0, local_rank=0, file="local_rank-0.log", file_id="g",
                  offset=number * 1000, iteration=number, event=event, path=f"/data/ckpt/demo/iter_{number:07d}", seconds=seconds,
                  bytes=3_480_000_000 if event == "saved" else None)


def fleet_events(now: float = NOW) -> list[FleetEvent]:
    """Everything that led to the moment ``now``."""
    record = Recorder()
    nodes = ("atlas-01", "atlas-02", "atlas-03", "atlas-04")
    events: list[FleetEvent] = [met(node, 0.8 if node == "atlas-02" else 0.0) for node in nodes]
    for node, rtt in zip(nodes, (0.0112, 0.0124, 0.0098, 0.012), strict=True):
        events.append(LinkChanged(node=node, at=now - 600, state="up", rtt_s=rtt))
    for attempt, start in ((FIRST, now - 540), (SECOND, now - 88)):
        for index, node in enumerate(nodes[:2]):
            events += [LaunchProgress(job=JOB, attempt=attempt, node=node, phase=phase, state="done", at=start) for phase in PHASES]  # type: ignore[arg-type]
            events.append(record(node, "job", start, job=JOB, attempt=attempt, epoch=int(start * 1000), state="running", node_index=index,
                                 dir=f"/data/.rankdeck/{JOB}/{attempt}/{node}", operator="lin", why=None))
            events.append(record(node, "rank_map", start + 8, job=JOB, attempt=attempt, round=0, restart_count=0, world_size=16, complete=True,
                                 ranks={"rank": [index * 8 + k for k in range(8)], "local_rank": list(range(8)), "group_rank": [index] * 8,
                                        "pid": [4000 + k for k in range(8)], "start_ticks": [1] * 8}))
        if attempt == FIRST:
            events += [iteration(record, FIRST, n, start + 12 + n * 1.2) for n in range(1, 44)]
            for n in (10, 20, 30, 40):
                events += [checkpoint(record, FIRST, n, "started", start + 12 + n * 1.2), checkpoint(record, FIRST, n, "saved", start + 13.9 + n * 1.2, 1.9)]
            end = start + 66
            events.append(record("atlas-02", "exit", end, job=JOB, attempt=FIRST, round=0, scope="rank", rank=11, local_rank=3, pid=4003, code=None,
                                 signal=9, started=start, ended=end, asked=False))
            events += [record(node, "exit", end + 2, job=JOB, attempt=FIRST, round=0, scope="command", rank=None, local_rank=None, pid=3999, code=1,
                              signal=None, started=start, ended=end + 2, asked=False) for node in nodes[:2]]
            events += [record(node, "job", end + 2, job=JOB, attempt=FIRST, epoch=int(start * 1000), state="exited", node_index=index,
                              dir=f"/data/.rankdeck/{JOB}/{FIRST}/{node}", operator="lin", why=None) for index, node in enumerate(nodes[:2])]
            events.append(record(
                "atlas-01", "fault", end + 1, job=JOB, attempt=FIRST, round=0, rank=3, local_rank=3, file="local_rank-3.log", file_id="h", offset=9,
                code="EI0006", rule="hccl-socket-timeout", role="cascade", category="network", action="resume", device=3, pid=4003,
                text="EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time.", time=None))
    events.append(checkpoint(record, SECOND, 40, "loaded", now - 74))
    events += [iteration(record, SECOND, n, now - 68.4 + (n - 40) * 1.2) for n in range(41, 97)]
    for n in (50, 60, 70, 80, 90):
        events += [checkpoint(record, SECOND, n, "started", now - 68.4 + (n - 40) * 1.2), checkpoint(record, SECOND, n, "saved", now - 66.6 + (n - 40) * 1.2, 1.8)]
    events.append(record("atlas-01", "audit", now - 89, operator="lin", peer_uid=1000, op="commit", args={"attempt": SECOND}, ok=True, why=None))
    events += [
        sample(record, "atlas-01", now - 1, (97, 96, 98, 97, 95, 97, 96, 98), pids=range(4000, 4008)),
        sample(record, "atlas-02", now - 2, (96, 97, 95, 94, 60, 97, 22, 96), health=("OK", "OK", "OK", "OK", "Warning", "OK", "Alarm", "OK"),
               pids=range(4000, 4008)),
        sample(record, "atlas-03", now - 1, (0, 0, 0, 0, 0, 0, 0, 0)),
        sample(record, "atlas-04", now - 75, (0, 3, 0, 0, 41, 0, 0, 0))]
    events += [host(record, node, now - 2, cpu) for node, cpu in zip(nodes, (43.0, 47.5, 2.1, 3.0), strict=True)]
    events.append(LinkChanged(node="atlas-04", at=now - 70, state="down", why="no answer for 60 s; trying again in 24 s"))
    return events


def broken_events(now: float = NOW) -> list[FleetEvent]:
    """What comes after ``fleet_events`` when the sick NPU takes its rank along, and that rank all others."""
    record = Recorder()
    nodes = ("atlas-01", "atlas-02")
    first = now - 5.4
    common = {"job": JOB, "attempt": SECOND, "round": 0}
    return [
        record("atlas-02", "fault", first - 0.4, **common, rank=14, local_rank=6, file="local_rank-6.log", file_id="h", offset=9, line=1204,
               code="507011", rule="acl-507011", role="root", category="hardware", action="isolate", device=6, pid=4006,
               text="rtStreamSynchronize execute failed, reason=[the model stream execute failed], error code 507011", time=None),
        record("atlas-02", "exit", first, **common, scope="rank", rank=14, local_rank=6, pid=4006, code=1, signal=None, started=now - 80, ended=first, asked=False),
        *(record("atlas-01", "fault", first + 1.1 + rank / 10, **common, rank=rank, local_rank=rank, file=f"local_rank-{rank}.log", file_id="h", offset=9,
                 code="EI0002", rule="hccl-notify-wait-timeout", role="cascade", category="network", action="resume", device=rank, pid=4000 + rank,
                 text="EI0002: The wait execution of the Notify register times out.", time=None) for rank in (0, 3)),
        *(record("atlas-01", "exit", first + 1.5 + rank / 10, **common, scope="rank", rank=rank, local_rank=rank, pid=4000 + rank, code=1, signal=None,
                 started=now - 80, ended=first + 1.5 + rank / 10, asked=False) for rank in (0, 3)),
        *(record(node, "exit", first + 3, **common, scope="command", rank=None, local_rank=None, pid=3999, code=1, signal=None, started=now - 80, ended=first + 3, asked=False)
          for node in nodes),
        *(record(node, "job", first + 3, job=JOB, attempt=SECOND, epoch=int((now - 88) * 1000), state="exited", node_index=index, dir=f"/data/.rankdeck/{JOB}/{SECOND}/{node}",
                 operator="lin", why=None) for index, node in enumerate(nodes))]


def log_lines(last: int = 96) -> list[str]:
    lines = ["/opt/python/site-packages/torch/distributed/distributed_c10d.py:4807: UserWarning: No device id is provided via `init_process_group`",
             " loading checkpoint from /data/ckpt/demo at iteration 40",
             "  successfully loaded checkpoint from /data/ckpt/demo [ t 1/1, p 1/1 ] at iteration 40"]
    for n in range(41, last + 1):
        lines.append(f" [2026-11-22 05:09:{n % 60:02d}.{n * 7919 % 1000000:06d}] iteration {n:8d}/     120 | consumed samples: {n * 8:12d} | elapsed time per "
                     f"iteration (ms): {1210 + n % 7}.4 | throughput per GPU (TFLOP/s/GPU): 141.2 | learning rate: 1.000000E-03 | "
                     f"global batch size:     8 | lm loss: {loss_at(n):.9E} | loss scale: 1.0 | grad norm: 1.402 | "
                     "number of skipped iterations:   0 | number of nan iterations:   0 |")
        if n % 10 == 0:
            lines.append(f"  successfully saved checkpoint from iteration {n:7d} to /data/ckpt/demo [ t 1/1, p 1/1 ]")
    return lines


LOG = ("atlas-02", f"/data/.rankdeck/{JOB}/{SECOND}/atlas-02/round-00/local_rank-7.log")


def full_feed() -> FakeFeed:
    feed = FakeFeed(fleet_events())
    feed.logs[LOG] = Tail(log_lines())
    return feed


def at_rest(app: Any) -> bool:
    """Whether the panes that take only the rows they need have them: they are measured when they are first drawn, and placed after that."""
    host = app.host
    places = host.places(host.size)
    return all(pane.wanted_rows is None or (pane.display and pane.wanted_rows == len(pane._lines) and places[pane].size == pane.region.size) for pane in host.panes if pane in places)


def fixed_clock() -> FixedClock:
    return FixedClock(NOW)
