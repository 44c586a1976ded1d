"""The shim, as a program: what it writes down, what it survives, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import processes, shim
from tests.agent.conftest import ROOT, Node, until

SHIM = ROOT + "/agent/shim.py"


def prepared(node: Node, script: str) -> Path:
    folder = Path(node.dir("A"))
    folder.mkdir(parents=True)
    (folder / "command.sh").write_text(script)
    (folder / "prepared.json").write_text(json.dumps({"job": "job", "attempt": "A"}))
    return folder


def run(folder: Path, **how: Any) -> int:
    return subprocess.run([sys.executable, "-I", SHIM, "run", "--dir", str(folder)], check=False, **how).returncode


def load(path: Path) -> dict:
    data: dict = json.loads(path.read_text())
    return data


def ended(folder: Path) -> dict:
    until((folder / "exit-command.json").exists, "the exit record")
    return load(folder / "exit-command.json")


def rank(node: Node, *argv: str, **env: str) -> subprocess.Popen:
    folder = Path(node.dir("A"))
    folder.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, RANKDECK_DIR=str(folder), RANKDECK_JOB="job", RANKDECK_ATTEMPT="A", RANK="5", LOCAL_RANK="1", WORLD_SIZE="8")
    environment.update(env)
    # A session of its own, as torchrun gives each worker.
    return node.spawn([sys.executable, "-I", SHIM, "rank", "--", *argv], env=environment, start_new_session=True)


@pytest.mark.parametrize(("script", "code", "by_signal"), [("exit 0\n", 0, None), ("echo bad >&2; exit 7\n", 7, None), ("kill -9 $$\n", None, 9)])
def test_run_writes_how_the_command_ended(node: Node, script: str, code: int | None, by_signal: int | None) -> None:
    folder = prepared(node, "echo hello\n" + script)
    assert run(folder) == 0
    record = ended(folder)
    assert (record["code"], record["signal"], record["asked"]) == (code, by_signal, False)
    assert (record["job"], record["attempt"], record["scope"], record["round"], record["rank"]) == ("job", "A", "command", None, None)
    assert record["started"] <= record["ended"]
    assert (folder / "launcher.log").read_text().startswith("hello\n")
    shim_record = load(folder / "shim.json")
    assert shim_record["child_pid"] == record["pid"] and shim_record["boot_id"] == processes.boot_id()


def test_run_is_detached_and_outlives_its_caller_with_standard_input_closed(node: Node) -> None:
    folder = prepared(node, "sleep 30\n")
    caller = node.spawn(["bash", "-c", '"$0" -I "$1" run --dir "$2" <&- >&- 2>&-; exec sleep 60', sys.executable, SHIM, str(folder)])
    until((folder / "shim.json").exists)
    record = load(folder / "shim.json")
    assert os.getsid(record["pid"]) not in (os.getsid(0), caller.pid)
    assert os.getpgid(record["child_pid"]) == record["child_pid"] != os.getpgid(record["pid"])
    caller.kill()
    caller.wait()
    for unkind in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(record["pid"], unkind)
    assert processes.is_alive(record["pid"], record["start_ticks"], record["boot_id"])
    os.killpg(record["child_pid"], signal.SIGTERM)
    assert ended(folder)["signal"] == signal.SIGTERM
    until(lambda: not processes.is_alive(record["pid"], record["start_ticks"], None), "the shim's end")


def test_a_stop_that_comes_before_the_command_has_begun_is_not_lost(node: Node) -> None:
    """The command's process is held where it has not yet begun, told to stop, and let go."""
    folder = prepared(node, "sleep 60\n")
    held = node.base / "held"
    code = """
import os, sys, time
sys.path.insert(0, %r)
from agent import shim
def held():
    while os.path.exists(sys.argv[2]): time.sleep(0.01)
    signals()
signals, shim.default_signals = shim.default_signals, held
sys.exit(shim.run(sys.argv[1]))
""" % ROOT
    held.write_text("")
    assert subprocess.run([sys.executable, "-c", code, str(folder), str(held)], check=False).returncode == 0
    os.killpg(load(folder / "shim.json")["child_pid"], signal.SIGTERM)
    held.unlink()
    assert ended(folder)["signal"] == signal.SIGTERM


def test_of_two_shims_one_starts_the_command(node: Node) -> None:
    folder = prepared(node, "echo started\nsleep 1\n")
    calls = [node.spawn([sys.executable, "-I", SHIM, "run", "--dir", str(folder)]) for _ in range(4)]
    assert [call.wait() for call in calls] == [0] * 4
    ended(folder)
    assert run(folder) == 0
    assert (folder / "launcher.log").read_text() == "started\n"


def test_run_waits_for_what_the_shell_left_behind_in_its_group(node: Node) -> None:
    """bash dies of SIGTERM at once while the program it waits for is still saving a checkpoint."""
    folder = prepared(node, "(trap 'sleep 0.7; echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done)\ntrue\n")
    assert run(folder) == 0
    until(lambda: "ready" in (folder / "launcher.log").read_text())
    os.killpg(load(folder / "shim.json")["child_pid"], signal.SIGTERM)
    record = ended(folder)
    assert "saved" in (folder / "launcher.log").read_text()
    assert record["signal"] == signal.SIGTERM and record["ended"] >= record["command_ended"]


def test_asked_is_true_when_a_stop_was_requested(node: Node) -> None:
    folder = prepared(node, "while [ ! -e stop.json ]; do sleep 0.05; done\n")
    assert run(folder) == 0
    (folder / "stop.json").write_text("{}")
    assert ended(folder)["asked"] is True


def test_the_command_finds_its_attempt_in_the_environment(node: Node) -> None:
    folder = prepared(node, 'echo "$RANKDECK_ATTEMPT $RANKDECK_DIR"\n')
    run(folder)
    ended(folder)
    assert (folder / "launcher.log").read_text() == "A %s\n" % folder


def test_run_fails_aloud_where_nothing_can_be_written(node: Node) -> None:
    done = subprocess.run([sys.executable, "-I", SHIM, "run", "--dir", str(node.work / "nowhere")], stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"No such file" in done.stderr


def test_a_record_that_finds_the_disk_full_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = shim.write_new, [OSError(errno.ENOSPC, "No space left on device")] * 3
    monkeypatch.setattr(shim.time, "sleep", lambda seconds: None)

    def write(path: str, data: dict) -> bool:
        if failures:
            raise failures.pop()
        return real(path, data)

    monkeypatch.setattr(shim, "write_new", write)
    shim.write_exit(str(tmp_path / "exit.json"), {"code": 0}, 60.0)
    assert load(tmp_path / "exit.json") == {"code": 0}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert shim.write_new(str(tmp_path / "x.json"), {"a": 1}) is True
    assert shim.write_new(str(tmp_path / "x.json"), {"a": 2}) is False
    assert load(tmp_path / "x.json") == {"a": 1} and os.listdir(str(tmp_path)) == ["x.json"]


def test_rank_takes_the_next_round_each_time_and_tells_the_worker(node: Node) -> None:
    for number in range(3):
        assert rank(node, "sh", "-c", "echo round $RANKDECK_ROUND; exit %d" % number).wait() == number
        folder = Path(node.dir("A")) / ("round-%02d" % number)
        assert (folder / "local_rank-1.log").read_text() == "round %d\n" % number
        record = load(folder / "exit-local_rank-1.json")
        assert (record["round"], record["rank"], record["local_rank"], record["scope"]) == (number, 5, 1, "rank")
        assert (record["code"], record["signal"]) == (number, None)


def test_local_ranks_of_one_start_share_a_round_whatever_torchrun_counts(node: Node) -> None:
    for count in ("0", "3"):
        workers = [rank(node, "true", LOCAL_RANK=local_rank, TORCHELASTIC_RESTART_COUNT=count) for local_rank in ("0", "1")]
        assert [worker.wait() for worker in workers] == [0, 0]
    for place in ("round-00", "round-01"):
        assert sorted(os.listdir(os.path.join(node.dir("A"), place))) == [
            "exit-local_rank-0.json", "exit-local_rank-1.json", "local_rank-0.log", "local_rank-1.log"]
    assert sorted(os.listdir(node.dir("A"))) == ["round-00", "round-01"]


def test_rank_records_signal_9_and_dies_of_it(node: Node) -> None:
    child = rank(node, "sh", "-c", "kill -9 $$")
    assert child.wait() == -signal.SIGKILL
    record = load(Path(node.dir("A")) / "round-00" / "exit-local_rank-1.json")
    assert (record["code"], record["signal"]) == (None, 9)


def test_rank_passes_sigterm_on_once_and_ends_as_the_worker_does(node: Node) -> None:
    child = rank(node, sys.executable, "-u", "-c", """
import signal, sys, time
count = []
signal.signal(signal.SIGTERM, lambda *a: count.append(1))
print("ready", flush=True)
while not count: time.sleep(0.01)
time.sleep(0.3)
print("times", len(count), flush=True)
sys.exit(4)
""")
    log = Path(node.dir("A")) / "round-00" / "local_rank-1.log"
    until(lambda: log.exists() and "ready" in log.read_text())
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait() == 4
    assert "times 1" in log.read_text()


def test_the_worker_dies_with_its_shim(node: Node) -> None:
    child = rank(node, sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    log = Path(node.dir("A")) / "round-00" / "local_rank-1.log"
    worker = int(until(lambda: log.exists() and log.read_text()))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    until(lambda: not processes.is_alive(worker, None, None), "the worker's end")


def test_what_a_failed_worker_leaves_in_its_group_goes_with_it(node: Node) -> None:
    child = rank(node, "sh", "-c", "sleep 60 & echo $!; exit 1")
    assert child.wait() == 1
    left = int((Path(node.dir("A")) / "round-00" / "local_rank-1.log").read_text())
    until(lambda: not processes.is_alive(left, None, None), "the helper's end")


def test_a_worker_that_is_not_there_is_127_with_a_reason_in_its_log(node: Node) -> None:
    assert rank(node, "no-such-program").wait() == 127
    assert "no-such-program could not be started" in (Path(node.dir("A")) / "round-00" / "local_rank-1.log").read_text()


@pytest.mark.parametrize("words", [[], ["run"], ["rank"], ["rank", "--"], ["run", "--dir"]])
def test_wrong_usage_is_2(words: list) -> None:
    assert subprocess.run([sys.executable, "-I", SHIM, *words], stderr=subprocess.DEVNULL, check=False).returncode == 2
