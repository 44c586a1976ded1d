"""A bastion's home with a fleet and job files, the command line there, and what must be gone afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from tests.hosts.console_process import ROOT, eventually
from tests.hosts.rig.engines import DEVICES, IMAGE, Engines
from tests.hosts.rig.network import RigError, run

T = TypeVar("T")
R = TypeVar("R")
NODES = ("n1", "n2")
DRIVER = ("npu-smi", "dcmi", "driver")
# The command line, with nodes that wait 10 s for a commit, and for the next word of it, instead of a minute.
IMPATIENT = ("-c", """
import dataclasses, sys
from console import cli
from console.core.launch import plan
make_plan = plan.make_plan
plan.make_plan = lambda *args, **options: dataclasses.replace(make_plan(*args, **options), ttl_s=10.0)
sys.exit(cli.main(sys.argv[1:]))
""")
LINE = ("[2026-11-22 05:10:01.000000] iteration $(printf %8d $at)/ $(printf %7d $TRAIN_ITERS) | consumed samples: $((at * 8)) | elapsed time per iteration (ms): 50.0"
        " | learning rate: 1.000000E-03 | global batch size:     8 | lm loss: $(printf '%.6f' 5.$((99 - at % 90)))E+00 | loss scale: 1.0 | grad norm: 1.234"
        " | number of skipped iterations:   0 | number of nan iterations:   0 |")
# What S3's scripts take and print, at the end of a pipe as theirs are. FAIL_IN is a phase, of the second node alone;
# the first then waits for it, as a collective would. STOP_IN is a phase in which all of them wait.
SCRIPT = f"""#!/bin/bash
echo "node $NODE_RANK of $NNODES at $MASTER_ADDR:$MASTER_PORT with $(ls -d /dev/davinci[0-9]* | wc -l) devices"
[ "$MODEL_TYPE" = 7B ] || exit 9
met() {{ for _ in $(seq 1 100); do [ ! -e "$RANKDECK_DIR/round-00/rank_map.json" ] || return 0; sleep 0.1; done; }}
step() {{
  [ "$1" != loading ] || [ "${{STOP_IN:-}}${{FAIL_IN:-}}" != loading ] || met
  [ "${{STOP_IN:-}}" != "$1" ] || sleep 600
  [ "${{FAIL_IN:-}}" = "$1" ] || return 0
  [ "$NODE_RANK" = 1 ] || sleep 600
  echo "RuntimeError: it broke in $1" >&2
  exit 7
}}
train() {{
  step loading
  for at in $(seq 1 ${{TRAIN_ITERS}}); do
    [ "$at" != "${{CRASH_AT:-0}}" ] || {{ echo 'RuntimeError: NPU out of memory' >&2; exit 1; }}
    [ "$at" != 5 ] || step training
    echo " {LINE}"
    sleep 0.05
  done
}}
step rendezvous
export -f train step met
export RANK=$NODE_RANK LOCAL_RANK=0 WORLD_SIZE=$NNODES LOCAL_WORLD_SIZE=1
bash -o pipefail -c train 2>&1 | tee out-$NODE_RANK.log
"""


def all_at_once(request: pytest.FixtureRequest, docker: Engines, folder: Path, python: str, cases: Mapping[str, T], do: Callable[[T, Site], R],
                options: Callable[[T], dict[str, Any]] = lambda case: {}, workers: int = 4) -> Iterator[dict[str, Future[R]]]:
    """Begins every case of which a test was chosen, each on a site of its own; yields the results to come, by name."""
    chosen = {item.callspec.params.get("name") for item in request.session.items if item.path == request.path and hasattr(item, "callspec")}
    sites = {name: Site(docker, folder / name, python, own_state=True, **options(case)) for name, case in cases.items() if name in chosen}
    try:
        with ThreadPoolExecutor(max_workers=workers) as pool:
            yield {name: pool.submit(do, cases[name], site) for name, site in sites.items()}
    finally:
        for site in sites.values():
            site.close()


class Site:
    """See the module. ``own_state``: agents of its own on the nodes, so that sites side by side have locks each."""

    def __init__(self, docker: Engines, path: Path, python: str, *, own_state: bool = False, work_on_n2: str = "") -> None:
        """``work_on_n2``: options of a tmpfs that is the work directory on n2."""
        self.docker, self.rig, self.path = docker, docker.rig, path
        path.mkdir(parents=True, exist_ok=True)
        self.work = path / "work"
        self.work.mkdir()
        self.names: set[str] = set()
        self.started: list[subprocess.Popen[str]] = []
        fleet: dict[str, Any] = self.rig.fleet_mapping(python)
        known = self.rig.folder / f"known-{path.parent.name}-{path.name}"
        if not known.exists():
            self.rig.known_hosts(known.name)
        fleet["defaults"] = {**fleet["defaults"], "npus": DEVICES}
        fleet["known_hosts"] = str(known)
        self.states = {node: self.rig.nodes[node].folder / "state" for node in NODES}
        if own_state:
            # They leave soon after the site is gone.
            wrapper = path / "python"
            wrapper.write_text(f'#!/bin/sh\nexport RANKDECK_IDLE_S=5\nexec {python} "$@"\n')
            wrapper.chmod(0o755)
            fleet["defaults"]["python"] = str(wrapper)
            self.states = {node: path / f"state-{node}" for node in NODES}
        for node in fleet["nodes"]:
            node["state_dir"] = str(self.states[node["name"]])
        self.mapping = fleet
        self.fleet = path / "fleet.yaml"
        self.fleet.write_text(yaml.safe_dump(fleet))
        self._mounted = bool(work_on_n2)
        if work_on_n2:
            run(*docker.network.enter("n2"), "mount", "-t", "tmpfs", "-o", work_on_n2, "none", str(self.work))
        self.populate()

    def populate(self) -> None:
        """Put into the work directories what a job finds there."""
        for prefix in ([], self.docker.network.enter("n2")) if self._mounted else ([],):
            script = f"cat > {self.work}/train.sh; : > {self.work}/data_text_document.bin; : > {self.work}/data_text_document.idx; mkdir -p " + " ".join(f"{self.work}/driver/{name}" for name in DRIVER)
            with contextlib.suppress(RigError):  # a work directory that cannot be written is one of the tests
                run(*prefix, "sh", "-c", script, stdin=SCRIPT)

    @property
    def store(self) -> Path:
        """The console's history."""
        return next((self.path / "xdg").glob("**/*.db"))

    def job(self, name: str, **blocks: dict[str, Any]) -> Path:
        """A job file: S3's script in a container, with blocks changed."""
        found: dict[str, Any] = {
            "run": {"name": name}, "paths": {"work": str(self.work)},
            "fleet": {"nodes": list(NODES), "npus_per_node": DEVICES, "nic": "eth0"},
            "container": {"runtime": "docker", "image": IMAGE, "driver_mounts": [f"{self.work}/driver/{name}:/opt/{name}" for name in DRIVER],
                          "shm_size": "64m", "mounts": ["/usr:/usr:ro"]},
            "runner": {"kind": "env-script", "entry": str(self.work / "train.sh")},
            "model": {"size": "7B", "tokenizer": str(self.work)}, "parallel": {"pipeline_model_parallel_size": 2},
            "data": {"format": "megatron-bin", "prefix": str(self.work / "data_text_document")},
            "train": {"iterations": 20, "global_batch_size": 16, "min_step_s": 0.0},
            "checkpoint": {"dir": str(self.work / "ckpt"), "interval": 10}, "recovery": {"stop_grace_s": 2.0},
            "preflight": {"level": "none"}}
        for block, values in blocks.items():
            found[block] = {**found.get(block, {}), **values}
        self.names.add(f"rankdeck-{name}")
        path = self.path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    def start(self, *words: str, program: tuple[str, ...] = ("-m", "console"), home: str = "") -> subprocess.Popen[str]:
        """The command line on the bastion's client. ``home``: of another person than the usual one."""
        folder = self.path / home
        folder.mkdir(exist_ok=True)
        environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "xdg")}
        process = subprocess.Popen([*self.rig.network.enter("client"), sys.executable, *program, words[0], "-i", str(self.fleet), *words[1:]], cwd=ROOT, env=environ,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def run(self, *words: str, timeout_s: float = 200.0, program: tuple[str, ...] = ("-m", "console")) -> tuple[int, dict[str, Any], str]:
        """Exit status, JSON document and standard error of a command."""
        return self.end_of(self.start(words[0], "--json", *words[1:], program=program), timeout_s)

    def end_of(self, process: subprocess.Popen[str], timeout_s: float = 200.0) -> tuple[int, dict[str, Any], str]:
        """What ``run`` gives, of a command that was started with --json."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            there = run("ps", "-eo", "pid,ppid,stat,wchan:20,args").splitlines()
            ours = [line[:250] for line in there if str(self.path) in line or any(name in line for name in self.names) or "docker exec" in line]
            raise AssertionError("\n".join((f"{process.args!r} has not ended in {timeout_s:g} s", str(error.stderr), *ours))) from None
        try:
            return process.returncode, json.loads(out), err
        except ValueError:
            raise AssertionError(f"{process.args!r}: {process.returncode}\n{out}\n{err}") from None

    def launch(self, job: Path, *words: str) -> tuple[int, dict[str, Any], str]:
        """``run`` of a launch."""
        return self.run("launch", str(job), *words)

    def containers(self) -> list[str]:
        """Containers of this site's jobs, with their nodes."""
        return [f"{name} on {node}" for node in NODES for name in self.docker.containers(node) if name in self.names]

    def alive(self, node: str = "") -> list[int]:
        """Processes of attempts below our work directory (on one node)."""
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with contextlib.suppress(OSError):
                    words = dict(item.partition(b"=")[::2] for item in (path / "environ").read_bytes().split(b"\0"))
                    ours = words.get(b"RANKDECK_DIR", b"").startswith(os.fsencode(self.work)) and words.get(b"RANKDECK_NODE", b"").decode() in ([node] if node else ["", *NODES])
                    if ours and ") Z" not in (path / "stat").read_text():
                        found.append(int(path.name))
        return found

    def resident(self, node: str) -> int:
        """Pid of the agent that holds the node's state directory."""
        def found() -> list[int]:
            pids = []
            for path in Path("/proc").iterdir():
                if path.name.isdigit():
                    with contextlib.suppress(OSError):
                        words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
                        if "resident" in words and str(self.states[node]) in words:
                            pids.append(int(path.name))
            return pids

        return int(eventually(found, 10, f"a resident on {node}")[0])

    def locks(self) -> list[str]:
        """Device locks."""
        return [str(path) for state in self.states.values() for path in (state / "locks").glob("device-*.json")]

    def left(self) -> str:
        """What there is of any job: processes, locks, containers; "" for nothing."""
        # The dear question last: this is asked over and over.
        return str(self.alive() or self.locks() or self.containers() or "")

    def left_after(self, timeout_s: float) -> str:
        """What is still left then; "" as soon as nothing is."""
        try:
            self.wait_clean(timeout_s)
        except AssertionError:
            return self.left()
        # Not looked at again: the request of a console that was killed may still be on its way, and takes locks for a while.
        return ""

    def wait_clean(self, timeout_s: float = 20.0) -> None:
        """Wait until nothing of any job is left."""
        eventually(lambda: not self.left(), timeout_s, lambda: f"nothing left: {self.left()}")

    def close(self) -> None:
        """End the consoles, take the containers away."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        eventually(lambda: not any(self._removed(node) for node in NODES), 20, "no container left")
        if self._mounted:
            with contextlib.suppress(RigError):
                run(*self.docker.network.enter("n2"), "umount", "-l", str(self.work))

    def _removed(self, node: str) -> Sequence[str]:
        there = [name for name in self.docker.containers(node) if name in self.names]
        for name in there:
            with contextlib.suppress(RigError):  # the agent may be removing it at this very moment
                self.docker.docker(node, "rm", "-f", name)
        return there
