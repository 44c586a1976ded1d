"""Layout files: what is read, and the first mistake named with its place."""

from __future__ import annotations

import pytest

from console.core.errors import FileError
from console.core.launch.document import parse
from console.core.layout import PANES, Box, LayoutSpec, from_mapping

GOOD = """
version: 1
name: default
title: Fleet and training
root:
  split: vertical
  children:
    - {pane: fleet-grid, size: 8}
    - split: horizontal
      size: 60%
      children: [{pane: loss, size: 2fr}, {pane: checkpoints}]
"""


def read(text: str) -> LayoutSpec:
    value, problems = parse(text, "l.yaml")
    assert not problems
    return from_mapping(value.plain(), where="l.yaml", locate=value.locate)


def test_a_layout_is_read() -> None:
    assert read(GOOD) == LayoutSpec(name="default", title="Fleet and training", root=Box(split="vertical", children=(
        Box(pane="fleet-grid", size="8"),
        Box(split="horizontal", size="60%", children=(Box(pane="loss", size="2fr"), Box(pane="checkpoints"))))))


def test_every_pane_of_the_list_can_be_placed() -> None:
    children = ", ".join(f"{{pane: {pane}}}" for pane in PANES)
    assert len(read(f"version: 1\nname: all\nroot: {{children: [{children}]}}").root.children) == len(PANES)


def test_one_pane_is_a_layout() -> None:
    assert read("version: 1\nname: x\nroot: {pane: logs}").root == Box(pane="logs")


@pytest.mark.parametrize(("text", "place", "what"), [
    ("[]", "l.yaml:1:1", "not a block"),
    ("name: x\nroot: {pane: logs}", "l.yaml:1:1", "version"),
    ("version: 2\nname: x\nroot: {pane: logs}", "l.yaml:1:10", "version"),
    ("version: 1\nroot: {pane: logs}", "l.yaml:1:1", "name"),
    ("version: 1\nname: x", "l.yaml:1:1", "root"),
    ("version: 1\nname: x\nrot: 1\nroot: {pane: logs}", "l.yaml:3:1", "unknown key 'rot'"),
    ("version: 1\nname: x\nroot: {pane: los}", "l.yaml:3:14", "Did you mean 'loss'"),
    ("version: 1\nname: x\nroot: {pane: [loss]}", "l.yaml:3:14", "no such pane"),
    ("version: 1\nname: x\nroot: {pane: loss, size: 0}", "l.yaml:3:26", "not a size"),
    ("version: 1\nname: x\nroot: {pane: loss, size: 120%}", "l.yaml:3:26", "not a size"),
    ("version: 1\nname: x\nroot: {pane: loss, size: 1em}", "l.yaml:3:26", "not a size"),
    ("version: 1\nname: x\nroot: {pane: loss, size: true}", "l.yaml:3:26", "not a size"),
    ("version: 1\nname: x\nroot: {pane: loss, split: vertical}", "l.yaml:3:27", "not split"),
    ("version: 1\nname: x\nroot: {pane: loss, children: [{pane: logs}]}", "l.yaml:3:1", "pane or has children"),
    ("version: 1\nname: x\nroot: {}", "l.yaml:3:1", "pane or has children"),
    ("version: 1\nname: x\nroot: {children: []}", "l.yaml:3:18", "list of boxes"),
    ("version: 1\nname: x\nroot: {children: [{pane: loss}, {pane: loss}]}", "l.yaml:3:40", "twice"),
    ("version: 1\nname: x\nroot: {split: across, children: [{pane: loss}]}", "l.yaml:3:15", "way to split"),
    ("version: 1\nname: x\nroot: " + "{children: [" * 9 + "{pane: loss}" + "]}" * 9, "l.yaml:3:", "nested too deep"),
])
def test_the_first_mistake_is_named(text: str, place: str, what: str) -> None:
    with pytest.raises(FileError) as raised:
        read(text)
    assert raised.value.where.startswith(place)
    assert what in str(raised.value)


def test_without_places_the_key_is_named() -> None:
    with pytest.raises(FileError) as raised:
        from_mapping({"version": 1, "name": "x", "root": {"pane": "nope"}}, where="l.yaml")
    assert raised.value.where == "l.yaml: root.pane"
