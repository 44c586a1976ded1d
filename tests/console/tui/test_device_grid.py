"""The heat grid, at every density."""

from __future__ import annotations

import re

import pytest

from console.core.events import LinkChanged
from console.core.fleet.fleet_look import FleetLook
from console.core.fleet.state import FleetState
from console.core.fleet.views import NodeRow, node_rows
from console.tui.lines import Line, width_of
from console.tui.widgets.device_grid import choose, draw_grid
from tests.console.tui import scene


def rows(extra: int = 0) -> tuple[NodeRow, ...]:
    record, events = scene.Recorder(), scene.fleet_events()
    for n in range(5, 5 + extra):
        name = f"atlas-{n:03d}"
        events += [scene.met(name), LinkChanged(node=name, at=scene.NOW - 60, state="up", rtt_s=0.01),
                   scene.sample(record, name, scene.NOW - 1, (97,) * 8, health=("OK",) * 7 + ("OK" if n % 9 else "Critical",))]
    return node_rows(scene.FakeFeed(events).state, scene.NOW)


def text(lines: list[Line]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


@pytest.mark.parametrize(("cell", "nodes", "height", "density"), [
    (20, 4, 16, "bars"), (20, 4, 7, "numbers"), (12, 4, 8, "numbers"), (7, 4, 8, "compact"), (3, 4, 8, "marks"), (2, 4, 8, "dense"), (20, 128, 16, "dense")])
def test_the_room_decides_the_density(cell: int, nodes: int, height: int, density: str) -> None:
    assert choose(cell, nodes, height) == density


@pytest.mark.parametrize("width", [20, 38, 58, 78, 100, 118, 198])
@pytest.mark.parametrize("height", [2, 5, 8, 16, 40])
@pytest.mark.parametrize("extra", [0, 124])
def test_it_keeps_its_place_at_every_size(width: int, height: int, extra: int) -> None:
    assert all(width_of(line) <= width for line in draw_grid(rows(extra), width, height))


@pytest.mark.parametrize("size", [(78, 6), (118, 8), (198, 16)])
def test_health_is_told_by_its_glyph(size: tuple[int, int]) -> None:
    lines = draw_grid(rows(), *size)
    (row,) = [line for line in lines if any("atlas-02" in part for part, _ in line)]
    assert [part for part, tone in row if tone == "alarm"] == ["✗"]
    assert [part for part, tone in row if tone == "warn"][:1] == ["!"]


@pytest.mark.parametrize("size", [(78, 6), (118, 8), (198, 16)])
def test_a_dead_node_is_seen_at_once(size: tuple[int, int]) -> None:
    (row,) = [line for line in draw_grid(rows(), *size) if any("atlas-04" in part for part, _ in line)]
    assert (" ✗ ", "bad") in row and "75s" in "".join(part for part, _ in row)
    assert {tone for part, tone in row if "41" in part} == {"off"}, "its last values are there, and dimmed"


def test_why_a_node_is_dead_is_said_where_there_is_room() -> None:
    assert any("no answer for 60 s" in line for line in text(draw_grid(rows(), 118, 8)))
    assert any("no answer for 60 s" in line for line in text(draw_grid(rows(), 198, 20)))


def test_trouble_comes_first_when_not_all_fit() -> None:
    lines = text(draw_grid(rows(124), 198, 16))
    assert "atlas-04" in lines[0], "the dead node"
    assert sum("128" in line for line in text(draw_grid(rows(124), 198, 30))) == 1
    first_column = [line[:24] for line in lines]
    assert sum("✗" in line for line in first_column) >= 14, "the sick ones follow"


def test_the_widest_form_names_ranks_and_temperatures() -> None:
    whole = "\n".join(text(draw_grid(rows(), 198, 20)))
    assert "r15" in whole and "55°C 344W" in whole


@pytest.mark.parametrize(("value", "of"), [("power", "power_w"), ("temperature", "temperature_c"), ("hbm", "hbm_pct")])
@pytest.mark.parametrize("width", [198, 130, 74])
def test_one_value_is_shown_as_it_is_and_nothing_beside_it(value: str, of: str, width: int) -> None:
    (row,) = rows()[:1]
    line = text(draw_grid([row], width, 20, FleetLook(value=value)))[1]
    shown = re.findall(r"[✓!✗?]\s*(\d+|-)", line)
    assert shown == [f"{getattr(cell, of):.0f}" for cell in row.cells] and "--" not in line


def test_an_empty_fleet_says_so() -> None:
    assert "no node" in text(draw_grid(node_rows(FleetState(), 0.0), 80, 10))[0]
