"""Whether an attempt that runs has to end by itself, and why: its time is up, or it runs on this node alone.

Pure reading of the attempt's directory; refuses to stop anything. A console that is lost between the first
start of a launch and the first iteration cannot undo it, and no node knows of the others: so a commit may say
how long the attempt may run before it is confirmed (``settle_s``). While the console watches it come up it says
again and again how long from now (``hold_s``), and it confirms when all nodes train, or when the operator leaves
the job to its nodes.
"""

from __future__ import annotations

from typing import Any

from agent import disk
from agent.attempt import Pointer

SETTLED = "settled.json"


def why_over(pointer: Pointer, now: float) -> str:
    """Why it has to end at node wall clock ``now``, in s; "" when it may go on. Its shim has begun."""
    limit_s = seconds(pointer.data.get("time_limit_s"))
    if limit_s is not None:
        began = (disk.read_json(pointer.path("shim.json")) or {}).get("started")
        if isinstance(began, (int, float)) and now >= began + limit_s:
            return "its time limit of %g s is over" % limit_s
    if not pointer.has(SETTLED):
        committed = disk.read_json(pointer.path("committed.json")) or {}
        settle_s = seconds(committed.get("settle_s"))
        if settle_s is not None:
            until = max(float(committed.get("time") or 0) + settle_s, float(pointer.data.get("held_until") or 0))
            if now >= until:
                return "the console that launched it has been silent for %g s, and it did not train on all its nodes yet" % settle_s
    return ""


def seconds(value: Any) -> float | None:
    """A positive number of seconds, else None."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None
