"""Many real SSH hosts at once, each with tools of its own, and ``rankdeck check`` in front of them. For a test and a bench."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.hosts.rig.rig import Rig

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests" / "agent" / "parse" / "fixtures" / "npu_table" / "910b3-24.1.rc2.txt"
IDLE_S = 20
"""How long an agent stays that has nothing to do: a second check finds it."""


@dataclass(frozen=True)
class Asked:
    """One ``rankdeck check``."""

    document: dict[str, Any]
    told_s: float
    """From starting the command until its document was there."""
    ended_s: float

    @property
    def slowest_s(self) -> float:
        """The time of the node that took longest, connecting included."""
        return max(float(node["took_s"]) for node in self.document["nodes"])


class Crowd:
    """The nodes of a rig, all fit."""

    def __init__(self, rig: Rig, folder: Path, python: str) -> None:
        self.rig, self.folder, self.python = rig, folder, python
        self.mapping: dict[str, Any] = {**rig.fleet_mapping(python), "known_hosts": str(rig.known_hosts(f"known-{folder.name}"))}
        self.mapping["defaults"]["npus"] = 3
        table = folder / "table.txt"
        table.write_text(TABLE.read_text().replace("Alarm", "OK   "))
        for number, node in enumerate(self.mapping["nodes"], 1):
            path = self.bin(node["name"])
            path.mkdir(parents=True)
            script(path / "npu-smi", f"cat {table}")
            script(path / "hccn_tool", 'case "$3" in -link) echo "link status: UP" ;; -net_health) echo "net health status: Success" ;;\n'
                   f'-ip) printf "ipaddr:29.0.{number}.%s\\nnetmask:255.255.0.0\\n" "$2" ;;\n'
                   '-tls) echo "dev_id:$2, tls switch[0](0:disable, 1:enable), tls alarm time threshold[60]days" ;; *) echo "not supported"; exit 1 ;; esac')
            node["python"], node["state_dir"] = str(path / "python"), str(folder / node["name"] / "state")
            self.interpreter(node["name"], f'PATH={path}:$PATH exec {python} "$@"')

    def bin(self, name: str) -> Path:
        """Where a node's own tools are."""
        return self.folder / name / "bin"

    def interpreter(self, name: str, line: str) -> None:
        """What the console takes for the node's Python."""
        script(self.bin(name) / "python", f"export RANKDECK_IDLE_S={IDLE_S}\n{line}")

    def check(self, *argv: str) -> Asked:
        """Run the command in the client's namespace."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        fleet = self.folder / "fleet.yaml"
        fleet.write_text(yaml.safe_dump(self.mapping, sort_keys=False))
        environ = {"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "USER": "root", "PYTHONPATH": str(ROOT)}
        began = time.monotonic()
        with (self.folder / "errors").open("wb") as errors:
            process = subprocess.Popen([*self.rig.network.enter("client"), sys.executable, "-m", "console", "check", "-i", str(fleet), "--json", *argv],
                                       cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=errors)
            assert process.stdout is not None
            text, told = b"", None
            while data := process.stdout.read1():
                text += data
                if text.endswith(b"\n}\n") and told is None:
                    told = time.monotonic() - began
            process.wait(60)
        if process.returncode not in (0, 1) or told is None:
            raise RuntimeError(f"rankdeck check: exit {process.returncode}: {(self.folder / 'errors').read_text()[-3000:]}")
        return Asked(document=json.loads(text), told_s=told, ended_s=time.monotonic() - began)


def script(path: Path, text: str) -> None:
    """An executable of the shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
