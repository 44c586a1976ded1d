"""The few things that a check changes on a node: a proof file, a measured write, a confirmed remedy.

Owns their guards: names and sizes are bounded, nothing that exists is overwritten, and a remedy runs only
as the command that was confirmed. Refuses everything else. Every call is a ``write`` request, so it is in
the node's audit trail with its arguments. Runs in a lane of its own.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from typing import Any

from agent.catalogue import remedies
from agent.probe import command
from agent.refusal import Refused

NAME = re.compile(r"\.rankdeck-nonce-[0-9a-f]{8,64}\Z")
NONCE_BYTES = 4096
SPEED_MB_MAX = 4096
SPEED_S = 20.0
_CHUNK = 1 << 20


def nonce(args: dict[str, Any]) -> dict[str, Any]:
    """Write a small proof file, or remove it again (``text`` empty): {path}. Raises Refused."""
    path = _proof_path(args["dir"], args["name"])
    text = args["text"].encode("utf-8", "replace")
    if len(text) > NONCE_BYTES:
        raise Refused("a proof file is small", where=path, got="%d bytes" % len(text), expected="at most %d" % NONCE_BYTES, move="Write less")
    try:
        if not text:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            return {"path": path}
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            os.write(handle, text)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _failed("the proof file cannot be %s" % ("written" if text else "removed"), path, error)
    return {"path": path}


def write_speed(args: dict[str, Any]) -> dict[str, Any]:
    """Write ``mb`` megabytes to a new file and sync it: {mb, seconds, mb_s}; the file is removed. Raises Refused."""
    megabytes = args["mb"]
    path = _proof_path(args["dir"], args["name"])
    if not 1 <= megabytes <= SPEED_MB_MAX:
        raise Refused("too much to write", where=path, got="%d MB" % megabytes, expected="1 to %d" % SPEED_MB_MAX, move="Ask for less")
    # Not zeros: file systems that compress or leave holes would be flattered.
    chunk = os.urandom(_CHUNK)
    written = 0
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            started = time.monotonic()
            while written < megabytes and time.monotonic() - started < SPEED_S:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(handle, view):]
                written += 1
            os.fsync(handle)
            seconds = max(1e-6, time.monotonic() - started)
        finally:
            os.close(handle)
            os.unlink(path)
    except OSError as error:
        raise _failed("the disk's speed cannot be measured", path, error)
    return {"mb": written, "seconds": round(seconds, 3), "mb_s": round(written / seconds, 1)}


def remedy(args: dict[str, Any]) -> dict[str, Any]:
    """Run a confirmed remedy: {command, status, output, took_s}. Raises Refused."""
    try:
        argv = remedies.argv(args["name"], args["subject"])
    except remedies.RemedyError as error:
        raise Refused("that is not a remedy", where=socket.gethostname(), got=str(error), move="See rankdeck check for what can be mended")
    if list(args["argv"]) != argv:
        raise Refused("the confirmed command is not this agent's", where=socket.gethostname(), got=" ".join(map(str, args["argv"])),
                      expected=" ".join(argv), move="Check again: console and agent are of different versions")
    path = command.find(argv[0])
    if path is None:
        raise Refused("%s is not on this node" % argv[0], where=socket.gethostname(), move="Install it, or mend this by hand")
    result = command.run([path] + [os.path.expanduser(word) if word.startswith("~/") else word for word in argv[1:]], remedies.REMEDIES[args["name"]][0])
    output = result.out[-2000:]
    if result.status != 0:
        raise Refused("the remedy failed", where="%s: %s" % (socket.gethostname(), " ".join(argv)),
                      got=result.reason or "exit status %s: %s" % (result.status, output.strip()[-300:]), expected="exit status 0",
                      move="Run it by hand there, perhaps as root")
    return {"command": argv, "status": result.status, "output": output, "took_s": round(result.took_s, 3)}


def _proof_path(folder: str, name: str) -> str:
    folder = os.path.expanduser(folder)
    if not NAME.match(name):
        raise Refused("that is no name of a proof file", got=repr(name)[:80], expected=".rankdeck-nonce-<hex>", move="Correct the request")
    if not os.path.isabs(folder) or not os.path.isdir(folder):
        raise Refused("there is no such directory", where="%s:%s" % (socket.gethostname(), folder), got="nothing", expected="a directory",
                      move="Create it, or correct the path in the job file")
    return os.path.join(folder, name)


def _failed(what: str, path: str, error: OSError) -> Refused:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return Refused(what, where="%s:%s" % (socket.gethostname(), path), got=os.strerror(error.errno or 0), expected="a directory that can be written",
                   move="Free space there" if full else "Look at the directory's owner and mode, and whether it is mounted read-only")
