"""The demo fleet: its directory, its files, its server process, and its end.

Owns one private directory (the *root*) with everything a demo has: the nodes' homes and tools, the shared
work directory, keys, fleet.yaml, job.yaml and the console's store. The SSH servers run in a process of
their own (``console.lab.serve``), so that a console that is killed can be opened again on the same fleet.
Knows nothing of supervisors, screens or faults.

::

    root/  fleet.yaml job.yaml known_hosts   what ``rankdeck open`` and ``launch`` are given
           fleet.json                        the server's sign that it is ready
           console.lock                      held (flock, shared) by every console of this demo
           idle_s                            how long the server stays without a console
           console-state/rankdeck/           the console's store
           serve.log keys/ work/             server's log, SSH keys, shared work directory
           nodes/NAME/{bin,dev,home,state,tmp}
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from console.core import i18n
from console.core.errors import ConsoleError
from console.lab import remains
from console.lab.ports import free_port

Kind = Literal["interactive", "headless"]
JOB = "demo-gpt"
TRAINING = ("node-1", "node-2")
IDLE = "node-3"
SPARE = "node-4"
NODES: Mapping[str, str] = {name: f"127.0.1.{at}" for at, name in enumerate((*TRAINING, IDLE, SPARE), start=1)}
IDLE_LIMIT_S = 600.0
KEPT_LIMIT_S = 8 * 3600.0
"""``--keep`` asks for more than the usual ten minutes, but not for ever."""
READY_LIMIT_S = 60.0
INSTALL_DIR = Path(__file__).resolve().parents[2]
"""Holds the packages console, agent and trainer: a checkout or site-packages."""


class UsageError(ConsoleError):
    """The demo was asked for something that cannot be meant."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the demo's job looks like."""

    iterations: int
    save_interval: int
    nproc_per_node: int = 2
    num_layers: int = 2
    hidden_size: int = 64
    seq_length: int = 64
    min_step_s: float = 0.0
    seed: int = 1234
    job: str = JOB


@dataclass(slots=True, kw_only=True)
class DemoFleet:
    """One demo fleet as a console holds it. Make one with ``create`` or ``attach``; end with ``leave``."""

    root: Path
    kind: Kind
    lock: int
    """File descriptor of console.lock, held shared."""
    server: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def fleet_file(self) -> Path:
        return self.root / "fleet.yaml"

    @property
    def job_file(self) -> Path:
        return self.root / "job.yaml"

    @property
    def store_file(self) -> Path:
        return self.state_home / "rankdeck" / "rankdeck.db"

    @property
    def state_home(self) -> Path:
        """XDG_STATE_HOME under which ``rankdeck open`` finds the demo's history."""
        return self.root / "console-state"

    @property
    def work_dir(self) -> Path:
        return self.root / "work"

    def node_dir(self, name: str) -> Path:
        """Where the node's simulated hardware lives."""
        return self.root / "nodes" / name

    def keep(self, limit_s: float = KEPT_LIMIT_S) -> None:
        """Let the server stay that long without a console."""
        _replace(self.root / "idle_s", f"{limit_s}\n")

    def leave(self, *, say: Callable[[str], None] = lambda text: None) -> bool:
        """Let go of the fleet, and end it when no other console has it. True when nothing of it is left."""
        try:
            if not _alone(self.lock):
                say(i18n.say("another console still has the demo in {root}; it stays", root=self.root))
                return False
            return self.clear(say=say)
        finally:
            self.release()

    def clear(self, *, say: Callable[[str], None] = lambda text: None) -> bool:
        """End the fleet and remove its directory; True when nothing is left."""
        done = remains.clear(self.root, say=say)
        if self.server is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(5)
        return done

    def release(self) -> None:
        """Let go of the lock; the fleet goes on until the server finds itself alone for too long."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def create(shape: Shape, *, kind: Kind, say: Callable[[str], None] = lambda text: None) -> DemoFleet:
    """Make a new fleet and wait until its servers answer. Raises ConsoleError; nothing is left behind then."""
    root = Path(tempfile.mkdtemp(prefix=remains.root_prefix()))
    fleet = DemoFleet(root=root, kind=kind, lock=_hold(root))
    try:
        for name in NODES:
            for part in ("bin", "dev", "home", "state", "tmp"):
                (fleet.node_dir(name) / part).mkdir(parents=True, mode=0o700)
        (root / "keys").mkdir(mode=0o700)
        fleet.work_dir.mkdir()
        fleet.keep(IDLE_LIMIT_S)
        _replace(fleet.job_file, _yaml(job_mapping(root, shape)))
        say(i18n.say("starting four SSH servers on loopback"))
        fleet.server = _start_server(root, kind)
        _await_ready(fleet)
    except BaseException:
        fleet.clear(say=say)
        fleet.release()
        raise
    return fleet


def attach(root: Path) -> DemoFleet | None:
    """Take hold of a running interactive fleet; None when it is not one any more."""
    try:
        lock = _hold(root)
    except OSError:
        return None
    found = ready(root)
    if found is None or found.get("kind") != "interactive" or not server_alive(root):
        os.close(lock)
        return None
    return DemoFleet(root=root, kind="interactive", lock=lock)


def in_use(root: Path) -> bool:
    """Whether a console has hold of the demo, or is just making it."""
    try:
        lock = os.open(root / "console.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Between a root's creation and its lock there are a few milliseconds.
        with contextlib.suppress(OSError):
            return time.time() - root.stat().st_mtime < 60  # noqa: TID251 - compared with a file's time
        return False
    except OSError:
        return True
    try:
        return not _alone(lock, tries=1)
    finally:
        os.close(lock)


def orphaned(root: Path) -> bool:
    """Whether a root has no console and cannot be taken up again: its server is dead, or it was headless."""
    if in_use(root):
        return False
    found = ready(root)
    return found is None or found.get("kind") != "interactive" or not server_alive(root)


def ready(root: Path) -> dict[str, Any] | None:
    """What the server wrote when it was ready; None before."""
    try:
        found = json.loads((root / "fleet.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def server_alive(root: Path) -> bool:
    """Whether the process that fleet.json names is (still) the server of this root."""
    return remains.marked().get(int((ready(root) or {}).get("pid") or 0)) == root


def fleet_name(root: Path) -> str:
    """The fleet's name: another one for every demo, so that no history is taken for that of an earlier one."""
    return f"demo-{root.name.rpartition('-')[2]}"


def node_env(root: Path, name: str) -> dict[str, str]:
    """The whole environment of what runs on a node. Nothing of the console's own environment is in it but PATH's
    way to the interpreter that the demo itself runs under."""
    node = root / "nodes" / name
    return {
        "HOME": str(node / "home"), "USER": getpass.getuser(), "LOGNAME": getpass.getuser(), "SHELL": "/bin/sh",
        "LANG": "C.UTF-8", "TMPDIR": str(node / "tmp"),
        "PATH": os.pathsep.join((str(node / "bin"), str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
        "RANKDECK_STATE": str(node / "state"), "RANKDECK_SIM_NODE_DIR": str(node), remains.MARK: str(root)}


def fleet_mapping(root: Path, ports: Mapping[str, int]) -> dict[str, Any]:
    """The fleet file."""
    return {
        "name": fleet_name(root), "known_hosts": str(root / "known_hosts"),
        "defaults": {"user": getpass.getuser(), "key": str(root / "keys" / "client"), "npus": 8, "python": sys.executable},
        "nodes": [{"name": name, "host": address, "port": ports[name], **({"role": "spare"} if name == SPARE else {})}
                  for name, address in NODES.items()]}


def job_mapping(root: Path, shape: Shape) -> dict[str, Any]:
    """The job file: a GPT small enough for two cores, data parallel over all ranks."""
    return {
        "apiVersion": 1,
        "run": {"name": shape.job, "seed": shape.seed},
        "paths": {"work": str(root / "work")},
        "fleet": {"nodes": list(TRAINING), "spares": [SPARE], "npus_per_node": shape.nproc_per_node,
                  "master_port": free_port(NODES[TRAINING[0]]), "nic": "lo"},
        "container": {"runtime": "process"},
        "runner": {"kind": "torchrun", "python": sys.executable, "trainer_dir": str(INSTALL_DIR)},
        "model": {"num_layers": shape.num_layers, "hidden_size": shape.hidden_size, "num_attention_heads": 4, "vocab_size": 256,
                  "max_position_embeddings": shape.seq_length},
        "train": {"iterations": shape.iterations, "micro_batch_size": 2, "global_batch_size": 8, "seq_length": shape.seq_length,
                  "learning_rate": 1e-3, "min_learning_rate": 1e-4, "warmup_iterations": 5, "log_interval": 1,
                  "min_step_s": shape.min_step_s, "threads": 1, "timeout_s": 120.0},
        "data": {"format": "synthetic"},
        "checkpoint": {"dir": str(root / "work" / "checkpoints" / shape.job), "interval": shape.save_interval, "storage": "shared"},
        # quick: the interpreter is this one and the storage one disk; importing torch twice more would only cost the first picture.
        "preflight": {"level": "quick"},
        "recovery": {"policy": "advise", "in_place": 3, "join_timeout_s": 120.0}}


def write_ready(root: Path, kind: str, ports: Mapping[str, int], host_keys: Mapping[str, str]) -> None:
    """The server's part of the handshake: known_hosts, fleet.yaml, and fleet.json last."""
    known = [f"[{NODES[name]}]:{ports[name]} {key.strip()}\n" for name, key in host_keys.items()]
    _replace(root / "known_hosts", "".join(known))
    _replace(root / "fleet.yaml", _yaml(fleet_mapping(root, ports)))
    _replace(root / "fleet.json", json.dumps({"version": 1, "pid": os.getpid(), "kind": kind, "ports": dict(ports)}) + "\n")


def _start_server(root: Path, kind: Kind) -> subprocess.Popen[bytes]:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    with (root / "serve.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "console.lab.serve", str(root), kind], cwd=INSTALL_DIR,
                                env={**env, remains.MARK: str(root)}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                start_new_session=True)


def _await_ready(fleet: DemoFleet) -> None:
    deadline = time.monotonic() + READY_LIMIT_S
    assert fleet.server is not None
    while ready(fleet.root) is None:
        over = fleet.server.poll() is not None
        if over or time.monotonic() > deadline:
            log = (fleet.root / "serve.log").read_text(errors="replace").strip().splitlines()
            raise ConsoleError(
                "the demo's SSH servers did not come up", where="rankdeck demo",
                got=f"exit status {fleet.server.returncode}" if over else f"no answer within {READY_LIMIT_S:.0f} s",
                expected="four servers on 127.0.1.1 to 127.0.1.4",
                fix="Is the demo extra installed (pip install 'rankdeck[demo]')? The server's last words: "
                    + (" | ".join(log[-3:]) or "none"))
        time.sleep(0.02)


def _hold(root: Path) -> int:
    lock = os.open(root / "console.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _alone(lock: int, *, tries: int = 10) -> bool:
    """Whether no one else holds the lock. Tried several times: the server looks at it too, for an instant."""
    for attempt in range(tries):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt + 1 < tries:
                time.sleep(0.03)
    return False


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _yaml(mapping: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(mapping), sort_keys=False)


