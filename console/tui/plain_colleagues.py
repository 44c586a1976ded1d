"""Alarms, colleagues and notes as text, for ``plain``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from console.core.fleet.company import colleagues, notes, standing
from console.core.fleet.views import duration_text
from console.core.i18n import say
from console.tui.widgets.listings import clock_text

if TYPE_CHECKING:
    from console.core.fleet.state import FleetState

SHOWN = 40


def told(state: FleetState, now: float, own: str, put: Callable[[str], None]) -> None:
    """Everything of view 8, a sentence a line."""
    found = standing(state, now)
    if not found:
        put(say("nothing wants attention"))
    for alarm, said in found[:SHOWN]:
        since = f", {duration_text(max(0.0, now - alarm.since))}" if alarm.since is not None else ""
        put(f"{alarm.severity}{since}, {alarm.key}: {alarm.text}" + (f". {say(said.what)} {said.operator}: {said.text}" if said is not None else ""))
    for one in colleagues(state, own):
        armed = one.armed_until is not None and one.armed_until > now
        put(f"{say('Here too')}: {one.operator or '?'} {one.console}" + (f", {say('ARMED {left}', left=duration_text((one.armed_until or now) - now))}" if armed else ""))
    for note in notes(state)[:SHOWN]:
        put(f"{clock_text(note.time, now)} {note.operator or '?'}: " + ("" if note.what == "note" else f"{say(note.what)} {note.subject} ") + note.text)
