"""The actions that move the one time cursor; part of ``doings.Doings``."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from console.core.i18n import say
from console.tui.actions import seconds

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

STEP_S, LEAP_S = 10.0, 300.0
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


class TimeDoings:
    """Methods take the argument as typed, "" when there is none."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app

    def go_to(self, time: float) -> None:
        """Put the time cursor at a moment."""
        app = self._app
        app.context.cursor.go(time, app.end())
        app.context.generation += 1
        app.show()

    def _step(self, by_s: float) -> None:
        app = self._app
        first = app.moments.first
        if not app.context.cursor.replay:
            app.context.cursor.first = 0.0 if first is None else min(first, app.earliest())
        app.context.cursor.move(by_s, app.end())
        app.context.generation += 1

    def earlier(self, argument: str) -> None:
        self._step(-STEP_S)

    def later(self, argument: str) -> None:
        self._step(STEP_S)

    def much_earlier(self, argument: str) -> None:
        self._step(-LEAP_S)

    def much_later(self, argument: str) -> None:
        self._step(LEAP_S)

    def at(self, argument: str) -> None:
        try:
            self.go_to(moment_of(argument, self._app.end()))
        except ValueError as error:
            self._app.tell(str(error), "warn")

    def live(self, argument: str) -> None:
        self._app.context.cursor.live()

    def play(self, argument: str) -> None:
        app, cursor = self._app, self._app.context.cursor
        try:
            speed = float(argument) if argument else 0.0
        except ValueError:
            speed = -1.0
        if not 0 <= speed <= 10_000:
            app.tell(say("a speed is a number such as 1, 10, 60"), "warn")
        elif cursor.at is None:
            app.tell(say("this is now; [ goes back"))
        elif cursor.speed and not argument:
            cursor.speed = 0.0
        else:
            cursor.speed = speed or cursor.usual_speed


def moment_of(text: str, now: float) -> float:
    """A time of day (UTC, the newest such before ``now``) or so long before now, as seconds since the epoch. Raises ValueError."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return now - seconds(text.lstrip("-"))
    day = datetime.fromtimestamp(now, timezone.utc)
    moment = day.replace(hour=int(found[1]), minute=int(found[2]), second=int(found[3] or 0), microsecond=0).timestamp()
    return moment if moment <= now else moment - 86400
