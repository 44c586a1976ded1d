"""What validation finds: the shape of one finding, and a list of them as one error. Pure.

Validation reports everything at once; ``ProblemsError`` is how a list of ``plan.Problem`` travels through
code that can only raise. Rule ids with a letter of their own are from the rules reference (P1, N1, ...);
J1 is the shape of a job or fleet file, R2 its references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from console.core.errors import FileError
from console.core.i18n import recognised, say
from console.core.records import dataclass

Severity = Literal["error", "warning", "info"]

_RULES: dict[tuple[str, ...], str] = {("run", "mode"): "M1", ("data", "format"): "D5"}
"""Values that have a rule of their own."""

_GOT_EXPECTED = re.compile(r"^got (?P<got>.*?), expected (?P<expected>.*?)(?:; (?P<fix>did you mean .*))?$", re.DOTALL)
_UNKNOWN = re.compile(r"^(?P<message>unknown key .*?)(?:; (?P<fix>did you mean .*))?$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding of validation, in four parts (what, where, got and expected, next move)."""

    rule: str
    """Id of the rule, e.g. P1 (reference of rules: docs)."""
    severity: Severity
    where: str
    """file:line:column, as near as it is known."""
    message: str
    got: str = ""
    expected: str = ""
    fix: str = ""


class ProblemsError(FileError):
    """A file with one or more errors in it. ``problems``: all of them, in the order found; never empty."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.message, where=first.where, got=first.got, expected=first.expected, fix=first.fix)

    def __str__(self) -> str:
        return "\n".join(problem_text(problem) for problem in self.problems)


def problem_text(problem: Problem) -> str:
    """The four parts on one line, in the language in use: ``where: message (got ..., expected ...). Next move [rule]``."""
    text, got, expected, fix = recognised(problem.message), _part(problem.got), _part(problem.expected), recognised(problem.fix)
    if problem.where:
        text = say("{where}: {what}", where=problem.where, what=text)
    if expected:
        text = say("{what} (got {got}, expected {expected})", what=text, got=got or say("nothing"), expected=expected)
    elif got:
        text = say("{what} (got {got})", what=text, got=got)
    return (say("{text}. {fix}", text=text, fix=fix) if fix else text) + f" [{problem.rule}]"


def _part(text: str) -> str:
    """Got or expected: a single word is a value of the file, unless it is one of ours."""
    return recognised(text) if " " in text or text in ("nothing", "both", "neither") else text


def from_spec_text(path: Sequence[str], text: str, where: str) -> Problem:
    """One finding of ``trainer.spec.job.SpecError`` (path of keys, message) as a Problem at ``where``."""
    name = ".".join(path) or "job file"
    rule = _RULES.get(tuple(path), "J1")
    if found := _GOT_EXPECTED.match(text):
        return Problem(rule=rule, severity="error", where=where, message=f"{name} is not what it should be",
                       got=found["got"], expected=found["expected"], fix=_sentence(found["fix"]))
    if found := _UNKNOWN.match(text):
        block = ".".join(path[:-1])
        message = found["message"] + (f" in {block}" if block else "")
        return Problem(rule="J1", severity="error", where=where, message=message, fix=_sentence(found["fix"]))
    return Problem(rule="J1", severity="error", where=where, message=f"{name}: {text}")


def _sentence(text: str | None) -> str:
    return text[:1].upper() + text[1:] if text else ""
