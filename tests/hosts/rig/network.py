"""The rig's network: one namespace a machine, wired so that the client reaches the bastion and nothing else.

::

    client 10.78.0.1/30 --- 10.78.0.2 bastion 10.77.0.1/24 (bridge) --- 10.77.0.11.. nodes

Every link lies between two namespaces of ours; the host's own network gets neither interface, address nor
route, so two rigs do not meet and the addresses lead nowhere from outside. The client has no default route:
what it cannot reach through the bastion fails at once and leaves the machine by no way.

Programs enter a namespace with ``nsenter --net``; ``ip netns exec`` would also remount /sys and so lose the
cgroups.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

CLIENT_ADDRESS = "10.78.0.1"
BASTION_OUTER = "10.78.0.2"
BASTION_INNER = "10.77.0.1"
PREFIX = "rdkrig"


class RigError(RuntimeError):
    """The rig cannot be set up or taken down; the text has the command and what it said."""


def run(*argv: str, stdin: str = "") -> str:
    """Standard output of a command that must succeed within 30 s. Raises RigError."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        raise RigError(f"{' '.join(argv)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def node_address(index: int) -> str:
    """Address of the n-th node, from 0."""
    return f"10.77.0.{11 + index}"


class Network:
    """The namespaces of one rig. ``token`` tells rigs apart and begins with the owner's pid."""

    def __init__(self, token: str, nodes: Sequence[str]) -> None:
        self.token, self.nodes = token, tuple(nodes)

    def namespace(self, machine: str) -> str:
        """Name of a machine's namespace, for ``ip``."""
        return f"{PREFIX}-{self.token}-{machine}"

    def enter(self, machine: str) -> list[str]:
        """What to put before a command so that it runs on a machine's network."""
        return ["nsenter", f"--net=/var/run/netns/{self.namespace(machine)}"]

    def up(self) -> None:
        """Make everything. Raises RigError; ``down`` removes what had been made by then."""
        bastion, client = self.namespace("bastion"), self.namespace("client")
        for machine in ("bastion", "client", *self.nodes):
            run("ip", "netns", "add", self.namespace(machine))
        run("ip", "-n", client, "-batch", "-", stdin=(
            f"link set lo up\nlink add uplink type veth peer name outer netns {bastion}\n"
            f"addr add {CLIENT_ADDRESS}/30 dev uplink\nlink set uplink up\n"))
        run("ip", "-n", bastion, "-batch", "-", stdin=(
            f"link set lo up\naddr add {BASTION_OUTER}/30 dev outer\nlink set outer up\n"
            f"link add inner type bridge\naddr add {BASTION_INNER}/24 dev inner\nlink set inner up\n"))
        for index, node in enumerate(self.nodes):
            run("ip", "-n", bastion, "-batch", "-", stdin=(
                f"link add port{index} type veth peer name eth0 netns {self.namespace(node)}\n"
                f"link set port{index} master inner up\n"))
            run("ip", "-n", self.namespace(node), "-batch", "-", stdin=(
                f"link set lo up\naddr add {node_address(index)}/24 dev eth0\nlink set eth0 up\n"))

    def cut(self, machine: str) -> None:
        """Pull a node's (or the client's) cable: packets vanish, nobody is told."""
        run("ip", "-n", self.namespace(machine), "link", "set", self._device(machine), "down")

    def restore(self, machine: str) -> None:
        """Put the cable back; sessions that have not given up go on."""
        run("ip", "-n", self.namespace(machine), "link", "set", self._device(machine), "up")

    def swallow(self, machine: str) -> None:
        """Drop every packet a machine would receive, the link staying up (as a firewall that lost its state)."""
        run(*self.enter(machine), "nft", "-f", "-", stdin=(
            "table inet rig { chain in { type filter hook input priority 0; iif != lo drop; }; }\n"))

    def unswallow(self, machine: str) -> None:
        """Let packets in again."""
        run(*self.enter(machine), "nft", "delete", "table", "inet", "rig")

    @staticmethod
    def _device(machine: str) -> str:
        return "uplink" if machine == "client" else "eth0"

    def down(self) -> None:
        """Kill what runs in the namespaces and remove them. Safe to call at any time, and twice."""
        remove([name for name in namespaces() if name.startswith(f"{PREFIX}-{self.token}-")])


def namespaces() -> list[str]:
    """Names of all rigs' namespaces on this machine."""
    folder = Path("/var/run/netns")
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(f"{PREFIX}-")) if folder.is_dir() else []


def inhabitants(namespace: str) -> list[int]:
    """Pids of the processes on a namespace's network."""
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]


def remove(names: Sequence[str]) -> None:
    """Kill everything in these namespaces, then delete them. Raises RigError when something survives 10 s."""
    for name in names:
        deadline = time.monotonic() + 10
        while True:
            # Once is not enough: a process may fork while it is being listed.
            pids = [pid for pid in inhabitants(name) if not _is_zombie(pid)]
            if not pids:
                break
            if time.monotonic() > deadline:
                raise RigError(f"processes {pids} in {name} do not end")
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        run("ip", "netns", "del", name)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
