"""A desk for one command, and how a command speaks: results on standard output, the rest on standard error."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from console.core.launch.inventory import Inventory
from console.desk import LIVE, LOOK_S, Desk, SystemClock

if TYPE_CHECKING:
    from console.remote.prompts import Question

__all__ = ["LIVE", "LOOK_S", "Desk", "SystemClock", "ask", "at_desk", "put", "put_json", "say", "speak"]


@contextmanager
def at_desk(args: argparse.Namespace, inventory: Inventory) -> Iterator[Desk]:
    """A desk whose links have been started, closed at the end."""
    desk = Desk(inventory, operator=args.operator, accept_new=args.accept_new, prompt=ask if sys.stdin.isatty() and sys.stderr.isatty() else None)
    try:
        desk.supervisor.start()
        yield desk
    finally:
        desk.close()


_asking = threading.Lock()


def ask(question: Question) -> str | None:
    """The answer of the person at the terminal to what a login asks; None when there is none."""
    # One at a time, however many nodes log in at once. The text is a server's: nothing in it may reach the terminal as a command.
    import getpass

    with _asking:
        text = f"{question.node}: {''.join(mark if mark.isprintable() else ' ' for mark in question.text)} "
        try:
            if not question.echo:
                return getpass.getpass(text, sys.stderr)
            sys.stderr.write(text)
            sys.stderr.flush()
            return sys.stdin.readline().rstrip("\n")
        except (EOFError, KeyboardInterrupt):
            return None


def speak(args: argparse.Namespace) -> None:
    """Say what follows in the operator's language (``--lang``, the setting, else the locale's); a document stays English."""
    if not getattr(args, "json", False):
        from console.core import i18n
        from console.tui.words import catalogue

        i18n.use(catalogue(getattr(args, "lang", "") or getattr(args, "settings", {}).get("lang", ""), os.environ))


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def put(text: str) -> None:
    """A result for people, on standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def put_json(document: Mapping[str, Any]) -> None:
    """The one document of ``--json``."""
    import json

    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
