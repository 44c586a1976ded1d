"""What the screen does outside itself: clipboard, snapshot file, a shell in its place. The only I/O here.

Copying goes three ways, because none is sure: the terminal's clipboard by OSC 52 (terminals cut it, some at
74,994 bytes of payload), tmux's buffer, and a file when the text is too long for either.
"""

from __future__ import annotations

import base64
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from console.core.i18n import say

if TYPE_CHECKING:
    from console.tui.app import ConsoleApp

OSC52_LIMIT = 74_994
"""Bytes of base64 that xterm, and tmux's default, take in one sequence."""
TMUX_TIMEOUT_S = 2.0


def osc52(text: str, *, in_tmux: bool) -> str:
    """The sequence that copies the text, empty when it is too long; wrapped for tmux's passthrough as well."""
    payload = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(payload) > OSC52_LIMIT:
        return ""
    plain = f"\x1b]52;c;{payload}\x07"
    # tmux itself reads the plain one (set-clipboard); the wrapped one reaches the terminal around it.
    return plain + (f"\x1bPtmux;\x1b\x1b]52;c;{payload}\x07\x1b\\" if in_tmux else "")


def yank(app: ConsoleApp, text: str) -> str:
    """Copy the text every way there is; returns what to tell the operator."""
    ways = []
    in_tmux = bool(os.environ.get("TMUX"))
    sequence = osc52(text, in_tmux=in_tmux)
    if sequence and app.write_raw(sequence):
        ways.append(say("clipboard (if the terminal allows it)"))
    if in_tmux and _tmux_buffer(text):
        ways.append(say("tmux buffer"))
    if not sequence:
        ways.append(str(_write(_folder() / f"yank-{_stamp()}.txt", text)))
    lines = text.count("\n") + 1
    return say("copied {n} lines: {ways}", n=lines, ways=", ".join(ways)) if ways else say("nowhere to copy to")


def snapshot(app: ConsoleApp, name: str) -> Path:
    """Write what is on the screen as text; returns the file. Raises OSError."""
    lines = [strip.text.rstrip() for strip in app.screen_lines()]
    path = Path(name).expanduser() if name else _folder() / f"screen-{_stamp()}.txt"
    return _write(path, "\n".join(lines))


def shell(app: ConsoleApp, node: str, argv: list[str]) -> None:
    """Give the terminal to a shell on the node until it ends."""
    # Drawing while the terminal is not ours would block on a full queue (terok issue 1187).
    with app.batch_update(), app.suspend():
        sys.stdout.write(say("shell on {node}; exit brings the console back", node=node) + "\n" + shlex.join(argv) + "\n")
        sys.stdout.flush()
        try:
            status = subprocess.call(argv)
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            status = 127
    app.refresh(layout=True)
    app.tell(say("shell on {node} ended", node=node) + (f" ({status})" if status else ""), "good" if status == 0 else "warn")


def suspend(app: ConsoleApp) -> None:
    """Give the terminal back to the shell until ``fg``, as the terminal's own ctrl+z would.

    The signal goes to the whole process group: ``make`` or ``time``, in front of the console, would otherwise wait for it
    and keep the shell from its prompt. Where no shell could continue it (``ssh -t host rankdeck open``), the kernel lets it
    pass, and the screen comes back at once.
    """
    try:
        with app.suspend():
            ours = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            try:
                os.killpg(0, signal.SIGTSTP)
            finally:
                signal.signal(signal.SIGTSTP, ours)
    except SuspendNotSupported:
        return


def _tmux_buffer(text: str) -> bool:
    try:
        return subprocess.run(["tmux", "load-buffer", "-"], input=text.encode("utf-8", "replace"), timeout=TMUX_TIMEOUT_S,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or ""
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "rankdeck"


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Exclusive: a snapshot of an incident is not overwritten by the next one.
    at = path
    for number in range(1, 1000):
        try:
            with at.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text + "\n")
            return at
        except FileExistsError:
            at = path.with_stem(f"{path.stem}-{number}")
    raise FileExistsError(17, "too many files of that name", str(path))
