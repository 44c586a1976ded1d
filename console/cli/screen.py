"""``rankdeck open``: the screen on a fleet's store and links."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from console import files
from console.cli.desk import Desk, ask, say
from console.core import i18n
from console.core.errors import FileError
from console.core.events import Answer, LinkChanged, LoginAsked, News
from console.core.launch.inventory import Inventory
from console.core.spoken import spoken
from console.desk import ScreenFeed
from console.tui import app
from console.tui.layout_host import BUILT_IN
from console.tui.terminal import wants_text
from console.tui.words import catalogue

if TYPE_CHECKING:
    from console.core.fleet.state import FleetState
    from console.core.intents import Wish
    from console.herald import Herald

AT_FIRST = 2000
"""Iterations of the first picture, the newest: more than any screen has columns. The rest of a long history comes after it."""
START_LIMIT_S = 10.0
"""For the import of the SSH library, when the operator leaves at once."""


def open_screen(args: argparse.Namespace) -> int:
    """Show the fleet until the operator leaves. Raises ConsoleError."""
    inventory = files.read_fleet(args.inventory)
    i18n.use(catalogue(args.lang, os.environ))
    if wants_text(args.plain, os.environ):
        return _plain(args, inventory)
    notice = ""
    try:
        layout, style = files.read_layout(args.layout)
    except FileError as error:
        layout, style, notice = BUILT_IN, "", spoken(error)
    desk = ScreenDesk(inventory, operator=args.operator, accept_new=args.accept_new)
    herald = LateHerald(getattr(args, "settings", {}))
    try:
        # So that the first picture has the fleet's nodes on it, also of a fleet that was never met.
        desk.store.ingest([LinkChanged(node=node.name, at=desk.clock.wall_s(), state="connecting") for node in inventory.nodes])
        options = app.Options(notice=notice, view=args.view or ("launch" if args.job else ""), theme=args.theme, fps=args.fps, read_only=args.read_only, mouse=args.mouse, layouts=files.layouts,
                              read_layout=files.read_layout, labels={node.name: node.labels for node in inventory.nodes},
                              shell=lambda node: ssh_command(inventory, node), fleet=inventory.name, console=desk.name, job_file=args.job, herald=herald.look)
        ending = app.run(Feed(desk), desk.submit, desk.clock, layout, style, options=options)
    finally:
        desk.end()
        herald.close()
    if ending.text:
        say(ending.text)
    return 1 if ending.reason == "failed" else 0


def _plain(args: argparse.Namespace, inventory: Inventory) -> int:
    """The same fleet as text, command by command."""
    from console.tui import plain

    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    desk = Desk(inventory, operator=args.operator, accept_new=args.accept_new, prompt=(lambda question: desk.errands.ask(question)) if at_terminal else None)
    try:
        desk.errands  # noqa: B018  made before a link could ask for it from its own thread
        desk.supervisor.start()
        plain.run(ScreenFeed(desk), desk.submit, desk.clock, read_only=args.read_only, fleet=inventory.name, job_file=args.job, console=desk.name, ask=_ask if at_terminal else None)
    finally:
        desk.close()
    return 0


def _ask(asked: LoginAsked) -> str | None:
    from console.remote.prompts import Question

    return ask(Question(node=asked.node, text=asked.text, echo=asked.echo))


def ssh_command(inventory: Inventory, name: str) -> list[str]:
    """What opens a shell on the node, as an operator would type it. Host keys stay verified."""
    node = inventory.node(name)
    command = ["ssh", "-t"]
    if node.port:
        command += ["-p", str(node.port)]
    if node.key:
        command += ["-i", node.key]
    if node.jump:
        command += ["-J", node.jump]
    if inventory.known_hosts:
        command += ["-o", f"UserKnownHostsFile={inventory.known_hosts} ~/.ssh/known_hosts"]
    return [*command, "--", f"{node.user}@{node.host}" if node.user else node.host]


class LateHerald:
    """A ``herald.Herald`` that is loaded when it is first asked: the first picture is out by then."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._herald: Herald | None = None

    def look(self, state: FleetState, now: float) -> tuple[str, str]:
        """What to write to the terminal, and what to say."""
        if self._herald is None:
            from console.herald import Herald

            self._herald = Herald(self._settings, os.environ)
        return self._herald.look(state, now)

    def close(self) -> None:
        """Wait a little for what is under way."""
        if self._herald is not None:
            self._herald.close()


class ScreenDesk(Desk):
    """A desk that is started from the screen."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, prompt=lambda question: self.errands.ask(question), at_first=AT_FIRST, **named)  # type: ignore[arg-type]
        self._loading = threading.Thread(target=self.store.load_rest, name="history", daemon=True)
        self._starting = threading.Thread(target=self._start, name="start", daemon=True)
        self._early: deque[Wish] | None = deque()
        self._early_lock = threading.Lock()

    def begin(self) -> None:
        """Start the links in the background: importing the SSH library takes as long as all of the screen does."""
        gc.freeze()
        gc.enable()
        self._loading.start()
        self._starting.start()

    def _start(self) -> None:
        self.errands  # noqa: B018  made before a link could ask for it from its own thread
        self.supervisor.start()
        with self._early_lock:
            early, self._early = self._early or (), None
            for wish in early:
                super().submit(wish)

    def submit(self, wish: Wish) -> None:
        """Hand a wish down; what is asked for before the links are started is carried out then."""
        with self._early_lock:
            if self._early is not None:
                self._early.append(wish)
                return
        super().submit(wish)

    def end(self) -> None:
        """Hang up and close, whether the links were started or not."""
        if self._starting.ident is not None:
            self._starting.join(START_LIMIT_S)
        self.close()


class Feed(ScreenFeed):
    """The desk's store, with ``begin`` called when the first picture is out."""

    def __init__(self, desk: ScreenDesk) -> None:
        super().__init__(desk)
        self._begin = desk.begin
        self._looks = 0

    def answers(self) -> Sequence[Answer | News]:
        """What came of requests. The second call comes from the screen's timer, so the screen is painted by then."""
        self._looks += 1
        if self._looks == 2:
            self._begin()
        return super().answers()
