"""The wire's shapes are promised to other versions: they may grow, and this file says what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import wire

SHAPES = Path(__file__).with_name("wire.json")


def shapes() -> dict:
    def names(fields: dict) -> dict:
        return {name: sorted(each.__name__ for each in types) for name, types in fields.items()}

    return {"protocol": wire.PROTOCOL, "min_protocol": wire.MIN_PROTOCOL, "max_line_bytes": wire.MAX_LINE_BYTES,
            "records": {kind: names(fields) for kind, fields in wire.RECORD_FIELDS.items()},
            "ops": {op: {"access": access, "args": names(args)} for op, (access, args, _) in wire.OPS.items()},
            "job_states": list(wire.JOB_STATES), "absent_reasons": list(wire.ABSENT_REASONS), "eviction_order": list(wire.EVICTION_ORDER)}


def test_the_shapes_are_the_promised_ones() -> None:
    """A new field, kind or request belongs into wire.json; one that went or changed needs a new protocol number."""
    assert shapes() == json.loads(SHAPES.read_text())


def test_a_message_survives_the_way_there() -> None:
    message = {"t": "rec", "data": {"text": "训练 \x1b[31m \" \\ \u2028", "n": 1.5, "none": None}}
    line = wire.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert wire.decode(line) == message and wire.decode(line.rstrip(b"\n")) == message


def test_a_line_is_as_long_as_it_may_be_and_no_longer() -> None:
    room = wire.MAX_LINE_BYTES - len(wire.encode({"t": "x", "s": ""}))
    assert wire.decode(wire.encode({"t": "x", "s": "a" * room}))
    with pytest.raises(wire.WireError):
        wire.encode({"t": "x", "s": "a" * (room + 1)})
    with pytest.raises(wire.WireError):
        wire.decode(b"x" * (wire.MAX_LINE_BYTES + 1))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"3", b"null", b'{"a": 1}', b'{"t": 1}', b"\xff\xfe"])
def test_what_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode(line)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_refused(value: float) -> None:
    with pytest.raises(ValueError):
        wire.encode({"t": "x", "n": value})


def test_half_a_surrogate_does_not_stop_a_message() -> None:
    assert wire.decode(wire.encode({"t": "x", "s": "a\ud800b"}))["s"] == "a?b"


def test_a_record_is_held_to_its_fields() -> None:
    data = {"kind": "sample", "from_seq": 1, "to_seq": 2, "count": 2}
    assert wire.problems_in("gap", data) == []
    assert wire.problems_in("gap", dict(data, count=None, more="fine")) == []
    assert wire.problems_in("gap", dict(data, count="2")) == ["gap: field 'count' is str"]
    assert wire.problems_in("gap", dict(data, count=True)) == ["gap: field 'count' is bool"]
    assert wire.problems_in("gap", {"kind": "sample"}) == ["gap: field %r is missing" % name for name in ("count", "from_seq", "to_seq")]
    assert wire.problems_in("of a newer agent", {}) == []
