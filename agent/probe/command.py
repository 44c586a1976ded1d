"""Running one tool of the node: bounded in time and output, its whole process group ended with it.

Owns the subprocess. Refuses to parse what it prints, to retry, and to run a shell. Never raises for what
the tool does: a tool that is missing, denied or stuck is a result with a reason.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from typing import Dict, List, NamedTuple, Optional, Sequence

OUTPUT_LIMIT = 4 << 20
"""Bytes of output kept; more is read and thrown away, so that the tool does not block on a full pipe."""

TOOL_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/local/Ascend/driver/tools", "/usr/sbin", "/sbin")
"""Where the driver package puts npu-smi and hccn_tool; often not on the PATH of a login over SSH."""


class Result(NamedTuple):
    """What became of a command."""

    status: Optional[int]
    """Exit status; negative: the signal that ended it; None: it never ran or was cut off."""
    out: str
    """Standard output and standard error together (the driver's tools print errors on either)."""
    took_s: float
    reason: str
    """"" when it ended by itself within its time; else one of agent.wire.ABSENT_REASONS."""


def find(tool: str, environ: Optional[Dict[str, str]] = None) -> Optional[str]:
    """The path of a tool, or None: first on PATH, then in TOOL_DIRS.

    PATH first, so that whoever starts the agent can put another tool before the installed one; the demo's
    simulated tools are found that way too.
    """
    paths = (os.environ if environ is None else environ).get("PATH", os.defpath)
    for folder in [folder for folder in paths.split(os.pathsep) if folder] + list(TOOL_DIRS):
        path = os.path.join(folder, tool)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def run(argv: Sequence[str], timeout_s: float, output_limit: int = OUTPUT_LIMIT) -> Result:
    """Run ``argv`` (no shell) and wait for at most ``timeout_s``; then its process group is killed."""
    started = time.monotonic()
    try:
        child = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True,
                                 env=dict(os.environ, LC_ALL="C", COLUMNS="300"))
    except FileNotFoundError:
        return Result(None, "", time.monotonic() - started, "missing")
    except PermissionError:
        return Result(None, "", time.monotonic() - started, "denied")
    except OSError as error:
        return Result(None, str(error), time.monotonic() - started, "error")
    assert child.stdout is not None
    parts: List[bytes] = []
    kept, reason = 0, ""
    try:
        handle = child.stdout.fileno()
        while True:
            left = started + timeout_s - time.monotonic()
            if left <= 0 or not select.select([handle], [], [], left)[0]:
                reason = "timeout"
                break
            data = os.read(handle, 1 << 16)
            if not data:
                break
            if kept < output_limit:
                parts.append(data[:output_limit - kept])
                kept += len(parts[-1])
        if not reason and not _ended(child.pid, started + timeout_s):
            reason = "timeout"
    finally:
        # Not reaped yet, so the number is still its own; what it left running in its group goes with it.
        _signal_group(child.pid)
        status = _reap(child)
        child.stdout.close()
    return Result(status if not reason else None, b"".join(parts).decode("utf-8", "replace"),
                  time.monotonic() - started, reason)


def _ended(pid: int, until: float) -> bool:
    """Whether the child has ended by then; it is left unreaped."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(0.002)
    return True


def _reap(child: "subprocess.Popen[bytes]") -> Optional[int]:
    """The exit status; None for one stuck in the driver (state D), which is left behind rather than waited for."""
    try:
        return child.wait(1.0)
    except subprocess.TimeoutExpired:
        return None


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
