"""A layout file as a typed tree of panes. Pure: a mapping in, a ``LayoutSpec`` out.

Layout file (YAML, version 1)::

    version: 1
    name: default
    title: Fleet and training          # optional
    read_only: true                    # optional: this console only looks
    root:
      split: vertical                  # children from top to bottom; horizontal: left to right
      size: 1fr                        # of this box in its parent: Nfr, N (cells) or N%
      children:
        - {pane: fleet-grid, size: 8}
        - split: horizontal
          children: [{pane: loss, size: 2fr}, {pane: checkpoints}]

Panes come from the closed list ``PANES``; what a pane does is the widget's business. Colours and borders
are the layout's TCSS file (same stem), which may style ``#pane-<name>`` and may not move anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NoReturn

from console.core.errors import FileError
from console.core.launch.document import Locate
from console.core.records import dataclass

VERSION = 1
PANES = ("fleet-grid", "nodes", "loss", "metrics", "checkpoints", "logs", "faults", "phases", "timeline", "audit", "job")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A pane (``pane`` set) or a split with children (``pane`` empty)."""

    pane: str = ""
    split: Literal["vertical", "horizontal"] = "vertical"
    size: str = "1fr"
    children: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSpec:
    """One screen arrangement."""

    name: str
    root: Box
    title: str = ""
    read_only: bool = False
    """Whether the console cannot be armed while this is its layout (a screen on the wall)."""


MAX_DEPTH = 8
"""Boxes within boxes; more leaves nothing to see at 80 x 24."""

_SIZE = re.compile(r"[1-9][0-9]*(?:fr|%)?")


def from_mapping(mapping: Mapping[str, Any], *, where: str, locate: Locate | None = None) -> LayoutSpec:
    """The layout in a mapping. ``where`` names the file in errors, ``locate`` makes them point into it.

    Raises FileError for the first thing wrong.
    """
    def by_name(path: Sequence[str | int], key: bool = False) -> str:
        return f"{where}: {'.'.join(map(str, path))}" if path else where

    return _Reader(locate or by_name).layout(mapping)


class _Reader:
    """Reads one layout file, stopping at the first mistake."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._panes: dict[str, tuple[str | int, ...]] = {}

    def layout(self, mapping: Any) -> LayoutSpec:
        block = self._block(mapping, (), ("version", "name", "title", "read_only", "root"))
        version = block.get("version")
        if version != VERSION or isinstance(version, bool):
            self._refuse(("version",), "not a layout version we read", got=_said(version), expected=str(VERSION),
                         fix=f"Begin the file with version: {VERSION}")
        if "root" not in block:
            self._refuse((), "a layout needs a root box", expected="root: {pane: loss}, or a split with children")
        read_only = block.get("read_only", False)
        if not isinstance(read_only, bool):
            self._refuse(("read_only",), "not yes or no", got=_said(read_only), expected="true or false")
        return LayoutSpec(name=self._text(block, "name", ()), title=self._text(block, "title", (), ""), read_only=read_only, root=self._box(block["root"], ("root",)))

    def _box(self, value: Any, path: tuple[str | int, ...]) -> Box:
        if len(path) > 2 * MAX_DEPTH:
            self._refuse(path, "boxes are nested too deep", expected=f"at most {MAX_DEPTH} levels")
        block = self._block(value, path, ("pane", "split", "size", "children"))
        size = str(block.get("size", "1fr"))
        if _SIZE.fullmatch(size) is None or isinstance(block.get("size"), (bool, float)) or (size.endswith("%") and int(size[:-1]) > 100):
            self._refuse((*path, "size"), "not a size", got=_said(block.get("size")), expected="Nfr, N (cells) or N%", fix="For example 2fr")
        if ("pane" in block) == ("children" in block):
            self._refuse(path, "a box is a pane or has children", got="both" if "pane" in block else "neither", expected="one of pane, children")
        if "pane" in block:
            return Box(pane=self._pane(block, path), size=size)
        split = block.get("split", "vertical")
        if split not in ("vertical", "horizontal"):
            self._refuse((*path, "split"), "not a way to split", got=_said(split), expected="vertical or horizontal",
                         fix=_near(split, ("vertical", "horizontal")))
        children = block["children"]
        if not isinstance(children, Sequence) or isinstance(children, str) or not children:
            self._refuse((*path, "children"), "not a list of boxes", got=_said(children), expected="[{pane: loss}, ...]")
        return Box(split=split, size=size,
                   children=tuple(self._box(child, (*path, "children", at)) for at, child in enumerate(children)))

    def _pane(self, block: Mapping[str, Any], path: tuple[str | int, ...]) -> str:
        pane = block["pane"]
        if pane not in PANES:
            self._refuse((*path, "pane"), "there is no such pane", got=_said(pane), expected=", ".join(PANES), fix=_near(pane, PANES))
        if "split" in block:
            self._refuse((*path, "split"), "a pane is not split", fix="Take split out, or give the box children instead of a pane")
        if pane in self._panes:
            self._refuse((*path, "pane"), f"pane {pane!r} stands twice", fix=f"The other is at {self._locate(self._panes[pane])}")
        self._panes[str(pane)] = (*path, "pane")
        return str(pane)

    def _block(self, value: Any, path: tuple[str | int, ...], known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._refuse(path, "not a block of keys", got=_said(value), expected=", ".join(known))
        for key in value:
            if key not in known:
                raise FileError(f"unknown key {key!r}", where=self._locate((*path, str(key)), key=True), expected=", ".join(known),
                                got=repr(key), fix=_near(key, known))
        return value

    def _text(self, block: Mapping[str, Any], key: str, path: tuple[str | int, ...], default: str | None = None) -> str:
        value = block.get(key, default)
        if not isinstance(value, str) or not value.isprintable() or (default is None and not value):
            self._refuse((*path, key), f"{key} is not a text", got=_said(value), expected="a text on one line")
        return value

    def _refuse(self, path: tuple[str | int, ...], what: str, *, got: str = "", expected: str = "", fix: str = "") -> NoReturn:
        raise FileError(what, where=self._locate(path), got=got, expected=expected, fix=fix)


def _near(value: Any, known: Sequence[str]) -> str:
    near = get_close_matches(str(value), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    return repr(value) if isinstance(value, (str, int, float, bool)) else f"a {'block' if isinstance(value, Mapping) else 'list'}"
