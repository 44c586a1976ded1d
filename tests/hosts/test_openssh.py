"""The system's ssh as transport: through a real bastion to real servers, and nothing left of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts.console_process import ROOT
from tests.hosts.rig.rig import Rig

pytestmark = pytest.mark.ssh


def run(rig: Rig, folder: Path, python: str, known_hosts: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    """The command line in the client's namespace, with every node under `transport: openssh`."""
    fleet = rig.fleet_mapping(python)
    fleet["defaults"] = {**fleet["defaults"], "transport": "openssh"}  # type: ignore[dict-item]
    fleet["known_hosts"] = str(known_hosts)
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    (folder / "run").mkdir(exist_ok=True)
    environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "xdg"),
               "TMPDIR": str(folder / "run")}
    done = subprocess.run([*rig.network.enter("client"), sys.executable, "-m", "console", words[0], "-i", str(folder / "fleet.yaml"), "--json", *words[1:]],
                          cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def masters(rig: Rig) -> list[str]:
    """Processes of ssh in the client's namespace."""
    found = []
    for pid in subprocess.run(["ip", "netns", "pids", rig.network.namespace("client")], capture_output=True, text=True, check=True).stdout.split():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"ssh"):
            found.append(pid)
    return found


def test_commands_and_agents_go_through_the_bastion(rig: Rig, tmp_path: Path, node_python: str) -> None:
    known = rig.known_hosts("openssh-known")
    status, document, err = run(rig, tmp_path, node_python, known, "exec", "n2", "--yes-i-mean", "n2", "--", "sh", "-c", "echo $RIG_NODE; exit 4")
    assert (status, document["status"], document["stdout"]) == (1, 4, "n2\n"), (document, err)
    status, document, err = run(rig, tmp_path, node_python, known, "ps")
    assert status == 0 and document["unreachable"] == [], (document, err)
    assert masters(rig) == [] and not list((tmp_path / "run").iterdir())


def test_an_unknown_host_is_refused_with_its_fingerprint(rig: Rig, tmp_path: Path, node_python: str) -> None:
    known = rig.known_hosts("openssh-unknown", ["bastion", "n1", "n3"])
    status, document, _ = run(rig, tmp_path, node_python, known, "exec", "n2", "--yes-i-mean", "n2", "--", "true")
    assert status == 1 and rig.nodes["n2"].fingerprint() in json.dumps(document["error"])
    wrong = rig.known_hosts("openssh-no-bastion", ["n1", "n2", "n3"])
    status, document, _ = run(rig, tmp_path, node_python, wrong, "exec", "n2", "--yes-i-mean", "n2", "--", "true")
    assert status == 1 and rig.bastion.fingerprint() in json.dumps(document["error"])
    assert masters(rig) == []
