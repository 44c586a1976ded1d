"""Who watches with us, and what was said of an alarm and for how long."""

from __future__ import annotations

import pytest

from console.core.events import FleetEvent, LinkChanged
from console.core.fleet.company import SHIFT_S, answered, colleagues, notes, standing
from console.core.fleet.remarks import KEPT_REMARKS
from console.core.fleet.state import FleetState, apply
from tests.console.tui import scene

RECORD = scene.Recorder()
NOW = scene.NOW


def after(*events: FleetEvent) -> FleetState:
    state = scene.full_feed().state
    for event in events:
        state = apply(state, event)
    return state


def say(what: str, subject: str = "", *, id_: str = "r", at: float = NOW, until: float | None = None, node: str = "atlas-01", operator: str = "ann") -> FleetEvent:
    return RECORD(node, "remark", at, id=id_, what=what, subject=subject, text=f"{what} it", operator=operator, peer_uid=0, until=until)


def of_link(*events: FleetEvent, now: float = NOW) -> str | None:
    """What is said of atlas-04's lost link."""
    state = after(*events)
    said = {alarm.key: remark for alarm, remark in standing(state, now)}["node/atlas-04/link"]
    return said and said.what


def test_an_alarm_is_answered_by_key_or_pattern() -> None:
    assert of_link() is None
    assert of_link(say("acknowledge", "node/atlas-04/link")) == "acknowledge"
    assert of_link(say("mute", "node/atlas-04/*")) == "mute"
    assert of_link(say("mute", "node/atlas-03/*")) is None
    assert of_link(say("note", "node/atlas-04/link")) is None


def test_an_answer_ends_by_time_by_word_and_when_the_trouble_begins_anew() -> None:
    key = "node/atlas-04/link"
    assert of_link(say("mute", key, until=NOW + 60), now=NOW + 61) is None
    assert of_link(say("mute", key), now=NOW + SHIFT_S + 1) is None
    assert of_link(say("mute", key), say("unmute", key, id_="s", at=NOW + 1)) is None
    assert of_link(say("acknowledge", key), LinkChanged(node="atlas-04", at=NOW + 30, state="up"), LinkChanged(node="atlas-04", at=NOW + 60, state="down")) is None
    assert of_link(say("mute", key), LinkChanged(node="atlas-04", at=NOW + 60, state="refused")) == "mute"


def test_what_nobody_has_answered_comes_first() -> None:
    state = after(say("acknowledge", "node/atlas-02/npu/6"))
    keys = [(alarm.key, said is not None) for alarm, said in standing(state, NOW)]
    assert keys == [("node/atlas-04/link", False), ("node/atlas-02/npu/4", False), ("node/atlas-02/npu/6", True)]


def test_one_remark_said_on_many_nodes_is_one_at_its_earliest_time() -> None:
    # atlas-02's clock is 0.8 s ahead of ours.
    state = after(say("note", id_="n", at=NOW + 5.8, node="atlas-02"), say("note", id_="n", at=NOW + 7, node="atlas-01"), say("note", id_="m", at=NOW + 6))
    assert [(one.id, one.time) for one in notes(state)] == [("m", NOW + 6), ("n", pytest.approx(NOW + 5.0))]


def test_not_all_that_was_ever_said_is_kept() -> None:
    state = after(*(say("note", id_=str(n), at=NOW + n) for n in range(KEPT_REMARKS + 5)))
    assert len(state.remarks) == KEPT_REMARKS and notes(state)[-1].id == "5"


def test_garbage_is_no_remark() -> None:
    state = after(RECORD("atlas-01", "remark", NOW, id=None, what=3, until="x"), RECORD("atlas-01", "presence", NOW, consoles="x"))
    assert not state.remarks and colleagues(state) == ()


def test_colleagues_over_all_nodes_the_armed_first_and_oneself_left_out() -> None:
    def present(node: str, *consoles: tuple[str, str, float | None]) -> FleetEvent:
        return RECORD(node, "presence", NOW, consoles=[{"operator": who, "console": where, "uid": 0, "since": NOW - 60, "armed_until": until} for who, where, until in consoles])

    state = after(present("atlas-01", ("ann", "b:1", None), ("bob", "b:2", None), ("me", "b:3", None)), present("atlas-02", ("bob", "b:2", NOW + 600)),
                  present("atlas-04", ("eve", "b:9", None)))
    assert [(one.operator, one.nodes, one.armed_until) for one in colleagues(state, own="b:3")] == [
        ("bob", ("atlas-01", "atlas-02"), NOW + 600), ("ann", ("atlas-01",), None)], "atlas-04 is not reached: who is there is not known"


def test_the_newest_word_counts() -> None:
    state = after(say("mute", "*", at=NOW), say("acknowledge", "node/*", id_="s", at=NOW + 1))
    alarm = standing(state, NOW + 2)[0][0]
    found = answered(alarm, tuple(state.remarks.values()), NOW + 2)
    assert found is not None and found.what == "acknowledge"
