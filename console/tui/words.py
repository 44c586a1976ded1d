"""Which language the screen speaks, and its catalogue. English is in the code; others are here."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "zh")


def language(wanted: str, environ: Mapping[str, str]) -> str:
    """``wanted`` when given, else the language of the locale (LC_ALL, LC_MESSAGES, LANG; LANGUAGE before them), else en."""
    if wanted in LANGUAGES:
        return wanted
    named = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    if named and not named.startswith(("C", "POSIX")):
        named = environ.get("LANGUAGE", "").split(":")[0] or named
    return "zh" if named.lower().startswith("zh") else "en"


def catalogue(wanted: str, environ: Mapping[str, str]) -> Mapping[str, str]:
    """English text -> text in the language; empty for English."""
    if language(wanted, environ) != "zh":
        return {}
    from console.tui.words_zh import WORDS

    return WORDS
