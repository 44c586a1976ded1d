"""Starting the trainer by its path: it is this package that runs, whatever lies about."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import __main__ as entry

ENTRY = Path(__file__).resolve().parents[2] / "trainer" / "__main__.py"


def start(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ENTRY), *arguments], cwd=cwd, env={**os.environ, "RANKDECK_DEVICE": "cpu", **environ},
        capture_output=True, text=True, timeout=300,
    )


def job(tmp_path: Path, **train: object) -> Path:
    path = tmp_path / "job.json"
    path.write_text(json.dumps({
        "run": {"name": "j"}, "paths": {"work": str(tmp_path)}, "fleet": {"nodes": ["n0"], "npus_per_node": 1},
        "train": {"iterations": 2, **train}, "checkpoint": {"dir": str(tmp_path / "ck")},
    }))
    return path


@pytest.mark.parametrize("where", ["cwd", "PYTHONPATH"])
def test_a_foreign_trainer_changes_nothing(where: str, tmp_path: Path) -> None:
    for name in ("trainer", "spec", "runtime", "data", "convert"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'the foreign {__name__} was imported')\n")
    result = start("train", "--job", str(job(tmp_path, iteration=1)), cwd=tmp_path, **({"PYTHONPATH": str(tmp_path)} if where == "PYTHONPATH" else {}))
    assert result.returncode == 2
    assert result.stderr == f"rankdeck: {tmp_path}/job.json: train.iteration: unknown key 'iteration'; did you mean 'iterations'?\n"


def test_its_own_directory_is_not_searched(tmp_path: Path) -> None:
    # ``trainer/data`` must not be what somebody's ``import data`` finds.
    check = (
        f"import runpy, sys; sys.path.insert(0, {str(ENTRY.parent)!r}); entry = runpy.run_path({str(ENTRY)!r}); entry['own_path']()\n"
        f"assert sys.path[0] == {str(ENTRY.parents[1])!r}, sys.path\n"
        f"assert {str(ENTRY.parent)!r} not in sys.path, sys.path\n"
        f"import trainer; assert trainer.__file__ == {str(ENTRY.parent / '__init__.py')!r}"
    )
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=True)


def test_a_foreign_trainer_that_is_loaded_already_is_put_aside(tmp_path: Path) -> None:
    check = (
        "import runpy, sys, types; sys.modules['trainer'] = types.ModuleType('trainer')\n"
        f"runpy.run_path({str(ENTRY)!r})['own_path']()\n"
        "import trainer.spec.job"
    )
    subprocess.run([sys.executable, "-c", check], cwd=tmp_path, check=True)


def test_a_job_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = start("train", "--job", str(tmp_path / "none.json"), cwd=tmp_path)
    assert (missing.returncode, "No such file" in missing.stderr) == (2, True)
    (tmp_path / "bad.json").write_text("{")
    broken = start("train", "--job", str(tmp_path / "bad.json"), cwd=tmp_path)
    assert (broken.returncode, broken.stderr.startswith(f"rankdeck: {tmp_path}/bad.json: the job file cannot be read (got Expecting")) == (2, True)


def test_all_problems_of_a_job_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text('{"run": {"name": 1}, "train": {}}')
    result = start("train", "--job", str(path), cwd=tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 5


def test_a_job_that_cannot_run_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    result = start("train", "--job", str(job(tmp_path, global_batch_size=3, micro_batch_size=2)), cwd=tmp_path)
    assert result.returncode == 3
    assert result.stderr == (
        "rankdeck: job.json: train.global_batch_size: not divisible by micro_batch_size = 2 [P3]"
        " (got 3, expected a multiple of 2). change one of them\n"
    )


def test_another_number_of_ranks_than_the_job_says_is_refused(tmp_path: Path) -> None:
    result = start("train", "--job", str(job(tmp_path)), cwd=tmp_path, RANK="0", WORLD_SIZE="4")
    assert result.returncode == 3
    assert "WORLD_SIZE: another number of ranks was started than the job says (got 4, expected 1 nodes x 1 = 1)" in result.stderr


@pytest.mark.parametrize("name", sorted(entry.EXAMPLES))
def test_the_examples_of_the_help_are_command_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in entry.EXAMPLES[name]:
        words = shlex.split(line.partition("-m trainer ")[2])
        assert words[0] == name
        assert entry.parser_of(words).parse_args(words).command == name
    for argv, wanted in (([], entry.EXAMPLES[name][:1]), ([name], entry.EXAMPLES[name])):
        with pytest.raises(SystemExit) as ended:
            entry.main([*argv, "--help"])
        told = capsys.readouterr().out
        assert ended.value.code == 0
        assert "examples:\n" in told
        assert all(f"\n  {line}\n" in told for line in wanted)


def test_every_command_has_examples() -> None:
    assert set(entry.EXAMPLES) == {"train", *entry.COMMANDS}


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_job_file_that_is_none_is_told_without_a_traceback(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.json"
    if content is not None:
        path.write_text(content)
    assert entry.main(["train", "--job", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"rankdeck: {path}: ")
    assert entry.main(["merge-lora", "--job", str(path), "--out", str(tmp_path / "out")]) == 3
    assert capsys.readouterr().err.startswith(f"rankdeck: {path}: the job file cannot be read (got ")


def test_what_is_measured_no_times_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--turns", "--batch-size", "--seq-length", "--threads"):
        with pytest.raises(SystemExit) as ended:
            entry.main(["bench", option, "0"])
        assert ended.value.code == 2
        assert f"argument {option}: 0 is less than 1" in capsys.readouterr().err


def test_no_command_is_wrong_usage(tmp_path: Path) -> None:
    assert start(cwd=tmp_path).returncode == 2
    assert start("train", cwd=tmp_path).returncode == 2


@pytest.mark.torch
@pytest.mark.timeout(400)
def test_starting_does_not_load_what_is_not_needed(tmp_path: Path) -> None:
    pytest.importorskip("megatron.core")
    run = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from trainer.__main__ import main\n"
        "status = main(['train', '--job', sys.argv[2]])\n"
        "loaded = {'torch._dynamo', 'torch._inductor', 'torch.utils.tensorboard', 'transformers', 'triton', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print('loaded', sorted(loaded)); sys.exit(status)"
    )
    result = subprocess.run(
        [sys.executable, "-c", run, str(ENTRY.parents[1]), str(job(tmp_path))], cwd=tmp_path,
        env={**os.environ, "RANKDECK_DEVICE": "cpu"}, capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded []"
    assert result.stderr == ""
