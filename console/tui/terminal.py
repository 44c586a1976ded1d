"""Whether a terminal gets the screen or text, line by line. Pure."""

from __future__ import annotations

from collections.abc import Mapping

UNABLE = ("", "dumb", "unknown")
"""Values of TERM of terminals that cannot move their cursor."""


def wants_text(plain: bool, environ: Mapping[str, str]) -> bool:
    """Text, because it was asked for (``--plain``) or because the terminal can do no more. A driver of Textual's own is no terminal."""
    return plain or (environ.get("TERM", "dumb") in UNABLE and not environ.get("TEXTUAL_DRIVER"))
