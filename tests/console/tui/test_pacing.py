"""Pacing: one frame at a time on a slow line, and no waiting for a terminal that does not answer."""

from __future__ import annotations

from console.core.clock import FixedClock
from console.tui.pacing import FIRST_S, GIVE_UP, LATELY_S, QUESTION, SLOW_S, TIMEOUT_S, Pacer


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
