"""What each node is asked for, by level and job. Pure: the ``ask`` of the agent's ``check_facts``."""

from __future__ import annotations

from typing import Any

from console.core.preflight.facts import Case, Level, rows
from console.core.preflight.job_checks import asked_paths
from console.core.preflight.saved_checks import read_data
from console.core.preflight.software_checks import mapped, modules_for
from trainer.spec.job import JobSpec

PART_LIMIT_S = 12.0
IMPORTS_S = 60.0
"""Importing torch from a cold disk."""


def ask_for(job: JobSpec | None, level: Level, timeout_s: float) -> dict[str, Any]:
    """The request's ``ask``. ``timeout_s``: when the whole node is given up; its parts are given up before."""
    limit_s = min(PART_LIMIT_S, max(1.0, timeout_s - 3.0))
    ask: dict[str, Any] = {"level": level, "paths": [*asked_paths(job), *_data(job, level)], "limit_s": limit_s}
    if job is not None and level != "quick":
        ask.update(python=job.runner.python, modules=modules_for(job), imports_s=min(IMPORTS_S, max(limit_s, timeout_s - 3.0)))
        if job.container.runtime != "process":
            ask.update(image=job.container.image, engine=job.container.runtime, in_image=True, mounts=list(job.container.mounts))
    return ask


def _data(job: JobSpec | None, level: Level) -> list[str]:
    """Data files on the host, for the rule that wants to see them."""
    return [] if job is None or level == "quick" else [mapped(job, name) or name for name in read_data(job)]


def proof_dir(job: JobSpec | None) -> str:
    """Where the nonce is written: the checkpoint directory as it lies on the host, else the work directory; "" without a job."""
    return "" if job is None else mapped(job, job.checkpoint.dir) or job.paths.work


def proof_places(case: Case) -> dict[str, str]:
    """Node -> the directory in which the nonce is looked for; the first is where it is written. Empty: there is none.

    The proof directory itself, or what of it is there on the first node that knows it; of a path below the
    login's home each node has its own.
    """
    path = proof_dir(case.job)
    known = {node.name: node.path(path) for node in case.reached if node.path(path)} if path else {}
    writer = next((name for name, facts in known.items() if facts.get("writable") and facts.get("kind") != "file"), None)
    if writer is None:
        return {}
    full, near = str(known[writer]["full"]), str(known[writer]["nearest"])
    missing = len([part for part in full[len(near):].split("/") if part])
    places = {name: "/".join(str(facts["full"]).split("/")[:-missing] if missing else [str(facts["full"])]) for name, facts in known.items()}
    if places[writer] in ("", "/"):
        return {}
    return {writer: places[writer], **places}


def ping_pairs(case: Case) -> dict[str, list[list[Any]]]:
    """Node -> [[device, address of another node's device]]: every pair of devices on different nodes, same place first."""
    addresses = {node.name: [(row.get("device"), row.get("address")) for row in rows(node.part("network").get("columns"))] for node in case.reached}
    found: dict[str, list[list[Any]]] = {}
    for node, mine in addresses.items():
        pairs = [(device == other, device, address) for device, _ in mine for name, theirs in addresses.items() if name != node
                 for other, address in theirs if device is not None and address]
        pairs.sort(key=lambda pair: not pair[0])
        if pairs:
            found[node] = [[device, address] for _, device, address in pairs]
    return found
