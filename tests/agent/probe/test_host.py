from __future__ import annotations

from pathlib import Path

import pytest

from agent import wire
from agent.parse import proc
from agent.probe import host


def fake(root: Path, busy: int, idle: int) -> str:
    root.mkdir(exist_ok=True)
    (root / "stat").write_text("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 2 3 4\n" % (busy, idle), encoding="utf-8")
    (root / "loadavg").write_text("3.25 1.00 0.50 2/345 6789\n", encoding="utf-8")
    (root / "meminfo").write_text("MemTotal:       2097152 kB\nMemFree:         100000 kB\nMemAvailable:    524288 kB\n", encoding="utf-8")
    return str(root)


def test_processor_use_is_between_two_calls(tmp_path: Path) -> None:
    root = tmp_path / "proc"
    data, state = host.read(None, str(tmp_path), fake(root, 100, 900))
    assert data["cpu_pct"] is None
    assert data["absent"]["cpu_pct"] == "missing"
    data, state = host.read(state, str(tmp_path), fake(root, 175, 925))
    assert data["cpu_pct"] == 75.0
    assert (data["load1"], data["memory_used_mb"], data["memory_total_mb"]) == (3.25, 1536.0, 2048.0)
    assert "cpu_pct" not in data["absent"]
    data, state = host.read(state, str(tmp_path), fake(root, 175, 925))
    assert data["cpu_pct"] is None


def test_the_real_machine() -> None:
    _, state = host.read()
    data, _ = host.read(state)
    assert wire.problems_in("host", data) == []
    assert data["cores"] >= 1
    assert 0 < data["memory_used_mb"] <= data["memory_total_mb"]
    assert 0 < data["disk_used_mb"] <= data["disk_total_mb"]


def test_what_is_missing_or_nonsense_is_absent_with_a_reason(tmp_path: Path) -> None:
    data, state = host.read({"busy": 1, "all": 2}, str(tmp_path / "nowhere"), str(tmp_path))
    assert state == {}
    assert data["load1"] is None
    assert data["absent"]["load1"] == data["absent"]["disk_total_mb"] == "missing"
    for name in ("stat", "loadavg", "meminfo"):
        (tmp_path / name).write_text("\x00garbage", encoding="utf-8")
    data, _ = host.read({"busy": 1, "all": 2}, str(tmp_path), str(tmp_path))
    assert data["absent"]["cpu_pct"] == data["absent"]["load1"] == data["absent"]["memory_used_mb"] == "unparseable"


@pytest.mark.parametrize("text, expected", [
    ("4711 (python3) S 1 4700 4700 0 -1 4194560 1 0 0 0 5 3 0 0 20 0 9 0 987654 1 2", ("python3", "S", 1, 4700, 987654)),
    ("4711 (a) b (c) R 1 4700 4699 0 -1 4194560 1 0 0 0 5 3 0 0 20 0 9 0 987654 1 2", ("a) b (c", "R", 1, 4700, 987654)),
])
def test_process_stat(text: str, expected: object) -> None:
    found = proc.process_stat(text)
    assert found is not None
    assert (found["name"], found["state"], found["parent"], found["group"], found["start_ticks"]) == expected
    assert proc.process_stat("4711 (x) S") is None
    assert proc.process_stat("") is None


def test_environment_mounts_and_version() -> None:
    assert proc.environment(b"RANK=3\0EMPTY=\0A=b=c\0nonsense\0") == {"RANK": "3", "EMPTY": "", "A": "b=c"}
    assert proc.mounts("10.0.0.1:/x /mnt/my\\040disk nfs4 rw,relatime 0 0\nbroken\n") == [
        {"device": "10.0.0.1:/x", "path": "/mnt/my disk", "type": "nfs4", "options": "rw,relatime"}]
    assert proc.version_info("Version=23.0.7\n# no\nascendhal_version=7.35.19\n") == {"version": "23.0.7", "ascendhal_version": "7.35.19"}
