"""From a key to its paint through a real sshd, with and without tmux on the far side, over a line of 20 kB/s.

An sshd of our own on the loopback address (own key, own configuration, in a temporary directory), reached through a
proxy that lets 20 kB/s through towards the terminal and holds as little as a socket can. The terminal here answers the
console's question after a frame ("paced") or never does ("unpaced"); inside tmux it is tmux that is asked. Keys
change the view, so each paints a whole screen. Skipped where there is no sshd or no tmux.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.keys import COLUMNS, DRIVE, KEYS, RATE, ROWS, SLOW_P95_S, Reader
from bench.result import Ratio, Result, Samples, Skipped

HELD_BYTES = 4096
"""Asked for as the buffer of each socket on the way; the kernel doubles it."""
START_S = 10.0


class Proxy:
    """A listener whose connections are passed on, slowly on the way back."""

    def __init__(self, to: int, rate: int) -> None:
        self._to, self._rate = to, rate
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HELD_BYTES)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(4)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, HELD_BYTES)
                far.connect(("127.0.0.1", self._to))
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(near, far, 0), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, self._rate), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, rate: int) -> None:
        free_at = time.perf_counter()
        with contextlib.suppress(OSError):
            while data := source.recv(512 if rate else 65536):
                sink.sendall(data)
                if rate:
                    free_at = max(free_at, time.perf_counter()) + len(data) / rate
                    time.sleep(max(0.0, free_at - time.perf_counter()))
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Take no more."""
        self._listener.close()


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[int]:
    """The port of a server that lets in the key ``folder/key``."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        raise Skipped("no sshd on this machine")
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    port = free_port()
    (folder / "sshd_config").write_text(f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nPidFile {folder}/pid\n"
                                        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.perf_counter() + START_S
        while time.perf_counter() < end and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def seconds(folder: Path, port: int, presses: int, *, answers: bool, tmux: bool) -> list[float]:
    """Key to paint, for so many keys."""
    proxy = Proxy(port, RATE)
    drive = f"exec env TERM={'screen-256color' if tmux else 'xterm-256color'} LANG=C.UTF-8 {sys.executable} {DRIVE}"
    remote = f"exec tmux -L bench{port} -f /dev/null new-session '{drive}'" if tmux else drive
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["ssh", "-tt", "-F", "none", "-i", str(folder / "key"), "-p", str(proxy.port), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known",
         "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", f"{getpass.getuser()}@127.0.0.1", remote],
        stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color"}, start_new_session=True)
    os.close(theirs)
    try:
        reader, taken = Reader(ours, 0, answers), []
        reader.until(b"read-only")
        for turn in range(presses + 2):
            end = time.perf_counter() + 0.7  # the operator looks
            while time.perf_counter() < end:
                reader.read()
            # Three views whose names differ letter by letter: tmux sends only the cells that changed.
            key, needle = KEYS[turn % 3]
            os.write(ours, key)
            took = reader.until(needle[2:] if tmux else needle)
            if turn >= 2:
                taken.append(took)
        return taken
    finally:
        if tmux:
            subprocess.run(["tmux", "-L", f"bench{port}", "kill-server"], check=False, stderr=subprocess.DEVNULL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
        proxy.close()


def run(rounds: int) -> Result:
    """Seconds from key to paint."""
    if shutil.which("tmux") is None:
        raise Skipped("no tmux on this machine")
    presses = max(8, rounds)
    with tempfile.TemporaryDirectory(prefix="rankdeck-far-") as name, sshd(Path(name)) as port:
        cases = {"ssh, paced": (True, False), "ssh, unpaced": (False, False), "ssh and tmux": (True, True)}
        found = {text: seconds(Path(name), port, presses, answers=answers, tmux=tmux) for text, (answers, tmux) in cases.items()}
    p95 = {text: sorted(values)[min(len(values) - 1, int(0.95 * len(values)))] for text, values in found.items()}
    return Result(samples=tuple(Samples(name=f"key to paint, 20 kB/s, {text}", unit="s", values=tuple(values)) for text, values in found.items()),
                  ratios=tuple(Ratio(name=f"p95 of {text} over {SLOW_P95_S:g} s", values=(p95[text] / SLOW_P95_S,), at_most=1.0) for text in ("ssh, paced", "ssh and tmux")),
                  notes=("p95 " + ", ".join(f"{text} {value:.2f} s" for text, value in p95.items()),))
