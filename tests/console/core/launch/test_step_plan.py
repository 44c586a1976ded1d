"""Steps as launches of their own: their directories, containers and scripts, run under a real bash."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.attempt import is_name
from console.core.errors import FileError
from console.core.fleet.run_views import job_badge
from console.core.fleet.state import AttemptState, ExitSeen, FleetState, RunState
from console.core.launch.plan import LaunchPlan, make_plan, plan_mapping, plan_text
from console.core.launch.step_names import is_step, job_of_step
from console.core.launch.step_plan import make_step_plan
from console.core.launch.steps import STEPS, asked_for, step
from console.core.launch.trainer_steps import merged_dir
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from tests.console.core.launch.test_commands import HOSTILE
from tests.console.core.launch.test_containers import Bench, bench
from tests.console.core.launch.test_steps import job
from trainer.spec.job import JobSpec, from_mapping

__all__ = ["bench"]
ROOT = Path(__file__).parents[4]
OWN: dict[str, Any] = {"runner": {"kind": "torchrun", "entry": "", "workdir": "", "python": sys.executable, "trainer_dir": str(ROOT)}, "fleet": {"npus_per_node": 1}}
RECORDER = """#!/usr/bin/env python3
import json, os, sys
json.dump({"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}, open(os.environ["RANKDECK_DIR"] + "/told.json", "w"))
"""


def own(work: Path, **changes: Any) -> JobSpec:
    """A job of the project's trainer below ``work``."""
    base: dict[str, Any] = {
        "run": {"mode": "pretrain"}, "paths": {"work": str(work)}, **OWN, "train": {"iterations": 4, "global_batch_size": 2, "seq_length": 16},
        "data": {"format": "megatron-bin", "prefix": f"{work}/data/o", "input": f"{work}/raw.jsonl"}, "checkpoint": {"dir": f"{work}/out"}}
    for block, values in changes.items():
        base[block] = {**base.get(block, {}), **values}
    return make_job(**base)


def planned(spec: JobSpec, name: str, *nodes: str) -> LaunchPlan:
    made = make_step_plan(spec, make_fleet(), name, ATTEMPT, nodes)
    assert made.ok, made.problems
    return made


def carry_out(plan: LaunchPlan, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What the agent and the shim do with the first node's part."""
    (node, *_) = plan.nodes
    folder = Path(node.dir.replace("~", env["HOME"], 1))
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in node.files.items():
        (folder / name).write_text(text)
    for command in node.commands:
        (folder / f"{command.phase}.sh").write_text(command.script)
        done = subprocess.run(["bash", str(folder / f"{command.phase}.sh")], env=env, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            return done
    return done


def test_a_step_is_a_job_of_its_own() -> None:
    spec = job()
    for name in ("workspace", "preprocess", "convert", "export"):
        (node,) = planned(spec, name).nodes
        assert node.dir == f"/home/ma-user/ws/.rankdeck/q--{name}/{ATTEMPT}/n0" and is_name(job_of_step("q", name)) and is_step(f"q--{name}")
        assert json.loads(node.files["job.json"])["step"]["job"] == "q" and from_mapping(json.loads(node.files["spec.json"])) == spec
        assert node.devices == (() if name == "workspace" else tuple(range(spec.fleet.npus_per_node)))
        assert [command.phase for command in node.commands] == ["start"]
    assert {name for name in STEPS if is_step(job_of_step("x", name))} == set(STEPS) and not is_step("x") and not is_step("--export")


def test_steps_run_where_they_are_told_to() -> None:
    assert [node.node for node in planned(job(), "workspace", "n2", "n1", "n2").nodes] == ["n2", "n1"]
    with pytest.raises(FileError, match="no node n9"):
        make_step_plan(job(), make_fleet(), "workspace", ATTEMPT, ["n9"])
    with pytest.raises(FileError, match="no such step"):
        make_step_plan(job(), make_fleet(), "train", ATTEMPT)


def test_what_a_step_lacks_is_a_finding_at_its_key() -> None:
    made = make_step_plan(job(data={"input": ""}), make_fleet(), "preprocess", ATTEMPT)
    assert [(one.rule, one.where) for one in made.problems] == [("U1", "data.input")] and not made.nodes
    assert not make_step_plan(job(train={"global_batch_size": 7}), make_fleet(), "preprocess", ATTEMPT).problems


BOX = {"runtime": "docker", "image": "i:1", "name": "box", "user": "ma-user", "keep": True}


def test_a_step_has_a_container_of_its_own_or_the_jobs() -> None:
    (node,) = planned(job(container=BOX), "convert").nodes
    make, start = (command.script for command in node.commands)
    assert "--name box--convert " in make and "--device=/dev/davinci0" in make and "rankdeck.job=q--convert" in make
    assert "rankdeck.job=q--convert" in node.undo[0].script and "--user ma-user" in start and "util.py" in node.files["ranked.sh"]
    assert "keep" not in json.loads(node.files["job.json"]).get("container", {})
    (node,) = planned(job(container={**BOX, "reuse": "reuse"}), "convert").nodes
    assert "--name box " in node.commands[0].script
    # The node's own business, and what needs no NPU.
    assert [command.phase for command in planned(job(container=BOX), "workspace").nodes[0].commands] == ["start"]
    (node,) = planned(own(Path("/w"), container=BOX), "preprocess").nodes
    assert "davinci" not in node.commands[0].script and node.devices == ()


def test_in_a_container_the_step_runs_and_its_end_is_told(bench: Bench) -> None:
    (bench.bin / "python").write_text('#!/bin/bash\ncase "$*" in *preprocess*) echo "tokenised in $PWD"; exit 7;; esac\n')
    (bench.bin / "python").chmod(0o755)
    spec = job(str(bench.work), container={**BOX, "user": "", "device_access": "none"})
    Path(spec.runner.workdir, "ModelLink").mkdir(parents=True)
    done = carry_out(planned(spec, "preprocess"), bench.env())
    assert done.returncode == 7 and f"tokenised in {spec.runner.workdir}/ModelLink" in done.stdout
    assert [call[0] for call in bench.calls()].count("run") == 1


@pytest.mark.parametrize("name", ["preprocess", "convert", "export", "merge-lora"])
def test_the_trainers_own_commands(name: str) -> None:
    spec = own(Path("/w"), run={"mode": "lora"}, checkpoint={"load_dir": "/w/base"}, model={"weights": "/w/hf", "tokenizer": "/w/tok"}, export={"dir": "/w/out-hf"})
    line = shlex.split(step(spec, name).lines[-1].replace('"$RANKDECK_DIR"', "DIR"))
    assert line[:3] == [sys.executable, f"{ROOT}/trainer/__main__.py", name]
    sys.path.insert(0, str(ROOT))
    import argparse
    import importlib

    from trainer.__main__ import COMMANDS

    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(COMMANDS[name][0]).arguments(parser)
    given = vars(parser.parse_args(line[3:]))
    expected = {"preprocess": {"output_prefix": "/w/data/o", "handler_name": "GeneralInstructionHandler", "seq_length": 16},
                "convert": {"load_dir": Path("/w/hf"), "save_dir": Path("/w/base"), "to": "torch_dist"},
                "export": {"job": Path("DIR/spec.json"), "save_dir": Path("/w/out-hf")}, "merge-lora": {"job": "DIR/spec.json", "out": "/w/out-merged"}}[name]
    assert {key: given[key] for key in expected} == expected and merged_dir(spec) == "/w/out-merged"


def test_preprocessing_makes_what_the_trainer_reads(tmp_path: Path) -> None:
    work = tmp_path / "w $(touch owned)"
    work.mkdir()
    spec = own(work)
    (work / "raw.jsonl").write_text("".join(json.dumps({"text": f"line {at}"}) + "\n" for at in range(20)))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    plan = planned(spec, "preprocess")
    done = carry_out(plan, env)
    assert done.returncode == 0, done.stderr
    assert all(Path(path).is_file() for path in step(spec, "preprocess").makes)
    again = carry_out(plan, env)
    assert again.returncode == 0 and "there already" in again.stdout and not list(tmp_path.rglob("owned"))
    (work / "raw.jsonl").write_text("{broken\n")
    for path in step(spec, "preprocess").makes:
        Path(path).unlink()
    done = carry_out(plan, env)
    assert done.returncode == 3 and "raw.jsonl" in done.stderr


@pytest.mark.parametrize("name", ["preprocess", "convert", "export"])
@pytest.mark.parametrize("text", [text for text in HOSTILE if text])
def test_hostile_texts_reach_the_trainer_as_they_are(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "py").write_text(RECORDER)
    (tmp_path / "py").chmod(0o755)
    free = f"/x/{text}"
    spec = own(tmp_path, runner={"python": str(tmp_path / "py"), "trainer_dir": str(tmp_path)}, env={"FREE": text}, run={"mode": "lora"},
               data={"input": free, "prefix": free, "handler": text, "json_key": text}, model={"weights": free, "tokenizer": free}, checkpoint={"dir": free, "load_dir": free},
               export={"dir": free})
    plan = planned(spec, name)
    done = carry_out(plan, {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    told = json.loads((Path(plan.nodes[0].dir) / "told.json").read_text())
    wanted = {"preprocess": ["--input", "--output-prefix", "--tokenizer-name-or-path"], "convert": ["--load-dir", "--save-dir"], "export": ["--save-dir"]}[name]
    for option in wanted:
        value = told["argv"][told["argv"].index(option) + 1]
        assert value == free or (option == "--output-prefix" and free.startswith(value))
    assert told["env"]["FREE"] == text and (name != "preprocess" or told["argv"][told["argv"].index("--handler-name") + 1] == text)
    assert not list(tmp_path.rglob("owned")) and not Path("/owned").exists()


@pytest.mark.parametrize("name", ["workspace", "preprocess", "convert", "export"])
@pytest.mark.parametrize("text", ["$(touch owned)", "`touch owned`", "'; touch owned; '", '"; touch owned; "', "two\nlines", "-n", "~root", "进度 ü", "*"])
def test_hostile_texts_in_the_vendors_steps(name: str, text: str, tmp_path: Path) -> None:
    """Whatever such a step says, nothing of the texts is executed."""
    root = tmp_path / "w"
    code = root / text / "code"
    (code / "ModelLink").mkdir(parents=True)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "python").chmod(0o755)
    free = f"{root}/{text}/x"
    spec = job(str(root), runner={"workdir": str(code)}, data={"input": free, "prefix": free, "handler": text, "json_key": text, "tokenizer_type": text},
               model={"weights": free, "tokenizer": free, "num_layer_list": text, "size": text}, checkpoint={"dir": free, "load_dir": free}, export={"dir": free + "-hf"})
    made = make_step_plan(spec, make_fleet(), name, ATTEMPT)
    assert made.ok and subprocess.run(["bash", "-n"], input=made.nodes[0].commands[-1].script, text=True, capture_output=True, check=False).stderr == ""
    carry_out(made, {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    assert not list(tmp_path.rglob("owned")) and not Path("/owned").exists()


def test_a_job_asks_for_its_steps() -> None:
    spec = job(paths={"scaffold": True}, data={"prepare": True}, model={"convert": True})
    assert asked_for(spec) == ("workspace", "preprocess", "convert") and asked_for(job()) == ()
    made = make_plan(spec, make_fleet(n0={"npus": 8}), ATTEMPT)
    assert [one.job for one in made.before] == ["q--workspace", "q--preprocess", "q--convert"] or not made.ok
    waived = dataclasses.replace(spec, preflight=dataclasses.replace(spec.preflight), fleet=dataclasses.replace(spec.fleet, nodes=("n0",), npus_per_node=8))
    made = make_plan(waived, make_fleet(), ATTEMPT)
    assert made.ok, made.problems
    assert len({ATTEMPT, *(one.attempt for one in made.before)}) == 4
    assert [one["job"] for one in plan_mapping(made)["before"]] == [one.job for one in made.before] and "Before the launch: q--preprocess" in plan_text(made)
    lacking = dataclasses.replace(waived, data=dataclasses.replace(waived.data, input=""))
    assert [(one.rule, one.where) for one in make_plan(lacking, make_fleet(), ATTEMPT).problems if one.severity == "error"] == [("U1", "data.input")]


def test_a_step_that_ended_well_is_done_and_is_not_the_fleets_job() -> None:
    def run(job: str, attempt: str, code: int) -> RunState:
        seen = ExitSeen(node="n0", data={"code": code, "signal": None, "asked": False}, time=1.0)
        state = AttemptState(attempt=attempt, job=job, node_states={"n0": "exited"}, exits={("n0", -1, -1): seen})
        return RunState(job=job, attempts={attempt: state})

    assert job_badge(run("q--convert", ATTEMPT, 0), None, None).text == "done"
    assert job_badge(run("q--convert", ATTEMPT, 1), None, None).text == "failed"
    assert job_badge(run("q", ATTEMPT, 0), None, None).text == "ended early"
    both = FleetState(runs={"q": run("q", "20250101T000000Z-0000", 0), "q--convert": run("q--convert", ATTEMPT, 0)})
    assert both.current is not None and both.current.job == "q"
    assert FleetState(runs={"q--convert": run("q--convert", ATTEMPT, 0)}).current is not None
