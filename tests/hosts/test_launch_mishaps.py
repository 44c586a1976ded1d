"""What kills nodes' programs in the middle of a launch: the agent, the shim, the container engine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.hosts.console_process import eventually
from tests.hosts.site import Site

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(500)]


def begun(site: Site, job: Any, said: str, *words: str) -> Any:
    """A launch that has just said that; what else it says is not lost."""
    process = site.start("launch", "--json", str(job), *words)
    assert process.stderr is not None
    for line in process.stderr:
        if said in line:
            return process
    raise AssertionError(f"it never said {said}: {process.communicate()}")


def test_the_agent_is_killed_while_containers_are_made_and_while_it_trains(site: Site) -> None:
    job = site.job("agent-killed", container={"setup": ["sleep 2"]}, train={"iterations": 60})
    process = begun(site, job, "prepare done", "--wait")
    eventually(site.containers, 10, "a container")
    os.kill(site.resident("n2"), signal.SIGKILL)
    assert process.stderr is not None
    assert any("iteration" in line for line in process.stderr)
    for node in ("n1", "n2"):
        os.kill(site.resident(node), signal.SIGKILL)
    status, document, err = site.end_of(process)
    assert status == 0 and document["result"]["status"] == "finished" and document["result"]["iteration"] == 60, json.dumps(document, indent=1) + err
    site.wait_clean()


def test_the_shim_is_killed_and_the_job_goes_on(site: Site) -> None:
    process = begun(site, site.job("shim-killed", train={"iterations": 60}), "iteration", "--wait")
    for path in site.work.glob(".rankdeck/*/*/n2/shim.json"):
        os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
    status, document, err = site.end_of(process)
    assert status == 0 and document["result"]["iteration"] == 60, json.dumps(document, indent=1) + err
    site.wait_clean()


@pytest.fixture
def engine(site: Site) -> Any:
    """Ends n2's container engine; it is there again afterwards."""
    stopped: list[str] = []

    def stop() -> None:
        site.docker.stop("n2")
        stopped.append("n2")

    yield stop
    if stopped:
        site.docker.start("n2")


def test_the_engine_ends_before_the_containers_are_made(site: Site, engine: Callable[[], None]) -> None:
    engine()
    status, document, err = site.launch(site.job("no-engine"))
    error = document["error"]
    assert status == 1 and error["what"].startswith("container failed on n2"), json.dumps(document, indent=1) + err
    assert "Cannot connect to the Docker daemon" in error["got"] and "docker does not answer on this node" in error["got"], error
    assert not site.alive() and not site.locks()


def test_the_engine_ends_while_containers_are_made_and_what_it_left_goes_when_it_is_back(site: Site, engine: Callable[[], None]) -> None:
    process = begun(site, site.job("engine-lost", container={"setup": ["sleep 5"]}), "prepare done")
    eventually(lambda: "rankdeck-engine-lost on n2" in site.containers(), 10, "n2's container")
    engine()
    status, document, err = site.end_of(process)
    error = document["error"]
    assert status == 1 and error["what"].startswith("container failed on n2"), json.dumps(document, indent=1) + err
    assert "Its container may be left on n2" in error["fix"] and "Cannot connect to the Docker daemon" in error["fix"], error
    site.docker.start("n2")
    site.wait_clean(30)


def test_the_engine_is_restarted_under_a_job(site: Site) -> None:
    process = begun(site, site.job("engine-restarted", train={"iterations": 100000}), "iteration", "--wait")
    site.docker.stop("n2")
    site.docker.start("n2")
    status, document, err = site.end_of(process)
    error = document["error"]
    assert status == 1 and error["what"] == "training failed on n2", json.dumps(document, indent=1) + err
    site.wait_clean()
    status, document, err = site.launch(site.job("engine-restarted"), "--wait")
    assert status == 0, json.dumps(document, indent=1) + err
    site.wait_clean()
