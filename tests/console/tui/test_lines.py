"""Text is made harmless, and fits its cells."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from console.tui.lines import bar, clip, fit, level, pad, shown, spark, width_of
from console.tui.widgets.line_pane import strip

NASTY = {
    "colour": "\x1b[31mred\x1b[0m", "title": "\x1b]0;owned\x07", "clipboard": "\x1b]52;c;ZXZpbA==\x07", "c1 csi": "\x9b2J", "c1 osc": "\x9d52;c;x\x9c",
    "carriage return": "good\rbad", "backspace": "rm\x08\x08ls", "bell": "\x07" * 5, "null": "a\x00b", "delete": "a\x7fb", "newline": "a\nb\x0bc\x0cd\x85e",
    "bidi override": "user\u202etxt.exe", "bidi isolate": "\u2066x\u2069\u2067y", "marks": "\u200e\u200f\u061c", "zero width": "a\u200bb\u200cc\u200dd\ufeffe",
    "separators": "a\u2028b\u2029c", "tags": "x\U000e0041\U000e007f", "surrogate": "x\ud800y", "soft hyphen": "co\u00adoperate", "selector": "\u2764\ufe0f",
    "alternate screen": "\x1b[?1049h", "dcs": "\x1bPq#0~\x1b\\", "shift out": "\x0e\x0f"}


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_nothing_that_acts_on_a_terminal_is_left(text: str) -> None:
    safe = shown(text)
    assert not [c for c in safe if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert cell_len(safe) >= 1
    assert shown(safe) == safe


def test_what_acts_is_shown_as_text() -> None:
    assert shown("\x1b[31mred\x07") == "␛[31mred␇"
    assert shown("a\u202eb\x9bc\x7f") == "a<202E>b<9B>c␡"
    assert shown("a\tb") == "a    b"


def test_ordinary_text_is_left_alone() -> None:
    for text in ("loss 2.5", "中文节点 α ✓", "é" + "e\u0301", "한국어"):
        assert shown(text) == text


def test_stacked_marks_stay_within_their_line() -> None:
    assert shown("e" + "\u0301" * 50) == "e\u0301\u0301"


@given(st.text(alphabet=st.characters(), max_size=60), st.integers(1, 30))
def test_any_text_fits_exactly(text: str, width: int) -> None:
    cut = fit(text, width)
    assert cell_len(cut) == width
    assert not [c for c in cut if unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    assert strip([(text, "plain")], width).cell_length == width


def test_fit_cuts_fills_and_aligns() -> None:
    assert fit("abc", 5) == "abc  "
    assert fit("abc", 5, right=True) == "  abc"
    assert fit("abcdef", 5) == "abcd…"
    assert fit("节点节点", 5) == "节点…"
    assert fit("x", 0) == ""
    assert fit("x" * 10_000, 6) == "xxxxx…"
    assert clip("abcdef", 5) == "abcd…" and clip("abc", 5) == "abc"


def test_bars_and_levels() -> None:
    assert bar(0.5, 4) == "██  " and bar(1.5, 2) == "██" and bar(None, 3) == "   " and bar(1 / 16, 2) == "▏ "
    assert [level(pct) for pct in (None, 0, 1, 50, 100)] == ["-", "·", "▁", "▄", "█"]
    assert spark([1, None, 2]) == "▁ █"


def test_pad_never_exceeds_the_width() -> None:
    line = pad([("ab", "x"), ("中文", "y")], 5)
    assert width_of(line) == 5 and line[0] == ("ab", "x")
    assert width_of(pad([], 3)) == 3
