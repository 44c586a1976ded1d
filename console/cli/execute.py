"""``rankdeck exec`` and ``attach``: one command on one node, and a job watched to its end."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

from console import files
from console.cli.desk import LIVE, at_desk, put, put_json, say, speak
from console.cli.jobs import await_end, how_far, result_mapping
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.launch.inventory import Inventory, Node

if TYPE_CHECKING:
    from console.remote.transport import Channel

KEPT_BYTES = 1 << 20
"""So much of each output is kept for ``--json``; its end."""


def execute(args: argparse.Namespace) -> int:
    """Run a command on a node; its exit status is ours (with ``--json`` 0 or 1). Raises FileError, ConsoleError."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    node = _node(inventory, args.node, args.inventory)
    words = [word for at, word in enumerate(args.cmd) if at or word != "--"]
    if not words:
        raise FileError("there is no command", where="exec", expected="rankdeck exec NODE -- COMMAND [ARGUMENT...]")
    # As words, not as a line: what is to be a shell's business says so (sh -c '...').
    command = shlex.join(words)
    line = f"exec {'sudo -n -H -- ' if node.become else ''}{command}"
    say(i18n.say("on {node} ({host}): {command}", node=node.name, host=node.host, command=command))
    if args.yes_i_mean and args.yes_i_mean != node.name:
        raise FileError("the two names differ", where="--yes-i-mean", got=args.yes_i_mean, expected=node.name, fix="Say the node's name twice")
    if not args.yes_i_mean and not _confirmed(node.name):
        raise ConsoleError("nothing was run", where=node.name, fix="The node's name was not typed")
    with at_desk(args, dataclasses.replace(inventory, nodes=(node,))) as desk:
        session = desk.supervisor.session(node.name, args.timeout)
        # Before it is run, and on the node: whoever comes after us finds out what was done there.
        session.request("note", {"what": "exec", "text": command})
        channel = desk.supervisor.connection(node.name, args.timeout).open(line)
        try:
            out, status = _follow(channel, time.monotonic() + args.limit, echo=not args.json)
        finally:
            channel.close()
    err = channel.stderr_text()
    if args.json:
        put_json({"ok": status == 0, "node": node.name, "command": command, "status": status,
                  "stdout": out.decode("utf-8", "replace"), "stderr": err})
        return 0 if status == 0 else 1
    sys.stdout.flush()
    sys.stderr.write(err)
    if status is None:
        raise ConsoleError("the command did not tell how it ended", where=node.name, got="the link was lost, or the time limit was over",
                           fix="Whether it still runs is not known; look with `rankdeck exec`")
    return status


def _follow(channel: Channel, deadline: float, *, echo: bool) -> tuple[bytes, int | None]:
    kept = b""
    while time.monotonic() < deadline:
        data = channel.recv(0.5)
        if data == b"":
            return kept, channel.exit_status()
        if data and echo:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif data:
            kept = (kept + data)[-KEPT_BYTES:]
    return kept, None


def _node(inventory: Inventory, name: str, where: str) -> Node:
    try:
        return inventory.node(name)
    except KeyError:
        raise FileError(f"there is no node {name}", where=where, expected=", ".join(node.name for node in inventory.nodes[:20]))


def _confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        raise FileError("nobody is there to confirm", where="standard input", got="no terminal", expected="the node's name",
                        fix=f"Add --yes-i-mean {name}")
    sys.stderr.write(i18n.say("Type the node's name to run it there ({name}): ", name=name))
    sys.stderr.flush()
    return sys.stdin.readline().strip() == name


def attach(args: argparse.Namespace) -> int:
    """Watch a job to its end; leaving (Ctrl-C) leaves it running. Exit status 0 only if it reached its final iteration."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        found, silent = desk.attempts(missing)
        ours = [one for one in found if one.get("job") == args.job]
        if not ours:
            raise ConsoleError(f"job {args.job} is on no node that answers", where=args.inventory,
                               got=", ".join(sorted({str(one.get("job")) for one in found})) or "no job at all",
                               expected="a job from `rankdeck ps`", fix=f"No answer from {', '.join(silent)}" if silent else "")
        newest = max(str(one.get("attempt")) for one in ours)
        members = [one for one in ours if one.get("attempt") == newest]
        live = any(one.get("state") in LIVE for one in members)
        nodes = ", ".join(str(one["node"]) for one in members)
        say(i18n.say("attempt {attempt} on {nodes}: runs", attempt=newest, nodes=nodes) if live else i18n.say("attempt {attempt} on {nodes}: has ended", attempt=newest, nodes=nodes))
        view = await_end(desk, args.job, newest)
        document: dict[str, Any] = {"ok": view.status.text in ("finished", "done"), "job": args.job, "attempt": newest,
                                    "nodes": [str(one["node"]) for one in members], "result": result_mapping(view)}
    if args.json:
        put_json(document)
    else:
        put(how_far(view))
    return 0 if document["ok"] else 1
