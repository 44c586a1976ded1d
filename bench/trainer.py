"""How long a training step takes, against the same step of a plain PyTorch GPT of the same shape.

``python -m trainer bench`` measures; one thread each, for both the same, since on a busy machine two threads
wait for each other. The target, 0.95 of the plain model's tokens/s, is judged by processor time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.result import Result, Samples, Skipped, ratio

ENTRY = Path(__file__).resolve().parents[1] / "trainer" / "__main__.py"


def run(rounds: int) -> Result:
    """Seconds of a step, 5 million parameters on the CPU."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("megatron") is None:
        raise Skipped("torch and megatron-core are not installed")
    command = [sys.executable, str(ENTRY), "bench", "--json", "--threads", "1", "--turns", str(rounds)]
    done = subprocess.run(command, env={**os.environ, "RANKDECK_DEVICE": "cpu"}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    samples = {
        name: Samples(name=f"{whose}, {what}", unit="s", values=tuple(told[name]))
        for whose, prefix in (("trainer", "trainer"), ("plain PyTorch", "plain"))
        for name, what in ((f"{prefix}_s", "clock"), (f"{prefix}_cpu_s", "processor"))}
    return Result(
        samples=tuple(samples.values()),
        ratios=(
            ratio("trainer over plain, processor", samples["trainer_cpu_s"], samples["plain_cpu_s"], at_most=round(1 / 0.95, 4)),
            ratio("trainer over plain, clock", samples["trainer_s"], samples["plain_s"])),
        notes=(f"{told['parameters'] / 1e6:.2f}M parameters, sequences of 256 x 4, {told['trainer_tokens_per_s']:.0f} against {told['plain_tokens_per_s']:.0f} tokens/s by the clock",))
