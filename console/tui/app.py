"""The console's application: wires feed, panes, keys and intents together, and decides nothing else.

``run(feed, submit, clock, layout_spec, layout_css)`` shows the screen until the operator leaves. The feed is
drained at a fixed rate; panes get the newest state when something changed or a second went by. What the
operator asks for goes to ``submit`` as an intent, after the one check that matters: a write needs arming.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from console.core.clock import Clock
from console.core.errors import ConsoleError
from console.core.fleet.views import fleet_summary, node_rows
from console.core.i18n import say
from console.core.intents import ACCESS, Intent
from console.core.layout import LayoutSpec
from console.tui import theme
from console.tui.actions import ACTIONS, BY_NAME
from console.tui.arming import Arming
from console.tui.doings import Doings
from console.tui.feed import Feed
from console.tui.layout_host import LayoutHost
from console.tui.panes import Pane
from console.tui.widgets.bars import Bar, key_line, notice_line, top_line

if TYPE_CHECKING:
    from console.tui.widgets.command_line import CommandLine

SMALLEST = (40, 8)
NOTICE_S = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the screen ended. reason: quit | terminated | failed; ``text`` is for the shell it returns to."""

    reason: str
    text: str = ""


class ConsoleApp(App[Ending]):
    """See the module."""

    TITLE = "rankdeck"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # else Textual turns to the first pane whenever the terminal regains focus
    CSS = theme.BASE
    VERTICAL_BREAKPOINTS = theme.VERTICAL_BREAKPOINTS
    BINDINGS = [Binding(key, f"do('{action.name}')", action.label or action.name, show=False)
                for action in ACTIONS for key in action.keys if key not in ("tab", "shift+tab")]

    def __init__(self, feed: Feed, submit: Callable[[Intent], None], clock: Clock, layout_spec: LayoutSpec, layout_css: str = "",
                 *, arm_s: float = 600.0, fps: float = 10.0, grace_s: float = 60.0, notice: str = "",
                 environ: Mapping[str, str] | None = None) -> None:
        chosen = theme.choose(os.environ if environ is None else environ)
        # Said at once, and not by the theme alone: Textual picks its NO_COLOR filter in here, and the one for
        # other themes makes the terminal's default colours black on black.
        super().__init__(ansi_color=True if chosen == theme.THEME else None)
        self.feed, self.submit, self.clock, self.spec = feed, submit, clock, layout_spec
        self.arm_s, self.grace_s, self.fps = arm_s, grace_s, fps
        self.theme = chosen
        self.animation_level = "none"
        layout_css, css_problem = theme.checked(layout_css)
        self.CSS = f"{theme.BASE}\n{layout_css}"  # type: ignore[misc]  # Textual reads it from the instance
        self.arming = Arming(clock)
        self.host = LayoutHost(layout_spec, feed)
        self.top, self.bottom = Bar("top"), Bar("bottom")
        self.notice: tuple[str, str, float] | None = None
        self.doings = Doings(self)
        self._second = -1
        if notice or css_problem:
            self.tell(notice or css_problem, "warn")

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.host
        yield Static(say("{w} × {h} at least", w=SMALLEST[0], h=SMALLEST[1]), id="too-small", markup=False)
        yield self.bottom

    def on_mount(self) -> None:
        self.host.fit_to(*self.size)
        self.host.turn_to(self.host.pane("logs") or self.host.panes[0])
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        self.tick()
        self.set_interval(1 / self.fps, self.tick)

    def on_resize(self, event: events.Resize) -> None:
        self.screen_stack[0].set_class(event.size.width < SMALLEST[0] or event.size.height < SMALLEST[1], "-too-small")
        self.host.fit_to(*event.size)
        self._show(full=True)

    def tick(self) -> None:
        """Take in what arrived, and draw what changed. Runs ``fps`` times a second."""
        changed = self.feed.drain()
        for answer in self.feed.answers():
            self.tell(say("{op}: {node} has it", op=answer.op, node=answer.node) if answer.ok else
                      say("{op} failed on {node}: {why}", op=answer.op, node=answer.node, why=answer.error), "good" if answer.ok else "bad")
        second = int(self.clock.wall_s())
        if changed or second != self._second:
            self._second = second
            self._show()

    def _show(self, full: bool = False) -> None:
        now, state = self.clock.wall_s(), self.feed.state
        for pane in self.host.panes:
            if not self.host.alone or pane is self.host.current:
                pane.show(state, now)
        self.screen_stack[0].set_class(self.arming.armed, "-armed")
        clock = datetime.fromtimestamp(now, timezone.utc).strftime("%H:%M:%SZ")
        self.top.put(top_line(self.spec.title, fleet_summary(node_rows(state, now)), self.arming.left_s, clock, self.size.width))
        if self.notice is not None and self.clock.mono_s() > self.notice[2]:
            self.notice = None
        self.bottom.put(notice_line(self.notice[0], self.notice[1]) if self.notice else key_line(self.size.width))

    def tell(self, text: str, tone: str = "plain") -> None:
        """Put a notice on the bottom line for a while."""
        self.notice = (text, tone, self.clock.mono_s() + NOTICE_S)
        self._second = -1

    def perform(self, name: str, argument: str = "") -> None:
        """Do one of ``actions.ACTIONS``; a write is refused here while the console is read-only."""
        if BY_NAME[name].access == "write" and not self.arming.armed:
            self.tell(say("{name} refused: the console is read-only; :arm first", name=name), "warn")
        else:
            self.doings.do(name, argument)
        self._show()

    def send(self, intent: Intent) -> None:
        """Hand an intent down; the second lock on writes, whoever made it."""
        if ACCESS[type(intent)] == "write" and not self.arming.armed:
            self.tell(say("refused: the console is read-only; :arm first"), "warn")
            return
        self.submit(intent)

    def action_do(self, name: str) -> None:
        if len(self.screen_stack) == 1:
            self.perform(name)

    def action_focus_next(self) -> None:
        self._step(1)

    def action_focus_previous(self) -> None:
        self._step(-1)

    def _step(self, by: int) -> None:
        if len(self.screen_stack) > 1:
            (self.screen.focus_next if by > 0 else self.screen.focus_previous)()
        else:
            self.perform("next" if by > 0 else "previous")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget is not self.host.current:
            self.host.turn_to(event.widget)

    def on_pane_ask(self, message: Pane.Ask) -> None:
        self.send(message.intent)

    def on_pane_say(self, message: Pane.Say) -> None:
        self.tell(message.text, message.tone)

    def on_command_line_entered(self, message: CommandLine.Entered) -> None:
        self.doings.entered(message.line)
        self._show()

    def leave(self, reason: str, text: str = "") -> None:
        """End the screen; nothing on the nodes changes."""
        self.exit(Ending(reason=reason, text=text))


def run(feed: Feed, submit: Callable[[Intent], None], clock: Clock, layout_spec: LayoutSpec, layout_css: str = "", *,
        arm_s: float = 600.0, fps: float = 10.0, grace_s: float = 60.0, notice: str = "",
        environ: Mapping[str, str] | None = None) -> Ending:
    """Show the screen on this terminal until the operator or a signal ends it. Main thread only.

    ``arm_s``: how long ``:arm`` lasts when not told; ``grace_s``: between SIGTERM and SIGKILL of a stop;
    ``notice``: something to say at the start. Raises ConsoleError on a terminal that cannot show it.
    """
    environ = os.environ if environ is None else environ
    if environ.get("TERM", "dumb") in ("", "dumb", "unknown") or not sys.stdout.isatty() or not sys.stdin.isatty():
        raise ConsoleError("the screen needs a terminal that can move its cursor", where="TERM", got=environ.get("TERM") or "nothing",
                           expected="a terminal such as xterm-256color or tmux", fix="rankdeck status shows the same as text.")
    app = ConsoleApp(feed, submit, clock, layout_spec, layout_css, arm_s=arm_s, fps=fps, grace_s=grace_s, notice=notice, environ=environ)

    async def serve() -> Ending | None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, app.leave, "terminated", signal.Signals(number).name)
        return await app.run_async(mouse=False)

    ending = asyncio.run(serve())
    return ending if ending is not None else Ending(reason="failed", text=say("the screen failed; the job is not concerned"))
