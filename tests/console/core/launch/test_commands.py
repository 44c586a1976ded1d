"""command.sh under a real bash: what reaches the program is what was written, whatever it looks like."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.core.launch import commands
from console.core.launch.commands import Place, environment, path_word, script
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from trainer.spec.job import JobSpec

HOSTILE = [
    "$(touch owned)", "`touch owned`", "; touch owned;", "a && touch owned", "'; touch owned; '", '"; touch owned; "', "${HOME}",
    "$HOME", "~/x", "~root", "two\nlines\n", "tab\tand  spaces ", "\\", "\\n", "*", "[a]", "{a,b}", "!!", "#no comment", "-n", "--", "",
    "进度 ü 🙂", "%s", "\x1b[31mred", "a=b", "| tee x", "> owned", "\r\n",
]

RECORDER = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}))
"""


def place(spec: JobSpec, index: int = 0, **changes: Any) -> Place:
    fleet = make_fleet(**changes)
    nodes = [fleet.node(name) for name in spec.fleet.nodes]
    return Place(node=nodes[index], node_index=index, master=nodes[0], attempt=ATTEMPT,
                 dir=f"{spec.paths.work}/.rankdeck/{spec.run.name}/{ATTEMPT}/{nodes[index].name}")


def run_recorded(spec: JobSpec, home: Path, **changes: Any) -> dict[str, Any]:
    """Run the script with runner.python being a program that says how it was called."""
    python = Path(spec.runner.python.replace("~/", f"{home}/", 1))
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(RECORDER)
    python.chmod(0o755)
    file = home / "command.sh"
    file.write_bytes(script(spec, place(spec, **changes)).encode())
    done = subprocess.run(["bash", str(file)], cwd="/", env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(home)},
                          capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_torchrun_is_called_as_agreed() -> None:
    first, second = (script(make_job(), place(make_job(), index)) for index in (0, 1))
    assert "exec /opt/venv/bin/python -m torch.distributed.run \\\n  --nnodes=2 \\\n  --nproc-per-node=2 \\\n  --max-restarts=3 \\\n" in first
    for option in ("--monitor-interval=0.5", "--rdzv-backend=c10d", "--rdzv-endpoint=10.0.0.1:29500", f"--rdzv-id={ATTEMPT}", "--no-python"):
        assert option in first and option in second
    assert "--local-addr=10.0.0.1 " in first and "--local-addr=10.0.0.2 " in second
    assert "join_timeout=120,is_host=true" in first and "join_timeout=120,is_host=false" in second
    assert 'python3 -I "$RANKDECK_DIR"/shim.py rank -- \\\n' in first
    assert '/opt/venv/bin/python "$HOME"/rankdeck/trainer/__main__.py train --job "$RANKDECK_DIR"/job.json\n' in first
    assert first.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in first
    assert first.count("exec ") == 1 and first.splitlines()[-1].startswith("  /opt/venv")


def test_environment_of_a_node() -> None:
    env = environment(make_job(env={"NCCL_DEBUG": "INFO", "OMP_NUM_THREADS": "4"}), place(make_job(), 1))
    assert env["RANKDECK_JOB"] == "tiny-gpt" and env["RANKDECK_NODE"] == "n1" and env["RANKDECK_NODE_INDEX"] == "1"
    assert env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] == "1" and env["RANKDECK_ATTEMPT"] == ATTEMPT
    assert env["GLOO_SOCKET_IFNAME"] == "bond0" and env["HCCL_SOCKET_IFNAME"] == "=bond0"
    assert env["OMP_NUM_THREADS"] == "4" and env["NCCL_DEBUG"] == "INFO"
    assert "GLOO_SOCKET_IFNAME" not in environment(make_job(fleet={"nic": ""}), place(make_job()))


def test_ipv6_master_is_bracketed() -> None:
    text = script(make_job(), place(make_job(), n0={"host": "fd00::1"}))
    assert "--rdzv-endpoint=[fd00::1]:29500" in text.replace("'", "") and "--local-addr=fd00::1 " in text


def test_address_beats_host() -> None:
    assert "--rdzv-endpoint=192.168.1.1:29500" in script(make_job(), place(make_job(), n0={"address": "192.168.1.1"}))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_arrive_as_they_are(text: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    spec = make_job(
        paths={"work": str(work)},
        runner={"python": str(tmp_path / "bin" / "python"), "entry": f"/x/{text}", "args": [text, "--a=" + text]},
        env={"FREE": text})
    found = run_recorded(spec, tmp_path)
    assert found["argv"][-5:] == [str(tmp_path / "bin" / "python"), "-u", f"/x/{text}", text, "--a=" + text]
    assert found["env"]["FREE"] == text and found["cwd"] == str(work)
    assert not list(tmp_path.rglob("owned")) and not Path("/owned").exists()


@pytest.mark.parametrize("name", ["work $(touch owned)", "wörk 进度", "a'b\"c", "x\ny", "~", "-n"])
def test_hostile_directories(name: str, tmp_path: Path) -> None:
    work = tmp_path / name
    work.mkdir()
    spec = make_job(paths={"work": f"~/{name}"}, runner={"python": f"~/{name}/bin/py thon", "trainer_dir": f"~/{name}/"})
    found = run_recorded(spec, tmp_path)
    assert found["cwd"] == str(work)
    directory = f"{work}/.rankdeck/tiny-gpt/{ATTEMPT}/n0"
    assert found["env"]["RANKDECK_DIR"] == directory
    assert found["argv"][-9:] == ["-I", f"{directory}/shim.py", "rank", "--", f"{work}/bin/py thon",
                                  f"{work}/trainer/__main__.py", "train", "--job", f"{directory}/job.json"]
    assert not list(tmp_path.rglob("owned"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_any_text_survives_bash(text: str) -> None:
    word = path_word("~/" + text)
    done = subprocess.run(["bash", "-c", f"printf %s {commands.quote(text)}\nprintf '\\0'\nprintf %s {word}"], env={"HOME": "/h"},
                          capture_output=True, check=True)
    assert done.stdout == f"{text}\0/h/{text}".encode()


def test_bash_finds_no_fault() -> None:
    done = subprocess.run(["bash", "-n"], input=script(make_job(), place(make_job())), text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
