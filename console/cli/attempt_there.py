"""What an attempt left behind, read on its nodes: for where ``paths.work`` cannot be seen from here."""

from __future__ import annotations

import argparse
import base64
import dataclasses
from typing import Any

from console.cli.desk import Desk, at_desk, say
from console.core.errors import ConsoleError, FileError, RequestError
from console.core.launch.containers import RANKED
from console.core.launch.difference import Attempt
from console.core.launch.inventory import Inventory
from console.core.launch.runners import SETTINGS

NAMES = ("job.json", "command.sh", RANKED, SETTINGS)
"""What ``difference`` compares."""
PIECE_BYTES = 1 << 17
MOST_BYTES = 8 << 20


def read_there(args: argparse.Namespace, inventory: Inventory, job: str, attempt: str, work: str) -> Attempt:
    """The files of ``attempt``, asked of every node of the fleet that answers. Raises FileError when none has it."""
    nodes: dict[str, dict[str, str]] = {}
    with at_desk(args, inventory) as desk:
        missing = desk.settle(args.timeout)
        for node in inventory.nodes:
            if node.name in missing:
                continue
            try:
                found = _of(desk, node.name, job, attempt, work)
            except ConsoleError as error:
                say(f"rankdeck: {node.name}: {error}")
                continue
            if found:
                nodes[node.name] = found
    if not nodes:
        raise FileError("no node has this attempt", where="--diff", got=attempt, expected="an attempt of this job from `rankdeck ps --all`",
                        fix=f"No answer from {', '.join(sorted(missing))}" if missing else "Its directory may have been removed; keep plans with rankdeck plan --json")
    return Attempt(name=attempt, nodes=nodes)


def _of(desk: Desk, node: str, job: str, attempt: str, work: str) -> dict[str, str]:
    """Its files on one node; empty where it has none."""
    known = [one for one in desk.supervisor.request(node, "jobs").get("attempts") or () if one.get("attempt") == attempt]
    # A node forgets attempts after some hundreds of them; their directories stay.
    folder = str(known[0].get("dir")) if known else f"{work}/.rankdeck/{job}/{attempt}/{node}"
    texts = {name: _text(desk, node, f"{folder}/{name}") for name in NAMES}
    return {name: text for name, text in texts.items() if text is not None} if texts["job.json"] is not None else {}


def _text(desk: Desk, node: str, path: str) -> str | None:
    raw = b""
    while len(raw) < MOST_BYTES:
        try:
            piece: dict[str, Any] = desk.supervisor.request(node, "bytes", {"path": path, "offset": len(raw), "length": PIECE_BYTES})
        except RequestError:
            return None
        raw += base64.b64decode(piece.get("data") or "")
        if len(raw) >= int(piece.get("size") or 0):
            break
    return raw.decode("utf-8", "replace")


def subset(inventory: Inventory, names: list[str]) -> Inventory:
    """The fleet with these nodes alone."""
    return dataclasses.replace(inventory, nodes=tuple(node for node in inventory.nodes if node.name in names))
