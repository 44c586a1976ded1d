"""Every key of the screen and what is seen of it in a real terminal: the table that ``test_keys`` plays.

One script a group, from the console's first picture on; a step is a key or a text typed, and what must come of it.
``Press`` covers the binding that it names; a binding that no step covers fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from console.tui.actions import ACTIONS, BY_KEY, Action, key_text

BODY = r"(?s)\n(.*)\n"
"""All but the top and bottom lines, for ``changes``."""
PANE = r"(?s)(┏━.*?┗)"
"""The pane that has the keys, and what is between its corners."""
WHEN = r"‖ (\S+)Z"
"""The moment that is shown."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What must come to be: ``shows`` and not ``gone`` (expressions on the screen's text), what ``changes`` matches becomes
    another (styles count), ``told`` is among what was submitted, or the shell has its terminal back."""

    shows: str = ""
    gone: str = ""
    changes: str = ""
    told: str = ""
    prompt: bool = False


@dataclass(frozen=True)
class Press:
    """A key, in Textual's spelling, and what it is for where it has a meaning of its own (an action's name)."""

    key: str
    seen: Seen
    action: str = ""

    @property
    def covers(self) -> tuple[str, str]:
        """(action, key)."""
        return (self.action or (BY_KEY[self.key].name if self.key in BY_KEY else ""), self.key)


@dataclass(frozen=True)
class Type:
    """Text, or with ``key`` a key of the terminal that is no binding here (an arrow, esc in a dialog)."""

    text: str
    seen: Seen
    key: bool = False


def _see(words: str) -> Seen:
    return Seen(shows=words)


SCRIPTS: Mapping[str, tuple[Press | Type, ...]] = {
    "console": (
        Press("tab", _see("┏━ Job")), Press("shift+tab", _see("┏━ Log")), Press("z", Seen(gone="Job ─")), Press("escape", _see("Job ─")),
        Press("question_mark", _see("Keys and commands")), Type("Escape", Seen(gone="Keys and commands"), key=True),
        Press("colon", _see(r"(?m)^:")), Type("Escape", Seen(gone=r"(?m)^:"), key=True),
        Press("ctrl+p", _see("type to find")), Type("Escape", Seen(gone="type to find"), key=True),
        Press("ctrl+z", Seen(prompt=True)), Type("fg\n", _see("read-only")), Press("q", Seen(prompt=True))),
    "leave": (Press("ctrl+q", Seen(prompt=True)),),
    "interrupt": (Press("ctrl+c", Seen(prompt=True)),),
    "views": (
        Press("1", _see("1 Fleet")), Press("2", _see("2 Launch")), Press("3", _see("3 Training")), Press("4", _see("4 Checkpoints")), Press("5", _see("5 Logs")),
        Press("6", _see("6 Incident")), Press("7", _see("7 Check")), Press("8", _see("8 Alarms")), Press("0", _see("Fleet and training")), Press("minus", _see("8 Alarms"))),
    "drill": (
        Press("1", _see("1 Fleet")), Type("Down", Seen(), key=True), Press("enter", _see(r"┏━ atlas-0\d")), Press("1", _see("1 Fleet")), Press("d", _see(r"┏━ atlas-0\d")),
        Press("x", _see(r"\(tree\)")), Press("y", _see(r"copied \d+ lines")), Press("ctrl+s", _see("screen written to")),
        Type(":arm\n", _see("ARMED")), Press("s", _see(r"shell on atlas-0\d ended"))),
    "time": (
        Type("", _see("119/120")),
        Press("left_square_bracket", _see(WHEN)), Press("left_square_bracket", Seen(changes=WHEN)), Press("right_square_bracket", Seen(changes=WHEN)),
        Press("left_curly_bracket", _see(r"‖ \S+Z [45]m\d+s ago")), Press("right_curly_bracket", Seen(gone=r"‖ \S+Z [45]m\d+s ago", shows=WHEN)), Press("space", _see("▶1×"))),
    "nodes": (
        Press("1", _see("1 Fleet")), Press("slash", _see(r"(?m)^/")), Type("atlas-03\n", _see("Nodes  1/4")), Press("escape", Seen(gone="Nodes  1/4")),
        Press("o", _see("nodes by")), Press("g", _see("rack=r1")), Press("v", _see("HBM, %"))),
    "logs": (
        Press("5", _see("5 Logs")), Type("", _see("119/ *120")), Press("l", _see("rank 0 · atlas-01")), Press("L", _see("rank 15 · atlas-02")), Press("M", _see("ranks merged")),
        Press("M", Seen(gone="ranks merged")), Press("p", _see("attempt −1")), Press("p", Seen(gone="attempt −1")), Press("f", _see("held,")),
        Press("w", Seen(changes=PANE)), Press("w", Seen(changes=PANE)), Press("t", Seen(changes=PANE)),
        Press("ctrl+f", _see(r"(?m)^find:")), Type("successfully saved\n", Seen(changes=PANE)), Press("n", Seen(changes=PANE)), Press("N", Seen(changes=PANE)),
        Press("e", Seen(changes=PANE)), Press("E", Seen(changes=PANE)),
        Press("m", _see("1 marked")), Type("NPage", Seen(changes=PANE), key=True), Type("NPage", Seen(changes=PANE), key=True), Press("U", Seen(changes=PANE)),
        Type("PPage", Seen(changes=PANE), key=True), Press("u", Seen(changes=PANE))),
    "curves": (
        Press("3", _see("3 Training")), Type("", _see("119/120")), Press("Y", _see("log y")), Press("tilde", _see("smooth")), Press("b", _see(r"Loss .* A 2026")), Press("b", Seen(gone=r"Loss .* A 2026")), Press("c", _see("┏━ Gradient norm")),
        Press("plus", Seen(changes=PANE)), Press("equals_sign", Seen(changes=PANE)), Press("less_than_sign", Seen(changes=PANE)),
        Press("greater_than_sign", Seen(changes=PANE)), Press("underscore", Seen(changes=PANE)), Press("a", Seen(changes=PANE))),
    "check": (
        Press("7", _see("not checked yet")), Press("r", _see("✗ not fit  3 of 4 nodes answered"), action="check"), Press("enter", _see("┏━ node-reachable"), action="finding"),
        Press("escape", Seen(gone="checked 4 nodes")), Press("escape", _see("┏━ Check")), Type(":arm\n", _see("ARMED")),
        Type(":finding ip-forward atlas-02\n", _see("ip-forward  atlas-02")), Press("f", _see("Mend ip-forward on 1 nodes"), action="fix"),
        Type("lab\n", Seen(gone="Mend ip-forward", told=r"Mend\(remedies=\(Mending\(node='atlas-02'"))),
    "launch": (
        Type(":plan job.yaml\n", _see("ready to launch tiny-gpt")), Type(":arm\n", _see("ARMED")), Press("R", _see("Launch tiny-gpt")),
        Type("tiny-gpt\n", Seen(gone="Launch tiny-gpt", told=r"LaunchJob\(path='job.yaml'")), Press("S", _see("type the job's name")),
        Type("Escape", Seen(gone="type the job's name"), key=True)),
    "alarms": (
        Press("8", _see("8 Alarms")), Type("Down", Seen(changes=PANE), key=True), Press("k", _see("(?m)^ack"), action="ack"), Type("Escape", Seen(gone="(?m)^ack"), key=True),
        Press("m", _see("(?m)^mute"), action="mute"), Type("Escape", Seen(gone="(?m)^mute"), key=True), Press("u", Seen(told="SayRemark.*unmute"), action="unmute"),
        Press("i", _see("(?m)^note"), action="note"), Type("Escape", Seen(gone="(?m)^note"), key=True)),
}


def bindings() -> dict[tuple[str, str], Action]:
    """(action, key) -> the action, of everything that is bound."""
    return {(action.name, key): action for action in ACTIONS for key in action.keys}


def covered() -> dict[tuple[str, str], str]:
    """(action, key) -> the script that presses it first."""
    found: dict[tuple[str, str], str] = {}
    for name, steps in SCRIPTS.items():
        for step in steps:
            if isinstance(step, Press):
                found.setdefault(step.covers, name)
    return found


def page() -> str:
    """docs/guide/keys.md."""
    lines = ["# All keys", "", "Made from the table of actions; the last column is the script of `tests/tmux/keys.py` that presses the key in a real terminal.", "",
             "| key | where | command | what it does | pressed by |", "|---|---|---|---|---|"]
    where = covered()
    for (name, key), action in bindings().items():
        text = {"|": "\\|"}.get(key_text(key), key_text(key))
        does = action.help + (" Armed only." if action.access == "write" else "")
        lines.append(f"| `{text}` | {', '.join(action.within) or action.pane or 'everywhere'} | `:{name}` | {does} | {where.get((name, key), '-')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
