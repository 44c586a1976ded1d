"""Draws docs/img/console.svg: the real console on a real demo fleet, after it has trained for a while.

Usage: picture.py [SECONDS [FILE]]. The console runs on a pseudo-terminal of 120 columns and 36 rows; after
so many seconds (default 75) Textual itself writes what is on its screen as SVG and leaves.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 120, 36


def main(seconds: int, target: Path) -> int:
    """0 when the picture was drawn."""
    target.parent.mkdir(parents=True, exist_ok=True)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    with tempfile.TemporaryDirectory(prefix="rankdeck-picture-") as folder:
        environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", "XDG_STATE_HOME": f"{folder}/state",
                   "XDG_CONFIG_HOME": f"{folder}/config", "TEXTUAL_SCREENSHOT": str(seconds),
                   "TEXTUAL_SCREENSHOT_LOCATION": folder, "TEXTUAL_SCREENSHOT_FILENAME": "console.svg"}
        # The terminal is the demo's controlling one, so that it is hung up on should we end first.
        process = subprocess.Popen([str(Path(sys.executable).with_name("rankdeck")), "demo"], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=environ, start_new_session=True)
        os.close(theirs)
        said = b""
        deadline = time.monotonic() + seconds + 120
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                try:
                    said = (said + os.read(ours, 65536))[-4000:]
                except OSError:
                    break
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        drawn = Path(folder) / "console.svg"
        if not drawn.exists():
            print(f"picture: nothing was drawn; the end of what the console said: {said[-1500:]!r}", file=sys.stderr)
            return 1
        # Lines without trailing blanks, so that the picture can be kept under version control.
        target.write_text("\n".join(line.rstrip() for line in drawn.read_text("utf-8").splitlines()) + "\n", "utf-8")
    print(f"drawn: {target}")
    return 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(int(words[0]) if words else 75, Path(words[1]) if len(words) > 1 else ROOT / "docs" / "img" / "console.svg"))
