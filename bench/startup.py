"""How long ``rankdeck --help`` takes, against importing the screen library it does not import."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.result import Result, Samples, ratio

COMMANDS = {
    "rankdeck --help": [str(Path(sys.executable).with_name("rankdeck")), "--help"],
    "import textual.app": [sys.executable, "-c", "import textual.app"],
    "python -c pass": [sys.executable, "-c", "pass"],
}


def seconds(argv: list[str]) -> float:
    """Wall time of a command that must succeed."""
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def run(rounds: int) -> Result:
    """Wall seconds of each command. Two rounds before the counted ones fill the caches."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(-2, rounds):
        for name, argv in COMMANDS.items():
            took = seconds(argv)
            if turn >= 0:
                taken[name].append(took)
    samples = {name: Samples(name=name, unit="s", values=tuple(values)) for name, values in taken.items()}
    return Result(samples=tuple(samples.values()), ratios=(
        ratio("--help over textual", samples["rankdeck --help"], samples["import textual.app"], at_most=0.8),))
