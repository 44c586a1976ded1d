"""A few hundred made-up inputs for every parser of agent.parse (``make fuzz`` runs many more), and the fuzzer itself."""

from __future__ import annotations

import re
from typing import Any, List

import pytest

from tests.agent.fuzz import __main__ as fuzz
from tests.agent.fuzz import judging, mutation, parsers

EVERYTHING = parsers.everything()
SEEDS = parsers.seeds()
INPUTS = 250


def test_no_parser_is_left_out() -> None:
    assert parsers.unknown() == [], "say in tests/agent/fuzz/parsers.py how these are called, or why not"
    assert parsers.stale() == []
    assert {"reading.read_block", "scan.faults", "training.parse_line", "npu_table.parse", "hccn.parse", "checkpoint.survey"} <= set(EVERYTHING)


@pytest.mark.parametrize("name", sorted(EVERYTHING))
def test_made_up_inputs(name: str) -> None:
    assert fuzz.run(name, EVERYTHING[name], SEEDS, INPUTS, "suite", beginnings=3) == []


def test_the_same_seed_makes_the_same_inputs() -> None:
    first, second = (mutation.Maker(SEEDS, "x", EVERYTHING["training.parse_line"]) for _ in range(2))
    made: List[bytes] = [first.next() for _ in range(300)]
    assert made == [second.next() for _ in range(300)]
    assert len(set(made)) > 250
    assert max(map(len, made)) <= mutation.LONGEST


def test_what_is_wrong_is_noticed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def raising(data: bytes) -> Any:
        return 1 // (b"\xff" not in data)

    def quadratic(data: bytes) -> Any:
        return re.search(rb"\s+$", data)

    def hoarding(data: bytes) -> Any:
        return [bytearray(6 << 20)]

    [found] = fuzz.run("raising", raising, SEEDS, 5000, "1", failures=1, beginnings=0)
    assert "ZeroDivisionError" in found
    assert b"".join(path.read_bytes() for path in tmp_path.rglob("raising-*.bin"))
    assert any("grows faster" in one or "again and again" in one for one in fuzz.run("quadratic", quadratic, SEEDS, 10, "1", failures=1, beginnings=0))
    assert "memory" in str(fuzz.run("hoarding", hoarding, SEEDS, 1, "1", beginnings=0))
    assert judging.steep(lambda data: data.count(b"x"), b"x" * 1000, b"x" * 4000) is None
