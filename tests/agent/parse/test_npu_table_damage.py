"""The npu-smi table under damage of any kind: no exception, and no value that does not stand in the text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from agent.parse import npu_table

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "fixtures" / "npu_table").glob("*.txt")}


def tokens(text: str) -> List[str]:
    return re.findall(r"[^\s|/]+", text)


def assert_nothing_invented(text: str, parsed: Dict[str, Any]) -> None:
    there = set(tokens(text))
    for row in parsed["devices"] + parsed["processes"]:
        for name, value in row.items():
            if value is None:
                continue
            if isinstance(value, str):
                assert set(tokens(value)) <= there, (name, value)
            else:
                assert any(_same(token, value) for token in there), (name, value)


def _same(token: str, value: float) -> bool:
    try:
        return float(token) == float(value)
    except ValueError:
        return False


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.sampled_from(sorted(TEXTS)), st.lists(st.tuples(st.integers(0, 10 ** 6), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes(name: str, flips: List[Tuple[int, int]]) -> None:
    raw = bytearray(TEXTS[name].encode("utf-8"))
    for place, value in flips:
        raw[place % len(raw)] = value
    text = raw.decode("utf-8", "replace")
    parsed = npu_table.parse(text)
    cleaned = re.sub("[\x00-\x08\x0b-\x1f\x7f]", "", text)
    if "\x1b" not in text:
        assert_nothing_invented(re.sub("[\r]", "\n", text) + cleaned, parsed)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.text(alphabet=st.sampled_from(list("|+-=/ 019.NAPUnpuHealthChipBus-IdMemoryHBM()%MW:\n\r\t\x1b[m")), max_size=400))
def test_any_text_is_survived(text: str) -> None:
    assert_nothing_invented(text, npu_table.parse(text)) if "\x1b" not in text else npu_table.parse(text)


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(st.text(max_size=300))
def test_any_unicode_is_survived(text: str) -> None:
    npu_table.parse(text + "\n" + TEXTS["310b4-alarm"] + text)
