"""``rankdeck open``: the screen on a fleet's store and links."""

from __future__ import annotations

import argparse
import gc
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from console import files
from console.cli.desk import Desk, say
from console.core.errors import FileError
from console.core.events import Answer, FleetEvent, LinkChanged
from console.core.fleet.state import FleetState
from console.core.intents import Intent
from console.store import LogRing, Store
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
        ending = app.run(Feed(desk.store, desk.answers, desk.begin), desk.submit, desk.clock, layout, style, notice=notice)
    finally:
        desk.end()
    if ending.text:
        say(ending.text)
    return 1 if ending.reason == "failed" else 0


class ScreenDesk(Desk):
    """A desk that is started from the screen, and keeps answers to intents for it."""

    def __init__(self, *args: object, **named: object) -> None:
        super().__init__(*args, **named)  # type: ignore[arg-type]
        self.answers: deque[Answer] = deque(maxlen=100)
        self._starting = threading.Thread(target=self._start, name="start", daemon=True)
        self._early: deque[Intent] | None = deque()
        self._early_lock = threading.Lock()

    def emit(self, events: list[FleetEvent]) -> None:
        """Store the events; answers are also for the bottom line."""
        self.store.ingest(events)
        self.answers.extend(event for event in events if isinstance(event, Answer))

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


class Feed:
    """The store as the screen sees it, with ``begin`` called when the first picture is out."""

    def __init__(self, store: Store, answers: deque[Answer], begin: Callable[[], None]) -> None:
        self._store, self._answers, self._begin = store, answers, begin
        self._drains = 0

    @property
    def state(self) -> FleetState:
        """The newest state."""
        return self._store.state

    @property
    def logs(self) -> Mapping[tuple[str, str], LogRing]:
        """The followed logs."""
        return self._store.logs

    def drain(self) -> bool:
        """Fold in what arrived. The second call comes from the screen's timer, so the screen is painted by then."""
        self._drains += 1
        if self._drains == 2:
            self._begin()
        return self._store.drain()

    def answers(self) -> Sequence[Answer]:
        """What came of requests since the last call."""
        found = []
        while self._answers:
            found.append(self._answers.popleft())
        return found
