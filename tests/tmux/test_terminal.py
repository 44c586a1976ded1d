"""The screen in a real terminal: a tmux server of its own on a private socket, keys in, screen out."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.tmux, pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")]
DRIVE = Path(__file__).with_name("drive.py")
HIDDEN = ("TMUX", "TMUX_PANE", "NO_COLOR", "COLORTERM", "TEXTUAL_THEME", "COLUMNS", "LINES")
"""Of the environment: what says of another terminal (pytest-xdist sets the size of none) how it looks."""


def until(what: Callable[[], object], why: str) -> None:
    """Return once ``what()`` is true; fail when it does not come true in time."""
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            pytest.fail(f"not within {PATIENCE_S:.0f} s: {why}")
        time.sleep(0.05)


class Terminal:
    """One window of a private tmux server with a shell in it."""

    def __init__(self, folder: Path) -> None:
        self._socket, self.log = folder / "tmux", folder / "intents"
        self._environ = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        # Line by line: the shell's prompt must not look like the screen, and no start-up file may change it.
        self._environ.update(PS1="prompt$ ", HISTFILE="", LANG="C.UTF-8", LC_ALL="C.UTF-8", ENV="", SHELL="/bin/sh", TERM="xterm-256color")

    def tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", str(self._socket), "-f", "/dev/null", *words], env=self._environ, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)
        return done.stdout

    def start(self, width: int = 120, height: int = 36) -> None:
        self.tmux("new-session", "-d", "-x", str(width), "-y", str(height), "exec /bin/sh")
        until(lambda: "prompt$" in self.text(), "the shell's prompt")

    def console(self, prefix: str = "", layout: str = "default") -> None:
        self.type(f"{prefix} {sys.executable} {DRIVE} {layout} --log {self.log}")
        until(lambda: "read-only" in self.text(), "the console's first screen")

    def type(self, line: str) -> None:
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)

    def text(self, escapes: bool = False) -> str:
        return self.tmux("capture-pane", "-p", *(["-e"] if escapes else []))

    def shows(self, words: str) -> None:
        until(lambda: words in self.text(), f"{words!r} on the screen, which is now\n{self.text()}")

    def back_at_the_prompt(self) -> None:
        until(lambda: self.text().rstrip().endswith("prompt$"), f"the shell again, but the screen is\n{self.text()}")

    def intents(self) -> str:
        return self.log.read_text("utf-8") if self.log.exists() else ""

    def console_pid(self) -> int:
        (shell,) = self.tmux("list-panes", "-F", "#{pane_pid}").split()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text("ascii").split()
        assert len(children) == 1, children
        return int(children[0])

    def end(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_keys_in_and_screen_out(terminal: Terminal) -> None:
    terminal.start()
    terminal.console()
    for words in ("3/4 nodes up", "atlas-04 down", "demo-gpt-tiny", "rank 15 · atlas-02 · following"):
        terminal.shows(words)
    before = terminal.text()
    until(lambda: terminal.text() != before, "the screen to move by itself")
    terminal.press("S")
    terminal.shows("stop refused: the console is read-only")
    terminal.press("?")
    terminal.shows("Keys and commands")
    terminal.press("Escape")
    until(lambda: "Keys and commands" not in terminal.text(), "the help to close")
    terminal.press("f")
    terminal.shows("held, ")
    terminal.press("l")
    terminal.shows("rank 0 · atlas-01")
    terminal.press("q")
    terminal.back_at_the_prompt()
    assert "demo-gpt-tiny keeps running." in terminal.text()
    assert "reason='quit'" in terminal.intents() and "StopJob" not in terminal.intents()


def test_arm_and_stop(terminal: Terminal) -> None:
    terminal.start()
    terminal.console()
    terminal.press(":")
    terminal.shows("checkpoints")  # the candidates
    terminal.type("arm 10m")
    terminal.shows("ARMED")
    terminal.press("S")
    terminal.shows("type the job's name")
    terminal.type("something-else")
    terminal.shows("not the job's name")
    terminal.type("demo-gpt-tiny")
    until(lambda: "StopJob(" in terminal.intents(), "the intent")
    assert re.search(r"nodes=\('atlas-01', 'atlas-02'\)", terminal.intents())
    terminal.press("q")
    terminal.back_at_the_prompt()


def test_a_burst_of_keys_means_the_same_as_the_keys_one_by_one(terminal: Terminal) -> None:
    terminal.start()
    terminal.console()
    terminal.tmux("send-keys", ":arm", "Enter")
    terminal.shows("ARMED")
    terminal.tmux("send-keys", ":pane loss", "Enter", "z", ":disarm", "Enter", "5")
    terminal.shows("read-only")
    terminal.shows("5 Logs")
    terminal.tmux("send-keys", ":stop", "Enter", "1", ":arm 5m", "Enter", "S")
    terminal.shows("type the job's name")
    terminal.press("Escape")
    until(lambda: "type the job's name" not in terminal.text(), "the dialog to close")
    terminal.press("q")
    terminal.back_at_the_prompt()
    assert "StopJob" not in terminal.intents()


def test_it_follows_the_size_of_the_window(terminal: Terminal) -> None:
    terminal.start(200, 60)
    terminal.console()
    terminal.shows("55°C 344W")
    for width, height, words in ((80, 24, "✓ 97"), (60, 15, "rank 15"), (39, 7, "40 × 8 at least"), (120, 36, "atlas-04 down")):
        terminal.tmux("resize-window", "-x", str(width), "-y", str(height))
        terminal.shows(words)
        assert all(len(line) <= width for line in terminal.text().splitlines())
    terminal.press("q")
    terminal.back_at_the_prompt()


@pytest.mark.parametrize("before", ["", "sh -c '\"$@\"; true' wrapper"])
def test_it_is_suspended_and_comes_back(terminal: Terminal, before: str) -> None:
    terminal.start()
    terminal.console(before)  # by itself, and behind something that waits for it, as make does
    terminal.press("C-z")
    until(lambda: terminal.text().rstrip().endswith("prompt$"), f"the shell, but the screen is\n{terminal.text()}")
    terminal.type("echo still $((40 + 2))")
    terminal.shows("still 42")
    terminal.type("fg")
    terminal.shows("read-only")
    terminal.shows("atlas-04 down")
    terminal.press("q")
    terminal.back_at_the_prompt()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    terminal.start()
    terminal.console()
    os.kill(terminal.console_pid(), number)
    terminal.back_at_the_prompt()
    assert f"reason='terminated', text='{number.name}'" in terminal.intents()
    terminal.type("echo still $((40 + 2))")
    terminal.shows("still 42")


def test_it_ends_with_its_terminal(terminal: Terminal) -> None:
    terminal.start()
    terminal.console()
    pid = terminal.console_pid()
    terminal.end()
    until(lambda: not lives(pid), "the console to end after its terminal went away")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_colour_means_none(terminal: Terminal) -> None:
    terminal.start()
    terminal.console("NO_COLOR=1")
    terminal.shows("atlas-04 down")
    codes = {code for run in re.findall(r"\x1b\[([0-9;:]*)m", terminal.text(escapes=True)) for code in re.split("[;:]", run)}
    assert not [code for code in codes if re.fullmatch(r"3[0-8]|4[0-8]|9[0-7]|10[0-7]", code)], codes
    terminal.press("q")
    terminal.back_at_the_prompt()


def test_colour_is_there_otherwise(terminal: Terminal) -> None:
    terminal.start()
    terminal.console()
    terminal.shows("atlas-04 down")
    assert "\x1b[1m\x1b[31m" in terminal.text(escapes=True)
    terminal.press("q")
    terminal.back_at_the_prompt()
