"""The table of actions, the command line, arming."""

from __future__ import annotations

import pytest

from console.core.clock import FixedClock
from console.tui.actions import ACTIONS, BY_KEY, BY_NAME, OWN_KEYS, complete, parse, seconds, usage
from console.tui.app import ConsoleApp
from console.tui.arming import Arming
from console.tui.doings import Doings
from console.tui.screens.help_screen import help_lines
from console.tui.views import VIEWS


def test_every_action_can_be_done_and_says_what_it_touches() -> None:
    for action in ACTIONS:
        assert action.pane or action.name in VIEWS or callable(getattr(Doings, action.name.replace("-", "_"))), action.name
        assert action.access in ("read", "write") and action.help.endswith(".")
    assert [action.name for action in ACTIONS if action.access == "write"] == ["shell", "fix", "run", "stop"]


def test_no_key_is_given_twice_and_each_is_bound() -> None:
    keys = [key for action in ACTIONS for key in action.keys if not action.within]
    assert len(keys) == len(set(keys))
    assert set(BY_KEY) == set(keys) and ConsoleApp.BINDINGS == []  # keys come to the app first, through BY_KEY alone
    own = [(pane, key) for action in ACTIONS for key in action.keys for pane in action.within]
    assert len(own) == len(set(own)) and set(OWN_KEYS) == set(own)
    assert "ctrl+k" not in keys and "ctrl+k" not in [key for _, key in own]


@pytest.mark.parametrize(("line", "name", "argument"), [
    ("arm", "arm", ""), ("arm 10m", "arm", "10m"), ("  stop ", "stop", ""), ("rec atlas-01", "reconnect", "atlas-01"), ("log-b", "log-back", "")])
def test_a_command_is_understood(line: str, name: str, argument: str) -> None:
    assert parse(line) == (BY_NAME[name], argument)


@pytest.mark.parametrize(("line", "says"), [
    ("frobnicate", "no such command"), ("", "no such command"), ("pre", "previous, previous-attempt"), ("quit now", "takes no argument"),
    ("pane", "usage: :pane PANE")])
def test_a_wrong_command_says_what_to_type(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(line)


def test_completion() -> None:
    words = {"node": ["atlas-01", "atlas-02", "bee"], "pane": ["loss"]}
    assert complete("di", words) == ["disarm"]
    assert complete("reconnect at", words) == ["reconnect atlas-01", "reconnect atlas-02"]
    assert complete("quit ", words) == [] and complete("nonsense x", words) == []
    assert set(complete("", words)) == set(BY_NAME)


@pytest.mark.parametrize(("text", "value"), [("90s", 90), ("10m", 600), ("8h", 28800)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "0m", "9h", "-5m", "10m ago", "1.5h", "99999h", "١٠m"])
def test_not_durations(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time"):
        seconds(text)


def test_usage_shows_what_must_be_given() -> None:
    assert usage(BY_NAME["reconnect"]) == ":reconnect NODE" and usage(BY_NAME["arm"]) == ":arm [DURATION]"


def test_arming_ends_by_itself() -> None:
    clock = FixedClock(1000.0)
    arming = Arming(clock)
    assert not arming.armed and arming.left_s == 0
    arming.arm(60)
    clock.move_to(1059.0)
    assert arming.armed and arming.left_s == 1
    clock.move_to(1060.0)
    assert not arming.armed
    arming.arm(60)
    arming.disarm()
    assert not arming.armed


def test_the_help_shows_every_usage_whole() -> None:
    for width in (35, 87):
        lines = ["".join(text for text, _ in line) for line in help_lines(width)]
        assert [usage(action) for action in ACTIONS if not any(f"{usage(action)} " in f"{line} " for line in lines)] == []
