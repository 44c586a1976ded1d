"""What an import yields: a job as a mapping, findings, and what was left behind. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from console.core.launch.problems import Problem
from trainer.spec.blocks import SECRET_NAME

FILL_IN = "???"
"""A value the operator has to give; composing the job says so with file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One text and the name it goes by in findings."""

    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One thing of a source that is not, or not exactly, in the job file."""

    where: str
    """file:line:column."""
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """One job out of one or more sources."""

    kind: str
    """env-script, docker-run, ascendfactory or hyperpod."""
    job: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()
    """What is wrong with the source; the job has the value that was most likely meant."""
    left: tuple[Left, ...] = ()

    @property
    def name(self) -> str:
        """run.name of the job."""
        return str(self.job.get("run", {}).get("name", "job"))

    @property
    def text(self) -> str:
        """The job file."""
        return job_text(self)


@dataclass(slots=True)
class Findings:
    """Collects problems and leftovers while a source is read."""

    problems: list[Problem] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def report(self, rule: str, where: str, message: str, *, got: str = "", expected: str = "", fix: str = "", warning: bool = False) -> None:
        """Add one finding."""
        self.problems.append(Problem(rule=rule, severity="warning" if warning else "error", where=where, message=message,
                                     got=got, expected=expected, fix=fix))

    def leave(self, where: str, what: str, why: str) -> None:
        """Add one thing that was not carried over."""
        found = Left(where=where, what=what, why=why)
        if found not in self.left:
            self.left.append(found)


class JobMapping:
    """A job file under construction: blocks in the order of DESIGN section 4."""

    BLOCKS = ("defaults", "run", "paths", "fleet", "container", "runner", "code", "model", "parallel", "train", "data",
              "checkpoint", "export", "env", "logging", "preflight", "recovery")

    def __init__(self) -> None:
        self._blocks: dict[str, Any] = {}

    def put(self, path: str, value: Any) -> None:
        """Set ``block.key`` or ``block.inner.key``."""
        *blocks, key = path.split(".")
        at = self._blocks
        for name in blocks:
            at = at.setdefault(name, {})
        at[key] = value

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path, or ``default``."""
        at: Any = self._blocks
        for name in path.split("."):
            if not isinstance(at, dict) or name not in at:
                return default
            at = at[name]
        return at

    def mapping(self) -> dict[str, Any]:
        """The blocks in order."""
        return {name: self._blocks[name] for name in self.BLOCKS if name in self._blocks}


def job_text(found: Imported) -> str:
    """The job file as YAML, with what has to be looked at in comments at its head. Dollar signs of the source
    are escaped, so that ``${...}`` in a pasted value stays text."""
    lines = [f"# Imported by Rankdeck from {_KINDS[found.kind]}. Read it before it is launched: rankdeck plan shows what would run."]
    for problem in found.problems:
        lines.append(_comment(f"{problem.severity.upper()} {problem.rule} at {problem.where}: {problem.message}. {problem.fix}"))
    for one in found.left:
        lines.append(_comment(f"not carried over ({one.where}): {one.what}: {one.why}"))
    blocks = [_dump({key: value}) for key, value in found.job.items()]
    return "\n".join(lines) + "\n" + "".join(blocks)


def escape(value: Any) -> Any:
    """Text of a source as a job file has to write it: a ``${`` in it is literal."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, dict):
        return {key: escape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [escape(inner) for inner in value]
    return value


def whole(value: Any) -> int | None:
    """The value as a whole number, or None when it is none: 4, 4.0 and "4" are, true, 4.5 and infinity are not."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[0-9]{1,15}", value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def safe_env(env: Mapping[str, str], where: str, findings: Findings) -> dict[str, Any]:
    """``env`` of a job file: values of variables that are secrets by their names are left out, and named by place."""
    found: dict[str, Any] = {}
    for name, value in env.items():
        if value and SECRET_NAME.search(name):
            found[name] = {"from_env": name}
            findings.leave(where, name, "a secret is named, never written: it is read from that variable on the node")
        else:
            found[name] = escape(value)
    return found


_KINDS = {"env-script": "shell commands", "docker-run": "a docker run line", "ascendfactory": "AscendFactory settings",
          "hyperpod": "a HyperPod recipe"}


def _comment(text: str) -> str:
    return "# " + "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))


class _Dumper(yaml.SafeDumper):
    """Block style, and texts quoted where YAML 1.1 or 1.2 would read them as something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quoted where YAML 1.2 would read a number: 1.1, which PyYAML writes for, takes 1e3 for a text."""
    try:
        float(text)
        style: str | None = "'"
    except ValueError:
        style = "'" if text.startswith(("0x", "0o")) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _dump(block: Mapping[str, Any]) -> str:
    return yaml.dump(dict(block), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096, default_flow_style=False)
