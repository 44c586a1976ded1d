"""``rankdeck run-step``: what is done before and after training, alone, on the nodes that are chosen."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from console import files
from console.cli import error_mapping
from console.cli.desk import SystemClock, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import FileError, LaunchError
from console.core.events import FleetEvent, LaunchProgress
from console.core.launch.inventory import Inventory
from console.core.launch.plan import LaunchPlan, node_mapping, plan_text, refused_plan
from console.core.launch.problems import ProblemsError, problem_text
from console.core.launch.progress import TOLD, line_text, progress_text
from console.core.launch.step_plan import make_step_plan
from console.core.launch.steps import step
from console.core.spoken import spoken
from console.errands import new_attempt
from console.remote.gate import Gate
from console.remote.step_run import StepEnd, StepError, see_through


def run_step(args: argparse.Namespace) -> int:
    """Carry a step of a job out and stay to its end. Exit status 1 when it did not end well. Raises FileError, ConnectError."""
    speak(args)
    made, makes, inventory = _make(args)
    document: dict[str, Any] = {"ok": made.ok, "step": args.step, "job": made.job, "attempt": made.attempt, "makes": list(makes),
                                "problems": [dataclasses.asdict(one) for one in made.problems], "nodes": [], "plan": None, "error": None}
    if not made.ok or inventory is None:
        if args.json:
            put_json(document)
        for problem in made.problems if not args.json else ():
            say(f"rankdeck: {problem_text(problem)}")
        return 1
    if args.dry_run:
        if args.json:
            put_json(document | {"plan": [node_mapping(node) for node in made.nodes]})
        else:
            put(plan_text(made))
        return 0
    chosen = dataclasses.replace(inventory, nodes=tuple(inventory.node(node.node) for node in made.nodes))
    with at_desk(args, chosen) as desk:
        def hear(event: FleetEvent) -> None:
            desk.store.ingest([event])
            if isinstance(event, LaunchProgress) and event.state in TOLD:
                say(progress_text(event, made.job))

        try:
            # It needs neither the job's data nor, mostly, its devices; what it needs its script looks for.
            desk.backend.submit(made, hear, Gate(level="none", job=None))
            say(i18n.say("{job} is started as attempt {attempt}", job=made.job, attempt=made.attempt))
            document["nodes"] = [_started_mapping(node.node, node.dir) for node in made.nodes]
            if not args.detach:
                ends = see_through(made, desk.supervisor, desk.clock, lambda node, line: say(line_text(node, line)))
                document["nodes"] = [_end_mapping(made, end) for end in ends]
        except LaunchError as error:
            document.update(ok=False, error=error_mapping(error))
            if isinstance(error, StepError):
                document["nodes"] = [_end_mapping(made, end) for end in error.ends]
            say(f"rankdeck: {spoken(error)}")
        except KeyboardInterrupt:
            if document["nodes"]:  # what was not started yet has been undone
                say(i18n.say("{job} goes on; rankdeck attach {job} watches it, rankdeck stop {job} ends it", job=made.job))
            raise
    if args.json:
        put_json(document)
    elif document["ok"]:
        put(i18n.say("{job}: started as attempt {attempt}", job=made.job, attempt=made.attempt) if args.detach else i18n.say("{job}: done; it makes {paths}", job=made.job, paths=", ".join(makes)))
    return 0 if document["ok"] else 1


def _make(args: argparse.Namespace) -> tuple[LaunchPlan, tuple[str, ...], Inventory | None]:
    """The step's plan, what it makes, and the fleet; for a job file that is no job the plan that says so."""
    try:
        job = files.read_job(args.job)
    except ProblemsError as error:
        return refused_plan(error.problems), (), None
    fleet_path = args.inventory or files.fleet_path_of(job)
    if not fleet_path:
        raise FileError("no fleet is named", where=args.job, expected="-i FLEET, or fleet.inventory in the job file", fix="Say -i fleet.yaml")
    inventory = files.read_fleet(fleet_path)
    nodes = [node.name for node in inventory.nodes if node.name in job.spec.fleet.nodes] if args.all_nodes else args.node
    made = make_step_plan(job.spec, inventory, args.step, new_attempt(SystemClock().wall_s()), nodes, job.locate)
    return made, step(job.spec, args.step).makes if made.ok else (), inventory


def _end_mapping(plan: LaunchPlan, end: StepEnd) -> dict[str, Any]:
    folder = next(node.dir for node in plan.nodes if node.node == end.node)
    return {"node": end.node, "dir": folder, "state": "done" if end.ok else "failed", "code": end.code, "signal": end.signal, "why": end.why, "took_s": end.took_s,
            "said": list(end.said)}


def _started_mapping(node: str, folder: str) -> dict[str, Any]:
    return {"node": node, "dir": folder, "state": "started", "code": None, "signal": None, "why": "", "took_s": None, "said": []}
