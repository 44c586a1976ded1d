"""What happened, as lines of time: faults, ends, saves, links, who did what. Pure.

Times are on the console's clock (``our_time``): a node's own time less its clock offset, where that is known.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

from console.core.fleet.state import AttemptState, FleetState, RunState
from console.core.fleet.views import Badge, Tone, link_badge, natural_key
from console.core.i18n import joined, phrase
from console.core.records import dataclass

_ROLE_TONES: Mapping[str, Tone] = {"root": "bad", "unclear": "warn", "cascade": "warn", "teardown": "off", "benign": "plain"}
_ACTIONS: Mapping[str, str] = {
    "retry": phrase("[retry]"), "resume": phrase("[resume]"), "isolate": phrase("[isolate]"), "fix-config": phrase("[fix-config]"), "fix-code": phrase("[fix-code]"),
    "fix-environment": phrase("[fix-environment]"), "clean-device": phrase("[clean-device]"), "free-space": phrase("[free-space]")}
"""agent.catalogue.loader.ACTIONS as the time line shows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of the time line, also used for faults."""

    time: float
    badge: Badge
    node: str
    rank: int | None
    what: str
    detail: str
    start: tuple[str, int | None] | None = None
    """(attempt, round) of the process that it happened to."""


def fault_rows(state: FleetState, run: RunState) -> tuple[Happening, ...]:
    """Faults of all attempts, newest first; lines that are known to mean nothing are left out."""
    rows = []
    for attempt in run.attempts.values():
        for seen in attempt.faults:
            data = seen.data
            role = str(data.get("role") or "unclear")
            if role == "benign":
                continue
            tone = _ROLE_TONES.get(role, "warn")
            code, category = str(data.get("code") or data.get("rule") or ""), str(data.get("category") or "")
            action, text = str(data.get("action") or ""), str(data.get("text") or "")
            number = data.get("round")
            rows.append(Happening(
                time=our_time(state, seen.node, seen.time), node=seen.node, rank=data.get("rank"), what=_named(code, category),
                start=(attempt.attempt, number) if isinstance(number, int) else None,
                badge=Badge(glyph={"bad": "✗", "warn": "!", "off": "·"}.get(tone, "·"), text=role, tone=tone),
                detail=_advised(action, text) if action and action != "none" else text))
    return tuple(sorted(rows, key=lambda row: -row.time))


@lru_cache(maxsize=512)
def _named(code: str, category: str) -> str:
    # The same few over and over, in lists of thousands that are made anew every second.
    return phrase("{code} {category}", code=code, category=phrase(category)) if code and category else phrase(category) if category else code


@lru_cache(maxsize=2048)
def _advised(action: str, text: str) -> str:
    return joined(" ", (_ACTIONS.get(action, f"[{action}]"), text))


def first_errors(state: FleetState, run: RunState) -> frozenset[tuple[str, int | None, float]]:
    """(node, rank, time) of the first line of each rank and round that may have begun something."""
    first: dict[tuple[str, str, int, int | None], float] = {}
    for attempt in run.attempts.values():
        for seen in attempt.faults:
            if seen.data.get("role") in ("benign", "teardown"):
                continue
            place = (attempt.attempt, seen.node, int(seen.data.get("round") or 0), seen.data.get("rank"))
            time = our_time(state, seen.node, seen.time)
            first[place] = min(time, first.get(place, time))
    return frozenset((node, rank, time) for (_, node, _, rank), time in first.items())


def timeline_rows(state: FleetState, run: RunState) -> tuple[Happening, ...]:
    """Starts, saves, loads, exits, faults, lost links and what was done on one line, newest first. The first error
    of each rank says so."""
    first = first_errors(state, run)
    rows = [replace(row, what=phrase("1st {what}", what=row.what)) if (row.node, row.rank, row.time) in first else row for row in fault_rows(state, run)]
    rows += [replace(row, badge=Badge(glyph="@", text="audit", tone=row.badge.tone)) for row in audit_rows(state)]
    for attempt in run.attempts.values():
        if attempt.started_at:
            nodes = ", ".join(sorted(attempt.node_states, key=natural_key))
            rows.append(Happening(time=attempt.started_at, badge=Badge(glyph="▸", text="start", tone="plain"), node="",
                                  rank=None, what=phrase("attempt {name}", name=attempt.attempt), detail=nodes))
        rows += _exit_rows(state, attempt)
    for seen in run.checkpoints.values():
        tone: Tone = {"saved": "good", "failed": "bad"}.get(seen.state, "busy")  # type: ignore[assignment]
        rows.append(Happening(time=our_time(state, seen.node, seen.time), badge=Badge(glyph="◆", text="save", tone=tone),
                              node=seen.node, rank=None, what=phrase("checkpoint {n} {state}", n=seen.iteration, state=phrase(seen.state)),
                              detail=seen.path))
    for node in state.nodes.values():
        badge = link_badge(node)
        if badge.tone in ("warn", "bad"):
            rows.append(Happening(time=node.link_at, badge=Badge(glyph=badge.glyph, text="link", tone=badge.tone),
                                  node=node.name, rank=None, what=phrase("link {state}", state=phrase(badge.text)), detail=node.link_why))
    return tuple(sorted(rows, key=lambda row: -row.time))


def _exit_rows(state: FleetState, attempt: AttemptState) -> list[Happening]:
    rows = []
    for (node, number, local_rank), seen in attempt.exits.items():
        data = seen.data
        code, by = data.get("code"), data.get("signal")
        asked = bool(data.get("asked"))
        tone: Tone = "off" if asked or (code == 0 and not by) else "warn" if by == signal.SIGTERM else "bad"
        how = signal_name(by) if by else phrase("exit {n}", n=code)
        who = phrase("launcher") if local_rank == -1 else f"rank {data.get('rank')}" if data.get("rank") is not None else f"local rank {local_rank}"
        rows.append(Happening(
            time=our_time(state, node, data.get("ended") or seen.time), node=node, rank=data.get("rank"),
            badge=Badge(glyph="✗" if tone == "bad" else "▾", text="exit", tone=tone), what=phrase("{who} {how}", who=who, how=how),
            start=None if local_rank == -1 else (attempt.attempt, number),
            detail=(phrase("asked for") if asked else "") if local_rank == -1 else phrase("round {n}, asked for", n=number) if asked else phrase("round {n}", n=number)))
    return rows


def signal_name(number: int | None) -> str:
    """SIGKILL for 9; the bare number where this system has no name for it."""
    try:
        return signal.Signals(number).name if number is not None else "-"
    except ValueError:
        return f"signal {number}"


def audit_rows(state: FleetState) -> tuple[Happening, ...]:
    """Who did what, newest first."""
    rows = []
    for node, time, data in islice(reversed(state.audit), 1000):
        ok = data.get("ok") is not False
        args: Mapping[str, Any] = data.get("args") or {}
        given = " ".join(f"{key}={value}" for key, value in args.items())
        rows.append(Happening(
            time=our_time(state, node, time), node=node, rank=None, what=_done(str(data.get("operator") or "?"), str(data.get("op") or "?")),
            badge=Badge(glyph="✓", text="done", tone="plain") if ok else Badge(glyph="✗", text="refused", tone="warn"),
            detail=joined("", (given, phrase(" ({why})", why=phrase(str(data["why"]))))) if data.get("why") else given))
    return tuple(rows)


@lru_cache(maxsize=512)
def _done(operator: str, op: str) -> str:
    return phrase("{who} {how}", who=operator, how=phrase(op))


def our_time(state: FleetState, node: str, time: float) -> float:
    """A node's wall clock on ours, as far as its offset is known."""
    seen = state.nodes.get(node)
    return time - seen.met.clock_offset_s if seen is not None and seen.met is not None else time
