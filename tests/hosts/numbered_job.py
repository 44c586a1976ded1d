"""A job of numbered lines on every node, launched through the agents, and what must have arrived of it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from console.store import Store, read_records
from tests.hosts.console_process import ConsoleProcess, eventually
from tests.hosts.writer import loss

WRITER = Path(__file__).with_name("writer.py")
_SCRIPT = """set -eu
export RANKDECK_JOB={job} RANKDECK_ATTEMPT={attempt} RANKDECK_NODE={node} RANKDECK_NODE_INDEX={index} RANKDECK_DIR={dir}
export RANK=0 LOCAL_RANK=0 GROUP_RANK=0 WORLD_SIZE=1 LOCAL_WORLD_SIZE=1
exec {python} -I "$RANKDECK_DIR/shim.py" rank -- {python} -I "$RANKDECK_DIR/writer.py" {lines_per_s} {finish}
"""


class NumberedJob:
    """One job a node, which writes until ``finish``."""

    def __init__(self, folder: Path, nodes: Sequence[str], python: str, *, lines_per_s: float) -> None:
        now_s = time.time()  # noqa: TID251  an attempt's id and epoch are the launch's time
        self.attempt = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s)) + "-" + secrets.token_hex(2)
        self.epoch = int(now_s * 1000)
        self.nodes = tuple(nodes)
        self._folder, self._python, self._lines_per_s = folder, python, lines_per_s

    def job(self, node: str) -> str:
        """Name of the job on a node."""
        return f"numbers-{self.attempt[-4:]}-{node}"

    def dir(self, node: str) -> Path:
        """The attempt's directory on a node."""
        return self._folder / node / ".rankdeck" / self.job(node) / self.attempt / node

    def launch(self, console: ConsoleProcess) -> None:
        """Lock, prepare and commit on every node."""
        for index, node in enumerate(self.nodes):
            where = self.dir(node)
            identity = {"job": self.job(node), "attempt": self.attempt, "epoch": self.epoch}
            script = _SCRIPT.format(job=self.job(node), attempt=self.attempt, node=node, index=index, dir=where, python=self._python,
                                    lines_per_s=self._lines_per_s, finish=self._folder / "finish")
            console.request(node, "lock", **identity, devices=[0], ttl_s=60)
            console.request(node, "prepare", **identity, node=node, node_index=index, dir=str(where), script=script, ttl_s=60,
                            files={"writer.py": WRITER.read_text(), "job.json": json.dumps({"run": {"name": self.job(node)}})})
        for node in self.nodes:
            console.request(node, "commit", attempt=self.attempt, epoch=self.epoch)

    def written(self, node: str) -> int:
        """How many lines the job has written on a node so far."""
        log = self.dir(node) / "round-00" / "local_rank-0.log"
        return log.read_bytes().count(b"\n") if log.exists() else 0

    def wait_written(self, node: str, count: int) -> None:
        """Wait until a node's job has written so many lines."""
        def progress() -> str:
            said = self.dir(node) / "launcher.log"
            return f"{self.written(node)} of {count} lines on {node}; launcher.log: {said.read_text()[-500:] if said.exists() else 'none'}"

        eventually(lambda: self.written(node) >= count, 60, progress)

    def arrived(self, store: Path, node: str) -> list[int]:
        """Iterations in the store from a node, in the order they came."""
        return [int(event.data["iteration"]) for event in read_records(store, "rig", kinds=["iteration"])
                if event.node == node and event.data["attempt"] == self.attempt]

    def wait_arrived(self, store: Path, node: str, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many of a node's lines are in the store."""
        eventually(lambda: len(self.arrived(store, node)) >= count, timeout_s,
                   lambda: f"{len(self.arrived(store, node))} of {count} lines of {node} in the store, {self.written(node)} written")

    def finish(self, store: Path) -> None:
        """Let the jobs end, and wait until their ends and all of their lines are in the store."""
        (self._folder / "finish").touch()
        for node in self.nodes:
            eventually(lambda node=node: len(_exits(store, node, self.attempt)) >= 2, 60,  # type: ignore[misc]
                       lambda node=node: f"the ends of {node}'s job: {_exits(store, node, self.attempt)}; {len(self.arrived(store, node))} lines")  # type: ignore[misc]
            self.wait_arrived(store, node, self.written(node))

    def assert_exactly_once(self, store: Path) -> None:
        """Every line of every node is in the store once, in order, with its own value; as is every end; nothing was dropped."""
        expected = {node: list(range(1, self.written(node) + 1)) for node in self.nodes}
        for node in self.nodes:
            assert len(expected[node]) > 100, node
            assert self.arrived(store, node) == expected[node], node
            assert sorted(_exits(store, node, self.attempt)) == [("command", 0, None), ("rank", 0, None)], node
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
            assert database.execute("SELECT node, data FROM record WHERE kind = 'gap'").fetchall() == []
            spools = database.execute("SELECT node, count(DISTINCT spool_id) FROM record GROUP BY node").fetchall()
            assert dict(spools) == dict.fromkeys(self.nodes, 1), "a node's agent has lost its spool"
        database.close()
        state = Store(store, "rig")
        try:
            for node in self.nodes:
                curve = list(state.state.runs[self.job(node)].series["loss"])
                assert [x for x, _ in curve] == expected[node], node
                assert all(abs(y - loss(x)) < 5e-9 for x, y in curve), node
        finally:
            state.close()


def _exits(store: Path, node: str, attempt: str) -> list[tuple[str, int | None, int | None]]:
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10) as database:
        rows = [json.loads(text) for (text,) in database.execute(
            "SELECT data FROM record WHERE node = ? AND kind = 'exit' AND attempt = ?", (node, attempt))]
    database.close()
    return [(row["scope"], row["code"], row["signal"]) for row in rows]
