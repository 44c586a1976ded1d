"""``rankdeck alarms``, ``note`` and ``who``: what is wrong, what was said of it, and who else is looking.

What is said here is said to all nodes that can be reached, and every console hears it from them.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from datetime import datetime, timezone

from console import files
from console.cli.desk import LOOK_S, Desk, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.fleet.company import colleagues, notes, span_s, standing
from console.core.fleet.views import duration_text
from console.core.launch.report import table
from console.errands import send

SHOWN_NOTES = 20
HEARD_S = 5.0
"""Until what we said comes back from a node."""


def alarms(args: argparse.Namespace) -> int:
    """List what wants attention, or answer one alarm. Exit status 1 while something is unanswered. Raises ConsoleError."""
    wanted = [(what, subject) for what, subject in (("acknowledge", args.ack), ("mute", args.mute), ("unmute", args.unmute)) if subject]
    if len(wanted) > 1:
        raise FileError("one thing at a time", where="rankdeck alarms", got="more than one of --ack, --mute, --unmute", expected="one of them")
    if wanted and wanted[0][0] != "unmute" and not args.why:
        raise FileError("why was not said", where=f"--{'ack' if args.ack else 'mute'}", expected="--why TEXT", fix="Others will want to know")
    span_s = _span_s(args.until) if args.until else None
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        if wanted:
            _say(desk, *wanted[0], args.why, until=None if span_s is None else desk.clock.wall_s() + span_s)
        now, state = desk.clock.wall_s(), desk.store.state
        found = standing(state, now)
    ok = not any(said is None and alarm.severity != "notice" for alarm, said in found)
    if args.json:
        put_json({"ok": ok, "fleet": inventory.name, "at": now, "unreachable": [{"node": node, "why": why} for node, why in missing.items()],
                  "alarms": [{**alarm.mapping(), "answered": dataclasses.asdict(said) if said else None} for alarm, said in found]})
        return 0 if ok else 1
    rows = [("", i18n.say("SEVERITY"), i18n.say("KEY"), i18n.say("FOR"), "")]
    rows += [(("✗" if alarm.severity == "critical" else "!" if alarm.severity == "warning" else "·") + (" ✓" if said else ""), i18n.say(str(alarm.severity)), alarm.key,
             duration_text(now - alarm.since) if alarm.since else "-",
             alarm.text + (f"  [{i18n.say('{what} by {who}: {text}', what=i18n.say(said.what), who=said.operator, text=said.text)}]" if said else ""))
            for alarm, said in found]
    put("\n".join(table(rows)) if found else i18n.say("nothing wants attention"))
    return 0 if ok else 1


def note(args: argparse.Namespace) -> int:
    """Say something to everybody who watches the fleet, or list what was said. Raises ConsoleError."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        desk.settle(args.timeout)
        if args.text:
            _say(desk, "note", "", args.text, until=None)
        said = notes(desk.store.state)[:SHOWN_NOTES]
    if args.json:
        put_json({"ok": True, "fleet": inventory.name, "remarks": [dataclasses.asdict(one) for one in said]})
        return 0
    put("\n".join(table([(_time(one.time), one.operator, i18n.say(one.what) if one.what != "note" else "", one.subject, one.text) for one in said])) if said else i18n.say("nothing was said"))
    return 0


def who(args: argparse.Namespace) -> int:
    """List the consoles attached to the fleet's nodes."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        desk.settle(args.timeout)
        found = colleagues(desk.store.state, own=desk.name)
    if args.json:
        put_json({"ok": True, "fleet": inventory.name, "consoles": [dataclasses.asdict(one) for one in found]})
        return 0
    rows = [(i18n.say("OPERATOR"), i18n.say("CONSOLE"), i18n.say("NODES"), i18n.say("SINCE"), "")]
    rows += [(one.operator, one.console, str(len(one.nodes)), _time(one.since), i18n.say("ARMED until {time}", time=_time(one.armed_until)) if one.armed_until else "") for one in found]
    put("\n".join(table(rows)) if found else i18n.say("nobody else"))
    return 0


def _say(desk: Desk, what: str, subject: str, text: str, *, until: float | None) -> None:
    id_ = secrets.token_hex(8)
    problems = send(desk, "remark", {"id": id_, "what": what, "subject": subject, "text": text, "until": until})
    nodes = len(desk.inventory.nodes)
    if len(problems) == nodes:
        raise ConsoleError("no node could be told", where=desk.inventory.name, got=next(iter(problems.values())), fix="rankdeck status says why")
    say("rankdeck: " + i18n.say("told {n} of {all} nodes", n=nodes - len(problems), all=nodes))
    deadline_s = desk.clock.mono_s() + HEARD_S
    while id_ not in desk.store.state.remarks and desk.clock.mono_s() < deadline_s:
        desk.store.drain()
        time.sleep(LOOK_S)


def _span_s(text: str) -> float:
    try:
        return span_s(text)
    except ValueError:
        raise FileError("no time", where="--for", got=repr(text), expected="30m, 8h or 2d")


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%m-%d %H:%M:%SZ")
