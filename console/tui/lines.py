"""Lines of text with tones: what the drawing functions return, and the only way text reaches the screen.

A ``Line`` is a list of (text, tone) pairs; tones are turned into styles by ``palette``. Drawing is pure and
tested without Textual. ``shown`` is applied to everything that came from outside: nothing a log, a job name
or an npu-smi table contains may act on the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]

TAB_CELLS = 4
# Controls (C0, DEL, C1), invisible and direction-changing formatting (soft hyphen, Arabic letter mark, zero
# width characters, bidi embeddings, overrides and isolates, line and paragraph separators, variation
# selectors, byte order mark, annotations, tags) and halves of surrogate pairs. Joiners and selectors are
# here because terminals disagree about the width of what they make.
_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]")
# More than two marks on one letter grow into the lines above and below.
_STACKED = re.compile("([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{2})"
                      "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_BARS = " ▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def shown(text: str) -> str:
    """The text with every character that could act on the terminal made visible.

    C0 controls become Unicode's control pictures (ESC reads ␛), all others their code in angle brackets
    (<9B>, <202E>); tabs become blanks. The result has no control, format or surrogate character.
    """
    if text.isascii() and text.isprintable():
        return text
    return _STACKED.sub(r"\1", _ACTIVE.sub(_picture, text))


def harmless(text: str) -> bool:
    """Whether ``shown`` would leave the text as it is."""
    return (text.isascii() and text.isprintable()) or (_ACTIVE.search(text) is None and _STACKED.search(text) is None)


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 9:
        return " " * TAB_CELLS
    if code < 32:
        return chr(0x2400 + code)
    return "\u2421" if code == 127 else f"<{code:02X}>"


def fit(text: str, width: int, *, right: bool = False) -> str:
    """The text, made visible, in exactly ``width`` cells: cut with … or filled with blanks.

    ``right`` puts the text at the right edge. Wide (CJK) characters count two cells.
    """
    if width <= 0:
        return ""
    if len(text) <= width and text.isascii() and text.isprintable():  # nearly all there is
        return text.rjust(width) if right else text.ljust(width)
    text = shown(text[: width * 4 + 16])  # a name of 10,000 characters is not measured to its end
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width - 1) + "…"
    blanks = " " * (width - cells)
    return blanks + text if right else text + blanks


def fit_end(text: str, width: int) -> str:
    """The end of the text in at most ``width`` cells."""
    while cell_len(text) > width:
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return text


def clip(text: str, width: int) -> str:
    """The text, made visible, in at most ``width`` cells."""
    return fit(text, width).rstrip() if width > 0 else ""


def bar(share: float | None, width: int) -> str:
    """A horizontal bar of ``width`` cells, in eighths; ``share`` from 0 to 1, None is empty."""
    if share is None or width <= 0:
        return " " * max(0, width)
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def level(pct: float | None) -> str:
    """One character as high as a percentage: - for not known, · for (almost) nothing."""
    if pct is None:
        return "-"
    return "·" if pct < 1 else _BARS[max(1, min(8, round(pct / 12.5)))]


def spark(values: Sequence[float | None]) -> str:
    """A line of level characters over the values' own range; blanks where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    return "".join(" " if value is None else _BARS[1 + round(7 * (value - low) / span)] for value in values)


def width_of(line: Iterable[Span]) -> int:
    """Cells the line takes."""
    return sum(cell_len(text) for text, _ in line)


def pad(line: Line, width: int) -> Line:
    """The line cut or filled to exactly ``width`` cells."""
    left, out = width, []
    for text, tone in line:
        cells = cell_len(text)
        if cells > left:
            if left > 0:
                out.append((set_cell_size(text, left), tone))
            return out
        out.append((text, tone))
        left -= cells
    if left > 0:
        out.append((" " * left, "plain"))
    return out


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` cells, at blanks where there are any."""
    lines = []
    for line in text.splitlines() or [""]:
        rest = shown(line)
        while cell_len(rest) > width:
            at = cells = 0
            for at, character in enumerate(rest):  # noqa: B007  the place is what is wanted
                cells += cell_len(character)
                if cells > width:
                    break
            blank = rest.rfind(" ", 0, at + 1)
            at = blank if blank > width // 3 else max(1, at)
            lines.append(rest[:at])
            rest = rest[at:].lstrip(" ")
        lines.append(rest)
    return lines
