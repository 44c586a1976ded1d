"""The demo fleet: comes up, lets us in, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from console.core.errors import ConsoleError
from console.lab import fleet, remains
from tests.patience import PATIENCE_S

asyncssh = pytest.importorskip("asyncssh")

SHAPE = fleet.Shape(iterations=10, save_interval=5)


def until(look: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[fleet.DemoFleet]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = fleet.create(SHAPE, kind="interactive")
    yield made
    remains.clear(made.root)
    made.release()


async def on_node(demo: fleet.DemoFleet, name: str, command: str) -> str:
    nodes = yaml.safe_load(demo.fleet_file.read_text())
    node = next(entry for entry in nodes["nodes"] if entry["name"] == name)
    async with asyncssh.connect(node["host"], node["port"], username=nodes["defaults"]["user"], config=None, agent_path=None,
                                client_keys=[nodes["defaults"]["key"]], known_hosts=nodes["known_hosts"]) as connection:
        return str((await connection.run(command, check=True)).stdout)


def of(root: Path) -> list[int]:
    return [pid for pid, owner in remains.marked().items() if owner == root]


async def test_nodes_are_reached_by_their_files_alone(demo: fleet.DemoFleet) -> None:
    told = await on_node(demo, "node-2", 'echo "$RANKDECK_SIM_NODE_DIR"; npu-smi info -l | grep -c "NPU ID"; '
                                         'hccn_tool -i 0 -link -g; ls "$RANKDECK_SIM_NODE_DIR/dev" | wc -l')
    assert told.split("\n")[:4] == [str(demo.node_dir("node-2")), "8", "link status: UP", "11"]
    assert demo.root.stat().st_mode & 0o777 == 0o700
    assert (demo.root / "keys" / "client").stat().st_mode & 0o777 == 0o600


async def test_nodes_have_host_keys_of_their_own(demo: fleet.DemoFleet) -> None:
    keys = {line.split()[2] for line in (demo.root / "known_hosts").read_text().splitlines()}
    assert len(keys) == len(fleet.NODES)


async def test_leaving_takes_detached_processes_along(demo: fleet.DemoFleet) -> None:
    await on_node(demo, "node-1", "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' >/dev/null 2>&1 </dev/null & true")
    assert len(of(demo.root)) >= 2
    assert demo.leave() is True
    assert of(demo.root) == []
    assert not demo.root.exists()


async def test_a_second_console_keeps_the_fleet_alive(demo: fleet.DemoFleet) -> None:
    second = fleet.attach(demo.root)
    assert second is not None
    assert second.leave() is False
    assert (await on_node(demo, "node-3", "echo here")) == "here\n"
    assert demo.leave() is True


def test_the_server_ends_all_when_no_console_comes_back(demo: fleet.DemoFleet) -> None:
    demo.keep(0.5)
    demo.release()  # as the kernel does for a console killed with SIGKILL
    until(lambda: not demo.root.exists(), "the fleet outlived its console")
    until(lambda: not of(demo.root), "a process outlived its fleet")


def test_a_held_fleet_does_not_end(demo: fleet.DemoFleet) -> None:
    demo.keep(0.2)
    log = demo.root / "serve.log"
    assert demo.server is not None
    with pytest.raises(subprocess.TimeoutExpired):
        demo.server.wait(2.5)
    assert log.exists()


def test_a_killed_console_finds_its_fleet_again(demo: fleet.DemoFleet) -> None:
    demo.release()
    assert not fleet.orphaned(demo.root)
    assert demo.root in remains.roots()
    again = fleet.attach(demo.root)
    assert again is not None
    assert again.leave() is True


async def test_a_dead_server_makes_an_orphan_that_is_cleared(demo: fleet.DemoFleet) -> None:
    await on_node(demo, "node-1", "setsid sleep 300 >/dev/null 2>&1 </dev/null & true")
    assert demo.server is not None
    os.kill(demo.server.pid, signal.SIGKILL)
    demo.server.wait()
    assert not fleet.orphaned(demo.root), "a console still holds it"
    demo.release()
    assert fleet.orphaned(demo.root)
    assert fleet.attach(demo.root) is None
    assert remains.clear(demo.root) is True
    assert of(demo.root) == []


def test_a_fleet_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    broken = tmp_path / "install" / "console" / "lab"
    broken.mkdir(parents=True)
    for package in (broken, broken.parent):
        (package / "__init__.py").touch()
    (broken / "serve.py").write_text("raise SystemExit('no asyncssh here')\n")
    monkeypatch.setattr(fleet, "INSTALL_DIR", tmp_path / "install")
    with pytest.raises(ConsoleError, match="no asyncssh here"):
        fleet.create(SHAPE, kind="interactive")
    assert [root for root in remains.roots() if tmp_path in root.parents] == []


def test_other_peoples_directories_are_not_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / f"{remains.root_prefix()}link").symlink_to(victim)
    (tmp_path / "rankdeck-demo-other").mkdir()
    assert [root for root in remains.roots() if tmp_path in root.parents] == []


def test_our_own_processes_are_not_marked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        assert child.pid not in remains.marked()
        assert os.getpid() not in remains.marked()
    finally:
        child.kill()
        child.wait()
