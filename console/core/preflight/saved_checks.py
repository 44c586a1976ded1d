"""What the rules of a job cannot know from its file: the data that is there, and the checkpoint it is to go on from. Pure.

Nothing is judged here anew. The rules of ``trainer.spec`` (D1, M4, M6, M7, M8, S7r) are asked once more with what the
nodes have told, and what they say more than without it is told. The project's own trainer asks them itself, of the
checkpoint that it opens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.core.preflight.facts import Case
from console.core.preflight.finding import Finding, Found, unknown
from console.core.preflight.software_checks import mapped
from trainer.spec import rules
from trainer.spec.data_rules import data_files
from trainer.spec.facts import Facts
from trainer.spec.job import JobSpec
from trainer.spec.saving_rules import loads
from trainer.spec.trainer_rules import own_trainer

FORMATS = {"legacy": "megatron", "torch_dist": "torch_dist", "hyperpod-auto": "fsdp", "hyperpod-manual": "fsdp"}
"""agent.parse.checkpoint's formats as ``Facts`` has them."""


def read_data(job: JobSpec) -> tuple[str, ...]:
    """The files that a script of the vendor's will open, as it calls them; what a step makes first is not among them."""
    return data_files(job) if job.runner.kind == "env-script" and not job.data.prepare else ()


def saved_places(job: JobSpec) -> dict[str, str]:
    """Field -> directory on the host, of the checkpoints that the rules want to know of."""
    places = {}
    if loads(job) == "resume" and not own_trainer(job):
        places["checkpoint.load_dir"] = job.checkpoint.load_dir
    if job.runner.kind == "ascendfactory" and job.checkpoint.auto_resume and job.checkpoint.load_dir:
        places["checkpoint.dir"] = f"{job.checkpoint.dir.rstrip('/')}/saved_checkpoints"
    on_host = {field: mapped(job, path) for field, path in places.items() if path}
    return {field: path for field, path in on_host.items() if path}


def facts_of(case: Case, job: JobSpec) -> Facts:
    """What was told. A file counts as missing where one node lacks it."""
    files: dict[str, bool] = {}
    for name in read_data(job):
        told = [bool(node.path(mapped(job, name) or name)["exists"]) for node in case.reached if node.path(mapped(job, name) or name)]
        if told:
            files[name] = all(told)
    places = saved_places(job)
    output = _told(case, places.get("checkpoint.dir", ""))
    empty = None if output is None else not output.get("iterations")
    found = _told(case, places.get("checkpoint.load_dir", ""))
    if found is None:
        return Facts(files=files, output_is_empty=empty)
    rows = [row for row in found.get("iterations") or () if isinstance(row.get("iteration"), int)]
    # What the vendor's programs go on from is what the tracker says, whole or not.
    tracker = found.get("tracker") if found.get("tracker_state") == "ok" else None
    (row,) = [row for row in rows if row["iteration"] == tracker][:1] or [{}]
    layout = row.get("layout") if isinstance(row.get("layout"), Mapping) else None
    cut = {name: layout[name] for name in ("tp", "pp", "cp", "ep") if isinstance(layout.get(name), int)} if layout else None
    return Facts(files=files, output_is_empty=empty, saved_iteration=tracker, tracker_iteration=tracker, iterations=tuple(row["iteration"] for row in rows),
                 saved_layout=cut or None, saved_format=FORMATS.get(str(row.get("format")), ""))


def fits(case: Case) -> Found:
    """The rules that need the nodes hold."""
    job = case.job
    if job is None:
        return
    for field, path in saved_places(job).items():
        why = str(case.saved.get(path, {}).get("why") or "")
        if why and why != "missing":
            yield unknown(next(case.reached), field, why, where=path, fix="A file system that does not answer hangs the job as well")
    waived, known = {waiver.id for waiver in job.preflight.waive}, rules.check(job)
    for finding in rules.check(job, facts=facts_of(case, job)):
        if finding not in known and finding.rule not in waived:
            yield Finding(what=finding.message, where=".".join(finding.path), severity=finding.severity, got=finding.got, expected=finding.expected,
                          fix=f"{finding.fix[:1].upper()}{finding.fix[1:]} [{finding.rule}]")


def _told(case: Case, path: str) -> Mapping[str, Any] | None:
    """What a node has said of a directory; None when nobody has looked, or could not."""
    found = case.saved.get(path) if path else None
    return found if found is not None and found.get("why") in ("", "missing") else None
