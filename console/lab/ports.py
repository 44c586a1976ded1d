"""Ports for what is started a moment later, on this machine.

A port that the system hands out (bind to 0) is one it may hand out again, as the source of somebody's connection,
before its owner listens; torchrun then takes the port's holder for its own store and waits. So ports are taken
from below the range that outgoing connections use.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

LOWEST = 20_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def free_port(address: str) -> int:
    """A port of that address that nothing listens on and no outgoing connection will take. Raises OSError."""
    try:
        below = int(RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        below = 32_768  # the kernel's own default, ip-sysctl.rst
    # Not seeded by anything: two that look at once must not find the same.
    pick = random.SystemRandom()
    for _ in range(TRIES if below > LOWEST + TRIES else 0):
        port = pick.randrange(LOWEST, below)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
