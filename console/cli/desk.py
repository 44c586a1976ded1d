"""A desk for one command, and how a command speaks: results on standard output, the rest on standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from console.core.launch.inventory import Inventory
from console.desk import LIVE, LOOK_S, Desk, SystemClock

__all__ = ["LIVE", "LOOK_S", "Desk", "SystemClock", "at_desk", "put", "put_json", "say"]


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
