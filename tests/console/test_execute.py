"""``rankdeck exec`` and ``attach`` from the command line to a real agent, over a real SSH server."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from console import cli
from console.remote import known_hosts
from tests.console.remote.sshd import Loop, Sshd


class Site:
    """One node, its sshd, and a fleet file for it."""

    def __init__(self, path: Path, loop: Loop, become: bool) -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        (path / "key").write_bytes(key.export_private_key("openssh"))
        (path / "key").chmod(0o600)
        # A sudo of our own, which says how it was called and leaves its mark.
        (path / "bin").mkdir()
        sudo = path / "bin" / "sudo"
        sudo.write_text('#!/bin/sh\n[ "$1 $2 $3" = "-n -H --" ] || exit 99\nshift 3\nSUDONE=1 exec "$@"\n')
        sudo.chmod(0o755)
        self.sshd = Sshd(loop, path / "node", [key], env={"PATH": f"{path / 'bin'}:{os.environ['PATH']}", "RANKDECK_IDLE_S": "5"})
        known_hosts.add(path / "known_hosts", "127.0.0.1", self.sshd.port, "ssh-ed25519", self.sshd.host_key.public_data)
        self.state = path / "state"
        self.fleet = path / "fleet.yaml"
        self.fleet.write_text(json.dumps({"name": "one", "known_hosts": str(path / "known_hosts"), "nodes": [{
            "name": "n1", "host": "127.0.0.1", "port": self.sshd.port, "user": "ops", "key": str(path / "key"), "python": sys.executable,
            "state_dir": str(self.state), "npus": 0, **({"become": "sudo"} if become else {})}]}))

    def run(self, *words: str) -> int:
        return cli.main([words[0], "-i", str(self.fleet), *words[1:]])

    def audit(self) -> list[dict[str, Any]]:
        import sqlite3

        with sqlite3.connect(f"file:{self.state}/spool.db?mode=ro", uri=True) as spool:
            return [json.loads(data) for (data,) in spool.execute("SELECT data FROM record WHERE kind = 'audit' ORDER BY seq")]

    def close(self) -> None:
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    words = (path / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"resident" in words and os.fsencode(self.state) in words:
                    os.kill(int(path.name), signal.SIGTERM)
        self.sshd.stop()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Site]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    loop = Loop()
    site = Site(tmp_path, loop, getattr(request, "param", False))
    yield site
    site.close()
    loop.close()


def test_exec_runs_words_as_they_are_and_says_how_they_ended(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    hostile = "$(touch x); `id` '\"\n日本"
    assert site.run("exec", "n1", "--yes-i-mean", "n1", "--", "sh", "-c", 'printf %s "$1"; echo oops >&2; exit 3', "sh", hostile) == 3
    out, err = capfdbinary.readouterr()
    assert out.decode() == hostile and b"oops" in err and b"on n1" in err
    assert not (site.sshd.home / "x").exists()
    (noted,) = [one for one in site.audit() if one["op"] == "note"]
    assert noted["args"]["what"] == "exec" and "touch x" in noted["args"]["text"] and noted["ok"] is True

    assert site.run("exec", "n1", "--json", "--yes-i-mean", "n1", "--", "echo", "hi") == 0
    assert json.loads(capfdbinary.readouterr()[0]) == {"ok": True, "node": "n1", "command": "echo hi", "status": 0, "stdout": "hi\n", "stderr": ""}

    assert site.run("exec", "n1", "--limit", "0.5", "--yes-i-mean", "n1", "--", "sleep", "100") == 1
    assert b"time limit" in capfdbinary.readouterr()[1]


def test_exec_asks_first(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("exec", "n1", "--", "touch", "done") == 2  # nobody at the terminal
    assert "--yes-i-mean n1" in capsys.readouterr().err
    assert site.run("exec", "n1", "--yes-i-mean", "n2", "--", "touch", "done") == 2
    assert site.run("exec", "n7", "--yes-i-mean", "n7", "--", "touch", "done") == 2
    assert "there is no node n7" in capsys.readouterr().err
    assert site.sshd.commands == []


@pytest.mark.parametrize("site", [True], indirect=True)
def test_become_runs_agent_and_commands_as_the_other_user(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert site.run("exec", "n1", "--yes-i-mean", "n1", "--", "sh", "-c", "echo as $SUDONE") == 0
    assert capfdbinary.readouterr()[0] == b"as 1\n"
    attached = [command for command in site.sshd.commands if " attach" in command]
    assert attached and all("sudo -n -H -- " in command for command in attached)


def test_attach_wants_a_job_that_is_there(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("attach", "--json", "nosuch") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False and "nosuch" in document["error"]["what"]


def test_stage_sends_and_the_node_keeps_who_did(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("print()\n")
    words = ("stage", "--json", "--to", "~/staged", "--code", str(code), "--before", f"touch {tmp_path}/fetched", "--after", f"touch {tmp_path}/told")
    assert site.run(*words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and [(one["node"], one["state"]) for one in document["staged"]] == [("n1", "sent")]
    assert (site.sshd.home / "staged" / "code" / "train.py").read_text() == "print()\n"
    assert (tmp_path / "fetched").exists() and (tmp_path / "told").exists()
    (noted,) = [one for one in site.audit() if one["op"] == "note"]
    assert noted["args"]["what"] == "stage" and document["parcels"][0]["sha256"] in noted["args"]["text"]
    assert site.run(*words[:4], "--before", "exit 3", "--code", str(code)) == 1
    assert "exit status 3" in capsys.readouterr().out
    for wrong in ([], ["--code", str(code), "--data", str(code)], ["--code", str(tmp_path / "nothing")]):
        assert site.run("stage", "--to", "~/staged", *wrong) == 2


def test_adopt_shows_somebody_elses_log_like_a_job_until_it_is_released(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "train.log"
    log.write_text(" [2026-11-22 05:10:01.000000] iteration        7/      60 | consumed samples: 56 | elapsed time per iteration (ms): 5.0 | "
                   "learning rate: 1.000000E-03 | global batch size:     8 | lm loss: 5.550000E+00 | loss scale: 1.0 | grad norm: 1.234 | "
                   "number of skipped iterations:   0 | number of nan iterations:   0 |\n")
    assert site.run("adopt", "--json", "theirs", "--node", "n1", "--log", str(log)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] and document["nodes"][0]["logs"] == [str(log)]
    assert site.run("ps", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)["attempts"]
    assert listed["job"] == "theirs" and listed["adopted"] and listed["state"] == "running"
    assert site.run("stop", "--json", "theirs", "--yes-i-mean", "theirs", "--grace", "0") == 1
    assert "only watched" in capsys.readouterr().out
    assert site.run("adopt", "theirs", "--node", "n1", "--release") == 0
    assert "released" in capsys.readouterr().out
    assert site.run("attach", "--json", "theirs") == 1  # it has ended for us, and not at its last iteration
    assert json.loads(capsys.readouterr().out)["result"]["iteration"] == 7
    assert site.run("adopt", "x", "--node", "n9", "--log", "/x") == 2 and site.run("adopt", "x") == 2
