"""Every numbered line arrives exactly once, whatever is cut or killed while the lines are written."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import REVISION
from tests.hosts.console_process import ROOT, ConsoleProcess, eventually
from tests.hosts.numbered_job import NumberedJob
from tests.hosts.rig import network
from tests.hosts.rig.rig import NODES, Rig

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(500)]

LINES_PER_S = 100.0


class Run:
    """A console and a job that writes on every node."""

    def __init__(self, rig: Rig, folder: Path, python: str) -> None:
        self.rig, self._folder, self._python = rig, folder, python
        self._known_hosts = rig.known_hosts(f"known-{folder.name}")
        self.consoles: list[ConsoleProcess] = []
        self.console = self.new_console()
        self.console.wait_until_up(NODES)
        self.job = NumberedJob(folder, NODES, python, lines_per_s=LINES_PER_S)
        self.job.launch(self.console)
        self.store = self.console.store
        for node in NODES:
            self.job.wait_arrived(self.store, node, 20)

    def new_console(self, agent_from: Path | None = None) -> ConsoleProcess:
        """A console on the same store as the last, with the agent package of another folder if told to."""
        self.console = ConsoleProcess(self.rig, self._folder, self._python, self._known_hosts, agent_from=agent_from)
        self.consoles.append(self.console)
        return self.console

    def finish(self) -> None:
        """Let some more lines be written, let the job end, and compare."""
        for node in NODES:
            self.job.wait_arrived(self.store, node, self.job.written(node) + 50)
        self.job.finish(self.store)
        self.console.leave()
        self.job.assert_exactly_once(self.store)


@pytest.fixture
def run(rig: Rig, tmp_path: Path, node_python: str) -> Iterator[Run]:
    """A run in full flow."""
    running = Run(rig, tmp_path, node_python)
    yield running
    for console in running.consoles:
        console.close()
    for node in NODES:
        rig.network.restore(node)


def resident_pids(rig: Rig, node: str) -> list[int]:
    """Pids of a node's resident agent (its state directory is in its command line or is its socket's)."""
    found = []
    for pid in network.inhabitants(rig.network.namespace(node)):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if "resident" in words:
            found.append(pid)
    return found


def test_undisturbed(run: Run) -> None:
    run.finish()


def test_a_short_cut_of_a_nodes_cable_is_ridden_out(run: Run) -> None:
    before = len(run.console.links["n1"])
    run.rig.network.cut("n1")
    run.console.wait_for_link("n1", "silent", "down")
    run.rig.network.restore("n1")
    run.console.wait_for_link("n1", "up")
    assert len(run.console.links["n1"]) > before
    run.finish()


@pytest.mark.parametrize("how", ["cable", "firewall"])
def test_a_node_that_is_cut_off_comes_back(run: Run, how: str) -> None:
    cut, restore = {"cable": (run.rig.network.cut, run.rig.network.restore), "firewall": (run.rig.network.swallow, run.rig.network.unswallow)}[how]
    cut("n1")
    try:
        run.console.wait_for_link("n1", "down")
        here, there = len(run.job.arrived(run.store, "n1")), len(run.job.arrived(run.store, "n2"))
        # One node's trouble never blocks another: n2's lines go on arriving, n1's go on being written.
        run.job.wait_arrived(run.store, "n2", there + 100)
        run.job.wait_written("n1", here + 100)
        assert len(run.job.arrived(run.store, "n1")) == here
    finally:
        restore("n1")
    run.console.wait_for_link("n1", "up")
    run.finish()


def test_the_clients_own_cable_is_pulled(run: Run) -> None:
    run.rig.network.cut("client")
    try:
        for node in NODES:
            run.console.wait_for_link(node, "down")
    finally:
        run.rig.network.restore("client")
    run.console.wait_until_up(NODES)
    run.finish()


def test_sshd_sessions_are_killed_over_and_over(run: Run) -> None:
    for node in ("n1", "n2", "n1"):
        ups = [state for state, _ in run.console.links[node]].count("up")
        eventually(lambda node=node: run.rig.nodes[node].kill_sessions(), 20, f"a session of {node}")  # type: ignore[misc]
        eventually(lambda node=node, ups=ups: [s for s, _ in run.console.links[node]].count("up") > ups, 30, f"{node} up again")  # type: ignore[misc]
    run.finish()


def test_the_bastions_sessions_are_killed(run: Run) -> None:
    assert run.rig.bastion.kill_sessions() > 0
    for node in NODES:
        eventually(lambda node=node: [s for s, _ in run.console.links[node]].count("up") > 1, 30, run.console.recent)  # type: ignore[misc]
    run.finish()


def test_the_console_is_killed_and_started_again(run: Run) -> None:
    for _ in range(2):
        run.console.kill()
        written = run.job.written("n1")
        arrived = len(run.job.arrived(run.store, "n1"))
        run.job.wait_written("n1", written + 30)  # the job does not notice
        assert len(run.job.arrived(run.store, "n1")) == arrived
        run.new_console()
        run.job.wait_arrived(run.store, "n1", arrived + 50)
    run.finish()


def test_the_resident_agent_is_killed_over_and_over(run: Run) -> None:
    for node in ("n1", "n3", "n1"):
        run.console.wait_for_link(node, "up")
        (pid,) = eventually(lambda node=node: resident_pids(run.rig, node), 30, f"a resident on {node}")  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        arrived = len(run.job.arrived(run.store, node))
        run.job.wait_arrived(run.store, node, arrived + 50)
        assert resident_pids(run.rig, node) != [pid]
    run.finish()


def test_the_agent_is_replaced_by_a_newer_one_and_not_by_an_older(run: Run, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(ROOT / "agent", newer / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    package = newer / "agent" / "__init__.py"
    package.write_text(package.read_text().replace(f"REVISION = {REVISION}", f"REVISION = {REVISION + 1}"))
    before = {node: resident_pids(run.rig, node) for node in NODES}

    run.console.kill()
    arrived = len(run.job.arrived(run.store, "n1"))
    run.new_console(agent_from=newer)
    run.console.wait_until_up(NODES)
    run.job.wait_arrived(run.store, "n1", arrived + 50)
    after = eventually(lambda: _changed(before, {node: resident_pids(run.rig, node) for node in NODES}), 20, "newer residents on all nodes")

    run.console.kill()
    arrived = len(run.job.arrived(run.store, "n1"))
    run.new_console()
    run.console.wait_until_up(NODES)
    run.job.wait_arrived(run.store, "n1", arrived + 50)
    assert {node: resident_pids(run.rig, node) for node in NODES} == after
    run.finish()


def _changed(before: dict[str, list[int]], now: dict[str, list[int]]) -> dict[str, list[int]] | None:
    """``now``, when every node has exactly one resident, and another than before."""
    return now if all(len(now[node]) == 1 and now[node] != before[node] for node in now) else None


def test_everything_at_once(run: Run) -> None:
    """Console, a session, a resident and a cable within one breath."""
    run.rig.network.cut("n3")
    run.console.kill()
    run.rig.nodes["n1"].kill_sessions()
    for pid in resident_pids(run.rig, "n2"):
        os.kill(pid, signal.SIGKILL)
    run.new_console()
    run.console.wait_until_up(["n1", "n2"])
    run.rig.network.restore("n3")
    run.console.wait_until_up(["n3"])
    run.finish()


def test_the_rig_has_no_job_left(rig: Rig) -> None:
    """What the tests before have started has ended; residents may stay."""
    def writers() -> list[int]:
        return [pid for node in NODES for pid in network.inhabitants(rig.network.namespace(node)) if "writer.py" in _words(pid)]

    eventually(lambda: not writers(), 10, lambda: f"writers {writers()}")


def _words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


