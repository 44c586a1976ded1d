"""Finds the benches, runs those asked for, prints a table and writes JSON."""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import pkgutil
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import bench
from bench.result import Result, Skipped, as_mapping


def found() -> dict[str, Callable[[int], Result]]:
    """Name -> run of every bench in this package."""
    modules = [importlib.import_module(f"bench.{info.name}") for info in pkgutil.iter_modules(bench.__path__) if info.name != "__main__"]
    return {module.__name__.rpartition(".")[2]: module.run for module in modules if hasattr(module, "run")}


def table(name: str, result: Result) -> str:
    """The result as lines of text."""
    rows = []
    for samples in result.samples:
        low, high = samples.quartiles
        rows.append((samples.name, f"{samples.median:.3f} {samples.unit}", f"{low:.3f} to {high:.3f}", f"n={len(samples.values)}"))
    for item in result.ratios:
        low, high = item.quartiles
        verdict = "" if item.at_most is None else f"{'met' if item.met else 'MISSED'} (at most {item.at_most:g})"
        rows.append((item.name, f"{item.median:.2f}", f"{low:.2f} to {high:.2f}", verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([name, *lines, *(f"  note: {note}" for note in result.notes)])


def main() -> int:
    """0; 1 when a bench failed, or with --strict when a target was missed."""
    benches = found()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure; median, and quartiles as spread.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(benches)}")
    parser.add_argument("--rounds", type=int, default=15, help="times each thing is measured (default %(default)s)")
    parser.add_argument("--strict", action="store_true", help="exit 1 when a target is missed")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for the JSON (default %(default)s)")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(benches))
    if unknown:
        parser.error(f"no bench is called {', '.join(unknown)}; there are {', '.join(benches)}")

    # So that what a bench has started is ended with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    results: dict[str, Result] = {}
    failed = False
    for name in arguments.names or benches:
        try:
            results[name] = benches[name](arguments.rounds)
        except Skipped as why:
            print(f"{name}\n  skipped: {why}", flush=True)
            continue
        except Exception as error:  # noqa: BLE001  one bench that breaks does not cost the others
            failed = True
            print(f"{name}\n  FAILED: {type(error).__name__}: {error}", flush=True)
            continue
        print(table(name, results[name]), flush=True)
    now = datetime.datetime.now(datetime.timezone.utc)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({
        "time": now.isoformat(timespec="seconds"), "python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count(),
        "benches": {name: as_mapping(result) for name, result in results.items()}}, indent=1) + "\n")
    print(f"written to {path}")
    missed = any(not item.met for result in results.values() for item in result.ratios)
    return int(failed or (arguments.strict and missed))


if __name__ == "__main__":
    sys.exit(main())
