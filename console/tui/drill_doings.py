"""The actions on what is selected: drill in, its log, a shell, taking it away; part of ``doings.Doings``."""

from __future__ import annotations

from collections.abc import Sequence

from console.core.fleet.drill import Target
from console.core.fleet.run_views import LogChoice, log_choices
from console.core.i18n import say
from console.tui import outside
from console.tui.time_doings import TimeDoings
from console.tui.widgets.log_view import LogView


class DrillDoings(TimeDoings):
    """Methods take the argument as typed, "" when there is none."""

    def open(self, argument: str) -> None:
        pane = self._app.host.current
        chosen = pane.chosen() if pane is not None else None
        run = self._app.feed.state.current
        if isinstance(chosen, float):
            self.go_to(chosen)
        elif chosen is not None:
            self._app.navigator.open(chosen)
        elif self._app.navigator.view == "detail":
            self._app.tell(say("there is nothing below this"))
        elif run is not None:
            self._app.navigator.open(Target(kind="job", job=run.job))
        else:
            self._app.tell(say("nothing is selected; arrows select"))

    def describe(self, argument: str) -> None:
        if argument and argument not in self._app.feed.state.nodes:
            self._app.tell(say("no node is called {name}", name=argument), "warn")
            return
        target = Target(kind="node", node=argument) if argument else self._app.navigator.selected()
        if target is not None:
            self._app.navigator.open(target)
        else:
            self.open("")

    def tree(self, argument: str) -> None:
        run = self._app.feed.state.current
        target = self._app.navigator.selected() or Target(kind="job", job=run.job if run is not None else "")
        self._app.navigator.open(target, as_tree=True)

    def log(self, argument: str) -> None:
        app = self._app
        target = app.navigator.selected() if not argument else None
        shown, pane = app.host.pane("logs"), app.host.current
        word, start = pane.of_log() if pane is not None and not argument else ("", None)
        if word:
            argument = word
            app.navigator.go("logs")
            shown = app.host.pane("logs")
        elif target is not None and not isinstance(pane, LogView):
            argument = str(target.rank) if target.rank >= 0 else target.node
            if target.rank < 0 and target.device >= 0:
                ranks = [choice for choice in self._choices() if choice.node == target.node and choice.rank is not None]
                argument = next((str(choice.rank) for choice in ranks if choice.path.endswith(f"-{target.device}.log")), target.node)
            app.navigator.go("logs")
            shown = app.host.pane("logs")
        elif shown is None:
            app.navigator.go("logs")
            shown = app.host.pane("logs")
            if not argument:
                return
        if isinstance(shown, LogView):
            if not argument:
                shown.cycle(1)
            else:
                shown.know(app.feed.state)
                if not isinstance(pane, LogView):
                    shown.go_back_to(start)
                if not shown.find_log(argument):
                    app.tell(say("no log of {word} in the newest round", word=argument), "warn")

    def _choices(self) -> Sequence[LogChoice]:
        run = self._app.feed.state.current
        return log_choices(run) if run is not None else ()

    def shell(self, argument: str) -> None:
        app, target = self._app, self._app.navigator.selected()
        node = argument or (target.node if target is not None else "")
        if not node:
            app.tell(say("a shell on which node? :shell NODE, or select one"), "warn")
        elif node not in app.feed.state.nodes:
            app.tell(say("no node is called {name}", name=node), "warn")
        elif app.options.shell is None:
            app.tell(say("no shell here: simulated nodes and a replay have none"), "warn")
        else:
            outside.shell(app, node, app.options.shell(node))

    def yank(self, argument: str) -> None:
        pane = self._app.host.current
        lines = pane.text_lines() if pane is not None else []
        if not lines:
            self._app.tell(say("nothing to copy here"), "warn")
            return
        self._app.tell(outside.yank(self._app, "\n".join(lines)), "good")

    def snapshot(self, argument: str) -> None:
        try:
            path = outside.snapshot(self._app, argument)
        except OSError as error:
            self._app.tell(say("not written: {why}", why=error.strerror or str(error)), "bad")
        else:
            self._app.tell(say("screen written to {path}", path=path), "good")
