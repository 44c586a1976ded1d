"""What was known when: an hour of a small fleet second by second, of a large one as much as memory allows."""

from __future__ import annotations

from console.core.fleet.state import FleetState, NodeState
from console.tui.time_cursor import FEWEST, KEPT_MOMENTS, KEPT_NODES, Moments


def kept(nodes: int, seconds: int) -> Moments:
    moments = Moments()
    for second in range(seconds):
        moments.add(float(second), FleetState(nodes={f"n{number}": NodeState(name=f"n{number}", link="up") for number in range(nodes)} if not second % 50 else
                                              moments.states[-1].nodes))
    return moments


def test_an_hour_of_a_small_fleet_is_there_to_the_second() -> None:
    moments = kept(4, 3600)
    assert len(moments.times) == 3600 <= KEPT_MOMENTS and moments.at(1234.5) is moments.states[1234]


def test_of_a_large_fleet_the_older_half_is_thinned_and_its_beginning_kept() -> None:
    moments = kept(128, 2000)
    assert len(moments.times) <= KEPT_NODES // 128 and moments.first == 0.0
    assert moments.times[-100:] == [float(second) for second in range(1900, 2000)], "the newest are all there"
    assert moments.times == sorted(moments.times)


def test_some_moments_are_kept_of_any_fleet() -> None:
    moments = kept(600, FEWEST - 1)
    assert len(moments.times) == FEWEST - 1
