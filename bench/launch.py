"""What a launch on 64 nodes costs the console: CPU time per node and phase, the nodes in another process.

The real backend, supervisor and store over the real wire: each node is a socket to a process that speaks it and
answers at once, with facts as large as a real agent's. What SSH itself costs is left out (its ciphers run at
hundreds of megabytes a second, and a launch sends kilobytes). Two launches a round: as a job file asks for it, with
checks of level standard, and without checks.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan import JOB, NODES
from bench.result import Ratio, Result, Samples

LIMIT_MS = 20.0
"""Issue "Launch for real": under 20 ms of CPU per node and phase."""
SETTLE_S = 60.0
PHASES = ("preflight", "prepare", "container", "start")


class Pipe:
    """A channel over a socket, as ``console.remote.transport.Channel`` has it."""

    def __init__(self, path: str) -> None:
        self._link = socket.socket(socket.AF_UNIX)
        self._link.connect(path)

    def send(self, data: bytes) -> None:
        """All of it."""
        self._link.sendall(data)

    def recv(self, timeout_s: float) -> bytes | None:
        """Some bytes; b"" at the end; None when nothing came in time."""
        self._link.settimeout(max(0.001, timeout_s))
        try:
            return self._link.recv(1 << 16)
        except TimeoutError:
            return None
        except OSError:
            return b""

    def stderr_text(self) -> str:
        """Nothing."""
        return ""

    def exit_status(self) -> int | None:
        """Not known."""
        return None

    def close(self) -> None:
        """Hang up."""
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        self._link.close()


class Wire:
    """Transport and connection in one: every node is the same listening socket."""

    def __init__(self, path: str) -> None:
        self._path = path

    def connect(self, node: object, *, timeout_s: float = 15.0) -> Wire:
        """At once."""
        return self

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float = 30.0) -> tuple[int, bytes, bytes]:
        """Whatever it was, it worked."""
        return 0, b"", b""

    def open(self, command: str) -> Pipe:
        """A conversation."""
        return Pipe(self._path)

    def put(self, data: bytes, path: str, *, mode: int = 0o600) -> None:
        """Arrived."""

    def close(self) -> None:
        """Nothing to close."""


def serve(path: str) -> None:
    """The nodes: answers every request at once, until its standard input is closed."""
    from agent import facts, wire

    known = {"hostname": "n", "python": "3.9.1", "dir_trouble": None}
    told = facts.gather({"level": "standard", "paths": ["/", "/tmp"], "limit_s": 5.0, "python": sys.executable, "modules": ["json"], "imports_s": 5.0})
    answers: dict[str, dict[str, Any]] = {"facts": known, "jobs": {"attempts": []}, "lock": {"locked": []}, "prepare": {"dir": "/w"}, "container": {"said": ""},
                                          "commit": {"pid": 1}, "check_facts": told}
    choose = selectors.DefaultSelector()
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(path)
        door.listen(NODES * 2)
        choose.register(door, selectors.EVENT_READ)
        choose.register(sys.stdin, selectors.EVENT_READ)
        rest: dict[socket.socket, bytes] = {}
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for key, _ in choose.select():
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is door:
                    link, _ = door.accept()
                    choose.register(link, selectors.EVENT_READ)
                    rest[link] = b""
                    link.sendall(wire.encode({
                        "t": "hello", "proto": wire.PROTOCOL, "min_proto": wire.MIN_PROTOCOL, "agent": "0" * 16, "revision": 1, "node_time": time.time(),  # noqa: TID251
                        "boot_id": "b", "spool_id": str(len(rest)), "oldest_seq": 0, "newest_seq": 0, "pid": 1, "user": "u", "hostname": "n"}))
                    continue
                link = key.fileobj  # type: ignore[assignment]
                data = link.recv(1 << 20)
                if not data:
                    choose.unregister(link)
                    link.close()
                    continue
                *lines, rest[link] = (rest[link] + data).split(b"\n")
                for line in lines:
                    message = wire.decode(line)
                    if message["t"] == "req":
                        link.sendall(wire.encode({"t": "res", "id": message["id"], "ok": True, "result": answers.get(message["op"], {})}))
                    elif message["t"] == "ping":
                        link.sendall(wire.encode({"t": "pong", "id": message["id"], "node_time": time.time(), "mono": 0.0}))  # noqa: TID251


class _Meter:
    """CPU time of this process at the beginning and end of each phase."""

    def __init__(self) -> None:
        self._span: dict[str, tuple[float, float]] = {}

    def note(self, event: Any) -> None:
        """An event of the launch."""
        now = time.process_time()
        if event.state != "waiting":
            self._span[event.phase] = (self._span.get(event.phase, (now, now))[0], now)

    def per_node_ms(self) -> Mapping[str, float]:
        """Phase -> milliseconds a node."""
        return {phase: (end - begin) / NODES * 1000.0 for phase, (begin, end) in self._span.items()}


def run(rounds: int) -> Result:
    """So many launches with checks and without, each on a new desk."""
    from console import files
    from console.core.launch.plan import make_plan

    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        job_path, fleet_path, door = Path(directory, "job.yaml"), Path(directory, "fleet.yaml"), str(Path(directory, "door"))
        job_path.write_text(JOB.replace("NAMES", ", ".join(f"node{at:03d}" for at in range(NODES))))
        fleet_path.write_text(f'nodes: [{{name: "node[000-{NODES - 1:03d}]", host: "10.0.0.[1-{NODES}]"}}]\n')
        job, fleet = files.read_job(str(job_path)), files.read_fleet(str(fleet_path))
        nodes = subprocess.Popen([sys.executable, "-c", f"import bench.launch as one; one.serve({door!r})"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ))
        try:
            assert nodes.stdout is not None and nodes.stdout.readline() == b"ready\n"
            for at in range(rounds):
                plan = make_plan(job.spec, fleet, f"20261122T0510{at % 60:02d}Z-{at:04x}", job.locate)
                assert plan.ok
                for checked in (True, False):
                    for phase, value in _launch(plan, fleet, door, Path(directory, f"store{at}{checked}"), checked).items():
                        spent.setdefault(f"{phase}{'' if checked else ', no checks'}", []).append(value)
        finally:
            nodes.communicate()
    samples = tuple(Samples(name=f"{name}, CPU a node", unit="ms", values=tuple(values)) for name, values in spent.items())
    return Result(samples=samples, ratios=tuple(Ratio(name=f"{name}, of the limit", values=tuple(value / LIMIT_MS for value in values), at_most=1.0) for name, values in spent.items()),
                  notes=(f"{NODES} nodes in containers; command.sh of {len(plan.nodes[0].commands[-1].script):,} bytes, job.json of {len(plan.nodes[0].files['job.json']):,}",
                         "prepare includes the locks, one node after the other"))


def _launch(plan: Any, fleet: Any, door: str, store: Path, checked: bool) -> Mapping[str, float]:
    from console.core.preflight.table import CHECKS
    from console.desk import Desk
    from console.remote.gate import Gate
    from console.remote.ssh_backend import SshBackend
    from console.remote.supervisor import Supervisor
    from trainer.spec.job import from_mapping

    desk = Desk(fleet, store_path=store)
    supervisor = Supervisor(fleet.nodes, transport_for=lambda node: Wire(door), emit=desk.emit, cursor=desk.store.cursor, clock=desk.clock, operator="bench", armed=lambda: True)
    supervisor.start()
    try:
        for node in fleet.nodes:
            supervisor.session(node.name, SETTLE_S)
        # This machine is not fit to train; what is found is waived, so that all of it is gone through.
        gate = Gate(level="standard", job=from_mapping(json.loads(plan.nodes[0].files["job.json"])), waivers={one.id: "bench" for one in CHECKS}) if checked \
            else Gate(level="none", job=None)
        meter = _Meter()

        def emit(event: Any) -> None:
            meter.note(event)
            desk.store.ingest([event])
            meter.note(event)

        SshBackend(supervisor, desk.clock).submit(plan, emit, gate)
        return {phase: value for phase, value in meter.per_node_ms().items() if phase in PHASES}
    finally:
        supervisor.stop()
        desk.close()
