"""``rankdeck check`` on real SSH hosts: fit, dead and hanging nodes side by side, a tool that hangs, a remedy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosts.rig.rig import NODES, Rig

pytestmark = pytest.mark.ssh

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests" / "agent" / "parse" / "fixtures" / "npu_table" / "910b3-24.1.rc2.txt"
HCCN = """#!/bin/sh
case "$3" in
  -link) echo "link status: UP" ;;
  -net_health) echo "net health status: Success" ;;
  -ip) printf 'ipaddr:29.0.%s.%s\\nnetmask:255.255.0.0\\n' NODE "$2" ;;
  -tls) echo "dev_id:$2, tls switch[TLS](0:disable, 1:enable), tls alarm time threshold[60]days" ;;
  *) echo "not supported" ; exit 1 ;;
esac
"""


class Hosts:
    """The rig's nodes with tools of their own, and the console's command in front of them."""

    def __init__(self, rig: Rig, folder: Path, python: str) -> None:
        self.rig, self.folder, self.python = rig, folder, python
        self.mapping: dict[str, Any] = {**rig.fleet_mapping(python), "known_hosts": str(rig.known_hosts("check-known"))}
        self.mapping["defaults"]["npus"] = 3
        table = folder / "table.txt"
        table.write_text(TABLE.read_text().replace("Alarm", "OK   "))
        for number, name in enumerate(NODES, 1):
            self.tool(name, "npu-smi", f"#!/bin/sh\ncat {table}\n")
            self.tool(name, "hccn_tool", HCCN.replace("NODE", str(number)).replace("TLS", "0"))
            self.interpreter(name, f'PATH={self.bin(name)}:$PATH exec {python} "$@"')
            # A state directory of this test's own: the agent that it starts has this test's tools.
            self.node(name)["state_dir"] = str(folder / name / "state")

    def node(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.mapping["nodes"] if each["name"] == name)
        return found

    def bin(self, name: str) -> Path:
        return self.folder / name / "bin"

    def tool(self, name: str, tool: str, text: str) -> None:
        self.bin(name).mkdir(parents=True, exist_ok=True)
        path = self.bin(name) / tool
        path.write_text(text)
        path.chmod(0o755)

    def interpreter(self, name: str, line: str) -> None:
        """What the console takes for the node's Python."""
        self.tool(name, "python", f"#!/bin/sh\nexport RANKDECK_IDLE_S=5\n{line}\n")
        self.node(name)["python"] = str(self.bin(name) / "python")

    def check(self, *argv: str, expected: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        fleet = self.folder / "fleet.yaml"
        fleet.write_text(yaml.safe_dump(self.mapping, sort_keys=False))
        environ = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": "root", "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*self.rig.network.enter("client"), sys.executable, "-m", "console", "check", "-i", str(fleet), "--json", *argv],
                              cwd=ROOT, env=environ, capture_output=True, text=True, timeout=180)
        assert done.returncode in expected, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def hosts(rig: Rig, tmp_path: Path, node_python: str) -> Hosts:
    return Hosts(rig, tmp_path, node_python)


def of(document: dict[str, Any], node: str | None) -> dict[str, str]:
    """Check -> severity of what was found on a node."""
    return {problem["rule"]: problem["severity"] for problem in document["problems"] if problem["node"] == node}


def test_a_dead_and_a_hanging_node_are_reported_and_the_third_is_judged(hosts: Hosts) -> None:
    hosts.interpreter("n2", "exec sleep 60")
    hosts.rig.network.cut("n3")
    try:
        document = hosts.check("--timeout", "60")
    finally:
        hosts.rig.network.restore("n3")
    _, hanging, dead = document["nodes"]
    assert [node["reached"] for node in document["nodes"]] == [True, False, False] and document["ok"] is False
    assert of(document, "n2") == of(document, "n3") == {"node-reachable": "error"}
    assert "error" not in of(document, "n1").values()
    states = {check["id"]: check["nodes"]["n1"] for check in document["checks"]}
    assert states["npu-count"] == states["npu-health"] == states["npu-link"] == states["npu-tls"] == "ok"
    assert max(hanging["took_s"], dead["took_s"]) <= 61


def test_a_hanging_tool_costs_its_own_values_and_what_differs_is_found(hosts: Hosts) -> None:
    hosts.tool("n2", "npu-smi", "#!/bin/sh\nsleep 60\n")
    hosts.tool("n3", "hccn_tool", HCCN.replace("NODE", "3").replace("TLS", "1"))
    document = hosts.check("--timeout", "60")
    assert all(node["reached"] for node in document["nodes"])
    assert of(document, "n2")["npu-tool"] == "error"
    states = {check["id"]: check["nodes"]["n2"] for check in document["checks"]}
    assert states["disk-space"] == states["ports-free"] == "ok"
    assert of(document, None)["npu-tls"] == "error"
    assert "npu-tool" not in of(document, "n1") and "npu-tool" not in of(document, "n3")


def test_a_remedy_is_run_where_it_was_confirmed_and_nowhere_else(hosts: Hosts) -> None:
    job = hosts.folder / "job.yaml"
    works = {name: hosts.folder / name / "home" / "work" for name in NODES}
    for name in NODES:
        (hosts.folder / name / "home").mkdir(parents=True)
        hosts.interpreter(name, f'export HOME={hosts.folder / name / "home"}; PATH={hosts.bin(name)}:$PATH exec {hosts.python} "$@"')
    works["n1"].mkdir()
    job.write_text(yaml.safe_dump({
        "run": {"name": "tiny"}, "paths": {"work": "~/work"}, "fleet": {"nodes": list(NODES), "npus_per_node": 3, "hardware": "cpu"},
        "runner": {"kind": "script", "entry": "train.sh"}, "train": {"iterations": 1}, "checkpoint": {"dir": "~/work", "storage": "per-node"}}))
    before = hosts.check("--job", str(job), "--timeout", "60")
    assert {node: of(before, node).get("work-dir") for node in NODES} == {"n1": None, "n2": "error", "n3": "error"}
    assert not works["n2"].exists()

    after = hosts.check("--job", str(job), "--fix", "work-dir", "--yes-i-mean", "2", "--timeout", "60")
    assert [(fix["node"], fix["ok"], fix["argv"]) for fix in after["fixes"]] == [(name, True, ["mkdir", "-p", "--", "~/work"]) for name in ("n2", "n3")]
    assert works["n2"].is_dir() and works["n3"].is_dir()
    assert "work-dir" not in of(after, "n2")
    # Each node has its own home: what was written on one is not on the others, and nothing is left behind.
    assert "storage" not in of(after, None) and [list(work.iterdir()) for work in works.values()] == [[], [], []]
