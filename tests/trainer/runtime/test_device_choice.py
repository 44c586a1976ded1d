"""Which device a rank takes, and what it refuses. Accelerators are stood in for."""

from __future__ import annotations

import gc
import os
from typing import Any

import pytest

from trainer.runtime import device
from trainer.runtime.errors import TrainerError


def test_what_is_named_is_taken() -> None:
    assert [device.choose({"RANKDECK_DEVICE": name}, npu_present=True) for name in ("cpu", "cuda", "npu", " CPU ")] == ["cpu", "cuda", "npu", "cpu"]


def test_an_npu_goes_before_whatever_torch_finds() -> None:
    assert device.choose({}, npu_present=True) == "npu"
    assert device.choose({}, npu_present=False) == ""


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(TrainerError, match=r"RANKDECK_DEVICE: unknown device \(got 'gpu', expected one of cpu, cuda, npu\)\. "):
        device.choose({"RANKDECK_DEVICE": "gpu"}, npu_present=False)


@pytest.mark.parametrize("collecting", [True, False])
def test_garbage_is_collected_behind_the_imports_as_it_was_before(collecting: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(ZeroDivisionError), device.uncollected():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is collecting
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("version", ["", "0.16.0", "0.17.0", "0.16.1.post1"])
def test_another_megatron_core_is_refused_in_four_parts(version: str) -> None:
    with pytest.raises(TrainerError) as caught:
        device.check_megatron_core(version)
    error = caught.value
    assert (error.where, error.got, error.expected) == ("megatron-core", version or "none installed", "0.16.1")
    assert error.fix == "Run: pip install megatron-core==0.16.1"
    assert str(error).startswith("megatron-core: this is not the megatron-core that the trainer adjusts (got ")


def test_the_pinned_megatron_core_is_taken() -> None:
    device.check_megatron_core("0.16.1")


@pytest.mark.parametrize(
    ("environ", "interface"),
    [
        ({"MASTER_ADDR": "127.0.1.1"}, "lo"),
        ({"MASTER_ADDR": "localhost"}, "lo"),
        ({}, "lo"),
        ({"MASTER_ADDR": "10.0.0.3"}, None),
        ({"MASTER_ADDR": "node001"}, None),
        ({"MASTER_ADDR": "127.0.1.1", "GLOO_SOCKET_IFNAME": "bond0"}, "bond0"),
    ],
)
def test_gloo_on_loopback(environ: dict[str, str], interface: str | None) -> None:
    device.bind_gloo(environ)
    assert environ.get("GLOO_SOCKET_IFNAME") == interface


@pytest.mark.parametrize(("timeout_s", "connect", "execute"), [(600.0, "600", "612"), (30.0, "120", "68"), (90000.0, "7200", "17340")])
def test_hccl_waits_as_long_as_the_job(timeout_s: float, connect: str, execute: str) -> None:
    environ: dict[str, str] = {}
    device.limit_hccl(environ, timeout_s)
    assert environ == {"HCCL_CONNECT_TIMEOUT": connect, "HCCL_EXEC_TIMEOUT": execute}
    device.limit_hccl(environ, 1.0)
    assert environ == {"HCCL_CONNECT_TIMEOUT": connect, "HCCL_EXEC_TIMEOUT": execute}, "what is set stays"


def test_every_kind_has_its_backend() -> None:
    assert device.BACKENDS == {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}


@pytest.mark.torch
def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    for name in ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "TORCH_DEVICE_BACKEND_AUTOLOAD", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("RANKDECK_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainerError, match="no CUDA device"):
        device.prepare(local_rank=0, threads=1, deterministic=False)


@pytest.mark.torch
def test_an_npu_is_readied_before_megatron_core(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    calls: list[Any] = []
    monkeypatch.setenv("RANKDECK_DEVICE", "npu")
    for name in ("OMP_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG", "HCCL_CONNECT_TIMEOUT", "HCCL_EXEC_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("HCCL_EXEC_TIMEOUT")
    monkeypatch.setattr(device, "_install_npu", lambda: calls.append(("torch_npu", os.environ["HCCL_EXEC_TIMEOUT"])))
    monkeypatch.setattr(device, "_import_megatron_core", lambda kind: calls.append(("megatron", kind)))
    monkeypatch.setattr(device.adjust, "apply", lambda kind: calls.append(("adjust", kind)))
    monkeypatch.setattr(torch, "npu", type("npu", (), {"set_device": staticmethod(lambda rank: calls.append(("set_device", rank)))}), raising=False)
    ready = device.prepare(local_rank=3, threads=1, deterministic=False, timeout_s=100.0)
    assert ready == device.Device(kind="npu", name="npu:3", backend="hccl")
    assert calls == [("torch_npu", "136"), ("set_device", 3), ("megatron", "npu"), ("adjust", "npu")]


@pytest.mark.torch
def test_torch_npu_that_cannot_be_loaded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(__import__("sys").modules, "torch_npu", None)
    with pytest.raises(TrainerError, match="torch_npu cannot be imported"):
        device._install_npu()
