"""The driver's library as a source, against a stand-in that is built here from C."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent import wire
from agent.probe import dcmi, npu
from tests.patience import PATIENCE_S

STUB = Path(__file__).with_name("stub_dcmi.c")


def built(folder: Path, source: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc or gcc) to build the stand-in for libdcmi.so")
    path = folder / "libdcmi.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(path), str(source)], check=True)
    return str(path)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return built(tmp_path_factory.mktemp("dcmi"), STUB)


@pytest.fixture(scope="module")
def library_950(tmp_path_factory: pytest.TempPathFactory) -> str:
    return built(tmp_path_factory.mktemp("dcmi-950"), STUB.with_name("stub_dcmi_950.c"))


def by_tool(timeout_s: float) -> dict:
    return {"source": "npu-smi"}


def test_the_same_record_comes_from_the_library(library: str) -> None:
    source = dcmi.Source(library, start_s=PATIENCE_S, sample_s=PATIENCE_S)
    try:
        data = source.read()
        assert wire.problems_in("sample", data) == []
        columns = data["columns"]
        assert data["source"] == "dcmi" and data["driver_version"] == "25.2.0" and data["complete"]
        # The third unit of each card is its MCU.
        assert columns["npu_id"] == [0, 0, 4, 4] and columns["chip_id"] == [0, 1, 0, 1] and columns["phy_id"] == [8, 9, 10, 11]
        assert columns["health"] == ["OK", "OK", "Alarm", "Alarm"] and columns["name"] == ["910B3"] * 4
        assert columns["power_w"] == [93.1, None, 93.1, None]
        assert columns["temperature_c"] == [37, 38, 37, None]  # 0x7ffd is no temperature
        assert columns["aicore_pct"] == [0, 1, 40, 41] and data["absent"] == {"npu_pct": "unsupported"}
        assert columns["hbm_used_mb"] == [3416, 3417, 3416, 3417] and columns["hbm_total_mb"] == [65536] * 4
        assert columns["memory_used_mb"][0] == 3171 and columns["hugepages_used"][0] == 2 and columns["bus_id"][0] == "0000:C1:00.0"
        processes = data["processes"]
        assert processes["npu_id"] == [0] and processes["memory_mb"] == [7746] and processes["name"][0]
        assert processes["pid"] != [os.getpid()]  # it is the helper's: the library never gets into the agent
        assert source.read()["columns"] == columns
    finally:
        source.close()
    assert not source.running


@pytest.mark.parametrize(("fault", "reason"), [("denied", "denied"), ("init-hangs", "timeout"), ("hangs", "timeout"), ("crashes", "error"), ("no-cards", "missing")])
def test_what_fails_is_named_and_the_tool_takes_over(library: str, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str) -> None:
    monkeypatch.setenv("DCMI_STUB", fault)
    limit_s = 0.5 if "hangs" in fault else PATIENCE_S
    source = dcmi.Source(library, start_s=limit_s, sample_s=limit_s)
    with pytest.raises(dcmi.Failed) as caught:
        source.read()
    assert caught.value.reason == reason and not source.running

    monkeypatch.setattr(dcmi, "START_S", 0.5)
    both = npu.Npu(library=library, tool=by_tool)
    both._source = source
    assert both.read()["source"] == "npu-smi" and both.why.startswith(reason)
    monkeypatch.delenv("DCMI_STUB")
    assert both.read()["source"] == "npu-smi"  # not asked again at once
    both._not_before = 0.0
    source._start_s = source._sample_s = PATIENCE_S
    assert both.read()["source"] == "dcmi" and both.why == ""
    both.close()


def test_without_the_library_there_is_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANKDECK_DCMI", "")
    assert dcmi.find() is None
    assert npu.Npu(tool=by_tool).read() == {"source": "npu-smi"}
    broken = tmp_path / "libdcmi.so"
    broken.write_text("not a library")
    both = npu.Npu(library=str(broken), tool=by_tool)
    assert both.read() == {"source": "npu-smi"} and both.why.startswith("missing")


def test_a_950_is_asked_by_logical_devices(library_950: str) -> None:
    source = dcmi.Source(library_950, start_s=PATIENCE_S, sample_s=PATIENCE_S)
    try:
        data = source.read()
    finally:
        source.close()
    assert wire.problems_in("sample", data) == []
    columns = data["columns"]
    assert data["source"] == "dcmi" and data["driver_version"] == "26.0.rc1" and data["complete"]
    assert columns["npu_id"] == [0, 1, 2, 3] and columns["phy_id"] == [8, 9, 10, 11]  # in their order; the fifth is a CPU
    assert columns["chip_id"] == [None] * 4 and columns["name"] == ["950PR", "950PR", None, "950PR"]
    assert columns["health"] == ["OK", "Critical", "OK", "OK"] and columns["temperature_c"] == [56, 56, 56, None]
    assert columns["power_w"] == [204.4, 204.5, 204.6, 204.7] and columns["npu_pct"] == [None, 10, 20, 30]  # 255 is no percentage
    assert columns["hbm_used_mb"] == [4439, 4440, 4441, 4442] and columns["bus_id"] == ["0000:91:00.0", "0000:92:00.0", "0000:93:00.0", None]
    assert data["absent"] == dict.fromkeys(("chip_id", "aicore_pct", "memory_used_mb", "memory_total_mb", "hugepages_used", "hugepages_total"), "unsupported")
    assert data["processes"]["npu_id"] == [1] and data["processes"]["chip_id"] == [None] and data["processes"]["memory_mb"] == [77]


@pytest.mark.parametrize(("fault", "reason"), [("denied", "denied"), ("neither", "unsupported"), ("none", "missing"), ("hangs", "timeout")])
def test_a_950_that_refuses_leaves_it_to_the_tool(library_950: str, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str) -> None:
    monkeypatch.setenv("DCMI_STUB", fault)
    both = npu.Npu(library=library_950, tool=by_tool)
    both._source = dcmi.Source(library_950, start_s=PATIENCE_S, sample_s=0.5 if fault == "hangs" else PATIENCE_S)
    try:
        assert both.read()["source"] == "npu-smi" and both.why.startswith(reason)
    finally:
        both.close()
