"""Each key of the screen in a real terminal, by the table in ``keys``; a binding without a step there fails."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.tmux.keys import SCRIPTS, Press, Seen, Type, bindings, covered, page
from tests.tmux.test_terminal import Terminal, pytestmark  # noqa: F401  the marks are this file's as well

ROOT = Path(__file__).resolve().parents[2]
TMUX = {"tab": "Tab", "shift+tab": "BTab", "enter": "Enter", "escape": "Escape", "space": "Space"}
LITERAL = {"question_mark": "?", "colon": ":", "slash": "/", "minus": "-", "left_square_bracket": "[", "right_square_bracket": "]", "left_curly_bracket": "{",
           "right_curly_bracket": "}", "tilde": "~", "plus": "+", "equals_sign": "=", "underscore": "_", "less_than_sign": "<", "greater_than_sign": ">"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path)
    made._environ["XDG_STATE_HOME"] = str(tmp_path)
    try:
        yield made
    finally:
        made.end()


def press(terminal: Terminal, step: Press | Type) -> None:
    if isinstance(step, Press):
        if step.key in TMUX or step.key.startswith("ctrl+"):
            terminal.tmux("send-keys", TMUX.get(step.key, step.key.replace("ctrl+", "C-")))
        else:
            terminal.tmux("send-keys", "-l", LITERAL.get(step.key, step.key))
    elif step.key:
        terminal.tmux("send-keys", step.text)
    elif step.text.endswith("\n"):
        terminal.type(step.text[:-1])
    elif step.text:
        terminal.tmux("send-keys", "-l", step.text)


def match(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found.group(found.re.groups and 1) if found else None


def has_come(terminal: Terminal, seen: Seen, before: str) -> bool:
    text = terminal.text()
    if seen.prompt and not text.rstrip().endswith("prompt$"):
        return False
    if seen.changes and match(seen.changes, terminal.text(escapes=True)) == match(seen.changes, before):
        return False
    return (not seen.shows or re.search(seen.shows, text) is not None) and (not seen.gone or re.search(seen.gone, text) is None) \
        and (not seen.told or re.search(seen.told, terminal.intents()) is not None)


@pytest.mark.parametrize("script", SCRIPTS)
def test_keys_in_a_real_terminal(terminal: Terminal, script: str) -> None:
    terminal.start()
    terminal.console()
    terminal.shows("following")
    for number, step in enumerate(SCRIPTS[script]):
        before = terminal.text(escapes=True)
        press(terminal, step)
        end = time.monotonic() + PATIENCE_S
        while not has_come(terminal, step.seen, before):
            if time.monotonic() > end:
                pytest.fail(f"{script}, step {number}, {step}: not in time; the screen is\n{terminal.text()}\nand was\n{before}")
            time.sleep(0.05)


def test_every_binding_is_pressed_in_a_real_terminal() -> None:
    assert sorted(set(bindings()) - set(covered())) == []
    assert sorted(set(covered()) - set(bindings())) == [], "steps for what is not bound"


def test_the_page_of_keys_is_made_from_the_table() -> None:
    """To make it again: python -m tests.tmux.keys > docs/guide/keys.md."""
    assert (ROOT / "docs" / "guide" / "keys.md").read_text("utf-8") == page()
