"""What a launch makes on a node before its start, and that it is taken away whatever happens. The engine is two shell scripts."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from agent import clock, jobs, processes
from agent.container_phase import ContainerPhase
from agent.refusal import Refused
from tests.agent.conftest import ROOT, Node, until

EPOCH = 7


@pytest.fixture
def desk(node: Node) -> jobs.Desk:
    return jobs.Desk(node.home, Path(ROOT, "agent", "shim.py").read_text())


def engine(node: Node) -> Path:
    """Where the engine has its containers: one file each."""
    path = node.base / "engine"
    path.mkdir(exist_ok=True)
    return path


def arguments(node: Node, attempt: str = "A", make: str = "", undo: str = "", **more: Any) -> dict:
    there = engine(node) / attempt
    return dict({"attempt": attempt, "epoch": EPOCH, "keep": False, "limit_s": 20.0,
                 "script": "set -euo pipefail\n" + (make or "echo making >&2; [ -e '%s' ] || echo x >> '%s'\n" % (there, there)),
                 "undo": undo or "rm -f '%s'; echo undone >> '%s.log'\n" % (there, there)}, **more)


def prepared(node: Node, desk: jobs.Desk, attempt: str = "A", script: str = "sleep 60\n", **more: Any) -> None:
    desk.prepare(dict(node.prepare_args(attempt, script, EPOCH), **more), "ann")


def make(node: Node, desk: jobs.Desk, attempt: str = "A", **more: Any) -> dict:
    args = arguments(node, attempt, **more)
    held = desk.hold(args, "ann")
    try:
        return desk.phase.make(held, args)
    finally:
        desk.rest(attempt)


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    real = clock.wall_s
    monkeypatch.setattr(clock, "wall_s", lambda: real() + seconds)


def test_it_is_made_once_however_often_it_is_asked_for(node: Node, desk: jobs.Desk) -> None:
    prepared(node, desk)
    assert make(node, desk)["said"] == "making"
    make(node, desk)
    assert (engine(node) / "A").read_text() == "x\n"
    assert "making" in Path(node.dir("A"), "container.log").read_text()
    assert Path(node.dir("A"), "container.sh").read_text() == arguments(node)["script"]
    desk.phase.sweep()
    assert (engine(node) / "A").exists()  # it waits for its commit


def test_what_failed_is_said_with_its_command_and_output(node: Node, desk: jobs.Desk) -> None:
    prepared(node, desk)
    with pytest.raises(Refused) as refused:
        make(node, desk, make="echo x > '%s'\nsetup() { ls /no/such/place; }\nsetup\n" % (engine(node) / "A"))
    error = refused.value.error
    assert "exit status 2 of: ls /no/such/place" in error["got"] and "No such file" in error["got"]
    assert error["where"].endswith("container.log") and error["next"]
    desk.abort({"attempt": "A", "why": "it failed"}, "ann")
    assert not (engine(node) / "A").exists() and not os.path.exists(node.dir("A"))


@pytest.mark.parametrize("end", ["abort", "expire", "new resident"])
def test_without_a_commit_it_is_gone(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    prepared(node, desk)
    make(node, desk, keep=True)  # to be kept is what has run
    if end == "abort":
        desk.abort({"attempt": "A", "why": ""}, "ann")
    else:
        pass_time(monkeypatch, 100.0)
        if end == "new resident":
            desk = jobs.Desk(node.home, "")
        desk.tidy()
    assert not (engine(node) / "A").exists() and not desk.phase.has("A") and not os.path.exists(node.dir("A"))
    with pytest.raises(Refused):
        make(node, desk)


def test_a_long_make_outlives_the_commits_time_limit_and_then_it_counts_again(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(node, desk, ttl_s=5.0)
    args = arguments(node, limit_s=1000.0)
    held = desk.hold(args, "ann")
    pass_time(monkeypatch, 500.0)
    assert desk.tidy() == 0
    desk.phase.make(held, args)
    desk.rest("A")
    assert desk.tidy() == 0
    pass_time(monkeypatch, 6.0)
    desk.tidy()
    assert not (engine(node) / "A").exists()


def test_an_abort_cuts_a_make_off_and_comes_back_for_what_the_engine_still_did(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(node, desk)
    began = engine(node) / "began"
    caught: list = []

    def work() -> None:
        try:
            make(node, desk, make="touch '%s'; sleep 100\n" % began)
        except Refused as refused:
            caught.append(refused)

    maker = threading.Thread(target=work)
    maker.start()
    until(began.exists, "the make")
    desk.abort({"attempt": "A", "why": "another node failed"}, "ann")
    maker.join(20)
    assert not maker.is_alive() and caught
    assert desk.phase.has("A") and desk.phase.due() == []
    (engine(node) / "A").write_text("the daemon was slow")
    pass_time(monkeypatch, 20.0)
    assert desk.phase.sweep() == 1
    assert not (engine(node) / "A").exists() and not desk.phase.has("A")


def test_an_undo_that_fails_is_tried_again(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(node, desk)
    gate = engine(node) / "gate"
    make(node, desk, undo="[ -e '%s' ] || { echo daemon away >&2; exit 1; }\nrm -f '%s'\n" % (gate, engine(node) / "A"))
    desk.abort({"attempt": "A", "why": ""}, "ann")
    assert (engine(node) / "A").exists() and desk.phase.has("A")
    assert desk.phase.due() == []  # not without pause
    gate.write_text("")
    pass_time(monkeypatch, 20.0)
    # The pointer of the ended attempt may be gone by then.
    os.unlink(os.path.join(node.home.attempts, "A.json"))
    assert ContainerPhase(node.home).sweep() == 1
    assert not (engine(node) / "A").exists() and not desk.phase.has("A")


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("how", ["by itself", "stopped", "stopped, the other choice"])
def test_after_the_end_it_is_removed_or_kept_by_choice(node: Node, desk: jobs.Desk, keep: bool, how: str) -> None:
    prepared(node, desk, script="exit 0\n" if how == "by itself" else "sleep 60\n")
    make(node, desk, keep=keep)
    desk.commit({"attempt": "A", "epoch": EPOCH}, "ann")
    if how != "by itself":
        desk.phase.sweep()
        assert (engine(node) / "A").exists()
        other = {"keep_container": not keep} if "other" in how else {}
        # Between fork and exec a signal would be the shim's own, and lost; a resident would send it again later.
        until(lambda: _runs("sleep", node.dir("A")), "the command")
        desk.stop(dict({"attempt": "A", "grace_s": 5.0, "why": ""}, **other), "ann")
    until(lambda: os.path.exists(os.path.join(node.dir("A"), "exit-command.json")), "the end")
    desk.phase.sweep()
    assert (engine(node) / "A").exists() is (keep != ("other" in how))
    assert not desk.phase.has("A")
    left = desk.left({"attempt": "A"})
    assert left["processes"] == [] and left["container"] is False and left["holders"] == []


def test_a_request_of_another_epoch_or_in_the_wrong_state_is_refused(node: Node, desk: jobs.Desk) -> None:
    prepared(node, desk)
    for wrong in ({"epoch": EPOCH + 1}, {"limit_s": 0}, {"limit_s": 1e9}, {"attempt": "B"}):
        with pytest.raises(Refused):
            desk.hold(arguments(node, **wrong), "ann")
    desk.commit({"attempt": "A", "epoch": EPOCH}, "ann")
    with pytest.raises(Refused):
        desk.hold(arguments(node), "ann")
    desk.stop({"attempt": "A", "grace_s": 1.0, "why": ""}, "ann")
    until(lambda: os.path.exists(os.path.join(node.dir("A"), "exit-command.json")), "the end")


def test_an_abort_tells_of_a_container_that_could_not_go_and_the_sweep_goes_on(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(node, desk)
    make(node, desk, undo="[ ! -e '%s/down' ] || { echo no daemon >&2; exit 1; }; rm -f '%s/A'\n" % (engine(node), engine(node)))
    (engine(node) / "down").touch()
    assert "no daemon" in desk.abort({"attempt": "A", "why": ""}, "ann")["left"]
    assert (engine(node) / "A").exists() and desk.phase.pending()
    (engine(node) / "down").unlink()
    pass_time(monkeypatch, 60.0)
    desk.phase.sweep()
    assert not (engine(node) / "A").exists() and not desk.phase.pending()


def test_a_time_limit_stops_as_an_operator_would(node: Node, desk: jobs.Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(node, desk, script="trap 'echo told; exit 5' TERM\nwhile :; do sleep 0.05; done\n", time_limit_s=50.0, stop_grace_s=9.0)
    desk.commit({"attempt": "A", "epoch": EPOCH}, "ann")
    assert desk.tidy() == 0 and not os.path.exists(os.path.join(node.dir("A"), "stop.json"))
    until(lambda: Path(node.dir("A"), "launcher.log").exists(), "the command")
    pass_time(monkeypatch, 60.0)
    assert desk.tidy() == 1
    until(lambda: os.path.exists(os.path.join(node.dir("A"), "exit-command.json")), "the end")
    note = json.loads(Path(node.dir("A"), "stop.json").read_text())
    end = json.loads(Path(node.dir("A"), "exit-command.json").read_text())
    assert "time limit of 50 s" in note["why"] and note["grace_s"] == 9.0 and note["operator"] == "rankdeck"
    assert end["asked"] is True
    assert desk.tidy() == 0


def test_over_the_wire(node: Node) -> None:
    node.start()
    console = node.console()
    console.do("prepare", **node.prepare_args("A", "sleep 60\n", EPOCH))
    assert console.do("container", **arguments(node))["said"] == "making"
    assert [one["container"] for one in console.do("jobs")["attempts"]] == [True]
    answer = console.ask("container", **arguments(node, make="exit 9\n"))
    assert not answer["ok"] or answer["result"]
    console.do("commit", attempt="A", epoch=EPOCH)
    console.do("stop", attempt="A", grace_s=5.0, why="")
    console.record("exit", attempt="A", scope="command")
    until(lambda: not (engine(node) / "A").exists(), "the container's end")
    until(lambda: console.do("left", attempt="A")["container"] is False, "its record's end")


def _runs(word: str, folder: str) -> bool:
    """Whether a process of the attempt is that program."""
    for process in processes.of_attempt("A", folder):
        try:
            if Path("/proc/%d/cmdline" % process.pid).read_bytes().split(b"\0")[0].endswith(word.encode()):
                return True
        except OSError:
            pass
    return False
