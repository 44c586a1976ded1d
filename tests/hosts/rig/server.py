"""One real sshd of the rig: its keys, its configuration, its processes."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.hosts.rig.network import Network, RigError, run

PORT = 22


def find_sshd() -> str | None:
    """Path of the system's sshd, or None. It insists on being started by its absolute path."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def make_key(path: Path) -> None:
    """An ed25519 key pair without a passphrase: ``path`` and ``path.pub``."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "rig", "-f", str(path))


def fingerprint(public_key: Path) -> str:
    """``SHA256:...`` of a public key file, as OpenSSH itself prints it."""
    return run("ssh-keygen", "-l", "-f", str(public_key)).split()[1]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; survives exec


class Server:
    """sshd of one machine. State lies in ``home``/: keys, configuration, log, and the login's HOME."""

    def __init__(self, network: Network, machine: str, address: str, folder: Path, authorized_keys: Path) -> None:
        self.network, self.machine, self.address, self.folder = network, machine, address, folder
        self.home = folder / "home"
        self.host_key = folder / "host_key"
        self._authorized_keys = authorized_keys
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens. Raises RigError with the end of its log."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.host_key.exists():
            make_key(self.host_key)
        configuration = self.folder / "sshd_config"
        configuration.write_text("\n".join((
            f"Port {PORT}", f"ListenAddress {self.address}", f"HostKey {self.host_key}", "PidFile none",
            f"AuthorizedKeysFile {self._authorized_keys}", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            "UsePAM no", "PermitRootLogin prohibit-password", "UseDNS no", "LogLevel VERBOSE", "Subsystem sftp internal-sftp",
            "MaxStartups 100:30:200", "MaxSessions 100",
            # The servers sit in a directory of everybody's, the keys are the rig's own.
            "StrictModes no",
            # The machines share one file system; each login gets a home of its own.
            f"SetEnv HOME={self.home} RIG_NODE={self.machine}", "")))
        sshd = find_sshd()
        if sshd is None:
            raise RigError("there is no sshd on this machine")
        with (self.folder / "sshd.log").open("ab") as log:
            # In the foreground and tied to us: when the tests are killed outright, the server goes with them.
            self._process = subprocess.Popen([*self.network.enter(self.machine), sshd, "-D", "-e", "-f", str(configuration)],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_end_with_parent)
        self._wait_until_listening()

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + 10
        needle = socket.inet_aton(self.address if self.address != "0.0.0.0" else "0.0.0.0")[::-1].hex().upper() + f":{PORT:04X}"
        assert self._process is not None
        while time.monotonic() < deadline and self._process.poll() is None:
            table = run(*self.network.enter(self.machine), "cat", "/proc/self/net/tcp")
            # "  sl  local_address rem_address   st": state 0A is LISTEN (proc_net_tcp in the kernel's documentation).
            if any(fields[1] == needle and fields[3] == "0A" for fields in map(str.split, table.splitlines()[1:])):
                return
            time.sleep(0.02)
        raise RigError(f"sshd of {self.machine} does not listen: {(self.folder / 'sshd.log').read_text()[-2000:]}")

    def new_host_key(self) -> None:
        """Come back as what looks like another machine."""
        self.stop()
        for path in (self.host_key, self.host_key.with_suffix(".pub")):
            path.unlink()
        self.start()

    def known_hosts_line(self, host: str) -> str:
        """The line that makes this server known under ``host``."""
        kind, key = self.host_key.with_suffix(".pub").read_text().split()[:2]
        return f"{host} {kind} {key}\n"

    def fingerprint(self) -> str:
        """``SHA256:...`` of its host key."""
        return fingerprint(self.host_key.with_suffix(".pub"))

    def session_pids(self) -> list[int]:
        """The sshd processes that serve connections, without the listener."""
        listener = self._process.pid if self._process else 0
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit() and int(path.name) != listener:
                try:
                    ours = os.readlink(path / "exe").endswith(("/sshd", "/sshd-session")) and self._is_on_our_network(path)
                except OSError:
                    continue
                if ours:
                    found.append(int(path.name))
        return found

    def _is_on_our_network(self, process: Path) -> bool:
        there = os.stat(process / "ns" / "net")
        here = os.stat(f"/var/run/netns/{self.network.namespace(self.machine)}")
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def kill_sessions(self) -> int:
        """SIGKILL every process that serves a connection; how many there were. The listener stays."""
        pids = self.session_pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return len(pids)

    def stop(self) -> None:
        """End the listener; connections that are open stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None
