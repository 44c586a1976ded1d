"""Runs many made-up inputs through every parser: python -m tests.agent.fuzz [--inputs N] [--seed S] [PARSER...]

What fails is printed and its input kept under build/fuzz. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, List, Optional

from tests.agent.fuzz import judging, mutation, parsers

SUSPICIOUS_S = 0.05
"""An input that takes longer is looked at: does the time grow faster than the input?"""
MEMORY_EVERY = 97


def trouble(parser: parsers.Parser, data: bytes, with_memory: bool, learn: Callable[[bytes, Any], None] = lambda data, answer: None) -> Optional[str]:
    """What the parser does wrong with this input; None if nothing. ``learn`` is told what it answered."""
    began = time.process_time()
    try:
        answer = parser(data)
    except Exception:  # any at all is what is looked for
        return traceback.format_exc(limit=-4)
    took = time.process_time() - began
    learn(data, answer)
    if took > SUSPICIOUS_S:
        for more in (data * 4, _stretched(data)):
            found = judging.steep(parser, data, more)
            if found:
                return "time grows faster than the input: " + found
    return judging.greedy(parser, data) if with_memory else None


def _stretched(data: bytes) -> bytes:
    """Four times as long in one line."""
    return data.replace(b"\n", b" ") * 4


def run(name: str, parser: parsers.Parser, seeds: List[bytes], inputs: int, seed: str, failures: int = 3, beginnings: int = 8) -> List[str]:
    """The first troubles of one parser in so many inputs."""
    maker = mutation.Maker(seeds, "%s %s" % (name, seed), parser)
    found: List[str] = judging.blown_up(parser, maker.telling[:beginnings], failures)
    for index in range(inputs if not found else 0):
        data = maker.next()
        told = trouble(parser, data, index % MEMORY_EVERY == 0, maker.learn)
        if told:
            folder = Path("build/fuzz")
            folder.mkdir(parents=True, exist_ok=True)
            kept = folder / ("%s-%s-%d.bin" % (name, seed, index))
            kept.write_bytes(data)
            found.append("%s, input %d of seed %s (%d bytes, %s): %s\n%s" % (name, index, seed, len(data), kept, data[:200], told))
            if len(found) >= failures:
                break
    return found


def main() -> int:
    """0; 1 when some input made trouble."""
    known = parsers.everything()
    options = argparse.ArgumentParser(prog="python -m tests.agent.fuzz", description=__doc__)
    options.add_argument("parsers", nargs="*", metavar="PARSER", help="which (default: all)")
    options.add_argument("--inputs", type=int, default=2000, help="for each parser (default %(default)s)")
    options.add_argument("--seed", default="1")
    asked = options.parse_args()
    strange = sorted(set(asked.parsers) - set(known))
    if strange:
        options.error("no parser is called %s; there are %s" % (", ".join(strange), ", ".join(sorted(known))))
    seeds = parsers.seeds()
    bad = 0
    for name in asked.parsers or sorted(known):
        began = time.process_time()
        found = run(name, known[name], seeds, asked.inputs, asked.seed)
        bad += bool(found)
        print("%-32s %d inputs, %.1f s%s" % (name, asked.inputs, time.process_time() - began, ", TROUBLE" if found else ""), flush=True)
        for one in found:
            print(one, flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
