"""User texts by language. Pure.

English is written where it is used, as the argument of ``say``; another language is a catalogue from that
text to its own. Placeholders are ``str.format`` fields and are the same in every language.

What is made in one place and shown in another is a ``Phrase``: English to everybody who reads it (a document, a log),
and still its text and fields to ``say``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LANGUAGE = "LANGUAGE"
"""The catalogue's entry for the code of its own language."""

_catalogue: dict[str, str] = {}


class Phrase(str):
    """An English text that remembers what it is made of."""

    __slots__ = ("fields", "texts")

    fields: Mapping[str, object]
    """Those that are phrases themselves are said in the language too; all others are facts."""
    texts: Mapping[str, str]
    """Language -> text with fields; "en" is the key of the catalogue, which holds those that are not here."""


def use(catalogue: Mapping[str, str]) -> None:
    """Say everything in the catalogue's words from now on; what it lacks stays English. Called once, at start."""
    _catalogue.clear()
    _catalogue.update(catalogue)


def say(text: str, /, **values: object) -> str:
    """The text in the language in use, with its fields filled in; of a phrase with its own."""
    fields: Mapping[str, object] = values
    if isinstance(text, Phrase):
        fields = {name: say(value) if isinstance(value, Phrase) else value for name, value in text.fields.items()} | values
        text = text.texts.get(_catalogue.get(LANGUAGE, "en"), text.texts["en"])
    text = _catalogue.get(text, text)
    return text.format(**fields) if fields else text


def phrase(text: str, /, **fields: object) -> Phrase:
    """The text with its fields, to be said later."""
    return translated({"en": text}, **fields)


def translated(texts: Mapping[str, str], /, **fields: object) -> Phrase:
    """The same of a text that brings its translations along; "en" must be among them."""
    made = Phrase(texts["en"].format(**fields) if fields else texts["en"])
    made.fields, made.texts = fields, texts
    return made


def joined(separator: str, parts: Iterable[str]) -> Phrase:
    """Like ``separator.join``, of phrases and facts."""
    found = list(parts)
    return phrase(separator.join(f"{{part{at}}}" for at in range(len(found))), **{f"part{at}": part for at, part in enumerate(found)})
