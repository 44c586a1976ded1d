"""Pacing: one frame at a time on a slow line, and no waiting for a terminal that does not answer."""

from __future__ import annotations

import pytest

from console.core.clock import FixedClock
from console.tui.pacing import ENOUGH, FIRST_S, GIVE_UP, LATELY_S, QUESTION, SLOW_S, TIMEOUT_S, Pacer


def test_the_next_frame_waits_for_the_answer() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    assert pacer.may_paint() and pacer.painted() == QUESTION
    assert not pacer.may_paint() and pacer.painted() == "", "a key's frame goes out, unasked"
    clock.move_to(100.7)
    pacer.answered()
    assert pacer.may_paint() and abs(pacer.slow_s - 0.7) < 1e-9 and pacer.heard


def test_a_silent_terminal_is_not_asked_for_ever() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    for turn in range(GIVE_UP):
        assert pacer.painted() == QUESTION
        clock.move_to(clock.wall_s() + TIMEOUT_S - 0.1)
        assert not pacer.may_paint()
        clock.move_to(clock.wall_s() + 0.2)
        assert pacer.may_paint(), turn
    assert pacer.painted() == "" and pacer.may_paint() and not pacer.asking


def test_an_answer_mends_a_silence() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    for _ in range(GIVE_UP - 1):
        pacer.painted()
        clock.move_to(clock.wall_s() + TIMEOUT_S + 1)
        assert pacer.may_paint()
    pacer.painted()
    pacer.answered()
    assert pacer.asking and pacer.painted() == QUESTION


def test_a_line_is_slow_for_a_while_after_a_slow_frame() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    assert not pacer.slow
    pacer.painted()
    clock.move_to(100.0 + SLOW_S + 0.1)
    pacer.answered()
    assert pacer.slow
    pacer.painted()
    pacer.answered()
    assert pacer.slow, "a small frame is quick on any line"
    clock.move_to(101.0 + LATELY_S)
    assert not pacer.slow


def test_the_first_answer_is_waited_for_a_moment_only() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    assert not pacer.unsure
    pacer.painted()
    assert pacer.unsure
    clock.move_to(100.0 + FIRST_S + 0.1)
    assert not pacer.unsure
    pacer.answered()
    pacer.painted()
    assert not pacer.unsure


EVERY_S = 0.1
"""Between two turns of the loop."""


def later(clock: FixedClock, seconds: float) -> None:
    clock.move_to(clock.wall_s() + seconds)


def turning(clock: FixedClock, pacer: Pacer, turns: int) -> None:
    """The console has its turns, as it should."""
    for _ in range(turns):
        later(clock, EVERY_S)
        pacer.awake(EVERY_S)


def slow(clock: FixedClock, pacer: Pacer) -> None:
    pacer.painted()
    turning(clock, pacer, 4)
    pacer.answered()
    assert pacer.slow


@pytest.mark.parametrize("first", ["the answer", "the turn"])
def test_an_answer_that_came_while_we_were_not_scheduled_says_nothing_of_the_line(first: str) -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    turning(clock, pacer, 3)
    later(clock, 0.05)
    pacer.painted()
    later(clock, 5.0)
    if first == "the turn":
        pacer.awake(EVERY_S)
    pacer.answered()
    assert not pacer.slow and pacer.slow_s < SLOW_S
    slow(clock, pacer)  # and it is no excuse for later


def test_a_turn_that_was_late_because_the_line_took_nothing_is_the_lines() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    turning(clock, pacer, 3)
    pacer.painted()
    later(clock, 5.0)
    pacer.wrote(100, 5.0)
    pacer.awake(EVERY_S)
    pacer.answered()
    assert pacer.slow and abs(pacer.slow_s - 5.0) < 1e-9


def test_a_line_that_takes_much_in_no_time_is_quick_again() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    slow(clock, pacer)
    for _ in range(4):
        assert pacer.slow
        pacer.wrote(ENOUGH // 4 + 1, 0.0)
        pacer.painted()
        later(clock, 0.01)
        pacer.answered()
    assert not pacer.slow


def test_a_slow_line_is_not_taken_for_a_quick_one_by_small_frames() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    slow(clock, pacer)
    for size in [200, 900, 60] * 100:  # at 20 kB/s, without any way there and back
        pacer.wrote(size, 0.0)
        pacer.painted()
        later(clock, size / 20_000)
        pacer.answered()
        assert pacer.slow


def test_an_answer_that_may_be_an_older_questions_is_no_sign_of_a_quick_line() -> None:
    clock = FixedClock(100.0)
    pacer = Pacer(clock)
    slow(clock, pacer)
    pacer.wrote(40_000, 0.0)
    pacer.painted()
    turning(clock, pacer, 40)
    assert pacer.may_paint(), "nobody waits for ever"
    pacer.wrote(40_000, 0.0)
    pacer.painted()
    pacer.answered()
    assert pacer.slow
