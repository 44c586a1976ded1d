"""``rankdeck status``, ``ps`` and ``layouts``: commands that look and change nothing."""

from __future__ import annotations

import argparse
from typing import Any

from console import files
from console.cli.desk import LIVE, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import FileError
from console.core.launch.report import status_mapping, status_text, table
from console.core.spoken import spoken_text


def status(args: argparse.Namespace) -> int:
    """Say how the fleet is, once. Exit status 1 when something needs attention."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        document = status_mapping(desk.store.state, inventory, desk.clock.wall_s())
    if args.json:
        put_json(document)
    else:
        put(status_text(document))
        for node, why in missing.items():
            say("rankdeck: " + i18n.say("{node} is not up: {why}", node=node, why=spoken_text(why)))
    return 0 if document["ok"] else 1


def under_way(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The attempts that live on some node, with their parts that have ended on others."""
    living = {attempt.get("attempt") for attempt in found if attempt.get("state") in LIVE}
    return [attempt for attempt in found if attempt.get("attempt") in living]


def ps(args: argparse.Namespace) -> int:
    """List attempts as the nodes know them. Exit status 1 when a node did not answer."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        found, silent = desk.attempts(desk.settle(args.timeout))
    shown = found if args.all else under_way(found)
    shown.sort(key=lambda attempt: (str(attempt.get("attempt")), attempt.get("node_index") or 0), reverse=False)
    if args.json:
        put_json({"ok": not silent, "attempts": shown, "unreachable": [{"node": node, "why": why} for node, why in silent.items()]})
    else:
        rows = [tuple(head.upper() for head in (i18n.say("job"), i18n.say("attempt"), i18n.say("node"), i18n.say("state"), "pid", i18n.say("directory")))]
        rows += [(str(one.get("job")), str(one.get("attempt")), one["node"], i18n.say(str(one.get("state"))), str(one.get("pid") or "-"), str(one.get("dir")))
                 for one in shown]
        put("\n".join(table(rows)) if shown else i18n.say("nothing runs") if not args.all else i18n.say("nothing has run"))
        for node, why in silent.items():
            say("rankdeck: " + i18n.say("{node} did not answer: {why}", node=node, why=spoken_text(why)))
    return 1 if silent else 0


def layouts(args: argparse.Namespace) -> int:
    """List layouts by name. Exit status 1 when one of them cannot be used."""
    speak(args)
    entries = []
    for name, path in sorted(files.layouts().items()):
        try:
            title, error = files.read_layout(name)[0].title, ""
        except FileError as problem:
            title, error = "", str(problem)
        entries.append({"name": name, "title": title, "path": str(path), "error": error})
    if args.json:
        put_json({"ok": not any(entry["error"] for entry in entries), "layouts": entries})
    else:
        put("\n".join(table([(entry["name"], i18n.say(entry["title"]) or "-", entry["path"]) for entry in entries])) if entries else i18n.say("no layouts"))
        for entry in entries:
            if entry["error"]:
                say(f"rankdeck: {spoken_text(entry['error'])}")
    return 1 if any(entry["error"] for entry in entries) else 0
