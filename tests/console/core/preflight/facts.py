"""Facts of a node that is fit in every way, to be spoilt by the tests one at a time."""

from __future__ import annotations

import copy
from typing import Any

from console.core.launch.inventory import Node
from console.core.preflight.facts import Case, NodeFacts
from trainer.spec.job import JobSpec, from_mapping

HEX = "ab" * 32


def job(**blocks: dict[str, Any]) -> JobSpec:
    """A job of two nodes in a container; blocks are laid over."""
    mapping: dict[str, Any] = {
        "run": {"name": "tiny"}, "paths": {"work": "/w"}, "fleet": {"nodes": ["n0", "n1"], "npus_per_node": 2, "hardware": "ascend-a2-8"},
        "container": {"runtime": "docker", "image": "train:1"}, "runner": {"trainer_dir": "/w/rankdeck"}, "train": {"iterations": 4},
        "checkpoint": {"dir": "/w/ckpt"}}
    for name, block in blocks.items():
        mapping[name] = {**mapping.get(name, {}), **block}
    return from_mapping(mapping)


def process_job(**blocks: dict[str, Any]) -> JobSpec:
    return job(**{"container": {"runtime": "process", "image": ""}, **blocks})


def path(full: str, **how: Any) -> dict[str, Any]:
    return {"full": full, "exists": True, "nearest": full, "kind": "dir", "readable": True, "writable": True, "owner": 0,
            "space": {"total_mb": 1e6, "free_mb": 5e5, "inodes_total": 10**8, "inodes_free": 9 * 10**7}, **how}


def parts(**over: Any) -> dict[str, Any]:
    """Everything that an agent tells, all of it well; ``over`` replaces whole parts."""
    columns = {"npu_id": [0, 1], "chip_id": [0, 0], "name": ["910B3"] * 2, "health": ["OK"] * 2}
    found = {
        "host": {"python": "3.9.9", "memory_total_mb": 2e6, "ip_forward": 1, "shm": {"total_mb": 1e6, "free_mb": 1e6},
                 "limits": {"max_open_files": [1048576, 1048576], "max_processes": [None, None], "max_locked_memory": [None, None]}},
        "versions": {"driver": "25.2.0", "firmware": "7.7.0.6.236", "cann": ["8.2.RC1"]},
        "nics": {"bond0": {"mtu": 1500, "state": "up", "addresses": ["10.0.0.1", "10.0.0.2"]}, "lo": {"mtu": 65536, "state": "unknown", "addresses": ["127.0.0.1"]}},
        "ports": {"listening": [22], "local_range": [32768, 60999], "reserved": "60000-60015"}, "clock": {"synchronised": True},
        "npu": {"sample": {"source": "npu-smi", "complete": True, "columns": columns, "absent": {}, "errors": [], "driver_version": "25.2.0"},
                "health": {"devices": []}, "files": {"davinci_manager": True, "devmm_svm": True, "hisi_hdc": True}},
        "occupancy": {"devices": [0, 1], "holders": [], "absent": {}},
        "network": {"columns": {"device": [0, 1], "link": ["UP"] * 2, "net_health": ["Success"] * 2, "address": ["29.0.0.1", "29.0.0.2"], "tls": [False] * 2}, "absent": {}},
        "containers": {"engine": "docker", "daemon": "up", "containers": [], "root_dir": "/var/lib/docker", "root_space": path("/var/lib/docker")["space"]},
        "image": {"present": True, "id": "sha256:" + HEX},
        "runner": {"python": "python3", "version": "3.11.4", "why": "", "modules": {"torch": "2.7.1", "megatron.core": "0.13.0", "torch_npu": "2.7.1"}, "errors": {}},
    }
    for each in ("~/", "/w", "/w/ckpt", "/w/rankdeck", "/usr/local/sbin/npu-smi", "/usr/local/dcmi", "/usr/local/Ascend/driver"):
        found["path:" + each] = path(each)
    return copy.deepcopy({**found, **over})


def node(name: str = "n0", **over: Any) -> NodeFacts:
    told = parts(**over)
    host = "10.0.0.1" if name == "n0" else "10.0.0.2"
    if name != "n0" and "network" not in over:
        told["network"]["columns"]["address"] = ["29.0.1.1", "29.0.1.2"]
    return NodeFacts(node=Node(name=name, host=host, npus=2), parts=told, clock_offset_s=0.0, clock_error_s=0.001)


def case(*nodes: NodeFacts, **how: Any) -> Case:
    return Case(nodes=nodes or (node("n0"), node("n1")), **{"level": "deep", "job": job(), **how})
