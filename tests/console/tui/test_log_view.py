"""Logs: merged by corrected time, filtered, searched, marked, wrapped, of the attempt before."""

from __future__ import annotations

import pytest

from console.core.intents import FollowLog
from console.tui.log_book import LogBook, Source, next_time, printed_stamp
from console.tui.widgets.log_view import LogView, wrapped
from tests.console.tui import scene
from tests.console.tui.test_app import Screen, opened

BASE = f"/data/.rankdeck/{scene.JOB}"


@pytest.mark.parametrize(("text", "time"), [
    (" [2026-11-22 05:10:01.500000] iteration       10/      60 | lm loss: 5.5 |", 1_795_324_201.5), ("2026-11-22 05:10:01,123 - INFO - x", 1_795_324_201.123),
    ("[ERROR] RUNTIME(4711,python):2026-11-22-05:10:01.123.456 [npu_driver.cc:1]", 1_795_324_201.123), ("no time here", None), ("2026-99-22 05:10:01", None), ("", None),
    ("x" * 200 + "2026-11-22 05:10:01", None)])
def test_the_time_of_a_line(text: str, time: float | None) -> None:
    found = printed_stamp(text)
    assert (found and found[1]) == (None if time is None else pytest.approx(time))
    if found is not None:
        assert next_time(text, found[0]) == found[1], "what was seen once is seen again"


@pytest.mark.parametrize(("line", "same"), [
    ("[2026-11-22 05:10:01.750] b", True), ("[2026-11-22 05:10:01.75] b", False), ("[2026-11-22 05:10:01.7501] b", False), ("[2026-11-22 05:10:01] b", False),
    ("[2026-11-22 05:10:02.750] b", False), ("b", False), ("", False), ("[2026-11-22 05:10:01.", False), (" [2026-11-22 05:10:01.750] b", False)])
def test_the_second_of_the_line_before_is_seen_where_it_was(line: str, same: bool) -> None:
    found = printed_stamp("[2026-11-22 05:10:01.500] a")
    assert found is not None
    assert next_time(line, found[0]) == (pytest.approx(found[0].time + 0.75) if same else None)


def test_an_earlier_time_in_a_line_goes_before_the_one_that_the_last_line_had() -> None:
    book = LogBook([Source("r0", 0.0)])
    tail = scene.Tail()
    tail.add("rank 0 of all of these tells us 2026-11-22 05:10:09 a", "2026-11-22 05:10:08 relays this 2026-11-22 05:10:09 b")
    book.take([tail], 0.0)
    assert book.times[0] - book.times[1] == 1.0


def test_two_logs_are_merged_by_corrected_time_and_late_lines_find_their_place() -> None:
    one, two = scene.Tail(), scene.Tail()
    book = LogBook([Source("r0", 0.0), Source("r8", 2.0)])
    one.add("2026-11-22 05:10:01 a", "2026-11-22 05:10:05 e", "  of the line before")
    two.add("2026-11-22 05:10:04 b", "2026-11-22 05:10:09 f")  # its clock is two seconds ahead
    book.take([one, two], 0.0)
    assert [text[-1] for text in book.texts] == ["a", "b", "e", "e", "f"]
    two.add("2026-11-22 05:10:10 z")
    one.add("2026-11-22 05:10:07 g")
    book.take([one, two], 0.0)
    assert [text[-1] for text in book.texts] == ["a", "b", "e", "e", "f", "g", "z"]


def test_a_filter_goes_on_with_what_comes() -> None:
    tail = scene.Tail()
    book = LogBook([Source("r0", 0.0)])
    tail.add("loss 1", "Error 2", "loss 3")
    book.take([tail], 0.0)
    for pattern, expected in (("loss", ["loss 1", "loss 3"]), ("!loss", ["Error 2"]), ("-f er2", ["Error 2"]), ("[", []), ("", ["loss 1", "Error 2", "loss 3"])):
        book.filter(pattern)
        assert [book.texts[book.number(at) - book.base] for at in range(len(book))] == expected, pattern
    book.filter("loss")
    tail.add("Error 4", "loss 5")
    assert book.take([tail], 0.0) and not book.take([tail], 0.0)
    assert len(book) == 3


def test_what_the_ring_lost_is_counted() -> None:
    tail = scene.Tail(maxlen=3)
    book = LogBook([Source("r0", 0.0)])
    tail.add("1", "2")
    book.take([tail], 0.0)
    tail.add(*"3456789")
    book.take([tail], 0.0)
    assert book.texts == ["1", "2", "7", "8", "9"] and book.missed == 4


@pytest.mark.parametrize("width", [3, 10, 80])
def test_wrapping_keeps_every_character(width: int) -> None:
    text = "训练 loss 下降 " * 9
    lines = wrapped([("  ", "plain"), (text, "bad")], width)
    assert "".join(part for line in lines for part, _ in line) == "  " + text


def view(screen: Screen) -> LogView:
    found = screen.app.host.pane("logs")
    assert isinstance(found, LogView)
    return found


def lines(count: int = 300, errors: tuple[int, ...] = (40, 200)) -> scene.Tail:
    return scene.Tail(f"line {n}" + (" RuntimeError: bad" if n in errors else "") for n in range(count))


async def test_errors_marks_and_places_are_jumped_to() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = lines()
    async with opened(feed=feed) as screen:
        await screen.press("5", "E")
        assert "▶" in screen.text() and "line 200 RuntimeError" in screen.text() and "held" in screen.text()
        await screen.press("m", "E")
        assert "line 40 RuntimeError" in screen.text() and "1 marked" in screen.text()
        await screen.press("e", "e")
        assert "line 40 RuntimeError" in screen.text(), "round the end"
        await screen.press("u")
        assert "line 200 RuntimeError" in screen.text()
        await screen.press("U", "m", "f", "ctrl+f")
        await screen.type("line 1[0]5")
        assert "line 105" in screen.text() and "marked" not in screen.text()
        await screen.press("n", "N")
        assert "line 105" in screen.text()
        await screen.command("find nowhere to be seen")
        assert "not found" in screen.text()


async def test_filter_and_escape() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = lines()
    async with opened(feed=feed) as screen:
        await screen.press("5", "slash")
        await screen.type("Error")
        assert "2 of 300 lines" in screen.text() and "line 299" not in screen.text()
        feed.logs[scene.LOG].add("ValueError: one more")
        await screen.later(1)
        assert "3 of 301 lines" in screen.text() and "ValueError: one more" in screen.text()
        await screen.press("escape")
        assert "301 lines" in screen.text() and "line 299" in screen.text()


async def test_wrap_times_and_sideways() -> None:
    feed = scene.full_feed()
    feed.logs[scene.LOG] = scene.Tail(["2026-11-22 05:10:01.250 " + "x" * 300 + " end"])
    async with opened(feed=feed) as screen:
        await screen.press("5")
        assert "end" not in screen.text()
        await screen.press("w")
        assert "x end" in screen.text()
        await screen.press("t", "w")
        assert "05:10:00.450 " in screen.text(), "the node's clock is 0.8 s ahead"
        await screen.press(*["right"] * 20)
        assert " end" in screen.text()
        await screen.press("left")


async def test_merged_asks_for_every_rank_and_lets_go_again() -> None:
    async with opened() as screen:
        await screen.press("5", "M")
        asked = [intent for intent in screen.feed.intents if isinstance(intent, FollowLog)]
        assert len(asked) == 16 and "16 of 16 ranks merged" in screen.text() and " r15 " in screen.text()
        await screen.press("M")
        assert "rank 15 · atlas-02" in screen.text()


def restarted(feed: scene.FakeFeed) -> scene.FakeFeed:
    """The newest attempt's ranks were started again on one node; the log of the new round has no error."""
    record = scene.Recorder()
    feed.pending.append(record("atlas-01", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=1, restart_count=1, world_size=2, complete=True,
                               ranks={"rank": [1], "local_rank": [0], "group_rank": [1], "pid": [9], "start_ticks": [1]}))
    return feed


async def test_what_a_rank_said_before_a_restart_in_place_can_still_be_read() -> None:
    async with opened(feed=restarted(scene.full_feed())) as screen:
        await screen.press("5", "e")
        assert "rank 1 · atlas-01 · round 1" in screen.text() and "no error in this log; p shows the one before the restart" in screen.text()
        await screen.press("p")
        assert screen.feed.intents[-1] == FollowLog(node=scene.LOG[0], path=scene.LOG[1]) and "rank 15 · atlas-02 · round 0 · following" in screen.text()
        await screen.press("p")
        assert screen.feed.intents[-1] == FollowLog(node="atlas-02", path=f"{BASE}/{scene.FIRST}/atlas-02/round-00/local_rank-7.log") and "attempt −1" in screen.text()
        await screen.press("p")
        assert "rank 1 · atlas-01 · round 1" in screen.text()


async def test_the_log_of_the_round_before_stays_when_another_round_begins() -> None:
    async with opened(feed=restarted(scene.full_feed())) as screen:
        await screen.press("5", "p")
        record = scene.Recorder()
        screen.feed.pending.append(record("atlas-01", "rank_map", scene.NOW, job=scene.JOB, attempt=scene.SECOND, round=2, restart_count=2, world_size=2, complete=True,
                                          ranks={"rank": [1], "local_rank": [0], "group_rank": [1], "pid": [10], "start_ticks": [1]}))
        await screen.later(1.0)
        assert "rank 15 · atlas-02 · round 0" in screen.text()


async def test_a_launcher_has_one_log_for_all_rounds() -> None:
    async with opened(feed=restarted(scene.full_feed())) as screen:
        await screen.press("5")
        await screen.command("log atlas-02")
        await screen.press("p")
        assert screen.feed.intents[-1] == FollowLog(node="atlas-02", path=f"{BASE}/{scene.FIRST}/atlas-02/launcher.log") and "attempt −1" in screen.text()


async def test_the_attempt_before() -> None:
    async with opened() as screen:
        await screen.press("5", "p")
        assert screen.feed.intents[-1] == FollowLog(node="atlas-02", path=f"{BASE}/{scene.FIRST}/atlas-02/round-00/local_rank-7.log")
        assert "attempt −1" in screen.text()
        await screen.press("p")
        assert "attempt −1" not in screen.text() and screen.feed.intents[-1] == FollowLog(node=scene.LOG[0], path=scene.LOG[1])
