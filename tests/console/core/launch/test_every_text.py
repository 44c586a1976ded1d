"""Every free text of a job or fleet file, filled with what a shell would love to run: carried as it is, or refused, and never executed.

The fields are read off the types, so that a new one is tried without anybody thinking of it.
"""

from __future__ import annotations

import dataclasses
import subprocess
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from console.core.errors import FileError
from console.core.launch import inventory
from console.core.launch.inventory import Node
from console.core.launch.plan import LaunchPlan, make_plan
from console.core.launch.problems import ProblemsError
from console.core.launch.step_plan import make_step_plan
from console.core.launch.steps import STEPS
from console.remote.deploy import as_agent, attach_command, sh_command
from tests.console.core.launch.jobs import ATTEMPT, make_fleet, make_job
from trainer.spec.job import JobSpec, Secret, SpecError, from_mapping, to_mapping

NASTY = "$(touch owned)`touch owned`;touch owned;'\";touch owned;\n touch owned\n# ü"
CODE_BY_DESIGN = {"runner.setup", "container.setup"}
"""Shell lines of the operator's own, as the guide says."""
STUBS = ("docker", "python", "python3", "ascendfactory-cli", "ip", "ssh", "sudo", "chown", "recorder")


def texts(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths of all fields that take any text, and how: text, list, map or secret."""
    for name, hint in typing.get_type_hints(cls).items():
        here = (*path, name)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if hint is str:
            yield here, "text"
        elif dataclasses.is_dataclass(hint):
            yield from texts(typing.cast(type, hint), here)
        elif origin is tuple and args[0] is str:
            yield here, "list"
        elif origin is types.UnionType and Secret in args:
            yield here, "secret"
        elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
            yield here, "map"


FIELDS = [(path, kind) for path, kind in texts(JobSpec) if ".".join(path) not in CODE_BY_DESIGN]


def filled(mapping: dict[str, Any], path: tuple[str, ...], kind: str, text: str) -> dict[str, Any]:
    """The job's mapping with one field filled with ``text``."""
    found = {key: dict(value) if isinstance(value, dict) else value for key, value in mapping.items()}
    block: Any = found
    for step in path[:-1]:
        block[step] = dict(block[step])
        block = block[step]
    block[path[-1]] = {"text": text, "list": [text], "map": {"FREE": text}, "secret": {"from_file": text}}[kind]
    return found


def base(root: Path, runner: str, runtime: str) -> dict[str, Any]:
    """A job that has something to do in every step. ``runner``: its kind, with AscendFactory's dialect behind a colon."""
    runner, _, dialect = runner.partition(":")
    spec = make_job(
        run={"mode": "lora"}, paths={"work": f"{root}/w", "scaffold": True}, fleet={"nodes": ["n0"], "spares": [], "npus_per_node": 8, "nic": ""},
        container={"runtime": runtime, "image": "i", "chown": "a:b", "device_access": "none"},
        runner={"kind": runner, "entry": f"{root}/bin/recorder" if runner != "torchrun" else "", "trainer_dir": f"{root}/t", "workdir": f"{root}/w",
                "ascendfactory": {"model_name": "m", "exp_name": "e", "dialect": "v2" if dialect == "v2" else "v1"}},
        code={"path": "c", "to": f"{root}/w/code"}, model={"family": "qwen", "size": "14B", "weights": f"{root}/h", "tokenizer": f"{root}/k"},
        parallel={"tensor_model_parallel_size": 1 if runner == "torchrun" else 8}, train={"iterations": 10, "global_batch_size": 8, "seq_length": 64},
        data={"format": "megatron-bin", "prefix": f"{root}/d", "input": f"{root}/i"}, checkpoint={"dir": f"{root}/c", "load_dir": f"{root}/l", "interval": 5}, export={"dir": f"{root}/x"},
        preflight={"waive": [{"id": "W4", "reason": "tokenizer files are edited"}]})
    return typing.cast(dict[str, Any], to_mapping(spec))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name in STUBS:
        # exec's words are run, as the engine and sudo do; nothing else is.
        run = 'while [ $# -gt 0 ] && [ "$1" != bash ]; do shift; done; [ $# -eq 0 ] || exec "$@"' if name in ("docker", "sudo") else ":"
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{run}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    for name in ("w", "t/trainer", "home"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def carry_out(plan: LaunchPlan, bench: Path) -> int:
    """Every script of a plan; how many were run."""
    count = 0
    for node in plan.nodes:
        folder = bench / "attempt"
        folder.mkdir(exist_ok=True)
        for name, text in node.files.items():
            (folder / name).write_text(text)
        for command in (*node.commands, *node.undo):
            # The directory is made by the agent, which checks its name: here it is another.
            text = command.script.replace(f"export RANKDECK_DIR={node.dir}", f"export RANKDECK_DIR={folder}")
            done = subprocess.run(["bash", "-c", text], env={"PATH": f"{bench / 'bin'}:/usr/bin:/bin", "HOME": str(bench / "home")}, cwd=bench / "w", stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, errors="replace", timeout=60, check=False)
            assert "syntax error" not in done.stderr and "unexpected EOF" not in done.stderr, done.stderr
            count += 1
    return count


def not_owned(bench: Path) -> None:
    assert not [path for path in bench.rglob("*") if path.name.startswith("owned")] and not Path("owned").exists() and not Path("/owned").exists()


@pytest.mark.parametrize(("path", "kind"), FIELDS, ids=lambda value: ".".join(value) if isinstance(value, tuple) else "")
def test_no_text_of_a_job_is_executed(path: tuple[str, ...], kind: str, bench: Path) -> None:
    ran = 0
    inner = f"{bench}/w/{NASTY}"
    for runner, runtime, text, steps in (("env-script", "process", inner, STEPS), ("env-script", "docker", NASTY, ()), ("torchrun", "docker", inner, STEPS),
                                         ("ascendfactory:v1", "process", NASTY, ()), ("ascendfactory:v2", "process", NASTY, ())):
        try:
            spec = from_mapping(filled(base(bench, runner, runtime), path, kind, text))
        except SpecError:
            continue
        ran += carry_out(make_plan(spec, make_fleet(n0={"npus": 8}), ATTEMPT), bench)
        for name in steps:
            try:
                ran += carry_out(make_step_plan(spec, make_fleet(), name, ATTEMPT), bench)
            except FileError:
                continue
    not_owned(bench)
    assert ran or path[-1] in ("name", "nic", "nodes", "spares", "commit", "branch", "repo", "user", "chown", "memory", "shm_size", "network", "image", "path", "to"), "nothing was tried"


def test_what_the_texts_are_put_into_is_a_job(tmp_path: Path) -> None:
    for runner, runtime in (("env-script", "docker"), ("torchrun", "docker"), ("ascendfactory:v1", "process"), ("ascendfactory:v2", "process")):
        made = make_plan(from_mapping(base(tmp_path, runner, runtime)), make_fleet(n0={"npus": 8}), ATTEMPT)
        assert made.ok and made.nodes, (runner, made.problems)


def test_the_list_of_fields_is_whole() -> None:
    names = {".".join(path) for path, _ in FIELDS}
    assert {"code.path", "code.to", "code.repo", "code.token", "data.prefix", "env", "model.weights", "container.mounts", "runner.ascendfactory.overrides"} <= names and len(names) > 50


PRINTABLE = "$(touch owned)`touch owned`;touch owned;'\";touch owned;# ü"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Node) if field.type == "str"])
def test_no_text_of_a_fleet_file_is_executed(field: str, bench: Path) -> None:
    for text in (NASTY, PRINTABLE, f"{bench}/{PRINTABLE}"):
        try:
            fleet = inventory.from_mapping({"nodes": [{"name": "n0", "host": "10.0.0.1", "npus": 8, field: text}, {"name": "n1", "host": "10.0.0.2"}]}, name="f", where="f")
        except ProblemsError:
            continue
        node = fleet.nodes[0]
        if node.name != "n0":
            continue
        for line in (attach_command(node), sh_command("true", as_agent(node))):
            subprocess.run(["sh", "-c", line], env={"PATH": f"{bench / 'bin'}:/usr/bin:/bin", "HOME": str(bench / "home")}, cwd=bench / "w", stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=60, check=False)
        mapping = base(bench, "torchrun", "process")
        mapping["fleet"] = {**mapping["fleet"], "nodes": ["n0", "n1"]}
        mapping["parallel"] = {**mapping["parallel"], "tensor_model_parallel_size": 1}
        carry_out(make_plan(from_mapping(mapping), fleet, ATTEMPT), bench)
        carry_out(make_step_plan(from_mapping(mapping), fleet, "preprocess", ATTEMPT), bench)
    not_owned(bench)


def test_a_text_that_is_executed_would_be_seen(bench: Path) -> None:
    mapping = filled(base(bench, "env-script", "process"), ("runner", "setup"), "list", "touch owned")
    assert carry_out(make_plan(from_mapping(mapping), make_fleet(n0={"npus": 8}), ATTEMPT), bench)
    with pytest.raises(AssertionError):
        not_owned(bench)

