"""``rankdeck export-run``: a job's metrics out of the history on this machine, for other tools. Connects to nothing.

Every iteration that was printed is there once for each start that printed it, as the log that carries the loss has
it; ``joined`` marks those that count after every restart took over from the iteration it resumed at. Refuses to
change the history.
"""

from __future__ import annotations

import argparse
import csv
import sqlite3
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from console.cli.desk import put_json, say, speak
from console.core import event_file, i18n
from console.core.errors import FileError
from console.core.events import RecordArrived
from console.core.fleet.compare import starts
from console.core.fleet.points import METRICS, number
from console.core.fleet.standing import Place
from console.core.fleet.state import RunState
from console.store import Store, default_path, fleets_of

COLUMNS = ("job", "attempt", "round", "iteration", "joined", "time", "lm_loss", "learning_rate", "grad_norm", "elapsed_ms", "tokens_per_s_per_device", "tflops",
           "skipped", "nan", "consumed_samples", "global_batch_size", "loss_scale", "max_allocated_mb")
"""Of the CSV; behind them one column for each timer of the run. ``time``: when the node took the line in, s since the
epoch, by the node's clock. ``max_allocated_mb``: of the rank that had most, where a rank printed it at that step."""
_WAIT_ROWS = 512
"""What is printed beside a step may come in so many steps sooner or later than the step, from another rank's log."""
TAGS = {"loss": "train/lm_loss", "learning_rate": "train/learning_rate", "grad_norm": "train/grad_norm", "skipped": "train/skipped_iterations",
        "nan": "train/nan_iterations", "step_time_ms": "perf/step_time_ms", "tokens_per_s_per_device": "perf/tokens_per_s_per_device",
        "tflops_per_device": "perf/tflops_per_device"}
VALIDATION = {"lm_loss": "valid/lm_loss", "ppl": "valid/ppl"}


def run(args: argparse.Namespace) -> int:
    """Write what is asked for; exit status 0. Raises FileError."""
    speak(args)
    if args.csv and args.tensorboard:
        raise FileError("one kind at a time", where="--csv, --tensorboard", got="both", fix="Run it twice")
    if args.json and not args.tensorboard and args.csv in ("", "-"):
        raise FileError("two documents on one output", where="--json", got="CSV on standard output", expected="--csv FILE or --tensorboard DIR")
    path = default_path()
    store = Store(path, _fleet(path, args.job, args.fleet))
    try:
        found = store.state.runs.get(args.job)
        if found is None or not len(found.standing) or (args.attempt and args.attempt not in {place[0] for place in found.standing.places}):
            raise FileError("the history has no iteration of it", where=f"{store.fleet}: {args.job}" + (f", attempt {args.attempt}" if args.attempt else ""),
                            expected=", ".join(sorted({place[0] for place in found.standing.places})) if found else "a job that has trained")
        ends = joined_ends(found)
        if args.tensorboard:
            files, rows = _tensorboard(store, found, args.attempt, Path(args.tensorboard), ends)
        else:
            files, rows = _csv(store, found, args.attempt, args.csv or "-", ends)
    finally:
        store.close()
    pruned = store.state.pruned.get((args.job, "iteration"), 0)
    if pruned:
        say("rankdeck: " + i18n.say("{n} iterations of this job had to be dropped from the history and are not in it", n=pruned))
    if args.json:
        put_json({"ok": True, "job": args.job, "fleet": store.fleet, "rows": rows, "files": files, "dropped": pruned})
    elif files:
        say("rankdeck: " + i18n.say("{n} iterations in {files}", n=rows, files=", ".join(files)))
    return 0


def joined_ends(found: RunState) -> dict[Place, int]:
    """Of each start the last iteration that counts: behind it, a later start has taken over."""
    known = starts(found)
    ends = {}
    for at, start in enumerate(known):
        later = [other.resumed_at if other.resumed_at is not None else other.first - 1 for other in known[at + 1:]]
        ends[start.place] = min(later, default=start.last)
    return ends


def _fleet(path: Path, job: str, named: str) -> str:
    try:
        known = fleets_of(path, job) if path.exists() else []
    except sqlite3.Error as error:
        # An older file has not all tables yet; opening the store brings it up to date and says what is wrong with it.
        if named:
            return named
        raise FileError("cannot tell whose job this is", where=str(path), got=str(error), fix="Name the fleet with --fleet")
    if named and named in known:
        return named
    if len(known) == 1 and not named:
        return known[0]
    raise FileError("the history has no such job" if not known else "which fleet's job is meant?", where=str(path), got=named or job,
                    expected=", ".join(known) or "a job that this machine has watched", fix="Add --fleet NAME" if known else "")


def _csv(store: Store, run: RunState, attempt: str, target: str, ends: dict[Place, int]) -> tuple[list[str], int]:
    rows = 0
    timers = sorted({tag for event in store.records(kinds=["timers"], job=run.job) if attempt in ("", event.data.get("attempt"))
                     for tag in _tags("timers", event.data)})
    with _opened(target) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *timers])
        for data in _rows(store, run, attempt, ends):
            writer.writerow(["" if data.get(name) is None else data[name] for name in (*COLUMNS, *timers)])
            rows += 1
    return ([] if target == "-" else [target]), rows


def _rows(store: Store, run: RunState, attempt: str, ends: dict[Place, int]) -> Iterator[dict[str, Any]]:
    """The steps as they were printed, each with what was printed beside it."""
    waiting: deque[dict[str, Any]] = deque()
    latest: dict[tuple[Place, int], dict[str, Any]] = {}    # of the rows that wait
    sooner: dict[tuple[Place, int], dict[str, float]] = {}
    stands = _stands(store, run)
    for event in store.records(kinds=["iteration", "timers", "memory"], job=run.job):
        if not isinstance(event.data.get("iteration"), int) or attempt not in ("", event.data.get("attempt")):
            continue
        place = place_of(event)
        key = (place, int(event.data["iteration"]))
        if event.kind != "iteration":
            _put_most(latest[key] if key in latest else sooner.setdefault(key, {}), _beside(event))
            while len(sooner) > _WAIT_ROWS:
                del sooner[next(iter(sooner))]
        elif stands(event):
            row = {**event.data, "job": run.job, "round": place[1], "time": event.time, "joined": int(key[1] <= ends.get(place, -1)), **sooner.pop(key, {})}
            waiting.append(row)
            latest[key] = row
            if len(waiting) > _WAIT_ROWS:
                yield waiting.popleft()
                if len(latest) > 2 * _WAIT_ROWS:
                    for old in list(latest)[:_WAIT_ROWS]:
                        del latest[old]
    yield from waiting


def _beside(event: RecordArrived) -> dict[str, float]:
    """Column -> value of a record of timers or memory."""
    if event.kind == "timers":
        return _tags("timers", event.data)
    most = number(event.data.get("max_allocated_mb"))
    return {} if most is None else {"max_allocated_mb": most}


def _put_most(row: dict[str, Any], found: Mapping[str, float]) -> None:
    for name, value in found.items():
        row[name] = max(value, row.get(name) or value)


def _tensorboard(store: Store, run: RunState, attempt: str, folder: Path, ends: dict[Place, int]) -> tuple[list[str], int]:
    """One run for each attempt, and ``joined``, the run as it counts. An export into the same folder replaces the last one."""
    writers: dict[str, _EventFile] = {}
    rows = 0
    try:
        stands = _stands(store, run)
        for event in store.records(kinds=["iteration", "validation", "timers", "memory"], job=run.job):
            place, data = place_of(event), event.data
            if (event.kind == "iteration" and not stands(event)) or (attempt and place[0] != attempt) or not isinstance(data.get("iteration"), int):
                continue
            tags = _tags(event.kind, data)
            if not tags:
                continue
            rows += event.kind == "iteration"
            runs = [place[0]] + (["joined"] if data["iteration"] <= ends.get(place, -1) else [])
            for name in runs:
                if name not in writers:
                    writers[name] = _EventFile(folder / run.job / name, event.time)
                writers[name].write(event_file.scalars(event.time, data["iteration"], tags))
        return [str(writer.finish()) for writer in writers.values()], rows
    except OSError as error:
        raise FileError("cannot be written", where=str(folder), got=error.strerror or str(error), fix="Choose another directory")


def _tags(kind: str, data: Mapping[str, Any]) -> dict[str, float]:
    """Tag -> value of one record."""
    if kind == "timers":
        named = {f"timers/{name}_ms": number(both[1]) for name, both in (data.get("ms") or {}).items() if isinstance(both, list) and len(both) == 2}
    elif kind == "memory":
        rank = data.get("rank")
        named = {"memory/max_allocated_mb" + ("" if rank is None else f"/rank{rank}"): number(data.get("max_allocated_mb"))}
    elif kind == "validation":
        named = {tag: number(data.get(name)) for name, tag in VALIDATION.items()}
    else:
        named = {tag: number(data.get(METRICS[name])) for name, tag in TAGS.items()}
    return {tag: value for tag, value in named.items() if value is not None}


class _EventFile:
    """Written beside its place, and put there whole."""

    def __init__(self, folder: Path, time_s: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard takes for an event file what has "tfevents" in its name, so the unfinished one must not.
        self.path = folder / f"events.out.tfevents.{int(time_s):010d}.rankdeck"
        self._beside = folder / f".{int(time_s)}.unfinished"
        self._file: IO[bytes] = self._beside.open("wb")
        self.write(event_file.header(time_s))

    def write(self, data: bytes) -> None:
        """Append records."""
        self._file.write(data)

    def finish(self) -> Path:
        """Put it in its place; which."""
        self._file.close()
        self._beside.replace(self.path)
        return self.path


def _stands(store: Store, run: RunState) -> Callable[[RecordArrived], bool]:
    """Whether a step is as the best log of its start has it; where several logs print steps, all are looked through first."""
    def order(event: RecordArrived) -> int:
        return run.carriers.order(place_of(event), event.node, str(event.data.get("file") or ""))

    best: dict[tuple[Place, Any], int] = {}
    if any(run.carriers.is_crowded(place) for place in {*run.standing.places, *run.overtaken}):
        for event in store.records(kinds=["iteration"], job=run.job):
            if run.carriers.is_crowded(place_of(event)):
                step = (place_of(event), event.data.get("iteration"))
                best[step] = min(best.get(step, 1 << 30), order(event))
    return lambda event: not best or order(event) == best.get((place_of(event), event.data.get("iteration")), order(event))


def place_of(event: RecordArrived) -> Place:
    """The start that printed a line."""
    return str(event.data.get("attempt")), int(event.data.get("round") or 0)


@contextmanager
def _opened(target: str) -> Iterator[Any]:
    if target == "-":
        yield sys.stdout
        return
    beside = Path(target + ".part")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            yield file
        beside.replace(target)
    except OSError as error:
        raise FileError("cannot be written", where=target, got=error.strerror or str(error), fix="Choose another file")
