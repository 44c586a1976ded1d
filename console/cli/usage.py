"""``--help`` and usage errors in the operator's language: a parser's words are said in place, and argparse's own as they come.

Loaded only where the language is not English: help has to be quick. Refuses to build the command line (``cli.build_parser``
does, in English, and the manual page and the guide are made of that).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from console.core import i18n
from console.core.columns import wrapped

_SET = r"(?m)^lang:\s*['\"]?(en|zh)\b"
"""``lang: zh`` in the settings file."""


def language(words: Sequence[str], settings: str, environ: Mapping[str, str]) -> str:
    """Of this command line: ``--lang``, else the setting, else the locale. ``settings``: their file, there or not."""
    from console.tui.words import language as chosen

    wanted = ""
    for at, word in enumerate(words):
        if word == "--":
            break
        if word == "--lang":
            wanted = words[at + 1] if at + 1 < len(words) else ""
        elif word.startswith("--lang="):
            wanted = word.removeprefix("--lang=")
    if not wanted and (found := re.search(_SET, _read(settings))):
        wanted = found[1]
    return chosen(wanted, environ)


@contextmanager
def chinese() -> Iterator[None]:
    """argparse speaks Chinese meanwhile: what it says of wrong usage, and the heads of help."""
    from console.tui.words_zh_help import HELP

    before = {name: vars(argparse)[name] for name in ("_", "ngettext")}
    i18n.use(HELP)
    # argparse asks gettext, which wants compiled files; these two names are all that it asks by (Python 3.10 to 3.14).
    vars(argparse).update(_=i18n.say, ngettext=lambda one, many, count: i18n.say(one if count == 1 else many))
    try:
        yield
    finally:
        i18n.use({})
        vars(argparse).update(before)


def say_in_place(parser: argparse.ArgumentParser) -> None:
    """Say the words of the parser, and of those below it, in the language in use, so that its help is in it."""
    raw = isinstance(parser.formatter_class, type) and issubclass(parser.formatter_class, argparse.RawDescriptionHelpFormatter)
    parser.formatter_class = _Raw if raw else _Wrapped
    said = _lines if raw else i18n.say
    parser.usage, parser.description, parser.epilog = (text and said(text) for text in (parser.usage, parser.description, parser.epilog))
    for group in parser._action_groups:
        group.title = group.title and i18n.say(group.title)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                say_in_place(inner)
        elif action.help and action.help != argparse.SUPPRESS:
            action.help = i18n.say(action.help)


def _lines(text: str) -> str:
    """A text of lines: each is said by itself, behind what is typed."""
    return "\n".join(typed + i18n.say(does) for typed, does in map(halves, text.splitlines()))


def halves(line: str) -> tuple[str, str]:
    """``  status    the same as text``: what is typed, and what it does; the latter alone of other lines."""
    typed, between, does = line.rpartition("  ")
    return typed + between, does


class _Wrapped(argparse.HelpFormatter):
    """Help of which a character may take two columns."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrapped(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in wrapped(text, width - len(indent)))

    def _format_usage(self, usage, actions, groups, prefix) -> str:  # type: ignore[no-untyped-def]  # as the class above has it
        # Its columns are counted by a head that is as wide.
        return str(super()._format_usage(usage, actions, groups, "usage:")).replace("usage:", i18n.say("usage: "), 1)


class _Raw(_Wrapped):
    """The same of a text of lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = ([line] if line.startswith(" ") else wrapped(line, width - len(indent)) for line in text.splitlines())
        return "\n".join(indent + each for found in lines for each in found or [""])


def _read(path: str) -> str:
    """The settings as they stand; not parsed, as that takes longer than all of help does."""
    if not os.path.exists(path):
        return ""
    from pathlib import Path

    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


__all__ = ["chinese", "halves", "language", "say_in_place"]
