"""``rankdeck replay``: a run from the history on the same screen, with a time cursor that runs by itself.

Connects to nothing and writes nothing. Curves, saves and faults are all there from the start, what is still
to come dimmed; nodes, NPUs and phases show what was known at the cursor's moment. Lines of logs are not kept
in the history.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from console import files
from console.cli.desk import SystemClock, say
from console.core import i18n
from console.core.errors import FileError
from console.core.events import Answer, FleetEvent, RecordArrived
from console.core.fleet.state import FleetState, RunState, apply, reached
from console.core.spoken import spoken
from console.store import LogRing, Store, default_path, read_happenings, read_records
from console.tui import app
from console.tui.layout_host import BUILT_IN
from console.tui.terminal import wants_text
from console.tui.time_cursor import Moments, TimeCursor
from console.tui.words import catalogue

KINDS = ("sample", "host", "job", "rank_map", "exit", "fault", "checkpoint", "audit", "gap")
"""What moments are made of; iterations are in the curves."""
MARGIN_S = 60.0
"""Shown before the run's first and after its last sign."""


def replay(args: argparse.Namespace) -> int:
    """Show the run until the operator leaves. Raises ConsoleError."""
    inventory = files.read_fleet(args.inventory)
    i18n.use(catalogue(args.lang, os.environ))
    path = default_path()
    if not path.exists():
        raise FileError("there is no history yet", where=str(path), expected="a fleet that was open, watched or launched on from here",
                        fix="rankdeck open -i FLEET keeps one; rankdeck demo shows how it looks.")
    store = Store(path, inventory.name)
    try:
        state, ends = store.state, store.ends()
    finally:
        store.close()
    run, began = _chosen(state, args.job, str(path))
    state = replace(state, runs={run.job: run})
    try:
        moments = fold(_in_order(read_happenings(path, inventory.name), read_records(path, inventory.name, kinds=KINDS), ends), run, began)
    except sqlite3.Error as error:
        raise FileError("cannot read the history", where=str(path), got=str(error), expected="a rankdeck database") from error
    if not moments.times:
        raise FileError("nothing of that run is kept", where=str(path), got=run.job, fix="rankdeck ps --all lists what the nodes still know.")
    notice = ""
    try:
        layout, style = files.read_layout(args.layout)
    except FileError as error:
        layout, style, notice = BUILT_IN, "", spoken(error)
    first, last = moments.times[0], moments.times[-1]
    cursor = TimeCursor(at=_begin(args.begin, first, last), first=first, replay=True, speed=args.speed, usual_speed=args.speed)
    options = app.Options(notice=notice, view=args.view, theme=args.theme, fps=args.fps, read_only=True, mouse=args.mouse, layouts=files.layouts, read_layout=files.read_layout,
                          labels={node.name: node.labels for node in inventory.nodes}, cursor=cursor, moments=moments, quit_label="quit")
    feed = ReplayFeed(state)
    if wants_text(args.plain, os.environ):
        from console.tui import plain

        plain.run(feed, lambda intent: None, SystemClock(), read_only=True, options=options)
        return 0
    ending = app.run(feed, lambda intent: None, SystemClock(), layout, style, options=options)
    if ending.text:
        say(ending.text)
    return 1 if ending.reason == "failed" else 0


class ReplayFeed:
    """A store that stands still."""

    def __init__(self, state: FleetState) -> None:
        self.state = state
        self.logs: Mapping[tuple[str, str], LogRing] = {}

    def drain(self, most: int = 0) -> bool:
        """Nothing arrives."""
        return False

    def answers(self) -> Sequence[Answer]:
        """Nothing was asked."""
        return ()


def fold(events: Iterable[FleetEvent], run: RunState, began: float) -> Moments:
    """What was known at each second of the run, from events in the order of ``at``."""
    last = max([began, *(seen.time for seen in run.checkpoints.values()), *([run.last_iteration_time] if run.last_iteration_time is not None else []),
                *(seen.time for attempt in run.attempts.values() for seen in attempt.exits.values()),
                *(seen.time for attempt in run.attempts.values() for seen in attempt.faults)])
    moments, state, second = Moments(), FleetState(), 0
    lasts: dict[str, FleetEvent] = {}
    for event in events:
        at = _at(event)
        if at > last + MARGIN_S:
            break
        if second and int(at) != second and second >= began - MARGIN_S:
            moments.add(float(second), state)
        state, second = _applied(state, event, lasts), int(at)
        if state.runs.keys() - {run.job}:
            state = replace(state, runs={name: known for name, known in state.runs.items() if name == run.job})
    if second >= began - MARGIN_S:
        moments.add(max(float(second), last), state)
    return moments


def _applied(state: FleetState, event: FleetEvent, lasts: dict[str, FleetEvent]) -> FleetState:
    """One event more. Of iterations, which are in the curves, only how far the attempt came; an exit is judged by the last of them."""
    if not isinstance(event, RecordArrived) or event.kind not in ("iteration", "exit"):
        return apply(state, event)
    attempt = str(event.data.get("attempt"))
    if event.kind == "iteration":
        lasts[attempt] = event
        return reached(state, event)
    state = apply(state, event)
    return reached(state, lasts[attempt]) if attempt in lasts else state


def _at(event: FleetEvent) -> float:
    return float(event.at)


def _in_order(*streams: Iterable[FleetEvent]) -> Iterator[FleetEvent]:
    yield from heapq.merge(*(sorted(stream, key=_at) for stream in streams), key=_at)


def _chosen(state: FleetState, name: str, where: str) -> tuple[RunState, float]:
    """(the run, when to begin): a job's name, an attempt's id, or the newest."""
    run = state.runs.get(name) if name else state.current
    if run is None:
        for known in state.runs.values():
            if name in known.attempts:
                return known, known.attempts[name].started_at
        known_names = ", ".join(sorted(state.runs)) or "none"
        raise FileError("there is no such run in the history" if name else "there is no run in the history", where=where, got=name, expected=known_names)
    starts = [attempt.started_at for attempt in run.attempts.values() if attempt.started_at]
    return run, min(starts, default=0.0)


def _begin(text: str, first: float, last: float) -> float:
    from console.tui.time_doings import moment_of

    if not text:
        return first
    try:
        return max(first, min(last, moment_of(text, last)))
    except ValueError as error:
        raise FileError("not a time", where="--from", got=repr(text), expected="HH:MM:SS, or -30m before the end") from error
