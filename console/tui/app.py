"""The console's application: wires feed, panes, keys and intents together, and decides nothing else.

``run(feed, submit, clock, layout_spec, layout_css)`` shows the screen until the operator leaves. The feed is
drained at a fixed rate; panes get the newest state when something changed or a second went by. What the
operator asks for goes to ``submit`` as an intent, after the one check that matters: a write needs arming.

Keys of the main screen are taken here, in the order in which they came and before any widget: a burst of
keys means the same as the keys one by one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from datetime import datetime, timezone
from functools import cached_property, partial
from typing import TYPE_CHECKING

from textual import events, messages
from textual.app import App, ComposeResult
from textual.geometry import Offset
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from console.core.clock import Clock
from console.core.errors import ConsoleError
from console.core.events import Answer
from console.core.fleet.state import FleetState, NodeState
from console.core.fleet.views import FleetSummary, each_row, fleet_summary, node_rows
from console.core.i18n import say, told
from console.core.layout import LayoutSpec
from console.core.records import dataclass
from console.core.spoken import spoken_text
from console.tui import panes, theme
from console.tui.actions import BY_KEY, BY_NAME, OWN_KEYS
from console.tui.arming import Arming
from console.tui.context import Context
from console.tui.feed import Feed
from console.tui.layout_host import LayoutHost
from console.tui.navigator import Navigator
from console.tui.paced_screen import PacedScreen
from console.tui.pacing import Pacer
from console.tui.panes import Pane
from console.tui.slices import PAUSE_S, Slices, Sweeper, at_hand
from console.tui.time_cursor import Moments, TimeCursor
from console.tui.widgets.bars import Bar, key_line, notice_line, prompt_line, top_line

if TYPE_CHECKING:
    from textual.driver import Driver

    from console.core.intents import Wish
    from console.tui.doings import Doings
    from console.tui.line_editor import LineEditor

SMALLEST = (40, 8)
NOTICE_S = 12.0
ROWS, EVENTS, DRAINS = 12, 32, 300
"""Nodes looked at and events taken in before something else gets a turn, and how often of a tick."""
READY_AFTER_S = 0.5
SHOW_S = 0.001
"""So long a key waits for what may wait."""
TYPED_S, BEHIND_S = 1.0, 0.35
"""So long after a key somebody is typing in the prompt; so long the picture behind it then stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the screen ended. reason: quit | terminated | failed; ``text`` is for the shell it returns to."""

    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line has to say about the screen."""

    arm_s: float = 600.0
    """How long ``:arm`` lasts when not told."""
    fps: float = 10.0
    """Most frames a second; a slow line gets fewer by itself."""
    grace_s: float = 60.0
    """Between SIGTERM and SIGKILL of a stop."""
    notice: str = ""
    """Something to say at the start."""
    quit_label: str = "quit (job goes on)"
    """What the bottom line says of q."""
    view: str = ""
    """A view to begin with; empty: the layout."""
    theme: str = ""
    """One of theme.THEMES; empty: by the environment."""
    read_only: bool = False
    """Whether ``:arm`` is refused."""
    layouts: Callable[[], Mapping[str, object]] = dict
    """Layout names there are."""
    read_layout: Callable[[str], tuple[LayoutSpec, str]] | None = None
    """Reads a layout by name, raising ConsoleError; None: layouts cannot be changed."""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Node -> label -> value, from the fleet file."""
    shell: Callable[[str], list[str]] | None = None
    """Node -> the command that opens a shell on it; None: no shells."""
    herald: Callable[[FleetState, float], tuple[str, str]] | None = None
    """Called about once a second: what to write to the terminal (a bell), and what to say; None: nobody is told."""
    cursor: TimeCursor | None = None
    """A time cursor to begin with: a replay's."""
    moments: Moments | None = None
    """What was known when, where that is known already: a replay's."""
    console: str = ""
    """This console's name among others on the nodes; empty: nobody is told anything."""
    mouse: bool = False
    """Whether the mouse is ours: then it no longer selects text as the terminal does."""
    fleet: str = ""
    """The fleet's name: what is typed to confirm a change of its nodes."""
    job_file: str = ""
    """A job file to plan at the start; empty: none."""


class ConsoleApp(App[Ending]):
    """See the module."""

    TITLE = "rankdeck"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None  # else Textual turns to the first pane whenever the terminal regains focus
    CSS = theme.BASE
    VERTICAL_BREAKPOINTS = theme.VERTICAL_BREAKPOINTS
    BINDINGS = []

    def __init__(self, feed: Feed, submit: Callable[[Wish], None], clock: Clock, layout_spec: LayoutSpec, layout_css: str = "",
                 *, options: Options | None = None, environ: Mapping[str, str] | None = None) -> None:
        self.options = options or Options()
        environ = os.environ if environ is None else environ
        chosen = theme.choose(environ, self.options.theme)
        chosen.adopt(self)
        # Said at once, and not by the theme alone: Textual picks its NO_COLOR filter in here, and the one for
        # other themes makes the terminal's default colours black on black.
        super().__init__(ansi_color=True if chosen.ansi else None)
        self.feed, self.submit, self.clock, self.home_spec = feed, submit, clock, layout_spec
        self.animation_level = "none"
        layout_css, css_problem = theme.checked(layout_css)
        self.CSS = f"{theme.BASE}\n{layout_css}"  # type: ignore[misc]  # Textual reads it from the instance
        self.arming = Arming(clock)
        self.moments = self.options.moments or Moments()
        self.context = Context(cursor=self.options.cursor or TimeCursor(), moments=self.moments, labels=self.options.labels,
                               fleet=self.options.fleet, console=self.options.console)
        self.host = LayoutHost(layout_spec, feed, self.context)
        self.top, self.bottom = Bar("top"), Bar("bottom")
        self.notice: tuple[str, str, float] | None = None
        self.prompt: LineEditor | None = None
        self.navigator = Navigator(self)
        self.pacer = Pacer(clock)
        self.slices = Slices(self)
        self.sweeper: Sweeper | None = None
        """Who collects garbage on a terminal; None: the interpreter itself."""
        self._pressed = float("-inf")
        self._looked_at: object = None
        self._summed: tuple[FleetState, float, FleetSummary] | None = None
        self._second, self._ticked, self._heralded = -1, clock.mono_s(), clock.mono_s()
        if self.options.notice or css_problem:
            self.tell(self.options.notice or css_problem, "warn")

    @cached_property
    def doings(self) -> Doings:
        """What the actions do. No part of the first picture, so it is loaded after it, or for the first action."""
        from console.tui.doings import Doings

        return Doings(self)

    def compose(self) -> ComposeResult:
        yield self.top
        yield self.host
        yield Static(say("{w} × {h} at least", w=SMALLEST[0], h=SMALLEST[1]), id="too-small", markup=False)
        yield self.bottom

    def on_mount(self) -> None:
        self._fit(*self.size)
        if self.options.view:
            self.navigator.go(self.options.view)
        else:
            self.host.turn_to(self.host.pane("logs") or self.host.panes[0])
        if self.options.job_file:
            self.doings.do("plan", self.options.job_file)
        self.app_resume_signal.subscribe(self, lambda _: self.screen.refresh(layout=True))
        self.tick()
        self.set_interval(1 / self.options.fps, self._begin_turn)
        self.call_after_refresh(self.set_timer, READY_AFTER_S, partial(self._get_ready, panes.load()))

    def _get_ready(self, modules: Iterator[None]) -> None:
        """Load what the first picture did without, so that the first key does not wait for it; one module, and then whatever came meanwhile."""
        try:
            next(modules)
        except StopIteration:
            assert self.doings
        else:
            self.set_timer(PAUSE_S, partial(self._get_ready, modules))

    def get_default_screen(self) -> PacedScreen:
        return PacedScreen(self.pacer)

    def _fit(self, width: int, height: int) -> None:
        self.host.fit_to(width, height, short=height < theme.HIGH_FROM)

    def on_resize(self, event: events.Resize) -> None:
        self.screen_stack[0].set_class(event.size.width < SMALLEST[0] or event.size.height < SMALLEST[1], "-too-small")
        self._fit(*event.size)
        self.show()

    def tick(self) -> None:
        """Take in what arrived, and draw what changed, in one go."""
        for _ in self._turn():
            pass

    def _begin_turn(self) -> None:
        """A tick in slices. Runs ``fps`` times a second, less often where one takes longer, and while somebody types: letters go first."""
        mono = self.clock.mono_s()
        self.pacer.awake(1 / self.options.fps)
        typing = self.prompt is not None and mono - self._pressed < TYPED_S
        if not self.slices.busy and not (typing and mono - self._ticked < BEHIND_S):
            self.slices.begin(self._turn())

    def _turn(self) -> Iterator[bool]:
        """A tick, with the places where it can be left for a while."""
        changed = False
        for _ in range(DRAINS):
            if not self.feed.drain(EVENTS):
                break
            changed = True
            yield False
        if changed and self.feed.state.nodes is not self._looked_at:
            self._looked_at = self.feed.state.nodes
            for at, _ in enumerate(each_row(self.feed.state, self.clock.wall_s())):  # what all that is drawn of the nodes is made of: made here, by and by
                if at % ROWS == 0:
                    yield False
        for answer in self.feed.answers():
            if not isinstance(answer, Answer):
                self.doings.hear(answer)
                changed = True
                continue
            self.tell(say("{op} reached {node}", op=answer.op, node=told(answer.node)) if answer.ok else
                      say("{op} failed on {node}: {why}", op=answer.op, node=told(answer.node), why=spoken_text(answer.error)), "good" if answer.ok else "bad")
        mono, now = self.clock.mono_s(), self.clock.wall_s()
        if self.context.sheets is not None:
            self.doings.errands.ask_next(mono - self._pressed)
        if self.options.herald is not None and mono - self._heralded >= 1.0:
            self._heralded = mono
            written, text = self.options.herald(self.feed.state, now)
            if written:
                self.write_raw(written)
            if text:
                self.tell(text, "bad")
        if self.options.console and (self.arming.armed or ("doings" in self.__dict__ and "colleagues" in self.doings.__dict__)):
            self.doings.colleagues.tell_armed(mono)
        changed = self.context.cursor.tick(mono - self._ticked, self.end()) or changed
        self._ticked = mono
        if not self.pacer.may_paint():
            self._second = -1  # what is not drawn now is drawn as soon as the terminal has caught up
            return
        second = int(now)
        if changed or second != self._second:
            self._second = second
            yield False
            if not self.context.cursor.replay:
                self.moments.add(float(second), self.feed.state)
                yield False
            yield from self._show()
        if self.sweeper is not None:
            yield False
            self.sweeper.look(mono, self._pressed)

    def end(self) -> float:
        """The latest moment there is to show."""
        return self.moments.times[-1] if self.context.cursor.replay and self.moments.times else self.clock.wall_s()

    def earliest(self) -> float:
        """The earliest moment that anything is known of: the first attempt's start."""
        run = self.feed.state.current
        starts = [attempt.started_at for attempt in run.attempts.values() if attempt.started_at] if run is not None else []
        return min(starts, default=self.clock.wall_s())

    def wear(self, spec: LayoutSpec, css: str) -> None:
        """Take another layout, live; colours that cannot be read are left out and said."""
        css, problem = theme.checked(css)
        self.home_spec = spec
        if spec.read_only:
            self.arming.disarm()
        key = next(key for key in self.stylesheet.source if key[1].endswith("ConsoleApp.CSS"))
        self.stylesheet.add_source(f"{theme.BASE}\n{css}", read_from=key)
        self.stylesheet.reparse()
        self.refresh_css(animate=False)
        if problem:
            self.tell(problem, "warn")

    def show(self) -> None:
        """Hand the panes what they show, at the time cursor's moment. On a terminal a log that has much to take in does the rest later."""
        work, began = self._show(), self.clock.mono_s()
        for may_wait in work:
            if may_wait and self.sweeper is not None and self.clock.mono_s() - began >= SHOW_S:
                self._put_bars()
                self.slices.finish(work)
                return

    def _show(self) -> Iterator[bool]:
        """``show``, with the places where it can be left; whether a key's paint need not wait for what is still to come."""
        # What a key did between two panes holds for those that are still to come: nothing is remembered over a yield.
        for pane in self.host.panes:
            if self.host.is_shown(pane) or (pane.wanted_rows is not None and pane in self.host.panes):  # whether that one is on the screen is for it to say
                now, at, state = self.clock.wall_s(), self.context.moment, self.feed.state
                if pane.of_the_moment:
                    state, now = self._known(), now if at is None else at
                elif self.context.cursor.replay:
                    now = self.end()
                for _ in pane.showing(state, now):
                    yield pane.may_wait
                yield False
        self._put_bars()

    def _put_bars(self) -> None:
        at = self.context.moment
        self.screen_stack[0].set_class(self.arming.armed, "-armed")
        self.screen_stack[0].set_class(at is not None, "-past")
        shown_at = self.clock.wall_s() if at is None else at
        clock = datetime.fromtimestamp(shown_at, timezone.utc).strftime("%H:%M:%SZ")
        self.top.put(top_line(self.navigator.title, self._summary(shown_at), self.arming.left_s, clock, self.size.width,
                              cursor=self.context.cursor, now=self.end(), slow_s=self.pacer.slow_s))
        if self.notice is not None and self.clock.mono_s() > self.notice[2]:
            self.notice = None
        self._put_bottom()

    def _known(self) -> FleetState:
        """What was known at the moment that is shown."""
        at = self.context.moment
        return self.feed.state if at is None else self.moments.at(at) or _unseen(self.feed.state)

    def _summary(self, at: float) -> FleetSummary:
        """The top line's counts; a log's lines do not change them."""
        state, second = self._known(), float(int(at))
        known = self._summed
        if known is None or known[0].nodes is not state.nodes or known[0].runs is not state.runs or known[1] != second:
            known = self._summed = (state, second, fleet_summary(node_rows(state, at)))
        return known[2]

    def _paint(self, widget: Widget) -> None:
        if isinstance(self.screen, PacedScreen) and self.is_running and (widget is self.bottom or not self.pacer.slow):
            self.screen.paint(widget)

    def _hurry(self) -> None:
        if self.is_running and isinstance(self.screen, PacedScreen):
            self.screen.hurry()

    def _put_bottom(self) -> None:
        if self.prompt is not None:
            line, at = prompt_line(self.prompt, self.size.width)
            self.bottom.put(line)
            self.cursor_position = self.bottom.region.offset + Offset(at, 0)
        else:
            self.bottom.put(notice_line(self.notice[0], self.notice[1]) if self.notice else
                            key_line(self.size.width, self.options.quit_label, {pane.pane_name for pane in self.host.panes}))

    def tell(self, text: str, tone: str = "plain") -> None:
        """Put a notice on the bottom line for a while."""
        self.notice = (text, tone, self.clock.mono_s() + NOTICE_S)
        self._second = -1

    def perform(self, name: str, argument: str = "") -> None:
        """Do one of ``actions.ACTIONS``; a write is refused here while the console is read-only."""
        if BY_NAME[name].access == "write" and not self.arming.armed:
            self.tell(say("this console only looks; it cannot be armed") if self.only_looks else say("{name} refused: the console is read-only; :arm first", name=name), "warn")
        else:
            self.doings.do(name, argument)
        if self.is_running:
            self.show()

    @property
    def only_looks(self) -> bool:
        """Whether nothing can arm this console: by option, by its layout, or because it shows a history."""
        return self.options.read_only or self.home_spec.read_only or self.context.cursor.replay

    def send(self, intent: Wish) -> None:
        """Hand an intent down; the second lock on writes, whoever made it."""
        from console.core.intents import ACCESS

        if ACCESS[type(intent)] == "write" and not self.arming.armed:
            self.tell(say("refused: the console is read-only; :arm first"), "warn")
            return
        self.submit(intent)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded and len(self.screen_stack) == 1 and self._take(event):
            return
        await super().on_event(event)

    def _take(self, event: events.Key | events.Paste) -> bool:
        """Take a key or a paste of the main screen; False for what is a widget's business (scrolling)."""
        self._pressed = self.clock.mono_s()
        if isinstance(event, events.Paste):
            if self.prompt is not None:
                self.prompt.insert(event.text)
                self._put_bottom()
            return True
        if self.prompt is not None:
            outcome = self.prompt.key(event.key, event.character)
            if outcome:
                prompt, self.prompt = self.prompt, None
                self.doings.finished(prompt, outcome == "entered")
                if self.is_running:
                    self.show()
                self._hurry()
            else:
                self._put_bottom()
                self._paint(self.bottom)
            return True
        pane = self.host.current
        generation = self.context.generation
        if pane is not None and pane.press(event.key):
            if generation != self.context.generation:  # what it changed is shown by others too
                self.show()
            self._paint(pane)
            return True
        action = (OWN_KEYS.get((pane.pane_name, event.key)) if pane is not None else None) or BY_KEY.get(event.key)
        if action is None:
            return False
        self.perform(action.name)
        self._hurry()
        return True

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget is not self.host.current:
            self.host.turn_to(event.widget)

    def on_pane_ask(self, message: Pane.Ask) -> None:
        self.send(message.intent)

    def on_pane_say(self, message: Pane.Say) -> None:
        self.tell(message.text, message.tone)
        self._put_bottom()

    def on_pane_moved(self, message: Pane.Moved) -> None:
        self.show()

    def on_pane_grown(self, message: Pane.Grown) -> None:
        self.host.place()

    def on_pane_go(self, message: Pane.Go) -> None:
        self.doings.go_to(message.time)

    def write_raw(self, sequence: str) -> bool:
        """Write a control sequence of our own making to the terminal; False where there is none."""
        if self._driver is None or self.is_headless:
            return False
        self._driver.write(sequence)
        return True

    def screen_lines(self) -> list[Strip]:
        """What is on the screen, line by line."""
        return self.screen._compositor.render_strips()

    def leave(self, reason: str, text: str = "") -> None:
        """End the screen; nothing on the nodes changes."""
        self.exit(Ending(reason=reason, text=text))

    # The terminal's answer to our question after a frame (see ``pacing``); Textual knows it as this message.
    def _on_terminal_supports_synchronized_output(self, message: messages.TerminalSupportsSynchronizedOutput) -> None:
        self.pacer.answered()  # Textual calls its own handler of the message as well

    def get_driver_class(self) -> type[Driver]:
        """Textual's own, weighed: the pacer has to know how much a frame is, and when a full line holds us up."""
        app = self

        class Weighed(super().get_driver_class()):  # type: ignore[misc]
            def write(self, data: str) -> None:
                began = app.clock.mono_s()
                super().write(data)
                app.pacer.wrote(len(data), app.clock.mono_s() - began)

        return Weighed

    def post_display_hook(self) -> None:
        if self._driver is not None and not self.is_headless and not self._batch_count:
            question = self.pacer.painted()
            if question:
                self._driver.write(question)


def _unseen(state: FleetState) -> FleetState:
    """The state for a moment of which no readings are kept."""
    nodes = {name: NodeState(name=name, link="", met=node.met) for name, node in state.nodes.items()}  # type: ignore[arg-type]  # no link of any kind is known
    return replace(state, nodes=nodes)


def run(feed: Feed, submit: Callable[[Wish], None], clock: Clock, layout_spec: LayoutSpec, layout_css: str = "", *,
        options: Options | None = None, environ: Mapping[str, str] | None = None, notice: str = "", quit_label: str = "") -> Ending:
    """Show the screen on this terminal until the operator or a signal ends it. Main thread only.

    ``notice`` and ``quit_label`` are those of ``options``, for callers that need no other.
    Raises ConsoleError on a terminal that cannot show it.
    """
    options = options or Options()
    options = replace(options, notice=notice or options.notice, quit_label=quit_label or options.quit_label)
    environ = os.environ if environ is None else environ
    # Under a driver of another kind (textual serve) there is no terminal, and none is needed.
    on_terminal = not environ.get("TEXTUAL_DRIVER")
    if on_terminal and (environ.get("TERM", "dumb") in ("", "dumb", "unknown") or not sys.stdout.isatty() or not sys.stdin.isatty()
                        or not sys.stderr.isatty()):  # Textual draws on standard error
        raise ConsoleError("the screen needs a terminal that can move its cursor", where="TERM", got=(environ.get("TERM") or "nothing") + ("" if sys.stderr.isatty() else ", and standard error that leads elsewhere"),
                           expected="a terminal such as xterm-256color or tmux", fix="--plain shows the same as text, and so does rankdeck status.")
    app = ConsoleApp(feed, submit, clock, layout_spec, layout_css, options=options, environ=environ)

    app.sweeper = Sweeper(clock.mono_s())

    async def serve() -> Ending | None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, app.leave, "terminated", signal.Signals(number).name)
        return await app.run_async(mouse=options.mouse)

    with at_hand():
        ending = asyncio.run(serve())
    return ending if ending is not None else Ending(reason="failed", text=say("the screen failed; the job is not concerned"))
