"""``rankdeck adopt``: watch what somebody started by hand, like any job of our own; touch nothing of it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from console import files
from console.cli import error_mapping
from console.cli.desk import at_desk, put, put_json, say, speak
from console.cli.jobs import new_attempt
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.spoken import spoken_text


def adopt(args: argparse.Namespace) -> int:
    """Have nodes watch a log, a process or a container as job JOBNAME. Exit status 1 where a node did not. Raises FileError."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    names = args.node or [node.name for node in inventory.nodes]
    unknown = [name for name in names if name not in {node.name for node in inventory.nodes}]
    if unknown:
        raise FileError(f"there is no node {unknown[0]}", where=args.inventory, expected=", ".join(node.name for node in inventory.nodes[:20]))
    if args.pid is not None and len(names) != 1:
        raise FileError("a process is on one node", where="--pid", got=f"{len(names)} nodes", expected="one --node", fix="Say on which node it runs: --node NAME")
    if not args.release and args.pid is None and not args.container and not args.log:
        raise FileError("nothing to adopt is named", where="adopt", expected="--log, --pid or --container")
    chosen = dataclasses.replace(inventory, nodes=tuple(inventory.node(name) for name in names))
    with at_desk(args, chosen) as desk:
        missing = desk.settle(args.timeout)
        attempt = args.attempt or new_attempt(desk.clock.wall_s())
        done: list[dict[str, Any]] = []
        failed: dict[str, ConsoleError | str] = dict(missing)
        for index, name in enumerate(names):
            if name in missing:
                continue
            try:
                if args.release:
                    done += _release(desk, name, args.job)
                    continue
                what: dict[str, Any] = {"logs": args.log, "pid": args.pid, "container": args.container, "checkpoint_dir": args.checkpoint_dir}
                found = desk.supervisor.request(name, "adopt", {
                    "job": args.job, "attempt": attempt, "epoch": int(desk.clock.wall_s() * 1000), "node": name, "node_index": index,
                    "what": {key: value for key, value in what.items() if value}})
                done.append({"node": name, "attempt": attempt, "kind": found.get("kind"), "logs": found.get("logs") or [], "processes": found.get("processes") or []})
            except ConsoleError as error:
                failed[name] = error
    if args.json:
        put_json({"ok": bool(done) and not failed, "job": args.job, "released": args.release, "nodes": done,
                  "failed": [{"node": name, "error": error_mapping(why) if isinstance(why, ConsoleError) else {"what": why}} for name, why in failed.items()]})
    else:
        for one in done:
            put(i18n.say("{node}: released", node=one["node"]) if args.release else
                i18n.say("{node}: adopted a {kind} with {n} processes and {logs} logs as {job}, attempt {attempt}", node=one["node"], kind=i18n.say(str(one["kind"])), n=len(one["processes"]),
                         logs=len(one["logs"]), job=args.job, attempt=one["attempt"]))
        for name, why in failed.items():
            say(f"rankdeck: {name}: {spoken_text(str(why))}")
    return 0 if done and not failed else 1


def _release(desk: Any, node: str, job: str) -> list[dict[str, Any]]:
    """Watch an adopted job no longer; what of it there was on that node."""
    found = []
    for one in desk.supervisor.request(node, "jobs").get("attempts") or ():
        if one.get("job") == job and one.get("adopted") and one.get("exit") is None:
            desk.supervisor.request(node, "abort", {"attempt": one["attempt"], "why": "released"})
            found.append({"node": node, "attempt": one["attempt"], "kind": None, "logs": [], "processes": []})
    return found
