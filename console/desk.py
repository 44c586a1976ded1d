"""A fleet's store, links and launch engine, put together, and taken apart after use.

What every front end of the console sits at: the command line, the screen and the demo. Nothing connects
before ``supervisor.start``. Writes are let through here: the screen has its own arming, and on the command
line the command is it.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.core.errors import ConsoleError
from console.core.events import Answer, FleetEvent, News
from console.core.fleet.state import FleetState
from console.core.launch.inventory import Inventory
from console.store import LogRing, Store, default_path

if TYPE_CHECKING:
    from console.core.intents import Wish
    from console.errands import Errands
    from console.remote.prompts import Prompt
    from console.remote.ssh_backend import SshBackend
    from console.remote.supervisor import Supervisor

LIVE = ("prepared", "committed", "running", "stopping")
"""States of an attempt in which something of it may be on the node (agent.wire.JOB_STATES)."""
LOOK_S = 0.1
ASK_AT_ONCE = 32


class SystemClock:
    """The machine's own clocks."""

    def wall_s(self) -> float:
        return time.time()  # noqa: TID251 - the edge that supplies it

    def mono_s(self) -> float:
        return time.monotonic()


class Desk:
    """Opened on construction. ``store_path``: of the history, default that of the user; ``ssh_config``: another
    file than the user's and the system's."""

    def __init__(self, inventory: Inventory, *, operator: str = "", accept_new: bool = False, store_path: Path | None = None,
                 ssh_config: str | None = None, prompt: Prompt | None = None, at_first: int = 0) -> None:
        """``prompt``: who answers what a login asks (a one-time code); None: nobody. ``at_first``: as of ``Store``."""
        self.inventory, self.clock = inventory, SystemClock()
        self.store = Store(store_path or default_path(), inventory.name, at_first=at_first)
        self.answers: deque[Answer] = deque(maxlen=100)
        """What requests came to, for the screen's bottom line."""
        self.news: deque[News] = deque()
        """What errands came to, for the screen; bounded by what the operator asks for."""
        self._operator, self._accept_new, self._ssh_config = operator or _login(), accept_new, ssh_config
        self._prompt = prompt

    @cached_property
    def name(self) -> str:
        """This console as the nodes and the others know it: its host and process."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def emit(self, events: list[FleetEvent]) -> None:
        """Where the links' events go; returns when they are stored."""
        self.store.ingest(events)
        self.answers.extend(event for event in events if isinstance(event, Answer))

    @cached_property
    def supervisor(self) -> Supervisor:
        """The links, made at the first use: a screen is painted before SSH is even imported."""
        from console.remote.supervisor import Supervisor, transports

        return Supervisor(self.inventory.nodes, clock=self.clock, operator=self._operator, console=self.name, armed=lambda: True, emit=self.emit,
                          transport_for=transports(self.inventory.known_hosts, accept_new=self._accept_new, prompt=self._prompt, **self._config()), cursor=self.store.cursor)

    @cached_property
    def backend(self) -> SshBackend:
        """The launch engine on these links."""
        from console.remote.ssh_backend import SshBackend

        return SshBackend(self.supervisor, self.clock)

    @cached_property
    def errands(self) -> Errands:
        """Checks, plans, launches and logins, made at the first use."""
        from console.errands import Errands

        return Errands(self, self._hear)

    def _hear(self, news: News | Answer) -> None:
        if isinstance(news, Answer):
            self.answers.append(news)
        else:
            self.news.append(news)

    def submit(self, wish: Wish) -> None:
        """Carry out what the screen asks for, in the background; returns at once."""
        from console.core.intents import FollowLog, ReconnectNode, StopJob, UnfollowLog

        if isinstance(wish, (FollowLog, UnfollowLog, ReconnectNode, StopJob)):
            self.supervisor.submit(wish)
        else:
            self.errands.run(wish)

    def _config(self) -> dict[str, str]:
        return {} if self._ssh_config is None else {"config_path": self._ssh_config}

    def close(self) -> None:
        """Hang up and close the store; jobs go on."""
        if "errands" in self.__dict__:
            self.errands.close()
        if "supervisor" in self.__dict__:
            self.supervisor.stop()
        self.store.close()

    def settle(self, timeout_s: float) -> dict[str, str]:
        """Wait until every node has answered or cannot, and what it had to tell is stored and drained.

        Returns the nodes that are not up, with the reason as far as it is known.
        """
        deadline_s = self.clock.mono_s() + timeout_s
        while True:
            self.store.drain()
            missing, pending = {}, False
            for node in self.inventory.nodes:
                known = self.store.state.nodes.get(node.name)
                if known is None or known.link != "up" or known.met is None:
                    missing[node.name] = (known.link_why if known else "") or "no answer in time"
                    pending = pending or known is None or known.link in ("connecting", "up")
                else:
                    cursor = self.store.cursor(node.name)
                    told = cursor is not None and cursor["spool_id"] == known.met.spool_id and cursor["seq"] >= known.met.newest_seq
                    pending = pending or known.sample is None or not (told or known.met.newest_seq == 0)
            if not pending or self.clock.mono_s() >= deadline_s:
                return missing
            time.sleep(LOOK_S)

    def attempts(self, missing: Mapping[str, str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        """Every attempt that the nodes themselves know, each with its ``node``; and the nodes that did not tell,
        those of ``missing`` among them."""
        def ask(name: str) -> list[dict[str, Any]]:
            return [{**attempt, "node": name} for attempt in self.supervisor.request(name, "jobs").get("attempts") or ()]

        from concurrent.futures import ThreadPoolExecutor

        found: list[dict[str, Any]] = []
        silent = dict(missing)
        with ThreadPoolExecutor(max_workers=ASK_AT_ONCE) as pool:
            asked = [(node.name, pool.submit(ask, node.name)) for node in self.inventory.nodes if node.name not in silent]
            for name, answer in asked:
                try:
                    found += answer.result()
                except ConsoleError as error:
                    silent[name] = str(error)
        return found, silent


def _login() -> str:
    """Who runs this; a container's user need not have a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


class ScreenFeed:
    """A desk's store as the screen wants it (``console.tui.feed.Feed``)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @property
    def state(self) -> FleetState:
        """The newest state."""
        return self._desk.store.state

    @property
    def logs(self) -> Mapping[tuple[str, str], LogRing]:
        """The followed logs."""
        return self._desk.store.logs

    def drain(self, most: int = 0) -> bool:
        """Fold in what arrived, so many events of it (0: all); True when anything did."""
        return self._desk.store.drain(most)

    def answers(self) -> Sequence[Answer | News]:
        """What came of requests and errands since the last call."""
        found: list[Answer | News] = []
        while self._desk.news:
            found.append(self._desk.news.popleft())
        while self._desk.answers:
            found.append(self._desk.answers.popleft())
        return found
