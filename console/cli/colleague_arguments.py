"""The options of ``rankdeck alarms``, ``note`` and ``who``. Loads nothing that they need to run."""

from __future__ import annotations

import argparse
from typing import Any


def arguments(add: Any, add_wait: Any, add_lang: Any) -> None:
    """The three commands' options."""
    shown = add("alarms", _alarms, "What wants attention on the fleet and what was said of it; acknowledge or mute one. Exit status 1 while one is unanswered.",
                fleet=True, link=True)
    shown.add_argument("--ack", metavar="KEY", default="", help="say that this one is being seen to, for a shift or until it begins anew")
    shown.add_argument("--mute", metavar="KEY", default="", help="say nothing more of this one, or of all that a pattern fits: 'node/atlas-04/*'")
    shown.add_argument("--unmute", metavar="KEY", default="", help="the same key or pattern, no longer muted")
    shown.add_argument("--for", dest="until", metavar="SPAN", default="", help="with --mute: 30m, 8h, 2d (default: a shift of 8h)")
    shown.add_argument("--why", metavar="TEXT", default="", help="the reason, for the others")
    add_lang(shown)
    add_wait(shown)
    noted = add("note", _note, "Say something to everybody who watches the fleet, also to those who come later; without a text: what was said.", fleet=True, link=True)
    noted.add_argument("text", metavar="TEXT", nargs="?", default="", help="what to say")
    add_lang(noted)
    add_wait(noted)
    asked = add("who", _who, "Which consoles are attached to the fleet's nodes, of whom, and which of them are armed.", fleet=True, link=True)
    add_lang(asked)
    add_wait(asked)


def _alarms(args: argparse.Namespace) -> int:
    from console.cli import colleagues

    return colleagues.alarms(args)


def _note(args: argparse.Namespace) -> int:
    from console.cli import colleagues

    return colleagues.note(args)


def _who(args: argparse.Namespace) -> int:
    from console.cli import colleagues

    return colleagues.who(args)
