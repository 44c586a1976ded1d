"""User texts by language. Pure.

English is written where it is used, as the argument of ``say``; another language is a catalogue from that
text to its own. Placeholders are ``str.format`` fields and are the same in every language.

What is made in one place and shown in another is a ``Phrase``: English to everybody who reads it (a document, a log),
and still its text and fields to ``say``.

What is made by code that knows nothing of languages (a rule of the trainer, an error of an edge) is a finished English
text; ``recognised`` finds it again in the catalogue, by its templates: keys in which ``{0}``, ``{1}``, ... stand in order
for what was filled in. All other braces of such a key are themselves. A value stays as it is, but where the other
language has ``{0!}`` it is one of our own words there (a phase, an attempt's state), and is said too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LANGUAGE = "LANGUAGE"
"""The catalogue's entry for the code of its own language."""

_FIELD = re.compile(r"\{([0-9]+)\}")
_FILLED = re.compile(r"\{([0-9]+)(!?)\}")
_DEEPEST = 3
"""Templates within fields of templates; a text of somebody else's may look like any number of them."""
_FEW = 10
"""Characters below which a template ("set {0}", "{0} or more") says too little to claim sentences of others for its fields."""


class _Template(NamedTuple):
    """One key with numbered fields."""

    literals: tuple[str, ...]
    """What stands around the fields: one more than there are fields."""
    numbers: tuple[str, ...]
    said: str

    @property
    def size(self) -> int:
        return sum(map(len, self.literals))


_catalogue: dict[str, str] = {}
_templates: dict[str, list[_Template]] = {}
"""First whole word (empty: none stands before the first field) -> templates, the longest first. Made when first asked for."""


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
    _templates.clear()
    _catalogue.update(catalogue)


def say(text: str, /, **values: object) -> str:
    """The text in the language in use, with its fields filled in; of a phrase with its own."""
    fields: Mapping[str, object] = values
    if isinstance(text, Phrase):
        fields = {name: say(value) if isinstance(value, Phrase) else value for name, value in text.fields.items()} | values
        text = text.texts.get(_catalogue.get(LANGUAGE, "en"), text.texts["en"])
        if not fields:
            return recognised(text)  # made of a finished text: an error's
    text = _catalogue.get(text, text)
    return text.format(**fields) if fields else text


def told(text: str, /) -> str:
    """A phrase in the language in use; what a node or a person wrote as it is."""
    return say(text) if isinstance(text, Phrase) else text


def recognised(text: str, /) -> str:
    """A finished English text in the language in use: said whole where the catalogue has it whole, else by the template
    with the most words of its own that it fits, else as it is.

    A field has at least one character and ends at the first place it can. Of fields those with several words are recognised
    as well; a single word is a value (a key, a node's name) and stays, and templates of very few words take values and what is recognised only.
    A sentence that begins with a capital is also looked for without it. Phrases are said.
    """
    if isinstance(text, Phrase):
        return say(text)
    return _recognised(text, _DEEPEST) if _catalogue and text else text


def _recognised(text: str, depth: int) -> str:
    if text in _catalogue:
        return _catalogue[text]
    if not _templates:
        _compile()
    lowered = text[:1].lower() + text[1:]
    if lowered in _catalogue:
        return _catalogue[lowered]
    best: tuple[_Template, list[str]] | None = None
    # A template that begins with a field takes its text as it is: the capital may be the value's own.
    for said, word in dict.fromkeys(((text, _first_word(text)), (lowered, _first_word(lowered)), (text, ""))):
        for template in _templates.get(word, ()):
            if best is not None and template.size <= best[0].size:
                break
            if (fields := _fields(template.literals, said)) is not None and (
                    template.size >= _FEW or all(_is_value(field) or (depth and _recognised(field, depth - 1) != field) for field in fields)):
                best = template, fields
                break
    if best is None:
        return text
    template, fields = best
    told = (_recognised(field, depth - 1) if depth and " " in field.strip() else field for field in fields)
    values = dict(zip(template.numbers, told, strict=True))

    def filled(found: re.Match[str]) -> str:
        value = values.get(found[1], found[0])
        return _catalogue.get(value, value) if found[2] else value

    return _FILLED.sub(filled, template.said)


def _compile() -> None:
    """The catalogue's templates by their first words."""
    _templates[""] = []
    for text, said in _catalogue.items():
        literals, numbers = tuple(_FIELD.split(text)[::2]), tuple(_FIELD.findall(text))
        if numbers and any(literals):
            word = _first_word(literals[0]) if re.match(r"\S+\s", literals[0]) else ""
            _templates.setdefault(word, []).append(_Template(literals, numbers, said))
    for found in _templates.values():
        found.sort(key=lambda template: -template.size)


def _first_word(text: str) -> str:
    return text.split(maxsplit=1)[0] if text[:1].strip() else ""


def _is_value(field: str) -> bool:
    """One word, or several as a list."""
    return len(field.replace(", ", "").split()) == 1


def _fields(literals: tuple[str, ...], text: str) -> list[str] | None:
    """What stands between the literals, or None where they do not fit. Linear in the text, unlike a pattern of as many gaps."""
    first, *middle, last = literals
    if not (text.startswith(first) and text.endswith(last)):
        return None
    at, end, found = len(first), len(text) - len(last), []
    for literal in middle:
        place = text.find(literal, at + 1, end)
        if place < 0:
            return None
        found.append(text[at:place])
        at = place + len(literal)
    return [*found, text[at:end]] if at < end else None


def phrase(text: str, /, **fields: object) -> Phrase:
    """The text with its fields, to be said later."""
    return translated({"en": text}, **fields)


def worded(text: str, /) -> Phrase:
    """A finished text of ours as a phrase; a phrase as it is."""
    return text if isinstance(text, Phrase) else phrase(text)


def translated(texts: Mapping[str, str], /, **fields: object) -> Phrase:
    """The same of a text that brings its translations along; "en" must be among them."""
    made = Phrase(texts["en"].format(**fields) if fields else texts["en"])
    made.fields, made.texts = fields, texts
    return made


def joined(separator: str, parts: Iterable[str]) -> Phrase:
    """Like ``separator.join``, of phrases and facts."""
    found = list(parts)
    return phrase(separator.join(f"{{part{at}}}" for at in range(len(found))), **{f"part{at}": part for at, part in enumerate(found)})
