"""Silence, death, our own sleep, and the clock's offset, on times that the test makes up."""

from __future__ import annotations

import pytest

from console.remote.heartbeat import Beat, ClockEstimate, Heartbeat


def beating() -> Heartbeat:
    return Heartbeat(Beat(every_s=3.0, dead_after_s=10.0), 100.0)


def test_asks_at_once_and_then_every_three_seconds() -> None:
    heart = beating()
    assert heart.ask(100.0) == 1
    assert heart.ask(102.9) is None
    assert heart.ask(103.0) == 2
    assert heart.wait_s(104.0) == pytest.approx(2.0)


def test_one_missed_beat_is_silent_and_ten_seconds_are_dead() -> None:
    heart = beating()
    heart.ask(100.0)
    assert heart.pulse(102.9) == "up"
    assert heart.pulse(103.0) == "silent"
    heart.ask(103.0)
    assert heart.pulse(109.9) == "silent"
    assert heart.pulse(110.0) == "dead"


def test_any_byte_is_a_sign_of_life() -> None:
    heart = beating()
    heart.ask(100.0)
    heart.heard(108.0)
    assert heart.pulse(110.0) == "up"


def test_silence_without_a_question_proves_nothing() -> None:
    heart = beating()
    heart.ask(100.0)
    heart.heard(100.2)
    assert heart.answered(1, 100.2) == (100.0, pytest.approx(0.2))
    assert heart.pulse(1000.0) == "up"


def test_a_late_answer_to_an_older_question_still_measures() -> None:
    heart = beating()
    heart.ask(100.0)
    heart.ask(103.0)
    assert heart.answered(1, 104.0) == (100.0, pytest.approx(4.0))
    assert heart.answered(2, 104.5) == (103.0, pytest.approx(1.5))
    assert heart.answered(2, 104.6) is None
    assert heart.answered(77, 104.6) is None


def test_our_own_sleep_is_not_the_peers_death() -> None:
    heart = beating()
    heart.ask(100.0)
    heart.overslept(3600.0)
    assert heart.pulse(3701.0) == "up"
    assert heart.pulse(3704.0) == "silent"
    assert heart.pulse(3710.0) == "dead"


def test_the_smallest_round_trip_tells_the_clock() -> None:
    clock = ClockEstimate()
    clock.add(100.0, 102.0, 111.0)  # 2 s: 10 s ahead, give or take 1
    assert clock.best().offset_s == pytest.approx(10.0)
    clock.add(200.0, 200.2, 210.6)  # 0.2 s: 10.5 ahead, give or take 0.1
    clock.add(300.0, 301.0, 310.0)
    assert clock.best().offset_s == pytest.approx(10.5)
    assert clock.best().error_s == pytest.approx(0.1)


def test_the_offset_is_told_again_only_when_it_says_something_new() -> None:
    clock = ClockEstimate()
    clock.add(0.0, 1.0, 0.5)
    assert clock.news() is not None
    assert clock.news() is None
    clock.add(10.0, 10.9, 10.5)
    assert clock.news() is None
    clock.add(20.0, 20.1, 20.05)
    news = clock.news()
    assert news is not None and news.error_s == pytest.approx(0.05)


def test_a_clock_that_was_set_is_noticed() -> None:
    clock = ClockEstimate()
    clock.add(0.0, 0.1, 0.05)
    clock.news()
    for number in range(100):
        clock.add(10.0 + number, 10.2 + number, 70.1 + number)
    news = clock.news()
    assert news is not None and news.offset_s == pytest.approx(60.0)
