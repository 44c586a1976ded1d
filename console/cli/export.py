"""``rankdeck export``: the fleet's state in Prometheus' text format, by its own client library.

Names follow Prometheus' habits: base units (bytes, seconds, ratios from 0 to 1), one time series per thing.
What is not known has no sample: a scraper must not take a missing reading for a zero.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric

from console import files
from console.cli.desk import Desk, at_desk, put, say, speak
from console.core import i18n
from console.core.errors import FileError
from console.core.fleet.alarms import SEVERITIES, alarms
from console.core.fleet.run_views import job_view
from console.core.fleet.state import FleetState, NodeState
from console.core.fleet.views import node_rows
from console.core.launch.inventory import Inventory
from console.core.spoken import spoken_text

HEALTH = ("OK", "Warning", "Alarm", "Critical")


def export(args: argparse.Namespace) -> int:
    """Print, write or serve the metrics. Exit status 1 when a node did not answer. Raises FileError."""
    speak(args)
    address = listening(args.listen) if args.listen else None
    if args.output and not Path(args.output).absolute().parent.is_dir():
        raise FileError("there is no such directory", where="--output", got=str(Path(args.output).parent), expected="an existing one")
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        registry = CollectorRegistry()
        registry.register(Fleet(desk, inventory))
        if address is None and not args.output:
            put(generate_latest(registry).decode("utf-8"))
            for node, why in missing.items():
                say("rankdeck: " + i18n.say("{node} is not up: {why}", node=node, why=spoken_text(why)))
            return 1 if missing else 0
        if address is not None:
            _serve(registry, address)
        while True:
            if args.output:
                _write(Path(args.output), generate_latest(registry))
            time.sleep(max(1.0, args.every))


def listening(text: str) -> tuple[str, int]:
    """``[ADDRESS:]PORT`` as address and port; 127.0.0.1 unless told. Raises FileError."""
    address, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise FileError("no port to listen on", where="--listen", got=repr(text), expected="9400 or 127.0.0.1:9400")
    return address.strip("[]") or "127.0.0.1", int(port)


class Fleet:
    """The desk's state as metrics (a collector of prometheus_client)."""

    def __init__(self, desk: Desk, inventory: Inventory) -> None:
        self._desk, self._inventory, self._lock = desk, inventory, threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """The metrics of now."""
        with self._lock:
            self._desk.store.drain()
            state = self._desk.store.state
        yield from families(state, self._inventory, self._desk.clock.wall_s())

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering does not collect."""
        return ()


def families(state: FleetState, inventory: Inventory, now: float) -> Iterator[Metric]:
    """The state at ``now`` (s since the epoch) as metric families."""
    def family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"rankdeck_{name}", text, labels=["fleet", *labels])

    def put_in(into: GaugeMetricFamily, value: float | None, *labels: str) -> None:
        if value is not None:
            into.add_metric([inventory.name, *labels], value)

    up = family("node_up", "1 when the node's agent answers.", "node")
    age = family("node_sample_age_seconds", "Since the node's NPUs were looked at.", "node")
    offset = family("node_clock_offset_seconds", "Node's clock minus this machine's.", "node")
    lost = family("node_records_dropped", "Records that the node had to drop before they could be sent.", "node", "kind")
    health = family("npu_health", "1 for the health word that the NPU reports.", "node", "npu", "health")
    aicore = family("npu_aicore_ratio", "AICore load, 0 to 1.", "node", "npu")
    hbm = family("npu_hbm_ratio", "HBM in use, 0 to 1.", "node", "npu")
    heat = family("npu_temperature_celsius", "Temperature.", "node", "npu")
    power = family("npu_power_watts", "Power.", "node", "npu")
    rows = {row.name: row for row in node_rows(state, now)}
    for node in inventory.nodes:
        known = state.nodes.get(node.name) or NodeState(name=node.name)
        put_in(up, 1.0 if known.link == "up" else 0.0, node.name)
        put_in(offset, known.met.clock_offset_s if known.met else None, node.name)
        for kind, count in known.gaps.items():
            put_in(lost, count, node.name, kind)
        row = rows.get(node.name)
        if row is None:
            continue
        put_in(age, row.age_s, node.name)
        for cell in row.cells:
            npu = str(cell.device)
            for word in HEALTH:
                put_in(health, 1.0 if cell.health.text == word else 0.0, node.name, npu, word)
            put_in(aicore, None if cell.aicore_pct is None else cell.aicore_pct / 100, node.name, npu)
            put_in(hbm, None if cell.hbm_pct is None else cell.hbm_pct / 100, node.name, npu)
            put_in(heat, cell.temperature_c, node.name, npu)
            put_in(power, cell.power_w, node.name, npu)
    yield from (up, age, offset, lost, health, aicore, hbm, heat, power)

    status = family("job_status", "1 for how the job's newest attempt fares.", "job", "attempt", "status")
    iteration = family("job_iteration", "Newest iteration.", "job")
    total = family("job_iterations", "Iterations the job is to reach.", "job")
    loss = family("job_loss", "Loss of the newest iteration.", "job")
    step = family("job_step_seconds", "Usual time of one iteration.", "job")
    tokens = family("job_tokens_per_second_per_npu", "Throughput.", "job")
    saved = family("job_saved_iteration", "Newest iteration that is saved.", "job")
    quiet = family("job_progress_age_seconds", "Since the last iteration was printed.", "job")
    attempts = family("job_attempts", "Attempts so far.", "job")
    for run in state.runs.values():
        view = job_view(state, run, now)
        put_in(status, 1.0, run.job, view.attempt, view.status.text)
        for into, value in ((iteration, view.iteration), (total, view.total), (loss, view.loss), (step, view.step_s), (tokens, view.tokens_per_s_per_device),
                            (saved, view.saved_iteration), (quiet, view.progress_age_s), (attempts, view.attempts)):
            put_in(into, value, run.job)
    yield from (status, iteration, total, loss, step, tokens, saved, quiet, attempts)

    wanting = family("alarms", "Things that want attention now.", "severity")
    found = alarms(state, now)
    for severity in SEVERITIES:
        put_in(wanting, float(sum(alarm.severity == severity for alarm in found)), severity)
    yield wanting


def _serve(registry: CollectorRegistry, address: tuple[str, int]) -> None:
    try:
        start_http_server(address[1], address[0], registry=registry)
    except OSError as error:
        raise FileError("cannot listen there", where="--listen", got=f"{address[0]}:{address[1]}: {error.strerror or error}", expected="a free port of this machine")
    say("rankdeck: " + i18n.say("{url} until interrupted", url=f"http://{address[0]}:{address[1]}/metrics"))


def _write(path: Path, text: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_bytes(text)
        fresh.replace(path)
    except OSError as error:
        raise FileError("cannot write the metrics", where=str(path), got=error.strerror or str(error), fix="Check the path")
