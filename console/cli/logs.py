"""``rankdeck logs``: lines of a job's logs, from where they lie: the end, a search, all ranks in one order, a copy.

Owns asking the nodes and printing. Refuses to let a log act on the terminal: where standard output is one,
every control character is shown as text; in a pipe or a file the bytes go through as the agent sent them. What
is not shown is counted, on standard error.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import files
from console.cli.desk import LOOK_S, Desk, at_desk, put_json, say, speak
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.fleet.run_views import loss_log
from console.core.intents import FollowLog
from console.core.log_merge import Merger, merge
from console.core.spoken import spoken, spoken_text

SEARCH_S = 20.0
"""Seconds a node may search one file for, each time it is asked."""
PIECE_BYTES = 1 << 18
ASK_AT_ONCE = 32
HOLD_S = 1.5
"""A merged log that is followed is held back so long, for lines of other nodes to arrive in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One file of an attempt on a node."""

    node: str
    path: str
    rank: int | None
    local_rank: int | None
    round: int | None
    size: int
    plog: bool = False
    """A process log of CANN's, which --download copies with the others."""

    @property
    def name(self) -> str:
        """What its lines are prefixed with."""
        if self.plog:
            return f"{self.node}:{Path(self.path).name}"
        return f"{self.node}:{f'rank{self.rank}' if self.rank is not None else f'local{self.local_rank}' if self.local_rank is not None else 'launcher'}"


def run(args: argparse.Namespace) -> int:
    """Exit status 0; 1 when nothing was found or a node did not answer. Raises FileError, ConsoleError."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    if args.regex and args.grep:
        try:
            re.compile(args.grep)
        except re.error as error:
            raise FileError("not a regular expression", where="--grep", got=f"{args.grep!r}: {error}", fix="Without --regex it is taken literally")
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        attempt, nodes, silent = _attempt(desk, args.job, args.attempt, missing)
        logs = _logs(desk, args.job, attempt, nodes, silent)
        run = desk.store.state.runs.get(args.job)
        carrier = loss_log(run, attempt) if run is not None else None
        chosen = choose(logs, rank=args.rank, merged=args.merge, round_=args.round, everything=bool(args.download),
                        loss=None if carrier is None else (carrier.node, carrier.file))
        if carrier is not None and len(chosen) == 1 and (chosen[0].node, chosen[0].path) == (carrier.node, carrier.file) and args.rank is None and not args.json:
            say("rankdeck: " + i18n.say("{log}: it carries the loss: {why}", log=chosen[0].name, why=i18n.told(carrier.why)))
        if not chosen:
            raise ConsoleError("there is no such log", where=f"{args.job}, attempt {attempt}", got=", ".join(sorted({log.name for log in logs})) or "no logs yet",
                               expected=f"rank {args.rank}" if args.rank is not None else "a log", fix="Try again when it has started, or see `rankdeck ps --all`")
        document: dict[str, Any] = {"ok": not silent, "job": args.job, "attempt": attempt, "unreachable": [{"node": node, "why": why} for node, why in silent.items()],
                                    "logs": [{"node": log.node, "path": log.path, "rank": log.rank, "local_rank": log.local_rank, "round": log.round, "size": log.size}
                                             for log in chosen], "lines": [], "hits": [], "files": [], "late": 0, "not_shown": 0}
        for node, why in silent.items():
            say("rankdeck: " + i18n.say("{node} did not answer: {why}", node=node, why=spoken_text(why)))
        if args.download:
            _download(desk, chosen, Path(args.download), document)
        elif args.grep:
            _search(desk, chosen, args, document)
        elif args.follow:
            return _follow(desk, chosen, args)
        else:
            _last(desk, chosen, args, document)
    if args.json:
        put_json(document)
    return 0 if document["ok"] else 1


def choose(logs: Sequence[Log], *, rank: int | None, merged: bool, round_: int | None, everything: bool,
           loss: tuple[str, str] | None = None) -> list[Log]:
    """The logs that are meant: one rank's, all ranks' (``merged``), all there are, or the one that carries the loss.

    ``loss``: that one's node and path; while none is known, it is the last rank's, where Megatron prints the loss.
    """
    rounds = [log.round for log in logs if log.round is not None]
    newest = round_ if round_ is not None else max(rounds, default=None)
    if everything and rank is None and round_ is None:
        return list(logs)
    logs = [log for log in logs if not log.plog]
    ranks = [log for log in logs if log.round is not None and log.round == newest]
    if rank is not None:
        return [log for log in ranks if log.rank == rank]
    if merged or everything:
        return ranks or [log for log in logs if log.round is None]
    carrier = [log for log in logs if (log.node, log.path) == loss and (log.round == newest or (log.round is None and round_ is None))]
    if carrier:
        return carrier
    known = sorted((log for log in ranks if log.rank is not None), key=lambda log: log.rank or 0)
    return known[-1:] or ranks[-1:] or [log for log in logs if log.round is None][:1]


def _attempt(desk: Desk, job: str, wanted: str, missing: Mapping[str, str]) -> tuple[str, dict[str, str], dict[str, str]]:
    """(attempt, node -> its directory, node -> why it did not answer) of the newest attempt, or the wanted one."""
    found, silent = desk.attempts(missing)
    of_job = [one for one in found if one.get("job") == job and wanted in ("", one.get("attempt"))]
    if not of_job:
        known = ", ".join(sorted({str(one.get("job")) for one in found})) or "none"
        raise ConsoleError(f"no node that answers knows job {job}" + (f", attempt {wanted}" if wanted else ""), got=f"jobs: {known}",
                           expected="a job from `rankdeck ps --all`", fix=f"No answer from {', '.join(silent)}; reconnect and try again" if silent else "")
    attempt = max(str(one["attempt"]) for one in of_job)
    run = desk.store.state.runs.get(job)
    part = set(run.attempts[attempt].node_states) if run and attempt in run.attempts else set()
    nodes = {str(one["node"]): str(one.get("dir")) for one in of_job if one["attempt"] == attempt}
    return attempt, nodes, {node: why for node, why in silent.items() if not part or node in part}


def _logs(desk: Desk, job: str, attempt: str, nodes: Mapping[str, str], silent: dict[str, str]) -> list[Log]:
    run = desk.store.state.runs.get(job)
    maps = run.attempts[attempt].ranks if run and attempt in run.attempts else {}
    ranks = {(number, place.node, place.local_rank): rank for number, places in maps.items() for rank, place in places.items()}
    logs: list[Log] = []
    with ThreadPoolExecutor(max_workers=ASK_AT_ONCE) as pool:
        asked = [(node, pool.submit(desk.supervisor.request, node, "files", {"attempt": attempt})) for node in nodes]
        for node, answer in asked:
            try:
                listed = answer.result().get("files") or ()
            except ConsoleError as error:
                silent[node] = str(error)
                continue
            logs += [Log(node=node, path=str(one["path"]), rank=ranks.get((one.get("round") or 0, node, one.get("local_rank"))) if one.get("local_rank") is not None else None,
                         local_rank=one.get("local_rank"), round=one.get("round"), size=int(one.get("size") or 0), plog=bool(one.get("plog"))) for one in listed]
    return sorted(logs, key=lambda log: (log.round is None, log.round or 0, log.rank if log.rank is not None else 1 << 30, log.node, log.path))


def _each(desk: Desk, logs: Sequence[Log], document: dict[str, Any], ask: Any) -> list[tuple[Log, Any]]:
    """What ``ask(log)`` returned, of each log that could be asked; the others are noted as unreachable."""
    found = []
    with ThreadPoolExecutor(max_workers=ASK_AT_ONCE) as pool:
        for log, answer in [(log, pool.submit(ask, log)) for log in logs]:
            try:
                found.append((log, answer.result()))
            except ConsoleError as error:
                document["ok"] = False
                document["unreachable"].append({"node": log.node, "why": f"{log.path}: {error}"})
                say(f"rankdeck: {log.name}: {spoken(error)}")
    return found


def _last(desk: Desk, chosen: Sequence[Log], args: argparse.Namespace, document: dict[str, Any]) -> None:
    def ask(log: Log) -> dict[str, Any]:
        return desk.supervisor.request(log.node, "window", {"path": log.path, "before": args.lines, "after": 0}, SEARCH_S)

    got = _each(desk, chosen, document, ask)
    # The place is the end of the file, so a last line that has ended is one of those before it.
    lines = {log.name: [str(text) for text in found["lines"]][-args.lines:] for log, found in got}
    document["not_shown"] = sum(int(found["offset"]) for _, found in got)
    for line in merge(lines, _offsets(desk, chosen)):
        document["lines"].append({"log": line.log, "time_s": line.time_s, "text": line.text})
        if not args.json:
            _print(line.log if len(chosen) > 1 else "", line.text)
    if document["not_shown"] and not args.json:
        say("rankdeck: " + i18n.say("{n} bytes before these lines are not shown (--lines N, --download DIR)", n=document["not_shown"]))


def _search(desk: Desk, chosen: Sequence[Log], args: argparse.Namespace, document: dict[str, Any]) -> None:
    def ask(log: Log) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = []
        place = 0
        # A search that is cut off by its limits is gone on with; bounded by the size of the file it began with.
        while len(hits) < args.most:
            found = desk.supervisor.request(log.node, "search", {
                "path": log.path, "pattern": args.grep, "regex": args.regex, "ignore_case": args.ignore_case, "from": place, "before": args.context,
                "after": args.context, "most": min(1000, args.most - len(hits)), "limit_s": SEARCH_S / 2}, SEARCH_S)
            hits += found["hits"]
            if found["done"] or found["next_offset"] <= place:
                return hits
            place = found["next_offset"]
        document["not_shown"] += 1
        return hits

    for log, hits in _each(desk, chosen, document, ask):
        for hit in hits:
            document["hits"].append({"log": log.name, "path": log.path, **hit})
            if not args.json:
                where = log.name if len(chosen) > 1 else ""
                for text in hit["before"]:
                    _print(where, f"  {text}")
                _print(where, f"{hit['line']}: {hit['text']}" if hit["line"] is not None else f"@{hit['offset']}: {hit['text']}")
                for text in hit["after"]:
                    _print(where, f"  {text}")
    if document["not_shown"] and not args.json:
        say("rankdeck: " + i18n.say("{n} logs have more than {most} such lines; the rest is not shown (--most N)", n=document["not_shown"], most=args.most))
    document["ok"] = document["ok"] and bool(document["hits"])


def _download(desk: Desk, chosen: Sequence[Log], folder: Path, document: dict[str, Any]) -> None:
    total, done = sum(log.size for log in chosen), 0
    told_s = 0.0

    def progress(count: int) -> None:
        nonlocal done, told_s
        done += count
        if desk.clock.mono_s() - told_s >= 1.0:
            told_s = desk.clock.mono_s()
            say("rankdeck: " + i18n.say("{n:.1f} of {all:.1f} MB", n=done / 1e6, all=total / 1e6))

    def ask(log: Log) -> dict[str, Any]:
        place = f"round-{log.round:02d}/" if log.round is not None else ""
        # debug and run have files of one name.
        place = "/".join(["plog", *(part for part in log.path.rpartition("/")[0].partition("/plog/")[2].split("/") if part not in ("", "..")), ""]) if log.plog else place
        target = folder / log.node / f"{place}{Path(log.path).name}"
        return {"node": log.node, "path": log.path, "to": str(target), "bytes": fetch(desk.supervisor, log.node, log.path, target, progress)}

    document["files"] = [found for _, found in _each(desk, chosen, document, ask)]
    say("rankdeck: " + i18n.say("{n} files, {mb:.1f} MB, in {folder}", n=len(document["files"]), mb=sum(one["bytes"] for one in document["files"]) / 1e6, folder=folder))


def fetch(supervisor: Any, node: str, path: str, target: Path, progress: Any) -> int:
    """Copy a file of a node to ``target``; how many bytes it has. A copy that broke off is gone on with. Raises ConsoleError, FileError.

    What is written to it meanwhile is not waited for: it ends at the size it had when the copy began.
    """
    beside = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        name = supervisor.request(node, "bytes", {"path": path, "offset": 0, "length": 0}, SEARCH_S)
        mark = beside.with_suffix(".id")
        known = mark.read_text() if mark.exists() else ""
        at = beside.stat().st_size if beside.exists() and known == name["file_id"] and name["file_id"] else 0
        mark.write_text(str(name["file_id"]))
        with beside.open("r+b" if at else "wb") as copy:
            copy.seek(at)
            copy.truncate()
            progress(at)
            while at < name["size"]:
                found = supervisor.request(node, "bytes", {"path": path, "offset": at, "length": min(PIECE_BYTES, name["size"] - at)}, SEARCH_S)
                data = base64.b64decode(found["data"])
                if not data or (name["file_id"] and found["file_id"] != name["file_id"]):
                    raise ConsoleError("the file changed while it was copied", where=f"{node}:{path}", got=f"{at} of {name['size']} bytes", fix="Copy it again")
                copy.write(data)
                at += len(data)
                progress(len(data))
        beside.replace(target)
        mark.unlink(missing_ok=True)
    except OSError as error:
        raise FileError("the copy cannot be written", where=str(target), got=error.strerror or str(error), fix="Choose another directory")
    return at


def _follow(desk: Desk, chosen: Sequence[Log], args: argparse.Namespace) -> int:
    """Until interrupted, or for ``--limit`` seconds."""
    merger = Merger(_offsets(desk, chosen))
    seen: dict[tuple[str, str], int] = {}
    lost = told_behind = told_lost = 0
    fresh_s = desk.clock.mono_s()
    end_s = desk.clock.mono_s() + args.limit if args.limit else None
    for log in chosen:
        desk.supervisor.submit(FollowLog(node=log.node, path=log.path, lines=args.lines))
    try:
        while end_s is None or desk.clock.mono_s() < end_s:
            desk.store.drain()
            for log in chosen:
                ring = desk.store.logs.get((log.node, log.path))
                if ring is None:
                    continue
                before, total = seen.get((log.node, log.path), 0), ring.dropped + len(ring.lines)
                fresh = min(total - before, len(ring.lines))
                lost += total - before - fresh
                seen[(log.node, log.path)] = total
                fresh_s = desk.clock.mono_s() if fresh else fresh_s
                merger.add(log.name, list(ring.lines)[len(ring.lines) - fresh:] if fresh else ())
            # Against the newest line, not against a clock: the nodes may print in another zone than ours.
            quiet = len(chosen) == 1 or merger.newest_s is None or desk.clock.mono_s() - fresh_s > HOLD_S
            for line in merger.take(None if quiet or merger.newest_s is None else merger.newest_s - HOLD_S):
                _print(line.log if len(chosen) > 1 else "", line.text, late=line.late, as_json=args.json)
            behind = sum(ring.behind for (node, path), ring in desk.store.logs.items() if any((log.node, log.path) == (node, path) for log in chosen))
            if (behind, lost) != (told_behind, told_lost):
                told_behind, told_lost = behind, lost
                say("rankdeck: " + i18n.say("{n} lines wait on the nodes, {lost} were not shown, {late} came late", n=behind, lost=lost, late=merger.late))
            sys.stdout.flush()
            time.sleep(LOOK_S)
    finally:
        for line in merger.take(None):
            _print(line.log if len(chosen) > 1 else "", line.text, late=line.late, as_json=args.json)
        sys.stdout.flush()
    return 0


def _offsets(desk: Desk, chosen: Sequence[Log]) -> dict[str, float]:
    nodes = desk.store.state.nodes
    return {log.name: met.clock_offset_s if (known := nodes.get(log.node)) and (met := known.met) else 0.0 for log in chosen}


def _print(log: str, text: str, *, late: bool = False, as_json: bool = False) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"log": log, "text": text, "late": late}, ensure_ascii=False) + "\n")
        return
    line = f"{log}{'~' if late else ' '}{text}" if log else text
    if sys.stdout.isatty():
        # Only here: whoever reads a pipe wants what was written.
        from console.tui.lines import shown

        line = shown(line)
    sys.stdout.write(line + "\n")
