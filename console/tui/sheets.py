"""What the screen knows of its errands: the newest check, the job file, open questions of logins. Folded from news.

Owns these three, outside the fleet's state: they are of this console alone and are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from console.core.events import CheckEnded, CheckTold, JobLaunched, JobPlanned, LoginAsked, News
from console.core.launch.plan import LaunchPlan
from console.core.preflight.matrix import BETWEEN, Matrix, matrix
from console.core.preflight.table import Report
from console.core.spoken import spoken_text


@dataclass(slots=True, kw_only=True)
class CheckSheet:
    """The newest check of the nodes, or the one under way, and which cell of it is looked at."""

    running: bool = False
    level: str = ""
    job: str = ""
    """Name of the job that it is for; empty: none."""
    job_file: str = ""
    nodes: tuple[str, ...] = ()
    told: dict[str, str] = field(default_factory=dict)
    """Node -> how far it is."""
    report: Report | None = None
    found: Matrix | None = None
    at: float = 0.0
    """When it ended."""
    error: str = ""
    proved: bool = False
    """Whether proof files might be written."""
    check: str = ""
    node: str = BETWEEN
    """The cell that is looked at."""


@dataclass(slots=True, kw_only=True)
class JobSheet:
    """The job file and what its launch would do."""

    path: str = ""
    lines: tuple[str, ...] = ()
    plan: LaunchPlan | None = None
    error: str = ""
    at: float = 0.0
    launching: bool = False
    used: set[str] = field(default_factory=set)
    """Attempt ids that were launched, or tried: an attempt is never launched twice."""


@dataclass(slots=True, kw_only=True)
class Sheets:
    """All of them."""

    check: CheckSheet = field(default_factory=CheckSheet)
    job: JobSheet = field(default_factory=JobSheet)
    questions: dict[int, LoginAsked] = field(default_factory=dict)
    """Open ones, the oldest first."""

    def take(self, news: News) -> None:
        """Fold in one piece of news."""
        if isinstance(news, CheckTold):
            self._check_told(news)
        elif isinstance(news, CheckEnded):
            sheet = self.check
            sheet.running, sheet.error, sheet.at = False, spoken_text(news.error), news.at
            if news.report is not None:
                sheet.report, sheet.found = news.report, matrix(news.report)
                if not any(row.check.id == sheet.check for row in sheet.found.rows) or sheet.node not in (BETWEEN, *sheet.found.nodes):
                    first = sheet.found.rows[0] if sheet.found.rows else None
                    sheet.check = first.check.id if first is not None else ""
                    sheet.node = next((name for name in (BETWEEN, *sheet.found.nodes) if first is not None and first.cells[name] == first.worst), BETWEEN)
        elif isinstance(news, JobPlanned):
            self.job = JobSheet(path=news.path, lines=news.lines, plan=news.plan, error=spoken_text(news.error), at=news.at, used=self.job.used)
        elif isinstance(news, JobLaunched):
            self.job.launching = False
            self.job.used.add(news.attempt)
        elif news.open:
            self.questions[news.number] = news
        else:
            self.questions.pop(news.number, None)

    def _check_told(self, news: CheckTold) -> None:
        sheet = self.check
        if news.node:
            sheet.told[news.node] = news.text
        else:
            sheet.running, sheet.error, sheet.level, sheet.job, sheet.nodes, sheet.told = True, "", news.level, news.job, news.nodes, {}
