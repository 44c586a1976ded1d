"""One line of text being typed: keys in, text out. Pure.

Not a Textual ``Input``: that is mounted and focused a moment after it is asked for, and keys that a terminal
sends in one burst (a paste, tmux send-keys, a slow line that delivers late) would be lost or, worse, act as
commands. Here the key after ``:`` is already text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

MAX_CHARACTERS = 4000
Outcome = Literal["", "entered", "left"]


@dataclass(slots=True, kw_only=True)
class LineEditor:
    """``kind`` names what is being typed (command, filter, find); ``prompt`` stands before the text."""

    kind: str
    prompt: str
    text: str = ""
    at: int = 0
    """Where the next character goes, in characters."""
    history: Sequence[str] = ()
    candidates: Callable[[str], Sequence[str]] = field(default=lambda line: ())
    """Whole lines that a line could become."""
    _back: int = 0
    _draft: str = ""

    def insert(self, text: str) -> None:
        """Type or paste; line breaks and controls end nothing and are dropped."""
        text = "".join(character for character in text if character.isprintable())[: MAX_CHARACTERS - len(self.text)]
        self.text = self.text[: self.at] + text + self.text[self.at :]
        self.at += len(text)

    def key(self, name: str, character: str | None) -> Outcome:
        """Take one key, in Textual's spelling. ``entered`` and ``left`` end the line."""
        if name in ("enter", "ctrl+m", "ctrl+j"):
            return "entered"
        if name in ("escape", "ctrl+c", "ctrl+g"):
            return "left"
        known = self._KEYS.get(name)
        if known is not None:
            known(self)
        elif name == "backspace" or name == "ctrl+h":
            if not self.text:
                return "left"
            self._cut(self.at - 1, self.at)
        elif character is not None and character.isprintable() and not name.startswith(("ctrl+", "alt+")):
            self.insert(character)
        return ""

    def _cut(self, start: int, end: int) -> None:
        start = max(0, start)
        self.text, self.at = self.text[:start] + self.text[end:], start

    def _word_start(self) -> int:
        head = self.text[: self.at].rstrip()
        return head.rfind(" ") + 1

    def _move(self, to: int) -> None:
        self.at = max(0, min(len(self.text), to))

    def _recall(self, step: int) -> None:
        if self._back == 0:
            self._draft = self.text
        self._back = max(0, min(len(self.history), self._back + step))
        self.text = self._draft if self._back == 0 else self.history[-self._back]
        self.at = len(self.text)

    def complete(self) -> None:
        """As far as all candidates agree; a single one is taken whole."""
        found = self.candidates(self.text)
        if not found:
            return
        common = found[0]
        for other in found[1:]:
            while not other.startswith(common):
                common = common[:-1]
        if len(common) > len(self.text) or len(found) == 1:
            self.text, self.at = common, len(common)

    _KEYS: ClassVar[Mapping[str, Callable[[LineEditor], None]]] = {
        "left": lambda self: self._move(self.at - 1), "right": lambda self: self._move(self.at + 1),
        "home": lambda self: self._move(0), "ctrl+a": lambda self: self._move(0),
        "end": lambda self: self._move(len(self.text)), "ctrl+e": lambda self: self._move(len(self.text)),
        "delete": lambda self: self._cut(self.at, self.at + 1), "ctrl+d": lambda self: self._cut(self.at, self.at + 1),
        "ctrl+w": lambda self: self._cut(self._word_start(), self.at), "ctrl+u": lambda self: self._cut(0, self.at),
        "ctrl+k": lambda self: self._cut(self.at, len(self.text)),
        "up": lambda self: self._recall(1), "ctrl+p": lambda self: self._recall(1),
        "down": lambda self: self._recall(-1), "ctrl+n": lambda self: self._recall(-1),
        "tab": lambda self: self.complete(),
    }
