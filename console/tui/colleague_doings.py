"""What an operator says to the others from the screen: alarms acknowledged and muted, notes. Words only; nothing that
runs is changed, so none of it needs arming. Also tells the others while this console is armed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from console.core.fleet.company import SHIFT_S, span_s
from console.core.i18n import say
from console.core.intents import SayRemark, TellArmed
from console.tui.widgets.alarm_list import AlarmList

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

REMIND_S = 60.0
"""A node whose link came back learns so late at most that this console is armed."""


class ColleagueDoings:
    """One a screen."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._told_s, self._armed = float("-inf"), False

    def ack(self, argument: str) -> None:
        """``[KEY] REASON``: somebody sees to it."""
        subject, reason = self._parsed(argument)
        if not subject:
            self._app.tell(say("which alarm? Select it in view 8, or name its key"), "warn")
        elif not reason:
            self._app.tell(say("say why: :{name} REASON", name="ack"), "warn")
        else:
            self._app.send(SayRemark(what="acknowledge", subject=subject, text=reason))

    def mute(self, argument: str) -> None:
        """``[KEY] [30m|8h|2d] REASON``: say nothing more of it for a while."""
        subject, rest = self._parsed(argument)
        word, _, reason = rest.partition(" ")
        try:
            for_s = span_s(word)
        except ValueError:
            for_s, reason = SHIFT_S, rest
        if not subject:
            self._app.tell(say("which alarm? Select it in view 8, or name its key"), "warn")
        elif not reason.strip():
            self._app.tell(say("say why: :{name} REASON", name="mute"), "warn")
        else:
            self._app.send(SayRemark(what="mute", subject=subject, text=reason.strip(), until=self._app.clock.wall_s() + for_s))

    def unmute(self, argument: str) -> None:
        """``[KEY]``: tell of it again."""
        subject, _ = self._parsed(argument)
        if subject:
            self._app.send(SayRemark(what="unmute", subject=subject, text=""))
        else:
            self._app.tell(say("which alarm? Select it in view 8, or name its key"), "warn")

    def note(self, argument: str) -> None:
        """``TEXT``: for everybody who watches this fleet, now or later."""
        if argument:
            self._app.send(SayRemark(what="note", subject="", text=argument))
        else:
            self._app.tell(say("say what: :note TEXT"), "warn")

    def tell_armed(self, mono_s: float) -> None:
        """Tell the others when arming begins and ends, and now and then while it lasts."""
        armed = self._app.arming.armed
        if armed != self._armed or (armed and mono_s - self._told_s >= REMIND_S):
            self._armed, self._told_s = armed, mono_s
            self._app.submit(TellArmed(left_s=self._app.arming.left_s))

    def _parsed(self, argument: str) -> tuple[str, str]:
        """Alarm key (named first, or the selected one's) and the rest."""
        word, _, rest = argument.strip().partition(" ")
        if re.search(r"[/*?]", word):
            return word, rest.strip()
        pane = self._app.host.pane("alarms")
        return (pane.subject() if isinstance(pane, AlarmList) else ""), argument.strip()
