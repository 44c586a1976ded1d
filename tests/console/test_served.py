"""The screen under another driver than a terminal's: what a browser gets through textual-serve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_the_screen_comes_through_a_pipe_and_q_ends_it(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("nodes:\n  - {name: n0, host: 127.0.0.1, port: 1}\n")
    environ = {**os.environ, "TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver", "COLUMNS": "100", "ROWS": "30", "TERM": "dumb",
               "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "console", "open", "-i", str(tmp_path / "fleet.yaml")]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None and process.stdout is not None
        seen = b""
        # The pipe ends with the program, and the program with its key or with the test's time-out.
        while b"no job" not in seen and (piece := os.read(process.stdout.fileno(), 65536)):
            seen += piece
        assert seen.startswith(b"__GANGLION__\n") and b"n0" in seen
        # A packet: its kind, its length, its data (textual.drivers.web_driver).
        process.stdin.write(b"D" + (1).to_bytes(4, "big") + b"q")
        process.stdin.flush()
        while os.read(process.stdout.fileno(), 65536):
            pass
        assert process.wait(60) == 0
