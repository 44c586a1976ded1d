"""``rankdeck stop``: end a job on every node that runs it, after its name has been said twice."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from console import files
from console.cli import error_mapping
from console.cli.desk import LIVE, LOOK_S, Desk, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.launch.report import table
from console.core.spoken import spoken, spoken_text
from console.remote.backend import Submission
from console.remote.everywhere import each

MARGIN_S = 20.0
"""After the grace: SIGKILL, the shim's record, and the way back here."""
CLEAN_S = 20.0
"""How long the last process, container and device of an ended attempt may take to go."""
WHY = "asked for on the command line"


def stop(args: argparse.Namespace) -> int:
    """End a job. Exit status 0 only when nothing of it is left anywhere. Raises FileError, ConsoleError."""
    if args.yes_i_mean and args.yes_i_mean != args.job:
        raise FileError("the two names differ", where="--yes-i-mean", got=args.yes_i_mean, expected=args.job, fix="Say the job's name twice")
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        found, silent = desk.attempts(missing)
        targets = [one for one in found if one.get("job") == args.job and one.get("state") in LIVE]
        # A node that does not answer matters when it is known to have had a part in this job's live attempt.
        unreachable = {node: why for node, why in silent.items() if _may_run(desk, args.job, node)}
        if not targets:
            raise ConsoleError(f"job {args.job} lives on no node that answers", where=args.inventory, got=_names(found, silent),
                               expected="a job from `rankdeck ps`", fix="Reconnect the silent nodes and try again" if silent else "")
        _show(args, targets, unreachable)
        if not args.yes_i_mean and not _confirmed(args.job):
            raise ConsoleError("nothing was stopped", where=args.job, fix="The job's name was not typed")
        error = _cancel(desk, targets, args.grace, args.keep_container)
        states = _await_end(desk, targets, args.grace)
        left = _await_nothing(desk, [one for one in targets if states.get(_key(one)) not in LIVE], args.keep_container)
    document = _document(args.job, targets, states, unreachable, error, left)
    if args.json:
        put_json(document)
    else:
        if error is not None:
            say(f"rankdeck: {spoken(error)}")
        heads = (i18n.say("attempt"), i18n.say("node"), i18n.say("state"))
        put("\n".join(table([tuple(head.upper() for head in heads), *((one["attempt"], one["node"], i18n.say(states.get(_key(one), "?"))) for one in targets)])))
        for (_, node), rest in left.items():
            if rest:
                say("rankdeck: " + i18n.say("something is left on {node}: {what}", node=node, what=_left_text(rest)))
        for node, why in unreachable.items():
            say("rankdeck: " + i18n.say("{node} did not answer and may still run the job: {why}", node=node, why=spoken_text(why)))
    return 0 if document["ok"] else 1


def _show(args: argparse.Namespace, targets: Sequence[Mapping[str, Any]], unreachable: Mapping[str, str]) -> None:
    """What will be done, on standard error; it is what the name is typed for."""
    say(i18n.say("job {job}: SIGTERM, {s:g} s, SIGKILL, on", job=args.job, s=args.grace))
    for one in targets:
        request = {"op": "stop", "args": {"attempt": one["attempt"], "grace_s": args.grace, "why": WHY}}
        say(f"  {one['node']}  {i18n.say(one['state'])}, pid {one.get('pid') or '-'}, {one.get('dir')}  {json.dumps(request)}")
    for node, why in unreachable.items():
        say(i18n.say("  {node}  does not answer, and will not be asked: {why}", node=node, why=spoken_text(why)))


def _confirmed(job: str) -> bool:
    if not sys.stdin.isatty():
        raise FileError("nobody is there to confirm", where="standard input", got="no terminal", expected="the job's name",
                        fix=f"Add --yes-i-mean {job}")
    sys.stderr.write(i18n.say("Type the job's name to stop it ({job}): ", job=job))
    sys.stderr.flush()
    return sys.stdin.readline().strip() == job


def _cancel(desk: Desk, targets: Sequence[Mapping[str, Any]], grace_s: float, keep_container: bool) -> ConsoleError | None:
    """Ask for the end of every attempt; the first error, when one came of it."""
    first: ConsoleError | None = None
    for attempt in dict.fromkeys(str(one["attempt"]) for one in targets):
        members = [one for one in targets if one["attempt"] == attempt]
        submission = Submission(job=str(members[0]["job"]), attempt=attempt, epoch=int(members[0].get("epoch") or 0),
                                nodes=tuple(str(one["node"]) for one in members))
        try:
            desk.backend.cancel(submission, grace_s, WHY, keep_container=True if keep_container else None)
        except ConsoleError as error:
            first = first or error
    return first


def _await_end(desk: Desk, targets: Sequence[Mapping[str, Any]], grace_s: float) -> dict[tuple[str, str], str]:
    """Wait for the attempts to end, grace and margin long; (attempt, node) -> last known state."""
    states = {_key(one): str(one["state"]) for one in targets}
    nodes = {str(one["node"]) for one in targets}
    others = {node.name: "" for node in desk.inventory.nodes if node.name not in nodes}
    deadline_s = desk.clock.mono_s() + grace_s + MARGIN_S
    while desk.clock.mono_s() < deadline_s:
        found, _ = desk.attempts(others)
        states.update({_key(one): str(one["state"]) for one in found if _key(one) in states})
        if not any(state in LIVE for state in states.values()):
            break
        time.sleep(5 * LOOK_S)
    return states


def _await_nothing(desk: Desk, targets: Sequence[Mapping[str, Any]], keep_container: bool) -> dict[tuple[str, str], dict[str, Any]]:
    """Wait until nothing of the ended attempts is left on their nodes; (attempt, node) -> what is, {} for nothing.

    A container goes a moment after its command, and a driver lets go of a device a moment after its process.
    """
    deadline_s = desk.clock.mono_s() + CLEAN_S
    found: dict[tuple[str, str], dict[str, Any]] = {}
    waiting = list(targets)

    def look(one: Mapping[str, Any]) -> None:
        try:
            args = {"attempt": one["attempt"], "devices": one.get("devices") or []}
            seen = desk.supervisor.request(str(one["node"]), "left", args)
            found[_key(one)] = {name: seen.get(name) for name in ("processes", "container", "holders") if seen.get(name) and not (name == "container" and keep_container)}
        except ConsoleError as error:
            # An attempt that never ran is not known any more; what else went wrong has been said.
            found[_key(one)] = {} if "not known" in error.what else {"why": str(error)}

    while waiting:
        each({" ".join(_key(one)): one for one in waiting}, look)
        waiting = [one for one in waiting if found[_key(one)] and "why" not in found[_key(one)]]
        if not waiting or desk.clock.mono_s() >= deadline_s:
            break
        time.sleep(5 * LOOK_S)
    return found


def _left_text(found: Mapping[str, Any]) -> str:
    parts = [i18n.say("processes {pids}", pids=", ".join(map(str, found["processes"])))] if found.get("processes") else []
    parts += [i18n.say("its container")] if found.get("container") else []
    parts += [i18n.say("device {n} is held by process {pid} ({name})", n=holder.get("device"), pid=holder.get("pid"), name=holder.get("name")) for holder in found.get("holders") or ()]
    return "; ".join(parts) or spoken_text(str(found.get("why")))


def _document(job: str, targets: Sequence[Mapping[str, Any]], states: Mapping[tuple[str, str], str], unreachable: Mapping[str, str],
              error: ConsoleError | None, left: Mapping[tuple[str, str], Mapping[str, Any]]) -> dict[str, Any]:
    attempts = [
        {"attempt": attempt, "nodes": [{"node": one["node"], "state": states.get(_key(one), "unknown"), "dir": one.get("dir"),
                                        "left": dict(left.get(_key(one), {}))}
                                       for one in targets if one["attempt"] == attempt]}
        for attempt in dict.fromkeys(one["attempt"] for one in targets)]
    ended = not any(state in LIVE for state in states.values())
    return {"ok": ended and error is None and not unreachable and not any(left.values()), "job": job, "attempts": attempts,
            "unreachable": [{"node": node, "why": why} for node, why in unreachable.items()],
            "error": error_mapping(error) if error is not None else None}


def _key(one: Mapping[str, Any]) -> tuple[str, str]:
    return str(one["attempt"]), str(one["node"])


def _may_run(desk: Desk, job: str, node: str) -> bool:
    run = desk.store.state.runs.get(job)
    return run is not None and any(attempt.node_states.get(node) in LIVE for attempt in run.attempts.values())


def _names(found: Sequence[Mapping[str, Any]], silent: Mapping[str, str]) -> str:
    live = sorted({str(one.get("job")) for one in found if one.get("state") in LIVE})
    text = f"live jobs: {', '.join(live) or 'none'}"
    return f"{text}; no answer from {', '.join(silent)}" if silent else text
