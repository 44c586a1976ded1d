"""The device a rank trains on: cpu (gloo), cuda (nccl) or npu (hccl), readied before megatron-core is imported.

``prepare`` is called once, first of all in the runtime: it fixes what must be fixed before torch is
imported, imports torch, (torch_npu,) megatron.core in that order, and applies the adjustments. Nothing
else in the runtime asks what kind of device there is. cuda and npu have been written from documentation
and have not run on such a device yet.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import ipaddress
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from trainer.runtime import adjust
from trainer.runtime.errors import TrainerError

Kind = Literal["cpu", "cuda", "npu"]

BACKENDS: Mapping[str, str] = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
MEGATRON_CORE_VERSION = "0.16.1"
VARIABLE = "RANKDECK_DEVICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A readied device."""

    kind: Kind
    name: str
    """As torch takes it, e.g. ``cpu`` or ``npu:3``."""
    backend: str
    """Of the process group."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection; what has been made by the end is never looked at again.

    Importing torch makes some 400,000 objects that stay. Looking through them time and again is a tenth of a
    start, and later a hundred milliseconds of a step now and then.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


@uncollected()
def prepare(*, local_rank: int, threads: int, deterministic: bool, timeout_s: float = 600.0) -> Device:
    """Ready this process for its device. ``threads``: CPU threads within one operation; ``timeout_s``: how long a
    rank waits for its peers.

    Raises TrainerError for an unknown device, one that is not there, or another megatron-core.
    """
    kind = choose(os.environ, npu_present=_npu_present())
    check_megatron_core(_installed("megatron-core"))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if kind != "npu":
        # With torch_npu installed and no CANN, even ``import torch`` fails when it loads its extensions.
        os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    if kind == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        bind_gloo(os.environ)
    import torch

    name = "cpu"
    if kind == "npu":
        limit_hccl(os.environ, timeout_s)
        _install_npu()
    if not kind:
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "cpu":
            bind_gloo(os.environ)
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise TrainerError("no CUDA device", got=f"torch {torch.__version__} without one", expected="a visible GPU", fix=f"Unset {VARIABLE} or set it to cpu")
        torch.cuda.set_device(local_rank)
        name = f"cuda:{local_rank}"
    elif kind == "npu":
        torch.npu.set_device(local_rank)
        name = f"npu:{local_rank}"
    torch.set_num_threads(threads)
    _import_megatron_core(kind)
    adjust.apply(kind)
    if deterministic:
        # Not every accelerator has a deterministic kernel for everything; the CPU has. The other way to say
        # this, use_deterministic_algorithms, imports inductor (0.7 s).
        torch.set_deterministic_debug_mode("error" if kind == "cpu" else "warn")
    return Device(kind=kind, name=name, backend=BACKENDS[kind])  # type: ignore[arg-type]


def choose(environ: Mapping[str, str], *, npu_present: bool) -> str:
    """The kind named by RANKDECK_DEVICE, else npu where there is one, else "" (cuda or cpu, as torch says).

    Raises TrainerError for a name that is none.
    """
    named = environ.get(VARIABLE, "").strip().lower()
    if named and named not in get_args(Kind):
        raise TrainerError("unknown device", where=VARIABLE, got=repr(named), expected="one of cpu, cuda, npu", fix="Unset it to have it found")
    return named or ("npu" if npu_present else "")


def check_megatron_core(installed: str) -> None:
    """Raises TrainerError unless the installed version (empty: none) is the one the trainer was written for."""
    if installed != MEGATRON_CORE_VERSION:
        raise TrainerError(
            "this is not the megatron-core that the trainer adjusts",
            where="megatron-core", got=installed or "none installed", expected=MEGATRON_CORE_VERSION,
            fix=f"Run: pip install megatron-core=={MEGATRON_CORE_VERSION}",
        )


def bind_gloo(environ: Any) -> None:
    """Let gloo use the loopback interface where the master is on it, unless an interface is named.

    Without a name gloo resolves the machine's own host name, which may lead anywhere or nowhere.
    """
    try:
        loopback = ipaddress.ip_address(environ.get("MASTER_ADDR", "127.0.0.1")).is_loopback
    except ValueError:
        loopback = environ.get("MASTER_ADDR") == "localhost"
    if loopback:
        environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def limit_hccl(environ: Any, timeout_s: float) -> None:
    """Let HCCL wait for a peer about as long as the job does, where the environment does not say otherwise.

    It has limits of its own: HCCL_CONNECT_TIMEOUT to connect (120 to 7200 s), which must be alike on all nodes, and
    HCCL_EXEC_TIMEOUT within a collective (1836 s by default, in steps of 68 s on some hardware, and at most 17340):
    CANN environment variable reference. Rounded up, so that torch's own limit, with its better message, comes first.
    """
    environ.setdefault("HCCL_CONNECT_TIMEOUT", str(min(7200, max(120, math.ceil(timeout_s)))))
    environ.setdefault("HCCL_EXEC_TIMEOUT", str(min(17340, 68 * math.ceil(timeout_s / 68.0))))


def _import_megatron_core(kind: str) -> None:
    # It says in many places that neither Transformer Engine nor Apex is there; the local parts are meant. What
    # torch announces for its future concerns megatron-core, which is pinned.
    for category in (UserWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=r"megatron\.core|torch\.distributed")
    with adjust.importing(kind):
        import megatron.core.dist_checkpointing.strategies.torch
        import megatron.core.models.gpt
        import megatron.core.optimizer  # noqa: F401


def _installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _npu_present() -> bool:
    return importlib.util.find_spec("torch_npu") is not None and any(Path("/dev").glob("davinci[0-9]*"))


def _install_npu() -> None:
    try:
        import torch_npu  # noqa: F401
        from torch_npu.contrib import transfer_to_npu  # noqa: F401
    except ImportError as error:
        raise TrainerError(
            "torch_npu cannot be imported", where=str(error), got="no usable Ascend PyTorch", expected="torch_npu and CANN",
            fix="Source the CANN set_env.sh and install the torch_npu that matches torch",
        ) from error
