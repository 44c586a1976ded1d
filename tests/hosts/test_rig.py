"""The rig itself: it is what it says, and it leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.hosts.rig import network
from tests.hosts.rig.rig import Rig
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.ssh

HOLD = """
import sys, time
from tests.hosts.rig.rig import Rig
with Rig(("m1",)) as rig:
    print(rig.folder, flush=True)
    time.sleep(100)
"""


def left_of(pid: int) -> list[str]:
    """Namespaces and folders of the rig that process owned."""
    return [*(name for name in network.namespaces() if name.split("-")[1] == str(pid)),
            *map(str, Path(tempfile.gettempdir()).glob(f"rankdeck-rig-{pid}-*"))]


def holder() -> subprocess.Popen[str]:
    """A process that holds a rig of its own, once it is up."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip(), process.communicate()[1]
    assert len(left_of(process.pid)) == 4  # bastion, client, m1, and the folder
    return process


def sshds_of(pid: int) -> list[str]:
    """Command lines of that rig's sshd processes."""
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if "sshd" in line and f"rankdeck-rig-{pid}-" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rig_leaves_nothing(number: signal.Signals) -> None:
    process = holder()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert left_of(process.pid) == []
    assert sshds_of(process.pid) == []


def test_what_a_killed_rig_leaves_is_removed_by_the_next() -> None:
    process = holder()
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + PATIENCE_S
    while sshds_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sshds_of(process.pid) == []  # they are tied to the process that started them
    subprocess.run([sys.executable, "-m", "tests.hosts.rig", "sweep"], cwd=Path(__file__).parents[2], check=True)
    assert left_of(process.pid) == []


def test_a_rig_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours() -> set[str]:
        # Another worker of the tests may have a rig of its own.
        return {name for name in network.namespaces() if name.split("-")[1] == str(os.getpid())}

    before = ours()
    made: list[str] = []
    real = network.run

    def fail_at_the_bridge(*argv: str, stdin: str = "") -> str:
        if "type bridge" in stdin:
            made.extend(ours() - before)
            raise network.RigError("no bridge today")
        return real(*argv, stdin=stdin)

    monkeypatch.setattr(network, "run", fail_at_the_bridge)
    own_token = Rig(("m1",))
    with pytest.raises(network.RigError, match="no bridge today"), own_token:
        pass
    assert len(made) == 3
    assert ours() == before
    assert not own_token.folder.exists()


def test_the_client_reaches_the_nodes_only_through_the_bastion(rig: Rig) -> None:
    probe = "import socket, sys; socket.create_connection((sys.argv[1], 22), 5).close()"

    def knock(address: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*rig.network.enter("client"), sys.executable, "-c", probe, address], capture_output=True, text=True, check=False)

    assert knock(rig.bastion.address).returncode == 0
    for server in rig.nodes.values():
        assert "Network is unreachable" in knock(server.address).stderr
    assert "Network is unreachable" in knock("192.0.2.1").stderr  # RFC 5737: an address of nobody's


def test_openssh_itself_gets_to_every_node(rig: Rig) -> None:
    common = ["-F", "none", "-i", str(rig.key), "-o", f"UserKnownHostsFile={rig.known_hosts('known-by-openssh')}",
              "-o", "GlobalKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    through = f"ssh {' '.join(common)} -W %h:%p root@{rig.bastion.address}"
    for name, server in rig.nodes.items():
        done = subprocess.run([*rig.network.enter("client"), "ssh", *common, "-o", f"ProxyCommand={through}", f"root@{server.address}",
                               "echo $RIG_NODE $HOME"], capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout.split() == [name, str(server.home)], done.stderr
        assert not os.path.samefile(server.home, Path.home())
