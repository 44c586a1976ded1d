"""A YAML file as values that know where they stand. Pure: text in, ``Value`` trees out.

Read with the YAML 1.2 core schema, not PyYAML's 1.1: ``1e-3`` is a number, ``yes``, ``off``, ``12:30`` and
``007`` are texts. What YAML would pass over in silence is a finding here: a key twice in one block, a tag,
two documents in one file. Aliases and ``<<`` merges work; an alias inside itself and more than
``MAX_VALUES`` values (an alias bomb) do not.

Positions are ``file:line:column``, counted from 1 as editors do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import yaml

from console.core.errors import FileError
from console.core.launch.problems import Problem
from console.core.records import dataclass

Scalar: TypeAlias = str | int | float | bool | None
Path: TypeAlias = tuple[str | int, ...]

MAX_VALUES = 200_000
"""A fleet of 4,096 nodes spelled out with all its fields is about 60,000."""


class Locate(Protocol):
    """Says where in the files something stands, as ``Value.locate`` does."""

    def __call__(self, path: Sequence[str | int], key: bool = False) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a file: a scalar, a block (dict) or a list, with its place."""

    data: Scalar | dict[str, Value] | list[Value]
    where: str
    key_where: str = ""
    """Place of the key it stands under; empty at the top and in lists."""

    def plain(self) -> Any:
        """The value without places: dict, list, scalar."""
        if isinstance(self.data, dict):
            return {key: value.plain() for key, value in self.data.items()}
        if isinstance(self.data, list):
            return [value.plain() for value in self.data]
        return self.data

    def at(self, path: Sequence[str | int]) -> Value | None:
        """The value at a path of keys and list positions (from 0); None when there is none."""
        found: Value = self
        for step in path:
            if isinstance(found.data, dict) and str(step) in found.data:
                found = found.data[str(step)]
            elif isinstance(found.data, list) and str(step).isdecimal() and int(step) < len(found.data):
                found = found.data[int(step)]
            else:
                return None
        return found

    def locate(self, path: Sequence[str | int], key: bool = False) -> str:
        """Where the value at ``path`` stands; for a block, and for everything when ``key`` is true, the key above
        it. For a path that is not there: the nearest block around it."""
        for length in range(len(path), 0, -1):
            if found := self.at(path[:length]):
                by_key = key or length < len(path) or isinstance(found.data, dict)
                return (found.key_where if by_key else "") or found.where
        return self.where


def merge(base: Value, over: Value) -> Value:
    """``over`` on top of ``base``: blocks are merged key by key, anything else of ``over`` replaces."""
    if not isinstance(base.data, dict) or not isinstance(over.data, dict):
        return over
    merged = dict(base.data)
    for key, value in over.data.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return replace(over, data=merged)


def parse(text: str, name: str, *, quick: bool = False) -> tuple[Value, list[Problem]]:
    """The one document in ``text`` and what is wrong with it; ``name`` is the file's name in positions.

    ``quick`` reads by libyaml where PyYAML was built with it, ten times faster: for what a screen waits for.
    It is a little less strict than PyYAML inside ``{}``. An empty file is an empty block. Raises FileError when
    it is not YAML at all.
    """
    try:
        node = _root(text, quick)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise FileError("not a text file", where=f"{name}:{line}", got=f"the character #x{ord(error.character):04x}"
                        if isinstance(error.character, str) else "bytes that are no text",
                        expected="YAML in UTF-8")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise FileError(f"not valid YAML: {what}", where=place, fix="Mend the line; often it is the indentation or a missing quote")
    if node is None:
        return Value(data={}, where=f"{name}:1:1"), []
    reader = _Reader(name)
    return reader.value(node), reader.problems


def _root(text: str, quick: bool) -> yaml.Node | None:
    # What libyaml refuses is read again, so that errors are told in one wording; and a tab only PyYAML refuses.
    if quick and _Quick is not None and "\t" not in text:
        try:
            found: yaml.Node | None = _Quick(text).get_single_node()
        except (yaml.YAMLError, ValueError):
            pass
        else:
            return found
    return _Loader(text).get_single_node()


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the YAML 1.2 core schema's scalars."""

    yaml_implicit_resolvers: dict[Any, Any] = {}


for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    # Without leading zeros: 007 and 001-128 are names, not numbers.
    ("int", r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+)", list("-+0123456789")),
    ("float", r"(?:[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
     list("-+0123456789.")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^{_pattern}$"), _first)

_Quick: Any = None
if hasattr(yaml, "CSafeLoader"):
    _Quick = type("_Quick", (yaml.CSafeLoader,), {"yaml_implicit_resolvers": _Loader.yaml_implicit_resolvers})


class _Reader:
    """Node trees to Value trees, findings collected on the way."""

    def __init__(self, name: str) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._count = 0
        self._open: list[int] = []

    def value(self, node: yaml.Node, key_where: str = "") -> Value:
        where = self._place(node)
        self._count += 1
        if id(node) in self._open or self._count > MAX_VALUES:
            what = "an alias that contains itself" if id(node) in self._open else f"more than {MAX_VALUES:,} values"
            if not any(problem.message.endswith(what) for problem in self.problems):
                self._report(where, f"the file holds {what}")
            return Value(data=None, where=where, key_where=key_where)
        self._open.append(id(node))
        data: Scalar | dict[str, Value] | list[Value] = None
        if not isinstance(node, yaml.ScalarNode) and node.tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            self._tag(node)
        if isinstance(node, yaml.MappingNode):
            data = self._block(node)
        elif isinstance(node, yaml.SequenceNode):
            data = [self.value(item) for item in node.value]
        elif isinstance(node, yaml.ScalarNode):
            data = self._scalar(node, where)
        self._open.pop()
        return Value(data=data, where=where, key_where=key_where)

    def _block(self, node: yaml.MappingNode) -> dict[str, Value]:
        block: dict[str, Value] = {}
        inherited: dict[str, Value] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._report(place, "a key must be a plain word", expected="key: value")
                continue
            value = self.value(value_node, place)
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in value.data if isinstance(value.data, list) else [value]:
                    if isinstance(source.data, dict):
                        inherited = {**source.data, **inherited}
                    else:
                        self._report(place, "<< takes a block or a list of blocks")
                continue
            if key_node.value in block:
                self._report(place, f"key {key_node.value!r} stands twice in this block",
                             fix=f"Keep one of them; the other is at {block[key_node.value].key_where}")
                continue
            block[key_node.value] = value
        return {**inherited, **block}

    def _scalar(self, node: yaml.ScalarNode, where: str) -> Scalar:
        text: str = node.value
        kind = node.tag.rpartition(":")[2]
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            if kind == "float":
                return float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
        except ValueError:
            self._report(where, "not a number", got=repr(text))
            return None
        if kind not in ("str", "merge"):
            self._tag(node)
        return text

    def _tag(self, node: yaml.Node) -> None:
        self._report(self._place(node), f"tags such as {node.tag} are not read", fix="Write the value itself")

    def _report(self, where: str, message: str, **parts: str) -> None:
        self.problems.append(Problem(rule="J1", severity="error", where=where, message=message, **parts))

    def _place(self, node: yaml.Node) -> str:
        mark = node.start_mark
        return f"{self._name}:{mark.line + 1}:{mark.column + 1}"
