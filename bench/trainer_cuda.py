"""The step of ``bench.trainer`` on a CUDA device: against the plain model as it is and through torch.compile.

bf16 over fp32 parameters for all three, 124 million parameters, sequences of 1024 x 8. Besides tokens/s it tells
the share of what the device can do at most (MFU), for devices whose figure is known here. It has been written on a
machine without such a device.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

from bench.result import Result, Samples, Skipped, ratio
from bench.trainer import ENTRY

PEAK_TFLOPS = {"A100": 312.0, "H100": 989.0, "H200": 989.0, "H800": 989.0}
"""Part of a device's name -> dense bf16 TFLOP/s of its data sheet (SXM)."""

_NAME = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"


def run(rounds: int) -> Result:
    """Seconds of a step, 124 million parameters on the first CUDA device."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("megatron") is None:
        raise Skipped("torch and megatron-core are not installed")
    environ = {**os.environ, "RANKDECK_DEVICE": "cuda", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    device = subprocess.run([sys.executable, "-c", _NAME], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()
    if not device:
        raise Skipped("no CUDA device")
    peak = next((figure for part, figure in PEAK_TFLOPS.items() if part in device), 0.0)
    command = [
        sys.executable, str(ENTRY), "bench", "--json", "--shape", "124M", "--seq-length", "1024", "--batch-size", "8", "--compiled",
        "--peak-tflops", str(peak), "--turns", str(rounds)]
    done = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    whose = {"trainer": "trainer", "plain": "plain PyTorch", "compiled": "torch.compile"}
    samples = {one: Samples(name=name, unit="s", values=tuple(told[f"{one}_s"])) for one, name in whose.items()}
    rates = ", ".join(
        f"{name} {told[f'{one}_tokens_per_s']:.0f} tokens/s" + (f" ({told[f'{one}_mfu']:.1%} MFU)" if peak else "") for one, name in whose.items())
    return Result(
        samples=tuple(samples.values()),
        ratios=(
            ratio("trainer over plain", samples["trainer"], samples["plain"], at_most=round(1 / 0.95, 4)),
            ratio("trainer over torch.compile", samples["trainer"], samples["compiled"])),
        notes=(f"{device}: {rates}",))
