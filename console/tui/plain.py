"""The console as plain text: a prompt, commands, and what the panes would show, line by line.

For screen readers, dumb terminals and scripts over a serial line: nothing is painted, the terminal's own
cursor stays at the prompt, colours and frames are left out, and nothing appears that was not asked for but
notices of what changed, told at the next prompt. The commands are those of ``:`` on the screen.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from console.core.clock import Clock
from console.core.events import Answer, LoginAsked, News
from console.core.fleet.drill import facts, path_to, title, tree, under
from console.core.fleet.fleet_look import ORDERS, FleetLook
from console.core.fleet.run_views import job_view, log_choices
from console.core.fleet.views import (
    duration_text,
    fleet_summary,
    node_rows,
    value_text,
)
from console.core.i18n import say, told
from console.core.intents import ACCESS, AnswerLogin, FollowLog, ReconnectNode, StopJob, UnfollowLog, Wish
from console.core.spoken import spoken_text
from console.tui.actions import ACTIONS, parse, seconds, usage
from console.tui.arming import Arming
from console.tui.feed import Feed
from console.tui.lines import shown
from console.tui.log_book import LogBook, Source
from console.tui.plain_views import SHOWN, PlainViews
from console.tui.time_cursor import Moments
from console.tui.widgets.listings import clock_text

if TYPE_CHECKING:
    from console.core.fleet.drill import Target
    from console.core.fleet.run_views import LogChoice
    from console.core.fleet.state import FleetState
    from console.tui.app import Options
    from console.tui.plain_errands import PlainErrands

LOG_LINES = 20
GRACE_S, WHY = 60.0, "asked for by the operator"
PROMPT = "rankdeck> "
LOOK_S = 0.3
"""How soon a login's question is put to somebody who sits at the prompt."""


class Plain(PlainViews):
    """One session; ``do`` carries out a command line and returns whether to go on."""

    def __init__(self, feed: Feed, submit: Callable[[Wish], None], clock: Clock, out: TextIO, *, read_only: bool = False,
                 moments: Moments | None = None, moment: float | None = None, fleet: str = "", console: str = "") -> None:
        self._console = console
        self._feed, self._submit, self._clock, self._out = feed, submit, clock, out
        self._read_only = read_only
        self._arming = Arming(clock)
        self._look = FleetLook()
        self._moments = moments
        self._moment = moment
        self._target: Target | None = None
        self._choice: LogChoice | None = None
        self._book = LogBook([])
        self._told = ""
        self._asked: tuple[Wish, str, str] | None = None
        self._fleet = fleet
        self._heard: list[Answer | News] = []
        self.questions: dict[int, LoginAsked] = {}
        """Of logins, open ones."""

    # --- a line in, lines out ----------------------------------------------------------------------------

    def put(self, text: str) -> None:
        """A line for the reader."""
        self._out.write("\n".join(shown(line) for line in text.split("\n")).rstrip() + "\n")
        self._out.flush()

    def news(self) -> None:
        """What changed since the last prompt, in one line or none."""
        self._feed.drain()
        self.listen()
        heard, self._heard = self._heard, []
        for answer in heard:
            if not isinstance(answer, Answer):
                self.errands.hear(answer)
                continue
            self.put(say("{op} reached {node}", op=answer.op, node=told(answer.node)) if answer.ok else
                     say("{op} failed on {node}: {why}", op=answer.op, node=told(answer.node), why=spoken_text(answer.error)))
        rows = node_rows(self.state, self.now)
        fleet = fleet_summary(rows)
        run = self.state.current
        status = say(job_view(self.state, run, self.now).status.text) if run is not None else ""
        standing = say("{up}/{all} nodes up", up=fleet.up, all=fleet.nodes) + (f", {say('✗ {n} in trouble', n=fleet.trouble)}" if fleet.trouble else "") \
            + (f", {run.job} {status}" if run is not None else "")
        if standing != self._told:
            self._told = standing
            self.put(standing)

    def listen(self) -> None:
        """Take in what came of requests; only questions of logins cannot wait for the next prompt."""
        for answer in self._feed.answers():
            if isinstance(answer, LoginAsked):
                self._login(answer)
            else:
                self._heard.append(answer)

    @property
    def now(self) -> float:
        """The moment that is shown."""
        return self._clock.wall_s() if self._moment is None else self._moment

    @property
    def state(self) -> FleetState:
        """What was known then, with the curves of now."""
        state = self._feed.state
        then = self._moments.at(self._moment) if self._moments is not None and self._moment is not None else None
        return state if then is None else replace(then, runs=state.runs)

    def do(self, line: str) -> bool:
        """Carry out one line; False when the reader wants to leave."""
        if self._asked is not None:
            self._confirm(line.strip())
            return True
        if not line.strip():
            self.status("")
            return True
        try:
            action, argument = parse("help" if line.strip() == "?" else line.strip().removeprefix(":"))
        except ValueError as error:
            self.put(str(error))
            return True
        if action.name == "quit":
            return False
        if action.access == "write" and not self._arming.armed:
            self.put(say("this console only looks; it cannot be armed") if self._read_only else say("{name} refused: the console is read-only; :arm first", name=action.name))
            return True
        method = getattr(self, "do_" + action.name.replace("-", "_"), None)
        if method is None:
            self.put(say("{name} is only on the screen; in text its list is shown whole", name=action.name))
        else:
            method(argument)
        return True

    def do_help(self, argument: str) -> None:
        for action in ACTIONS:
            if hasattr(self, "do_" + action.name.replace("-", "_")) or action.name == "quit":
                self.put(f"{usage(action).removeprefix(':')}: {say(action.help)}")

    def status(self, argument: str) -> None:
        """Job and fleet in a few sentences."""
        run = self.state.current
        if run is None:
            self.put(say("no job is known"))
        else:
            view = job_view(self.state, run, self.now)
            self.put(f"{view.job}: {say(view.status.text)}, {say('iteration')} {view.iteration or '-'}/{view.total or '-'}, {say('loss')} {value_text(view.loss, 5)}, "
                     f"{say('left')} {duration_text(view.eta_s)}, {say('saved at {n}', n=view.saved_iteration or '-')}")
        self._told = ""
        self.news()

    # --- drilling down, logs -----------------------------------------------------------------------------

    def do_describe(self, argument: str) -> None:
        from console.core.fleet.drill import Target
        from console.tui.widgets.detail import fact_text

        if argument:
            if argument not in self.state.nodes:
                self.put(say("no node is called {name}", name=argument))
                return
            self._target = Target(kind="node", node=argument)
        elif self._target is None and self.state.current is not None:
            self._target = Target(kind="job", job=self.state.current.job)
        if self._target is None:
            self.put(say("no job is known"))
            return
        self.put(", ".join(title(step) for step in path_to(self._target)))
        for fact in facts(self.state, self._target, self.now):
            self.put(f"  {say(fact.name)}: {fact_text(fact)}")
        children = under(self.state, self._target, self.now)
        if children:
            self.put(f"  {say('under it')}: " + ", ".join(title(child) for child in children))

    def do_tree(self, argument: str) -> None:
        for depth, target in tree(self.state, self.now)[: 5 * SHOWN]:
            self.put("  " * depth + title(target))

    def do_log(self, argument: str) -> None:
        choices = log_choices(self.state.current) if self.state.current is not None else ()
        word = argument
        found = next((choice for choice in choices if str(choice.pin[1]) == word), None) if word else self._choice or (choices[0] if choices else None)
        if found is None:
            self.put(say("no log of {word} in the newest round", word=word) if word else say("no log yet"))
            return
        if found != self._choice:
            if self._choice is not None:
                self._submit(UnfollowLog(node=self._choice.node, path=self._choice.path))
            self._choice = found
            self._book = LogBook([Source(found.node, 0.0)])
            self._submit(FollowLog(node=found.node, path=found.path))
        self._feed.drain()
        self._book.take([self._feed.logs.get((found.node, found.path))], self._clock.wall_s())
        count = len(self._book)
        if not count:
            self.put(say("no log yet") + ": " + found.path + ". " + say("Ask again in a moment."))
        for at in range(max(0, count - LOG_LINES), count):
            row = self._book.row(self._book.number(at))
            if row is not None:
                self.put(row.text)

    def do_filter(self, argument: str) -> None:
        self._look = replace(self._look, filter=argument)
        if self._choice is not None:
            self._book.filter(argument)
        self.put(say("filter {text}", text=argument) if argument else say("no filter"))

    def do_sort(self, argument: str) -> None:
        if argument in ORDERS:
            self._look = replace(self._look, order=argument)
            self.put(say("nodes by {what}", what=say(argument)))
        else:
            self.put(", ".join(ORDERS))

    # --- time, arming, writes ----------------------------------------------------------------------------

    def do_at(self, argument: str) -> None:
        from console.tui.time_doings import moment_of

        end = self._moments.times[-1] if self._moments is not None and self._moments.times else self._clock.wall_s()
        try:
            self._moment = moment_of(argument, end)
        except ValueError as error:
            self.put(str(error))
        else:
            self.put(clock_text(self._moment, end))
            self.status("")

    def do_earlier(self, argument: str) -> None:
        from console.tui.time_doings import STEP_S

        self._step(-STEP_S)

    def do_later(self, argument: str) -> None:
        from console.tui.time_doings import STEP_S

        self._step(STEP_S)

    def _step(self, by_s: float) -> None:
        self._moment = self.now + by_s
        self.put(clock_text(self._moment, self._clock.wall_s()))
        self.status("")

    def do_live(self, argument: str) -> None:
        if self._moments is None:
            self._moment = None
        self.status("")

    def do_arm(self, argument: str) -> None:
        if self._read_only:
            self.put(say("this console only looks; it cannot be armed"))
            return
        try:
            for_s = seconds(argument) if argument else 600.0
        except ValueError as error:
            self.put(str(error))
            return
        self._arming.arm(for_s)
        self.put(say("armed for {time}: changes are possible; :disarm ends it", time=duration_text(for_s)))

    def do_disarm(self, argument: str) -> None:
        self._arming.disarm()
        self.put(say("read-only again"))

    def do_reconnect(self, argument: str) -> None:
        if argument in self.state.nodes:
            self.send(ReconnectNode(node=argument))
            self.put(say("trying {node} again", node=argument))
        else:
            self.put(say("no node is called {name}", name=argument))

    def do_stop(self, argument: str) -> None:
        from console.core.fleet.run_views import stop_targets

        attempt = self._feed.state.current.latest if self._feed.state.current is not None else None
        targets = stop_targets(self._feed.state, attempt, GRACE_S, WHY) if attempt is not None else ()
        if attempt is None or not targets:
            self.put(say("nothing to stop: the job lives on no node"))
            return
        self.confirm(StopJob(job=attempt.job, attempt=attempt.attempt, nodes=tuple(target.node for target in targets), grace_s=GRACE_S, why=WHY), attempt.job,
                     say("asked {n} nodes to stop {job}", n=len(targets), job=attempt.job))
        for target in targets:
            self.put(f"{target.node}: {say(target.state)}, {say('link {state}', state=say(target.link.text))}: {target.command}")
        self.put(say("type the job's name to stop it on these nodes; anything else leaves it running"))

    def _confirm(self, line: str) -> None:
        assert self._asked is not None
        (intent, name, told), self._asked = self._asked, None
        if line not in (name, shown(name)):
            self.put(say("That is not the job's name. Nothing was done.") if isinstance(intent, StopJob) else say("That is not the name. Nothing was done."))
        elif not self._arming.armed:
            self.put(say("No longer armed. Nothing was done."))
        else:
            self.send(intent)
            self.put(told)

    def confirm(self, wish: Wish, word: str, told: str) -> None:
        """Carry out the wish when the next line is the word."""
        self._asked = (wish, word, told)

    # --- colleagues ------------------------------------------------------------------------------------------

    def do_alarms(self, argument: str) -> None:
        from console.tui.plain_colleagues import told

        told(self.state, self.now, self._console, self.put)

    def do_ack(self, argument: str) -> None:
        self._remark("ack", argument)

    def do_mute(self, argument: str) -> None:
        self._remark("mute", argument)

    def do_unmute(self, argument: str) -> None:
        self._remark("unmute", argument)

    def do_note(self, argument: str) -> None:
        self._remark("note", argument)

    def _remark(self, name: str, argument: str) -> None:
        from console.tui.colleague_doings import remark

        try:
            self._submit(remark(name, argument, "", self._clock.wall_s()))
        except ValueError as error:
            self.put(str(error))

    # --- checks, job files, logins -------------------------------------------------------------------------

    @cached_property
    def errands(self) -> PlainErrands:
        """What these commands do; loaded with the first of them."""
        from console.tui.plain_errands import PlainErrands

        return PlainErrands(self, self._fleet)

    @property
    def armed(self) -> bool:
        """Whether changes are possible."""
        return self._arming.armed

    def do_check(self, argument: str) -> None:
        self.errands.check(argument)

    def do_checks(self, argument: str) -> None:
        self.errands.checks()

    def do_finding(self, argument: str) -> None:
        self.errands.finding(argument)

    def do_fix(self, argument: str) -> None:
        self.errands.fix(argument)

    def do_plan(self, argument: str) -> None:
        self.errands.plan(argument)

    def do_run(self, argument: str) -> None:
        self.errands.run()

    def _login(self, asked: LoginAsked) -> None:
        if asked.open:
            self.questions[asked.number] = asked
        else:
            self.questions.pop(asked.number, None)

    def send(self, intent: Wish) -> None:
        if ACCESS[type(intent)] == "read" or self._arming.armed:
            self._submit(intent)


def run(feed: Feed, submit: Callable[[Wish], None], clock: Clock, *, read_only: bool = False, options: Options | None = None,
        lines: TextIO | None = None, out: TextIO | None = None, fleet: str = "", job_file: str = "", console: str = "",
        ask: Callable[[LoginAsked], str | None] | None = None) -> None:
    """Read commands until the end of input or ``quit``. ``ask``: puts a login's question to the person at this terminal."""
    moments = options.moments if options is not None else None
    moment = options.cursor.at if options is not None and options.cursor is not None else None
    out = out or sys.stdout
    session = Plain(feed, submit, clock, out, read_only=read_only, moments=moments, moment=moment, fleet=fleet, console=console)
    session.put(say("rankdeck, as text. help lists the commands, quit leaves; an empty line says how things are."))
    if job_file:
        session.do(f"plan {job_file}")
    while True:
        session.news()
        if ask is not None:
            for number, asked in list(session.questions.items()):
                submit(AnswerLogin(number=number, answer=ask(asked)))
                session.questions.pop(number, None)
        if lines is None:
            try:
                line = _typed(session) if ask is not None else input(PROMPT)
            except EOFError:
                return
            if line is None:
                continue
        else:
            line = lines.readline()
            if not line:
                return
        if not session.do(line):
            return


def _typed(session: Plain) -> str | None:
    """A line from the terminal; None when a login asks something before there is one. Raises EOFError."""
    sys.stdout.write(PROMPT)
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], LOOK_S)[0]:
        session.listen()
        if session.questions:
            sys.stdout.write("\n")
            return None
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
