"""Text in the columns of a terminal, where a Chinese character takes two. Pure."""

from __future__ import annotations

import re
from unicodedata import east_asian_width

_PIECE = re.compile(r"[^\S\n]+|[!-~]+|[^\s!-~]")
_CLOSING = frozenset("，。；：、！？）》」』”’…")
"""Marks that no line begins with."""


def cells(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return len(text) if text.isascii() else len(text) + sum(east_asian_width(character) in "WF" for character in text)


def padded(text: str, width: int) -> str:
    """The text with blanks behind it up to ``width`` columns; a longer one as it is."""
    return text + " " * (width - cells(text))


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most ``width`` columns: broken at blanks and between Chinese characters, within a word only where it is wider."""
    lines: list[str] = []
    line: list[str] = []
    for piece in _PIECE.findall(text):
        if sum(map(cells, line)) + cells(piece) > width:
            # A mark that ends something takes along what it ends.
            along = [line.pop()] if piece in _CLOSING and len(line) > 1 else []
            lines.append("".join(line).strip())
            line = [*along, piece]
            while cells(line[-1]) > width:
                lines.append(line[-1][:width])
                line[-1] = line[-1][width:]
        else:
            line.append(piece)
    return [each for each in [*lines, "".join(line).strip()] if each]
