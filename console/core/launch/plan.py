"""A launch, worked out: what will be written and run on each node. Pure: types, and ``make_plan``.

``make_plan`` turns a ``JobSpec`` and an ``Inventory`` into a ``LaunchPlan``.
``rankdeck plan`` prints ``plan_mapping(plan)`` (DESIGN section 8) and the launcher runs exactly that: the
script of the ``start`` command is the ``command.sh`` that the shim executes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from console.core.i18n import say
from console.core.launch import code_rules, commands, container_rules, containers, environment_rules, steps, waivers
from console.core.launch.document import Locate
from console.core.launch.fleet_rules import check_fleet
from console.core.launch.inventory import Inventory, Relay
from console.core.launch.problems import Problem, problem_text
from trainer.spec import batch, rules
from trainer.spec.facts import Facts
from trainer.spec.finding import Finding
from trainer.spec.job import JobSpec, to_mapping
from trainer.spec.layout_rules import shape_known, vendor
from trainer.spec.saving_rules import time_limit_s

__all__ = ["LaunchPlan", "NodeCommand", "NodePlan", "Problem", "make_plan", "plan_mapping", "plan_text", "refused_plan"]

@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommand:
    """One thing done on one node. Either ``argv`` (executed as it is) or ``script`` (given to bash)."""

    phase: str
    """One of core.events.LaunchPhase."""
    argv: tuple[str, ...] = ()
    script: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    """What it runs with. A script exports these itself; a leading ``~/`` stands for the node's ``$HOME``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """Everything for one node."""

    node: str
    node_index: int
    """Place in the job file, from 0. Not a rank: ranks are read from the workers."""
    dir: str
    """``<work>/.rankdeck/<job>/<attempt>/<node>``, absolute or starting with ``~/``."""
    files: Mapping[str, str]
    """Name in ``dir`` -> text, written at prepare."""
    devices: tuple[int, ...]
    """Davinci indices to lock."""
    commands: tuple[NodeCommand, ...]
    undo: tuple[NodeCommand, ...] = ()
    """What takes back what the commands of the same phase did; safe to repeat, and to run without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """The job's code on its way to every node, before the start."""

    source: str
    """Where it is from: a directory, or repository and commit."""
    name: str
    """Last part of ``to``."""
    to: str
    """Directory on the nodes that it becomes."""
    digest: str
    """SHA-256 of the archive; the same contents have the same one."""
    size_bytes: int
    archive: str
    """The archive on the bastion."""
    relay: Relay | None = None
    """How nodes may pass it on; None: each gets it from the bastion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """The whole launch. ``ok`` is false when any problem is an error; it must not be submitted then."""

    job: str
    attempt: str
    nodes: tuple[NodePlan, ...]
    problems: tuple[Problem, ...]
    derived: Mapping[str, Any]
    """world_size, data_parallel_size, num_microbatches, saves, save_iterations, ..."""
    ttl_s: float = 60.0
    """How long a prepared node waits for its commit."""
    before: tuple[LaunchPlan, ...] = ()
    """Steps that the job asks for, carried out in this order before it; each a launch of its own (``step_plan``)."""
    after: tuple[LaunchPlan, ...] = ()
    """Steps for when it has been trained, carried out by who stays to its end."""
    code: Shipment | None = None
    """What is sent to every node; it gets its name there in phase prepare."""

    @property
    def ok(self) -> bool:
        return not any(problem.severity == "error" for problem in self.problems)


def make_plan(spec: JobSpec, inventory: Inventory, attempt: str, locate: Locate | None = None, facts: Facts | None = None) -> LaunchPlan:
    """The launch of ``spec`` on ``inventory`` as attempt ``attempt`` (YYYYMMDDTHHMMSSZ-xxxx).

    ``locate`` turns a path of keys into file:line:column for the findings (``ComposedJob.locate``); without
    it they name the key. ``facts`` is what has been seen on the nodes. Never raises for a job that does not fit: ``problems`` says what is wrong, and a
    plan with errors has no nodes, so that there is nothing to run by mistake.
    """
    found = [*check_fleet(spec, inventory, attempt), *commands.unsupported(spec), *container_rules.check(spec),
             *environment_rules.check(spec), *code_rules.check(spec), *steps.check(spec), *rules.check(spec, facts=facts)]
    problems = as_problems(waivers.apply(spec, found), locate)
    fits = not any(problem.severity == "error" for problem in problems)
    before: tuple[LaunchPlan, ...] = ()
    after: tuple[LaunchPlan, ...] = ()
    if fits and (steps.asked_for(spec) or steps.asked_after(spec)):
        # A step is planned as a launch is: that module stands on this one.
        from console.core.launch.step_plan import after_training, before_launch

        before, after = before_launch(spec, inventory, attempt, locate), after_training(spec, inventory, attempt, locate)
    return LaunchPlan(job=spec.run.name, attempt=attempt, nodes=_nodes(spec, inventory, attempt) if fits else (),
                      problems=problems, derived=_derived(spec), before=before, after=after)


def as_problems(found: Iterable[Finding], locate: Locate | None = None) -> tuple[Problem, ...]:
    """Findings with their places, errors first."""
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(
        Problem(rule=f.rule, severity=f.severity, where=locate(f.path) if locate else ".".join(f.path), message=f.message,
                got=f.got, expected=f.expected, fix=f.fix[:1].upper() + f.fix[1:])
        for f in sorted(found, key=lambda finding: order[finding.severity]))


def refused_plan(problems: Sequence[Problem]) -> LaunchPlan:
    """The plan of a job file that could not even be read as a job."""
    return LaunchPlan(job="", attempt="", nodes=(), problems=tuple(problems), derived={})


def _nodes(spec: JobSpec, inventory: Inventory, attempt: str) -> tuple[NodePlan, ...]:
    job_json = json.dumps(to_mapping(spec), indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    master = inventory.node(spec.fleet.nodes[0])
    nodes = []
    for index, name in enumerate(spec.fleet.nodes):
        node = inventory.node(name)
        work = spec.paths.work.rstrip("/")
        where = f"{work}/.rankdeck/{spec.run.name}/{attempt}/{name}"
        place = commands.Place(node=node, node_index=index, master=master, attempt=attempt, dir=where)
        start = NodeCommand(phase="start", script=commands.script(spec, place), env=commands.environment(spec, place))
        made: tuple[NodeCommand, ...] = ()
        undo: tuple[NodeCommand, ...] = ()
        if spec.container.runtime != "process":
            made = (NodeCommand(phase="container", script=containers.make_script(spec, place)),)
            undo = (NodeCommand(phase="container", script=containers.remove_script(spec, place)),)
        # A node without NPUs (the cpu profile) has no device to lock.
        devices = tuple(range(spec.fleet.npus_per_node)) if node.npus else ()
        nodes.append(NodePlan(node=name, node_index=index, dir=where, files={"job.json": job_json, **commands.files(spec, place)},
                              devices=devices, commands=(*made, start), undo=undo))
    return tuple(nodes)


def _derived(spec: JobSpec) -> Mapping[str, Any]:
    found = dict(batch.derived(rules.shaped(spec)))
    # The promised name of what the trainer calls tokens_per_iteration.
    found["tokens_per_step"] = found["tokens_per_iteration"]
    if not shape_known(spec):
        found |= dict.fromkeys(("parameters", "checkpoint_bytes", "checkpoints_bytes"))
    if vendor(spec) and spec.checkpoint.interval > 0:
        # S2's own formula, which counts the last save also where it falls on an interval.
        found["saves_documented"] = spec.train.iterations // spec.checkpoint.interval + 1
    if limit := time_limit_s(spec.run.time_limit):
        found["time_limit_s"] = limit
    return found


def plan_mapping(plan: LaunchPlan) -> dict[str, Any]:
    """The plan as ``rankdeck plan --json`` prints it (DESIGN section 8; schema/plan.schema.json)."""
    return {
        "ok": plan.ok,
        "job": plan.job,
        "attempt": plan.attempt,
        "problems": [dataclasses.asdict(problem) for problem in plan.problems],
        "derived": dict(plan.derived),
        "nodes": [node_mapping(node) for node in plan.nodes],
        **{when: [{"job": step.job, "attempt": step.attempt, "nodes": [node_mapping(node) for node in step.nodes]} for step in steps_then]
           for when, steps_then in (("before", plan.before), ("after", plan.after))},
        "code": code_mapping(plan.code) if plan.code else None,
    }


def node_mapping(node: NodePlan) -> dict[str, Any]:
    """One node's part of a printed plan."""
    def command(one: NodeCommand) -> dict[str, Any]:
        what: dict[str, Any] = {"script": one.script} if one.script else {"argv": list(one.argv)}
        return {"phase": one.phase, **what, "env": dict(one.env)}

    return {"node": node.node, "node_index": node.node_index, "dir": node.dir, "devices": list(node.devices),
            "files": dict(node.files), "commands": [command(one) for one in node.commands], "undo": [command(one) for one in node.undo]}


def code_mapping(code: Shipment) -> dict[str, Any]:
    """``code`` of a printed plan; where the archive lies here is nobody's business."""
    return {"source": code.source, "to": code.to, "sha256": code.digest, "bytes": code.size_bytes}


_COUNTED = {"error": ("{n} error", "{n} errors"), "warning": ("{n} warning", "{n} warnings"), "info": ("{n} info", "{n} info")}


def plan_text(plan: LaunchPlan) -> str:
    """The plan for people, in the language in use: findings, sizes, and what is written and run on each node, word for word."""
    counts = {severity: sum(problem.severity == severity for problem in plan.problems) for severity in ("error", "warning", "info")}
    tally = ", ".join(say(_COUNTED[severity][count != 1], n=count) for severity, count in counts.items() if count)
    lines = [say("Ready to launch: {job}" if plan.ok else "Not ready to launch: {job}", job=plan.job or say("no job")) + (f" ({tally})" if tally else "")]
    lines += [f"  {say(problem.severity):<7} {problem_text(problem)}" for problem in plan.problems]
    if plan.derived:
        lines += ["", say("Derived")]
        width = max(map(len, plan.derived))
        lines += [f"  {name:<{width}}  {_short(value)}" for name, value in plan.derived.items()]
    for step in plan.before:
        lines += ["", say("Before the launch: {step}, attempt {attempt}", step=step.job, attempt=step.attempt), *_node_lines(step.nodes)]
    if plan.code:
        lines += ["", say("Code: {source} ({size:,} bytes, sha256 {digest})", source=plan.code.source, size=plan.code.size_bytes, digest=plan.code.digest[:12]),
                  "  " + say("becomes {path} on every node in phase prepare", path=plan.code.to)]
    lines += _node_lines(plan.nodes)
    for step in plan.after:
        lines += ["", say("After the training, with launch --wait: {step}, attempt {attempt}", step=step.job, attempt=step.attempt), *_node_lines(step.nodes)]
    return "\n".join(lines) + "\n"


def _node_lines(nodes: Iterable[NodePlan]) -> list[str]:
    lines: list[str] = []
    for node in nodes:
        devices = ", ".join(map(str, node.devices)) or say("none")
        lines += ["", say("Node {node} (index {index}), devices {devices}", node=node.node, index=node.node_index, devices=devices), "  " + say("in {path}", path=node.dir),
                  "  " + say("files: {names}", names=", ".join((*node.files, "command.sh")))]
        for name, text in node.files.items():
            if not name.endswith(".json"):
                lines.append(f"  {name}:")
                lines += [f"    {line}" for line in text.splitlines()]
        for command in node.commands:
            lines.append(f"  {command.phase}:")
            lines += [f"    {line}" for line in (command.script or " ".join(map(commands.quote, command.argv))).splitlines()]
    return lines


def _short(value: Any) -> str:
    """A value on one line; a long list by its ends."""
    if value is None:
        return say("not known")
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 12 else ", ".join(map(str, value[:8])) + f", ... {value[-1]}"
    return str(value)
