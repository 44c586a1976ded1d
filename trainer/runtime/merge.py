"""``python -m trainer merge-lora``: a run's adapters added to the weights they were trained on.

One process reads both, whatever TP and PP they were written by, and writes plain weights without an
optimizer: a directory that ``checkpoint.load_dir`` takes, laid out as Megatron lays out converted weights
(``release`` and a tracker that says so).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from trainer.runtime import device as devices
from trainer.runtime import report, shelf, start
from trainer.runtime.errors import TrainerError
from trainer.runtime.train import process_group
from trainer.spec import manifest
from trainer.spec.job import JobSpec, Parallel, from_mapping


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own."""
    parser.add_argument("--job", required=True, metavar="JOB.JSON", help="the resolved job file of the lora run")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the merged weights go; must not be there")


def command(given: argparse.Namespace) -> int:
    """0 when the merged weights are written. Raises TrainerError."""
    try:
        spec = from_mapping(json.loads(Path(given.job).expanduser().read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise TrainerError(
            "the job file cannot be read", where=given.job, got=getattr(error, "strerror", None) or str(error),
            expected="a resolved job file (job.json)", fix="rankdeck plan shows where it is written") from error
    spec = start.resolved(dataclasses.replace(spec, parallel=Parallel(), fleet=dataclasses.replace(spec.fleet, nodes=("here",), npus_per_node=1)))
    ready = devices.prepare(local_rank=0, threads=spec.train.threads, deterministic=False)
    with process_group(spec, ready):
        count = merge(spec, ready.name, Path(given.out))
    report.say(f"merged {count} adapters into {given.out}")
    return 0


def merge(spec: JobSpec, device: str, out: Path) -> int:
    """Merge the newest adapters of checkpoint.dir and the weights of load_dir into ``out``; how many adapters."""
    from trainer.runtime import checkpoint, lora, model

    directory = Path(spec.checkpoint.dir).expanduser()
    iteration, _ = shelf.newest(directory)
    if iteration is None:
        raise TrainerError("no complete checkpoint with adapters", where=str(directory), got="none", expected="a lora run's checkpoint", fix="Check checkpoint.dir")
    if out.exists():
        raise TrainerError("there is something already", where=str(out), got="a file or directory", expected="a new name", fix="Choose another --out")
    chunks = model.bare(spec, device)
    if spec.checkpoint.load_dir:
        checkpoint.load_weights(chunks, start.weights_in(Path(spec.checkpoint.load_dir).expanduser()))
    lora.attach(chunks, spec.model.peft, seed=spec.run.seed)
    checkpoint.load_weights(chunks, directory / manifest.directory_name(iteration), whole=False)
    count = lora.merge(chunks)
    release = out / "release"
    release.mkdir(parents=True)
    checkpoint.save_weights(chunks, release)
    shelf.write(out / manifest.TRACKER_NAME, "release")
    return count
