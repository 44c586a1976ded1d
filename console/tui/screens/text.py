"""Lines as one text, for what is not drawn line by line: dialogs, help, palette."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from console.tui.lines import Line, shown
from console.tui.palette import style


def text_of(lines: Sequence[Line]) -> Text:
    """Lines as one text that wraps, made harmless."""
    text = Text()
    for at, line in enumerate(lines):
        if at:
            text.append("\n")
        for part, tone in line:
            text.append(shown(part), style(tone))
    return text
