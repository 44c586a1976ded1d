"""Answers to the requests that only read: what this node is, files, logs, checkpoints. Refuses to change anything.

Also holds a request against its shape in ``wire.OPS``. Everything here may block on a file system and is
called from a lane.
"""

from __future__ import annotations

import array
import fcntl
import os
import platform
import re
import socket
import struct
from typing import Any

from agent import attempt as attempts
from agent import plogs, tails, wire
from agent.home import Home
from agent.probe import command
from agent.refusal import Refused

_SIOCGIFCONF = 0x8912
_FILES_MAX = 4096


def checked(op: Any, args: Any) -> dict[str, Any]:
    """The arguments of a request, when they have the shape that wire.OPS gives. Raises Refused."""
    if not isinstance(op, str) or op not in wire.OPS:
        raise Refused("this agent does not know the request", got=repr(op)[:80], expected="one of " + ", ".join(sorted(wire.OPS)),
                      move="A newer agent may: connect again with this console to renew it")
    if not isinstance(args, dict):
        raise Refused("args must be an object", got=type(args).__name__, move="Correct the request")
    for name, types in wire.OPS[op][1].items():
        value = args.get(name)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            if name == "why" and value is None:
                continue
            raise Refused("%s needs %s" % (op, name), got="nothing" if value is None else repr(value)[:80],
                          expected=" or ".join(each.__name__ for each in types), move="Correct the request")
    return args


def facts(npu_count: int | None, folder: Any = None) -> dict[str, Any]:
    """What this node is. ``npu_count``: of the last sample, for where the device files do not tell.

    ``folder``: a directory that an attempt is to have; ``dir_trouble`` then says why it cannot, or nothing.
    """
    devices = sum(1 for name in os.listdir("/dev") if re.match(r"davinci\d+\Z", name))
    return {"hostname": socket.gethostname(), "python": platform.python_version(), "cores": len(os.sched_getaffinity(0)),
            "addresses": addresses(), "npu_count": devices or npu_count,
            "dir_trouble": _dir_trouble(folder) if isinstance(folder, str) else None}


def _dir_trouble(folder: str) -> str | None:
    """Looks and changes nothing: is there a bash, and is the nearest directory above one that we may write?"""
    if command.find("bash") is None:
        return "no bash"
    above = os.path.abspath(os.path.expanduser(folder))
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    # By the effective user, as writing is; access() asks for the real one.
    if not os.path.isdir(above) or not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return "%s cannot be written" % above
    return None


def addresses() -> dict[str, list[str]]:
    """Network interface -> its addresses: netdevice(7) SIOCGIFCONF for IPv4, /proc/net/if_inet6 for IPv6."""
    found: dict[str, list[str]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        size = 1 << 16
        room = array.array("B", bytes(size))
        asked = struct.pack("iL", size, room.buffer_info()[0])
        try:
            length = struct.unpack("iL", fcntl.ioctl(link.fileno(), _SIOCGIFCONF, asked))[0]
        except OSError:
            length = 0
        raw = room.tobytes()[:length]
    # struct ifreq of 40 bytes on 64-bit machines: 16 of name, then a sockaddr_in with the address at byte 4.
    for start in range(0, len(raw) - 39, 40):
        # An alias ("eth0:1") is the interface's own address.
        name = raw[start : start + 16].split(b"\0", 1)[0].decode("ascii", "replace").split(":")[0]
        found.setdefault(name, []).append(socket.inet_ntoa(raw[start + 20 : start + 24]))
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            for line in file:
                fields = line.split()
                found.setdefault(fields[5], []).append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0])))
    except (OSError, ValueError, IndexError):
        pass
    return found


def files(home: Home, attempt: str) -> dict[str, Any]:
    """The logs of an attempt on this node, and the process logs in its own directories (``plog``: true). Raises Refused."""
    pointer = attempts.load(home.attempts, attempt)
    if pointer is None:
        raise Refused("attempt %s is not known here" % attempt, where=socket.gethostname(), got="nothing", expected="an attempt of this node", move="See rankdeck status")
    logs: list[tuple[str, int | None, int | None]] = [(pointer.path("launcher.log"), None, None)]
    for place, folder in attempts.rounds(pointer.dir):
        logs += [(path, number, place) for number, path in attempts.logs(folder)[0]]
    rounds = [folder for _, folder in attempts.rounds(pointer.dir)]
    theirs = plogs.listed([os.path.join(folder, "plog") for folder in [pointer.dir] + rounds])
    found = []
    for path, of_rank, of_round in (logs + [(plog.path, None, None) for plog in theirs])[:_FILES_MAX]:
        try:
            with tails.open_file(path) as file:
                found.append({"path": path, "local_rank": of_rank, "round": of_round, "size": os.fstat(file.fileno()).st_size,
                              "file_id": tails.identity(file.fileno()), "plog": os.path.basename(path).startswith(("plog-", "device-"))})
        except Refused:
            continue
    return {"files": found}


def audited(op: str, args: dict[str, Any]) -> dict[str, Any]:
    """A write request's arguments as the audit trail keeps them: the exact script, other texts by their length."""
    kept = dict(args)
    if op == "prepare":
        kept["files"] = {name: len(text) if isinstance(text, str) else None for name, text in args["files"].items()}
        if len(args["script"]) > 1 << 16:
            kept["script"] = args["script"][: 1 << 16] + tails.CUT_MARK
    return kept
