"""What each action of ``actions.ACTIONS`` does, one method a name. ``ConsoleApp.perform`` has the guard.

An action that names a pane is done by that pane (``act``), one that names a view by the navigator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from console.core.errors import ConsoleError
from console.core.fleet.fleet_look import ORDERS, VALUES
from console.core.fleet.run_views import log_choices, stop_targets
from console.core.fleet.views import duration_text, natural_key
from console.core.i18n import say
from console.core.intents import ReconnectNode, StopJob, Wish
from console.core.spoken import spoken
from console.tui import outside
from console.tui.actions import BY_NAME, complete, parse, seconds
from console.tui.drill_doings import DrillDoings
from console.tui.line_editor import LineEditor
from console.tui.lines import clip
from console.tui.views import HOME, KEYS, VIEWS
from console.tui.widgets.log_view import LogView

if TYPE_CHECKING:
    from console.core.events import News
    from console.tui.app import ConsoleApp
    from console.tui.colleague_doings import ColleagueDoings
    from console.tui.errand_doings import ErrandDoings



class Doings(DrillDoings):
    """Methods take the argument as typed, "" when there is none."""

    def __init__(self, app: ConsoleApp) -> None:
        super().__init__(app)
        self._history: dict[str, list[str]] = {}

    def do(self, name: str, argument: str) -> None:
        """Carry out the action of that name."""
        action = BY_NAME[name]
        if name in VIEWS:
            self._app.navigator.go(name)
        elif action.pane:
            self._by_pane(action.pane, name, argument)
        else:
            getattr(self, name.replace("-", "_"))(argument)

    def _by_pane(self, pane: str, name: str, argument: str) -> None:
        found = self._app.host.pane(pane)
        if found is not None and BY_NAME[name].asks and not argument:
            self._ask(name, f"{say(name)}: ")
        elif found is not None:
            found.act(name, argument)
        else:
            view = {"logs": "logs", "loss": "training"}[pane]
            key = next(key for key, known in KEYS.items() if known == view)
            self._app.tell(say("{name}: not on this screen; key {key} has it", name=name, key=key), "warn")

    # --- the console itself ------------------------------------------------------------------------------

    def quit(self, argument: str) -> None:
        run = self._app.feed.state.current
        live = run is not None and run.latest is not None and stop_targets(self._app.feed.state, run.latest, 0.0, "")
        self._app.leave("quit", say("{job} keeps running.", job=clip(run.job, 60)) if run is not None and live and not self._app.context.cursor.replay else "")

    def suspend(self, argument: str) -> None:
        outside.suspend(self._app)

    def help(self, argument: str) -> None:
        from console.tui.screens.help_screen import HelpScreen

        self._app.push_screen(HelpScreen())

    def palette(self, argument: str) -> None:
        from console.tui.screens.palette_screen import PaletteScreen

        def picked(line: str | None) -> None:
            if line and BY_NAME[line].needs:
                self._ask("command", ":", f"{line} ")
            elif line:
                self._app.perform(line)

        self._app.push_screen(PaletteScreen(), picked)

    def command(self, argument: str) -> None:
        self._ask("command", ":")

    def _ask(self, kind: str, prompt: str, text: str = "") -> None:
        words = self._words()
        self._app.prompt = LineEditor(kind=kind, prompt=prompt, text=text, at=len(text), history=self._history.get(kind, ()),
                                      candidates=(lambda line: complete(line, words)) if kind == "command" else (lambda line: ()))

    def finished(self, prompt: LineEditor, entered: bool) -> None:
        """A line was finished, or given up."""
        app, line = self._app, prompt.text.strip()
        if not entered:
            return
        if line:
            self._history.setdefault(prompt.kind, []).append(line)
        if prompt.kind == "filter":
            self.filter(line, given=True)
        elif prompt.kind == "find":
            if line:
                self._by_pane("logs", "find", line)
        elif prompt.kind in ("ack", "mute", "note"):
            if line:
                app.perform(prompt.kind, line)
        elif line:
            try:
                action, argument = parse(line)
            except ValueError as error:
                app.tell(str(error), "warn")
            else:
                app.perform(action.name, argument)

    def _words(self) -> dict[str, Sequence[str]]:
        app, state = self._app, self._app.feed.state
        choices = log_choices(state.current) if state.current is not None else ()
        labels = sorted({key for known in app.context.labels.values() for key in known})
        return {"node": sorted(state.nodes, key=natural_key), "pane": [pane.pane_name for pane in app.host.panes],
                "log": [str(choice.pin[1]) for choice in choices], "duration": ["5m", "10m", "30m", "1h"],
                "layout": sorted(app.options.layouts()), "order": ORDERS, "label": labels, "value": VALUES,
                "moment": ["-1m", "-5m", "-30m"], "metric": sorted(state.current.series) if state.current is not None else [],
                "speed": ["1", "10", "60"], "run": self._comparable(), "check": ["quick", "standard", "deep"], "cell": self._cells(),
                "job-file": [app.options.job_file] if app.options.job_file else []}

    def _comparable(self) -> Sequence[str]:
        from console.tui.widgets.charts import comparable

        return comparable(self._app.feed.state)

    def _cells(self) -> list[str]:
        found = self._app.context.sheets.check.found if self._app.context.sheets is not None else None
        return [row.check.id for row in found.rows] if found is not None else []

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
        if not self._app.navigator.last() and self._app.host.before in self._app.host.panes and self._app.host.before is not None:
            self._app.host.turn_to(self._app.host.before)

    def zoom(self, argument: str) -> None:
        self._app.host.zoomed = not self._app.host.zoomed
        self._app.host.place()

    def back(self, argument: str) -> None:
        """The innermost thing that is open is left first."""
        app, pane = self._app, self._app.host.current
        if app.notice is not None:
            app.notice = None
        elif app.host.zoomed:
            self.zoom("")
        elif app.navigator.view == "detail":
            app.navigator.up()
        elif pane is not None and pane.pane_name == "finding" and app.host.before is app.host.pane("check"):
            self.pane("check")
        elif isinstance(pane, LogView) and pane.pattern:
            pane.set_filter("")
        elif app.context.look.filter:
            self._look(filter="")
        elif app.context.cursor.live():
            app.tell(say("now"), "good")
        elif pane is not None and pane.unselect():
            pass
        elif app.navigator.view != HOME:
            app.navigator.go(HOME)

    def layout(self, argument: str) -> None:
        app = self._app
        if argument:
            if app.options.read_layout is None:
                app.tell(say("layouts cannot be changed here"), "warn")
                return
            try:
                spec, css = app.options.read_layout(argument)
            except ConsoleError as error:
                app.tell(spoken(error), "bad")
                return
            app.wear(spec, css)
        app.navigator.go(HOME)

    # --- nodes -------------------------------------------------------------------------------------------

    def filter(self, argument: str, given: bool = False) -> None:
        app, pane = self._app, self._app.host.current
        is_log = isinstance(pane, LogView) or (app.host.pane("logs") is not None and app.host.pane("fleet-grid") is None and app.host.pane("nodes") is None)
        if not argument and not given:
            self._ask("filter", "/")
            return
        if is_log:
            view = app.host.pane("logs")
            if isinstance(view, LogView):
                view.set_filter(argument)
        else:
            self._look(filter=argument)

    def _look(self, **changes: str) -> None:
        context = self._app.context
        context.look = replace(context.look, **changes)  # type: ignore[arg-type]
        context.generation += 1

    def _cycle(self, what: str, values: Sequence[str], argument: str) -> None:
        if argument and argument not in values:
            self._app.tell(say("{word}: expected one of {words}", word=argument, words=", ".join(value for value in values if value)), "warn")
            return
        old = getattr(self._app.context.look, what)
        new = argument or (values[(values.index(old) + 1) % len(values)] if old in values else values[0])
        self._look(**{what: new})

    def sort(self, argument: str) -> None:
        self._cycle("order", ORDERS, argument)
        self._app.tell(say("nodes by {what}", what=say(self._app.context.look.order)))

    def group(self, argument: str) -> None:
        labels = sorted({key for known in self._app.context.labels.values() for key in known})
        if not labels:
            self._app.tell(say("the fleet file gives no labels to group by"), "warn")
            return
        self._cycle("group", ["", *labels], argument)

    def value(self, argument: str) -> None:
        self._cycle("value", VALUES, argument)

    # --- colleagues: made when first asked for ---------------------------------------------------------------

    @cached_property
    def colleagues(self) -> ColleagueDoings:
        """What is said to the others."""
        from console.tui.colleague_doings import ColleagueDoings

        return ColleagueDoings(self._app)

    def ack(self, argument: str) -> None:
        self._say_or_ask("ack", argument, say("reason: "))

    def mute(self, argument: str) -> None:
        self._say_or_ask("mute", argument, say("reason: "))

    def unmute(self, argument: str) -> None:
        self.colleagues.say("unmute", argument)

    def note(self, argument: str) -> None:
        self._say_or_ask("note", argument, say("text: "))

    def _say_or_ask(self, name: str, argument: str, prompt: str) -> None:
        if argument:
            self.colleagues.say(name, argument)
        else:
            self._ask(name, f"{say(name)} {prompt}")

    # --- checks and jobs: made when first asked for ----------------------------------------------------------

    @cached_property
    def errands(self) -> ErrandDoings:
        """What these actions do, and what is known of them."""
        from console.tui.errand_doings import ErrandDoings

        return ErrandDoings(self._app)

    def hear(self, news: News) -> None:
        """Take in what came of an errand."""
        self.errands.hear(news)

    def check(self, argument: str) -> None:
        self.errands.check(argument)

    def finding(self, argument: str) -> None:
        self.errands.finding(argument)

    def fix(self, argument: str) -> None:
        self.errands.fix(argument)

    def plan(self, argument: str) -> None:
        self.errands.plan(argument)

    def run(self, argument: str) -> None:
        self.errands.run()

    # --- the fleet ---------------------------------------------------------------------------------------

    def reconnect(self, argument: str) -> None:
        if argument in self._app.feed.state.nodes:
            self._app.send(ReconnectNode(node=argument))
            self._app.tell(say("trying {node} again", node=argument))
        else:
            self._app.tell(say("no node is called {name}", name=argument), "warn")

    def arm(self, argument: str) -> None:
        if self._app.only_looks:
            self._app.tell(say("this console only looks; it cannot be armed"), "warn")
            return
        try:
            for_s = seconds(argument) if argument else self._app.options.arm_s
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
        intent = StopJob(job=attempt.job, attempt=attempt.attempt, nodes=(), grace_s=app.options.grace_s)
        targets = stop_targets(state, attempt, intent.grace_s, intent.why)
        if not targets:
            app.tell(say("nothing to stop: the job lives on no node"), "warn")
            return
        intent = replace(intent, nodes=tuple(target.node for target in targets))

        def decided(confirmed: Wish | None) -> None:
            if isinstance(confirmed, StopJob):
                app.send(confirmed)
                app.tell(say("asked {n} nodes to stop {job}", n=len(confirmed.nodes), job=clip(confirmed.job, 40)), "good")

        app.push_screen(StopDialog(intent, targets, lambda: app.arming.armed), decided)
