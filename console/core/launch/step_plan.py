"""A step as a launch of its own: the same plan, directory, container and command as a job has. Pure.

The step ``preprocess`` of job ``llama`` is the job ``llama--preprocess``: it has attempts, an exit record and logs
like any other, can be watched, stopped and found again by any console, and does not stand in the way of the
job itself. Its ``job.json`` says what it is; the job it belongs to is beside it as ``spec.json``.

In a container it gets one of its own, called after the step and removed at its end; with ``container.reuse:
reuse`` it is the job's, as S3 does it. What needs no NPU is given none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from console.core.errors import FileError
from console.core.launch import commands, container_rules, containers, environment_rules, waivers
from console.core.launch.document import Locate
from console.core.launch.fleet_rules import check_fleet
from console.core.launch.inventory import Inventory, Node
from console.core.launch.plan import LaunchPlan, NodeCommand, NodePlan, as_problems
from console.core.launch.step_names import job_of_step
from console.core.launch.steps import HEAD, Step, asked_after, asked_for, refusal, step
from console.core.launch.trainer_steps import JOB_FILE
from console.core.launch.words import Place, path_word, quote
from trainer.spec.job import JobSpec, to_mapping

AFTER = 16
"""Ids of steps that come after are so far behind the job's own."""
RULES = ("F2", "E", "K", "C", "U")
"""Whose errors forbid a step; how the job is cut and trained is none of its business."""


def make_step_plan(spec: JobSpec, inventory: Inventory, name: str, attempt: str, nodes: Sequence[str] = (), locate: Locate | None = None) -> LaunchPlan:
    """The step ``name`` of a job on ``nodes`` (default: the job's first) as attempt ``attempt``.

    A job that the step cannot be worked out from gives a plan with problems and no nodes, as ``make_plan`` does.
    Raises FileError for a node that is not in the fleet, and for a step there is none of.
    """
    known = {node.name: node for node in inventory.nodes}
    chosen = tuple(dict.fromkeys(nodes)) or spec.fleet.nodes[:1]
    for one in nodes:
        if one not in known:
            raise FileError(f"there is no node {one}", where="--node", got=one, expected=", ".join(list(known)[:20]))
    found = [*check_fleet(spec, inventory, attempt), *container_rules.check(spec), *environment_rules.check(spec)]
    made: Step | None = None
    try:
        made = step(spec, name)
    except FileError as refused:
        if refused.where == "run-step":
            raise
        found.append(refusal(refused))
    found = [finding for finding in waivers.apply(spec, found) if finding.severity == "error" and finding.rule.startswith(RULES)]
    ready = made if not found and all(one in known for one in chosen) else None
    return LaunchPlan(
        job=job_of_step(spec.run.name, name), attempt=attempt, problems=as_problems(found, locate), derived={},
        nodes=tuple(_node(spec, ready, known[one], index, attempt) for index, one in enumerate(chosen)) if ready is not None else ())


def before_launch(spec: JobSpec, inventory: Inventory, attempt: str, locate: Locate | None = None) -> tuple[LaunchPlan, ...]:
    """The steps that the job asks for, in order: on its first node, with storage that is each node's own on all."""
    nodes = spec.fleet.nodes if spec.checkpoint.storage == "per-node" else spec.fleet.nodes[:1]
    return tuple(make_step_plan(spec, inventory, name, _later(attempt, at), nodes, locate) for at, name in enumerate(asked_for(spec), 1))


def after_training(spec: JobSpec, inventory: Inventory, attempt: str, locate: Locate | None = None) -> tuple[LaunchPlan, ...]:
    """The steps for when the job has been trained, on its first node; those that cannot be worked out are left out (rule U1 tells)."""
    made = (make_step_plan(spec, inventory, name, _later(attempt, AFTER + at), spec.fleet.nodes[:1], locate) for at, name in enumerate(asked_after(spec)))
    return tuple(one for one in made if one.ok)


def _later(attempt: str, by: int) -> str:
    """Another id of the same second."""
    stamp, _, last = attempt.rpartition("-")
    try:
        return f"{stamp}-{(int(last, 16) + by) % 0x10000:04x}"
    except ValueError:
        # No attempt id at all: rule K2 has said so, and nothing is run.
        return attempt


def _node(spec: JobSpec, made: Step, node: Node, index: int, attempt: str) -> NodePlan:
    work = spec.paths.work.rstrip("/")
    own = job_of_step(spec.run.name, made.name)
    where = f"{work}/.rankdeck/{own}/{attempt}/{node.name}"
    place = Place(node=node, node_index=index, master=node, attempt=attempt, dir=where)
    # As a job of its own to all that makes containers.
    box = spec.container
    name = box.name if box.reuse == "reuse" and box.name else f"{container_rules.container_name(spec)}--{made.name}"
    spec_of_step = replace(
        spec, run=replace(spec.run, name=own), fleet=replace(spec.fleet, nodes=(node.name,)),
        container=replace(box, name=name, keep=False, device_access=box.device_access if made.devices else "none"))
    contained = made.inside and box.runtime != "process"
    values = {**made.env, **{key: value for key, value in spec.env.items() if isinstance(value, str)},
              "PYTHONUNBUFFERED": "1", "RANKDECK_JOB": own, "RANKDECK_ATTEMPT": attempt, "RANKDECK_NODE": node.name,
              "RANKDECK_NODE_INDEX": str(index), "RANKDECK_DIR": where}
    body = [*HEAD[1:], f"cd -- {path_word(spec.paths.work)}", *made.lines]
    head = ["#!/usr/bin/env bash", "# Written by Rankdeck and executed as it stands.", HEAD[0]]
    secrets = commands.secret_lines(spec)
    exports = [f"export {key}={path_word(value) if key == 'RANKDECK_DIR' else quote(value)}" for key, value in values.items()]
    inside = containers.enter_lines(spec_of_step, dict.fromkeys([*values, *secrets])) if contained else body
    files = {"job.json": _text({"run": {"name": own}, "step": {"name": made.name, "job": spec.run.name, "makes": list(made.makes)}}),
             JOB_FILE: _text(to_mapping(spec))}
    if contained:
        files[containers.RANKED] = "\n".join([*head, f'echo "$$" > {commands.DIR}/ranked.pid', *body]) + "\n"
    start = NodeCommand(phase="start", script="\n".join([*head, *exports, *secrets.values(), *inside]) + "\n", env=values)
    make = (NodeCommand(phase="container", script=containers.make_script(spec_of_step, place)),) if contained else ()
    undo = (NodeCommand(phase="container", script=containers.remove_script(spec_of_step, place)),) if contained else ()
    devices = tuple(range(spec.fleet.npus_per_node)) if made.devices and node.npus else ()
    return NodePlan(node=node.name, node_index=index, dir=where, files=files, devices=devices, commands=(*make, start), undo=undo)


def _text(mapping: object) -> str:
    return json.dumps(mapping, indent=2, ensure_ascii=False) + "\n"
