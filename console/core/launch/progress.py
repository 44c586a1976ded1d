"""What a launch and its steps say of themselves while they are under way, in the operator's language. Pure."""

from __future__ import annotations

from console.core.events import LaunchProgress
from console.core.i18n import Phrase, say
from console.core.spoken import spoken_text

TOLD = ("done", "failed", "undone")
"""States of a phase that are worth a line; the others are on their way to one of these."""


def progress_text(event: LaunchProgress, job: str) -> str:
    """``node: phase state (seconds): why``, one phase on one node; of another job than ``job`` with its name."""
    text = f"{say(event.phase)} {say(event.state)}"
    if event.took_s is not None:
        text = say("{what} ({s:.1f} s)", what=text, s=event.took_s)
    if event.job != job:
        text = say("{where}: {what}", where=event.job, what=text)
    text = say("{where}: {what}", where=event.node, what=text)
    return say("{where}: {what}", where=text, what=spoken_text(event.why)) if event.why else text


def line_text(node: str, line: str) -> str:
    """A line that a step printed on a node, as it is; or a word of ours about it (``i18n.Phrase``), said."""
    return say("{where}: {what}", where=node, what=say(line)) if isinstance(line, Phrase) else f"{node}: {line}"
