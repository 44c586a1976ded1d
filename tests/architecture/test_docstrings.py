"""Every module, public class and public function says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path.relative_to(ROOT).as_posix() for package in ("console", "agent", "trainer") for path in (ROOT / package).rglob("*.py"))


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Names of what lacks a docstring: the module when it has code, classes and functions at its top."""
    if tree.body and ast.get_docstring(tree) is None:
        yield "the module"
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield f"{node.name} (line {node.lineno})"


@pytest.mark.parametrize("path", SOURCES)
def test_what_is_public_is_documented(path: str) -> None:
    assert list(undocumented(ast.parse((ROOT / path).read_text("utf-8")))) == []


@pytest.mark.parametrize("path", SOURCES)
def test_a_long_module_gives_its_reason(path: str) -> None:
    text = (ROOT / path).read_text("utf-8")
    if len(text.splitlines()) > 600:
        assert "lines" in (ast.get_docstring(ast.parse(text)) or ""), "over 600 lines, and the docstring does not say why"


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in SOURCES if Path(path).stem.rstrip("s") in ("util", "helper", "common", "manager", "misc")] == []
