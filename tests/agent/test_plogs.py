"""The process logs that CANN writes: found where the environment says, filed under their rank and device, few open at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

from agent import attempt, mounts, plogs, processes, watch
from agent.attempt import Pointer
from agent.follow import Follower
from agent.home import Home
from agent.processes import Process
from tests.agent.conftest import Node, rank_script, until

FAULT = "[ERROR] HCCL(%d,python):2026-11-22-05:10:01.516.606 [task_exception.cc:11][9]EI0002: notify wait timeout, number %d\n"
# Writes one line into its plog and one into that of its device, then again when "more" appears, until "go" is gone.
WORKER = r"""
import os, sys, time
go = sys.argv[1]
base = os.environ.get("ASCEND_PROCESS_LOG_PATH") or os.environ["HOME"] + "/ascend/log"
def write(name, number):
    path = "%s/%s_20261122051001516.log" % (base, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a") as file:
        file.write(FAULT % (os.getpid(), number))
write("debug/plog/plog-%d" % os.getpid(), 1)
write("debug/device-3/device-%d" % os.getpid(), 2)
while os.path.exists(go):
    if os.path.exists(go + ".more") and not os.path.exists("%s/run" % base):
        write("run/plog/plog-%d" % os.getpid(), 3)
    time.sleep(0.05)
write("debug/plog/plog-%d" % os.getpid(), 4)
""".replace("FAULT", repr(FAULT))


@pytest.fixture
def worker(tmp_path: Path) -> str:
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "go").write_text("")
    return "%s %s %s" % (sys.executable, tmp_path / "worker.py", tmp_path / "go")


def number_of(data: Dict[str, Any]) -> int:
    return int(data["text"].rpartition("number ")[2])


def test_of_an_attempt_under_rank_and_device(node: Node, worker: str, tmp_path: Path) -> None:
    node.start()
    console = node.console()
    folder = node.launch(console, "A", rank_script(worker, 1, "export ASCEND_PROCESS_LOG_PATH=$RANKDECK_DIR/plog"))
    first = console.wait(lambda m: m["t"] == "rec" and m["kind"] == "fault" and number_of(m["data"]) == 1)["data"]
    assert (first["job"], first["attempt"], first["round"], first["rank"], first["local_rank"]) == ("job", "A", 0, 0, 0)
    assert first["file"].startswith(folder + "/plog/debug/plog/plog-%d_" % first["pid"])
    device = console.wait(lambda m: m["t"] == "rec" and m["kind"] == "fault" and number_of(m["data"]) == 2)["data"]
    assert (device["device"], device["rank"]) == (3, 0)
    (tmp_path / "go.more").write_text("")     # a directory that appears later
    console.wait(lambda m: m["t"] == "rec" and m["kind"] == "fault" and number_of(m["data"]) == 3)
    listed = {one["path"]: one["plog"] for one in console.do("files", attempt="A")["files"]}
    assert listed[folder + "/launcher.log"] is False and listed[first["file"]] is True and listed[device["file"]] is True and len(listed) == 5
    os.unlink(str(tmp_path / "go"))           # the last words of a process that ends
    console.wait(lambda m: m["t"] == "rec" and m["kind"] == "fault" and number_of(m["data"]) == 4)
    console.record("exit", attempt="A", scope="command")
    console.settle()
    assert sorted(number_of(m["data"]) for m in console.records("fault")) == [1, 2, 3, 4]


def test_of_an_adopted_process_in_a_directory_that_others_share(node: Node, worker: str, tmp_path: Path) -> None:
    log = tmp_path / "home" / "ascend" / "log" / "debug" / "plog"
    log.mkdir(parents=True)
    (log / "plog-1_20261122051001516.log").write_text(FAULT % (1, 77))
    theirs = node.spawn(worker.split(), env=dict(os.environ, HOME=str(tmp_path / "home"), RANK="5", LOCAL_RANK="1"))
    node.start()
    console = node.console()
    assert console.ask("adopt", job="theirs", attempt="A", epoch=1, node="n0", node_index=0, what={"pid": theirs.pid})["ok"]
    found = console.wait(lambda m: m["t"] == "rec" and m["kind"] == "fault" and number_of(m["data"]) == 1)["data"]
    assert (found["rank"], found["local_rank"], found["pid"]) == (5, 1, theirs.pid)
    os.unlink(str(tmp_path / "go"))
    theirs.wait(20)
    console.record("exit", attempt="A", scope="command")
    console.settle()
    assert sorted(number_of(m["data"]) for m in console.records("fault")) == [1, 2, 4]


def watched(tmp_path: Path) -> "watch.Watch":
    home, folder = Home(str(tmp_path / "state")), tmp_path / "attempt"
    (folder / "round-00").mkdir(parents=True)
    for name in ("prepared", "committed"):
        (folder / (name + ".json")).write_text("{}")
    attempt.save(home.attempts, Pointer({"job": "j", "attempt": "a", "dir": str(folder), "epoch": 1, "node": "n", "node_index": 0}))
    return watch.Watch(home, {}, Follower)


def open_files(below: Path) -> List[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue
        if path.startswith(str(below)):
            found.append(path)
    return found


def polled(looks: "watch.Watch", stored: Any, times: int = 1) -> List[Dict[str, Any]]:
    records: List[Dict[str, Any]] = []
    for _ in range(times):
        stored = looks.poll(stored, 1 << 22)
        records += stored.records
    return records


def test_few_are_open_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plogs, "OPEN_MAX", 8)
    monkeypatch.setattr(plogs, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "_LOOK_S", 0.0)
    monkeypatch.setattr(watch, "_RANK_WAIT_S", 0.0)
    looks = watched(tmp_path)
    folder = tmp_path / "attempt" / "plog" / "debug" / "plog"
    folder.mkdir(parents=True)
    for pid in range(100, 140):
        (folder / ("plog-%d_20261122051001516.log" % pid)).write_text(FAULT % (pid, pid))
    records = [one for one in polled(looks, None, 3) if one["kind"] == "fault"]
    assert sorted(one["data"]["pid"] for one in records) == list(range(100, 140))
    assert len(open_files(folder)) <= 8
    for pid in range(100, 140):
        with open(str(folder / ("plog-%d_20261122051001516.log" % pid)), "a") as file:
            file.write(FAULT % (pid, 1000 + pid))
    records = [one for one in polled(looks, None, 2) if one["kind"] == "fault"]
    assert sorted(number_of(one["data"]) for one in records) == list(range(1100, 1140))
    assert len(open_files(folder)) <= 8


def test_one_that_its_process_deletes_is_read_to_its_end_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plogs, "LOOK_S", 0.0)
    monkeypatch.setattr(watch, "_LOOK_S", 0.0)
    monkeypatch.setattr(watch, "_RANK_WAIT_S", 0.0)
    looks = watched(tmp_path)
    folder = tmp_path / "attempt" / "round-00" / "plog" / "run" / "plog"
    folder.mkdir(parents=True)
    path = folder / "plog-7_20261122051001516.log"
    path.write_text(FAULT % (7, 1))
    assert [number_of(one["data"]) for one in polled(looks, None, 2) if one["kind"] == "fault"] == [1]
    with open(str(path), "a") as file:
        file.write(FAULT % (7, 2))
    path.unlink()
    assert [number_of(one["data"]) for one in polled(looks, None, 4) if one["kind"] == "fault"] == [2]
    assert open_files(folder) == []


@pytest.mark.parametrize("env, below", [
    ({"ASCEND_PROCESS_LOG_PATH": "/a/b", "ASCEND_WORK_PATH": "/w", "HOME": "/h"}, "/a/b"),
    ({"ASCEND_WORK_PATH": "/w", "HOME": "/h"}, "/w/log"), ({"HOME": "/h"}, "/h/ascend/log"), ({}, None), ({"ASCEND_PROCESS_LOG_PATH": "relative"}, None)])
def test_where_a_process_writes(env: Dict[str, str], below: Any) -> None:
    own = processes.stat_of(os.getpid())
    assert own is not None
    assert plogs.folder_of(Process(os.getpid(), own[1], own[2], own[3], env)) == below


def test_a_path_in_a_container_is_found_through_the_mounts() -> None:
    ours = [("8:1", "/", "/"), ("8:2", "/", "/data"), ("0:61", "/", "/var/lib/docker/overlay2/x/merged")]
    theirs = [("0:61", "/", "/"), ("8:2", "/jobs/j7", "/home/ma-user/work"), ("8:1", "/etc/hosts", "/etc/hosts")]
    assert mounts._through_mounts(theirs, ours, "/home/ma-user/work/plog")[0] == "/data/jobs/j7/plog"
    assert mounts._through_mounts(theirs, ours, "/root/ascend/log")[0] == "/var/lib/docker/overlay2/x/merged/root/ascend/log"
    assert mounts._through_mounts(theirs, ours, "/home/ma-user/worker")[0] == "/var/lib/docker/overlay2/x/merged/home/ma-user/worker"
    assert mounts._through_mounts(theirs, [("8:1", "/", "/")], "/home/ma-user/work/plog") == []
    assert mounts._through_mounts([("8:1", "/data", "/in")], [("8:1", "/", "/")], "/in/x") == ["/data/x"]
    assert mounts._through_mounts([("8:1", "/data", "/in")], [("8:1", "/data", "/out")], "/in") == ["/out"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a mount namespace")
def test_a_process_behind_a_bind_mount(tmp_path: Path) -> None:
    for name in ("host", "inside"):
        (tmp_path / name).mkdir()
    (tmp_path / "host" / "x.log").write_text("x")
    script = 'mount --bind %s %s && echo ready && read line' % (tmp_path / "host", tmp_path / "inside")
    child = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert child.stdout is not None
        if child.stdout.readline() != b"ready\n":
            pytest.skip("no mount namespaces here")
        seen = mounts.on_host(child.pid, str(tmp_path / "inside" / "x.log"))
        assert os.path.samefile(seen, str(tmp_path / "host" / "x.log")) and not seen.startswith("/proc/")
    finally:
        child.kill()
        child.communicate()


def test_the_clock_of_a_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        status = until(lambda: processes.stat_of(child.pid))
        assert abs(processes.began_at(status[3]) - os.stat("/proc/%d" % child.pid).st_ctime) < 60
        assert processes.inner_pid(child.pid) == child.pid
    finally:
        child.kill()
        child.communicate()
