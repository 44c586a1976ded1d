"""What an operator says to the others from the screen: alarms acknowledged and muted, notes. Words only; nothing that
runs is changed, so none of it needs arming. Also tells the others while this console is armed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from console.core.fleet.company import SHIFT_S, span_s
from console.core.i18n import say
from console.core.intents import SayRemark, TellArmed

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

REMIND_S = 60.0
"""A node whose link came back learns so late at most that this console is armed."""
WHATS = {"ack": "acknowledge", "mute": "mute", "unmute": "unmute", "note": "note"}


def remark(name: str, argument: str, selected: str, now: float) -> SayRemark:
    """What ``:ack [KEY] REASON``, ``:mute [KEY] [30m|8h|2d] REASON``, ``:unmute [KEY]`` and ``:note TEXT`` say.

    ``selected``: key of the selected alarm, or empty. Raises ValueError with what is missing.
    """
    if name == "note":
        if not argument.strip():
            raise ValueError(say("say what: :note TEXT"))
        return SayRemark(what="note", subject="", text=argument.strip())
    word, _, rest = argument.strip().partition(" ")
    subject, rest = (word, rest.strip()) if re.search(r"[/*?]", word) else (selected, argument.strip())
    if not subject:
        raise ValueError(say("which alarm? Select it in view 8, or name its key"))
    if name == "unmute":
        return SayRemark(what="unmute", subject=subject, text="")
    until = None
    if name == "mute":
        word, _, reason = rest.partition(" ")
        try:
            until, rest = now + span_s(word), reason.strip()
        except ValueError:
            until = now + SHIFT_S
    if not rest:
        raise ValueError(say("say why: :{name} REASON", name=name))
    return SayRemark(what=WHATS[name], subject=subject, text=rest, until=until)


class ColleagueDoings:
    """One a screen."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._told_s, self._armed = float("-inf"), False

    def say(self, name: str, argument: str) -> None:
        """Say it to the others, or say what is missing."""
        from console.tui.widgets.alarm_list import AlarmList

        pane = self._app.host.pane("alarms")
        try:
            wish = remark(name, argument, pane.subject() if isinstance(pane, AlarmList) else "", self._app.clock.wall_s())
        except ValueError as error:
            self._app.tell(str(error), "warn")
        else:
            self._app.send(wish)

    def tell_armed(self, mono_s: float) -> None:
        """Tell the others when arming begins and ends, and now and then while it lasts."""
        armed = self._app.arming.armed
        if armed != self._armed or (armed and mono_s - self._told_s >= REMIND_S):
            self._armed, self._told_s = armed, mono_s
            self._app.submit(TellArmed(left_s=self._app.arming.left_s))
