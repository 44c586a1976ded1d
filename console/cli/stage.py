"""``rankdeck stage``: code, the trainer, data and images to nodes that have no internet."""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from console import files
from console.cli import error_mapping
from console.cli.desk import at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import ConnectError, ConsoleError, FileError
from console.core.spoken import spoken, spoken_text
from console.remote import parcels
from console.remote.parcels import Parcel
from console.remote.stage import Throttle, stage

TELL_S = 2.0


def stage_command(args: argparse.Namespace) -> int:
    """Send to all chosen nodes. Exit status 1 where one did not get everything. Raises FileError."""
    speak(args)
    inventory = files.read_fleet(args.inventory)
    names = args.node or [node.name for node in inventory.nodes]
    unknown = [name for name in names if name not in {node.name for node in inventory.nodes}]
    if unknown:
        raise FileError(f"there is no node {unknown[0]}", where=args.inventory, expected=", ".join(node.name for node in inventory.nodes[:20]))
    _hook(args.before, "before")
    with tempfile.TemporaryDirectory(prefix="rankdeck-stage-") as folder:
        wanted = _pack(args, Path(folder))
        for parcel in wanted:
            say(i18n.say("{name}: {kind}, {n:,} bytes, sha256 {digest}, to {folder} on {nodes}", name=parcel.name, kind=parcel.kind, n=parcel.size_bytes, digest=parcel.digest[:12],
                         folder=args.to, nodes=", ".join(names)))
        with at_desk(args, dataclasses.replace(inventory, nodes=tuple(inventory.node(name) for name in names))) as desk:
            missing = desk.settle(args.timeout)
            failed: dict[str, ConsoleError] = {name: ConnectError("not connected", where=name, got=why) for name, why in missing.items()}
            up = [inventory.node(name) for name in names if name not in missing]
            for node in up:
                text = json.dumps([{"name": one.name, "kind": one.kind, "sha256": one.digest, "to": args.to} for one in wanted])
                desk.supervisor.request(node.name, "note", {"what": "stage", "text": text})
            teller = _Teller(len(up), wanted)
            done, late = stage(up, wanted, args.to, lambda name: desk.supervisor.connection(name, args.timeout), parallel=args.parallel,
                               throttle=Throttle(args.limit_mb * 1e6), progress=teller.tell, relay=inventory.relay)
            failed.update(late)
    if not failed:
        _hook(args.after, "after")
    if args.json:
        put_json({"ok": not failed, "to": args.to, "parcels": [{"name": one.name, "kind": one.kind, "sha256": one.digest, "bytes": one.size_bytes} for one in wanted],
                  "staged": [dataclasses.asdict(one) for one in done], "failed": [{"node": name, "error": error_mapping(error)} for name, error in failed.items()]})
    else:
        for one in done:
            how = i18n.say("was there") if one.state == "there" else i18n.say("passed on by {node}", node=one.via) if one.via else i18n.say("sent")
            text = i18n.say("{where}: {what}", where=i18n.say("{where}: {what}", where=one.node, what=f"{one.parcel} {how}"), what=one.path)
            put(text + (i18n.say(" (not passed on: {why})", why=spoken_text(one.why_direct)) if one.why_direct else ""))
        for name, error in failed.items():
            say(f"rankdeck: {name}: {spoken(error)}")
    return 1 if failed else 0


def _pack(args: argparse.Namespace, folder: Path) -> list[Parcel]:
    found: list[Parcel] = []
    for text in args.code:
        path, at, commit = text.rpartition("@")
        found.append(parcels.of_commit(Path(path), commit, folder) if at and path else parcels.of_tree(Path(text), folder))
    if args.trainer:
        found.append(parcels.of_trainer(folder, Path(args.wheels) if args.wheels else None))
    found += [parcels.of_file(Path(path)) if Path(path).is_file() else parcels.of_tree(Path(path), folder) for path in args.data]
    found += [parcels.of_file(Path(path), "image") for path in args.image]
    if not found:
        raise FileError("nothing to stage is named", where="stage", expected="--code, --trainer, --data or --image")
    doubled = {one.name for one in found if sum(other.name == one.name for other in found) > 1}
    if doubled:
        raise FileError("two parcels have one name", where="stage", got=", ".join(sorted(doubled)), fix="Rename one of them")
    return found


def _hook(command: str, when: str) -> None:
    """A command of the user's own on the bastion: to fetch from an object store, to tidy up."""
    if not command:
        return
    say(i18n.say("{where}: {what}", where=i18n.say(when), what=command))
    status = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, check=False).returncode
    if status != 0:
        raise ConsoleError(f"the command --{when} failed", where=command, got=f"exit status {status}", expected="exit status 0")


class _Teller:
    """Says now and then how far all of it is."""

    def __init__(self, nodes: int, wanted: list[Parcel]) -> None:
        self._total = max(1, nodes * sum(parcel.size_bytes for parcel in wanted))
        self._there: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._told_s = time.monotonic()

    def tell(self, node: str, parcel: Parcel, there: int) -> None:
        with self._lock:
            self._there[node, parcel.name] = there
            if time.monotonic() - self._told_s < TELL_S:
                return
            self._told_s = time.monotonic()
            there = sum(self._there.values())
            say(i18n.say("{pct} % ({n:,} of {all:,} bytes)", pct=100 * there // self._total, n=there, all=self._total))
