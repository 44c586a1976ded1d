"""What the actions about checks, job files and logins do, and where their news goes. Loaded with the first of them.

Every change of a node is asked for in a dialog that shows the exact targets and commands, frozen when it opened, and
wants a name typed: the job's where there is one, else the fleet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from console.core.errors import ConsoleError
from console.core.events import CheckEnded, JobLaunched, JobPlanned, LoginAsked, News
from console.core.i18n import say
from console.core.intents import CheckNodes, LaunchJob, Mend, Mending, PlanJob, ProveNodes, Wish
from console.core.preflight.matrix import BETWEEN, remedies
from console.core.spoken import spoken_text
from console.tui.lines import Line, clip
from console.tui.sheets import CheckSheet, JobSheet, Sheets
from console.tui.widgets.check_matrix import CheckMatrix

if TYPE_CHECKING:
    from console.core.launch.plan import NodePlan
    from console.core.preflight.finding import Finding
    from console.tui.app import ConsoleApp

LEVELS = ("quick", "standard", "deep")
QUIET_S = 1.5
"""Without a key for so long, a login's question may open its dialog: nothing that was meant for the screen lands in it."""


class ErrandDoings:
    """One a screen. ``sheets`` is what is known; the panes read it from the context."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self.sheets = app.context.sheets = Sheets()

    def hear(self, news: News) -> None:
        """Fold in what came of an errand, and say so where it needs saying."""
        app, sheets = self._app, self.sheets
        sheets.take(news)
        app.context.generation += 1
        if isinstance(news, CheckEnded):
            if news.error:
                app.tell(spoken_text(news.error), "bad")
            elif news.report is not None:
                app.tell(say("checked {n} nodes: {how}", n=len(news.report.case.nodes), how=say("fit") if news.report.ok else say("not fit")), "good" if news.report.ok else "warn")
        elif isinstance(news, JobPlanned):
            app.tell(*planned_text(sheets.job))
        elif isinstance(news, JobLaunched):
            app.tell(spoken_text(news.error) or say("{job} is started as attempt {attempt}", job=clip(news.job, 40), attempt=news.attempt), "bad" if news.error else "good")
        elif isinstance(news, LoginAsked) and news.open:
            app.tell(say("{node} asks something for its login", node=clip(news.node, 30)), "warn")

    # --- the check ---------------------------------------------------------------------------------------

    def check(self, argument: str) -> None:
        """Check the nodes as told, or as the last time."""
        app, sheet = self._app, self.sheets.check
        if app.navigator.view != "checks":
            app.navigator.go("checks")
        if app.context.cursor.replay:
            app.tell(say("a replay has no nodes to ask"), "warn")
        elif sheet.running:
            app.tell(say("a check is under way"), "warn")
        else:
            try:
                level, job = asked(argument, sheet.level, sheet.job_file if sheet.report is not None else self.sheets.job.path)
            except ValueError as error:
                app.tell(str(error), "warn")
                return
            wish = (ProveNodes if app.arming.armed else CheckNodes)(level=level, job=job)
            sheet.job_file, sheet.proved, sheet.running, sheet.error = job, app.arming.armed, True, ""
            app.send(wish)

    def finding(self, argument: str) -> None:
        """Show all about a cell, the selected one if none is named."""
        app = self._app
        if self._pick(argument):
            if app.navigator.view != "checks":
                app.navigator.go("checks")
            found = app.host.pane("finding")
            if found is not None:
                app.host.turn_to(found)

    def _pick(self, argument: str) -> bool:
        try:
            picked(self.sheets.check, argument)
        except ValueError as error:
            self._app.tell(str(error), "warn")
            return False
        self._app.context.generation += 1
        pane = self._app.host.made.get("check")
        if isinstance(pane, CheckMatrix):
            pane.follow()
        return True

    def fix(self, argument: str) -> None:
        """Offer what can be mended of a cell, the selected one if none is named."""
        app, sheet = self._app, self.sheets.check
        if not self._pick(argument):
            return
        found = remedies(sheet.found, sheet.check, sheet.node) if sheet.found is not None else ()
        if not found:
            app.tell(say("nothing here can be mended from the console"), "warn")
            return
        word = sheet.job or app.options.fleet or found[0].node
        wish = Mend(remedies=tuple(_mending(finding) for finding in found), again=CheckNodes(level=sheet.level, job=sheet.job_file))
        lines: list[Line] = [[(say("Mend"), "bad"), (f" {sheet.check} ", "name"), (say("on {n} nodes, and on no others whatever happens meanwhile:", n=len(found)), "plain")]]
        for one in wish.remedies:
            lines += [[("  " + one.node, "name"), (f"  {say(found[wish.remedies.index(one)].what)}", "plain")], [("    $ " + command_of(one), "key")]]
        self._confirm(wish, lines, word, say("type {word} to do it, enter; esc leaves it", word=clip(word, 40)),
                      say("mending {check} on {n} nodes", check=sheet.check, n=len(found)))

    # --- the job -----------------------------------------------------------------------------------------

    def plan(self, argument: str) -> None:
        """Read the job file named, or the one before again."""
        app, path = self._app, argument or self.sheets.job.path
        if app.context.cursor.replay:
            app.tell(say("a replay launches nothing"), "warn")
        elif not path:
            app.tell(say("which job file? :plan JOB"), "warn")
        else:
            if app.is_running and app.navigator.view != "launch":
                app.navigator.go("launch")
            plans = app.host.made.get("plan")
            if plans is not None and plans in app.host.panes:
                app.host.turn_to(plans)
            app.send(PlanJob(path=path))

    def run(self) -> None:
        """Offer to launch what was planned."""
        app, sheet = self._app, self.sheets.job
        plan = sheet.plan
        if plan is None:
            app.tell(say("which job file? :plan JOB"), "warn")
        elif sheet.launching:
            app.tell(say("a launch is under way"), "warn")
        elif not plan.ok or not plan.nodes:
            app.tell(*planned_text(sheet))
        elif plan.attempt in sheet.used:
            # An attempt is never launched twice, and what is confirmed is what was shown.
            self.plan("")
            app.tell(say("planned anew as another attempt; look at it, and press again"), "warn")
        else:
            lines: list[Line] = [[(say("Launch"), "bad"), (" ", "plain"), (clip(plan.job, 60), "name"), ("  ", "plain"), (plan.attempt, "dim")],
                                 [(say("on {n} nodes, and on no others whatever happens meanwhile:", n=len(plan.nodes)), "plain")]]
            for step in plan.before:
                lines.append([("  " + say("Before the launch: {step}", step=step.job), "warn"), (f"  {', '.join(node.node for node in step.nodes)}", "name")])
            for node in plan.nodes:
                lines += _node_lines(node)
            lines.append([(say("The plan behind this shows every line. Nothing starts unless all nodes are ready."), "plain")])
            self._confirm(LaunchJob(path=sheet.path, plan=plan), lines, plan.job, say("type the job's name to launch it, enter; esc leaves it"),
                          say("launching {job} on {n} nodes", job=clip(plan.job, 40), n=len(plan.nodes)))

    def _confirm(self, wish: Wish, lines: Sequence[Line], word: str, hint: str, told: str) -> None:
        from console.tui.screens.confirm_dialog import ConfirmDialog

        app = self._app

        def decided(confirmed: Wish | None) -> None:
            if confirmed is None:
                return
            if isinstance(confirmed, LaunchJob):
                self.sheets.job.launching = True
            else:
                self.sheets.check.running = True
            app.tell(told, "good")
            app.send(confirmed)

        app.push_screen(ConfirmDialog(wish, lines, word, hint, lambda: app.arming.armed), decided)

    # --- logins ------------------------------------------------------------------------------------------

    def ask_next(self, quiet_s: float) -> None:
        """Open the dialog of the oldest question, unless somebody is in the middle of something."""
        app = self._app
        if not self.sheets.questions or quiet_s < QUIET_S or app.prompt is not None or len(app.screen_stack) > 1:
            return
        from console.tui.screens.login_dialog import LoginDialog

        asked = next(iter(self.sheets.questions.values()))
        app.push_screen(LoginDialog(asked, lambda: asked.number in self.sheets.questions), self._answered)

    def _answered(self, answer: Wish | None) -> None:
        if answer is not None:
            self.sheets.questions.pop(answer.number, None)  # type: ignore[union-attr]  # an AnswerLogin
            self._app.send(answer)


def asked(argument: str, level: str, job: str) -> tuple[str, str]:
    """(level, job file) of ``:check ...``, else those given. Raises ValueError, with what is accepted, for anything else."""
    words = [word for word in argument.split() if word not in ("--level", "--job")]
    for word in words:
        if word in LEVELS:
            level = word
        elif word.endswith((".yaml", ".yml")) or f"--job {word}" in argument:
            job = word
        else:
            raise ValueError(say("{word}: expected one of {words}", word=word, words=", ".join((*LEVELS, "JOB.yaml"))))
    return level, job


def picked(sheet: CheckSheet, argument: str) -> CheckSheet:
    """The sheet with the cell ``CHECK [NODE]`` selected; of an empty argument the one that is. Raises ValueError when there is none such."""
    check, _, node = argument.partition(" ")
    node = node.strip()
    if sheet.found is None:
        raise ValueError(say("not checked yet; check does it: it only asks, and changes nothing"))
    ids = [row.check.id for row in sheet.found.rows]
    if check and check not in ids:
        raise ValueError(say("{word}: expected one of {words}", word=check, words=", ".join(ids)))
    if node and node not in sheet.found.nodes:
        raise ValueError(say("no node is called {name}", name=node))
    if check:
        sheet.check, sheet.node = check, node or BETWEEN
    return sheet


def planned_text(sheet: JobSheet) -> tuple[str, str]:
    """What came of reading a job file, in one sentence, and its tone."""
    if sheet.plan is None:
        return sheet.error, "bad"
    errors = sum(problem.severity == "error" for problem in sheet.plan.problems)
    if errors:
        return say("not ready to launch: {n} errors", n=errors), "bad"
    return say("ready to launch {job}: R launches it, once armed", job=clip(sheet.plan.job, 40)), "good"


def command_of(mending: Mending) -> str:
    """The command as it would be typed."""
    from console.core.preflight.finding import Remedy

    return Remedy(name=mending.remedy, subject=mending.subject).command


def _mending(finding: Finding) -> Mending:
    if finding.remedy is None:
        raise ConsoleError("no remedy", where=finding.node)
    return Mending(node=finding.node, check=finding.id, remedy=finding.remedy.name, subject=finding.remedy.subject, argv=finding.remedy.argv)


def _node_lines(node: NodePlan) -> list[Line]:
    lines: list[Line] = [[(f"  {node.node_index:>3} ", "dim"), (node.node, "name"),
                          (f"  {say('devices {d}', d=', '.join(map(str, node.devices)) or '-')}  {node.dir}", "plain")]]
    for command in node.commands:
        text = command.script.strip().splitlines() or [" ".join(command.argv)]
        lines.append([(f"      {say(command.phase)}: {say('{n} lines', n=len(text))}, ", "dim"), (text[-1].strip()[:300], "key")])
    return lines


