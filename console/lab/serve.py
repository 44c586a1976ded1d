"""The fleet server process: ``python -m console.lab.serve ROOT KIND``.

Owns the four SSH servers of one demo and its own end: it goes when told to (SIGTERM), and when no console
has been there for as long as ROOT/idle_s says; then it takes everything of the demo with it, because
nobody else is left to do so.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from console.lab import fleet, npu_sim, remains, server

LOOK_S = 1.0


async def serve(root: Path, kind: str) -> bool:
    """Serve until told to stop (False) or left alone for too long (True)."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    presence = server.Presence()
    server.make_key(root / "keys" / "client", "rankdeck demo")
    acceptors, host_keys = {}, {}
    for name, address in fleet.NODES.items():
        npu_sim.install(str(root / "nodes" / name), sys.executable)
        server.make_key(root / "keys" / name, name)
        host_keys[name] = (root / "keys" / f"{name}.pub").read_text(encoding="utf-8")
        acceptors[name] = await server.listen(server.NodeServer(
            name=name, address=address, home=root / "nodes" / name / "home", confine=root, env=fleet.node_env(root, name),
            host_key=root / "keys" / name, client_key=root / "keys" / "client.pub"), presence)
    fleet.write_ready(root, kind, {name: acceptor.get_port() for name, acceptor in acceptors.items()}, host_keys)
    last_seen = time.monotonic()
    while root.is_dir():
        try:
            await asyncio.wait_for(over.wait(), LOOK_S)
            return False
        except asyncio.TimeoutError:
            pass
        now = time.monotonic()
        if presence.connections or console_holds(root):
            last_seen = now
        elif now - last_seen > idle_limit_s(root):
            return True
    return True


def console_holds(root: Path) -> bool:
    """Whether a console of this demo is alive: they hold console.lock, and a killed one lets go of it."""
    try:
        lock = os.open(root / "console.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def idle_limit_s(root: Path) -> float:
    """How long to stay without a console."""
    try:
        return float((root / "idle_s").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return fleet.IDLE_LIMIT_S


def main(argv: list[str]) -> int:
    """The program."""
    root, kind = Path(argv[1]), argv[2]
    if asyncio.run(serve(root, kind)):
        print("no console for too long: ending the demo", flush=True)
        remains.clear(root, say=print)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
