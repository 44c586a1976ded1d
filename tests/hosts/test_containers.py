"""Jobs in real containers on real hosts behind a real bastion: they come up, are seen, and leave nothing."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from console.store import read_records
from tests.hosts.console_process import ROOT, eventually
from tests.hosts.rig.engines import IMAGE
from tests.hosts.site import LINE, NODES, Site

pytestmark = pytest.mark.ssh


def test_a_job_on_two_nodes_with_eight_devices_each(site: Site) -> None:
    waived = [{"id": "runner", "reason": "the image has no interpreter before /usr is mounted"}]
    status, document, err = site.launch(site.job("whole", container={"setup": ["echo set up >> /tmp/once"]}, preflight={"level": "standard", "waive": waived}), "--wait")
    assert status == 0 and document["ok"] and document["check"]["ok"], json.dumps(document, indent=1) + err
    assert document["result"]["status"] == "finished" and document["result"]["iteration"] == 20
    phases = {(node["node"], one["phase"]): one["state"] for node in document["nodes"] for one in node["phases"]}
    assert {phase for _, phase in phases} == {"preflight", "prepare", "container", "start", "rendezvous", "loading", "training"} and set(phases.values()) == {"done"}
    for index, node in enumerate(document["nodes"]):
        log = Path(node["dir"], "launcher.log").read_text()
        assert f"node {index} of 2 at 10.77.0.11:" in log and "with 8 devices" in log
    site.wait_clean()


@pytest.mark.torch
def test_torchrun_trains_across_two_containers(site: Site) -> None:
    prefix = os.path.realpath(sys.base_prefix)
    mounts = dict.fromkeys(["/usr", prefix, sys.prefix, str(ROOT)])
    status, document, err = site.launch(site.job(
        "torch", fleet={"npus_per_node": 1}, container={"mounts": [f"{path}:{path}:ro" for path in mounts if path == "/usr" or not path.startswith("/usr/")]},
        runner={"kind": "torchrun", "entry": "", "python": sys.executable, "trainer_dir": str(ROOT)}, parallel={"pipeline_model_parallel_size": 1},
        model={"preset": "tiny-llama", "size": "", "tokenizer": ""}, data={"format": "synthetic", "prefix": ""},
        train={"iterations": 6, "global_batch_size": 4}, checkpoint={"interval": 3}), "--wait")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    assert document["result"]["iteration"] == 6 and document["result"]["saved_iteration"] == 6 and 0 < document["result"]["loss"] < 20
    maps = [json.loads((Path(node["dir"]) / "round-00" / "rank_map.json").read_text()) for node in document["nodes"]]
    assert sorted(rank for found in maps for rank in found["ranks"]["rank"]) == [0, 1]
    site.wait_clean()


def test_stop_leaves_nothing_and_the_name_is_free_again(site: Site) -> None:
    job = site.job("long", train={"iterations": 100000})
    status, document, err = site.launch(job)
    assert status == 0, (document, err)
    log = Path(document["nodes"][0]["dir"], "launcher.log")
    eventually(lambda: log.exists() and "lm loss" in log.read_text(), 20, "loss")
    assert all(site.docker.containers(node) == ["rankdeck-long"] for node in NODES)
    again, refused, _ = site.launch(job)
    assert again == 1 and "already there" in refused["error"]["what"]
    status, document, err = site.run("stop", "long", "--grace", "5", "--yes-i-mean", "long")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    site.wait_clean()


def test_somebody_elses_container_of_that_name_is_in_the_way(site: Site) -> None:
    site.docker.docker("n2", "run", "-itd", "--net=host", "-v", "/usr:/usr:ro", "-v", f"{site.work}:{site.work}", "--device=/dev/davinci0", "--name", "rankdeck-mine", IMAGE, "/bin/bash")
    status, document, _ = site.launch(site.job("mine"))
    assert status == 1 and "rankdeck-mine" in json.dumps(document), document
    assert site.docker.containers("n2") == ["rankdeck-mine"] and site.docker.containers("n1") == []
    status, document, err = site.launch(site.job("mine", container={"reuse": "reuse"}), "--wait")
    assert status == 0, (document, err)
    time.sleep(1.5)  # a sweep has passed: what was there before is not ours to remove
    assert site.docker.containers("n2") == ["rankdeck-mine"]
    status, document, err = site.launch(site.job("mine", container={"reuse": "replace"}), "--wait")
    assert status == 0, (document, err)
    site.wait_clean()


def test_a_container_started_by_hand_is_adopted_and_left_alone(site: Site) -> None:
    site.names.add("theirs")
    log, go = site.work / "theirs.log", site.work / "go"
    go.write_text("")
    line = LINE.replace("$(printf %8d $at)", "       7").replace("$(printf %7d $TRAIN_ITERS)", "     20")
    line = line.replace("$((at * 8))", "56").replace("$(printf '%.6f' 5.$((99 - at % 90)))", "5.5")
    # CANN's own logs go below its home, which is a directory of the host's, named by the pid that it has in the container.
    plog = "$HOME/ascend/log/debug/plog"
    fault = "[ERROR] HCCL($$,python):2026-11-22-05:10:01.516.606 [x.cc:11][9]EI0002: notify wait timeout"
    (site.work / "theirs.sh").write_text(f'mkdir -p {plog}\necho "{fault}" > {plog}/plog-$$_20261122051001516.log\necho " {line}"\nwhile [ -e {go} ]; do sleep 0.1; done\n')
    site.docker.docker("n1", "run", "-d", "--net=host", "-v", "/usr:/usr:ro", "-v", f"{site.work}:{site.work}", "-v", f"{site.work}/home:/home/theirs", "-e", "HOME=/home/theirs", "-e", "RANK=3", "-e", "LOCAL_RANK=0",
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
    faults = [event.data for event in read_records(site.store, "rig", kinds=["fault"], job="theirs")]
    assert [(fault["code"], fault["rank"], fault["file"].partition("/ascend/")[0]) for fault in faults] == [("EI0002", 3, f"{site.work}/home")], faults
    assert site.docker.containers("n1") == ["theirs"]
