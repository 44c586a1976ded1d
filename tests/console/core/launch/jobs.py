"""A job and a fleet to change one thing of, for the tests of planning."""

from __future__ import annotations

import copy
from typing import Any

from console.core.launch import inventory
from console.core.launch.inventory import Inventory
from trainer.spec import job
from trainer.spec.job import JobSpec

ATTEMPT = "20261122T051001Z-1a2b"

JOB: dict[str, Any] = {
    "run": {"name": "tiny-gpt"},
    "paths": {"work": "/shared/work"},
    "fleet": {"nodes": ["n0", "n1"], "spares": ["n3"], "npus_per_node": 2, "nic": "bond0"},
    "runner": {"python": "/opt/venv/bin/python", "trainer_dir": "~/rankdeck"},
    "train": {"iterations": 60, "global_batch_size": 8},
    "checkpoint": {"dir": "/shared/work/checkpoints", "interval": 10},
}

FLEET: dict[str, Any] = {
    "name": "lab",
    "nodes": [
        {"name": "n0", "host": "10.0.0.1"}, {"name": "n1", "host": "10.0.0.2"},
        {"name": "n2", "host": "10.0.0.3"}, {"name": "n3", "host": "10.0.0.4", "role": "spare"},
    ],
}


def make_job(**changes: Any) -> JobSpec:
    """JOB with blocks merged in, e.g. ``make_job(runner={"entry": "x.py"})``."""
    mapping = copy.deepcopy(JOB)
    for block, values in changes.items():
        mapping[block] = {**mapping.get(block, {}), **values}
    return job.from_mapping(mapping)


def make_fleet(**changes: Any) -> Inventory:
    """FLEET; keywords are node names with fields to change."""
    mapping = copy.deepcopy(FLEET)
    for node in mapping["nodes"]:
        node.update(changes.get(node["name"], {}))
    return inventory.from_mapping(mapping, name="lab", where="fleet.yaml")
