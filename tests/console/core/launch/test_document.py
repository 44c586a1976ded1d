"""YAML with places: the core schema, the silent mistakes, and input made to hurt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.core.errors import FileError
from console.core.launch.document import Value, merge, parse


def value(text: str) -> Value:
    found, problems = parse(text, "f.yaml")
    assert problems == []
    return found


def messages(text: str) -> list[str]:
    return [f"{p.where} {p.message}" for p in parse(text, "f.yaml")[1]]


@pytest.mark.parametrize(("text", "expected"), [
    ("1", 1), ("-3", -3), ("0x1F", 31), ("0o17", 15), ("1e-3", 1e-3), ("6.5", 6.5), (".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf),
    ("true", True), ("False", False), ("yes", "yes"), ("off", "off"), ("12:30:45", "12:30:45"), ("007", "007"),
    ("001-128", "001-128"), ("2026-11-22", "2026-11-22"), ("~", None), ("", None), ("null", None), ("'1'", "1"),
    ("~/x", "~/x"), ("1_000", "1_000"), ("!!str 1", "1"), ("$(id)", "$(id)"), ("12e", "12e"),
])
def test_scalars(text: str, expected: object) -> None:
    found = value(f"k: {text}").plain()["k"]
    assert found == expected and type(found) is type(expected)


def test_nan_is_a_number() -> None:
    assert math.isnan(value("k: .nan").plain()["k"])


def test_places_of_values_and_keys() -> None:
    found = value("a: 1\nb:\n  c: [x, {d: y}]\n")
    assert found.locate(("b", "c")) == "f.yaml:3:6"
    assert found.locate(("b", "c"), key=True) == "f.yaml:3:3"
    assert found.locate(("b", "c", 1, "d")) == "f.yaml:3:14"
    assert found.locate(("b", "missing", "deeper")) == "f.yaml:2:1"
    assert found.locate(("nowhere",)) == "f.yaml:1:1"
    assert found.locate(()) == "f.yaml:1:1"


def test_merge_keeps_the_place_of_what_won() -> None:
    base, over = value("a: {x: 1, y: 2}\nb: [1, 2]"), parse("a: {y: 3}\nb: [4]", "over.yaml")[0]
    both = merge(base, over)
    assert both.plain() == {"a": {"x": 1, "y": 3}, "b": [4]}
    assert both.locate(("a", "x")).startswith("f.yaml") and both.locate(("a", "y")).startswith("over.yaml")


def test_aliases_and_merge_keys() -> None:
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2}\nuse: {<<: [*b, *m], x: 5}\ncopy: *b\n"
    assert value(text).plain()["use"] == {"x": 5, "y": 1}
    assert value(text).plain()["copy"] == {"x": 1, "y": 1}


def test_silent_mistakes_are_findings() -> None:
    assert messages("a: 1\nb: 2\na: 3") == ["f.yaml:3:1 key 'a' stands twice in this block"]
    assert "tags such as" in messages("a: !secret x")[0]
    assert "plain word" in messages("{[1, 2]: x}")[0]
    assert "contains itself" in messages("a: &a [*a]")[0]


def test_python_objects_are_never_made() -> None:
    found, problems = parse("a: !!python/object/apply:os.system ['exit 3']", "f.yaml")
    assert found.plain() == {"a": ["exit 3"]} and len(problems) == 1


def test_an_alias_bomb_is_a_finding() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert any("more than" in message for message in messages("\n".join(lines)))


@pytest.mark.parametrize(("text", "place"), [("a: [1", "f.yaml:1:6"), ("a: b: c", "f.yaml:1:5"), ("a\n\tb: c", "f.yaml:2"),
                                             ("--- 1\n--- 2", "f.yaml:2:1"), ("a: \x00", "f.yaml:1"), ("a: *x", "f.yaml:1:4")])
def test_what_is_not_yaml_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(FileError) as raised:
        parse(text, "f.yaml")
    assert raised.value.where.startswith(place)


def test_empty_file_is_an_empty_block() -> None:
    assert value("").plain() == {} and value("# nothing\n").plain() == {}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found, _ = parse(text, "f.yaml")
    except FileError as error:
        assert error.where.startswith("f.yaml")
    else:
        found.plain()
