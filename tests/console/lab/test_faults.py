"""The fault injector: what may be asked for, and that it strikes a worker at its moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.lab import faults
from console.lab.fleet import DemoFleet
from tests.patience import PATIENCE_S

LINE = (" [2026-11-22 05:10:01.123456] iteration %8d/      60 | consumed samples:           80 | elapsed time per iteration (ms):"
        " 123.4 | lm loss: 5.550000000E+00 |\n")


def parse(text: str, seed: int = 1) -> faults.Fault:
    return faults.parse(text, rng=random.Random(seed), iterations=60, save_interval=10)


def test_iteration_time_and_random() -> None:
    assert parse("rank-killed@20") == faults.Fault(name="rank-killed", iteration=20)
    assert parse("rank-killed@1.5s") == faults.Fault(name="rank-killed", after_s=1.5)
    drawn = {parse("random", seed).iteration for seed in range(200)}
    assert min(filter(None, drawn)) >= 11
    assert max(filter(None, drawn)) <= 45
    assert len(drawn) > 20
    assert parse("random", 7) == parse("random", 7)


@pytest.mark.parametrize("text", ["rank-killed", "rank-killed@", "rank-killed@x", "rank-killed@60", "rank-killed@0", "gremlins@3", "@3", ""])
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(faults.FaultError) as found:
        parse(text)
    assert found.value.exit_code == 2


@pytest.mark.parametrize("name", faults.PLANNED)
def test_planned_faults_say_that_they_are_not_there_yet(name: str) -> None:
    with pytest.raises(faults.FaultError, match="not there yet") as found:
        parse(f"{name}@20")
    assert found.value.exit_code == 2


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[DemoFleet, list[subprocess.Popen[bytes]], Path]]:
    log = tmp_path / "work/.rankdeck/demo-gpt/20261122T051001Z-ab12/node-1/round-00/local_rank-0.log"
    log.parent.mkdir(parents=True)
    workers = []
    for at, node in enumerate(("node-1", "node-2")):
        (tmp_path / "nodes" / node).mkdir(parents=True)
        for local_rank in (0, 1):
            workers.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], env={
                **os.environ, "RANKDECK_SIM_NODE_DIR": str(tmp_path / "nodes" / node), "RANKDECK_ROUND": "0",
                "RANK": str(3 - 2 * at - local_rank), "LOCAL_RANK": str(local_rank)}))
    yield DemoFleet(root=tmp_path, kind="headless", lock=-1), workers, log
    for worker in workers:
        worker.kill()
        worker.wait()


def wait_done(injector: faults.Injector) -> faults.Injected:
    deadline = time.monotonic() + PATIENCE_S
    while not injector.done:
        assert time.monotonic() < deadline, "no fault was made"
        time.sleep(0.02)
    return injector.done[0]


def test_kills_one_worker_once_its_iteration_is_seen(place: tuple[DemoFleet, list[subprocess.Popen[bytes]], Path]) -> None:
    fleet, workers, log = place
    injector = faults.Injector(fleet, "demo-gpt", [parse("rank-killed@20")], random.Random(5))
    log.write_text(LINE % 18 + LINE % 19 + (LINE % 20)[:40])
    injector.start()
    time.sleep(10 * faults.POLL_S)
    assert injector.done == [], "half a line is no iteration"
    with log.open("a") as file:
        file.write((LINE % 20)[40:])
    done = wait_done(injector)
    injector.stop()
    ended = ended_of(workers)
    assert [worker.pid for worker in ended] == [done.pid]
    at = workers.index(ended[0])
    assert (done.node, done.local_rank, done.rank) == (f"node-{1 + at // 2}", at % 2, 3 - at)
    assert done.iteration == 20


def test_a_running_job_is_not_struck_for_what_is_over(place: tuple[DemoFleet, list[subprocess.Popen[bytes]], Path]) -> None:
    fleet, workers, log = place
    log.write_text(LINE % 20)
    injector = faults.Injector(fleet, "demo-gpt", [parse("rank-killed@20"), parse("rank-killed@21")], random.Random(5))
    injector.skip_past()
    injector.start()
    time.sleep(6 * faults.POLL_S)
    assert injector.done == []
    with log.open("a") as file:
        file.write(LINE % 21)
    assert wait_done(injector).fault.iteration == 21
    injector.stop()
    assert len(ended_of(workers)) == 1


def test_the_same_seed_draws_the_same_victim(place: tuple[DemoFleet, list[subprocess.Popen[bytes]], Path]) -> None:
    fleet, _workers, _log = place
    places = sorted((node, local_rank) for node in ("node-1", "node-2") for local_rank in (0, 1))
    expected = places[random.Random(11).randrange(4)]
    injector = faults.Injector(fleet, "demo-gpt", [faults.Fault(name="rank-killed", after_s=0.0)], random.Random(11))
    injector.start()
    done = wait_done(injector)
    injector.stop()
    assert (done.node, done.local_rank) == expected


def ended_of(workers: list[subprocess.Popen[bytes]]) -> list[subprocess.Popen[bytes]]:
    """The workers that have ended, once one has; another one has a moment more."""
    deadline = time.monotonic() + PATIENCE_S
    while all(worker.poll() is None for worker in workers):
        assert time.monotonic() < deadline, "no worker ends"
        time.sleep(0.02)
    time.sleep(0.5)
    return [worker for worker in workers if worker.poll() is not None]
