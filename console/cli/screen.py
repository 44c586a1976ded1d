"""``rankdeck open``: the screen on a fleet's store and links."""

from __future__ import annotations

import argparse
import gc
import threading
from collections import deque

from console import files
from console.cli.desk import Desk, say
from console.core.errors import FileError
from console.core.events import LinkChanged
from console.core.intents import Intent
from console.desk import ScreenFeed
from console.tui import app
from console.tui.layout_host import BUILT_IN

START_LIMIT_S = 10.0
"""For the import of the SSH library, when the operator leaves at once."""


def open_screen(args: argparse.Namespace) -> int:
    """Show the fleet until the operator leaves. Raises ConsoleError."""
    inventory = files.read_fleet(args.inventory)
    notice = ""
    try:
        layout, style = files.read_layout(args.layout)
    except FileError as error:
        layout, style, notice = BUILT_IN, "", str(error)
    desk = ScreenDesk(inventory, operator=args.operator, accept_new=args.accept_new)
    try:
        # So that the first picture has the fleet's nodes on it, also of a fleet that was never met.
        desk.store.ingest([LinkChanged(node=node.name, at=desk.clock.wall_s(), state="connecting") for node in inventory.nodes])
        ending = app.run(Feed(desk), desk.submit, desk.clock, layout, style, notice=notice)
    finally:
        desk.end()
    if ending.text:
        say(ending.text)
    return 1 if ending.reason == "failed" else 0


class ScreenDesk(Desk):
    """A desk that is started from the screen."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]
        self._starting = threading.Thread(target=self._start, name="start", daemon=True)
        self._early: deque[Intent] | None = deque()
        self._early_lock = threading.Lock()

    def begin(self) -> None:
        """Start the links in the background: importing the SSH library takes as long as all of the screen does."""
        gc.freeze()
        gc.enable()
        self._starting.start()

    def _start(self) -> None:
        self.supervisor.start()
        with self._early_lock:
            early, self._early = self._early or (), None
            for intent in early:
                self.supervisor.submit(intent)

    def submit(self, intent: Intent) -> None:
        """Hand an intent to the links; what is asked for before they are started goes to them then."""
        with self._early_lock:
            if self._early is not None:
                self._early.append(intent)
                return
        self.supervisor.submit(intent)

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
        self._drains = 0

    def drain(self) -> bool:
        """Fold in what arrived. The second call comes from the screen's timer, so the screen is painted by then."""
        self._drains += 1
        if self._drains == 2:
            self._begin()
        return super().drain()
