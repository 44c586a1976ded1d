"""``rankdeck import`` and ``rankdeck schema`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from console.cli import main
from console.core.launch.schema import job_schema
from console.files import SHIPPED
from tests.console.core.launch import cases
from tests.console.core.launch.importers.seeds import LAUNCHES

SCHEMAS = Path(__file__).parents[2] / "console" / "schema"


def test_good_commands_become_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = LAUNCHES[-1]
    names = []
    for at, command in enumerate(seed.commands):
        names.append(str(tmp_path / f"node{at}.sh"))
        Path(names[-1]).write_text(command)
    out = tmp_path / "job.yaml"
    assert main(["import", *names, "-o", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == "" and f"written to {out}" in told.err and "not carried over" in told.err
    assert yaml.safe_load(out.read_text())["run"] == {"name": "qwen-14b-lora", "mode": "lora"}
    assert main(["import", *names, "-o", str(out)]) == 2
    assert "there is a file already" in capsys.readouterr().err


def test_faulty_commands_are_told_and_still_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "all.sh").write_text("\n".join(command for seed in LAUNCHES for command in seed.commands))
    assert main(["import", str(tmp_path / "all.sh"), "-o", str(tmp_path / "job.yaml"), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, json.loads((SCHEMAS / "import.schema.json").read_text()))
    assert not document["ok"] and [problem["rule"] for job in document["jobs"] for problem in job["problems"]] == ["N2", "N3"]
    assert len({job["path"] for job in document["jobs"]}) == 8 and all(Path(job["path"]).is_file() for job in document["jobs"])


def test_standard_input_and_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(LAUNCHES[0].commands[0]))
    assert main(["import", "-"]) == 0 and "mode: pretrain" in capsys.readouterr().out
    (tmp_path / "x").write_text("hello")
    assert main(["import", str(tmp_path / "x")]) == 2
    assert main(["import", str(tmp_path / "missing")]) == 2


def test_a_config_brings_its_recipe_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {recipes: training/x}]\nbase_results_dir: /r\n")
    (tmp_path / "recipes" / "training").mkdir(parents=True)
    (tmp_path / "recipes" / "training" / "x.yaml").write_text("run: {name: pod}\ntrainer: {max_steps: 5, num_nodes: 1}\nmodel: {train_batch_size: 1}\n")
    assert main(["import", str(tmp_path / "config.yaml")]) == 0 and "name: pod" in capsys.readouterr().out


def test_the_schema_is_that_of_the_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "job"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == job_schema() == json.loads((SCHEMAS / "job.schema.json").read_text()), "rankdeck schema job > console/schema/job.schema.json"
    jsonschema.Draft202012Validator.check_schema(printed)


def test_job_files_keep_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(job_schema())
    for name in cases.all_names():
        validator.validate(yaml.safe_load(cases.job_text(name)))
    for group in SHIPPED.values():
        for path in group.glob("*.yaml"):
            validator.validate(yaml.safe_load(path.read_text()))
    for wrong in ({"run": {"nmae": "x"}}, {"train": {"iterations": "many"}}, {"run": {"mode": "dpo"}}, {"nodes": []}):
        assert not validator.is_valid(wrong)
    assert validator.is_valid({"train": {"iterations": "${x.y}"}, "env": {"A": 1, "B": {"from_env": "C"}}})
