"""``rankdeck check``: are the nodes fit to train, what exactly is wrong, and what to type; and ``--fix``."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from console import files
from console.cli import error_mapping
from console.cli.desk import Desk, at_desk, put, put_json, say, speak
from console.core import i18n
from console.core.errors import ConsoleError, FileError
from console.core.launch.progress import line_text
from console.core.preflight.facts import Case
from console.core.preflight.finding import Finding
from console.core.preflight.table import (
    CHECKS,
    Report,
    checked_waivers,
    judge,
    level_of,
    report_mapping,
    report_text,
    waivers_of,
)
from console.core.spoken import spoken
from console.errands import MEND_AT_ONCE, MEND_S, case, nodes_of, time_limit_s
from trainer.spec.job import JobSpec

if TYPE_CHECKING:
    from console.core.launch.inventory import Inventory, Node

def check(args: argparse.Namespace) -> int:
    """Check the nodes. Exit status 0 fit, 1 not fit. Raises FileError, ConsoleError."""
    speak(args)
    job, inventory = _subject(args)
    level = level_of(args.level or (job.preflight.level if job and job.preflight.level != "none" else "standard"))
    waivers = _waivers(args, job)
    if args.fix and args.fix not in {each.id for each in CHECKS}:
        raise FileError(f"there is no check {args.fix}", where="--fix", got=args.fix, expected="an id from docs/guide/check.md")
    nodes = nodes_of(inventory, job)
    timeout_s = args.timeout if args.timeout is not None else time_limit_s(job, level)
    fixes: list[dict[str, Any]] = []
    # Links only to the nodes that are asked.
    with at_desk(args, replace(inventory, nodes=nodes)) as desk:
        def look() -> Report:
            return judge(_case(desk, nodes, job, level, timeout_s, quiet=args.json), waivers)

        report = look()
        if args.fix:
            fixes = _mend(args, desk, [finding for finding in report.remediable if finding.id == args.fix])
            if fixes:
                say(i18n.say("looking again"))
                report = look()
        # Said before the links are taken down: that may take seconds where a node is dead.
        if args.json:
            put_json({**report_mapping(report, inventory.name), "fixes": fixes})
        else:
            put(report_text(report, inventory.name))
        sys.stdout.flush()
    return 0 if report.ok and all(fix["ok"] for fix in fixes) else 1


def _case(desk: Desk, nodes: tuple[Node, ...], job: JobSpec | None, level: Any, timeout_s: float, *, quiet: bool) -> Case:
    def tell(node: str, text: str) -> None:
        if not quiet and sys.stderr.isatty():
            say(line_text(node, text))

    # Folded only when all have answered, in this thread: the state is not to be folded by many at once.
    return case(desk, nodes, job, level, timeout_s, tell=tell, before_offsets=desk.store.drain)


def _subject(args: argparse.Namespace) -> tuple[JobSpec | None, Inventory]:
    """The job, if there is one, and the fleet. Raises FileError."""
    composed = files.read_job(args.job) if args.job else None
    path = args.inventory or (files.fleet_path_of(composed) if composed else files.fleet_path_set())
    if not path:
        raise FileError("no fleet is named", where=args.job or "rankdeck check", expected="-i FLEET" + (", or fleet.inventory in the job file" if args.job else ""),
                        fix="Say -i fleet.yaml")
    return composed.spec if composed else None, files.read_fleet(path)


def _waivers(args: argparse.Namespace, job: JobSpec | None) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in args.waive:
        name, _, reason = text.partition("=")
        given[name] = reason
    return {**waivers_of(job), **checked_waivers(given, "--waive")}


def _mend(args: argparse.Namespace, desk: Desk, wanted: list[Finding]) -> list[dict[str, Any]]:
    """Carry out the remedies of one check after they were confirmed; what came of each. Raises ConsoleError."""
    from console.remote.check import mend

    if not wanted:
        say("rankdeck: " + i18n.say("{check} has found nothing that can be mended from here", check=args.fix))
        return []
    word = wanted[0].node if len(wanted) == 1 else str(len(wanted))
    say(i18n.say("{check}: will run", check=args.fix))
    for finding in wanted:
        assert finding.remedy is not None
        say(f"  {finding.node}  $ {finding.remedy.command}")
    if not _confirmed(args, word, len(wanted)):
        raise ConsoleError("nothing was changed", where=args.fix, fix=f"{word} was not typed")

    def one(finding: Finding) -> dict[str, Any]:
        assert finding.remedy is not None
        done: dict[str, Any] = {"node": finding.node, "rule": finding.id, "argv": list(finding.remedy.argv), "ok": True, "output": "", "error": None}
        try:
            done["output"] = str(mend(desk.supervisor, finding, MEND_S.get(finding.remedy.name, 30.0)).get("output") or "").strip()
        except ConsoleError as error:
            done.update(ok=False, error=error_mapping(error))
            say(f"rankdeck: {spoken(error)}")
        else:
            say(i18n.say("{where}: {what}", where=finding.node, what=i18n.say("done")))
        return done

    with ThreadPoolExecutor(max_workers=min(MEND_AT_ONCE, len(wanted))) as pool:
        return list(pool.map(one, wanted))


def _confirmed(args: argparse.Namespace, word: str, number: int) -> bool:
    if args.yes_i_mean:
        return bool(args.yes_i_mean == word)
    if not sys.stdin.isatty():
        raise FileError("nobody is there to confirm", where="standard input", got="no terminal", expected=word, fix=f"Add --yes-i-mean {word}")
    sys.stderr.write(i18n.say("Type the node to do it ({word}): ", word=word) if number == 1 else i18n.say("Type the number of nodes to do it ({word}): ", word=word))
    sys.stderr.flush()
    return sys.stdin.readline().strip() == word
