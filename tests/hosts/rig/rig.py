"""The whole rig: network, servers, keys, and the fleet file that describes them."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType

from tests.hosts.rig import network
from tests.hosts.rig.network import BASTION_OUTER, Network, RigError, node_address
from tests.hosts.rig.server import Server, find_sshd, make_key

NODES = ("n1", "n2", "n3")
_FOLDER_PREFIX = "rankdeck-rig-"
_count = itertools.count()


def missing() -> str:
    """Why no rig can be made on this machine, or an empty text."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "needs root on Linux, for network namespaces"
    absent = [tool for tool in ("ip", "nsenter", "nft", "ssh-keygen") if shutil.which(tool, path=_path()) is None]
    if find_sshd() is None:
        absent.append("sshd")
    return f"needs {', '.join(absent)}; `make test-hosts` installs what is missing" if absent else ""


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Rig:
    """A bastion and nodes, up inside ``with``. Attributes: ``folder``, ``network``, ``bastion``, ``nodes``, ``key``.

    Nothing is left on the way out, also when coming up failed half-way or the process is told to end
    (SIGINT, SIGTERM). What a rig that was killed outright left is removed by the next one (``sweep``).
    """

    def __init__(self, nodes: Sequence[str] = NODES) -> None:
        self.names = tuple(nodes)

    def __enter__(self) -> Rig:
        reason = missing()
        if reason:
            raise RigError(reason)
        os.environ["PATH"] = _path()
        sweep()
        # Debian's sshd will not start without it; the service's start script makes it, and no service runs here.
        self._made_run_sshd = not Path("/run/sshd").exists()
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER_PREFIX}{os.getpid()}-"))
        self.network = Network(f"{os.getpid()}-{next(_count)}", self.names)
        self._old_handler = signal.signal(signal.SIGTERM, _interrupt) if _is_main_thread() else None
        try:
            self.network.up()
            self.key = self.folder / "operator_key"
            make_key(self.key)
            authorized_keys = self.folder / "authorized_keys"
            shutil.copyfile(self.key.with_suffix(".pub"), authorized_keys)
            self.bastion = Server(self.network, "bastion", BASTION_OUTER, self.folder / "bastion", authorized_keys)
            self.nodes = {name: Server(self.network, name, node_address(index), self.folder / name, authorized_keys)
                          for index, name in enumerate(self.names)}
            for server in (self.bastion, *self.nodes.values()):
                server.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Not to be interrupted by the second Ctrl-C of an impatient person: it takes a fraction of a second.
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)} if _is_main_thread() else {}
        try:
            self.network.down()
            for server in (getattr(self, "bastion", None), *getattr(self, "nodes", {}).values()):
                if server is not None:
                    server.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
            if self._made_run_sshd and not any(Path("/run/sshd").iterdir()):
                Path("/run/sshd").rmdir()
        finally:
            if self._old_handler is not None:
                handlers[signal.SIGTERM] = self._old_handler
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def known_hosts(self, name: str, machines: Sequence[str] | None = None) -> Path:
        """A new known_hosts file of that name in the rig's folder which knows these machines (default: all)."""
        path = self.folder / name
        servers = {"bastion": self.bastion, **self.nodes}
        path.write_text("".join(server.known_hosts_line(server.address) for machine, server in servers.items()
                                if machines is None or machine in machines))
        return path

    def fleet_mapping(self, python: str) -> dict[str, object]:
        """What a fleet file for the nodes says; ``python`` is the interpreter of the nodes' agents.

        Agent and state directory are each node's own: the nodes share one file system, which real ones do not.
        """
        return {
            "name": "rig",
            "bastion": f"root@{BASTION_OUTER}",
            "defaults": {"user": "root", "key": str(self.key), "python": python, "npus": 0},
            "nodes": [{"name": name, "host": server.address, "agent_dir": str(server.home / "agent"),
                       "state_dir": str(server.folder / "state")} for name, server in self.nodes.items()],
        }


def sweep() -> list[str]:
    """Remove the namespaces and folders of rigs whose owner is gone; their names."""
    gone = [name for name in network.namespaces() if not _alive(name.split("-")[1])]
    network.remove(gone)
    folders = [path for path in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*") if not _alive(path.name.split("-")[2])]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return [*gone, *map(str, folders)]


def _alive(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
