"""Tones to styles: the one place where colours are named.

The sixteen colours of the terminal are used, so that the operator's own scheme, light or dark, holds and
the screen stays small on slow lines (measured: a first screen of 25 kB against 45 kB in true colour).
Severity owns red and yellow; load runs from blue over cyan to green, so a busy fleet never looks ill.
Nothing relies on colour: every status has a glyph, and the strongest use reverse video.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style

STYLES: dict[str, Style] = {
    "plain": Style(),
    "dim": Style(dim=True),
    "strong": Style(bold=True),
    "head": Style(dim=True, bold=True),
    "name": Style(bold=True),
    "good": Style(color="green"),
    "warn": Style(color="yellow", bold=True),
    "bad": Style(color="red", bold=True),
    "alarm": Style(color="red", bold=True, reverse=True),
    "stale": Style(color="yellow", dim=True),
    "off": Style(dim=True),
    "busy": Style(color="cyan"),
    "key": Style(color="cyan", bold=True),
    "heat0": Style(dim=True),
    "heat1": Style(color="blue"),
    "heat2": Style(color="cyan"),
    "heat3": Style(color="green"),
    "heat4": Style(color="bright_green"),
    "memory": Style(color="magenta"),
    "curve": Style(color="bright_cyan"),
    "beside0": Style(color="magenta"),
    "beside1": Style(color="green"),
    "beside2": Style(color="blue"),
    "axis": Style(dim=True),
    "saved": Style(color="green", bold=True),
    "restarted": Style(color="yellow", bold=True),
    "armed": Style(color="red", bold=True, reverse=True),
    "past": Style(color="yellow", bold=True, reverse=True),
    "match": Style(color="black", bgcolor="yellow"),
    "marked": Style(color="magenta", bold=True),
    "future": Style(dim=True),
    "smooth": Style(color="bright_yellow", bold=True),
    "barred": Style(reverse=True),
    "cursor": Style(reverse=True),
}


_used: dict[str, Style] = dict(STYLES)


def use(styles: Mapping[str, Style]) -> None:
    """Draw with these styles where they say something, else with ``STYLES``."""
    _used.clear()
    _used.update({**STYLES, **styles})


def style(tone: str) -> Style:
    """The style of a tone; unknown tones are plain."""
    return _used.get(tone, STYLES["plain"])


def heat(pct: float | None) -> str:
    """The tone of a load in percent."""
    if pct is None or pct < 1:
        return "heat0"
    return "heat1" if pct < 25 else "heat2" if pct < 50 else "heat3" if pct < 85 else "heat4"
