"""``rankdeck config``: the operator's own defaults, looked at and changed."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
from difflib import get_close_matches

from console import files
from console.cli import commands_of
from console.cli.desk import put, put_json, say, speak
from console.core import i18n
from console.core.errors import FileError
from console.core.launch.report import table
from console.core.settings import BY_KEY, SETTINGS, Setting, from_word


def config(args: argparse.Namespace) -> int:
    """Do what ``args.what`` says. Raises FileError."""
    speak(args)
    if args.what in ("set", "unset"):
        setting = _setting(args.key)
        if args.what == "set":
            files.write_setting(setting.key, _typed(setting, args.value))
        else:
            files.write_setting(setting.key, None)
    elif args.what == "edit":
        return _edit()
    if args.what == "path":
        put_json({"ok": True, "path": str(files.settings_path())}) if args.json else put(str(files.settings_path()))
        return 0
    given = files.read_settings()
    shown = [setting for setting in SETTINGS if not args.key or setting.key == _setting(args.key).key]
    if args.json:
        put_json({"ok": True, "path": str(files.settings_path()), "settings": [
            {"key": setting.key, "value": given.get(setting.key, setting.default), "set": setting.key in given, "help": setting.help} for setting in shown]})
    else:
        absent = "" if files.settings_path().exists() else "  " + i18n.say("(not there yet)")
        put(f"{files.settings_path()}{absent}\n")
        rows = [("", i18n.say("KEY"), i18n.say("VALUE"), "")]
        rows += [("*" if setting.key in given else " ", setting.key, _word(given.get(setting.key, setting.default)), i18n.say(setting.help)) for setting in shown]
        put("\n".join(table(rows)) + "\n\n" + i18n.say("* set there; the others are what holds without. The command line always wins."))
    return 0


def adopt(parser: argparse.ArgumentParser) -> None:
    """Let what is set stand in for options that are not given. Raises FileError, ProblemsError."""
    given = files.read_settings()
    fleet = files.fleet_path_set()
    for command in commands_of(parser).values():
        known = {action.dest: action for action in command._actions}
        command.set_defaults(settings=given, **{key: value for key, value in given.items() if key in known and key != "inventory"})
        # Commands about a job ask the job file first (files.fleet_path_of).
        if fleet and "inventory" in known and known["inventory"].required:
            known["inventory"].required = False
            command.set_defaults(inventory=fleet)


def _setting(key: str) -> Setting:
    if key in BY_KEY:
        return BY_KEY[key]
    near = get_close_matches(key, BY_KEY, n=1)
    raise FileError("there is no such setting", where="KEY", got=repr(key), expected=", ".join(BY_KEY), fix=f"Did you mean {near[0]}?" if near else "")


def _typed(setting: Setting, word: str | None) -> object:
    if word is None:
        raise FileError("no value was given", where=setting.key, fix=f"rankdeck config set {setting.key} VALUE, or rankdeck config unset {setting.key}")
    if setting.key == "inventory" and word:
        # It is read from anywhere later, so it is kept as seen from here.
        word = os.path.abspath(os.path.expanduser(word))
    try:
        return from_word(setting, word)
    except ValueError as error:
        raise FileError("the setting cannot be that", where=setting.key, got=repr(word), expected=str(error))


def _edit() -> int:
    path = files.settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        files.write_new(str(path), "".join(f"# {setting.key}: {i18n.say(setting.help)}\n" for setting in SETTINGS))
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        status = subprocess.call([*shlex.split(editor), str(path)])
    except (OSError, ValueError) as error:
        raise FileError("the editor cannot be started", where="EDITOR", got=editor, expected="a program", fix=str(error))
    files.read_settings()
    if status:
        say("rankdeck: " + i18n.say("the editor ended with {status}", status=status))
    return 1 if status else 0


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "-" if value == "" else f"{value:g}" if isinstance(value, float) else str(value)
