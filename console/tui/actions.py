"""Everything the operator can do on the screen, in one table: keys, commands and help are made from it.

Each action says whether it changes anything outside the console (``write``). A write is refused in one
place, ``ConsoleApp.perform``, unless the console is armed; no key of a write acts without a dialog.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from console.core.intents import Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """``name`` is the ``:`` command; ``keys`` in Textual's spelling; ``takes`` names the argument's kind."""

    name: str
    keys: tuple[str, ...] = ()
    label: str = ""
    """A word for the line of keys at the bottom; empty: not shown there."""
    help: str
    access: Access = "read"
    takes: str = ""
    """Empty, or one of: duration, log, node, pane."""
    needs: bool = False
    """Whether the argument must be given."""


ACTIONS: tuple[Action, ...] = (
    Action(name="quit", keys=("q", "ctrl+q", "ctrl+c"), label="quit (job goes on)", help="Leave the console. The job keeps running."),
    Action(name="help", keys=("question_mark",), label="help", help="Show this page."),
    Action(name="command", keys=("colon",), label="command", help="Type a command; tab completes."),
    Action(name="next", keys=("tab",), label="pane", help="Go to the next pane."),
    Action(name="previous", keys=("shift+tab",), help="Go to the previous pane."),
    Action(name="pane", help="Go to a pane by name.", takes="pane", needs=True),
    Action(name="last", keys=("minus",), help="Go back to the pane you came from."),
    Action(name="zoom", keys=("z",), label="zoom", help="Show the pane alone, or all panes again."),
    Action(name="back", keys=("escape",), help="Leave what is open: a dialog, the command line, the zoom."),
    Action(name="log", keys=("l",), label="log", help="Show the next log, or that of a rank (number) or launcher (node).", takes="log"),
    Action(name="log-back", keys=("L",), help="Show the previous log."),
    Action(name="follow", keys=("f",), label="follow", help="Stay at the end of the log, or hold it."),
    Action(name="log-y", keys=("Y",), label="log y", help="Draw the loss on a logarithmic axis, or on a linear one."),
    Action(name="reconnect", help="Try a node again now, whatever its back-off says.", takes="node", needs=True),
    Action(name="suspend", keys=("ctrl+z",), help="Back to the shell for a while; fg brings the console back."),
    Action(name="arm", help="Allow changes for a while, 10m if not told: 90s, 10m, 1h.", takes="duration"),
    Action(name="disarm", help="Back to read-only."),
    Action(name="stop", keys=("S",), label="stop", help="Stop the job. Asks for its name first.", access="write"),
)
BY_NAME: Mapping[str, Action] = {action.name: action for action in ACTIONS}

_KEY_NAMES = {"question_mark": "?", "colon": ":", "minus": "-", "escape": "esc"}
_DURATION = re.compile(r"([0-9]{1,5})([smh])")
LONGEST_ARM_S = 8 * 3600.0
"""A shift. Whoever needs longer arms again."""


def key_text(key: str) -> str:
    """The key as it is printed on the screen."""
    return _KEY_NAMES.get(key, key)


def usage(action: Action) -> str:
    """``:name ARGUMENT`` as the help shows it."""
    if not action.takes:
        return f":{action.name}"
    word = {"log": "RANK|NODE"}.get(action.takes, action.takes.upper())
    return f":{action.name} {word}" if action.needs else f":{action.name} [{word}]"


def parse(line: str) -> tuple[Action, str]:
    """The action and its argument in a command line; an unambiguous beginning of a name is enough.

    Raises ValueError, with what to type instead, for anything else.
    """
    name, _, argument = line.strip().partition(" ")
    argument = argument.strip()
    action = BY_NAME.get(name)
    if action is None:
        near = [known for known in sorted(BY_NAME) if name and known.startswith(name)]
        if len(near) != 1:
            raise ValueError(f"{name}: " + (f"could be {', '.join(near)}" if near else "no such command; ? lists all"))
        action = BY_NAME[near[0]]
    if argument and not action.takes:
        raise ValueError(f"{action.name} takes no argument")
    if action.needs and not argument:
        raise ValueError(f"usage: {usage(action)}")
    return action, argument


def complete(line: str, words: Mapping[str, Sequence[str]]) -> list[str]:
    """Whole command lines that ``line`` could become; ``words``: kind of argument -> what it can be."""
    name, blank, argument = line.lstrip().partition(" ")
    if not blank:
        return [known for known in sorted(BY_NAME) if known.startswith(name)]
    action = BY_NAME.get(name)
    if action is None or not action.takes:
        return []
    return [f"{name} {word}" for word in words.get(action.takes, ()) if word.startswith(argument.lstrip())]


def seconds(text: str) -> float:
    """90s, 10m or 1h in seconds. Raises ValueError for anything else, zero, and more than LONGEST_ARM_S."""
    found = _DURATION.fullmatch(text.strip())
    value = int(found.group(1)) * {"s": 1.0, "m": 60.0, "h": 3600.0}[found.group(2)] if found else 0.0
    if not 0 < value <= LONGEST_ARM_S:
        raise ValueError(f"{text}: expected a time such as 90s, 10m or 1h, at most {LONGEST_ARM_S / 3600:.0f}h")
    return value
