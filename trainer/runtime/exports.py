"""When a run's weights are exported, and where to. Rank 0 writes them; the converter itself is ``trainer.convert.export``.

With ``export.interval`` every export has a directory of its own, ``<export.dir>/iter_0000100``; without, the one
at the end is ``export.dir`` itself.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from trainer.runtime import report
from trainer.runtime.errors import TrainerError
from trainer.spec import manifest
from trainer.spec.job import JobSpec

EXPORT = "trainer.convert.export"
"""Has ``export_checkpoint(spec, checkpoint: Path, out: Path)``; None where this very checkpoint is there already."""


def due(spec: JobSpec, iteration: int) -> bool:
    """Whether there is an export on the way, at this iteration."""
    return bool(spec.export.dir) and spec.export.interval > 0 and iteration % spec.export.interval == 0


def place(spec: JobSpec, iteration: int) -> Path:
    """Where the weights of an iteration go."""
    out = Path(spec.export.dir).expanduser()
    return out / manifest.directory_name(iteration) if spec.export.interval > 0 else out


def on_the_way(spec: JobSpec, iteration: int) -> None:
    """Export a checkpoint that is whole. What goes wrong is said, and training goes on."""
    try:
        write(spec, iteration)
    except TrainerError as error:
        report.say(f" no export of iteration {iteration}: {error}")


def write(spec: JobSpec, iteration: int) -> None:
    """Export the checkpoint of an iteration, unless it was before. Raises TrainerError."""
    out = place(spec, iteration)
    if importlib.util.find_spec(EXPORT) is None:
        report.say(f" no export to {out}: this build has no converter; convert the checkpoint later")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = Path(spec.checkpoint.dir).expanduser() / manifest.directory_name(iteration)
    made = importlib.import_module(EXPORT).export_checkpoint(spec, checkpoint, out)
    report.say(f" exported weights of iteration {iteration} to {out}" if made is not None else f" the weights of iteration {iteration} are in {out} already")
