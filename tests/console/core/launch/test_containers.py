"""Containers and runners under a real bash, with an engine that writes down what it is told and runs it here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from console.core.launch import commands, containers
from console.core.launch.commands import Place
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from tests.console.core.launch.test_commands import HOSTILE
from trainer.spec.job import JobSpec

ENGINE = """#!/usr/bin/env python3
import json, os, subprocess, sys
book = os.environ["ENGINE_BOOK"]
argv = sys.argv[1:]
with open(book, "a") as file:
    file.write(json.dumps(argv) + "\\n")
state = book + ".container"
if os.path.exists(book + ".down"):
    sys.exit("Cannot connect to the Docker daemon")
if argv[0] == "ps":
    wanted = dict(word.split("=", 2)[1:] for word in argv if word.startswith("label="))
    found = json.load(open(state)) if os.path.exists(state) else {}
    if wanted and found.get("job") == wanted["rankdeck.job"] and found.get("attempt") == wanted["rankdeck.attempt"]:
        print("0123456789ab")
elif argv[0] == "inspect":
    if not os.path.exists(state):
        sys.exit(1)
    found = json.load(open(state))
    form = argv[argv.index("--format") + 1] if "--format" in argv else ""
    if "User" in form:
        print("")
    elif "Running" in form:
        print("|".join(("true" if found["running"] else "false", found["job"], found["attempt"])))
    elif "attempt" in form:
        print(found["attempt"])
elif argv[0] == "run":
    labels = dict(argv[at + 1].split("=", 1) for at, word in enumerate(argv) if word == "--label")
    json.dump({"running": True, "job": labels["rankdeck.job"], "attempt": labels["rankdeck.attempt"]}, open(state, "w"))
elif argv[0] == "rm":
    os.unlink(state)
elif argv[0] == "start":
    json.dump({**json.load(open(state)), "running": True}, open(state, "w"))
elif argv[0] == "exec":
    # As the engine does: nothing of our own environment but what is named, and a session of its own.
    env = {"PATH": os.environ["PATH"], "HOME": "/root", "ENGINE_BOOK": book}
    at = 1
    while argv[at].startswith("--"):
        if argv[at] == "--env":
            env[argv[at + 1]] = os.environ[argv[at + 1]]
        at += 2
    code = subprocess.Popen(argv[at + 1:], env=env, start_new_session=True).wait()
    sys.exit(code if code >= 0 else 128 - code)
"""
RECORDER = """#!/usr/bin/env python3
import json, os, sys
json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}, open(os.environ["RANKDECK_DIR"] + "/told.json", "w"))
"""


FOURS = [[text or "x" for text in HOSTILE[at:at + 4]] for at in range(0, len(HOSTILE) - 3, 4)]
"""Hostile texts, four at a time; empty ones are left to the script's default."""


class Bench:
    """A node with an engine, a work directory and an attempt's directory."""

    def __init__(self, root: Path) -> None:
        self.work, self.book = root / "ws", root / "book"
        self.bin = root / "bin"
        for directory in (self.work, self.bin):
            directory.mkdir()
        self.program("docker", ENGINE)

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def job(self, **changes: Any) -> JobSpec:
        base: dict[str, Any] = {
            "paths": {"work": str(self.work)}, "fleet": {"nodes": ["n0"], "nic": ""},
            "container": {"runtime": "docker", "image": "img:1", "device_access": "none", "name": "box"},
            "runner": {"kind": "script", "entry": str(self.bin / "recorder"), "trainer_dir": ""}}
        for block, values in changes.items():
            base[block] = {**base.get(block, {}), **values}
        return make_job(**base)

    def place(self, spec: JobSpec) -> Place:
        node = make_fleet().node("n0")
        return Place(node=node, node_index=0, master=node, attempt=ATTEMPT, dir=f"{self.work}/.rankdeck/{spec.run.name}/{ATTEMPT}/n0")

    def env(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin", "HOME": str(self.work), "ENGINE_BOOK": str(self.book)}

    def bash(self, text: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-c", text], env={**self.env(), **env}, cwd="/", capture_output=True, text=True, timeout=60, check=False)

    def write(self, spec: JobSpec) -> Path:
        """The attempt's directory with its scripts in it."""
        directory = Path(self.place(spec).dir)
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in commands.files(spec, self.place(spec)).items():
            (directory / name).write_text(text)
        (directory / "command.sh").write_text(commands.script(spec, self.place(spec)))
        return directory

    def launch(self, spec: JobSpec, **env: str) -> subprocess.CompletedProcess[str]:
        """The container phase and command.sh, as a launch does them."""
        made = self.bash(containers.make_script(spec, self.place(spec))) if spec.container.runtime != "process" else None
        if made is not None and made.returncode:
            return made
        return self.bash(f"exec bash '{self.write(spec)}/command.sh'", **env)

    def told(self, spec: JobSpec) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((Path(self.place(spec).dir) / "told.json").read_text())
        return found

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.book.read_text().splitlines()] if self.book.exists() else []

    def container(self, **values: Any) -> None:
        """A container of that name that is already there."""
        Path(f"{self.book}.container").write_text(json.dumps({"running": True, "job": "<no value>", "attempt": "<no value>", **values}))


@pytest.fixture()
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.program("recorder", RECORDER)
    return made


@pytest.mark.parametrize("runtime", ["docker", "process"])
def test_hostile_texts_arrive_or_are_nothing(bench: Bench, runtime: str, tmp_path: Path) -> None:
    spec = bench.job(container={"runtime": runtime}, runner={"args": HOSTILE}, env={f"FREE_{at}": text for at, text in enumerate(HOSTILE)})
    done = bench.launch(spec)
    assert done.returncode == 0, done.stderr
    told = bench.told(spec)
    assert told["argv"] == HOSTILE and [told["env"][f"FREE_{at}"] for at in range(len(HOSTILE))] == HOSTILE
    assert not list(tmp_path.rglob("owned")) and not Path("/owned").exists()


@pytest.mark.parametrize("texts", FOURS)
def test_hostile_values_of_script_variables(bench: Bench, texts: list[str], tmp_path: Path) -> None:
    size, tokenizer, prefix, load = texts
    spec = bench.job(runner={"kind": "env-script", "entry": str(bench.bin / "recorder.sh")}, model={"size": size, "tokenizer": tokenizer}, data={"prefix": prefix},
                     checkpoint={"load_dir": load}, run={"mode": "sft"}, container={"runtime": "process"})
    bench.program("recorder.sh", f"exec {bench.bin}/recorder \"$@\"\n")
    done = bench.launch(spec)
    assert done.returncode == 0, done.stderr
    env = bench.told(spec)["env"]
    assert [env[name] for name in ("MODEL_TYPE", "TOKENIZER_PATH", "DATASET_PATH", "MODEL_PATH")] == texts
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("texts", FOURS)
def test_hostile_words_for_the_engine(bench: Bench, texts: list[str], tmp_path: Path) -> None:
    image, word, user, memory = texts
    spec = bench.job(container={"image": image, "args": [word, *HOSTILE], "user": user, "memory": memory, "network": word})
    done = bench.bash(containers.make_script(spec, bench.place(spec)))
    assert done.returncode == 0, done.stderr
    (run,) = [call for call in bench.calls() if call[0] == "run"]
    assert run[-3 - len(HOSTILE):] == [word, *HOSTILE, image, "/bin/bash"] and run[run.index("--user") + 1] == user
    assert run[run.index("--memory") + 1] == memory and f"--net={word}" in run
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("texts", FOURS[:3])
def test_hostile_words_for_ascendfactory(bench: Bench, dialect: str, texts: list[str], tmp_path: Path) -> None:
    bench.program("ascendfactory-cli", RECORDER.replace("told.json", "\" + sys.argv[1] + \".json"))
    model, experiment, word, backend = texts
    spec = bench.job(container={"runtime": "process"}, runner={"kind": "ascendfactory", "entry": "", "args": [word], "ascendfactory": {
        "dialect": dialect, "model_name": model, "exp_name": experiment, "backend": backend, "overrides": HOSTILE}})
    done = bench.launch(spec)
    assert done.returncode == 0, done.stderr
    directory = Path(bench.place(spec).dir)
    settings = f"{directory}/ascendfactory.yaml"
    train = json.loads((directory / "train.json").read_text())["argv"]
    if dialect == "v1":
        assert train == ["train", settings, model, experiment, word]
    else:
        assert json.loads((directory / "config.json").read_text())["argv"] == [
            "config", f"--backend={backend}", f"--af_model_name={model}", f"--exp_name={experiment}", f"--output_file_path={settings}"]
        assert train[:2] == ["train", settings] and train[-1 - len(HOSTILE):] == [*HOSTILE, word]
        assert train[2:5] == ["--env.MASTER_ADDR=localhost", "--env.NNODES=1", "--env.NODE_RANK=0"]
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize("runtime", ["docker", "process"])
@pytest.mark.parametrize(("body", "code"), [("exit 3 | tee log\n", 3), ("bash inner.sh\n", 4), ("true | tee log\n", 0), ("kill -9 $$\n", 137)])
def test_a_script_that_ends_in_tee_cannot_hide_its_status(bench: Bench, runtime: str, body: str, code: int) -> None:
    bench.program("run.sh", f"#!/bin/sh\ncd {bench.work}\n{body}")
    (bench.work / "inner.sh").write_text("(exit 4) | tee log\n")
    spec = bench.job(container={"runtime": runtime}, runner={"kind": "env-script", "entry": "run.sh", "workdir": str(bench.bin)})
    assert bench.launch(spec).returncode in (code, code - 256, 128 - code if runtime == "process" else code)


def test_a_signal_reaches_the_ranks_and_their_end_is_told(bench: Bench) -> None:
    bench.program("slow.sh", 'trap \'echo saved > "$RANKDECK_DIR"/saved; exit 7\' TERM\ntouch "$RANKDECK_DIR"/up\nfor i in $(seq 600); do sleep 0.1; done\n')
    spec = bench.job(runner={"kind": "env-script", "entry": str(bench.bin / "slow.sh")})
    assert bench.bash(containers.make_script(spec, bench.place(spec))).returncode == 0
    directory = bench.write(spec)
    # As the shim does: a group of its own, and the signal to the whole of it.
    process = subprocess.Popen(["bash", str(directory / "command.sh")], env=bench.env(), start_new_session=True)
    deadline = time.monotonic() + 30
    while not (directory / "up").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=30) == 7
    assert (directory / "saved").read_text() == "saved\n"


def test_secrets_are_in_no_text_and_no_argv(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2\n")
    spec = bench.job(env={"A_TOKEN": {"from_env": "SITE_TOKEN"}, "B_TOKEN": {"from_file": str(secret)}}, model={"access_token": {"from_env": "SITE_TOKEN"}})
    done = bench.launch(spec, SITE_TOKEN="hunter3")
    assert done.returncode == 0, done.stderr
    env = bench.told(spec)["env"]
    assert (env["A_TOKEN"], env["B_TOKEN"], env["HF_TOKEN"]) == ("hunter3", "hunter2", "hunter3")
    assert "hunter" not in "".join(path.read_text() for path in Path(bench.place(spec).dir).glob("*.sh"))
    assert "hunter" not in json.dumps(bench.calls())
    missing = bench.launch(spec)
    assert missing.returncode != 0 and "SITE_TOKEN" in missing.stderr


def test_the_container_is_made_once_and_setup_runs_once(bench: Bench) -> None:
    marks = bench.work / "marks"
    # The stub runs steps here, so the markers must not be where real ones are.
    spec = bench.job(container={"setup": [f"mkdir -p {marks}; echo step >> {marks}/log", "true"]})
    text = containers.make_script(spec, bench.place(spec)).replace(containers.MARKERS, str(marks))
    for _ in range(2):
        done = bench.bash(text)
        assert done.returncode == 0, done.stderr
    assert sum(call[0] == "run" for call in bench.calls()) == 1 and (marks / "log").read_text() == "step\n"
    assert (Path(bench.place(spec).dir) / "setup-01.log").exists()


def test_a_setup_step_that_fails_is_named_with_its_output(bench: Bench) -> None:
    spec = bench.job(container={"setup": ["echo no such package >&2; exit 1"]})
    done = bench.bash(containers.make_script(spec, bench.place(spec)).replace(containers.MARKERS, str(bench.work / "marks")))
    assert done.returncode == 1 and "no such package" in done.stderr and "setup step 01 failed" in done.stderr


@pytest.mark.parametrize(("there", "reuse", "ok", "calls"), [
    (None, "refuse", True, ["run"]),
    ({}, "refuse", False, []),
    ({}, "replace", True, ["rm", "run"]),
    ({}, "reuse", True, []),
    ({"running": False}, "reuse", True, ["start"]),
    ({"job": "tiny-gpt", "attempt": "20260101T000000Z-0000"}, "refuse", True, ["rm", "run"]),
    ({"job": "tiny-gpt-2", "attempt": ATTEMPT}, "refuse", False, []),
    ({"job": "tiny-gpt", "attempt": ATTEMPT}, "refuse", True, []),
])
def test_a_container_of_that_name(bench: Bench, there: dict[str, Any] | None, reuse: str, ok: bool, calls: list[str]) -> None:
    if there is not None:
        bench.container(**there)
    spec = bench.job(container={"reuse": reuse})
    done = bench.bash(containers.make_script(spec, bench.place(spec)))
    assert (done.returncode == 0) is ok, done.stderr
    assert [call[0] for call in bench.calls() if call[0] not in ("inspect", "ps")] == calls
    assert ok or "there is a container box already" in done.stderr


@pytest.mark.parametrize(("there", "removed"), [(None, False), ({}, False), ({"job": "tiny-gpt", "attempt": "20260101T000000Z-0000"}, False),
                                               ({"job": "tiny-gpt", "attempt": ATTEMPT}, True)])
def test_undoing_takes_only_its_own(bench: Bench, there: dict[str, Any] | None, removed: bool) -> None:
    if there is not None:
        bench.container(**there)
    spec = bench.job()
    assert bench.bash(containers.remove_script(spec, bench.place(spec))).returncode == 0
    assert any(call[0] == "rm" for call in bench.calls()) is removed


def test_an_engine_that_does_not_answer_is_no_absent_container(bench: Bench) -> None:
    spec = bench.job(container={"reuse": "replace"})
    bench.container(job="tiny-gpt", attempt=ATTEMPT)
    down = Path(f"{bench.book}.down")
    down.touch()
    undone, made = (bench.bash(script(spec, bench.place(spec))) for script in (containers.remove_script, containers.make_script))
    assert undone.returncode != 0 and "Cannot connect" in undone.stderr
    assert made.returncode != 0 and "Cannot connect" in made.stderr and "docker does not answer on this node" in made.stderr
    down.unlink()
    assert bench.bash(containers.remove_script(spec, bench.place(spec))).returncode == 0
    assert any(call[0] == "rm" for call in bench.calls())


def test_what_is_missing_on_the_node_is_named(bench: Bench) -> None:
    spec = bench.job(container={"device_access": "devices", "manager_devices": ["/dev/no_such_manager"]}, fleet={"npus_per_node": 1})
    done = bench.bash(containers.make_script(spec, bench.place(spec)))
    assert done.returncode == 1 and "is not on this node" in done.stderr and not bench.calls()
    spec = bench.job(container={"mounts": ["/no/such/data:/data"]})
    done = bench.bash(containers.make_script(spec, bench.place(spec)))
    assert done.returncode == 1 and "/no/such/data is not on this node, so it cannot be mounted" in done.stderr


def test_command_sh_says_that_its_container_is_gone(bench: Bench) -> None:
    done = bench.bash(f"exec bash '{bench.write(bench.job())}/command.sh'")
    assert done.returncode == 125 and "container box is not there" in done.stderr
