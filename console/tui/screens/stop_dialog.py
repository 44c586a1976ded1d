"""The dialog before a stop: exact hosts and requests, frozen when it opened, and the job's name to type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from console.core.fleet.run_views import StopTarget
from console.core.i18n import say
from console.core.intents import StopJob
from console.tui.lines import Line, clip
from console.tui.screens.confirm_dialog import ConfirmDialog

NAME_CELLS = 60


class StopDialog(ConfirmDialog):
    """Ends with the intent it was opened with, unchanged, or with None."""

    def __init__(self, intent: StopJob, targets: Sequence[StopTarget], armed: Callable[[], bool]) -> None:
        lines: list[Line] = [
            [(say("Stop"), "bad"), (" ", "plain"), (clip(intent.job, NAME_CELLS), "name"), ("  ", "plain"), (intent.attempt, "dim")],
            [(say("on {n} nodes, and on no others whatever happens meanwhile:", n=len(targets)), "plain")]]
        for target in targets:
            lines.append([(f"  {target.link.glyph} ", target.link.tone), (target.node, "name"), (f"  {say(target.state)}", "plain"),
                          ("" if target.link.tone == "good" else "  " + say("link {state}: it may not get through", state=say(target.link.text)), "warn")])
            lines.append([("    " + target.command, "dim")])
        lines.append([(say("There: SIGTERM to the command's process group, {s:.0f} s, then SIGKILL.", s=intent.grace_s), "plain")])
        super().__init__(intent, lines, intent.job, say("type the job's name, enter; esc leaves it running"), armed,
                         wrong=say("That is not the job's name. Nothing was done."))
