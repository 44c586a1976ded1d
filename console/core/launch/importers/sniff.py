"""What a text is, and which texts belong together. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import yaml

from console.core.errors import FileError
from console.core.launch.document import Value
from console.core.launch.document import parse as parse_yaml
from console.core.launch.importers import ascendfactory, docker_run, env_script, hyperpod
from console.core.launch.importers.imported import Findings, Imported, JobMapping, Source

_DOCKER = re.compile(r"\b(?:docker|podman)\s+(?:container\s+)?run\b")


def kind_of(source: Source) -> str:
    """hyperpod, ascendfactory-yaml, ascendfactory, docker-run, env-script, or empty for none of them."""
    value = _yaml(source)
    if value is not None:
        if hyperpod.is_config(value) or hyperpod.is_recipe(value) or value.at(("recipes",)) is not None:
            return "hyperpod"
        keys = set(ascendfactory.walk(value))
        if "backend_config" in keys or len(keys & set(ascendfactory.KNOWN)) >= 3:
            return "ascendfactory-yaml"
    if "ascendfactory-cli" in source.text:
        return "ascendfactory"
    if env_script.launches(source):
        return "env-script"
    return "docker-run" if docker_run.find(source) else ""


def read(sources: Sequence[Source]) -> list[Imported]:
    """The jobs in the sources, in order. Raises FileError for a text that is none of ours."""
    kinds = [(source, kind_of(source)) for source in sources]
    for source, kind in kinds:
        if not kind:
            raise FileError("this is nothing that can be imported", where=source.name, got=_first(source.text),
                            expected="launch commands with MASTER_ADDR=... or RUN_TYPE=..., a docker run line, AscendFactory settings, or a HyperPod recipe",
                            fix="Give the text as it was run, without a prompt in front")
    found: list[Imported] = []
    if pods := [source for source, kind in kinds if kind == "hyperpod"]:
        found += hyperpod.read(pods)
    settings = [source for source, kind in kinds if kind == "ascendfactory-yaml"]
    commands = [source for source, kind in kinds if kind == "ascendfactory"]
    if settings or commands:
        found += ascendfactory.read(commands, settings)
    if scripts := [source for source, kind in kinds if kind == "env-script"]:
        found += env_script.read(scripts)
    # A container's line goes with the training command, in a text of its own or in the same one.
    lines = [(source, command) for source, _ in kinds if _DOCKER.search(source.text) for command in docker_run.find(source)]
    if not found:
        return docker_run.read([source for source, _ in kinds])
    if len(lines) == 1:
        source, command = lines[0]
        for at, one in enumerate(found):
            job, findings = JobMapping(), Findings()
            for block, value in one.job.items():
                job.put(block, value)
            docker_run.fill(job, command, source, findings)
            found[at] = replace(one, job=job.mapping(), problems=(*one.problems, *findings.problems), left=(*one.left, *findings.left))
    elif lines:
        findings = Findings()
        findings.leave(lines[1][1].words[0].where, f"{len(lines)} docker run lines", "only one can go with a job; none was taken")
        found = [replace(one, left=(*one.left, *findings.left)) for one in found]
    return found


def _yaml(source: Source) -> Value | None:
    """The text as a YAML block, or None when it is something else."""
    if not re.search(r"^[\w\"'-]+\s*:(?:\s|$)", source.text, re.MULTILINE):
        return None
    try:
        value, _ = parse_yaml(source.text, source.name)
    except (FileError, yaml.YAMLError):
        return None
    return value if isinstance(value.data, dict) and value.data else None


def _first(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return repr(line[:60]) if line else "an empty text"
