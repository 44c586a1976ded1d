"""Who holds which NPU, read from a /proc made of files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import wire
from agent.probe import occupancy

HEX = "ab" * 32


class Proc:
    """A /proc and a /dev of our own."""

    def __init__(self, base: Path) -> None:
        self.root, self.dev = base / "proc", base / "dev"
        self.root.mkdir()
        self.dev.mkdir()
        (self.root / "stat").write_text("cpu  1 2 3 4 5 6 7 8 0 0\nbtime 1795320000\n")
        for name in ("davinci0", "davinci1", "davinci10", "davinci_manager", "devmm_svm"):
            (self.dev / name).write_text("")

    def add(self, pid: int, opened: Any = (), cgroup: str = "0::/user.slice\n", environ: bytes = b"", ticks: int = 100) -> None:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "stat").write_text("%d (ray: (x) y) S 1 %d %d %s %d 0\n" % (pid, pid, pid, " ".join(["0"] * 15), ticks))
        (folder / "status").write_text("Name:\tpython\nUid:\t0\t0\t0\t0\n")
        (folder / "cgroup").write_text(cgroup)
        (folder / "environ").write_bytes(environ)
        for number, target in enumerate(opened):
            (folder / "fd" / str(number)).symlink_to(target)

    def read(self, processes: Any = None, **how: Any) -> dict[str, Any]:
        data = occupancy.read(processes, root=str(self.root), dev=str(self.dev), **how)
        assert wire.problems_in("occupancy", data) == []
        return data


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_a_process_is_told_with_its_container_its_job_and_since_when(proc: Proc) -> None:
    device = str(proc.dev / "davinci1")
    proc.add(4711, [device, device, str(proc.dev / "davinci_manager"), "/dev/null"], "0::/system.slice/docker-%s.scope\n" % HEX,
             b"RANKDECK_JOB=tiny\0RANKDECK_ATTEMPT=a1\0", ticks=50 * os.sysconf("SC_CLK_TCK"))
    proc.add(4712, ["/dev/null", "socket:[7]"])
    data = proc.read()
    assert data["devices"] == [0, 1, 10] and data["complete"]
    assert data["holders"] == [{"device": 1, "npu_id": None, "chip_id": None, "pid": 4711, "name": "ray: (x) y", "uid": 0, "user": "root", "since": 1795320050.0,
                                "container": HEX, "job": "tiny", "attempt": "a1", "source": "fd"}]


def test_davinci1_is_not_davinci10_and_a_device_that_went_is_still_held(proc: Proc) -> None:
    proc.add(1, [str(proc.dev / "davinci10")])
    proc.add(2, [str(proc.dev / "davinci1") + " (deleted)"])
    assert [(row["pid"], row["device"]) for row in proc.read()["holders"]] == [(1, 10), (2, 1)]


@pytest.mark.parametrize(("text", "container"), [
    ("12:devices:/docker/%s\n11:cpu:/docker/%s\n" % (HEX, HEX), HEX), ("0::/machine.slice/libpod-%s.scope/container\n" % HEX, HEX),
    ("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-%s.scope\n" % HEX, HEX), ("0::/user.slice/user-0.slice\n", None), ("", None)])
def test_the_container_is_read_from_the_cgroup(proc: Proc, text: str, container: str | None) -> None:
    proc.add(1, [str(proc.dev / "davinci0")], text)
    assert proc.read()["holders"][0]["container"] == container


def test_what_only_npu_smi_knows_is_told_as_such(proc: Proc) -> None:
    proc.add(5)
    processes = {"npu_id": [0, 3, 4], "chip_id": [0, 1, 0], "pid": [5, 99999, None], "name": ["python", "worker", None], "memory_mb": [1, 2, 3]}
    held, unseen = proc.read(processes)["holders"]
    assert (held["pid"], held["npu_id"], held["device"], held["source"], held["user"]) == (5, 0, None, "npu-smi", "root")
    assert (unseen["pid"], unseen["npu_id"], unseen["chip_id"], unseen["name"], unseen["user"]) == (99999, 3, 1, "worker", None)


def test_what_may_not_be_looked_into_is_said(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    proc.add(1, [str(proc.dev / "davinci0")])
    real = os.listdir

    def listdir(path: Any = ".") -> list[str]:
        if str(path).endswith("/fd"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    data = proc.read()
    assert data["holders"] == [] and data["complete"] is False and data["absent"] == {"holders": "denied"}


def test_a_scan_has_an_end(proc: Proc) -> None:
    proc.add(1, [str(proc.dev / "davinci0")])
    data = proc.read(budget_s=-1.0)
    assert data["complete"] is False and data["absent"] == {"holders": "timeout"}


def test_nothing_in_the_module_can_end_a_process() -> None:
    text = Path(sys.modules["agent.probe.occupancy"].__file__ or "").read_text(encoding="utf-8")
    assert "kill" not in text and "signal." not in text
