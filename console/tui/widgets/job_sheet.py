"""The lines of a planned job: findings, derived values, the file with each finding at its line, and every node's commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from console.core.i18n import say
from console.core.launch.plan import LaunchPlan
from console.core.launch.problems import Problem, problem_text
from console.core.spoken import spoken_text
from console.tui.lines import Line, folded
from console.tui.sheets import JobSheet
from console.tui.widgets.check_matrix import STATES
from console.tui.widgets.listings import clock_text

_PLACE = re.compile(r"(.*?):([0-9]+)(?::[0-9]+)?\Z")


def sheet_lines(sheet: JobSheet, now: float, width: int) -> list[Line]:
    """All lines, at most ``width`` cells wide where they are sentences; commands and the file keep theirs."""
    lines: list[Line] = []
    if sheet.error:
        lines += [[("  ✗ " if at == 0 else "    ", "bad"), (text, "bad")] for at, text in enumerate(folded(spoken_text(sheet.error), max(16, width - 5)))]
    if sheet.plan is None:
        return lines or [[("  ◌ " + say("reading {path}", path=sheet.path), "busy")]]
    plan = sheet.plan
    head: Line = [(" ✓ " + say("ready to launch"), "good") if plan.ok else (" ✗ " + say("not ready to launch"), "bad"), (f"  {plan.job}", "name")]
    if plan.ok:
        head.append((f"  {say('launched')}" if plan.attempt in sheet.used else f"  {say('R launches it, once armed')}", "key"))
    head.append((f"  {plan.attempt}  {clock_text(sheet.at, now)}", "dim"))
    lines.append(head)
    for problem in plan.problems:
        lines += _problem(problem, width, place=True)
    lines += [[], *_derived(plan), [(" " + say("Job file"), "head"), (f"  {sheet.path}", "dim")], *_file(sheet, width), []]
    for step in plan.before:
        lines += [[(" " + say("Before the launch: {step}", step=step.job), "head"), (f"  {step.attempt}", "dim")], *_nodes(step)]
    if plan.code is not None:
        lines += [[(" " + say("Code"), "head"), (f"  {plan.code.source} → {plan.code.to}", "plain"), (f"  {plan.code.size_bytes:,} B  sha256 {plan.code.digest[:12]}", "dim")], []]
    lines += _nodes(plan)
    for step in plan.after:
        lines += [[(" " + say("After the training, by launch --wait: {step}", step=step.job), "head"), (f"  {step.attempt}", "dim")], *_nodes(step)]
    return lines


def _nodes(plan: LaunchPlan) -> list[Line]:
    lines: list[Line] = []
    for node in plan.nodes:
        lines += [[(f" {node.node_index:>3} ", "dim"), (node.node, "name"), (f"  {say('devices {d}', d=', '.join(map(str, node.devices)) or '-')}  {node.dir}", "plain")],
                  [("     " + say("files: {names}", names=", ".join((*node.files, "command.sh"))), "dim")]]
        for name, text in node.files.items():
            if not name.endswith(".json"):
                lines += [[("     " + name, "busy")], *([("       " + line, "plain")] for line in text.splitlines())]
        for command in node.commands:
            lines.append([(f"     {say(command.phase)}", "busy")])
            lines += [[("       " + text, "plain")] for text in (command.script.rstrip().splitlines() or [" ".join(command.argv)])]
        lines.append([])
    return lines


def _problem(problem: Problem, width: int, *, place: bool) -> list[Line]:
    glyph, tone = STATES.get(problem.severity, STATES["unknown"])
    text = problem_text(problem if place else replace(problem, where=""))
    before = "   " if place else "        "
    return [[(f"{before}{glyph} " if at == 0 else before + "  ", tone), (part, tone if at == 0 else "plain")] for at, part in enumerate(folded(text, max(16, width - len(before) - 3)))]


def _derived(plan: LaunchPlan) -> Iterator[Line]:
    if plan.derived:
        yield [(" " + say("Derived"), "head")]
        wide = max(map(len, plan.derived))
        for name, value in plan.derived.items():
            yield [(f"   {name:<{wide}}  ", "dim"), (_short(value), "plain")]
        yield []


def _short(value: Any) -> str:
    if value is None:
        return say("not known")
    if isinstance(value, list):
        return ", ".join(map(str, value)) if len(value) <= 12 else ", ".join(map(str, value[:8])) + f", ... {value[-1]}"
    return str(value)


def _file(sheet: JobSheet, width: int) -> Iterator[Line]:
    """The file's lines, numbered; under each the findings that are at it."""
    at: dict[int, list[Problem]] = {}
    for problem in sheet.plan.problems if sheet.plan is not None else ():
        found = _PLACE.match(problem.where)
        if found is not None and found[1] == sheet.path:
            at.setdefault(int(found[2]), []).append(problem)
    for number, text in enumerate(sheet.lines, 1):
        mine = at.get(number, ())
        worst = min((problem.severity for problem in mine), key=list(STATES).index, default="")
        glyph, tone = STATES[worst] if worst else (" ", "plain")
        yield [(f" {glyph}{number:>4} ", tone if worst else "dim"), (text.replace("\t", "    "), tone)]
        for problem in mine:
            yield from _problem(problem, width, place=False)
