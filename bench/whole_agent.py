"""What the whole agent costs a node of 16 devices: every probe at its own cadence, and 16 logs beside.

The tools are shell scripts that print what an A3 node's would: ``npu-smi info`` with 32 processes, ``hccn_tool``
for each device, a ``docker`` with four containers. Counted is the resident's own processor time, not that of
the tools, over a little more than a minute, so that each probe has had its turn.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bench import agent_sample, following
from bench.result import Ratio, Result, Samples, ratio

SECONDS = 66.0
LINES_PER_S = 300
HCCN = """#!/bin/sh
case "$3" in
-link) echo "link status: UP" ;;
-net_health) echo "net health status: Success" ;;
-ip) printf 'ipaddr:192.168.100.1%02d\\nnetmask:255.255.255.0\\n' "$2" ;;
-tls) printf 'dev_id:%d, tls switch[0](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days\\n' "$2" ;;
-link_stat) printf '[device %d]current time        : Sun Nov 22 05:10:01 2026\\n[device %d]link up count       : 1\\n[device %d]link down count     : 0\\n' "$2" "$2" "$2" ;;
*) echo "optical info:"; echo "present              : present" ;;
esac
"""
DOCKER = """#!/bin/sh
case "$1" in
--version) echo "Docker version 24.0.7, build afdd53b" ;;
ps) cat {folder}/ps ;;
inspect) cat {folder}/inspect ;;
*) echo '"/var/lib/docker"' ;;
esac
"""


def tools(folder: Path) -> None:
    """Put the scripts into a directory."""
    (folder / "table").write_text(agent_sample.table())
    ids = [f"{number:064x}" for number in range(1, 5)]
    (folder / "ps").write_text("".join(json.dumps({"ID": one, "Image": "trainer:1", "Names": f"train-{one[-1]}", "State": "running", "Status": "Up 2 hours"}) + "\n" for one in ids))
    (folder / "inspect").write_text(json.dumps([{
        "Id": one, "Name": f"/train-{one[-1]}", "Image": "sha256:" + one, "State": {"Status": "running", "Pid": 400000 + at, "StartedAt": "2026-11-22T05:10:01.0Z"},
        "Config": {"Image": "trainer:1", "Env": ["PATH=/usr/bin", "ASCEND_VISIBLE_DEVICES=0-7"], "Labels": {}}, "HostConfig": {"Privileged": False, "NetworkMode": "host"},
        "Mounts": [{"Source": "/data", "Destination": "/data", "RW": True}]} for at, one in enumerate(ids)]))
    for name, text in (("npu-smi", f"#!/bin/sh\nexec cat {folder}/table\n"), ("hccn_tool", HCCN), ("docker", DOCKER.format(folder=folder))):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def run(rounds: int) -> Result:
    """Once or twice: each takes more than a minute."""
    found: dict[str, list[float]] = {}
    for _ in range(max(1, min(2, rounds))):
        with tempfile.TemporaryDirectory(prefix="rankdeck-bench-") as folder:
            tools(Path(folder))
            taken = following.measure(16, LINES_PER_S, SECONDS, (), folder)
        if taken["samples"] < SECONDS / 4 or not taken["looks at the network"]:
            raise RuntimeError(f"the probes did not have their turn: {taken}")
        for name, value in taken.items():
            found.setdefault(name, []).append(value)
    samples = {name: Samples(name=name, unit=name.rpartition(", ")[2] if "," in name else "", values=tuple(values)) for name, values in found.items()}

    def against(name: str, limit: float) -> Ratio:
        return ratio(f"{name} over {limit:g}", samples[name], Samples(name="", unit="", values=(limit,) * len(samples[name].values)), at_most=1.0)

    return Result(samples=tuple(samples.values()), ratios=(against("of a core, %", 3.0), against("resident set, MiB", 25.0)),
                  notes=(f"16 logs at {LINES_PER_S} lines/s each; npu-smi every 2 s, hccn_tool for 16 devices every 60 s",))


if __name__ == "__main__":
    print(run(1))
