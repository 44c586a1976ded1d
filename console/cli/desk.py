"""A fleet's store, links and launch engine, put together for one command, and taken apart after it."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from console.core.errors import ConsoleError
from console.core.launch.inventory import Inventory
from console.store import Store, default_path

if TYPE_CHECKING:
    from console.core.events import FleetEvent
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
    """Opened on construction; nothing connects before ``supervisor.start``.

    Writes are let through here: the screen has its own arming, and on the command line the command is it.
    """

    def __init__(self, inventory: Inventory, *, operator: str = "", accept_new: bool = False) -> None:
        self.inventory, self.clock = inventory, SystemClock()
        self.store = Store(default_path(), inventory.name)
        self._operator, self._accept_new = operator or _login(), accept_new

    def emit(self, events: list[FleetEvent]) -> None:
        """Where the links' events go; returns when they are stored."""
        self.store.ingest(events)

    @cached_property
    def supervisor(self) -> Supervisor:
        """The links, made at the first use: a screen is painted before SSH is even imported."""
        from console.remote.supervisor import Supervisor, transports

        return Supervisor(self.inventory.nodes, clock=self.clock, operator=self._operator, armed=lambda: True, emit=self.emit,
                          transport_for=transports(self.inventory.known_hosts, accept_new=self._accept_new), cursor=self.store.cursor)

    @cached_property
    def backend(self) -> SshBackend:
        """The launch engine on these links."""
        from console.remote.ssh_backend import SshBackend

        return SshBackend(self.supervisor, self.clock)

    def close(self) -> None:
        """Hang up and close the store; jobs go on."""
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
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


@contextmanager
def at_desk(args: argparse.Namespace, inventory: Inventory) -> Iterator[Desk]:
    """A desk whose links have been started, closed at the end."""
    desk = Desk(inventory, operator=args.operator, accept_new=args.accept_new)
    try:
        desk.supervisor.start()
        yield desk
    finally:
        desk.close()


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def put(text: str) -> None:
    """A result for people, on standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def put_json(document: Mapping[str, Any]) -> None:
    """The one document of ``--json``."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
