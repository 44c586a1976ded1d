"""A console that is killed in each phase of a launch: the nodes take it back, or, once it trains everywhere, any other console has it.

All cases are under way at once, each with a job name and agents of its own on the same two nodes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.console_process import eventually
from tests.hosts.rig.engines import Engines
from tests.hosts.site import IMPATIENT, NODES, Site, all_at_once

pytestmark = [pytest.mark.ssh, pytest.mark.timeout(500)]
SLOW = {"container": {"setup": ["sleep 2"]}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """``after``: it is killed as soon as it has said this; ``and_when``: and this is so on the nodes.

    ``hangs``: a node whose agent hangs from ``after`` until it has been killed.
    """

    after: str
    hangs: str = ""
    and_when: Callable[[Site], object] = lambda site: True
    blocks: dict[str, Any] = field(default_factory=dict)
    goes_on: bool = False
    by: signal.Signals = signal.SIGKILL


def attempt_file(name: str) -> Callable[[Site], object]:
    return lambda site: list(site.work.glob(f".rankdeck/*/*/{name if '/' in name else '*/' + name}"))


CASES = {
    "preflight": Case(after="preflight done"),
    "prepare": Case(after="preflight done", and_when=attempt_file("prepared.json"), blocks=SLOW),
    "container": Case(after="prepare done", and_when=Site.containers, blocks=SLOW),
    # It runs on the first node, and whether on the second nobody has heard.
    "start": Case(after="n2: container done", hangs="n2", and_when=attempt_file("n1/shim.json"), blocks={
        "container": {"setup": ["! grep -q 10.77.0.11 /proc/net/fib_trie || sleep 2"]}, "train": {"iterations": 100000}}),
    "rendezvous": Case(after="is started as attempt", blocks={"env": {"STOP_IN": "rendezvous"}}),
    "loading": Case(after="rendezvous done", blocks={"env": {"STOP_IN": "loading"}}),
    # The terminal's hang-up is no accident of the console: it leaves in good order.
    "hangup": Case(after="rendezvous done", blocks={"env": {"STOP_IN": "loading"}}, goes_on=True, by=signal.SIGHUP),
    "training": Case(after="iteration", and_when=lambda site: len(list(site.work.glob(".rankdeck/*/*/*/settled.json"))) == len(NODES),
                     blocks={"train": {"iterations": 100000}}, goes_on=True),
}


Found = dict[str, Any]


def go_through(case: Case, site: Site) -> Found:
    """What became of it: ``left`` on the nodes in the end, and what a second console found and did."""
    name = f"kill-{site.path.name}"
    process = site.start("launch", str(site.job(name, **case.blocks)), *(["--wait"] if name == "kill-training" else []), program=IMPATIENT)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if case.after in line:
            break
    else:
        raise AssertionError(f"it never came so far: {said}")
    hanging = site.resident(case.hangs) if case.hangs else 0
    if hanging:
        os.kill(hanging, signal.SIGSTOP)
    try:
        eventually(lambda: case.and_when(site), 20, f"{name} met in the act: {said}")
        process.send_signal(case.by)
        process.wait()
    finally:
        if hanging:
            os.kill(hanging, signal.SIGCONT)
    found: Found = {"said": "".join(said)}
    if case.goes_on:
        eventually(lambda: all(attempt_states(site).get(node) == "running" for node in NODES), 20, lambda: f"it to be found: {attempt_states(site)}")
        found |= {"alive": {node: site.alive(node) for node in NODES}, "shims": [shim_lives(path) for path in site.work.glob(".rankdeck/*/*/*/shim.json")],
                  "containers": site.containers(),
                  "stopped": site.run("stop", name, "--grace", "5", "--yes-i-mean", name)}
    return found | {"left": site.left_after(30)}


def shim_lives(path: Path) -> bool:
    """Whether the one shim that an attempt has had on a node is still there."""
    return "shim.py" in Path(f"/proc/{json.loads(path.read_text())['pid']}/cmdline").read_text()


def attempt_states(site: Site) -> dict[str, str]:
    """As a console that has seen nothing of it yet hears it from the nodes."""
    _, document, _ = site.run("ps")
    return {one["node"]: one["state"] for one in document["attempts"]}


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, docker: Engines, tmp_path_factory: pytest.TempPathFactory, node_python: str) -> Iterator[dict[str, Future[Found]]]:
    yield from all_at_once(request, docker, tmp_path_factory.mktemp("killed"), node_python, CASES, go_through)


@pytest.mark.parametrize("name", CASES)
def test_a_console_that_is_killed_in_a_phase(running: dict[str, Future[Found]], name: str) -> None:
    found = running[name].result(timeout=450)
    assert found["left"] == "", found
    if CASES[name].goes_on:
        # It has gone on as it was, and the second console's stop has ended it.
        assert all(found["alive"].values()) and found["shims"] == [True, True] and len(found["containers"]) == 2, found
        status, document, err = found["stopped"]
        assert status == 0 and document["ok"], json.dumps(document, indent=1) + err
