"""User texts by language. Pure.

English is written where it is used, as the argument of ``say``; another language is a catalogue from that
text to its own. Placeholders are ``str.format`` fields and are the same in every language.
"""

from __future__ import annotations

from collections.abc import Mapping

_catalogue: dict[str, str] = {}


def use(catalogue: Mapping[str, str]) -> None:
    """Say everything in the catalogue's words from now on; what it lacks stays English. Called once, at start."""
    _catalogue.clear()
    _catalogue.update(catalogue)


def say(text: str, /, **values: object) -> str:
    """The text in the language in use, with its fields filled in."""
    text = _catalogue.get(text, text)
    return text.format(**values) if values else text
