from __future__ import annotations

import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import List

import pytest

from agent.probe import command
from tests.patience import PATIENCE_S


def script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def alive(pid: int) -> bool:
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as opened:
            return opened.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_output_of_both_streams_and_status(tmp_path: Path) -> None:
    result = command.run([script(tmp_path / "t", "echo out; echo err >&2; exit 187\n")], PATIENCE_S)
    assert (result.status, result.reason) == (187, "")
    assert sorted(result.out.split()) == ["err", "out"]


def test_a_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert command.run([script(tmp_path / "t", "kill -9 $$\n")], PATIENCE_S).status == -signal.SIGKILL


def test_a_stuck_tool_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    tool = script(tmp_path / "t", "trap '' TERM\necho $$ > %s.tmp\nsleep 600 &\necho $! >> %s.tmp\nmv %s.tmp %s\necho half\nwait\n" % (pids, pids, pids, pids))
    result = command.run([tool], 6.0)
    assert (result.status, result.reason, result.out) == (None, "timeout", "half\n")
    for pid in [int(word) for word in pids.read_text(encoding="utf-8").split()]:
        until = time.monotonic() + PATIENCE_S
        while alive(pid) and time.monotonic() < until:
            time.sleep(0.01)
        assert not alive(pid)


def test_a_child_that_keeps_the_pipe_open_is_ended_too(tmp_path: Path) -> None:
    # The tool itself has ended, its child holds standard output: the time limit still holds.
    result = command.run([script(tmp_path / "t", "echo done\nsleep 600 &\n")], 6.0)
    assert (result.reason, result.out) == ("timeout", "done\n")


def test_a_flood_is_cut(tmp_path: Path) -> None:
    result = command.run([sys.executable, "-c", "import sys; sys.stdout.write('x' * 3000000)"], 60.0, output_limit=1000)
    assert (result.status, result.reason, len(result.out)) == (0, "", 1000)


def test_what_cannot_be_run(tmp_path: Path) -> None:
    assert command.run([str(tmp_path / "nothing")], 60.0).reason == "missing"
    plain = tmp_path / "plain"
    plain.write_text("x", encoding="utf-8")
    assert command.run([str(plain)], 60.0).reason == "denied"
    plain.chmod(0o755)
    assert command.run([str(plain)], 60.0).reason == "error"    # not a program


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    assert "\ufffd" in command.run([script(tmp_path / "t", "printf '\\377x'\n")], PATIENCE_S).out


def test_find_looks_on_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, driver = tmp_path / "bin", tmp_path / "driver"
    for folder in (first, driver):
        folder.mkdir()
    monkeypatch.setattr(command, "TOOL_DIRS", (str(driver),))
    environ = {"PATH": os.pathsep.join(["", str(first)])}
    assert command.find("npu-smi", environ) is None
    installed = script(driver / "npu-smi", "true\n")
    assert command.find("npu-smi", environ) == installed
    own = script(first / "npu-smi", "true\n")
    assert command.find("npu-smi", environ) == own
    (first / "hccn_tool").mkdir()
    assert command.find("hccn_tool", environ) is None


def test_nothing_is_left_over(tmp_path: Path) -> None:
    before: List[str] = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        command.run([script(tmp_path / "t", "exit 3\n")], PATIENCE_S)
    assert len(os.listdir("/proc/self/fd")) == len(before)
