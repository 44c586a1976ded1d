"""Attempts on disk: locks and who holds them, the two phases, and what is left of each when it is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import attempt as attempts
from agent import clock, jobs, processes, watch
from agent.follow import Follower
from agent.refusal import Refused
from tests.agent.conftest import ROOT, Node, rank_script, until


@pytest.fixture
def desk(node: Node) -> jobs.Desk:
    return new_desk(node)


def new_desk(node: Node) -> jobs.Desk:
    return jobs.Desk(node.home, Path(ROOT, "agent", "shim.py").read_text())


def lock(desk: jobs.Desk, attempt: str, epoch: int, devices: list, operator: str = "ann", ttl_s: float = 60.0, job: str = "job") -> Any:
    return desk.lock({"job": job, "attempt": attempt, "epoch": epoch, "devices": devices, "ttl_s": ttl_s}, operator)


def launch(node: Node, desk: jobs.Desk, attempt: str = "A", script: str = "sleep 60\n", epoch: int = 1) -> Path:
    desk.prepare(node.prepare_args(attempt, script, epoch), "ann")
    desk.commit({"attempt": attempt, "epoch": epoch}, "ann")
    return Path(node.dir(attempt))


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = clock.wall_s
    monkeypatch.setattr(clock, "wall_s", lambda: real() + seconds)


def state(node: Node, attempt: str) -> str:
    pointer = attempts.load(node.home.attempts, attempt)
    assert pointer is not None
    return attempts.passed(pointer)[-1][0]


# Locks

def test_a_launch_that_was_overtaken_hears_by_whom(desk: jobs.Desk) -> None:
    lock(desk, "B", 2, [0], operator="bob", job="other")
    with pytest.raises(Refused) as refused:
        lock(desk, "A", 1, [0, 1])
    assert "newer launch" in refused.value.error["what"] and "epoch 1, behind attempt B of job other, by bob" in refused.value.error["got"]


def test_a_held_device_is_refused_with_its_holder_and_nothing_is_taken(desk: jobs.Desk) -> None:
    assert lock(desk, "A", 1, [3, 1]) == {"locked": [1, 3]}
    with pytest.raises(Refused) as refused:
        lock(desk, "B", 2, [0, 3], operator="bob", job="other")
    error = refused.value.error
    assert "device 3" in error["what"] and "attempt A of job job, by ann" in error["got"]
    assert error["expected"] and error["next"] and error["where"]
    assert sorted(desk.locks.all()) == [1, 3]


def test_a_lock_says_whose_it_is_and_is_nobody_elses_to_read(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 7, [0])
    path = Path(node.home.locks) / "device-0.json"
    kept = json.loads(path.read_text())
    assert {name: kept[name] for name in ("job", "attempt", "epoch", "operator", "pid", "device")} == {
        "job": "job", "attempt": "A", "epoch": 7, "operator": "ann", "pid": os.getpid(), "device": 0}
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_same_attempt_may_lock_again(desk: jobs.Desk) -> None:
    lock(desk, "A", 1, [0])
    assert lock(desk, "A", 1, [0, 1]) == {"locked": [0, 1]}


@pytest.mark.parametrize(("job", "devices"), [("job", [7]), ("other", [0])])
def test_an_older_epoch_is_refused_even_after_the_newer_one_is_gone(desk: jobs.Desk, job: str, devices: list) -> None:
    lock(desk, "B", 20, [0])
    desk.abort({"attempt": "B", "why": ""}, "ann")
    assert desk.locks.all() == {}
    with pytest.raises(Refused) as refused:
        lock(desk, "A", 10, devices, job=job)
    assert refused.value.error["got"] == "epoch 10"
    lock(desk, "C", 20, devices, job=job)


def test_a_lock_that_nobody_prepared_lapses(desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(desk, "A", 1, [0], ttl_s=60.0)
    with pytest.raises(Refused):
        lock(desk, "B", 2, [0])
    pass_time(monkeypatch, 61.0)
    assert lock(desk, "B", 2, [0]) == {"locked": [0]}
    assert desk.locks.all()[0]["attempt"] == "B"


def test_locks_of_an_attempt_that_ended_or_died_are_taken_over(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 1, [0])
    folder = launch(node, desk, "A")
    with pytest.raises(Refused):
        lock(desk, "B", 2, [0])
    shim = json.loads((folder / "shim.json").read_text())
    os.kill(shim["pid"], signal.SIGKILL)
    until(lambda: not attempts.shim_lives(shim))
    with pytest.raises(Refused):
        lock(desk, "B", 2, [0])  # the shim is dead, its command is not
    os.killpg(shim["child_pid"], signal.SIGKILL)
    until(lambda: not attempts.command_lives(shim) and not processes.of_attempt("A", str(folder)))
    assert lock(desk, "B", 2, [0]) == {"locked": [0]}


def test_a_command_that_is_just_being_executed_has_a_claim(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 1, [0])
    folder = launch(node, desk, "A", "true\n")
    until((folder / "exit-command.json").exists)
    (folder / "exit-command.json").unlink()
    record = json.loads((folder / "shim.json").read_text())
    bare = node.spawn(["sleep", "60"], env={})
    found = processes.stat_of(bare.pid)
    assert found is not None and processes.of_attempt("A", str(folder)) == []
    (folder / "shim.json").write_text(json.dumps(dict(record, child_pid=bare.pid, child_start_ticks=found[3])))
    with pytest.raises(Refused):
        lock(desk, "B", 2, [0])


def test_a_reused_pid_is_not_taken_for_the_shim(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 1, [0])
    folder = launch(node, desk, "A", "true\n")
    until((folder / "exit-command.json").exists)
    (folder / "exit-command.json").unlink()
    other = node.spawn(["sleep", "60"])
    record = json.loads((folder / "shim.json").read_text())
    record["pid"] = other.pid
    (folder / "shim.json").write_text(json.dumps(record))
    assert lock(desk, "B", 2, [0]) == {"locked": [0]}


# Prepare and commit

def test_prepare_writes_the_attempt_and_commit_runs_it(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 5, [0, 1])
    assert desk.prepare(node.prepare_args("A", "echo ran in $PWD\n", 5), "ann") == {"dir": node.dir("A")}
    folder = Path(node.dir("A"))
    assert sorted(os.listdir(str(folder))) == ["command.sh", "job.json", "prepared.json", "shim.py"]
    kept = json.loads((folder / "prepared.json").read_text())
    assert {name: kept[name] for name in ("job", "attempt", "epoch", "node", "node_index", "operator", "devices")} == {
        "job": "job", "attempt": "A", "epoch": 5, "node": "n0", "node_index": 0, "operator": "ann", "devices": [0, 1]}
    assert (folder / "shim.py").read_text() == Path(ROOT, "agent", "shim.py").read_text()
    assert state(node, "A") == "prepared"
    pid = desk.commit({"attempt": "A", "epoch": 5}, "ann")["pid"]
    assert pid == json.loads((folder / "shim.json").read_text())["pid"]
    until((folder / "exit-command.json").exists)
    assert state(node, "A") == "exited"
    assert (folder / "launcher.log").read_text() == "ran in %s\n" % folder


def test_saying_prepare_or_commit_twice_is_harmless(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk, "A", "echo once >> ran\nsleep 60\n")
    first = desk.commit({"attempt": "A", "epoch": 1}, "ann")
    assert desk.commit({"attempt": "A", "epoch": 1}, "bob") == first
    assert new_desk(node).commit({"attempt": "A", "epoch": 1}, "bob") == first
    until((folder / "ran").exists)
    assert (folder / "ran").read_text() == "once\n"
    args = node.prepare_args("B", epoch=3)
    assert desk.prepare(args, "ann") == desk.prepare(args, "ann")


def test_commit_of_another_epoch_of_a_stranger_or_too_late_is_refused(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.prepare(node.prepare_args("A", epoch=5, ttl_s=60.0), "ann")
    for attempt, epoch in (("A", 4), ("A", 6), ("B", 5)):
        with pytest.raises(Refused):
            desk.commit({"attempt": attempt, "epoch": epoch}, "ann")
    pass_time(monkeypatch, 61.0)
    with pytest.raises(Refused) as refused:
        desk.commit({"attempt": "A", "epoch": 5}, "ann")
    assert "too late" in refused.value.what
    assert not Path(node.dir("A"), "committed.json").exists()


def test_prepared_and_not_committed_expires_without_a_trace(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(desk, "A", 1, [0], ttl_s=60.0)
    desk.prepare(node.prepare_args("A", ttl_s=60.0), "ann")
    assert desk.tidy() == 0
    pass_time(monkeypatch, 61.0)
    assert new_desk(node).tidy() == 1  # a resident that was started since
    assert os.listdir(str(node.work)) == [] and desk.locks.all() == {}
    assert state(node, "A") == "expired"


@pytest.mark.parametrize("killed_at", range(4))
def test_what_was_being_taken_away_when_its_resident_was_killed_is_taken_away_by_the_next(
        node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch, killed_at: int) -> None:
    class Killed(BaseException):
        pass

    def rmdir(*where: Any, **how: Any) -> None:
        if len(gone) == killed_at:
            raise Killed
        gone.append(where)
        real(*where, **how)

    real, gone = os.rmdir, []  # type: ignore[var-annotated]
    lock(desk, "A", 1, [0])
    desk.prepare(node.prepare_args("A"), "ann")
    with monkeypatch.context() as killing, pytest.raises(Killed):
        killing.setattr(os, "rmdir", rmdir)
        desk.abort({"attempt": "A", "why": "other node failed"}, "ann")
    assert os.listdir(str(node.work)) == [".rankdeck"]
    monkeypatch.setattr(watch, "_LOOK_S", 0.0)
    looks, batch = watch.Watch(node.home, {}, Follower), None
    for _ in range(3):
        batch = looks.poll(batch, 1 << 20)
    assert state(node, "A") == "aborted"    # recorded, and still known
    assert new_desk(node).tidy() == 1
    assert os.listdir(str(node.work)) == [] and desk.locks.all() == {}
    looks.poll(batch, 1 << 20)
    assert attempts.load_all(node.home.attempts) == []


def test_abort_takes_everything_away_and_only_what_was_not_committed(node: Node, desk: jobs.Desk) -> None:
    lock(desk, "A", 1, [0])
    desk.prepare(node.prepare_args("A"), "ann")
    assert desk.abort({"attempt": "A", "why": "other node failed"}, "ann") == {"released": [0]}
    assert os.listdir(str(node.work)) == []
    assert desk.abort({"attempt": "A", "why": ""}, "ann") == {"released": []}
    assert state(node, "A") == "aborted"
    launch(node, desk, "B")
    with pytest.raises(Refused):
        desk.abort({"attempt": "B", "why": ""}, "ann")


def test_abort_leaves_what_is_not_its_own(node: Node, desk: jobs.Desk) -> None:
    desk.prepare(node.prepare_args("A"), "ann")
    other = Path(node.dir("A")).parent / "n1"
    other.mkdir()
    desk.abort({"attempt": "A", "why": ""}, "ann")
    assert other.is_dir() and not Path(node.dir("A")).exists()


def test_prepare_that_cannot_be_written_leaves_nothing(node: Node, desk: jobs.Desk) -> None:
    args = node.prepare_args("A")
    args["files"] = {"a": "text", "a/b": "a is a file"}
    with pytest.raises(Refused) as refused:
        desk.prepare(args, "ann")
    assert refused.value.error["where"].startswith(node.dir("A"))
    assert os.listdir(str(node.work)) == [] and attempts.load_all(node.home.attempts) == []


def test_an_existing_directory_is_never_written_into(node: Node, desk: jobs.Desk) -> None:
    Path(node.dir("A")).mkdir(parents=True)
    Path(node.dir("A"), "precious").write_text("x")
    with pytest.raises(Refused):
        desk.prepare(node.prepare_args("A"), "ann")
    desk.abort({"attempt": "A", "why": ""}, "ann")
    assert Path(node.dir("A"), "precious").exists()


@pytest.mark.parametrize("change", [
    {"dir": "/etc"}, {"dir": "relative/.rankdeck/job/A/n0"}, {"dir": "/x/.rankdeck/job/A/n0/../../../../y"}, {"attempt": "../A"}, {"job": ""},
    {"files": {"../out": ""}}, {"files": {"/etc/x": ""}}, {"files": {"shim.json": ""}}, {"files": {"command.sh": ""}}, {"ttl_s": 0}])
def test_a_request_that_leads_elsewhere_is_refused(node: Node, desk: jobs.Desk, change: dict) -> None:
    with pytest.raises(Refused) as refused:
        desk.prepare(dict(node.prepare_args("A"), **change), "ann")
    assert refused.value.error["next"]
    assert os.listdir(str(node.work)) == []


def test_a_commit_whose_resident_died_in_between_is_carried_out_by_the_next(node: Node) -> None:
    code = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
from agent import jobs
from agent.home import Home
desk = jobs.Desk(Home(sys.argv[2]), open(sys.argv[1] + "/agent/shim.py").read())
desk.prepare(json.loads(sys.argv[3]), "ann")
desk._start = lambda pointer: os.kill(os.getpid(), signal.SIGKILL)
desk.commit({"attempt": "A", "epoch": 1}, "ann")
"""
    done = subprocess.run([sys.executable, "-c", code, ROOT, str(node.state), json.dumps(node.prepare_args("A", "echo ran\n"))], check=False)
    assert done.returncode == -signal.SIGKILL and state(node, "A") == "committed"
    assert new_desk(node).tidy() == 1
    until(Path(node.dir("A"), "exit-command.json").exists)
    assert Path(node.dir("A"), "launcher.log").read_text() == "ran\n"


def test_the_same_much_later_is_given_up_with_a_reason(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lock(desk, "A", 1, [0])
    desk.prepare(node.prepare_args("A", "echo ran\n"), "ann")
    monkeypatch.setattr(desk, "_start", lambda pointer: None)
    desk.commit({"attempt": "A", "epoch": 1}, "ann")
    pass_time(monkeypatch, 120.0)
    new_desk(node).tidy()
    record = json.loads(Path(node.dir("A"), "exit-command.json").read_text())
    assert (record["code"], record["signal"]) == (None, None) and "before it began" in record["why"]
    assert desk.locks.all() == {}


def test_a_shim_that_was_killed_leaves_an_end_with_a_reason(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk)
    shim = json.loads((folder / "shim.json").read_text())
    os.kill(shim["pid"], signal.SIGKILL)
    until(lambda: not attempts.shim_lives(shim))
    desk.tidy()
    assert state(node, "A") == "running"  # its command runs on
    os.killpg(shim["child_pid"], signal.SIGKILL)
    until(lambda: not attempts.command_lives(shim) and not processes.of_attempt("A", str(folder)))
    desk.tidy()
    assert state(node, "A") == "exited"
    assert "without writing a record" in json.loads((folder / "exit-command.json").read_text())["why"]


# Stop

def test_stop_ends_the_group_with_sigterm(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk, script="trap 'echo told; exit 3' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    until(lambda: "ready" in (folder / "launcher.log").read_text())
    assert desk.stop({"attempt": "A", "grace_s": 60.0, "why": "enough"}, "bob") == {"state": "stopping"}
    until((folder / "exit-command.json").exists)
    record = json.loads((folder / "exit-command.json").read_text())
    assert (record["code"], record["asked"]) == (3, True)
    assert state(node, "A") == "stopped" and desk.overdue() == []
    assert desk.stop({"attempt": "A", "grace_s": 0.0, "why": ""}, "bob") == {"state": "stopped"}
    kept = json.loads((folder / "stop.json").read_text())
    assert (kept["operator"], kept["why"]) == ("bob", "enough")


def test_who_ignores_sigterm_is_killed_after_the_grace_wherever_it_hid(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = "%s -c 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(\"deaf\", flush=True); time.sleep(600)'" % sys.executable
    folder = launch(node, desk, script="trap '' TERM\nsetsid %s &\n%s\n" % (stubborn, stubborn))
    until(lambda: (folder / "launcher.log").read_text().count("deaf") == 2)
    desk.stop({"attempt": "A", "grace_s": 60.0, "why": ""}, "bob")
    assert desk.overdue() == []
    pass_time(monkeypatch, 61.0)
    pointer, = new_desk(node).overdue()  # known to a resident that was started since
    assert jobs.kill(pointer, gently=False) >= 3
    until((folder / "exit-command.json").exists)
    assert state(node, "A") == "stopped"
    until(lambda: not processes.of_attempt("A", str(folder)), "the end of all processes")


def test_a_second_stop_can_shorten_the_grace_and_overwrites_nothing(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk, script="trap '' TERM\necho ready\nwhile :; do sleep 0.05; done\n")
    until(lambda: "ready" in (folder / "launcher.log").read_text())
    desk.stop({"attempt": "A", "grace_s": 600.0, "why": "first"}, "ann")
    desk.stop({"attempt": "A", "grace_s": 0.0, "why": "second"}, "bob")
    assert json.loads((folder / "stop.json").read_text())["why"] == "first"
    pointer, = desk.overdue()
    jobs.kill(pointer, gently=False)


def test_workers_are_killed_first_so_that_their_shims_can_tell(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk, script=rank_script("sh -c \"trap '' TERM; echo ready; while :; do sleep 0.05; done\"", before="trap '' TERM"))
    log = folder / "round-00" / "local_rank-0.log"
    until(lambda: "ready" in log.read_text())
    desk.stop({"attempt": "A", "grace_s": 0.0, "why": ""}, "ann")
    jobs.kill(desk.overdue()[0], gently=True)
    until((folder / "exit-command.json").exists)
    record = json.loads((folder / "round-00" / "exit-local_rank-0.json").read_text())
    assert (record["signal"], record["asked"]) == (9, True)


def test_what_nobody_says_trains_everywhere_ends_by_itself(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in ("A", "B", "C", "D"):
        desk.prepare(node.prepare_args(attempt, "sleep 60\n", 1), "ann")
        desk.commit(dict({"attempt": attempt, "epoch": 1}, **({} if attempt == "C" else {"settle_s": 300.0})), "ann")
    desk.commit({"attempt": "B", "epoch": 1, "settled": True}, "ann")
    assert desk.tidy() == 0
    pass_time(monkeypatch, 200.0)
    desk.commit({"attempt": "D", "epoch": 1, "hold_s": 300.0}, "ann")
    pass_time(monkeypatch, 101.0)
    assert desk.tidy() == 1 and state(node, "A") in ("stopping", "stopped")
    until(lambda: state(node, "A") == "stopped", "the end")
    # One was confirmed, one need not be, and of one its console was heard meanwhile.
    assert [state(node, attempt) for attempt in "BCD"] == ["running"] * 3
    assert "has been silent for 300 s" in json.loads(Path(node.dir("A"), "stop.json").read_text())["why"]
    for more in ({"settled": True}, {"hold_s": 300.0}):
        with pytest.raises(Refused) as refused:
            desk.commit(dict({"attempt": "A", "epoch": 1}, **more), "ann")
        assert "has been silent for 300 s" in refused.value.error["got"]
    pass_time(monkeypatch, 200.0)
    assert desk.tidy() == 1 and state(node, "D") in ("stopping", "stopped")


def test_stop_before_the_commit_is_an_abort(node: Node, desk: jobs.Desk) -> None:
    desk.prepare(node.prepare_args("A"), "ann")
    assert desk.stop({"attempt": "A", "grace_s": 1.0, "why": ""}, "ann") == {"state": "aborted"}
    with pytest.raises(Refused):
        desk.commit({"attempt": "A", "epoch": 1}, "ann")


def test_processes_of_another_nodes_attempt_are_left_alone(node: Node, desk: jobs.Desk) -> None:
    """Simulated nodes share one process table, and an attempt has the same id on all of them."""
    folder = launch(node, desk)
    other = node.spawn(["sleep", "60"], env=dict(os.environ, RANKDECK_ATTEMPT="A", RANKDECK_DIR=str(folder) + "-other"))
    desk.stop({"attempt": "A", "grace_s": 0.0, "why": ""}, "ann")
    pointer = attempts.load(node.home.attempts, "A")
    assert pointer is not None
    jobs.kill(pointer, gently=False)
    until((folder / "exit-command.json").exists)
    assert other.poll() is None


def test_the_list_of_attempts_has_their_state_and_end(node: Node, desk: jobs.Desk) -> None:
    folder = launch(node, desk, "A", "exit 3\n")
    desk.prepare(node.prepare_args("B", epoch=2), "ann")
    until((folder / "exit-command.json").exists)
    first, second = desk.jobs()["attempts"]
    assert (first["attempt"], first["state"], first["exit"]["code"], first["dir"]) == ("A", "exited", 3, str(folder))
    assert (second["attempt"], second["state"], second["exit"], second["epoch"]) == ("B", "prepared", None, 2)


def test_a_node_lists_the_newest_of_its_ended_attempts_and_all_others(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_CLOSED_KEPT", 2)
    for number in range(5):
        folder = launch(node, desk, "A%d" % number, "true\n", epoch=number)
        until((folder / "exit-command.json").exists)
        pointer = attempts.load(node.home.attempts, "A%d" % number)
        assert pointer is not None
        attempts.save(node.home.attempts, pointer.changed(closed=number != 1))
    new_desk(node).tidy()
    assert [each["attempt"] for each in desk.jobs()["attempts"]] == ["A1", "A3", "A4"]
    assert Path(node.dir("A0"), "exit-command.json").exists()
