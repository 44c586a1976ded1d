"""The operator's own defaults: what ``$XDG_CONFIG_HOME/rankdeck/config.yaml`` may say. Pure.

A setting stands in for an option that was not given; the command line always wins. Adding one is a row in
``SETTINGS``. ``with_setting`` changes one value in the file's text and leaves the rest, comments too, as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

from console.core.errors import FileError
from console.core.launch.document import Value, parse
from console.core.launch.problems import Problem, ProblemsError

Kind: TypeAlias = Literal["text", "choice", "number", "switch", "duration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """``key``: dotted; ``default``: what holds where nothing says otherwise."""

    key: str
    kind: Kind
    help: str
    default: Any
    choices: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 0.0


SETTINGS: tuple[Setting, ...] = (
    Setting(key="inventory", kind="text", default="", help="fleet file, for commands without -i (a job file's own goes first)"),
    Setting(key="operator", kind="text", default="", help="who you are, for the nodes' audit trail (empty: your login)"),
    Setting(key="layout", kind="text", default="default", help="one of `rankdeck layouts`"),
    Setting(key="view", kind="choice", default="", choices=("", "fleet", "launch", "training", "checkpoints", "logs", "incident", "checks"), help="a view to begin with"),
    Setting(key="theme", kind="choice", default="", choices=("", "ansi", "dark", "light", "high-contrast", "colour-blind"), help="colours; NO_COLOR outranks it"),
    Setting(key="lang", kind="choice", default="", choices=("", "en", "zh"), help="en or zh (empty: by the locale)"),
    Setting(key="fps", kind="number", default=10.0, least=0.2, most=60.0, help="most frames a second"),
    Setting(key="read_only", kind="switch", default=False, help="a console that cannot be armed"),
    Setting(key="notify.bell", kind="switch", default=True, help="ring the terminal's bell on a new alarm"),
    Setting(key="notify.desktop", kind="switch", default=False, help="send the terminal a desktop notification (OSC 9), for terminals that show them"),
    Setting(key="notify.command", kind="text", default="", help="shell command run on a new alarm, with the alarm as JSON on its standard input"),
    Setting(key="notify.severity", kind="choice", default="critical", choices=("critical", "warning", "notice"), help="the least that is told"),
)
BY_KEY: Mapping[str, Setting] = {setting.key: setting for setting in SETTINGS}


def read(text: str, name: str) -> dict[str, Any]:
    """Setting key -> value of those that the text gives; ``name`` is the file's, for positions. Raises FileError,
    ProblemsError with everything that is wrong."""
    value, problems = parse(text, name)
    found: dict[str, Any] = {}
    if not isinstance(value.data, dict):
        raise FileError("the settings are a block of keys", where=value.where, got=repr(value.data), expected="theme: dark")
    for key, entry in _flat(value):
        setting = BY_KEY.get(key)
        if setting is None:
            near = get_close_matches(key, BY_KEY, n=1)
            problems.append(_problem(entry.key_where, f"there is no setting {key!r}", fix=f"Did you mean {near[0]}?" if near else "List them with `rankdeck config`"))
            continue
        try:
            found[key] = checked(setting, entry.plain())
        except ValueError as error:
            problems.append(_problem(entry.where, f"{key} cannot be that", got=repr(entry.plain()), expected=str(error)))
    if problems:
        raise ProblemsError(problems)
    return found


def checked(setting: Setting, value: Any) -> Any:
    """The value in the setting's type. Raises ValueError, its text what was expected."""
    if setting.kind == "switch":
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if setting.kind == "number":
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not setting.least <= value <= setting.most:
            raise ValueError(f"a number from {setting.least:g} to {setting.most:g}")
        return float(value)
    value = "" if value is None else value
    if not isinstance(value, str) or any(not mark.isprintable() for mark in value):
        raise ValueError("one line of text")
    if setting.choices and value not in setting.choices:
        raise ValueError("one of " + ", ".join(filter(None, setting.choices)))
    return value


def from_word(setting: Setting, word: str) -> Any:
    """A value typed on the command line. Raises ValueError, its text what was expected."""
    if setting.kind == "switch":
        return checked(setting, {"true": True, "false": False}.get(word.lower(), word))
    if setting.kind == "number":
        try:
            return checked(setting, float(word))
        except ValueError:
            return checked(setting, word)
    return checked(setting, word)


def with_setting(text: str, name: str, key: str, value: Any) -> str:
    """The file's text with one setting changed, or taken out (``value`` None). Raises FileError where the text is
    written in a way that cannot be changed line by line (on one line in braces, say)."""
    parsed, _ = parse(text, name)
    lines, parts = text.splitlines(), key.split(".")
    entry, block = parsed.at(parts), parsed.at(parts[:-1])
    written = None if value is None else _written(value)
    if entry is not None:
        at = _line(entry.key_where)
        head = re.match(r"\s*[\w.-]+\s*:", lines[at])
        if head is not None and written is None:
            del lines[at]
        elif head is not None:
            comment = re.search(r"\s+#.*$", lines[at][head.end():])
            lines[at] = f"{head.group()} {written}{comment.group() if comment and _plain_comment(lines[at][head.end():]) else ''}"
    elif written is None:
        return text
    elif len(parts) == 1:
        lines.append(f"{key}: {written}")
    elif block is None:
        lines += [f"{parts[0]}:", f"  {parts[1]}: {written}"]
    elif isinstance(block.data, dict) and block.data:
        first = next(iter(block.data.values()))
        at, column = (int(part) for part in first.key_where.rsplit(":", 2)[1:])
        lines.insert(at - 1, f"{' ' * (column - 1)}{parts[1]}: {written}")
    else:
        at = _line(block.key_where)
        lines[at:at + 1] = [f"{parts[0]}:", f"  {parts[1]}: {written}"]
    changed = "\n".join(lines) + "\n" if lines else ""
    if not _is_that(text, changed, name, key, value):
        raise FileError("this file is written in a way that one value cannot be changed by itself", where=entry.where if entry else name,
                        expected="a setting a line", fix=f"Change {key} by hand: rankdeck config edit")
    return changed


def _is_that(before: str, after: str, name: str, key: str, value: Any) -> bool:
    """Whether the change is what was meant and nothing else."""
    try:
        was, became = (parse(text, name)[0] for text in (before, after))
    except FileError:
        return False
    if not isinstance(became.data, dict):
        return False
    old, new = ({one: entry.plain() for one, entry in _flat(value)} for value in (was, became))
    old.pop(key, None)
    return new == (old if value is None else {**old, key: value})


def _flat(value: Value) -> list[tuple[str, Value]]:
    """Dotted key -> value, where a block stands under a prefix of a setting's key."""
    found: list[tuple[str, Value]] = []
    for key, entry in (value.data if isinstance(value.data, dict) else {}).items():
        if any(known.startswith(f"{key}.") for known in BY_KEY) and (isinstance(entry.data, dict) or entry.data is None):
            found += [(f"{key}.{name}", inner) for name, inner in (entry.data or {}).items()]
        else:
            found.append((key, entry))
    return found


def _line(where: str) -> int:
    return int(where.rsplit(":", 2)[1]) - 1


def _plain_comment(rest: str) -> bool:
    """Whether what follows a # in the rest of a line can only be a comment."""
    return not any(mark in rest.split("#", 1)[0] for mark in "'\"")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return "'" + text.replace("'", "''") + "'" if not re.fullmatch(r"[A-Za-z/~][\w./~-]*", text) or text.lower() in ("true", "false", "null") else text


def _problem(where: str, message: str, *, got: str = "", expected: str = "", fix: str = "") -> Problem:
    return Problem(rule="J1", severity="error", where=where, message=message, got=got, expected=expected, fix=fix)
