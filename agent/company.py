"""Who is attached to this node, and what they say to each other. Refuses to decide anything from it.

Several consoles of several people watch one node. Each learns of the others by the record ``presence``, and what
one of them says (a note, an alarm acknowledged or muted) reaches all by the record ``remark``. A remark has an id
of its console's making, because the same one is said on many nodes.
"""

from __future__ import annotations

from typing import Any

from agent import clock, wire
from agent.refusal import Refused
from agent.serve import Client

TEXT_MAX = 2000
SUBJECT_MAX = 500


class Company:
    """The consoles as they were last told."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] | None = None

    def changed(self, clients: list[Client]) -> dict[str, Any] | None:
        """A ``presence`` record when it would say something new, else None."""
        now = clock.wall_s()
        consoles = [{"operator": each.operator, "console": each.console, "uid": each.uid, "since": each.since,
                     "armed_until": each.armed_until if each.armed_until > now else None} for each in clients if each.met]
        consoles.sort(key=lambda each: (each["since"], each["console"]))
        if consoles == self._told or (self._told is None and not consoles):
            return None
        self._told = consoles
        return wire.record("presence", now, clock.mono_s(), {"consoles": consoles})


def armed(client: Client, args: dict[str, Any]) -> dict[str, Any]:
    """Note that a console can change things for so long; 0: no longer."""
    client.armed_until = clock.wall_s() + min(max(0.0, float(args["left_s"])), wire.ARMED_MOST_S) if args["left_s"] > 0 else 0.0
    return {}


def remark(client: Client, args: dict[str, Any]) -> dict[str, Any]:
    """The ``remark`` record of a request. Raises Refused."""
    if args["what"] not in wire.REMARKS:
        raise Refused("there is no such remark", got=repr(args["what"])[:80], expected="one of " + ", ".join(wire.REMARKS), move="Correct the request")
    if not args["id"] or len(args["id"]) > 80 or len(args["subject"]) > SUBJECT_MAX or len(args["text"]) > TEXT_MAX:
        raise Refused("the remark is too long", got="%d characters" % max(len(args["text"]), len(args["subject"]), len(args["id"])),
                      expected="at most %d" % TEXT_MAX, move="Say it in fewer words")
    until = args.get("until")
    data = {"id": args["id"], "what": args["what"], "subject": args["subject"], "text": args["text"], "operator": client.operator, "peer_uid": client.uid,
            "until": float(until) if isinstance(until, (int, float)) and not isinstance(until, bool) else None}
    return wire.record("remark", clock.wall_s(), clock.mono_s(), data, key="remark/" + args["id"])
