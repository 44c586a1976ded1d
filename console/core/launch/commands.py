"""One node's part of a job as the text that is run there. Pure: ``JobSpec`` and ``Node`` in, script out.

The script is bash, is written as ``command.sh`` into the attempt's directory and executed by the shim.
Everything a person wrote reaches its program as it was written: nothing is expanded but a ``~/`` at the
beginning of a path, which becomes the node's own ``$HOME``.

``RUNNERS`` (who starts the ranks) and ``RUNTIMES`` (where) are the tables to extend: a new runner is a
case here and nowhere else. What is not in them yet is said by ``unsupported``.

Sources: torchrun's options are those of torch.distributed.run (torch 2.13); TORCH_DISABLE_SHARE_RDZV_TCP_STORE
keeps restarted ranks off the agent's store, whose stale keys of the round before made them hang.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from console.core.launch.inventory import Node
from trainer.spec.job import JobSpec
from trainer.spec.rules import Finding

DIR = '"$RANKDECK_DIR"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a script will run: the node, its place in the job, and who leads."""

    node: Node
    node_index: int
    master: Node
    attempt: str
    dir: str


def script(spec: JobSpec, place: Place) -> str:
    """The text of ``command.sh``, ending in a newline. Raises KeyError for what ``unsupported`` names."""
    return RUNTIMES[spec.container.runtime](spec, place)


def environment(spec: JobSpec, place: Place) -> dict[str, str]:
    """What the script exports, in its order; a leading ``~/`` stands for the node's ``$HOME``.

    The job's own ``env`` comes after the defaults, so that it may replace them, and before RANKDECK_*,
    which it may not.
    """
    found = {
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(spec.train.threads),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    if spec.fleet.nic:
        found["GLOO_SOCKET_IFNAME"] = spec.fleet.nic
        found["HCCL_SOCKET_IFNAME"] = f"={spec.fleet.nic}"
    return {
        **found, **{name: value for name, value in spec.env.items() if isinstance(value, str)},
        "RANKDECK_JOB": spec.run.name,
        "RANKDECK_ATTEMPT": place.attempt,
        "RANKDECK_NODE": place.node.name,
        "RANKDECK_NODE_INDEX": str(place.node_index),
        "RANKDECK_DIR": place.dir,
    }


def unsupported(spec: JobSpec) -> Iterator[Finding]:
    """What the job asks for and this version cannot run yet."""
    for path, value, table in ((("runner", "kind"), spec.runner.kind, RUNNERS),
                               (("container", "runtime"), spec.container.runtime, RUNTIMES)):
        if value not in table:
            yield Finding(rule="L1", severity="error", path=path, message=f"{'.'.join(path)} {value} is not supported yet",
                          got=value, expected=" or ".join(table), fix=f"Use {next(iter(table))}")


def quote(text: str) -> str:
    """One shell word that is exactly ``text``."""
    return shlex.quote(text)


def path_word(path: str) -> str:
    """One shell word that is ``path``, a leading ``~/`` (or ``~`` alone) being the node's home."""
    if path == "~":
        return '"$HOME"'
    return f'"$HOME"/{quote(path[2:])}' if path.startswith("~/") else quote(path)


def endpoint(node: Node, port: int) -> str:
    """``address:port`` as torchrun reads it, an IPv6 address in brackets."""
    host = address(node)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(node: Node) -> str:
    """The address under which the other nodes reach this one, without brackets."""
    return (node.address or node.host).strip("[]")


def _process(spec: JobSpec, place: Place) -> str:
    """Straight on the node, no container engine."""
    lines = ["#!/usr/bin/env bash", "# Written by Rankdeck and executed as it stands.", "set -euo pipefail"]
    lines += [f"export {name}={path_word(value) if name == 'RANKDECK_DIR' else quote(value)}"
              for name, value in environment(spec, place).items()]
    lines.append(f"cd -- {path_word(spec.runner.workdir or spec.paths.work)}")
    lines.append("exec " + " \\\n  ".join(RUNNERS[spec.runner.kind](spec, place)))
    return "\n".join(lines) + "\n"


def _torchrun(spec: JobSpec, place: Place) -> list[str]:
    """The elastic agent over all nodes, each worker under the shim. One group of shell words a line."""
    leads = place.node_index == 0
    options = [
        f"--nnodes={len(spec.fleet.nodes)}",
        f"--nproc-per-node={spec.fleet.npus_per_node}",
        f"--max-restarts={spec.recovery.in_place}",
        "--monitor-interval=0.5",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint(place.master, spec.fleet.master_port)}",
        f"--rdzv-id={place.attempt}",
        # Said, not guessed: torchrun would compare host names, and a node's address need not be one of its name's.
        f"--rdzv-conf=join_timeout={math.ceil(spec.recovery.join_timeout_s)},is_host={'true' if leads else 'false'}",
        f"--local-addr={address(place.node)}",
    ]
    shim = " ".join((path_word(place.node.python), "-I", f"{DIR}/shim.py", "rank", "--"))
    return [f"{path_word(spec.runner.python)} -m torch.distributed.run", *map(quote, options), "--no-python", shim,
            " ".join(_worker(spec))]


def _worker(spec: JobSpec) -> Sequence[str]:
    """What one rank executes: the user's program, or the project's trainer by its path."""
    runner = spec.runner
    if runner.entry:
        return [path_word(runner.python), "-u", path_word(runner.entry), *map(quote, runner.args)]
    program = path_word(f"{runner.trainer_dir.rstrip('/')}/trainer/__main__.py")
    return [path_word(runner.python), program, "train", "--job", f"{DIR}/job.json"]


RUNNERS: Mapping[str, Callable[[JobSpec, Place], list[str]]] = {"torchrun": _torchrun}
"""runner.kind -> the command that starts this node's ranks, as groups of shell words."""

RUNTIMES: Mapping[str, Callable[[JobSpec, Place], str]] = {"process": _process}
"""container.runtime -> the whole script."""
