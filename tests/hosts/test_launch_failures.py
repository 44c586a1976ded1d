"""A launch that fails on one node, in each of its phases: nothing is left on the other, it is said why, and the next one works.

All cases are under way at once, each with a work directory, a job name and agents of its own on the same two nodes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.hosts.rig.engines import IMAGE, Engines
from tests.hosts.rig.network import run
from tests.hosts.site import Site, all_at_once

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(500)]
ON_N2 = "grep -q 10.77.0.12 /proc/net/fib_trie"


@dataclass(frozen=True, kw_only=True)
class Case:
    """``blocks``: what is wrong with the job; ``says``: what the error has to name besides node and phase."""

    phase: str
    says: tuple[str, ...]
    blocks: dict[str, Any] = field(default_factory=dict)
    work_on_n2: str = ""
    mended_by: str = ""
    """A shell's line on n2; WORK is the work directory."""


CASES = {
    # A work directory that cannot be written.
    "preflight": Case(phase="preflight", says=("cannot be written",), work_on_n2="ro", mended_by="mount -o remount,rw WORK"),
    # Room for a few files, but not for all of them.
    "prepare": Case(phase="prepare", says=("No space left on device",), work_on_n2="nr_inodes=14", mended_by="mount -o remount,nr_inodes=10000 WORK"),
    # What S3's step 3 runs in the container.
    "container": Case(phase="container", says=("exit status", "pip install -r requirements.txt", "no mirror here"),
                      blocks={"container": {"setup": [f"pip() {{ ! {ON_N2} || {{ echo no mirror here; return 3; }}; }}; pip install -r requirements.txt"]}}),
    "image": Case(phase="container", says=("docker run -itd", "only-on-n1:1"), blocks={"container": {"image": "only-on-n1:1"}}),
    # A disk that is full by the time of the start.
    "start": Case(phase="start", says=("No space left on device",), work_on_n2="size=3m", mended_by="rm WORK/fill",
                  blocks={"container": {"setup": [f"! {ON_N2} || dd if=/dev/zero of=WORK/fill bs=64k 2>/dev/null || true"]}}),
    "rendezvous": Case(phase="rendezvous", says=("exit status 7", "train.sh", "RuntimeError: it broke in rendezvous"), blocks={"env": {"FAIL_IN": "rendezvous"}}),
    "loading": Case(phase="loading", says=("exit status 7", "train.sh", "RuntimeError: it broke in loading"), blocks={"env": {"FAIL_IN": "loading"}}),
    "training": Case(phase="training", says=("exit status 7", "train.sh", "RuntimeError: it broke in training"), blocks={"env": {"FAIL_IN": "training"}}),
}


Ended = tuple[int, dict[str, Any], str]


Found = tuple[Ended, str, Ended, str]


def go_through(case: Case, site: Site) -> Found:
    """How the launch ended, what was left, how the next one ended when the fault was mended, what was left."""
    name = f"fail-{site.path.name}"
    blocks = json.loads(json.dumps(case.blocks).replace("WORK", str(site.work)))
    first = site.launch(site.job(name, **blocks), *(["--wait"] if case.phase == "training" else []))
    left = site.left_after(25)
    if case.mended_by:
        run(*site.docker.network.enter("n2"), "sh", "-c", case.mended_by.replace("WORK", str(site.work)))
        site.populate()
    second = site.launch(site.job(name), "--wait")
    return first, left, second, site.left_after(25)


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, docker: Engines, tmp_path_factory: pytest.TempPathFactory, node_python: str) -> Iterator[dict[str, Future[Found]]]:
    docker.docker("n1", "tag", IMAGE, "only-on-n1:1")
    yield from all_at_once(request, docker, tmp_path_factory.mktemp("failures"), node_python, CASES, go_through, lambda case: {"work_on_n2": case.work_on_n2})
    docker.docker("n1", "rmi", "only-on-n1:1")


@pytest.mark.parametrize("name", CASES)
def test_a_failure_on_one_node_leaves_nothing_on_any_and_the_next_launch_works(running: dict[str, Future[Found]], name: str) -> None:
    case = CASES[name]
    (status, document, err), left, (again, next_document, next_err), left_again = running[name].result(timeout=450)
    error = document["error"]
    assert status == 1 and error, json.dumps(document, indent=1) + err
    assert case.phase in error["what"] and "n2" in error["what"] + error["where"], error
    for words in case.says:
        assert words in json.dumps(error, ensure_ascii=False), (words, error)
    cells = {(node["node"], one["phase"]): one["state"] for node in document["nodes"] for one in node["phases"]}
    assert cells["n2", case.phase] == "failed" and cells["n1", case.phase] == "undone" and "running" not in cells.values(), cells
    assert left == ""
    assert again == 0 and next_document["result"]["status"] == "finished", json.dumps(next_document, indent=1) + next_err
    assert left_again == ""
