"""Rows, cells, ages and badges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from console.core.events import NodeMet
from console.core.fleet.state import FleetState, NodeState, Taken
from console.core.fleet.views import (
    LOST_AFTER_S,
    STALE_AFTER_S,
    age_badge,
    age_text,
    bytes_text,
    duration_text,
    fleet_summary,
    health_badge,
    node_row,
    node_rows,
    npu_cells,
    sample_age_s,
    spans_text,
    value_text,
)
from tests.console.tui import scene


@pytest.mark.parametrize(("seconds", "text"), [
    (-3, "0s"), (0.4, "0s"), (99, "99s"), (100, "100s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (47 * 3600, "47h"), (48 * 3600, "2d"), (1e9, "999d")])
def test_an_age_has_at_most_four_characters(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
    assert len(text) <= 4


@pytest.mark.parametrize(("seconds", "text"), [
    (None, "-"), (float("inf"), "-"), (1.23, "1.2s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (3 * 86400 + 4 * 3600, "3d04h")])
def test_a_duration(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(None, "-"), (512, "512B"), (1280, "1.25KiB"), (3_480_000_000, "3.24GiB"), (1e15, "909TiB")])
def test_a_size(count: float | None, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(("value", "text"), [
    (None, "-"), (float("nan"), "nan"), (float("-inf"), "-inf"), (0.0, "0.000"), (2.11949, "2.119"), (3820.4, "3820"), (1e-5, "1.00e-5"),
    (2.5e7, "2.50e+7")])
def test_a_value(value: float | None, text: str) -> None:
    assert value_text(value) == text


def test_numbers_become_ranges() -> None:
    assert spans_text([7, 0, 1, 2, 12, 14, 15, 2]) == "0-2,7,12,14-15"
    assert spans_text([]) == ""


def test_stale_and_lost_begin_behind_their_thresholds() -> None:
    assert age_badge(None).tone == "off"
    assert age_badge(STALE_AFTER_S).tone == "good"
    assert age_badge(STALE_AFTER_S + 0.1).tone == "stale"
    assert age_badge(LOST_AFTER_S + 0.1).tone == "bad"
    assert len({age_badge(age).glyph for age in (1, 20, 70)}) == 3, "an age is told by more than its colour"


@pytest.mark.parametrize(("word", "tone"), [("OK", "good"), ("Warning", "warn"), ("Alarm", "bad"), ("Critical", "bad"), ("UNKNOWN", "off"),
                                            (None, "off"), ("Splendid", "off")])
def test_health_is_good_only_when_the_tool_says_so(word: str | None, tone: str) -> None:
    assert health_badge(word).tone == tone


def test_a_sample_fetched_late_is_as_old_as_its_node_says() -> None:
    met = NodeMet(node="n", at=0, agent="a", revision=1, spool_id="s", boot_id="b", oldest_seq=1, newest_seq=9, clock_offset_s=100.0, clock_error_s=0)
    node = NodeState(name="n", met=met)
    late = Taken(data={}, time=1050.0, at=1000.0)  # taken at 950 by our clock, arrived at 1000
    assert sample_age_s(node, late, now=1001.0) == pytest.approx(51.0)
    assert sample_age_s(replace(node, met=None), late, now=1001.0) == pytest.approx(1.0)


def test_what_is_missing_stays_missing() -> None:
    cells = npu_cells({"columns": {"npu_id": [0, 1, 2], "health": ["OK", None], "aicore_pct": [50, None, 0], "hbm_used_mb": [1, 2, 3],
                                   "hbm_total_mb": [None, 0, 4]}}, {})
    assert [cell.aicore_pct for cell in cells] == [50, None, 0]
    assert [cell.hbm_pct for cell in cells] == [None, None, 75.0]
    assert [cell.health.tone for cell in cells] == ["good", "off", "off"]
    assert npu_cells({}, {}) == ()


def test_memory_of_a_chip_without_hbm_is_its_ddr() -> None:
    (cell,) = npu_cells({"columns": {"health": ["OK"], "memory_used_mb": [500], "memory_total_mb": [1000], "hbm_total_mb": [0]}}, {})
    assert cell.hbm_pct == 50.0


def test_a_cell_names_the_rank_whose_process_holds_it() -> None:
    sample = {"columns": {"npu_id": [3, 3, 4], "chip_id": [0, 1, 0], "health": ["OK"] * 3},
              "processes": {"npu_id": [3, 3, 4], "chip_id": [1, 1, 0], "pid": [99, 7, 50]}}
    cells = npu_cells(sample, {7: 12})
    assert [cell.rank for cell in cells] == [None, 12, None]
    assert [cell.held for cell in cells] == [False, True, True]


def test_rows_of_the_recorded_fleet() -> None:
    rows = {row.name: row for row in node_rows(scene.full_feed().state, scene.NOW)}
    assert list(rows) == ["atlas-01", "atlas-02", "atlas-03", "atlas-04"]
    assert rows["atlas-01"].trusted and rows["atlas-01"].ranks == tuple(range(8))
    assert rows["atlas-02"].age_s == pytest.approx(2.8)  # its clock is 0.8 s ahead
    assert rows["atlas-02"].cells[6].health.text == "Alarm" and rows["atlas-02"].cells[6].rank == 14
    assert rows["atlas-03"].job == "" and rows["atlas-03"].cells[0].rank is None
    dead = rows["atlas-04"]
    assert not dead.trusted and dead.link.tone == "bad" and dead.age.tone == "bad"
    assert dead.note == "no answer for 60 s; trying again in 24 s"
    assert dead.cells[4].aicore_pct == 41, "the last values are kept"


def test_numbers_in_names_count_as_numbers() -> None:
    state = FleetState(nodes={name: NodeState(name=name) for name in ("n10", "n9", "n1", "m", "n9b")})
    assert [row.name for row in node_rows(state, 0.0)] == ["m", "n1", "n9", "n9b", "n10"]


@pytest.mark.parametrize(("sample", "note"), [
    ({"absent": {"*": "missing"}}, "npu-smi: missing"), ({"errors": [{"code": -8005, "text": "inner error"}]}, "npu-smi: -8005 inner error"),
    ({"complete": False}, "npu-smi: table incomplete"), ({"complete": True}, "")])
def test_a_row_says_why_there_are_no_values(sample: dict[str, object], note: str) -> None:
    node = NodeState(name="n", link="up", sample=Taken(data=sample, time=0.0, at=0.0))
    assert node_row(node, None, 1.0).note == note


def test_the_summary_counts() -> None:
    summary = fleet_summary(node_rows(scene.full_feed().state, scene.NOW))
    assert (summary.nodes, summary.up, summary.trouble) == (4, 3, 1)
    assert (summary.npus, summary.npus_good, summary.npus_warn, summary.npus_bad) == (32, 30, 1, 1)
    quiet = fleet_summary(node_rows(scene.full_feed().state, scene.NOW + LOST_AFTER_S))
    assert quiet.trouble == 4, "nodes that are linked but send nothing are in trouble too"
