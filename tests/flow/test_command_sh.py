"""Two nodes' command.sh under real bash, torchrun and shim, on loopback: the ranks meet, and see what they should."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.core.launch import inventory
from console.core.launch.plan import make_plan
from console.lab.ports import free_port
from tests.console.core.launch.jobs import ATTEMPT
from tests.patience import PATIENCE_S
from trainer.spec import job

ROOT = Path(__file__).parents[2]
WORKER = """
import json, os, sys, time
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "RANKDECK_ROUND", "RANKDECK_NODE", "RANKDECK_JOB", "RANKDECK_ATTEMPT", "FREE", "GLOO_SOCKET_IFNAME")
print("SEEN " + json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "env": {n: os.environ.get(n) for n in names}}), flush=True)
if "fail" in sys.argv and os.environ["RANKDECK_ROUND"] == "0":
    # The others wait, as in a collective, until their agent ends them.
    sys.exit(3) if os.environ["RANK"] == "1" else time.sleep(600)
"""


@pytest.mark.torch
@pytest.mark.parametrize("arguments", [["plain", "two words", "$(touch owned)"], ["fail"]])
def test_two_nodes_meet(tmp_path: Path, arguments: list[str]) -> None:
    work = tmp_path / "wörk dir"
    work.mkdir()
    (work / "train.py").write_text(WORKER)
    spec = job.from_mapping({
        "run": {"name": "meet"}, "paths": {"work": "~/wörk dir"}, "checkpoint": {"dir": "~/ckpt"}, "train": {"iterations": 1, "global_batch_size": 4},
        "fleet": {"nodes": ["a", "b"], "npus_per_node": 2, "master_port": free_port("127.0.1.1"), "nic": "lo"},
        "runner": {"python": sys.executable, "entry": "~/wörk dir/train.py", "args": arguments}, "env": {"FREE": "it's $HOME\n`id`"},
        "recovery": {"in_place": 1, "join_timeout_s": 60}})
    fleet = inventory.from_mapping({"nodes": [{"name": "a", "host": "127.0.1.1", "npus": 0}, {"name": "b", "host": "127.0.1.2", "npus": 0}]}, name="f", where="f")
    plan = make_plan(spec, fleet, ATTEMPT)
    assert plan.ok, plan.problems
    started = []
    for node in plan.nodes:
        directory = Path(node.dir.replace("~", str(tmp_path), 1))
        directory.mkdir(parents=True)
        shutil.copy(ROOT / "agent" / "shim.py", directory / "shim.py")
        (directory / "command.sh").write_text(node.commands[0].script, encoding="utf-8")
        with (directory / "launcher.log").open("wb") as log:
            started.append((directory, subprocess.Popen(["bash", str(directory / "command.sh")], cwd="/", stdout=log, stderr=log, start_new_session=True,
                                                        env={"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"})))
    try:
        codes = [process.wait(timeout=2 * PATIENCE_S) for _, process in started]
    finally:
        for _, process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
    assert codes == [0, 0], [(directory / "launcher.log").read_text()[-2000:] for directory, _ in started]
    number = 1 if "fail" in arguments else 0
    seen = []
    for directory, _ in started:
        for local_rank in (0, 1):
            log_text = (directory / f"round-{number:02d}" / f"local_rank-{local_rank}.log").read_text()
            seen.append(json.loads(log_text.partition("SEEN ")[2].splitlines()[0]))
            record = json.loads((directory / f"round-{number:02d}" / f"exit-local_rank-{local_rank}.json").read_text())
            assert (record["code"], record["local_rank"], record["round"]) == (0, local_rank, number)
    assert sorted(one["env"]["RANK"] for one in seen) == ["0", "1", "2", "3"]
    for one in seen:
        assert one["argv"] == arguments and one["cwd"] == str(work)
        assert one["env"]["FREE"] == "it's $HOME\n`id`" and one["env"]["WORLD_SIZE"] == "4" and one["env"]["RANKDECK_ROUND"] == str(number)
        assert one["env"]["RANKDECK_JOB"] == "meet" and one["env"]["RANKDECK_ATTEMPT"] == ATTEMPT and one["env"]["GLOO_SOCKET_IFNAME"] == "lo"
    assert not list(tmp_path.rglob("owned"))
