"""What every tool has: settings, completion, a manual page, metrics. Against nodes that live in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from console import cli, files
from console.cli import manual
from console.cli.export import listening
from console.core.errors import FileError
from console.lab.ports import free_port
from tests.console.core.launch.jobs import ATTEMPT
from tests.console.nodes_in_process import Node, run, running


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The operator's settings file, not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    yield tmp_path / "xdg" / "rankdeck" / "config.yaml"


# --- settings ---------------------------------------------------------------------------------------


def test_a_setting_is_set_shown_and_taken_out(own_settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "set", "theme", "dark") == 0
    assert run("config", "set", "notify.severity", "warning") == 0
    assert own_settings.read_text() == "theme: dark\nnotify:\n  severity: warning\n"
    capsys.readouterr()
    assert run("config", "--json") == 0
    shown = {each["key"]: each for each in json.loads(capsys.readouterr().out)["settings"]}
    assert shown["theme"]["value"] == "dark" and shown["theme"]["set"] and not shown["fps"]["set"] and shown["fps"]["value"] == 10.0
    assert run("config", "unset", "theme") == 0 and "theme" not in own_settings.read_text()


@pytest.mark.parametrize(("argv", "told"), [
    (("set", "theem", "dark"), "Did you mean theme?"), (("set", "theme", "drak"), "one of ansi"), (("set", "theme"), "no value"), (("set",), "no such setting")])
def test_a_setting_that_is_none_is_refused(own_settings: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], told: str) -> None:
    assert run("config", *argv) == 2
    assert told in capsys.readouterr().err and not own_settings.exists()


def test_settings_stand_in_for_options_and_the_command_line_wins(own_settings: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("nodes: [n0]\n")
    run("config", "set", "inventory", str(tmp_path / "mine.yaml"))
    run("config", "set", "layout", "wall")
    parser = cli.build_parser()
    from console.cli import config

    config.adopt(parser)
    args = parser.parse_args(["open"])
    assert (args.inventory, args.layout) == (str(tmp_path / "mine.yaml"), "wall") and args.settings == {"inventory": args.inventory, "layout": "wall"}
    assert parser.parse_args(["open", "-i", "other.yaml", "--layout", "logs"]).layout == "logs"
    assert parser.parse_args(["launch", "job.yaml"]).inventory is None, "a job file's own fleet goes first"


def test_the_fleet_of_the_settings_is_used_where_nothing_else_names_one(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "set", "inventory", "fleet.yaml") == 0
    capsys.readouterr()
    assert run("status", "--json", "--timeout", "60") == 0
    assert json.loads(capsys.readouterr().out)["fleet"] == "lab"
    assert run("plan", "job.yaml", "--json") == 0
    assert [node["node"] for node in json.loads(capsys.readouterr().out)["nodes"]] == ["n0", "n1"]
    assert run("check", "--level", "quick", "--json") in (0, 1)
    assert "lab" in capsys.readouterr().out


def test_settings_that_are_wrong_are_told_and_help_still_comes(own_settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_settings.parent.mkdir(parents=True)
    own_settings.write_text("theme: drak\n")
    assert run("layouts") == 2
    assert f"{own_settings}:1:8" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        run("--help")
    assert ended.value.code == 0


def test_a_file_that_cannot_be_written_is_told(own_settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own_settings.parent.parent.write_text("a file where the folder should be")
    assert run("config", "set", "theme", "dark") == 2
    assert "cannot write the settings" in capsys.readouterr().err


def test_a_link_to_settings_kept_elsewhere_stays_one(own_settings: Path, tmp_path: Path) -> None:
    own_settings.parent.mkdir(parents=True)
    (tmp_path / "dotfiles.yaml").write_text("# mine\n")
    own_settings.symlink_to(tmp_path / "dotfiles.yaml")
    assert run("config", "set", "fps", "5") == 0
    assert own_settings.is_symlink() and (tmp_path / "dotfiles.yaml").read_text() == "# mine\nfps: 5\n"
    assert files.read_settings() == {"fps": 5.0}


def test_the_editor_is_the_operators(own_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    editor = tmp_path / "an editor.sh"
    editor.write_text("#!/bin/sh\necho 'theme: light' >> \"$2\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", f"'{editor}' --wait")
    assert run("config", "edit") == 0
    assert files.read_settings() == {"theme": "light"} and "# notify.command" in own_settings.read_text()


# --- completion -------------------------------------------------------------------------------------


def completions(line: str, tmp_path: Path) -> list[str]:
    """What the shell would offer at the end of the line, asked as argcomplete's scripts ask."""
    out = tmp_path / "completions"
    environ = {**os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash", "COMP_LINE": line, "COMP_POINT": str(len(line)),
               "_ARGCOMPLETE_STDOUT_FILENAME": str(out), "XDG_STATE_HOME": str(tmp_path)}
    # argcomplete's answer goes to a file; to the terminal it must say nothing at all.
    subprocess.run([sys.executable, "-m", "console"], env=environ, timeout=60, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [word.strip() for word in out.read_text().splitlines()] if out.exists() else []


def test_commands_options_and_names_are_completed(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text("nodes: [atlas-01, atlas-02, other]\n")
    assert set(completions("rankdeck st", tmp_path)) == {"status", "stop", "stage"}
    assert completions("rankdeck open --them", tmp_path) == ["--theme"]
    assert set(completions(f"rankdeck exec -i {tmp_path}/fleet.yaml at", tmp_path)) == {"atlas-01", "atlas-02"}
    assert "wall" in completions("rankdeck open --layout w", tmp_path)
    assert completions("rankdeck config set notify.b", tmp_path) == ["notify.bell"]
    assert completions("rankdeck exec -i /nowhere/fleet.yaml at", tmp_path) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_can_read(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", shell) == 0
    script = capsys.readouterr().out
    assert "rankdeck" in script
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=script, text=True, timeout=30, check=False, capture_output=True).stderr == ""


# --- manual -----------------------------------------------------------------------------------------


def test_the_manual_has_every_command_and_option() -> None:
    parser = cli.build_parser()
    page = manual.page(parser).replace("\\-", "-")
    for name, command in cli.commands_of(parser).items():
        assert f"rankdeck {name}" in page
        assert all(option in page for action in command._actions for option in action.option_strings if action.dest != "help")
    assert not any(line.startswith("'") for line in page.splitlines())


def test_the_manual_is_clean_roff(capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    assert run("man") == 0
    made = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-K", "utf8"], input=capsys.readouterr().out, text=True, capture_output=True, timeout=60, check=True)
    assert made.stderr == "" and "EXIT STATUS" in re.sub(".\b", "", made.stdout)


# --- metrics ----------------------------------------------------------------------------------------


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of the labels' names) -> value."""
    return {(sample.name, *(sample.labels[name] for name in sorted(sample.labels) if name != "fleet")): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def test_metrics_say_what_is_known_and_nothing_else(nodes: dict[str, Node], capsys: pytest.CaptureFixture[str]) -> None:
    running(nodes, "n0", "n1")
    nodes["n2"].down = "no route"
    assert run("export", "-i", "fleet.yaml", "--timeout", "60") == 1
    captured = capsys.readouterr()
    found = samples(captured.out)
    assert found["rankdeck_node_up", "n0"] == 1 and found["rankdeck_node_up", "n2"] == 0 and "n2 is not up" in captured.err
    assert found["rankdeck_npu_aicore_ratio", "n0", "0"] == 0.4
    assert ("rankdeck_npu_aicore_ratio", "n0", "1") not in found, "a value that is not known is not zero"
    assert found["rankdeck_npu_hbm_ratio", "n0", "1"] == 0.2 and found["rankdeck_npu_health", "OK", "n0", "0"] == 1
    assert ("rankdeck_npu_health", "OK", "n2", "0") not in found
    assert found["rankdeck_alarms", "critical"] == 1
    assert [key[1:] for key in found if key[0] == "rankdeck_job_status"] == [(ATTEMPT, "tiny", "running")]


def test_a_file_is_written_whole_and_anew(nodes: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def pause(seconds: float) -> None:
        seen.append((tmp_path / "out.prom").read_text())
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("console.cli.export.time.sleep", pause)
    assert run("export", "-i", "fleet.yaml", "-o", str(tmp_path / "out.prom"), "--timeout", "60") == 130
    assert all(samples(text)["rankdeck_node_up", "n0"] == 1 for text in seen) and sorted(path.name for path in tmp_path.glob("*prom*")) == ["out.prom"]


def test_a_scraper_is_served(nodes: dict[str, Node], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port("127.0.0.1")
    got: list[str] = []

    def pause(seconds: float) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            got.append(answer.read().decode("utf-8"))
        raise KeyboardInterrupt

    monkeypatch.setattr("console.cli.export.time.sleep", pause)
    assert threading.active_count() and run("export", "-i", "fleet.yaml", "--listen", str(port), "--timeout", "60") == 130
    assert samples(got[0])["rankdeck_node_up", "n1"] == 1 and f"http://127.0.0.1:{port}/metrics" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "found"), [("9400", ("127.0.0.1", 9400)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:9400", ("::1", 9400))])
def test_where_to_listen(text: str, found: tuple[str, int]) -> None:
    assert listening(text) == found


@pytest.mark.parametrize("text", ["", "x", "localhost", "1.2.3.4:0", ":99999"])
def test_where_nobody_can_listen(text: str) -> None:
    with pytest.raises(FileError, match="no port"):
        listening(text)
