"""Many logs in one order, whatever their clocks say and whenever their lines come."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from console.core.log_merge import Merger, merge, time_of


def stamp(second: float, text: str) -> str:
    return f" [2026-11-22 05:10:{second:09.6f}] {text}"


def test_lines_go_by_corrected_time_and_followers_stay_with_theirs() -> None:
    logs = {"n1": [stamp(1, "a"), "  under a", stamp(5, "d")], "n2": ["head", stamp(12.5, "b"), "  under b", stamp(13, "c")]}
    texts = [line.text.split("] ")[-1] for line in merge(logs, {"n1": 0.0, "n2": 10.0})]
    assert texts == ["head", "a", "  under a", "b", "  under b", "c", "d"]


def test_a_time_that_goes_back_in_one_log_does_not_turn_the_log_over() -> None:
    assert [line.text for line in merge({"a": [stamp(5, "x"), stamp(3, "y")], "b": [stamp(4, "z")]}, {})] == [stamp(4, "z"), stamp(5, "x"), stamp(3, "y")]


def test_what_comes_too_late_is_counted_and_shown() -> None:
    merger = Merger({"a": 0.0, "b": 0.0})
    merger.add("a", [stamp(1, "1"), stamp(9, "9")])
    base = time_of(stamp(0, ""))
    assert base is not None
    assert [line.text for line in merger.take(base + 5)] == [stamp(1, "1")]
    merger.add("b", [stamp(0.5, "late"), stamp(2, "2")])
    assert [(line.text, line.late) for line in merger.take(None)] == [(stamp(0.5, "late"), True), (stamp(2, "2"), False), (stamp(9, "9"), False)]
    assert merger.late == 1


def test_times_of_many_spellings_and_of_none() -> None:
    at = time_of(stamp(3, ""))
    for text in ("2026-11-22T05:10:03 x", "[ERROR] HCCL(1,python):2026-11-22-05:10:03.000.000 [x]", "2026/11/22 05:10:03 [info]"):
        assert time_of(text) == at, text
    for text in ("", "no time", "2026-99-99 99:99:99", "12:00:00"):
        assert time_of(text) is None


@given(st.dictionaries(st.sampled_from("abc"), st.lists(st.one_of(st.integers(0, 59), st.none()), max_size=20)))
def test_every_line_once_in_its_own_order(logs: dict[str, list[int | None]]) -> None:
    lines = {name: [f"{name}{at} " + (stamp(second, "") if second is not None else "") for at, second in enumerate(rows)] for name, rows in logs.items()}
    found = merge(lines, {})
    for name, own in lines.items():
        assert [line.text for line in found if line.log == name] == own
    times = [line.time_s for line in found if line.time_s is not None]
    assert all(a <= b for a, b in pairwise(times))
