"""What SSH runs on the node: finds the resident or starts one, then carries bytes between it and stdio.

Owns the decision whether a resident is to be replaced: only one of a lower revision, and it leaves by
itself; an equal or newer one is used as it is. That is settled over a connection of its own, so that the
console's first line reaches the resident unchanged. Refuses to read what passes through.

Exit status: 0 when standard input ended, 2 when the state directory cannot be used, 3 when there is no
resident to talk to (any more); 2 and 3 with one line on standard error.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import subprocess
import sys
import time
from typing import Any

import agent
from agent import clock, wire
from agent.home import Home, HomeError

_PATIENCE_S = 30.0
_BUFFER_BYTES = 1 << 18
_LOG_MAX_BYTES = 1 << 20
# A pipe that is ready takes this much at once, so that no write of ours ever waits.
_WRITE_BYTES = 4096


class NoResident(Exception):
    """No resident could be reached; the text says why."""


def attach(state: str, options: list[str], patience_s: float = _PATIENCE_S) -> int:
    """Bridge stdio to the resident of a state directory; ``options`` are passed to a resident that is started."""
    try:
        home = Home(state)
        link = reach(home, options, patience_s)
    except HomeError as error:
        return _fail(2, str(error))
    except NoResident as error:
        return _fail(3, str(error))
    return bridge(link)


def reach(home: Home, options: list[str], patience_s: float) -> socket.socket:
    """A connection to a resident that is not older than we are. Raises NoResident."""
    end = clock.mono_s() + patience_s
    started_at = None
    trouble = ""
    while clock.mono_s() < end:
        try:
            revision = _revision(home, end)
            if revision >= agent.REVISION or _retire(home, end) is False:
                return home.connect(max(0.1, end - clock.mono_s()))
            started_at = None
        except (OSError, wire.WireError) as error:
            trouble = str(error)
        # One that was started needs a moment; it may also have given way to another one that then left.
        if started_at is None or clock.mono_s() > started_at + 5.0:
            start(home, options)
            started_at = clock.mono_s()
        time.sleep(0.02)
    raise NoResident("no resident agent answers in %s within %d s: %s; see %s" % (home.path, patience_s, trouble or "no reason known", home.log))


def start(home: Home, options: list[str]) -> None:
    """Start a resident, detached from us and from this login. Raises NoResident."""
    command = _scope() + program() + ["resident", "--state", home.path] + options
    try:
        if os.path.getsize(home.log) > _LOG_MAX_BYTES:
            os.replace(home.log, home.log + ".1")
    except OSError:
        pass
    try:
        log = os.open(home.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    except OSError as error:
        raise NoResident("%s: %s" % (home.log, error.strerror))
    child = os.fork()
    if child:
        os.close(log)
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # What else we inherited (a pipe of sshd's) would keep its other end waiting for us.
        os.closerange(3, 256)
        os.chdir("/")
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, ("resident: %s: %s\n" % (command[0], error)).encode("utf-8", "replace"))
    finally:
        os._exit(1)


def program() -> list[str]:
    """The command line that runs this very agent again."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.exists(os.path.join(root, "__main__.py")):
        return [sys.executable, "-I", root]
    begin = "import sys; sys.path.insert(0, %r); from agent.__main__ import main; sys.exit(main())" % root
    return [sys.executable, "-I", "-c", begin]


def bridge(link: socket.socket) -> int:
    """Carry bytes both ways until standard input ends (0) or the resident goes away (3)."""
    link.setblocking(False)
    up, down = bytearray(), bytearray()
    gone = False
    while True:
        reading: list[Any] = [] if len(up) >= _BUFFER_BYTES else [0]
        writing: list[Any] = [1] if down else []
        if not gone and len(down) < _BUFFER_BYTES:
            reading.append(link)
        if not gone and up:
            writing.append(link)
        if gone and not down:
            return _fail(3, "the resident agent went away")
        ready, free, _ = select.select(reading, writing, [])
        if 0 in ready:
            try:
                data = os.read(0, 1 << 16)
            except OSError:
                data = b""  # a socket for standard input whose other end was closed with our words unread
            if not data:
                _send_rest(link, up)
                return 0
            up += data
        if link in ready:
            try:
                data = link.recv(1 << 16)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            gone = not data
            down += data
        if link in free:
            try:
                del up[: link.send(up)]
            except BlockingIOError:
                pass
            except OSError:
                gone = True
        if 1 in free:
            try:
                del down[: os.write(1, down[:_WRITE_BYTES])]
            except OSError:
                return 0  # nobody reads us any more: the login is over


def _send_rest(link: socket.socket, rest: bytearray) -> None:
    try:
        link.settimeout(2.0)
        link.sendall(rest)
    except OSError:
        pass


def _revision(home: Home, end: float) -> int:
    """The revision in the resident's hello. Raises OSError, WireError."""
    with home.connect(max(0.1, min(5.0, end - clock.mono_s()))) as link:
        revision = wire.decode(_line(link)).get("revision")
    return revision if isinstance(revision, int) else 0


def _retire(home: Home, end: float) -> bool:
    """Ask a resident to leave and wait until it has; False when it refuses. Raises OSError, WireError."""
    with home.connect(max(0.1, min(5.0, end - clock.mono_s()))) as link:
        name = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else "root"
        link.sendall(wire.encode({"t": "hello", "proto": wire.PROTOCOL, "min_proto": wire.MIN_PROTOCOL, "operator": name,
                                  "console": "attach, revision %d" % agent.REVISION, "after": None}))
        link.sendall(wire.encode({"t": "req", "id": 1, "op": "retire", "args": {"revision": agent.REVISION}}))
        link.settimeout(max(0.1, end - clock.mono_s()))
        kept = b""
        while True:
            data = link.recv(1 << 16)
            if not data:
                return True
            kept += data
            while b"\n" in kept:
                line, _, kept = kept.partition(b"\n")
                message = wire.decode(line)
                if message["t"] == "res" and not message.get("ok"):
                    return False


def _line(link: socket.socket) -> bytes:
    kept = b""
    while b"\n" not in kept:
        data = link.recv(1 << 16)
        if not data or len(kept) > wire.MAX_LINE_BYTES:
            raise OSError("it hung up without a hello")
        kept += data
    return kept.partition(b"\n")[0]


def _scope() -> list[str]:
    """The words that put a command into a systemd scope of the user's, where that serves: it then outlives this login.

    Only for users who linger: without that the user's manager ends with the last login and takes the scope,
    the training in it included, with it; a plain session leader is better off then.
    """
    bus = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/run/user/%d" % os.getuid(), "bus")
    try:
        lingers = os.path.exists("/var/lib/systemd/linger/%s" % pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        lingers = False
    tool = "/usr/bin/systemd-run"
    if not lingers or not os.path.exists(bus) or not os.access(tool, os.X_OK):
        return []
    words = [tool, "--user", "--scope", "--quiet", "--collect", "--"]
    try:
        tried = subprocess.run(words + ["/bin/true"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return words if tried.returncode == 0 else []


def _fail(status: int, text: str) -> int:
    sys.stderr.write("rankdeck agent: %s\n" % " ".join(text.split()))
    return status
