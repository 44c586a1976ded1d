"""``rankdeck run-step``, and a launch with steps and code before it, from the command line to a real agent over a real SSH server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing

from console import cli, files
from console.cli.jobs import left_to_do
from console.core.launch.difference import Attempt
from console.core.launch.plan import make_plan
from tests.console.core.launch.jobs import ATTEMPT
from tests.console.test_execute import Site, site

__all__ = ["site"]
ROOT = Path(__file__).parents[2]
SCHEMAS = {path.name: json.loads(path.read_text()) for path in (ROOT / "console" / "schema").glob("*.schema.json")}
REGISTRY: Any = referencing.Registry().with_resources([(schema["$id"], referencing.Resource.from_contents(schema)) for schema in SCHEMAS.values()])


def check(name: str, text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator(SCHEMAS[f"{name}.schema.json"], registry=REGISTRY).validate(document)
    return document


def job_file(site: Site, tmp_path: Path, **blocks: dict[str, Any]) -> str:
    """A job of the project's trainer on the one node, whose work directory only the node has."""
    job: dict[str, dict[str, Any]] = {
        "run": {"name": "tiny"}, "paths": {"work": "~/ws"}, "fleet": {"nodes": ["n1"], "npus_per_node": 1},
        "runner": {"kind": "torchrun", "python": sys.executable, "trainer_dir": str(ROOT)}, "train": {"iterations": 2, "global_batch_size": 1, "seq_length": 16},
        "data": {"format": "megatron-bin", "prefix": "~/ws/data/o", "input": "~/raw.jsonl"}, "checkpoint": {"dir": "~/ws/out", "interval": 1},
        "preflight": {"level": "quick", "waive": []}}
    for block, values in blocks.items():
        job[block] = {**job.get(block, {}), **values}
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job))
    (site.sshd.home / "raw.jsonl").write_text("".join(json.dumps({"text": f"line {at}"}) + "\n" for at in range(30)))
    return str(path)


SCRIPT: dict[str, Any] = {"kind": "script", "entry": "./go.sh", "workdir": "~/ws/code"}


def test_a_step_runs_to_its_end_and_once(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(site, tmp_path)
    assert site.run("run-step", job, "preprocess", "--json") == 0
    said = capsys.readouterr()
    document = check("run-step", said.out)
    assert document["ok"] and document["job"] == "tiny--preprocess" and [(one["node"], one["state"], one["code"]) for one in document["nodes"]] == [("n1", "done", 0)]
    assert "n1: 30 documents" in said.err and "n1: start done" in said.err
    assert all(Path(path.replace("~", str(site.sshd.home), 1)).is_file() for path in document["makes"]) and document["makes"]
    folder = Path(document["nodes"][0]["dir"].replace("~", str(site.sshd.home), 1))
    assert json.loads((folder / "exit-command.json").read_text())["code"] == 0 and (folder / "shim.json").is_file()
    assert site.run("run-step", job, "preprocess") == 0
    assert "there already" in capsys.readouterr().err
    assert site.run("ps", "--all", "--json") == 0
    assert {one["job"] for one in json.loads(capsys.readouterr().out)["attempts"]} == {"tiny--preprocess"}
    # The command asks the agent how the step ended; the record of it comes a moment later.
    for _ in range(20):
        assert site.run("status", "--json") in (0, 1)
        told = {one["status"] for one in json.loads(capsys.readouterr().out)["jobs"]}
        if told == {"done"}:
            break
    assert told == {"done"}
    assert site.run("attach", "tiny--preprocess", "--json") == 0
    assert check("attach", capsys.readouterr().out)["result"]["status"] == "done"


def test_a_step_that_fails_says_what_it_said(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(site, tmp_path, data={"input": "~/nothing.jsonl"})
    assert site.run("run-step", job, "preprocess", "--json") == 1
    document = check("run-step", capsys.readouterr().out)
    assert not document["ok"] and document["nodes"][0]["code"] == 3 and "nothing.jsonl" in document["error"]["got"] and "launcher.log" in document["error"]["where"]


def test_a_dry_run_connects_to_nothing_and_a_wrong_job_neither(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = job_file(site, tmp_path)
    assert site.run("run-step", job, "preprocess", "--dry-run") == 0
    text = capsys.readouterr().out
    assert "trainer/__main__.py preprocess --input" in text and "in ~/ws/.rankdeck/tiny--preprocess/" in text
    assert site.run("run-step", job, "preprocess", "--plan", "--json") == 0
    document = check("run-step", capsys.readouterr().out)
    assert document["plan"][0]["commands"][-1]["script"] in text.replace("\n    ", "\n") or document["plan"]
    assert site.run("run-step", job_file(site, tmp_path, data={"input": ""}), "preprocess", "--json") == 1
    document = check("run-step", capsys.readouterr().out)
    assert [one["rule"] for one in document["problems"]] == ["U1"] and document["problems"][0]["where"].startswith(job + ":1:")
    assert site.run("run-step", job, "preprocess", "--node", "n7") == 2
    assert site.sshd.commands == []


def test_a_detached_step_is_watched_and_stopped_by_its_name(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = site.sshd.home / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 300\n")
    slow.chmod(0o755)
    job = job_file(site, tmp_path, runner={"python": str(slow)})
    assert site.run("run-step", job, "preprocess", "--detach", "--json") == 0
    document = check("run-step", capsys.readouterr().out)
    assert document["nodes"][0]["state"] == "started"
    assert site.run("run-step", job, "preprocess", "--json") == 1
    assert "already there" in check("run-step", capsys.readouterr().out)["error"]["what"]
    assert site.run("stop", "tiny--preprocess", "--grace", "5", "--yes-i-mean", "tiny--preprocess") == 0


def repository(path: Path) -> str:
    """A repository with a program in it, and a commit's id."""
    path.mkdir()
    (path / "go.sh").write_text("echo code of the commit > \"$RANKDECK_DIR/ran\"\n")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(path), *words], check=True, env=env)
    commit = subprocess.run(["git", "-C", str(path), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (path / "go.sh").write_text("echo code as it lies > \"$RANKDECK_DIR/ran\"\n")
    return commit


def ran(site: Site, document: dict[str, Any]) -> str:
    folder = Path(document["nodes"][0]["dir"].replace("~", str(site.sshd.home), 1))
    return (folder / "ran").read_text().strip() if (folder / "ran").exists() else ""


def launched(site: Site, job: str, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """A launch without checks, waited for."""
    site.run("launch", job, "--wait", "--json", "--no-check")
    said = capsys.readouterr()
    return check("launch", said.out), said.err


def test_code_is_there_before_the_start(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commit = repository(tmp_path / "repo")
    work = site.sshd.home / "ws"
    job = job_file(site, tmp_path, runner=SCRIPT, code={"path": "repo", "commit": commit, "to": "~/ws/code"}, data={"format": "synthetic", "prefix": ""})
    assert site.run("plan", job, "--json") == 0
    planned = check("plan", capsys.readouterr().out)["code"]
    assert planned["source"].endswith(f"repo@{commit}") and planned["to"] == "~/ws/code" and site.sshd.commands == []
    document, err = launched(site, job, capsys)
    assert ran(site, document) == "code of the commit", err
    assert (work / "code").is_symlink() and os.readlink(work / "code").endswith(planned["sha256"][:12])
    sent = [command for command in site.sshd.commands if "cat >>" in command]
    assert sent
    document, _ = launched(site, job, capsys)
    assert ran(site, document) == "code of the commit" and len([command for command in site.sshd.commands if "cat >>" in command]) == len(sent), "it was there"
    job = job_file(site, tmp_path, runner=SCRIPT, code={"path": "repo", "to": "~/ws/code"}, data={"format": "synthetic", "prefix": ""})
    document, _ = launched(site, job, capsys)
    assert ran(site, document) == "code as it lies"


def test_code_that_cannot_land_undoes_the_launch(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repository(tmp_path / "repo")
    (site.sshd.home / "ws" / "code").mkdir(parents=True)
    job = job_file(site, tmp_path, runner=SCRIPT, code={"path": "repo", "to": "~/ws/code"}, data={"format": "synthetic", "prefix": ""})
    document, _ = launched(site, job, capsys)
    assert not document["ok"] and "is not ours" in document["error"]["got"] and {one["phase"]: one["state"] for one in document["nodes"][0]["phases"]}["prepare"] == "failed"
    assert site.run("ps", "--json") == 0
    assert json.loads(capsys.readouterr().out)["attempts"] == []
    for wrong in ({"path": "nothing", "to": "~/ws/c"}, {"path": "repo", "commit": "abc123", "to": "~/ws/c"}, {"repo": str(tmp_path / "none.git"), "to": "~/ws/c"}):
        assert site.run("plan", job_file(site, tmp_path, runner=SCRIPT, code=wrong, data={"format": "synthetic", "prefix": ""}), "--json") == 1
        (problem,) = [one for one in check("plan", capsys.readouterr().out)["problems"] if one["severity"] == "error"]
        assert problem["rule"] == "G1" and problem["where"].startswith(job + ":1:")


def test_steps_that_the_job_asks_for_come_first(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    go = site.sshd.home / "go.sh"
    go.write_text("ls ~/ws/data > \"$RANKDECK_DIR/ran\"\n")
    runner = {"kind": "script", "entry": "~/go.sh", "workdir": "~/ws"}
    job = job_file(site, tmp_path, runner=runner, data={"prepare": True})
    document, err = launched(site, job, capsys)
    assert "o_text_document.bin" in ran(site, document), err
    assert err.index("tiny--preprocess: start done") < err.index("n1: prepare done", err.index("tiny--preprocess: start done"))
    assert {one["phase"] for one in document["nodes"][0]["phases"]} >= {"preflight", "prepare", "start"} and "--preprocess" not in document["nodes"][0]["dir"]
    job = job_file(site, tmp_path, runner=runner, data={"prepare": True, "input": "~/nothing.jsonl", "prefix": "~/ws/other/o"})
    document, _ = launched(site, job, capsys)
    assert not document["ok"] and "tiny--preprocess failed" in document["error"]["what"] and document["epoch"] is None and ran(site, document) == ""


LAST = (" [2026-11-22 05:10:01.000000] iteration        2/       2 | consumed samples:            2 | elapsed time per iteration (ms): 5.0 | "
        "learning rate: 1.000000E-03 | global batch size:     1 | lm loss: 5.550000E+00 | loss scale: 1.0 | grad norm: 1.234 | "
        "number of skipped iterations:   0 | number of nan iterations:   0 |")


@pytest.mark.parametrize("works", [True, False])
def test_a_trained_job_is_exported_by_who_waits(works: bool, site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = site.sshd.home / "ws" / "code"
    (code / "ModelLink").mkdir(parents=True)
    (code / "go.sh").write_text(f"echo '{LAST}'\n")
    python = tmp_path / "bin" / "python"
    python.write_text('#!/bin/bash\nwhile [ $# -gt 0 ]; do [ "$1" = --save-dir ] && to=$2; shift; done\n' + ('mkdir -p "$to/mg2hg"\n' if works else "echo cannot read it >&2; exit 4\n"))
    python.chmod(0o755)
    job = job_file(
        site, tmp_path, runner={"kind": "env-script", "entry": "go.sh", "workdir": "~/ws/code"}, export={"dir": "~/ws/hf"}, run={"mode": "pretrain"},
        model={"family": "qwen", "size": "7B", "weights": "~/ws/tok", "tokenizer": "~/ws/tok"}, data={"prefix": "~/ws/data/o_text_document", "input": ""},
        preflight={"waive": [{"id": one, "reason": "a laptop"} for one in ("W4",)]})
    assert site.run("plan", job) == 0
    assert "After the training, with launch --wait: tiny--export" in capsys.readouterr().out
    document, err = launched(site, job, capsys)
    assert document["result"]["status"] == "finished", err
    assert document["ok"] is works and (site.sshd.home / "ws" / "hf").is_dir() is works, err
    assert works or ("cannot read it" in document["error"]["got"] and "tiny--export failed" in document["error"]["what"])
    made = make_plan(files.read_job(job).spec, files.read_fleet(str(site.fleet)), ATTEMPT)
    assert [line.partition(": ")[2] for line in left_to_do(made, "a job.yaml")] == ["rankdeck run-step 'a job.yaml' export"]


def test_a_plan_is_held_against_an_attempt_that_only_its_node_has(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site.sshd.home / "go.sh").write_text("true\n")
    runner = {"kind": "script", "entry": "~/go.sh", "workdir": "~/ws"}
    (site.sshd.home / "ws").mkdir()
    job = job_file(site, tmp_path, runner=runner, data={"format": "synthetic", "prefix": ""})
    document, _ = launched(site, job, capsys)
    assert site.run("plan", job, "--diff", document["attempt"]) == 0
    assert capsys.readouterr().out == f"Same as {document['attempt']}\n"
    job = job_file(site, tmp_path, runner=runner, data={"format": "synthetic", "prefix": ""}, train={"iterations": 3}, env={"A": "b"})
    assert site.run("plan", job, "--diff", document["attempt"], "--json") == 0
    diff = check("plan", capsys.readouterr().out)["diff"]
    assert {one["key"] for one in diff["job"]} == {"train.iterations", "env.A"} and any("export A=b" in line for one in diff["nodes"] for line in one["lines"])
    assert site.run("plan", job, "--diff", "20200101T000000Z-0000") == 2
    assert "no node has this attempt" in capsys.readouterr().err


def test_other_commands_keep_their_schemas(site: Site, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def told(name: str, *words: str) -> dict[str, Any]:
        assert site.run(*words) == 0
        return check(name, capfdbinary.readouterr()[0].decode())

    told("exec", "exec", "n1", "--json", "--yes-i-mean", "n1", "--", "echo", "hi")
    (tmp_path / "data").write_text("x")
    told("stage", "stage", "--json", "--to", "~/staged", "--data", str(tmp_path / "data"))
    (tmp_path / "log").write_text("x\n")
    told("adopt", "adopt", "--json", "theirs", "--node", "n1", "--log", str(tmp_path / "log"))
    told("adopt", "adopt", "--json", "theirs", "--release")


@pytest.mark.parametrize("name", sorted(name.removesuffix(".schema.json") for name in SCHEMAS))
def test_every_schema_is_printed_and_sound(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", name]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == SCHEMAS[f"{name}.schema.json"] == (files.read_schema(name))
    jsonschema.Draft202012Validator.check_schema(printed)


def test_a_schema_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", "run_step"]) == 2
    assert "run-step" in capsys.readouterr().err
    assert Attempt(name="x", nodes={}).nodes == {}
