"""Every layout file that is shipped loads, and its style sheet parses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from textual.css.parse import parse

from console.core.layout import PANES, Box, from_mapping

FOLDER = Path(__file__).resolve().parents[2] / "layouts"
LAYOUTS = sorted(FOLDER.glob("*.yaml"))


def panes(box: Box) -> list[str]:
    """Names of the panes in a box, from the top."""
    return [box.pane] if box.pane else [name for child in box.children for name in panes(child)]


def test_there_are_layouts() -> None:
    assert LAYOUTS


@pytest.mark.parametrize("path", LAYOUTS, ids=lambda path: path.stem)
def test_a_layout_loads_and_shows_known_panes(path: Path) -> None:
    spec = from_mapping(yaml.safe_load(path.read_text("utf-8")), where=str(path))
    shown = panes(spec.root)
    assert shown
    assert set(shown) <= set(PANES)
    assert len(shown) == len(set(shown)), "a pane's id would not be unique"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.tcss")), ids=lambda path: path.stem)
def test_a_style_sheet_parses_and_belongs_to_a_layout(path: Path) -> None:
    rules = list(parse("", path.read_text("utf-8"), (str(path), "")))
    assert [error for rule in rules for error in rule.errors] == []
    assert path.with_suffix(".yaml").exists()


def test_no_python_lies_among_the_layouts() -> None:
    assert {path.suffix for path in FOLDER.iterdir() if path.is_file()} <= {".yaml", ".tcss"}
