"""The vendor's launchers in containers on two nodes: loss arrives, success is read in the log, a failure is told in their words.

All cases are under way at once, each with agents of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from console.store import read_records
from tests.hosts.rig.engines import FACTORY, Engines
from tests.hosts.site import NODES, Site, all_at_once

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(200)]


def factory(site: Site, dialect: str, *, env: dict[str, str] | None = None, **blocks: Any) -> Any:
    return site.job(site.path.name, container={"setup": [f"cd {FACTORY} && sh install.sh modellink"]}, env=env or {}, runner={
        "kind": "ascendfactory", "entry": "", "workdir": FACTORY, "setup": [f"source {FACTORY}/set_env.sh"],
        "ascendfactory": {"dialect": dialect, "model_name": "qwen2-7b", "exp_name": "full-4k", "scripts_dir": f"{FACTORY}/scripts_modellink"}}, **blocks)


def trains(site: Site, dialect: str) -> None:
    """From raw data and weights of Hugging Face, to which it comes back: all in its one command."""
    raw, weights, out = site.work / "raw.json", site.work / "hf", site.work / "exported"
    raw.write_text("[]")
    weights.mkdir()
    status, document, err = site.launch(factory(
        site, dialect, run={"mode": "sft", "seed": 7}, train={"seq_length": 128}, data={"input": str(raw), "prepare": True}, model={"weights": str(weights), "convert": True}, export={"dir": str(out)}), "--wait")
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    assert (document["result"]["status"], document["result"]["iteration"], document["result"]["total"]) == ("finished", 20, 20)
    losses = [event.data["lm_loss"] for event in read_records(site.store, "rig", kinds=["iteration"]) if event.data["attempt"] == document["attempt"]]
    assert losses == pytest.approx([5 + (999 - at) / 1e6 for at in range(1, 21)])
    for index, node in enumerate(document["nodes"]):
        lines = Path(node["dir"], "launcher.log").read_text().splitlines()
        training = " ".join(f"--backend_config.training.{word}" for word in (
            f"tokenizer-name-or-path={weights}", "micro-batch-size=1", "global-batch-size=16", "tensor-model-parallel-size=1", "pipeline-model-parallel-size=2", "seq-length=128",
            "train-iters=20", "seed=7", "save-interval=10"))
        told = {"v1": "qwen2-7b full-4k", "v2": f"--env.MASTER_ADDR=10.77.0.11 --env.NNODES=2 --env.NODE_RANK={index} --af_output_dir={site.work}/ckpt "
                f"--backend_config.preprocess_data.input={raw} {training}"}[dialect]
        assert lines[0] == f"given: train {node['dir']}/ascendfactory.yaml {told}" and f"prepares {raw}" in lines
        assert (f"converts {weights}" in lines) == (dialect == "v1")
    assert (out / "config.json").is_file() == (dialect == "v1")
    site.wait_clean()


def fails_in_training(site: Site, dialect: str, end: str) -> None:
    status, document, err = site.launch(factory(site, dialect, env={"AF_END": end}), "--wait")
    assert status == 1 and document["result"]["iteration"] == 7, json.dumps(document, indent=1) + err
    if end == "crash":
        error = document["error"]
        assert document["result"]["status"] == "failed" and error["what"] == "training failed on n2"
        assert "exit status 1 of: ascendfactory-cli train" in error["got"] and "NPU out of memory. Tried to allocate 2.00 GiB" in error["got"]
    else:
        assert document["result"]["status"] == "ended early"
    site.wait_clean()


def is_stopped(site: Site, dialect: str) -> None:
    status, document, err = site.launch(factory(site, dialect, env={"AF_END": "stay"}))
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    names = [name for node in NODES for name in site.docker.containers(node) if name in site.names]
    assert len(names) == 2 and len(site.locks()) == 16 and all(site.alive(node) for node in NODES)
    status, document, err = site.run("stop", site.path.name, "--grace", "1", "--yes-i-mean", site.path.name)
    assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
    site.wait_clean()


def is_given_what_it_does_not_take(site: Site) -> None:
    job = factory(site, "v2")
    job.write_text(job.read_text().replace("exp_name: full-4k", "exp_name: full-4k\n    backend: unheard-of"))
    status, document, _ = site.launch(job)
    error = document["error"]
    assert status == 1 and error["what"].startswith("rendezvous failed on n") and "exit status 2" in error["got"], document
    assert "backend, model or experiment is not known" in error["got"] and "launcher.log" in error["where"]
    site.wait_clean()


def crashes_into_tee(site: Site) -> None:
    status, document, err = site.launch(site.job("crash", env={"CRASH_AT": "7"}), "--wait")
    assert status == 1 and document["result"]["status"] == "failed" and document["result"]["iteration"] == 6, json.dumps(document, indent=1) + err
    assert "bash -o pipefail" in document["error"]["got"] and "RuntimeError: NPU out of memory" in document["error"]["got"]
    site.wait_clean()


def crashes_where_nobody_can_see_it(site: Site) -> None:
    # A shell without pipefail in between: the status is tee's.
    (site.work / "outer.sh").write_text(f"dash -c 'bash {site.work}/train.sh | tee outer.log'\n")
    (site.work / "train.sh").write_text((site.work / "train.sh").read_text().replace("bash -o pipefail -c train", "bash -c train").replace("\n", "\nset +o pipefail\n", 1))
    status, document, _ = site.launch(site.job("quiet", env={"CRASH_AT": "7"}, runner={"entry": str(site.work / "outer.sh")}), "--wait")
    assert status == 1 and document["result"]["status"] == "ended early" and document["result"]["iteration"] == 6, document
    site.wait_clean()


CASES: dict[str, Callable[[Site], None]] = {
    "ascendfactory-v1": partial(trains, dialect="v1"), "ascendfactory-v2": partial(trains, dialect="v2"),
    "ascendfactory-v1-crash": partial(fails_in_training, dialect="v1", end="crash"), "ascendfactory-v2-tee": partial(fails_in_training, dialect="v2", end="tee"),
    "ascendfactory-v1-stop": partial(is_stopped, dialect="v1"), "ascendfactory-v2-stop": partial(is_stopped, dialect="v2"),
    "ascendfactory-v2-refused": is_given_what_it_does_not_take, "script-tee": crashes_into_tee, "script-quiet": crashes_where_nobody_can_see_it}


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, docker: Engines, tmp_path_factory: pytest.TempPathFactory, node_python: str) -> Iterator[dict[str, Future[None]]]:
    yield from all_at_once(request, docker, tmp_path_factory.mktemp("runners"), node_python, CASES, lambda case, site: case(site))


@pytest.mark.parametrize("name", CASES)
def test_a_vendors_launcher(running: dict[str, Future[None]], name: str) -> None:
    running[name].result(timeout=150)
