"""Everything the operator can do on the screen, in one table: keys, commands, completion, palette and help.

Each action says whether it changes anything outside the console (``write``). A write is refused in one
place, ``ConsoleApp.perform``, unless the console is armed; no key of a write changes anything by itself: a
stop asks in a dialog, a shell does what is typed into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from console.core.i18n import say
from console.core.records import dataclass

if TYPE_CHECKING:
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
    """Empty, or a kind of ``ARGUMENTS``."""
    needs: bool = False
    """Whether the argument must be given."""
    pane: str = ""
    """The pane that does it, where one does; the key works wherever that pane is on the screen."""
    asks: bool = False
    """Whether its key opens a line to type the argument into."""
    within: tuple[str, ...] = ()
    """The panes in which its keys count, before all others; empty: everywhere."""


ARGUMENTS: Mapping[str, str] = {
    "duration": "DURATION", "log": "RANK|NODE", "node": "NODE", "pane": "PANE", "view": "VIEW", "layout": "NAME", "filter": "[!][-f ]TEXT",
    "text": "TEXT", "order": "ORDER", "label": "LABEL", "value": "VALUE", "moment": "HH:MM:SS|-5m", "metric": "METRIC", "file": "FILE", "speed": "SPEED", "run": "RUN|ATTEMPT", "reason": "[KEY] REASON", "mute": "[KEY] [2h] REASON", "subject": "KEY",
    "check": "[--level] quick|standard|deep [--job JOB]", "job-file": "JOB", "cell": "CHECK [NODE]"}

_GENERAL = (
    Action(name="quit", keys=("q", "ctrl+q", "ctrl+c"), label="quit (job goes on)", help="Leave the console. The job keeps running."),
    Action(name="help", keys=("question_mark",), label="help", help="Show this page."),
    Action(name="command", keys=("colon",), label="command", help="Type a command; tab completes."),
    Action(name="palette", keys=("ctrl+p",), help="All commands with their meaning; type to find one."),
    Action(name="next", keys=("tab",), label="pane", help="Go to the next pane."),
    Action(name="previous", keys=("shift+tab",), help="Go to the previous pane."),
    Action(name="pane", help="Go to a pane by name.", takes="pane", needs=True),
    Action(name="zoom", keys=("z",), label="zoom", help="Show the pane alone, or all panes again."),
    Action(name="back", keys=("escape",), help="One step back: notice, filter, time, zoom, drill-down, view."),
)
_VIEWS = (
    Action(name="fleet", keys=("1",), help="View 1: nodes and NPUs."),
    Action(name="launch", keys=("2",), help="View 2: the attempt, node by node and phase by phase."),
    Action(name="training", keys=("3",), help="View 3: loss, gradient norm, learning rate, throughput, step time."),
    Action(name="checkpoints", keys=("4",), help="View 4: saves on a time line, the next one, the work at risk."),
    Action(name="logs", keys=("5",), help="View 5: the logs of the ranks."),
    Action(name="incident", keys=("6",), label="views", help="View 6: what happened, on one time line."),
    Action(name="checks", keys=("7",), help="View 7: whether the nodes are fit to train, check by check and node by node."),
    Action(name="alarms", keys=("8",), help="View 8: what wants attention, what was said of it, and who else is here."),
    Action(name="layout", keys=("0",), help="Back to the layout, or change to another one.", takes="layout"),
    Action(name="last", keys=("minus",), help="The view before this one."),
)
_DRILL = (
    Action(name="open", keys=("enter",), label="open", help="Drill in: job, node, NPU, rank, process. On a time line: go to that moment."),
    Action(name="describe", keys=("d",), help="Describe what is selected, or a node.", takes="node"),
    Action(name="tree", keys=("x",), help="Job, nodes, NPUs, ranks and processes as one tree."),
    Action(name="shell", keys=("s",), help="A shell on the selected node, or on the one named; its end brings the console back.", takes="node", access="write"),
    Action(name="yank", keys=("y",), help="Copy the selected line: terminal clipboard, tmux buffer, file."),
    Action(name="snapshot", keys=("ctrl+s",), help="Write the screen as text to a file.", takes="file"),
)
_TIME = (
    Action(name="earlier", keys=("left_square_bracket",), label="earlier", help="All panes 10 s earlier."),
    Action(name="later", keys=("right_square_bracket",), help="All panes 10 s later."),
    Action(name="much-earlier", keys=("left_curly_bracket",), help="All panes 5 min earlier."),
    Action(name="much-later", keys=("right_curly_bracket",), help="All panes 5 min later."),
    Action(name="at", help="All panes at a time of day (UTC), or so long ago: 05:08:12, -5m.", takes="moment", needs=True),
    Action(name="live", help="Back to now."),
    Action(name="play", keys=("space",), help="Let the time cursor run, or hold it.", takes="speed"),
)
_FLEET = (
    Action(name="filter", keys=("slash",), label="filter", help="Only what has this text; !text: what has not; -f text: letters in order; nodes: -l label=value.", takes="filter"),
    Action(name="sort", keys=("o",), help="Order the nodes by name, trouble, load, temperature or age.", takes="order"),
    Action(name="group", keys=("g",), help="Group the nodes by a label of the fleet file, or not.", takes="label"),
    Action(name="value", keys=("v",), help="What the cells show: load, hbm, temperature, power.", takes="value"),
)
_LOGS = (
    Action(name="log", keys=("l",), label="log", help="The log of what is selected, of a rank or of a launcher; in the log: the next one.", takes="log"),
    Action(name="log-back", keys=("L",), help="Show the previous log.", pane="logs"),
    Action(name="merged", keys=("M",), help="All ranks' logs as one, by corrected time, or one log.", pane="logs"),
    Action(name="previous-attempt", keys=("p",), help="The same log before the restart, then of the attempt before; from the first: back.", pane="logs"),
    Action(name="follow", keys=("f",), label="follow", help="Stay at the end of the log, or hold it.", pane="logs"),
    Action(name="wrap", keys=("w",), help="Wrap long lines, or cut them.", pane="logs"),
    Action(name="times", keys=("t",), help="Show each line's corrected time, or not.", pane="logs"),
    Action(name="find", keys=("ctrl+f",), help="Find a text in the log.", takes="text", pane="logs", asks=True),
    Action(name="find-next", keys=("n",), help="The next place that was found.", pane="logs"),
    Action(name="find-back", keys=("N",), help="The place before.", pane="logs"),
    Action(name="error", keys=("e",), help="The next error in the log.", pane="logs"),
    Action(name="error-back", keys=("E",), help="The error before.", pane="logs"),
    Action(name="mark", keys=("m",), help="Mark the line in the middle, or take its mark away.", pane="logs"),
    Action(name="mark-next", keys=("u",), help="The next marked line.", pane="logs"),
    Action(name="mark-back", keys=("U",), help="The marked line before.", pane="logs"),
)
_CURVES = (
    Action(name="log-y", keys=("Y",), label="log y", help="Draw the curve on a logarithmic axis, or on a linear one.", pane="loss"),
    Action(name="compare", keys=("b",), label="beside", help="Draw other jobs or earlier attempts beside this curve, or the one named; again: no longer.", takes="run", pane="loss"),
    Action(name="smooth", keys=("tilde",), help="Smooth the curve: not, a little, much.", pane="loss"),
    Action(name="metric", keys=("c",), help="The next metric in the big curve, or the one named.", takes="metric", pane="loss"),
    Action(name="zoom-in", keys=("plus", "equals_sign"), help="Half of the iterations, around the cursor.", pane="loss"),
    Action(name="zoom-out", keys=("underscore",), help="Twice the iterations.", pane="loss"),
    Action(name="pan-back", keys=("less_than_sign",), help="Earlier iterations.", pane="loss"),
    Action(name="pan-on", keys=("greater_than_sign",), help="Later iterations.", pane="loss"),
    Action(name="whole", keys=("a",), help="All iterations.", pane="loss"),
)
_CHECK = (
    Action(name="check", keys=("r",), label="check", help="Check the nodes: quick, standard or deep, and for a job file if one is named.", takes="check", within=("check", "finding")),
    Action(name="finding", keys=("enter",), help="Read all about the selected cell; esc goes back to the matrix.", takes="cell", within=("check",)),
    Action(name="fix", keys=("f",), label="fix", help="Mend what the selected cell found, where that is safe. Shows the exact commands and asks for the name first.", access="write",
           takes="cell", within=("check", "finding")),
)
_JOB = (
    Action(name="plan", help="Read a job file: its problems at their lines, and what its launch would do on each node.", takes="job-file"),
    Action(name="run", keys=("R",), help="Launch the job file that was planned. Shows hosts and commands and asks for the job's name first.", access="write"),
)
_COLLEAGUES = (
    Action(name="ack", keys=("k",), label="ack", help="Say that you see to the selected alarm, and why; holds for a shift or until it begins anew.", takes="reason", within=("alarms",)),
    Action(name="mute", keys=("m",), label="mute", help="Say nothing more of the selected alarm for a while (8h if not told), and why.", takes="mute", within=("alarms",)),
    Action(name="unmute", keys=("u",), help="Tell of the selected alarm again.", takes="subject", within=("alarms",)),
    Action(name="note", keys=("i",), label="note", help="A word to everybody who watches this fleet, also to those who come later.", takes="text", within=("alarms",)),
)
_REST = (
    Action(name="reconnect", help="Try a node again now, whatever its back-off says.", takes="node", needs=True),
    Action(name="suspend", keys=("ctrl+z",), help="Back to the shell for a while; fg brings the console back."),
    Action(name="arm", help="Allow changes for a while, 10m if not told: 90s, 10m, 1h.", takes="duration"),
    Action(name="disarm", help="Back to read-only."),
    Action(name="stop", keys=("S",), label="stop", help="Stop the job. Asks for its name first.", access="write"),
)
GROUPS: tuple[tuple[str, tuple[Action, ...]], ...] = (
    ("Console", _GENERAL), ("Views", _VIEWS), ("Drill down", _DRILL), ("Time", _TIME), ("Nodes", _FLEET), ("Logs", _LOGS), ("Curves", _CURVES), ("Check", _CHECK), ("Launch", _JOB), ("Colleagues", _COLLEAGUES), ("Fleet", _REST))
ACTIONS: tuple[Action, ...] = tuple(action for _, group in GROUPS for action in group)
BY_NAME: Mapping[str, Action] = {action.name: action for action in ACTIONS}
BY_KEY: Mapping[str, Action] = {key: action for action in ACTIONS for key in action.keys if not action.within}
OWN_KEYS: Mapping[tuple[str, str], Action] = {(pane, key): action for action in ACTIONS for key in action.keys for pane in action.within}
"""(pane, key) -> what the key means while that pane is the current one."""

_KEY_NAMES = {"question_mark": "?", "colon": ":", "minus": "-", "escape": "esc", "left_square_bracket": "[", "right_square_bracket": "]",
              "left_curly_bracket": "{", "right_curly_bracket": "}", "slash": "/", "tilde": "~", "plus": "+", "equals_sign": "=", "underscore": "_",
              "less_than_sign": "<", "greater_than_sign": ">"}
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
    word = ARGUMENTS.get(action.takes, action.takes.upper())
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
            raise ValueError(f"{name}: " + (say("could be {names}", names=", ".join(near)) if near else say("no such command; ? lists all")))
        action = BY_NAME[near[0]]
    if argument and not action.takes:
        raise ValueError(say("{name} takes no argument", name=action.name))
    if action.needs and not argument:
        raise ValueError(say("usage: {usage}", usage=usage(action)))
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
        raise ValueError(say("{text}: expected a time such as 90s, 10m or 1h, at most {most:.0f}h", text=text, most=LONGEST_ARM_S / 3600))
    return value
