"""The console's lower half as a process of its own, to be started in the client's namespace and killed at will.

Supervisor, paramiko and the store as the console uses them, without a screen. Reads one JSON object a line
from standard input, ``{"id", "node", "op", "args"}``, and answers ``{"id", "ok", "result" | "error"}``; tells
of every change of a link as ``{"node", "state", "why"}``. Ends when standard input does.

Usage: driver.py FLEET_FILE STORE [--known-hosts FILE] [--accept-new]
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from console.core.errors import ConsoleError
from console.core.events import FleetEvent, LinkChanged
from console.core.launch.inventory import from_mapping
from console.remote.heartbeat import Beat
from console.remote.link import Timing
from console.remote.supervisor import Supervisor, transports
from console.store import Store

# Patience for a test: a link that says nothing for 2.5 s is given up.
TIMING = Timing(connect_s=8.0, retry_s=0.2, retry_most_s=1.0, beat=Beat(every_s=0.5, dead_after_s=2.5))


class _Clock:
    def wall_s(self) -> float:
        return time.time()  # noqa: TID251  the edge where the clock comes in

    def mono_s(self) -> float:
        return time.monotonic()


_saying = threading.Lock()


def say(message: dict[str, Any]) -> None:
    """One line to whoever started us."""
    with _saying:
        print(json.dumps(message), flush=True)


def main() -> int:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("fleet", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--known-hosts", default="")
    parser.add_argument("--accept-new", action="store_true")
    arguments = parser.parse_args()
    inventory = from_mapping(yaml.safe_load(arguments.fleet.read_text()), name="rig", where=str(arguments.fleet))
    store = Store(arguments.store, inventory.name)

    def keep(events: list[FleetEvent]) -> None:
        store.ingest(events)
        for event in events:
            if isinstance(event, LinkChanged):
                say({"node": event.node, "state": event.state, "why": event.why})

    supervisor = Supervisor(inventory.nodes, transport_for=transports(arguments.known_hosts, accept_new=arguments.accept_new), emit=keep,
                            cursor=store.cursor, clock=_Clock(), operator="tester", armed=lambda: True, timing=TIMING)

    def carry_out(request: dict[str, Any]) -> None:
        try:
            result = supervisor.request(request["node"], request["op"], request.get("args"))
        except ConsoleError as error:
            say({"id": request["id"], "ok": False, "error": f"{type(error).__name__}: {error}"})
        else:
            say({"id": request["id"], "ok": True, "result": result})

    supervisor.start()
    for line in sys.stdin:
        threading.Thread(target=carry_out, args=(json.loads(line),), daemon=True).start()
    supervisor.stop()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
