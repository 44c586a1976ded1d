"""View 8: alarms, who else is here, what was said; and what is said from here."""

from __future__ import annotations

from console.core.fleet.company import SHIFT_S
from console.core.fleet.state import apply
from console.core.intents import SayRemark, TellArmed
from tests.console.tui import scene
from tests.console.tui.test_app import opened
from tests.console.tui.test_plain import said

RECORD = scene.Recorder()
NOW = scene.NOW


def company() -> scene.FakeFeed:
    """The recorded fleet with two colleagues and what they said."""
    feed = scene.full_feed()
    for event in (
        RECORD("atlas-01", "presence", NOW - 50, consoles=[
            {"operator": "ann", "console": "bastion-2:77", "uid": 0, "since": NOW - 60, "armed_until": NOW + 300},
            {"operator": "lin", "console": "here:1", "uid": 0, "since": NOW - 90, "armed_until": None}]),
        RECORD("atlas-01", "remark", NOW - 40, id="a", what="acknowledge", subject="node/atlas-04/link", text="cable \x1b[31mis\x1b]52;c;AA\x07 changed", operator="ann", until=None),
        RECORD("atlas-02", "remark", NOW - 30, id="n", what="note", subject="", text="loss looks fine", operator="ann", until=None),
    ):
        feed.state = apply(feed.state, event)
    return feed


async def test_everything_is_in_one_view() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.press("8")
        text = screen.text()
    assert "Alarms  2/3" in text and "atlas-02: NPU 6 reports Alarm" in text
    assert "acknowledge node/atlas-04/link cable ␛[31mis␛]52;c;AA␇ changed" in text and "\x1b" not in text
    assert "ann bastion-2:77  ARMED 5m" in text and "here:1" not in text
    assert "ann loss looks fine" in text


async def test_the_selected_alarm_is_acknowledged_with_a_reason() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.press("8", "down", "k")
        assert "reason:" in screen.text()
        await screen.type("on my way")
        assert [wish for wish in screen.feed.intents if isinstance(wish, SayRemark)] == [
            SayRemark(what="acknowledge", subject="node/atlas-02/npu/6", text="on my way")]


async def test_muting_takes_a_time_and_a_pattern_and_is_taken_back() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.press("8", "down", "down", "m")
        await screen.type("30m being replaced")
        await screen.command("mute node/atlas-04/* being repaired")
        await screen.press("u")
        said = [wish for wish in screen.feed.intents if isinstance(wish, SayRemark)]
    assert said == [SayRemark(what="mute", subject="node/atlas-02/npu/4", text="being replaced", until=NOW + 1800),
                    SayRemark(what="mute", subject="node/atlas-04/*", text="being repaired", until=NOW + SHIFT_S),
                    SayRemark(what="unmute", subject="node/atlas-02/npu/4", text="")]


async def test_a_note_is_for_everybody_and_needs_words() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.press("8", "i")
        await screen.type("shift ends at 8")
        await screen.press("i", "enter")
        assert [wish for wish in screen.feed.intents if isinstance(wish, SayRemark)] == [SayRemark(what="note", subject="", text="shift ends at 8")]


async def test_what_is_not_clear_is_asked_for_and_nothing_is_said() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.command("ack somebody should")
        assert "which alarm" in screen.text(), "three alarms, none selected"
        await screen.command("mute node/atlas-04/link 2h")
        assert "say why" in screen.text()
        await screen.command("unmute")
        assert not [wish for wish in screen.feed.intents if isinstance(wish, SayRemark)]


async def test_the_others_are_told_while_this_console_is_armed() -> None:
    async with opened(feed=company(), console="here:1") as screen:
        await screen.command("arm 5m")
        await screen.later(1)
        await screen.later(70)
        await screen.command("disarm")
        await screen.later(1)
        await screen.later(70)
        told = [wish.left_s for wish in screen.feed.intents if isinstance(wish, TellArmed)]
    assert [round(left_s) for left_s in told] == [299, 229, 0]


async def test_a_console_without_a_name_tells_nobody() -> None:
    async with opened() as screen:
        await screen.command("arm 5m")
        await screen.later(1)
        assert not [wish for wish in screen.feed.intents if isinstance(wish, TellArmed)]


def test_the_same_in_plain_text() -> None:
    text, feed = said("alarms", "ack node/atlas-02/npu/6 on my way", "mute node/atlas-04/* 30m repair", "note hello", "ack nobody", feed=company())
    assert "node/atlas-02/npu/6: atlas-02: NPU 6 reports Alarm" in text and "ann bastion-2:77" in text and "loss looks fine" in text
    assert [(wish.what, wish.subject, wish.text) for wish in feed.intents if isinstance(wish, SayRemark)] == [
        ("acknowledge", "node/atlas-02/npu/6", "on my way"), ("mute", "node/atlas-04/*", "repair"), ("note", "", "hello")]
    assert "which alarm" in text
