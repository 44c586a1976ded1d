"""``rankdeck man``: the command line as a manual page, made from the same parser that reads it.

Written in man(7)'s macros. Only what a page needs of roff is escaped: backslash, a hyphen that is meant as one,
and a line that begins like a request.
"""

from __future__ import annotations

import argparse

from console.cli import EXAMPLES, HELP, build_parser, commands_of
from console.cli.desk import put

FILES = (
    ("~/.config/rankdeck/config.yaml", "the operator's own defaults (rankdeck config)"),
    ("~/.config/rankdeck/layouts/", "the operator's own screen layouts"),
    ("~/.config/rankdeck/known_hosts", "host keys accepted with --accept-new"),
    ("~/.local/state/rankdeck/", "the history: what every screen and replay is drawn from"),
    ("~/.rankdeck/agent/ on a node", "the agent, by content hash"),
    ("/var/tmp/rankdeck-UID/ on a node", "the agent's records, socket and locks"),
    ("WORK/.rankdeck/JOB/ATTEMPT/ on a node", "what was run and what came of it; never overwritten"),
)
STATUS = (("0", "fine"), ("1", "the thing asked about is not fine"), ("2", "wrong usage or unreadable input"), ("130", "interrupted"))


def man(_: argparse.Namespace) -> int:
    """Print the page."""
    put(page(build_parser()))
    return 0


def page(parser: argparse.ArgumentParser) -> str:
    """The manual page of the command line that ``parser`` reads, in roff."""
    lines = ['.TH RANKDECK 1 "" "Rankdeck" "User Commands"', ".SH NAME", "rankdeck \\- terminal console for LLM training on Ascend NPU nodes",
             ".SH SYNOPSIS", ".B rankdeck", r"\fICOMMAND\fR [\fIoptions\fR]", ".SH DESCRIPTION", *_verbatim(HELP), ".SH COMMANDS"]
    for name, command in commands_of(parser).items():
        lines += _command(f"rankdeck {name}", command)
    lines += [".SH EXIT STATUS"]
    for status, meaning in STATUS:
        lines += [".TP", f".B {status}", _text(meaning)]
    lines += [".SH FILES"]
    for path, meaning in FILES:
        lines += [".TP", f".I {_text(path)}", _text(meaning)]
    lines += [".SH ENVIRONMENT", ".TP", ".B XDG_CONFIG_HOME, XDG_STATE_HOME", "where settings and history are kept", ".TP",
              ".B NO_COLOR, TERM, LC_ALL, LC_MESSAGES, LANG", "colours, kind of terminal and language, as everywhere", ".SH EXAMPLES", *_verbatim(EXAMPLES)]
    return "\n".join(lines) + "\n"


def _command(name: str, command: argparse.ArgumentParser) -> list[str]:
    inner = next((action.choices for action in command._actions if isinstance(action, argparse._SubParsersAction)), None)
    if inner is not None:
        return [line for word, each in inner.items() for line in _command(f"{name} {word}", each)]
    places = [action for action in command._actions if not action.option_strings]
    usage = " ".join(_place(action) for action in places)
    lines = [".SS " + _text(f"{name} {usage}".strip()), _text(command.description or "")]
    for action in command._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        wanted = "" if action.nargs == 0 else f" \\fI{_text(_metavar(action))}\\fR"
        head = ", ".join(f"\\fB{_text(option)}\\fR{wanted}" for option in action.option_strings) or f"\\fI{_text(_metavar(action))}\\fR"
        lines += [".TP", head, _text((action.help or "").replace("%%", "%"))]
    return lines


def _place(action: argparse.Action) -> str:
    name = _metavar(action)
    return {"?": f"[{name}]", "+": f"{name}...", "*": f"[{name}...]"}.get(str(action.nargs), name)


def _metavar(action: argparse.Action) -> str:
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _verbatim(text: str) -> list[str]:
    return [".nf", *(_text(line) for line in text.splitlines()), ".fi"]


def _text(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text[:1] in (".", "'") else text
