"""The command line as such: help, version, wrong usage, and that every command has something to run."""

from __future__ import annotations

import functools
import importlib

import pytest

from console import cli


def test_help_has_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    for command in ("open", "demo", "plan", "launch", "status", "stop", "ps", "layouts"):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("command", ["open", "demo", "plan", "launch", "status", "stop", "ps", "layouts"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith(f"usage: rankdeck {command}")


@pytest.mark.parametrize("argv", [["fly"], ["plan"], ["status"], ["stop", "x"], ["demo", "--iterations", "0"], ["stop", "x", "-i", "f", "--grace", "-1"],
                                  ["status", "-i", "f", "--timeout", "x"], ["plan", "job.yaml", "-i", "f", "--jso"]])
def test_wrong_usage_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2 and capsys.readouterr().out == ""


def test_no_command_shows_the_help_as_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "examples:" in said.err


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("rankdeck ")


def test_every_command_has_something_to_run() -> None:
    for name, parser in cli.commands_of(cli.build_parser()).items():
        run = parser.get_default("run")
        parts_of_it = cli.commands_of(parser).values() if run is None else [parser]
        for each in parts_of_it:
            run = each.get_default("run")
            if isinstance(run, functools.partial):    # loaded by name when it is run
                module, function = run.args
                run = getattr(importlib.import_module(f"console.cli.{module}"), function)
            assert callable(run), name
