"""The whole chain at once: ``rankdeck demo`` as a user runs it, with real SSH, agents, ranks and checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.lab import remains
from tests.patience import PATIENCE_S

pytest.importorskip("asyncssh")
pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.timeout(900)]

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_S = 240.0
FIELDS = ["ok", "job", "nodes", "world_size", "iterations", "losses", "checkpoints", "faults", "resumed_from", "resume_s",
          "time_to_first_iteration_s", "seed"]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for root in tmp_path.glob("rankdeck-demo-*"):
        remains.clear(root)


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "console", "demo", *argv]


def environ(place: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(place)}


def left_of(place: Path) -> list[object]:
    """Processes and directories of demos under this place."""
    return [*(pid for pid, root in remains.marked().items() if place in root.parents), *place.glob("rankdeck-demo-*")]


def until(look: Callable[[], Any], what: Callable[[], str]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)
    return found


def headless(place: Path, *argv: str) -> dict[str, Any]:
    done = subprocess.run(command("--headless", "--json", *argv), capture_output=True, text=True, cwd=REPOSITORY,
                          env=environ(place), timeout=2 * DEADLINE_S)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert left_of(place) == []
    return document


def test_a_killed_rank_is_found_and_the_job_goes_on_as_if_nothing_had_happened(place: Path) -> None:
    broken = headless(place, "--iterations", "28", "--save-interval", "5", "--fault", "rank-killed@8", "--seed", "3")
    assert list(broken) == FIELDS
    assert broken["ok"] is True
    assert broken["nodes"] == ["node-1", "node-2"]
    assert broken["world_size"] == 4
    assert broken["iterations"] == {"first": 1, "last": 28, "count": 28}
    assert [iteration for iteration, _ in broken["losses"]] == list(range(1, 29))
    assert broken["checkpoints"] == [5, 10, 15, 20, 25, 28]
    (fault,) = broken["faults"]
    assert (fault["root_cause"]["node"], fault["root_cause"]["rank"]) == (fault["injected"]["node"], fault["injected"]["rank"])
    assert fault["root_cause"]["code"] == "SIGKILL"
    # A start that a starved machine let fail is a round of its own.
    assert fault["root_cause"]["round"] in (0, 1, 2)
    assert fault["detected_after_s"] >= 0
    assert broken["resumed_from"] in (5, 10, 15, 20)  # the fault comes as soon as iteration 8 has been seen
    assert broken["resume_s"] > 0
    assert broken["time_to_first_iteration_s"] > 0
    # Of the steps that were trained after the resume none may differ in its last digit.
    whole = headless(place, "--iterations", "28", "--save-interval", "5")
    assert whole["losses"] == broken["losses"]
    assert (whole["faults"], whole["resumed_from"], whole["resume_s"]) == ([], None, None)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_training_leaves_nothing(place: Path, number: signal.Signals) -> None:
    said = place / "said"
    with said.open("wb") as file:
        process = subprocess.Popen(command("--headless", "--json", "--iterations", "2000"), stdout=subprocess.PIPE, stderr=file,
                                   cwd=REPOSITORY, env=environ(place))
    try:
        until(lambda: b"first iteration" in said.read_bytes(), said.read_text)
        assert len(left_of(place)) > 10
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 128 + number
        assert out == b""
        assert left_of(place) == []
    finally:
        process.kill()
        process.wait()


class Terminal:
    """A console in tmux: keys in, screen out."""

    def __init__(self, place: Path) -> None:
        self._socket, self._place = str(place / "tmux.sock"), place

    def tmux(self, *argv: str) -> str:
        return subprocess.run(["tmux", "-S", self._socket, "-f", "/dev/null", *argv], capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def start(self, *argv: str) -> None:
        inside = {name: value for name, value in environ(self._place).items() if name not in ("TMUX", "TMUX_PANE")}
        subprocess.run(["tmux", "-S", self._socket, "-f", "/dev/null", "new-session", "-d", "-s", "t", "-x", "120", "-y", "36",
                        *command(*argv)], check=True, cwd=REPOSITORY, env={**inside, "TERM": "xterm-256color"}, timeout=PATIENCE_S)

    def pid(self) -> int:
        return int(self.tmux("display-message", "-p", "-t", "t", "#{pane_pid}"))

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "t")

    def running(self) -> bool:
        return bool(self.tmux("list-sessions"))

    def keys(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "t", *keys)


@pytest.fixture
def terminal(place: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    made = Terminal(place)
    yield made
    made.tmux("kill-server")


def iterations_in(place: Path) -> list[int]:
    """Every iteration record in the console's history, over all rounds; none while there is no history."""
    path = next(place.glob("rankdeck-demo-*/console-state/rankdeck/rankdeck.db"), None)
    if path is None:
        return []
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=PATIENCE_S) as history:
        if not history.execute("SELECT 1 FROM sqlite_master WHERE name = 'step'").fetchone():
            return []
        return [iteration for (iteration,) in history.execute("SELECT iteration FROM step ORDER BY id")]


@pytest.mark.tmux
def test_a_console_killed_mid_training_shows_every_iteration_once_when_opened_again(place: Path, terminal: Terminal) -> None:
    terminal.start()
    until(lambda: "Loss" in terminal.screen() and "/600" in terminal.screen(), terminal.screen)
    until(lambda: len(iterations_in(place)) >= 5, terminal.screen)
    os.kill(terminal.pid(), signal.SIGKILL)
    until(lambda: not terminal.running(), lambda: "the terminal outlived its console")
    seen = len(iterations_in(place))
    logs = next(place.glob("rankdeck-demo-*/work/.rankdeck/demo-gpt/*/*/round-00/local_rank-*.log")).parents[2]
    until(lambda: sum(path.read_text().count("] iteration ") for path in logs.glob("*/round-00/*.log")) > seen + 4,
          lambda: "training did not go on without the console")
    terminal.start()
    until(lambda: "demo-gpt" in terminal.screen() and len(iterations_in(place)) > seen + 4, terminal.screen)
    found = iterations_in(place)
    assert sorted(found) == list(range(1, len(found) + 1))
    terminal.keys("q")
    until(lambda: not terminal.running(), terminal.screen)
    assert left_of(place) == []


@pytest.mark.tmux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_screen_leaves_nothing(place: Path, terminal: Terminal, number: signal.Signals) -> None:
    terminal.start()
    until(lambda: "4/4 nodes up" in terminal.screen(), terminal.screen)
    os.kill(terminal.pid(), number)
    until(lambda: not terminal.running(), terminal.screen)
    assert left_of(place) == []


@pytest.mark.tmux
def test_a_kept_demo_goes_on_without_its_screen(place: Path, terminal: Terminal) -> None:
    terminal.start("--keep")
    until(lambda: "4/4 nodes up" in terminal.screen(), terminal.screen)
    terminal.keys("q")
    until(lambda: not terminal.running(), terminal.screen)
    (root,) = place.glob("rankdeck-demo-*")
    assert (root / "fleet.yaml").is_file()
    assert root in remains.marked().values()
    looked = subprocess.run([sys.executable, "-m", "console", "ps", "-i", str(root / "fleet.yaml"), "--json"], capture_output=True, text=True,
                            cwd=REPOSITORY, env=environ(place), timeout=DEADLINE_S)
    assert "demo-gpt" in looked.stdout, looked.stderr
    subprocess.run(command("--stop"), check=True, cwd=REPOSITORY, env=environ(place), timeout=DEADLINE_S)
    assert left_of(place) == []
