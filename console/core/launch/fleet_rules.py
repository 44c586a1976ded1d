"""The rules that need more than the job: its nodes in the fleet, and what a path, a name or a variable may be.

Pure. ``trainer.spec.rules`` has the rules of the job alone; these stand beside them in ``rankdeck plan``.
Ids: F nodes of the fleet, L what a launch can carry out, E environment, K paths and names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from console.core.launch.factory import check as check_factory
from console.core.launch.inventory import Inventory
from console.core.launch.step_names import is_step
from trainer.spec.finding import Finding
from trainer.spec.job import JobSpec, to_mapping

ATTEMPT = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
"""Attempt ids sort by time: YYYYMMDDTHHMMSSZ-xxxx, UTC and 4 hexadecimal digits."""

JOB_NAME_BYTES = 100
"""A job's name is a directory name (255 bytes on Linux file systems) and part of others."""

DERIVED = ("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
           "NODE_RANK", "NNODES", "TORCHELASTIC_RUN_ID", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE")
"""Differs by node or rank, or a launch depends on it; typed by hand it would be wrong somewhere."""


def check_fleet(spec: JobSpec, inventory: Inventory, attempt: str) -> Iterator[Finding]:
    """Everything that is wrong with running ``spec`` on ``inventory`` under the id ``attempt``."""
    yield from _nodes(spec, inventory)
    yield from _names(spec, attempt)
    yield from _paths(spec)
    yield from _environment(spec)
    yield from _texts(to_mapping(spec), ())


def _nodes(spec: JobSpec, inventory: Inventory) -> Iterator[Finding]:
    fleet = spec.fleet
    known = {node.name: node for node in inventory.nodes}
    for key, names in (("nodes", fleet.nodes), ("spares", fleet.spares)):
        for at, name in enumerate(names):
            path = ("fleet", key, str(at))
            if name in names[:at]:
                yield _error("F1", path, f"node {name!r} stands twice in fleet.{key}", fix="Name it once")
            elif name not in known:
                yield _error("F2", path, f"node {name!r} is not in fleet {inventory.name!r}", got=name,
                             expected=_some(list(known)), fix="Mend the name or add the node to the fleet file")
    for at, name in enumerate(fleet.spares):
        if name in fleet.nodes:
            yield _error("F3", ("fleet", "spares", str(at)), f"node {name!r} is both a worker and a spare", fix="Leave it in one of the two")
    addresses: dict[str, str] = {}
    for at, name in enumerate(fleet.nodes):
        if name not in known or name in fleet.nodes[:at]:
            continue
        node, path = known[name], ("fleet", "nodes", str(at))
        if node.npus and fleet.npus_per_node > node.npus:
            yield _error("F4", ("fleet", "npus_per_node"), f"node {name!r} has fewer NPUs than the job wants", got=str(node.npus),
                         expected=f"{fleet.npus_per_node} or more", fix="Lower npus_per_node or take another node")
        if node.role == "spare":
            yield _warning("F5", path, f"node {name!r} is a spare in the fleet file", got=name, expected="a worker",
                           fix="Keep it for a failure, or give it role: worker")
        address = node.address or node.host
        if address in addresses:
            yield _error("F6", path, f"nodes {addresses[address]!r} and {name!r} have the same address", got=address,
                         fix="Give each its own address in the fleet file")
        elif len(fleet.nodes) > 1 and address.strip("[]") in ("localhost", "127.0.0.1", "::1"):
            yield _error("F9", path, f"the other nodes cannot reach {name!r} under its address", got=address,
                         expected="an address of the training network", fix="Give it an address in the fleet file")
        addresses.setdefault(address, name)
    if not 1 <= fleet.master_port <= 65535:
        yield _error("F7", ("fleet", "master_port"), "not a port", got=str(fleet.master_port), expected="1 to 65535", fix="29500 is usual")
    if len(fleet.nodes) > 1 and not fleet.nic:
        yield _warning("F8", ("fleet", "nic"), "no network interface is named: it is looked up on each node by its address, where that is a number",
                       got="nothing", expected="for example bond0", fix="Set fleet.nic to the interface of the training network")


def _names(spec: JobSpec, attempt: str) -> Iterator[Finding]:
    name = spec.run.name
    # The agent takes no other (agent.attempt.is_name).
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is None or len(name.encode("utf-8", "replace")) > JOB_NAME_BYTES:
        yield _error("K1", ("run", "name"), "a job's name becomes a directory name and is typed to stop it", got=repr(name),
                     expected=f"letters, digits and . - _, beginning with a letter or digit, at most {JOB_NAME_BYTES} bytes")
    elif is_step(name):
        yield _error("K1", ("run", "name"), "names like this are kept for the steps of jobs", got=repr(name), expected="another ending", fix="Rename the job")
    if ATTEMPT.fullmatch(attempt) is None:
        yield _error("K2", (), "not an attempt id", got=repr(attempt), expected="YYYYMMDDTHHMMSSZ-xxxx", fix="Leave --attempt out")
    if spec.fleet.nic and re.fullmatch(r"[^\s/,=^]{1,15}", spec.fleet.nic) is None:
        yield _error("K3", ("fleet", "nic"), "not the name of a network interface", got=repr(spec.fleet.nic), expected="for example bond0")


def _paths(spec: JobSpec) -> Iterator[Finding]:
    runner = spec.runner
    paths = {("paths", "work"): spec.paths.work, ("checkpoint", "dir"): spec.checkpoint.dir}
    if runner.kind in ("env-script", "script") and runner.entry and not runner.entry.startswith(("/", "~/")):
        # A relative script is one of a directory that is named.
        paths["runner", "workdir"] = runner.workdir
    optional = {("checkpoint", "load_dir"): spec.checkpoint.load_dir, ("runner", "workdir"): runner.workdir, ("code", "to"): spec.code.to}
    if not runner.entry and runner.kind == "torchrun":
        paths["runner", "trainer_dir"] = runner.trainer_dir
        if runner.args:
            yield _error("L2", ("runner", "args"), "arguments without a program", got=" ".join(runner.args),
                         expected="runner.entry", fix="Name your script in runner.entry; the built-in trainer is set by the job file alone")
    for path, value in {**paths, **{key: text for key, text in optional.items() if text}}.items():
        if not value.startswith(("/", "~/")):
            yield _error("K4", path, f"{'.'.join(path)} must not depend on where a command starts", got=repr(value),
                         expected="a path that begins with / or ~/", fix="Write it in full")
        elif ".." in value.split("/"):
            yield _error("K4", path, f"{'.'.join(path)} leads upwards", got=repr(value), expected="a path without ..", fix="Write it in full")
    yield from _runner(spec)
    if not runner.python:
        yield _error("K5", ("runner", "python"), "no interpreter is named", expected="python3, or a path", fix="Set runner.python")


def _runner(spec: JobSpec) -> Iterator[Finding]:
    """L3 and L4: what the runner needs, and what it would not be told."""
    runner, factory = spec.runner, spec.runner.ascendfactory
    if runner.kind in ("env-script", "script") and not runner.entry:
        yield _error("L3", ("runner", "entry"), "no script is named", expected="for example scripts/qwen/qwen.sh", fix="Set runner.entry")
    if runner.kind == "ascendfactory":
        for key in ("model_name", "exp_name"):
            if not getattr(factory, key) and (factory.dialect == "v1" or not factory.config):
                yield _error("L3", ("runner", "ascendfactory", key), f"ascendfactory-cli needs {key}", expected="for example qwen2-7b" if key == "model_name" else "for example full-4k",
                             fix=f"Set runner.ascendfactory.{key}")
        for key in ("model_name", "exp_name", "config"):
            if getattr(factory, key).startswith("-"):
                yield _error("L3", ("runner", "ascendfactory", key), "this would be read as an option", got=getattr(factory, key), fix="Mend it")
        if factory.config and not factory.config.startswith(("/", "~/")) and not runner.workdir:
            yield _error("L3", ("runner", "ascendfactory", "config"), "a relative settings file needs runner.workdir", got=factory.config, fix="Write it in full")
    yield from check_factory(spec)
    if runner.kind == "env-script":
        plain = type(spec.train)(iterations=1)
        for name in ("learning_rate", "min_learning_rate", "warmup_iterations", "weight_decay", "clip_grad", "precision"):
            if getattr(spec.train, name) != getattr(plain, name):
                yield _warning("L4", ("train", name), "the script reads no such variable", got=str(getattr(spec.train, name)), expected="nothing",
                               fix="Set it in the script, or in env under the name it reads")


def _environment(spec: JobSpec) -> Iterator[Finding]:
    for name in spec.env:
        path = ("env", name)
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            yield _error("E1", path, "not the name of an environment variable", got=repr(name), expected="letters, digits and _")
        elif name in DERIVED or name.startswith("RANKDECK_"):
            yield _error("E2", path, f"{name} is set for each node or rank by the launch", fix="Take it out of env")
        elif name == "HOME":
            yield _error("E2", path, "HOME may not be changed: paths with ~/ stand on it", fix="Write the paths in full and take it out")


def _texts(value: Any, path: tuple[str, ...]) -> Iterator[Finding]:
    """No system call takes a NUL, and a half of a surrogate pair is no text in UTF-8."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path)
    elif isinstance(value, str) and ("\0" in value or value != value.encode("utf-8", "replace").decode("utf-8")):
        yield _error("E3", path, "a character that no command line can carry", got=ascii(value), fix="Take the character out")


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)} nodes)" if len(names) > 6 else "")


def _error(rule: str, path: tuple[str, ...], message: str, *, got: str = "", expected: str = "", fix: str = "") -> Finding:
    return _finding("error", rule, path, message, got, expected, fix)


def _warning(rule: str, path: tuple[str, ...], message: str, *, got: str = "", expected: str = "", fix: str = "") -> Finding:
    return _finding("warning", rule, path, message, got, expected, fix)


def _finding(severity: Literal["error", "warning"], rule: str, path: tuple[str, ...], message: str, got: str, expected: str, fix: str) -> Finding:
    return Finding(rule=rule, severity=severity, path=path, message=message, got=got, expected=expected, fix=fix)
