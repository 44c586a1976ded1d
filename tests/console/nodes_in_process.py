"""Nodes that live in the test's own process, as the command line sees them through a session; and its documents, held against their schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import referencing

from agent import wire
from console import cli
from console.cli.desk import Desk
from console.core.errors import ConnectError, RequestError
from console.core.events import FleetEvent, LinkChanged, NodeMet, RecordArrived
from console.core.launch import inventory
from tests.console.core.launch.jobs import ATTEMPT
from tests.console.core.preflight.facts import parts, path

ROOT = Path(__file__).parents[2]
SCHEMAS = {path.name: json.loads(path.read_text()) for path in (ROOT / "console" / "schema").glob("*.schema.json")}
REGISTRY: Any = referencing.Registry().with_resources(
    [(schema["$id"], referencing.Resource.from_contents(schema)) for schema in SCHEMAS.values()])

FLEET = """
name: lab
nodes:
  - {name: n0, host: 10.0.0.1}
  - {name: n1, host: 10.0.0.2}
  - {name: n2, host: 10.0.0.3, role: spare}
"""
JOB = """
run: {name: tiny}
paths: {work: /w}
fleet: {nodes: [n0, n1], npus_per_node: 1, nic: bond0}
runner: {trainer_dir: /opt/rankdeck}
train: {iterations: 4, global_batch_size: 2}
checkpoint: {dir: /w/ckpt, interval: 2}
"""


def check(name: str, text: str) -> dict[str, Any]:
    """The one JSON document in ``text``, held against its schema."""
    document: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMAS[f"{name}.schema.json"], registry=REGISTRY).validate(document)
    return document


class Node:
    """One node's agent as seen through a session: attempts, and records in its spool."""

    disk: ClassVar[dict[str, str]] = {}
    """Shared by all nodes: path -> text."""

    def __init__(self, name: str) -> None:
        self.name, self.alive = name, True
        self.attempts: dict[str, dict[str, Any]] = {}
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.refuses: dict[str, str] = {}
        self.asked: list[str] = []
        self.down = ""
        self.facts = parts()
        self.facts["nics"]["bond0"]["addresses"] = ["10.0.0.1", "10.0.0.2"]
        self.facts["network"]["columns"]["address"] = [f"29.0.{name[1:]}.{number}" for number in range(2)]
        self.facts["path:/opt/rankdeck"] = path("/opt/rankdeck")
        self.notes: list[str] = []
        self.clock_offset = (0.0, 0.001)
        self.on_commit: Callable[[Node, str], None] = lambda node, attempt: None
        self.on_left: Callable[[], object] = lambda: None

    def record(self, kind: str, **data: Any) -> None:
        full = dict.fromkeys(wire.RECORD_FIELDS[kind]) | data
        assert wire.problems_in(kind, full) == []
        self.records.append((kind, full))

    def state(self, attempt: str, state: str) -> None:
        self.attempts[attempt]["state"] = state
        self.record("job", job=self.attempts[attempt]["job"], attempt=attempt, state=state, node_index=self.attempts[attempt]["node_index"],
                    dir=self.attempts[attempt]["dir"])

    def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float = 0.0) -> dict[str, Any]:
        args = args or {}
        self.asked.append(op)
        if op in self.refuses:
            raise RequestError(self.refuses[op], where=self.name)
        if op == "jobs":
            return {"attempts": list(self.attempts.values())}
        if op == "check_facts":
            return {"parts": self.facts, "absent": {}}
        if op == "note":
            self.notes.append(args["text"])
        elif op == "nonce":
            self.disk[f"{args['dir']}/{args['name']}"] = args["text"]
        elif op == "read":
            return {"text": self.disk[args["path"]]}
        elif op == "prepare":
            self.attempts[args["attempt"]] = {"job": args["job"], "attempt": args["attempt"], "epoch": args["epoch"], "state": "",
                                              "node_index": args["node_index"], "dir": args["dir"], "pid": 7}
            self.state(args["attempt"], "prepared")
        elif op == "commit" and not {"settled", "hold_s"} & set(args):
            self.state(args["attempt"], "running")
            self.on_commit(self, args["attempt"])
        elif op == "abort" and args["attempt"] in self.attempts:
            self.state(args["attempt"], "aborted")
        elif op == "stop":
            self.state(args["attempt"], "stopped")
        elif op == "left":
            self.on_left()
        return {}


class Nodes:
    """The supervisor, its SSH replaced by the nodes above."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.desk: Desk | None = None
        self._sent: dict[str, int] = {}

    def start(self) -> None:
        self.tell()

    def tell(self) -> None:
        """Send what is new in every spool."""
        assert self.desk is not None
        now = self.desk.clock.wall_s()
        for node in self.nodes.values():
            events: list[FleetEvent] = [LinkChanged(node=node.name, at=now, state="down" if node.down else "up", why=node.down)]
            if not node.down:
                events.append(NodeMet(node=node.name, at=now, agent="0" * 16, revision=1, spool_id=node.name, boot_id="b", oldest_seq=1,
                                      newest_seq=len(node.records), clock_offset_s=0.0, clock_error_s=0.0))
                events += [RecordArrived(node=node.name, spool_id=node.name, seq=seq, kind=kind, key=None, time=now, at=now, data=data)
                           for seq, (kind, data) in enumerate(node.records, 1)]
            self.desk.emit(events)

    def stop(self) -> list[str]:
        return []

    def session(self, node: str, timeout_s: float = 0.0) -> Node:
        if self.nodes[node].down:
            raise ConnectError("no connection", where=node, got=self.nodes[node].down)
        return self.nodes[node]

    def node(self, name: str) -> inventory.Node:
        return inventory.Node(name=name, host="10.0.0.1" if name == "n0" else "10.0.0.2", npus=2)

    def connection(self, node: str, timeout_s: float = 0.0) -> Nodes:
        return self

    def run(self, command: str, **options: Any) -> tuple[int, bytes, bytes]:
        return 0, b"", b""

    def request(self, node: str, op: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.session(node).request(op, args)

    def tap(self, nodes: Any, emit: Any) -> None:
        self.tell()


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Node]:
    """The fleet's nodes, each with one look at its NPUs; the working directory has fleet.yaml and job.yaml."""
    found = {name: Node(name) for name in ("n0", "n1", "n2")}
    for node in found.values():
        node.record("sample", complete=True, columns={"npu_id": [0, 1], "health": ["OK", "OK"], "aicore_pct": [40, None], "hbm_used_mb": [1, 2],
                                                      "hbm_total_mb": [10, 10]}, processes={}, errors=[], absent={}, took_s=0.1)
    fake = Nodes(found)

    def supervisor(desk: Desk) -> Nodes:
        fake.desk = desk
        return fake

    monkeypatch.setattr(Desk, "supervisor", property(supervisor))
    monkeypatch.chdir(tmp_path)
    Path("fleet.yaml").write_text(FLEET)
    Path("job.yaml").write_text(JOB)
    return found


def run(*argv: str) -> int:
    return cli.main([*argv])


def running(nodes: dict[str, Node], *names: str, job: str = "tiny", attempt: str = ATTEMPT) -> None:
    for index, name in enumerate(names):
        nodes[name].attempts[attempt] = {"job": job, "attempt": attempt, "epoch": 1, "node_index": index, "dir": f"/w/{name}", "pid": 7, "state": ""}
        nodes[name].state(attempt, "running")


# --- a process of its own ----------------------------------------------------------------------------
