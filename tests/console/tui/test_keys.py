"""Every key with the test that presses it. A key without one fails here."""

from __future__ import annotations

import re
from pathlib import Path

from console.tui.actions import ACTIONS, key_text

HERE = Path(__file__).parent
TESTS = (*HERE.glob("test_*.py"), HERE.parents[1] / "tmux" / "test_terminal.py")


def pressed() -> dict[str, list[str]]:
    """Key -> names of the tests whose ``press`` names it."""
    found: dict[str, list[str]] = {}
    for path in TESTS:
        for name, body in re.findall(r"def (test_\w+)\(.*?\n((?:(?:    .*)?\n)*)", path.read_text("utf-8")):
            for call in re.findall(r"press\((.*)\)", body):
                for key in re.findall(r'"([^"]+)"', call):
                    found.setdefault(key, []).append(f"{path.name}::{name}")
            for cases in re.findall(r'parametrize\("key", \[(.*?)\]\)\n(?:async )?def (test_\w+)', path.read_text("utf-8")):
                for key in re.findall(r'"([^"]+)"', cases[0]):
                    found.setdefault(key, []).append(f"{path.name}::{cases[1]}")
    return found


def test_every_key_is_pressed_by_a_test() -> None:
    tests = pressed()
    spare = {"question_mark": "?", "colon": ":", "ctrl+z": "C-z"}
    missing = [key_text(key) for action in ACTIONS for key in action.keys if key not in tests and spare.get(key) not in tests]
    assert missing == []
