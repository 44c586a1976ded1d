"""Supervisor, paramiko, a real SSH server and the real agent: nothing is lost or doubled, whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from console.core.events import FleetEvent, LinkChanged, LogLines, NodeMet, RecordArrived
from console.core.intents import FollowLog, StopJob
from console.core.launch.inventory import Node
from console.core.launch.plan import LaunchPlan, NodeCommand, NodePlan
from console.remote import known_hosts
from console.remote.heartbeat import Beat
from console.remote.link import Timing
from console.remote.paramiko_ssh import ParamikoTransport
from console.remote.ssh_backend import SshBackend
from console.remote.supervisor import Supervisor
from tests.console.remote.fakes import MemoryStore, RealClock
from tests.console.remote.sshd import Loop, Relay, Sshd
from tests.patience import PATIENCE_S


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about in {PATIENCE_S:.0f} s"
        time.sleep(0.02)


class Site:
    """One node behind a relay, and consoles that come and go."""

    def __init__(self, path: Path, loop: Loop) -> None:
        self.home, self.state = path / "node", path / "state"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key_file = path / "key"
        key_file.write_bytes(key.export_private_key("openssh"))
        key_file.chmod(0o600)
        self.sshd = Sshd(loop, self.home, [key], env={
            "RANKDECK_HOST_S": "0.1", "RANKDECK_NPU_S": "0.5", "RANKDECK_IDLE_S": "30"})
        self.relay = Relay(self.sshd.port)
        hosts = path / "known_hosts"
        known_hosts.add(hosts, "127.0.0.1", self.relay.port, "ssh-ed25519", self.sshd.host_key.public_data)
        self.transport = ParamikoTransport(known_hosts_path=str(hosts), system_known_hosts="/nonexistent")
        self.node = Node(name="n1", host="127.0.0.1", port=self.relay.port, user="ops", key=str(key_file), python=sys.executable, state_dir=str(self.state))
        self.store = MemoryStore()
        self.consoles: list[Supervisor] = []
        self.pids: set[int] = set()

    def console(self) -> Supervisor:
        supervisor = Supervisor(
            [self.node], transport_for=lambda node: self.transport, emit=self.store.emit, cursor=self.store.cursor, clock=RealClock(), operator="op",
            armed=lambda: True, timing=Timing(retry_s=0.05, retry_most_s=0.2, beat=Beat(every_s=0.5, dead_after_s=2.0)))
        supervisor.start()
        self.consoles.append(supervisor)
        return supervisor

    def resident(self, console: Supervisor) -> int:
        pid = console.session("n1", PATIENCE_S).hello["pid"]
        assert isinstance(pid, int)
        self.pids.add(pid)
        return pid

    def more(self, count: int) -> None:
        """Wait for so many more records than there are now."""
        enough = len(self.store.seqs("n1")) + count
        until(lambda: len(self.store.seqs("n1")) >= enough, f"{count} more records")

    def close(self) -> None:
        for console in self.consoles:
            console.stop(5.0)
        for pid in self.pids:
            _end(pid)
        self.relay.close()
        self.sshd.stop()


def _end(pid: int, number: int = signal.SIGTERM) -> None:
    try:
        os.kill(pid, number)
        until(lambda: not _lives(pid), f"the end of process {pid}")
    except ProcessLookupError:
        return


def _lives(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loop = Loop()
    site = Site(tmp_path, loop)
    yield site
    site.close()
    loop.close()


def exactly_once(site: Site) -> None:
    """Every record that the spool holds has arrived, each once, in order."""
    seqs = site.store.seqs("n1")
    assert seqs == sorted(set(seqs))
    with sqlite3.connect(f"file:{site.state}/spool.db?mode=ro", uri=True) as spool:
        kept = [seq for (seq,) in spool.execute("SELECT seq FROM record WHERE seq <= ? ORDER BY seq", (seqs[-1],))]
    assert kept and set(kept) <= set(seqs)
    assert {event.spool_id for event in site.store.of(RecordArrived)} == {site.store.of(NodeMet)[0].spool_id}


def test_deploy_attach_records_and_every_kind_of_loss(site: Site) -> None:
    console = site.console()
    first = site.resident(console)
    site.more(5)
    assert sum(" install " in command for command in site.sshd.commands) == 1

    site.sshd.drop()  # the connection breaks
    site.more(5)
    exactly_once(site)
    assert site.resident(console) == first

    _end(first, signal.SIGKILL)  # the agent dies
    until(lambda: site.store.links("n1")[-1] == "up" and len(site.store.of(NodeMet)) >= 3, "a new resident")
    site.more(5)
    second = site.resident(console)
    assert second != first
    exactly_once(site)

    site.relay.go_silent()  # the link dies without a word
    until(lambda: site.store.links("n1")[-1] == "down", "the loss to be noticed")
    assert "silent" in site.store.links("n1")
    site.relay.resume()
    site.more(5)
    exactly_once(site)

    site.sshd.stop()  # sshd goes away
    until(lambda: site.store.links("n1")[-1] == "down", "the loss to be noticed")
    site.sshd.start()
    site.more(5)
    exactly_once(site)

    assert console.stop(10.0) == []  # the console goes away, and another one comes
    console = site.console()
    site.more(10)
    assert site.resident(console) == second
    exactly_once(site)
    met = site.store.of(NodeMet)[-1]
    assert abs(met.clock_offset_s) <= met.clock_error_s + 0.01
    assert sum(" install " in command for command in site.sshd.commands) == 1
    assert [event.rtt_s for event in site.store.of(LinkChanged) if event.rtt_s is not None]


def plan(name: str, attempt: str, site: Site, script: str) -> LaunchPlan:
    directory = f"{site.home}/work/.rankdeck/{name}/{attempt}/n1"
    text = f"#!/bin/bash\nexport RANKDECK_ATTEMPT={attempt} RANKDECK_DIR={directory}\n{script}"
    return LaunchPlan(job=name, attempt=attempt, problems=(), derived={}, ttl_s=30.0, nodes=(NodePlan(
        node="n1", node_index=0, dir=directory, files={"job.json": "{}\n"}, devices=(), commands=(NodeCommand(phase="start", script=text),)),))


def test_a_launch_over_ssh_its_log_its_end_and_its_stop(site: Site) -> None:
    console = site.console()
    site.resident(console)
    backend = SshBackend(console, RealClock())
    told: list[FleetEvent] = []
    short = backend.submit(plan("short", "20260101T000000Z-abcd", site, "echo one; echo two; exit 3\n"), told.append)

    def ends() -> list[RecordArrived]:
        return [event for event in site.store.of(RecordArrived) if event.kind == "exit"]

    until(ends, "the exit record")
    end = ends()[0].data
    assert (end["attempt"], end["code"], end["asked"], end["scope"]) == (short.attempt, 3, False, "command")
    log = f"{site.home}/work/.rankdeck/short/{short.attempt}/n1/launcher.log"
    console.submit(FollowLog(node="n1", path=log, lines=10))
    until(lambda: [line for event in site.store.of(LogLines) for line in event.lines] == ["one", "two"], "the log's lines")

    long = backend.submit(plan("long", "20260101T000001Z-abcd", site, "sleep 300\n"), told.append)
    console.submit(StopJob(job="long", attempt=long.attempt, nodes=("n1",), grace_s=5.0))
    until(lambda: len(ends()) == 2, "the second exit record")
    assert ends()[1].data["asked"] is True and ends()[1].data["signal"] == signal.SIGTERM
    exactly_once(site)
