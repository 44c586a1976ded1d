"""Checks, remedies, job files, launches and logins as text: what ``errand_doings`` does for the screen. Loaded when first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from console.core.events import CheckEnded, CheckTold, JobLaunched, JobPlanned, News
from console.core.i18n import say
from console.core.intents import CheckNodes, LaunchJob, Mend, Mending, PlanJob, ProveNodes, Wish
from console.core.launch.plan import plan_text
from console.core.preflight.matrix import remedies
from console.core.preflight.table import report_text
from console.core.spoken import spoken_text
from console.tui.errand_doings import asked, command_of, picked, planned_text
from console.tui.sheets import Sheets
from console.tui.widgets.finding import told

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 100


class Session(Protocol):
    """What is needed of ``plain.Plain``."""

    @property
    def armed(self) -> bool:
        """Whether changes are possible."""

    def put(self, text: str) -> None:
        """A line for the reader."""

    def send(self, wish: Wish) -> None:
        """Hand a wish down."""

    def confirm(self, wish: Wish, word: str, told: str) -> None:
        """Wait for the word in the next line."""


class PlainErrands:
    """One a session."""

    def __init__(self, session: Session, fleet: str) -> None:
        self._session, self._fleet = session, fleet
        self.sheets = Sheets()

    def hear(self, news: News) -> None:
        """Fold it in; what is over is told."""
        self.sheets.take(news)
        put = self._session.put
        if isinstance(news, CheckEnded):
            if news.report is not None:
                put(say("checked {n} nodes: {how}", n=len(news.report.case.nodes), how=say("fit") if news.report.ok else say("not fit")) + ". " + say("checks tells it all."))
            else:
                put(spoken_text(news.error))
        elif isinstance(news, CheckTold) and not news.node:
            put(say("asking {n} nodes", n=len(news.nodes)))
        elif isinstance(news, JobPlanned):
            put(planned_text(self.sheets.job)[0])
        elif isinstance(news, JobLaunched):
            put(spoken_text(news.error) or say("{job} is started as attempt {attempt}", job=news.job, attempt=news.attempt))

    def check(self, argument: str) -> None:
        """Begin a check."""
        sheet = self.sheets.check
        try:
            level, job = asked(argument, sheet.level, sheet.job_file if sheet.report is not None else self.sheets.job.path)
        except ValueError as error:
            self._session.put(str(error))
            return
        sheet.job_file, sheet.proved = job, self._session.armed
        self._session.send((ProveNodes if self._session.armed else CheckNodes)(level=level, job=job))
        self._session.put(say("asked; the next lines tell what came of it"))

    def checks(self) -> None:
        """The newest check, the worst first."""
        sheet = self.sheets.check
        if sheet.report is None:
            self._session.put(spoken_text(sheet.error) or say("not checked yet; check does it: it only asks, and changes nothing"))
        else:
            self._session.put(report_text(sheet.report, self._fleet))

    def finding(self, argument: str) -> None:
        """One cell."""
        try:
            sheet = picked(self.sheets.check, argument)
        except ValueError as error:
            self._session.put(str(error))
        else:
            self._session.put("\n".join("".join(text for text, _ in line) for line in told(sheet, WIDTH)))

    def fix(self, argument: str) -> None:
        """Offer what can be mended of one cell."""
        try:
            sheet = picked(self.sheets.check, argument)
        except ValueError as error:
            self._session.put(str(error))
            return
        found = remedies(sheet.found, sheet.check, sheet.node) if sheet.found is not None else ()
        wanted: Sequence[Mending] = [Mending(node=finding.node, check=finding.id, remedy=finding.remedy.name, subject=finding.remedy.subject, argv=finding.remedy.argv)
                                     for finding in found if finding.remedy is not None]
        if not wanted:
            self._session.put(say("nothing here can be mended from the console"))
            return
        for one in wanted:
            self._session.put(f"{one.node}: $ {command_of(one)}")
        word = sheet.job or self._fleet or wanted[0].node
        self._session.put(say("type {word} to do it, enter; esc leaves it", word=word).partition(";")[0])
        self._session.confirm(Mend(remedies=tuple(wanted), again=CheckNodes(level=sheet.level, job=sheet.job_file)), word,
                              say("mending {check} on {n} nodes", check=sheet.check, n=len(wanted)))

    def plan(self, argument: str) -> None:
        """Read a job file; without one, tell the plan."""
        sheet = self.sheets.job
        if argument:
            self._session.send(PlanJob(path=argument))
            self._session.put(say("asked; the next lines tell what came of it"))
        elif sheet.plan is not None:
            self._session.put(plan_text(sheet.plan))
        else:
            self._session.put(spoken_text(sheet.error) or say("which job file? :plan JOB"))

    def run(self) -> None:
        """Offer to launch what was planned."""
        sheet = self.sheets.job
        plan = sheet.plan
        if plan is None or not plan.ok or not plan.nodes:
            self._session.put(planned_text(sheet)[0] or say("which job file? :plan JOB"))
        elif plan.attempt in sheet.used:
            self._session.send(PlanJob(path=sheet.path))
            self._session.put(say("planned anew as another attempt; look at it, and press again"))
        else:
            for node in plan.nodes:
                self._session.put(f"{node.node}: {say('devices {d}', d=', '.join(map(str, node.devices)) or '-')}, {node.dir}")
            self._session.put(say("type the job's name to launch it, enter; esc leaves it").partition(",")[0] + f": {plan.job}")
            self._session.confirm(LaunchJob(path=sheet.path, plan=plan), plan.job, say("launching {job} on {n} nodes", job=plan.job, n=len(plan.nodes)))
