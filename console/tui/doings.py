"""What each action of ``actions.ACTIONS`` does, one method a name. ``ConsoleApp.perform`` has the guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from console.core.fleet.run_views import log_choices, stop_targets
from console.core.fleet.views import duration_text, natural_key
from console.core.i18n import say
from console.core.intents import ReconnectNode, StopJob
from console.tui.actions import parse, seconds
from console.tui.lines import clip
from console.tui.widgets.curve import Loss
from console.tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp


class Doings:
    """Methods take the argument as typed, "" when there is none."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._history: list[str] = []

    def do(self, name: str, argument: str) -> None:
        """Carry out the action of that name."""
        getattr(self, name.replace("-", "_"))(argument)

    def quit(self, argument: str) -> None:
        run = self._app.feed.state.current
        live = run is not None and run.latest is not None and stop_targets(self._app.feed.state, run.latest, 0.0, "")
        self._app.leave("quit", say("{job} keeps running.", job=clip(run.job, 60)) if run is not None and live else "")

    def suspend(self, argument: str) -> None:
        self._app.action_suspend_process()

    def help(self, argument: str) -> None:
        from console.tui.screens.help_screen import HelpScreen

        self._app.push_screen(HelpScreen())

    def command(self, argument: str) -> None:
        from console.tui.widgets.command_line import CommandLine

        if not self._app.query(CommandLine):
            self._app.bottom.display = False
            self._app.mount(CommandLine(self._words(), self._history), after=self._app.bottom)

    def entered(self, line: str) -> None:
        """A command line was finished; an empty one was given up."""
        app, pane = self._app, self._app.host.current
        app.query("CommandLine").remove()
        app.bottom.display = True
        if pane is not None:
            pane.focus(scroll_visible=False)
        if not line.strip():
            return
        self._history.append(line.strip())
        try:
            action, argument = parse(line)
        except ValueError as error:
            app.tell(str(error), "warn")
        else:
            app.perform(action.name, argument)

    def _words(self) -> dict[str, Sequence[str]]:
        state = self._app.feed.state
        choices = log_choices(state.current) if state.current is not None else ()
        return {"node": sorted(state.nodes, key=natural_key), "pane": [pane.pane_name for pane in self._app.host.panes],
                "log": [str(choice.pin[1]) for choice in choices], "duration": ["5m", "10m", "30m", "1h"]}

    def next(self, argument: str) -> None:
        self._app.host.step(1)

    def previous(self, argument: str) -> None:
        self._app.host.step(-1)

    def pane(self, argument: str) -> None:
        found = self._app.host.pane(argument)
        if found is None:
            self._app.tell(say("this layout has no pane {name}", name=argument), "warn")
        else:
            self._app.host.turn_to(found)

    def last(self, argument: str) -> None:
        if self._app.host.before is not None:
            self._app.host.turn_to(self._app.host.before)

    def zoom(self, argument: str) -> None:
        self._app.host.zoomed = not self._app.host.zoomed
        self._app.host.place()

    def back(self, argument: str) -> None:
        if self._app.notice is not None:
            self._app.notice = None
        elif self._app.host.zoomed:
            self.zoom("")

    def log(self, argument: str) -> None:
        view = self._log_view()
        if view is None:
            return
        if not argument:
            view.cycle(1)
        elif not view.find(argument):
            self._app.tell(say("no log of {word} in the newest round", word=argument), "warn")

    def log_back(self, argument: str) -> None:
        view = self._log_view()
        if view is not None:
            view.cycle(-1)

    def follow(self, argument: str) -> None:
        view = self._log_view()
        if view is not None:
            view.set_follow(not view.follow)

    def _log_view(self) -> LogView | None:
        view = self._app.host.pane("logs")
        if isinstance(view, LogView):
            return view
        self._app.tell(say("this layout has no pane {name}", name="logs"), "warn")
        return None

    def log_y(self, argument: str) -> None:
        pane = self._app.host.pane("loss")
        if isinstance(pane, Loss):
            pane.toggle_log_y()

    def reconnect(self, argument: str) -> None:
        if argument in self._app.feed.state.nodes:
            self._app.send(ReconnectNode(node=argument))
            self._app.tell(say("trying {node} again", node=argument))
        else:
            self._app.tell(say("no node is called {name}", name=argument), "warn")

    def arm(self, argument: str) -> None:
        try:
            for_s = seconds(argument) if argument else self._app.arm_s
        except ValueError as error:
            self._app.tell(str(error), "warn")
            return
        self._app.arming.arm(for_s)
        self._app.tell(say("armed for {time}: changes are possible; :disarm ends it", time=duration_text(for_s)), "warn")

    def disarm(self, argument: str) -> None:
        self._app.arming.disarm()
        self._app.tell(say("read-only again"), "good")

    def stop(self, argument: str) -> None:
        from console.tui.screens.stop_dialog import StopDialog

        app, state = self._app, self._app.feed.state
        attempt = state.current.latest if state.current is not None else None
        if attempt is None:
            app.tell(say("nothing to stop: no job is known"), "warn")
            return
        intent = StopJob(job=attempt.job, attempt=attempt.attempt, nodes=(), grace_s=app.grace_s)
        targets = stop_targets(state, attempt, intent.grace_s, intent.why)
        if not targets:
            app.tell(say("nothing to stop: the job lives on no node"), "warn")
            return
        intent = replace(intent, nodes=tuple(target.node for target in targets))

        def decided(confirmed: StopJob | None) -> None:
            if confirmed is not None:
                app.send(confirmed)
                app.tell(say("asked {n} nodes to stop {job}", n=len(confirmed.nodes), job=clip(confirmed.job, 40)), "good")

        app.push_screen(StopDialog(intent, targets, lambda: app.arming.armed), decided)
