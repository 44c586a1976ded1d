"""Jobs in real containers on real hosts behind a real bastion: they come up, are seen, and leave nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts.console_process import ROOT, eventually
from tests.hosts.rig import engines
from tests.hosts.rig.engines import DEVICES, IMAGE, Engines, processes_with
from tests.hosts.rig.network import RigError
from tests.hosts.rig.rig import Rig

pytestmark = pytest.mark.ssh
NODES = ("n1", "n2")
DRIVER = ("npu-smi", "dcmi", "driver")
# The command line, with nodes that wait 6 s for a commit instead of a minute.
IMPATIENT = ("-c", """
import dataclasses, sys
from console import cli
from console.cli import jobs
make_plan = jobs.make_plan
jobs.make_plan = lambda *args, **options: dataclasses.replace(make_plan(*args, **options), ttl_s=6.0)
sys.exit(cli.main(sys.argv[1:]))
""")
# What S3's scripts print, at the end of a pipe as theirs are.
SCRIPT = """#!/bin/bash
echo "node $NODE_RANK of $NNODES at $MASTER_ADDR:$MASTER_PORT with $(ls -d /dev/davinci[0-9]* | wc -l) devices"
[ "$MODEL_TYPE" = 7B ] || exit 9
for at in $(seq 1 ${TRAIN_ITERS}); do
  [ "$at" != "${CRASH_AT:-0}" ] || { echo 'RuntimeError: NPU out of memory' >&2; exit 1; }
  echo " [2026-11-22 05:10:01.000000] iteration $(printf %8d $at)/ $(printf %7d $TRAIN_ITERS) | consumed samples: $((at * 8)) | elapsed time per iteration (ms): 50.0 | learning rate: 1.000000E-03 | global batch size:     8 | lm loss: $(printf '%.6f' 5.$((99 - at)))E+00 | loss scale: 1.0 | grad norm: 1.234 | number of skipped iterations:   0 | number of nan iterations:   0 |"
  sleep 0.05
done 2>&1 | tee out.log
"""


@pytest.fixture(scope="module")
def docker(node_python: str) -> Iterator[Engines]:
    """Two nodes with a Docker daemon each, on a rig of their own."""
    reason = engines.missing()
    if reason and os.environ.get("RANKDECK_HOSTS") == "required":
        pytest.fail(f"the container tests {reason}")
    if reason:
        pytest.skip(reason)
    from tests.hosts.rig.rig import missing

    if missing():
        pytest.skip(missing())
    with Rig(NODES) as rig, Engines(rig) as running:
        yield running


class Site:
    """A bastion's home with a fleet and a job file, and the command line there."""

    def __init__(self, docker: Engines, path: Path, python: str) -> None:
        self.docker, self.rig, self.path = docker, docker._rig, path
        self.work = path / "work"
        self.work.mkdir()
        fleet = self.rig.fleet_mapping(python)
        known = self.rig.folder / f"known-{path.name}"
        if not known.exists():
            self.rig.known_hosts(known.name)
        fleet["defaults"] = {**fleet["defaults"], "npus": DEVICES}  # type: ignore[dict-item]
        fleet["known_hosts"] = str(known)
        self.fleet = path / "fleet.yaml"
        self.fleet.write_text(yaml.safe_dump(fleet))
        (self.work / "train.sh").write_text(SCRIPT)
        for name in DRIVER:
            (self.work / "driver" / name).mkdir(parents=True)
        self.started: list[subprocess.Popen[str]] = []

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
            "checkpoint": {"dir": str(self.work / "ckpt"), "interval": 10}, "recovery": {"stop_grace_s": 2.0}}
        for block, values in blocks.items():
            found[block] = {**found.get(block, {}), **values}
        path = self.path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(found))
        return path

    def start(self, *words: str, program: tuple[str, ...] = ("-m", "console")) -> subprocess.Popen[str]:
        """The command line on the bastion's client."""
        environ = {"HOME": str(self.path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.path / "xdg")}
        process = subprocess.Popen([*self.rig.network.enter("client"), sys.executable, *program, words[0], "-i", str(self.fleet), *words[1:]], cwd=ROOT, env=environ,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def run(self, *words: str, timeout_s: float = 60.0) -> tuple[int, dict[str, Any], str]:
        """Exit status, JSON document and standard error of a command."""
        process = self.start(words[0], "--json", *words[1:])
        out, err = process.communicate(timeout=timeout_s)
        try:
            return process.returncode, json.loads(out), err
        except ValueError:
            raise AssertionError(f"{words}: {process.returncode}\n{out}\n{err}") from None

    def is_clean(self) -> bool:
        """Nothing of any job: no container, no process, no lock, no prepared directory."""
        left = [name for node in NODES for name in self.docker.containers(node)]
        locks = [path for node in NODES for path in (self.rig.nodes[node].folder / "state" / "locks").glob("device-*.json")]
        return not left and not locks and not processes_with(f"RIG_JOB={self.path.name}") and not self.alive()

    def alive(self) -> list[int]:
        """Processes of attempts below our work directory."""
        return [pid for path in Path("/proc").iterdir() if path.name.isdigit() for pid in [int(path.name)] if self._ours(path)]

    def _ours(self, path: Path) -> bool:
        with contextlib.suppress(OSError):
            environ = (path / "environ").read_bytes().split(b"\0")
            return any(item.startswith(b"RANKDECK_DIR=" + os.fsencode(self.work)) for item in environ) and ") Z" not in (path / "stat").read_text()
        return False

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def site(docker: Engines, tmp_path: Path, node_python: str) -> Iterator[Site]:
    site = Site(docker, tmp_path, node_python)
    yield site
    site.close()

    def removed() -> bool:
        left = [(node, name) for node in NODES for name in docker.docker(node, "ps", "-aq").split()]
        for node, name in left:
            with contextlib.suppress(RigError):  # the agent may be removing it at this very moment
                docker.docker(node, "rm", "-f", name)
        return not left

    eventually(removed, 20, "no container left")


def launched(site: Site, *words: str) -> tuple[int, dict[str, Any], str]:
    return site.run("launch", *words)


def test_a_job_on_two_nodes_with_eight_devices_each(site: Site) -> None:
    status, document, err = launched(site, str(site.job("whole", container={"setup": ["echo set up >> /tmp/once"]})), "--wait")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    assert document["result"]["status"] == "finished" and document["result"]["iteration"] == 20
    phases = {(node["node"], one["phase"]): one["state"] for node in document["nodes"] for one in node["phases"]}
    assert {phase for _, phase in phases} >= {"preflight", "prepare", "container", "start"} and set(phases.values()) == {"done"}
    for index, node in enumerate(document["nodes"]):
        log = Path(node["dir"], "launcher.log").read_text()
        assert f"node {index} of 2 at 10.77.0.11:" in log and "with 8 devices" in log
    eventually(site.is_clean, 15, lambda: f"{[site.docker.containers(node) for node in NODES]} {site.alive()}")


@pytest.mark.torch
def test_torchrun_trains_across_two_containers(site: Site) -> None:
    prefix = os.path.realpath(sys.base_prefix)
    mounts = dict.fromkeys(["/usr", prefix, sys.prefix, str(ROOT)])
    status, document, err = launched(site, str(site.job(
        "torch", fleet={"npus_per_node": 1}, container={"mounts": [f"{path}:{path}:ro" for path in mounts if path == "/usr" or not path.startswith("/usr/")]},
        runner={"kind": "torchrun", "entry": "", "python": sys.executable, "trainer_dir": str(ROOT)}, parallel={"pipeline_model_parallel_size": 1},
        model={"preset": "tiny-llama", "size": "", "tokenizer": ""}, data={"format": "synthetic", "prefix": ""},
        train={"iterations": 6, "global_batch_size": 4}, checkpoint={"interval": 3})), "--wait")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    assert document["result"]["iteration"] == 6 and document["result"]["saved_iteration"] == 6 and 0 < document["result"]["loss"] < 20
    maps = [json.loads((Path(node["dir"]) / "round-00" / "rank_map.json").read_text()) for node in document["nodes"]]
    assert sorted(rank for found in maps for rank in found["ranks"]["rank"]) == [0, 1]
    eventually(site.is_clean, 15, lambda: f"{[site.docker.containers(node) for node in NODES]} {site.alive()}")


def test_stop_leaves_nothing_and_the_name_is_free_again(site: Site) -> None:
    job = site.job("long", train={"iterations": 100000})
    status, document, err = launched(site, str(job))
    assert status == 0, (document, err)
    log = Path(document["nodes"][0]["dir"], "launcher.log")
    eventually(lambda: log.exists() and "lm loss" in log.read_text(), 20, "loss")
    assert all(site.docker.containers(node) == ["rankdeck-long"] for node in NODES)
    again, refused, _ = launched(site, str(job))
    assert again == 1 and "already there" in refused["error"]["what"]
    status, document, err = site.run("stop", "long", "--grace", "5", "--yes-i-mean", "long")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    eventually(site.is_clean, 15, lambda: f"{[site.docker.containers(node) for node in NODES]} {site.alive()}")


def test_a_script_that_crashes_into_tee_is_no_success(site: Site) -> None:
    status, document, _ = launched(site, str(site.job("crash", env={"CRASH_AT": "7"})), "--wait")
    assert status == 1 and document["result"]["status"] != "finished", document
    eventually(site.is_clean, 15, "a clean node")


@pytest.mark.parametrize(("broken", "says"), [
    ({"image": "no-such-image:1"}, "no-such-image"), ({"setup": ["echo trying; ls /no/such/thing"]}, "/no/such/thing")])
def test_a_container_that_does_not_come_up_on_one_node_leaves_nothing_on_any(site: Site, broken: dict[str, Any], says: str) -> None:
    job = site.job("broken", container=broken)
    if "image" in broken:  # there is on n1 what is not on n2
        site.docker.docker("n1", "tag", IMAGE, broken["image"])
    status, document, _ = launched(site, str(job))
    assert status == 1 and document["error"], document
    text = json.dumps(document)
    assert says in text and "container" in document["error"]["what"]
    eventually(site.is_clean, 20, lambda: f"{[site.docker.containers(node) for node in NODES]} {site.alive()}")
    good, document, err = launched(site, str(site.job("broken")), "--wait")
    assert good == 0, (document, err)


def test_somebody_elses_container_of_that_name_is_in_the_way(site: Site) -> None:
    site.docker.docker("n2", "run", "-itd", "--net=host", "-v", "/usr:/usr:ro", "-v", f"{site.work}:{site.work}", "--device=/dev/davinci0", "--name", "rankdeck-mine", IMAGE, "/bin/bash")
    status, document, _ = launched(site, str(site.job("mine")))
    assert status == 1 and "rankdeck-mine" in json.dumps(document), document
    assert site.docker.containers("n2") == ["rankdeck-mine"] and site.docker.containers("n1") == []
    status, document, err = launched(site, str(site.job("mine", container={"reuse": "reuse"})), "--wait")
    assert status == 0, (document, err)
    time.sleep(1.5)  # a sweep has passed: what was there before is not ours to remove
    assert site.docker.containers("n2") == ["rankdeck-mine"]
    status, document, err = launched(site, str(site.job("mine", container={"reuse": "replace"})), "--wait")
    assert status == 0, (document, err)
    eventually(site.is_clean, 15, "a clean node")


def test_a_container_started_by_hand_is_adopted_and_left_alone(site: Site) -> None:
    log, go = site.work / "theirs.log", site.work / "go"
    go.write_text("")
    line = SCRIPT.partition('echo " [')[2].partition('"')[0].replace("$(printf %8d $at)", "       7").replace("$(printf %7d $TRAIN_ITERS)", "     20")
    line = line.replace("$((at * 8))", "56").replace("$(printf '%.6f' 5.$((99 - at)))", "5.5")
    (site.work / "theirs.sh").write_text(f'echo " [{line}"\nwhile [ -e {go} ]; do sleep 0.1; done\n')
    site.docker.docker("n1", "run", "-d", "--net=host", "-v", "/usr:/usr:ro", "-v", f"{site.work}:{site.work}", "-e", "RANK=3", "-e", "LOCAL_RANK=0",
                       "-e", "WORLD_SIZE=16", "--name", "theirs", IMAGE, "/bin/bash", "-c", f"bash {site.work}/theirs.sh > {log} 2>&1")
    eventually(lambda: log.exists() and "lm loss" in log.read_text(), 10, "their log")
    status, document, err = site.run("adopt", "theirs", "--node", "n1", "--container", "theirs")
    assert status == 0, (document, err)
    (adopted,) = document["nodes"]
    assert adopted["kind"] == "container" and adopted["processes"] and adopted["logs"], document
    status, document, err = site.run("stop", "theirs", "--yes-i-mean", "theirs", "--grace", "0")
    assert status == 1 and site.docker.containers("n1") == ["theirs"], (document, err)
    watching = site.start("attach", "--json", "theirs")
    go.unlink()
    document = json.loads(watching.communicate(timeout=40)[0])
    assert document["result"]["iteration"] == 7 and not document["ok"], document
    assert site.docker.containers("n1") == ["theirs"]


@pytest.mark.parametrize("phase", ["prepare", "container", "start"])
def test_a_console_that_is_killed_in_a_phase_leaves_nothing(site: Site, phase: str) -> None:
    # Slow enough to be met in the act; the start of n2 never comes when the console dies before it.
    job = site.job(f"killed-{phase}", container={"setup": ["sleep 1.5"]}, train={"iterations": 200})
    process = site.start("launch", str(job), program=IMPATIENT)
    assert process.stderr is not None
    wanted = {"prepare": "prepare done", "container": "prepare done", "start": "container done"}[phase]
    for line in process.stderr:
        if wanted in line:
            break
    else:
        raise AssertionError("it never came so far")
    if phase == "container":
        eventually(lambda: any(site.docker.containers(node) for node in NODES), 10, "a container")
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(site.is_clean, 30, lambda: f"{[site.docker.containers(node) for node in NODES]} {site.alive()}")
