"""A file passed on from node to node by their own ssh, behind a bastion; and nodes that cannot reach each other."""

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
from tests.hosts.rig.rig import NODES, Rig
from tests.hosts.rig.server import make_key

pytestmark = pytest.mark.ssh


@pytest.fixture
def fleet(rig: Rig, tmp_path: Path, node_python: str) -> Path:
    """A fleet file whose nodes have a key for each other, and know no host."""
    mapping: dict[str, Any] = dict(rig.fleet_mapping(node_python))
    mapping["known_hosts"] = str(rig.known_hosts(f"known-{tmp_path.name}"))
    mapping["relay"] = {"key": str(rig.key)}
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(mapping))
    return path


def stage(rig: Rig, fleet: Path, tmp_path: Path, data: Path) -> dict[str, Any]:
    """``rankdeck stage`` on the bastion's client: its document."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path / "xdg")}
    done = subprocess.run([*rig.network.enter("client"), sys.executable, "-m", "console", "stage", "-i", str(fleet), "--json", "--to", "~/staged", "--data", str(data)],
                          cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_bastion_sends_once_and_the_nodes_the_rest(rig: Rig, fleet: Path, tmp_path: Path) -> None:
    # Either transport knows the others' keys, whoever is first: these servers' are not where a node has its own.
    mapping = yaml.safe_load(fleet.read_text())
    for node in mapping["nodes"][1:]:
        node["transport"] = "openssh"
    fleet.write_text(yaml.safe_dump(mapping))
    data = tmp_path / f"data-{tmp_path.name}.bin"
    data.write_bytes(os.urandom(3_000_000))
    document = stage(rig, fleet, tmp_path, data)
    assert sorted(one["sent_bytes"] for one in document["staged"]) == [0, 0, 3_000_000], document
    assert sum(bool(one["via"]) for one in document["staged"]) == 2 and not any(one["why_direct"] for one in document["staged"])
    assert all((rig.nodes[name].home / "staged" / data.name).read_bytes() == data.read_bytes() for name in NODES)
    # What came was told by the nodes' own servers: the others' addresses, not the bastion's alone.
    logins = "".join((server.folder / "sshd.log").read_text() for server in rig.nodes.values())
    assert any(f"from {server.address} " in logins for server in rig.nodes.values())


def test_nodes_that_do_not_let_each_other_in_get_it_directly(rig: Rig, fleet: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    mapping = yaml.safe_load(fleet.read_text())
    mapping["relay"] = {"key": str(tmp_path / "stranger")}
    fleet.write_text(yaml.safe_dump(mapping))
    data = tmp_path / f"data-{tmp_path.name}.bin"
    data.write_bytes(os.urandom(100_000))
    document = stage(rig, fleet, tmp_path, data)
    assert {one["sent_bytes"] for one in document["staged"]} == {100_000}
    told = [one["why_direct"] for one in document["staged"] if one["why_direct"]]
    assert len(told) == 2 and all("Permission denied" in why for why in told)
