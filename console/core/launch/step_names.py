"""What the jobs of steps are called: ``llama--preprocess`` is step preprocess of job llama. Pure, and cheap to import."""

from __future__ import annotations

import re

STEP_JOB = re.compile(r"(?P<job>.+)--(?P<step>workspace|preprocess|convert|export|merge-lora)")
"""Rule K1 keeps these names for steps."""


def job_of_step(job: str, step: str) -> str:
    """The name of the job that carries out ``step`` of ``job``."""
    return f"{job}--{step}"


def is_step(job: str) -> bool:
    """Whether a job of this name is a step of another: done when its command ends well, with nothing to train."""
    return STEP_JOB.fullmatch(job) is not None
