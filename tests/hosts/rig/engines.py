"""A Docker daemon and eight pretended NPUs for each node of a rig: own mount namespaces, nothing on the machine itself.

A node's /dev is a private one with character devices that are /dev/null under the driver's names, its /run a
private one with the daemon's socket in the usual place; its sshd is started again inside. The daemon has no
bridge and no rules of its own, its containers use the node's network. Images are made of this machine's own
files: one that is empty but for the stand-in of a vendor's launcher, with /usr to be mounted into it. The NPU
tools are those of the demo's nodes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from console.lab import npu_sim
from tests.hosts.rig.network import Network, RigError, run
from tests.hosts.rig.rig import Rig

IMAGE = "rankdeck-empty:1"
FACTORY = "/home/ma-user/AscendFactory"
DEVICES = 8
STARTED_S = 20.0
_SETUP = """
set -eu
mkdir -p "$1/dev" "$1/run"
mount -t tmpfs -o mode=755 none "$1/dev"
for name in null zero full random urandom tty; do cp -a "/dev/$name" "$1/dev/"; done
for name in ptmx fd stdin stdout stderr; do cp -a "/dev/$name" "$1/dev/" 2>/dev/null || true; done
mkdir "$1/dev/pts" "$1/dev/shm"
mount --rbind /dev/pts "$1/dev/pts"
mount -t tmpfs none "$1/dev/shm"
for at in $(seq 0 $(($2 - 1))); do mknod "$1/dev/davinci$at" c 1 3; done
for name in davinci_manager devmm_svm hisi_hdc; do mknod "$1/dev/$name" c 1 3; done
mount --rbind "$1/dev" /dev
mount -t tmpfs none "$1/run"
mkdir "$1/run/sshd"
mount --rbind "$1/run" /run
mount --bind "$1/../npus-$3/bin" /usr/local/sbin
if [ -d "$1/../podman" ]; then
    mkdir -p /var/lib/containers
    mount --bind "$1/../podman/etc" /etc/containers
    mount --bind "$1/../podman/store" /var/lib/containers
fi
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
exec sleep infinity
"""


def missing() -> str:
    """Why no daemon can be had here, or an empty text."""
    absent = [tool for tool in ("dockerd", "docker", "unshare", "nsenter") if shutil.which(tool) is None]
    return f"needs {', '.join(absent)} (Debian: docker.io)" if absent else ""


class Inside(Network):
    """A network whose machines have mounts of their own too."""

    def __init__(self, network: Network, holders: dict[str, int]) -> None:
        super().__init__(network.token, network.nodes)
        self._holders = holders

    def enter(self, machine: str) -> list[str]:
        """As ``Network.enter``, with the node's mounts."""
        holder = self._holders.get(machine)
        return ["nsenter", f"--target={holder}", "--net", "--mount"] if holder else super().enter(machine)


class Engines:
    """Daemons on all nodes of a rig, up inside ``with``."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._processes: list[subprocess.Popen[str]] = []
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Engines:
        try:
            holders = {name: self._hold(name) for name in self.rig.nodes}
            self.network = Inside(self.rig.network, holders)
            for name in self.rig.nodes:
                self._daemon(name)
            for name, server in self.rig.nodes.items():
                self._wait(name)
                server.stop()
                server.network = self.network
                server.start()
            self._make_image()
        except BaseException:
            self.__exit__()
            raise
        return self

    def docker(self, node: str, *words: str) -> str:
        """What a docker command on a node says. Raises RigError."""
        return run(*self.network.enter(node), "docker", *words)

    def podman(self, node: str, *words: str) -> str:
        """What a podman command on a node says. Raises RigError."""
        return run(*self.network.enter(node), "podman", *words)

    def containers(self, node: str) -> list[str]:
        """Names of all its containers, ended ones too."""
        return self.docker(node, "ps", "-a", "--format", "{{.Names}}").split()

    def _hold(self, name: str) -> int:
        folder = self.rig.folder / name / "mounts"
        if shutil.which("podman"):
            podman = self.rig.folder / name / "podman"
            (podman / "store").mkdir(parents=True)
            shutil.copytree("/etc/containers", podman / "etc")
            # Limits no higher than ours, no systemd to ask for cgroups, and a runtime that takes cgroups as they are (crun refuses hybrid ones).
            (podman / "etc" / "containers.conf").write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\nevents_logger = "file"\n')
        npus = self.rig.folder / name / f"npus-{name}"
        npu_sim.install(str(npus), sys.executable)
        for tool in (npus / "bin").iterdir():
            tool.write_text(tool.read_text().replace("exec ", f"RANKDECK_SIM_NODE_DIR={npus} exec ", 1))
        process = subprocess.Popen(
            [*self.rig.network.enter(name), "unshare", "--mount", "--propagation", "private", "sh", "-c", _SETUP, "sh", str(folder), str(DEVICES), name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_end_with_parent)
        self._processes.append(process)
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "ready\n":
            process.kill()
            raise RigError(f"no mounts for {name}: {process.stderr.read()[-1000:]}")
        return process.pid

    def _daemon(self, name: str) -> None:
        # Short: the daemon makes sockets below it.
        folder = self.rig.folder / name / "d"
        folder.mkdir(exist_ok=True)
        argv = [*self.network.enter(name), "dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "x"), "--pidfile", str(folder / "pid"),
                "-H", "unix:///run/docker.sock", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
                "--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.network.namespace(name)}", "--shutdown-timeout", "3"]
        with (folder / "log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, name: str) -> None:
        """End a node's daemon as its service would: its containers end too, and stay as ended ones."""
        self._daemons[name].terminate()
        self._daemons[name].wait(30)

    def start(self, name: str) -> None:
        """Start a node's daemon again unless it runs, and wait until it answers."""
        if self._daemons[name].poll() is not None:
            self._daemon(name)
        self._wait(name)

    def _wait(self, name: str) -> None:
        deadline = time.monotonic() + STARTED_S
        while True:
            try:
                self.docker(name, "version")
                return
            except RigError as error:
                if time.monotonic() > deadline or self._daemons[name].poll() is not None:
                    raise RigError(f"dockerd of {name} does not come up: {(self.rig.folder / name / 'd' / 'log').read_text()[-3000:]}") from error
            time.sleep(0.1)

    def _make_image(self) -> None:
        root = self.rig.folder / "image"
        root.mkdir()
        for name in ("tmp", "var/tmp", "proc", "sys", "dev", "usr", "etc", "root", "run"):
            (root / name).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "var" / "tmp").chmod(0o1777)
        for name in ("bin", "sbin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (root / "etc" / "group").write_text("root:x:0:\n")
        factory = root / FACTORY.lstrip("/")
        factory.mkdir(parents=True)
        (factory / "install.sh").write_text('[ "$1" = modellink ] && : > "$(dirname "$0")/installed"\n')
        # As the toolkit's, it reads variables that nobody has set.
        (factory / "set_env.sh").write_text(f'export ASCEND_TOOLKIT_HOME=/toolkit PATH={FACTORY}:$PATH LD_LIBRARY_PATH=/toolkit/lib:$LD_LIBRARY_PATH\n')
        shutil.copy(Path(__file__).with_name("ascendfactory-cli"), factory)
        first, *others = self.rig.nodes
        self.image = path = self.rig.folder / "image.tar"
        saved = self.rig.folder / "saved.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(root, ".")
        # Imported once: the time would make it another image.
        self.docker(first, "import", str(path), IMAGE)
        self.docker(first, "save", "-o", str(saved), IMAGE)
        for name in others:
            self.docker(name, "load", "-i", str(saved))

    def __exit__(self, *_: object) -> None:
        for name in self.rig.nodes:
            with contextlib.suppress(RigError, AttributeError):
                found = self.docker(name, "ps", "-aq").split()
                if found:
                    self.docker(name, "rm", "-f", *found)
        for daemon in self._daemons.values():
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(5)
        for server in self.rig.nodes.values():
            server.stop()
            server.network = self.rig.network
        for process in self._processes:
            process.kill()
            process.wait(5)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for server in self.rig.nodes.values():
            with contextlib.suppress(RigError):
                server.start()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; survives exec


def node_of(pid: int) -> str:
    """The mount namespace of a process, to tell nodes apart."""
    return os.readlink(f"/proc/{pid}/ns/mnt")


def processes_with(mark: str) -> list[int]:
    """Living processes that have this NAME=VALUE in the environment they were started with."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (path / "environ").read_bytes().split(b"\0") and not (path / "stat").read_text().rpartition(") ")[2].startswith("Z"):
                    found.append(int(path.name))
    return found
