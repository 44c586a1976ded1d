"""Alarms answered, notes, and who is there: from the command line to a real agent, over a real SSH server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console import files
from console.core.intents import TellArmed
from console.desk import Desk
from tests.console.remote.sshd import Loop
from tests.console.test_execute import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "ann"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loop = Loop()
    made = Site(tmp_path, loop, become=False)
    yield made
    made.close()
    loop.close()


def told(site: Site, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    site.run(*words, "--json")
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_note_reaches_who_comes_later(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("note", "cable of n1 is being changed", "--operator", "ann") == 0
    # Another person on another bastion: nothing of the first one's history.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "bob"))
    said = told(site, capsys, "note")["remarks"]
    assert [(one["what"], one["operator"], one["text"]) for one in said] == [("note", "ann", "cable of n1 is being changed")]


def test_who_is_attached_and_armed_is_seen_by_the_others(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Desk(files.read_fleet(str(site.fleet)), operator="bob", store_path=tmp_path / "bob.db")
    other.name = "elsewhere:1"
    try:
        other.supervisor.start()
        assert other.settle(100.0) == {}
        other.submit(TellArmed(left_s=600))
        for _ in range(60):
            found = told(site, capsys, "who")["consoles"]  # a connection each time, which is the wait
            if found and found[0]["armed_until"]:
                break
        assert [(one["operator"], one["nodes"]) for one in found if one["armed_until"]] == [("bob", ["n1"])]
    finally:
        other.close()


def test_an_alarm_is_acknowledged_muted_and_unmuted(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    key = "node/gone/link"
    text = json.loads(site.fleet.read_text())
    text["nodes"].append({**text["nodes"][0], "name": "gone", "port": 1})
    site.fleet.write_text(json.dumps(text))
    assert site.run("alarms", "--timeout", "60") == 1
    assert key in capsys.readouterr().out
    assert site.run("alarms", "--ack", key, "--timeout", "60") == 2, "a reason is wanted"
    assert site.run("alarms", "--mute", "node/gone/*", "--for", "1h", "--why", "being repaired", "--timeout", "60") == 0
    found = told(site, capsys, "alarms", "--timeout", "60")
    assert found["ok"] and [(one["key"], one["answered"]["text"]) for one in found["alarms"]] == [(key, "being repaired")]
    assert site.run("alarms", "--unmute", "node/gone/*", "--timeout", "60") == 1


@pytest.mark.parametrize("words", [("--ack", "a", "--mute", "b", "--why", "x"), ("--mute", "a", "--why", "x", "--for", "soon")])
def test_what_cannot_be_meant_is_refused(site: Site, words: tuple[str, ...]) -> None:
    assert site.run("alarms", *words) == 2
