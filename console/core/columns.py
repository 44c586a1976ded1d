"""Text in the columns of a terminal, where a Chinese character takes two. Pure."""

from __future__ import annotations

from unicodedata import east_asian_width


def cells(text: str) -> int:
    """Columns of a terminal that the text takes."""
    return len(text) if text.isascii() else len(text) + sum(east_asian_width(character) in "WF" for character in text)


def padded(text: str, width: int) -> str:
    """The text with blanks behind it up to ``width`` columns; a longer one as it is."""
    return text + " " * (width - cells(text))
