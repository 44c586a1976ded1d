"""Pasted shell text as commands: assignments, words, places. Pure; nothing is ever executed.

A reader for what people paste, not a shell: quoting, line continuation, comments, redirections (dropped), ``;``
``&&`` ``||`` ``|`` and newlines, and ``$NAME``/``${NAME}`` of variables set earlier in the same text. What only a shell could
work out (``$(...)``, globs, unknown variables) stays as it is written and is marked.

Documentation pasted out of a browser often arrives on one line, with the comment that headed the second
node's command in the middle. A comment with assignments or a docker run in it is therefore skipped only up to
the first of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_RESUMES = re.compile(r"(?:[A-Z_][A-Z0-9_]*=\S*\s+){2,}|[A-Za-z_][A-Za-z0-9_]*=[\"']|(?:docker|podman)\s+(?:container\s+)?run\s+-")
_EXPANSION = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_REDIRECTION = re.compile(r"[0-9]?>&[0-9-]|&>>?\s*[^\s;|&]+|[0-9]?>>?\s*[^\s;|&>]+")
_SEPARATORS = ("&&", "||", ";", "|", "&", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One shell word after quotes are taken off and known variables put in."""

    text: str
    where: str
    """file:line:column of its first character."""
    open: bool = False
    """It has a ``$`` in it that is not resolved."""
    quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """``KEY=value`` before a command or alone."""

    key: str
    value: str
    where: str
    open: bool = False


@dataclass(slots=True, kw_only=True)
class Command:
    """Words up to a separator, in their order."""

    assignments: list[Assignment] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    piped_into: str = ""
    """First word of the command this one's output goes to, e.g. ``tee``."""


def parse(text: str, name: str) -> list[Command]:
    """The commands of ``text`` in order. Lines of prose come out as commands too; the caller picks what it knows."""
    variables: dict[str, str] = {}
    found: list[Command] = []
    current, piped = Command(), False
    for token in _tokens(text, name, variables):
        if isinstance(token, str):
            if current.words or current.assignments:
                if piped and len(found) and current.words:
                    found[-1].piped_into = current.words[0].text
                found.append(current)
                if not current.words:
                    variables.update({one.key: one.value for one in current.assignments})
                current, piped = Command(), token == "|"
            continue
        match = ASSIGNMENT.match(token.text)
        if match and not current.words and not token.quoted:
            one = Assignment(key=match[0][:-1], value=token.text[match.end():], where=token.where, open=token.open)
            current.assignments.append(one)
        elif match and current.words and current.words[0].text == "export":
            one = Assignment(key=match[0][:-1], value=token.text[match.end():], where=token.where, open=token.open)
            variables[one.key] = one.value
            current.assignments.append(one)
        else:
            current.words.append(token)
    return found


def _tokens(text: str, name: str, variables: Mapping[str, str]) -> Iterator[Word | str]:
    """Words, and separators as plain texts; a newline ends the text."""
    at, line, start_of_line = 0, 1, 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1:at + 2] in ("\n", "\r"):
            at += 3 if text[at + 1:at + 3] == "\r\n" else 2
            line, start_of_line = line + 1, at
        elif char == "\\" and text[at + 1:at + 2] in (" ", "\t"):
            # A continuation whose newline was lost on the way.
            at += 1
        elif char == "\n":
            yield "\n"
            at += 1
            line, start_of_line = line + 1, at
        elif char.isspace():
            at += 1
        elif char == "#":
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            inside = _RESUMES.search(text, at, end)
            if inside:
                yield "\n"
            at = inside.start() if inside else end
        elif (redirected := _REDIRECTION.match(text, at)):
            at = redirected.end()
        elif (separator := next((s for s in _SEPARATORS if text.startswith(s, at)), "")):
            yield separator
            at += len(separator)
        else:
            place = f"{name}:{line}:{at - start_of_line + 1}"
            word, at, newlines = _word(text, at, variables)
            if newlines:
                line += newlines
                start_of_line = text.rfind("\n", 0, at) + 1
            yield replace(word, where=place)
    yield "\n"


def _word(text: str, at: int, variables: Mapping[str, str]) -> tuple[Word, int, int]:
    pieces: list[str] = []
    begin, is_open, quoted = at, False, False

    def expand(piece: str) -> str:
        nonlocal is_open

        def value(match: re.Match[str]) -> str:
            return variables.get(match[1] or match[2], match[0])

        piece = _EXPANSION.sub(value, piece)
        is_open = is_open or "$" in piece or "`" in piece
        return piece

    while at < len(text) and not text[at].isspace() and not any(text.startswith(s, at) for s in _SEPARATORS):
        char = text[at]
        if char == "'":
            end = text.find("'", at + 1)
            if end < 0:
                # An apostrophe of prose, not a quotation.
                pieces.append(char)
                at += 1
                continue
            quoted = quoted or at == begin
            pieces.append(text[at + 1:end])
            at = end + 1
        elif char == '"':
            end = at + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            if end >= len(text):
                pieces.append(char)
                at += 1
                continue
            quoted = quoted or at == begin
            pieces.append(expand(re.sub(r"\\([\"\\$`])", r"\1", text[at + 1:end])))
            at = end + 1
        elif char == "\\":
            if text[at + 1:at + 2] in ("\n", "\r", ""):
                break
            pieces.append(text[at + 1])
            at += 2
        elif text.startswith("$(", at):
            depth, end = 0, at
            while end < len(text):
                depth += (text[end] == "(") - (text[end] == ")")
                end += 1
                if depth == 0 and text[end - 1] == ")":
                    break
            pieces.append(text[at:end])
            is_open, at = True, end
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in "'\"\\;|&" and not text.startswith("$(", end):
                end += 1
            # What a variable holds is split at blanks when it stands unquoted; none of ours needs to be.
            piece = text[at:end]
            expanded = expand(piece)
            pieces.append(expanded.strip() if expanded != piece else expanded)
            at = max(end, at + 1)
    return Word(text="".join(pieces), where="", open=is_open, quoted=quoted), at, text.count("\n", begin, at)
