"""What a launch must know to bring a job's code to the nodes (rule G1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.spec.finding import Finding, error
from trainer.spec.job import JobSpec

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,120}")
"""What something that is staged may be called (``console.remote.parcels``)."""


def check(spec: JobSpec) -> Iterator[Finding]:
    """Nothing for a job whose code is not sent."""
    code = spec.code
    if not code.to:
        return
    if bool(code.path) == bool(code.repo):
        yield error("G1", ("code", "repo" if code.repo else "to"), "what is sent to code.to is one thing", "both" if code.repo else "neither", "code.path or code.repo",
                    "name a directory, or a repository with its commit")
    for key in ("commit", "branch", "repo"):
        if getattr(code, key).startswith("-"):
            yield error("G1", ("code", key), "this would be read as an option", repr(getattr(code, key)), "a commit, branch or repository", "mend it")
    name = code.to.rstrip("/").rpartition("/")[2]
    if NAME.fullmatch(name) is None:
        yield error("G1", ("code", "to"), "the last part of code.to becomes a name", repr(name), "letters, digits, '.', '_', '+' and '-'", "choose another")
    if code.to.rstrip("/") == spec.paths.work.rstrip("/"):
        yield error("G1", ("code", "to"), "the work directory cannot be replaced by the code", code.to, "a directory of its own", "name one below paths.work")
