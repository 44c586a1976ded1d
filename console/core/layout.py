"""A layout file as a typed tree of panes. Pure: a mapping in, a ``LayoutSpec`` out.

Layout file (YAML, version 1)::

    version: 1
    name: default
    title: Fleet and training          # optional
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

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from console.core.errors import FileError

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


def from_mapping(mapping: Mapping[str, Any], *, where: str) -> LayoutSpec:
    """The layout in a mapping. ``where`` names the file in errors. Raises FileError for the first thing wrong."""
    raise NotImplementedError
