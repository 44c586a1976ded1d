"""``rankdeck plan`` and ``launch``."""

from __future__ import annotations

import argparse
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from console import files
from console.cli import error_mapping
from console.cli.desk import LOOK_S, Desk, SystemClock, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import FileError, LaunchError
from console.core.events import FleetEvent, LaunchProgress
from console.core.fleet.coming_up import LATER
from console.core.fleet.run_views import JobView, job_view
from console.core.fleet.state import FleetState
from console.core.launch.fleet_rules import ATTEMPT
from console.core.launch.inventory import Inventory
from console.core.launch.plan import LaunchPlan, plan_mapping, plan_text
from console.core.launch.problems import problem_text
from console.core.launch.progress import TOLD, line_text, progress_text
from console.core.launch.report import plain
from console.core.spoken import spoken, spoken_text
from console.errands import Held, planned
from console.errands import new_attempt as new_attempt

if TYPE_CHECKING:
    from console.core.launch.compose import ComposedJob
    from console.remote.backend import Submission
    from console.remote.gate import Gate

ENDED = ("finished", "failed", "ended early", "stopped", "did not start", "done")
"""States of ``run_views.job_badge`` after which nothing more comes of an attempt."""
SETTLED = ("finished", "stopped", "did not start", "done")
"""Ends that no later record changes."""
LAST_LINES_S = 3.0
"""How long a bad end waits for the last lines of the logs; they are read four times a second."""


def plan(args: argparse.Namespace) -> int:
    """Print the plan of a job, or with ``--diff`` what it changes. Exit status 1 when it must not be launched. Raises FileError."""
    speak(args)
    made, inventory = _make(args, args.attempt)
    changed = None
    if args.diff:
        from console.core.launch.difference import difference, difference_text

        work = made.nodes[0].dir.partition("/.rankdeck/")[0] if made.nodes else ""
        try:
            was = files.read_attempt(args.diff, work, made.job)
        except FileError:
            if inventory is None or not made.nodes or ATTEMPT.fullmatch(args.diff) is None:
                raise
            from console.cli.attempt_there import read_there, subset

            was = read_there(args, subset(inventory, [node.node for node in made.nodes]), made.job, args.diff, work)
        changed = difference(made, was)
    if args.json:
        put_json(plan_mapping(made) | ({"diff": changed} if changed is not None else {}))
    elif changed is not None and made.ok:
        put(difference_text(changed))
    else:
        put(plan_text(made))
    return 0 if made.ok else 1


def launch(args: argparse.Namespace) -> int:
    """Start a job and see it train; with ``--wait`` stay to its end. Raises FileError, ConnectError."""
    speak(args)
    made, inventory = _make(args, "")
    document: dict[str, Any] = {
        "ok": False, "job": made.job, "attempt": made.attempt, "epoch": None,
        "problems": plan_mapping(made)["problems"], "nodes": [], "error": None, "result": None, "check": None}
    if not made.ok or inventory is None:
        return _end(args, document, "".join(f"{problem_text(one)}\n" for one in made.problems if one.severity == "error") + i18n.say("not launched"))
    for problem in made.problems:
        if problem.severity == "warning":
            say(f"rankdeck: {problem_text(problem)}")
    phases: dict[tuple[str, str], LaunchProgress] = {}
    with leaving_in_order(), at_desk(args, inventory) as desk:
        held = Held(desk.store.ingest)

        def show(event: FleetEvent) -> None:
            if isinstance(event, LaunchProgress):
                if event.job == made.job:
                    phases[event.node, event.phase] = event
                if event.state in TOLD:
                    say(progress_text(event, made.job))

        def tell(event: FleetEvent) -> None:
            held(event)
            show(event)

        try:
            submission = desk.backend.submit(made, tell, _gate(args, made, inventory, document), _line, held=not args.detach)
        except LaunchError as error:
            document["error"] = error_mapping(error)
            say(f"rankdeck: {spoken(error)}")
        else:
            document.update(ok=True, epoch=submission.epoch)
            say(i18n.say("{job} is started as attempt {attempt}", job=submission.job, attempt=submission.attempt))
            if not args.detach:
                _see_it_up(desk, args, made, submission, show, document)
            if args.wait and document["ok"]:
                _afterwards(desk, made, tell, document)
            elif document["ok"]:
                for line in left_to_do(made, args.job):
                    say(line)
    document["nodes"] = [
        {"node": node.node, "node_index": node.node_index, "dir": node.dir,
         "phases": [{"phase": event.phase, "state": event.state, "why": event.why, "took_s": event.took_s} for (name, _), event in phases.items() if name == node.node]}
        for node in made.nodes]
    return _end(args, document, "")


def left_to_do(made: LaunchPlan, job: str) -> list[str]:
    """What a launch that does not wait leaves to the operator, a line each. Whether it has been trained only the log tells, so no node begins it by itself."""
    return [i18n.say("{step} is not waited for; when the job has trained: {command}", step=step.job, command=f"rankdeck run-step {shlex.quote(job)} {step.job.rpartition('--')[2]}")
            for step in made.after]


def _afterwards(desk: Desk, made: LaunchPlan, tell: Callable[[FleetEvent], None], document: dict[str, Any]) -> None:
    """The steps for when the job has been trained."""
    for step in made.after:
        try:
            desk.backend.carry_out(step, tell, _line)
        except LaunchError as error:
            document.update(ok=False, error=error_mapping(error))
            say(f"rankdeck: {spoken(error)}")
            return
        say(i18n.say("{where}: {what}", where=step.job, what=i18n.say("done")))


def _line(node: str, line: str) -> None:
    say(line_text(node, line))


def _see_it_up(desk: Desk, args: argparse.Namespace, made: LaunchPlan, submission: Submission, show: Callable[[FleetEvent], None],
               document: dict[str, Any]) -> None:
    """Stay until it trains on all its nodes, with ``--wait`` until it has ended. Where one node's part ends badly, so do the others'."""
    from console.remote.coming_up import ComingUp

    coming = ComingUp(made, submission, desk.supervisor, desk.backend, desk.clock)
    trains = False
    desk.backend.observe(submission, lambda event: None)
    told: dict[tuple[str, str], str] = {}

    def shown() -> Iterable[str]:
        run = desk.store.state.runs.get(submission.job)
        attempt = run.attempts.get(submission.attempt) if run is not None else None
        for (node, phase), cell in attempt.phases.items() if attempt is not None else ():
            if phase in LATER and told.get((node, phase)) != cell.state:
                told[node, phase] = cell.state
                show(cell)
        return told.values()

    def look(state: FleetState) -> bool:
        nonlocal trains
        shown()
        trains = coming.look(state) or trains
        return trains and not args.wait

    try:
        with coming:
            view = await_end(desk, submission.job, submission.attempt, look)
    except LaunchError as error:
        document.update(ok=False, error=error_mapping(error))
        say(f"rankdeck: {spoken(error)}")
        deadline_s = desk.clock.mono_s() + LAST_LINES_S
        desk.store.drain()
        while "running" in shown() and desk.clock.mono_s() < deadline_s:
            time.sleep(LOOK_S)  # how it ended on the others is on its way
            desk.store.drain()
        view = job_view(desk.store.state, desk.store.state.runs[submission.job], desk.clock.wall_s())
    except KeyboardInterrupt:
        say(i18n.say("{job} goes on; rankdeck attach {job} watches it, rankdeck stop {job} ends it", job=submission.job))
        if not trains:
            say(i18n.say("it does not train on all its nodes yet, and nobody ends it everywhere now when it fails on one"))
        for node in coming.hand_over():
            say(i18n.say("{node} could not be told and ends its part within {s:g} s", node=node, s=made.ttl_s))
        raise
    else:
        document["ok"] = view.status.text == "finished" or (not args.wait and view.status.text not in ENDED)
        say(how_far(view))
    if args.wait:
        document["result"] = result_mapping(view)


def _gate(args: argparse.Namespace, made: LaunchPlan, inventory: Inventory, document: dict[str, Any]) -> Gate:
    """The checks of this launch: what they find is told, and stands in the document."""
    from console.core.preflight.table import Report, findings_text, report_mapping
    from console.remote.gate import gate_of

    gate = gate_of(made, skip="--no-check" if args.no_check else "")

    def told(report: Report) -> None:
        document["check"] = {**report_mapping(report, inventory.name), "fixes": []}
        found = findings_text(report, ("error", "warning"))
        if found:
            say(found)
        others = sum(finding.severity == "unknown" and finding.waived is None for finding in report.findings)
        waived = sum(finding.waived is not None for finding in report.findings)
        say(i18n.say("{n} checks ({level}): {how}", n=len(report.checks), level=report.case.level, how=i18n.say("fit") if report.ok else i18n.say("not fit"))
            + (i18n.say(", {n} things are not known", n=others) if others else "") + (i18n.say(", {n} waived", n=waived) if waived else ""))

    if gate.open:
        say(i18n.say("nothing is checked: {why}", why=spoken_text(gate.why)) if gate.why else i18n.say("nothing is checked"))
    else:
        say(i18n.say("checking {n} nodes ({level}); rankdeck launch --no-check leaves it out", n=len(made.nodes), level=gate.level))
    return replace(gate, told=told, tell=_line)


def _end(args: argparse.Namespace, document: dict[str, Any], text: str) -> int:
    if args.json:
        put_json(document)
    elif text:
        say(text)
    return 0 if document["ok"] else 1


def _make(args: argparse.Namespace, attempt: str) -> tuple[LaunchPlan, Inventory | None]:
    """The plan of the job file on the fleet; for a job file that is no job, the plan that says so, and None.

    Raises FileError for files that cannot be read at all.
    """
    def fleet(job: ComposedJob) -> Inventory:
        fleet_path = args.inventory or files.fleet_path_of(job)
        if not fleet_path:
            raise FileError("no fleet is named", where=args.job, expected="-i FLEET, or fleet.inventory in the job file",
                            fix="Say -i fleet.yaml")
        return files.read_fleet(fleet_path)

    return planned(args.job, fleet, attempt or new_attempt(SystemClock().wall_s()))


@contextmanager
def leaving_in_order() -> Iterator[None]:
    """SIGTERM and the terminal's hang-up are an interrupt like the operator's own: what is half done is undone, what
    comes up is left to its nodes. Both come once: a hang-up is told by the terminal and by its shell, and what is begun on
    the first is not cut off by the second (ctrl+c does that). One that is ignored, as under nohup, stays so. Does nothing
    outside of the main thread, which alone may be told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    before = {number: handler for number in (signal.SIGTERM, signal.SIGHUP) if (handler := signal.getsignal(number)) != signal.SIG_IGN}
    leaving = False

    def leave(number: int, frame: object) -> None:
        nonlocal leaving
        if not leaving:
            leaving = True
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def await_end(desk: Desk, job: str, attempt: str, enough: Callable[[FleetState], bool] = lambda state: False) -> JobView:
    """Watch the attempt to its end, or until ``enough``, telling of every tenth of the way. Raises what ``enough`` does."""
    told, link = -1, ""
    ended_s: float | None = None
    while True:
        desk.store.drain()
        run = desk.store.state.runs.get(job)
        if run is not None and run.latest is not None:
            view = job_view(desk.store.state, run, desk.clock.wall_s())
            tenth = view.iteration * 10 // view.total if view.iteration is not None and view.total else -1
            if tenth > told and view.iteration is not None:
                told = tenth
                say(i18n.say("iteration {n} of {total}", n=view.iteration, total=view.total) + (i18n.say(", loss {loss:.4f}", loss=view.loss) if view.loss is not None else ""))
            if enough(desk.store.state) or view.status.text in SETTLED or view.attempt != attempt:
                return view
            if view.status.text in ENDED:
                # An exit of one node can be told before the last log lines of another, and those decide.
                ended_s = desk.clock.mono_s() if ended_s is None else ended_s
                if desk.clock.mono_s() - ended_s >= LAST_LINES_S:
                    return view
            else:
                ended_s = None
        down = ", ".join(sorted(name for name, node in desk.store.state.nodes.items() if node.link in ("down", "refused")))
        if down != link:
            link = down
            say(i18n.say("no link to {nodes}; the job goes on without us", nodes=down) if down else i18n.say("all links are up again"))
        time.sleep(LOOK_S)


def how_far(view: JobView) -> str:
    """A job's state and how far it has come, for people."""
    if view.iteration is None:
        return i18n.say("{where}: {what}", where=view.job, what=i18n.say(view.status.text))
    return i18n.say("{job}: {status} at iteration {n}", job=view.job, status=i18n.say(view.status.text), n=view.iteration)


def result_mapping(view: JobView) -> dict[str, Any]:
    """``result`` of the launch and attach documents: how far the job came, and in how many rounds."""
    return {"status": view.status.text, "iteration": view.iteration, "total": view.total, "loss": plain(view.loss),
            "saved_iteration": view.saved_iteration, "rounds": view.round + 1}
