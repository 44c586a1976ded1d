"""Shell completion, by argcomplete: the script for a shell, and the answers when that shell asks.

What a file must be opened for (jobs, nodes, layouts) is looked up only when it is being typed; anything that
goes wrong there completes to nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from console.cli.desk import put, speak
from console.core.errors import FileError


def script(args: argparse.Namespace) -> int:
    """Print what the shell has to read at its start. Raises FileError where argcomplete is missing."""
    speak(args)
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise FileError("shell completion needs the package argcomplete", expected="argcomplete", fix="pip install argcomplete")
    put(shellcode(["rankdeck"], shell=args.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and leave; returns only when it did not really ask."""
    import argcomplete

    from console.cli import commands_of

    for name, command in commands_of(parser).items():
        for action in command._actions:
            completer = _completer(name, action)
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined]  # how argcomplete is told
    argcomplete.autocomplete(parser, always_complete_options=False)


def _completer(command: str, action: argparse.Action) -> Callable[..., Iterable[str]] | None:
    if action.dest == "layout":
        return _quietly(_layouts)
    if action.dest == "node":
        return _quietly(_nodes)
    if action.metavar in ("JOBNAME", "RUN"):
        return _quietly(_jobs)
    if command == "config" and action.dest == "key":
        return _quietly(_keys)
    return None


def _quietly(names: Callable[[argparse.Namespace], Iterable[str]]) -> Callable[..., Iterable[str]]:
    def ask(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        try:
            return [name for name in names(parsed_args) if name.startswith(prefix)]
        except Exception:  # noqa: BLE001 - a word that cannot be completed is no reason to write over somebody's prompt
            return []

    return ask


def _layouts(_: argparse.Namespace) -> Iterable[str]:
    from console import files

    return files.layouts()


def _nodes(args: argparse.Namespace) -> Iterable[str]:
    from console import files

    return [node.name for node in files.read_fleet(getattr(args, "inventory", None) or files.fleet_path_set()).nodes]


def _jobs(_: argparse.Namespace) -> Iterable[str]:
    from console.store import default_path, jobs_of

    return jobs_of(default_path())


def _keys(_: argparse.Namespace) -> Iterable[str]:
    from console.core.settings import BY_KEY

    return BY_KEY
