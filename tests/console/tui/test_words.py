"""The catalogue against the code: nothing untranslated, nothing left over in a field, the locale chooses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from console.core import i18n
from console.core.preflight.table import CHECKS
from console.tui.actions import ACTIONS, GROUPS
from console.tui.views import VIEWS
from console.tui.widgets import check_matrix
from console.tui.words import catalogue, language
from console.tui.words_zh import WORDS

TUI = Path(__file__).resolve().parents[3] / "console" / "tui"


def said() -> Iterator[str]:
    """Every text that the code of the screen says."""
    for path in TUI.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say" and node.args:
                yield from (each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    for action in ACTIONS:
        yield from filter(None, (action.help, action.label))
    yield from (title for title, _ in GROUPS)
    yield from (view.title for view in VIEWS.values())
    yield from (check.title for check in CHECKS)
    yield from check_matrix.WORDS.values()


def test_everything_that_is_said_is_in_the_catalogue() -> None:
    assert sorted({text for text in said() if text not in WORDS and re.search("[A-Za-z]", text)}) == []


@pytest.mark.parametrize("text", [text for text in WORDS if "{" in text])
def test_fields_are_the_same_in_both_languages(text: str) -> None:
    assert sorted(re.findall(r"\{[^}]*\}", text)) == sorted(re.findall(r"\{[^}]*\}", WORDS[text]))


@pytest.mark.parametrize(("wanted", "environ", "expected"), [
    ("", {}, "en"), ("zh", {"LANG": "en_US.UTF-8"}, "zh"), ("en", {"LANG": "zh_CN.UTF-8"}, "en"), ("", {"LANG": "zh_CN.UTF-8"}, "zh"), ("", {"LC_ALL": "C", "LANG": "zh_CN"}, "en"),
    ("", {"LANG": "en_US.UTF-8", "LANGUAGE": "zh_CN:en"}, "zh"), ("", {"LANG": "C.UTF-8", "LANGUAGE": "zh"}, "en"), ("", {"LANG": "de_DE"}, "en")])
def test_the_locale_chooses_the_language(wanted: str, environ: dict[str, str], expected: str) -> None:
    assert language(wanted, environ) == expected


def test_the_catalogue_is_used() -> None:
    try:
        i18n.use(catalogue("zh", {}))
        assert i18n.say("saved at {n}", n=3) == "保存于 3"
    finally:
        i18n.use({})
