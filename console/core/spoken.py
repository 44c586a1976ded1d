"""What the console's errors are in the operator's language. Pure.

An error is made in English, and mostly comes to the screen as its finished text (the reason of a link, an answer, a
notice). Its four parts are found again by the shape that ``ConsoleError`` gives them, and each is looked up by itself.
What the catalogue lacks, and what a node or a person said, stays as it is. Documents and logs are never spoken, and
commands speak where they are told the language (``--lang``).
"""

from __future__ import annotations

import re
from functools import lru_cache

from console.core.errors import ConsoleError
from console.core.i18n import LANGUAGE, Phrase, recognised, say

_DEEPEST = 2
"""Errors within an error's "got"."""
_WORDS = frozenset({"nothing", "both", "neither"})
"""What is a word of ours though it stands alone; any other single word is a value."""
_SENTENCE = re.compile(r"(?<=[.?]) (?=[A-Z])")
_KEPT = 512


def spoken(error: ConsoleError) -> str:
    """The error in the language in use, its four parts joined as ``str`` joins them."""
    if type(error).__str__ is not ConsoleError.__str__:  # several problems of one file, a line each
        return spoken_text(str(error))
    if not _language():
        return str(error)
    return _joined(error.where, recognised(error.what), _part(error.got, _DEEPEST), _part(error.expected, _DEEPEST), _move(error.fix))


def spoken_text(text: str) -> str:
    """The same of an error that is text already, and of any other text that the catalogue has; else the text. Phrases are said."""
    if isinstance(text, Phrase):
        return say(text)
    language = _language()
    return "\n".join(_kept(language, line) for line in text.split("\n")) if language and text else text


def spoken_list(text: str) -> str:
    """The same of reasons that were put one behind the other, as those why a checkpoint is not whole."""
    return "; ".join(map(spoken_text, text.split("; ")))


def _language() -> str:
    code = say(LANGUAGE)
    return "" if code == LANGUAGE else code


@lru_cache(maxsize=_KEPT)
def _kept(language: str, line: str) -> str:
    # The reasons of links are drawn again with every picture.
    return _line(line, _DEEPEST)


def _line(line: str, depth: int) -> str:
    made = head, got, expected, fix = _parts(line)
    where, what = _place(head)
    said = what, _part(got, depth), _part(expected, depth), _move(fix)
    return line if (where, *said) == ("", *made) else _joined(where, *said)


def _joined(where: str, what: str, got: str, expected: str, fix: str) -> str:
    text = say("{where}: {what}", where=where, what=what) if where else what
    if expected:
        text = say("{what} (got {got}, expected {expected})", what=text, got=got or say("nothing"), expected=expected)
    elif got:
        text = say("{what} (got {got})", what=text, got=got)
    return say("{text}. {fix}", text=text, fix=fix) if fix else text


def _parts(line: str) -> tuple[str, str, str, str]:
    """Where and what, got, expected, next move."""
    head, between, tail = line.partition(" (got ")
    if between and (end := _closing(tail)) >= 0:
        inner, fix = tail[:end], tail[end + 1:].removeprefix(". ")
        got, _, expected = _halves(inner)
        return head, got, expected, fix
    at = line.find(". ")
    while at >= 0:
        if _place(line[:at]) != ("", line[:at]) or _move(line[at + 2:]) != line[at + 2:]:
            return line[:at], "", "", line[at + 2:]
        at = line.find(". ", at + 1)
    return line, "", "", ""


def _closing(tail: str) -> int:
    """Where the bracket ends that was open before the text; -1 for nowhere."""
    depth, last = 0, -1
    for at, character in enumerate(tail):
        if character == "(":
            depth += 1
        elif character == ")":
            if tail[at + 1:at + 3] in ("", ". "):
                last = at
                if depth <= 0:
                    return at
            depth -= 1
    return last


def _halves(inner: str) -> tuple[str, str, str]:
    """Got and expected, which stand in one bracket; one of an error within it is none of this one's."""
    at = inner.rfind(", expected ")
    while at >= 0 and inner.count("(", at) != inner.count(")", at):
        at = inner.rfind(", expected ", 0, at)
    return inner.partition(", expected ") if at < 0 else (inner[:at], ", expected ", inner[at + len(", expected "):])


def _place(head: str) -> tuple[str, str]:
    """Where, which is a place and stays, and what in the language."""
    place, between, rest = head.partition(": ")
    if between and " " not in place and (said := recognised(rest)) != rest:
        return place, said
    if (said := recognised(head)) != head:
        return "", said
    at = head.find(": ")
    while at >= 0:
        if (said := recognised(head[at + 2:])) != head[at + 2:]:
            return head[:at], said
        at = head.find(": ", at + 1)
    return "", head


def _part(text: str, depth: int) -> str:
    """Got or expected: often a value, sometimes words, once in a while errors of others."""
    if " " not in text and text not in _WORDS:
        return text
    if (said := recognised(text)) != text or not depth:
        return said
    if (said := "; ".join(_line(each, depth - 1) for each in text.split("; "))) != text:
        return said
    return text


def _move(fix: str) -> str:
    """The next move: one sentence of ours, or several that were put together."""
    if (said := recognised(fix)) != fix:
        return said
    return " ".join(_sentence(each) for each in _SENTENCE.split(fix)) if fix else ""


def _sentence(text: str) -> str:
    for each in (text, text.removesuffix("."), f"{text}."):
        if (said := recognised(each)) != each:
            return f"{said}。" if _language() == "zh" and text.endswith(".") and said[-1:] not in "。？" else said
    return text
