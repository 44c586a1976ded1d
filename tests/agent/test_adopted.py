"""Jobs that somebody else started: followed like our own, and left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest

from tests.agent.conftest import LINE, Console, Node, until

TRAINER = """
import os, subprocess, sys, time
if len(sys.argv) > 2:  # the launcher
    workers = [subprocess.Popen([sys.executable, sys.argv[0], sys.argv[1]],
                                env=dict(os.environ, RANK=str(8 + at), LOCAL_RANK=str(at), WORLD_SIZE="16", LOCAL_WORLD_SIZE="2")) for at in range(2)]
    for worker in workers:
        worker.wait()
else:
    while os.path.exists(sys.argv[1]):
        time.sleep(0.05)
"""


@pytest.fixture
def console(node: Node) -> Console:
    node.start()
    return node.console()


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A launcher with two ranks, its output in a file, until tmp_path/go is removed."""
    (tmp_path / "go").write_text("")
    (tmp_path / "trainer.py").write_text(TRAINER)
    with open(str(tmp_path / "theirs.log"), "wb") as log:
        child = subprocess.Popen([sys.executable, str(tmp_path / "trainer.py"), str(tmp_path / "go"), "launch"], stdout=log, stderr=log, start_new_session=True)
    yield child
    try:
        os.unlink(str(tmp_path / "go"))
    except OSError:
        pass
    child.wait(20)


def adopt(console: Console, attempt: str = "A", **what: Any) -> dict:
    return console.ask("adopt", job="theirs", attempt=attempt, epoch=1, node="n0", node_index=0, what=what)


def write(path: Path, first: int, last: int) -> None:
    with open(str(path), "a") as file:
        for at in range(first, last + 1):
            file.write(LINE % (at, at, at * 8, 5.0) + "\n")


def test_a_process_with_its_ranks_and_its_log_until_its_end(node: Node, console: Console, theirs: subprocess.Popen, tmp_path: Path) -> None:
    answer = adopt(console, pid=theirs.pid)
    assert answer["ok"], answer
    assert answer["result"]["kind"] == "process" and answer["result"]["logs"] == [str(tmp_path / "theirs.log")]
    assert answer["result"]["dir"].startswith(str(node.state) + os.sep)
    console.record("job", attempt="A", state="adopted")
    console.record("job", attempt="A", state="running")
    ranks = console.wait(lambda m: m["t"] == "rec" and m["kind"] == "rank_map" and m["data"]["complete"])["data"]
    assert ranks["ranks"]["rank"] == [8, 9] and ranks["world_size"] == 16
    write(tmp_path / "theirs.log", 1, 3)
    console.record("iteration", attempt="A", iteration=3)

    stop = console.ask("stop", attempt="A", grace_s=1.0, why="no")
    assert not stop["ok"] and "only watched" in stop["error"]["what"]
    assert theirs.poll() is None
    os.unlink(str(tmp_path / "go"))
    end = console.record("exit", attempt="A", scope="command")
    assert end["code"] is None and end["asked"] is False
    console.record("job", attempt="A", state="exited")
    until(lambda: theirs.poll() == 0, "its own end")


def test_a_log_alone_until_it_is_released(console: Console, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    write(log, 1, 2)
    assert adopt(console, logs=[str(log)])["ok"]
    console.record("iteration", attempt="A", iteration=2)
    write(log, 3, 3)
    console.record("iteration", attempt="A", iteration=3)
    console.do("abort", attempt="A", why="")
    assert console.record("job", attempt="A", state="exited")["why"].startswith("released")
    assert log.exists()


def test_a_new_resident_goes_on_watching(node: Node, theirs: subprocess.Popen, tmp_path: Path) -> None:
    first = node.start()
    console = node.console()
    assert adopt(console, pid=theirs.pid)["ok"]
    console.record("job", attempt="A", state="running")
    first.kill()
    first.wait()
    node.start()
    console = node.console()
    write(tmp_path / "theirs.log", 1, 5)
    console.record("iteration", attempt="A", iteration=5)
    os.unlink(str(tmp_path / "go"))
    console.record("exit", attempt="A", scope="command")


@pytest.mark.parametrize("what", [{}, {"pid": 1 << 30}, {"logs": ["relative.log"]}, {"logs": ["/no/such/file"]}, {"container": "no-such-container"}, {"logs": "x"}])
def test_what_is_not_there_is_refused_and_leaves_nothing(node: Node, console: Console, what: dict) -> None:
    answer = adopt(console, **what)
    assert not answer["ok"] and answer["error"]["next"]
    assert console.do("jobs")["attempts"] == [] and not os.path.exists(os.path.join(node.home.path, "adopted"))


def test_an_attempt_is_adopted_once(console: Console, tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("x\n")
    assert adopt(console, logs=[str(log)])["ok"]
    assert not adopt(console, logs=[str(log)])["ok"]
    assert [one["adopted"] for one in console.do("jobs")["attempts"]] == [True]
