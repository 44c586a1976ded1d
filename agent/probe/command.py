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
        status = _wait(child, started + timeout_s) if not reason else None
        reason = reason or ("timeout" if status is None else "")
    finally:
        _kill_group(child)
        child.stdout.close()
    return Result(status if not reason else None, b"".join(parts).decode("utf-8", "replace"),
                  time.monotonic() - started, reason)


def _wait(child: "subprocess.Popen[bytes]", until: float) -> Optional[int]:
    try:
        return child.wait(max(0.05, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    """End what is left of the group (a tool's own children too) and reap the child.

    A process stuck in the driver (state D) cannot be reaped now; it is left behind rather than waited for.
    """
    if child.poll() is None:
        _signal_group(child.pid)
        try:
            child.wait(1.0)
        except subprocess.TimeoutExpired:
            pass
    else:
        _signal_group(child.pid)


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
