"""A run's checkpoint as Hugging Face weights: at the end of training, or by ``python -m trainer export``.

A lora run's checkpoints hold adapters; they are exported with the weights they were trained on, merged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from trainer.convert import command as converting
from trainer.data.refusal import DataError
from trainer.runtime.errors import TrainerError
from trainer.spec.job import JobSpec, from_mapping


def export_checkpoint(spec: JobSpec, checkpoint: Path, out: Path) -> Any:
    """Write the checkpoint of one iteration (or the newest of a directory) to ``out``, unless it was before.

    Returns what was written, None where this very checkpoint is there already: a run that was finished may be
    started again. config.json and tokenizer files are those of ``model.weights``, ``model.hf_config`` or ``model.tokenizer``
    where a job names them, else config.json is made of the model block. Raises TrainerError.
    """
    try:
        return _export(spec, checkpoint.expanduser(), out.expanduser())
    except DataError as error:
        raise TrainerError(error.what, where=error.where, got=error.got, expected=error.expected, fix=error.fix) from error


def _export(spec: JobSpec, checkpoint: Path, out: Path) -> Any:
    from trainer.convert import sidecar, weights
    from trainer.convert.lora import Merged

    try:
        model = converting.shape(spec.model)
    except (OSError, ValueError) as error:
        raise DataError("the model block cannot be understood", where="model.hf_config" if spec.model.hf_config else "model", got=str(error), fix="Mend the job file") from error
    checkpoint = weights.located(checkpoint, None)
    # The metadata of each save holds an id of its own, so that a checkpoint that replaced another is another.
    made_from = f"{checkpoint} {hashlib.sha256((checkpoint / '.metadata').read_bytes()).hexdigest()[:16]}" if (checkpoint / ".metadata").is_file() else str(checkpoint)
    if sidecar.read(out).get("made_from") == made_from:
        return None
    known = _known(spec)
    config_from = known if known and (known / "config.json").is_file() else None
    if spec.run.mode == "lora" or spec.model.peft.type == "lora":
        base = weights.open_source(Path(spec.checkpoint.load_dir), model=model, config_from=config_from)
        source: Any = Merged(base, checkpoint, alpha=float(spec.model.peft.alpha))
    else:
        source = weights.open_source(checkpoint, model=model, config_from=config_from)
    return weights.convert(source, weights.Target(out=out, format="hf", companions=known), made_from=made_from)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the command's words."""
    parser.add_argument("--job", required=True, type=Path, metavar="JOB.JSON", help="the resolved job file of the run")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="one iteration, or a directory of them; default checkpoint.dir of the job")
    parser.add_argument("--save-dir", type=Path, metavar="DIR", help="default export.dir of the job")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def command(given: argparse.Namespace) -> int:
    """Do it; the exit status: 0, or 3 refused."""
    from trainer.convert import weights

    try:
        spec = _job(given.job)
        out = given.save_dir or (Path(spec.export.dir) if spec.export.dir else None)
        if out is None:
            raise DataError("nothing says where to", where=str(given.job), got="no export.dir", expected="a directory", fix="Say --save-dir")
        made = _export(spec, (given.checkpoint or Path(spec.checkpoint.dir)).expanduser(), out.expanduser())
        converting.say(weights.as_mapping(made) if made else {"out_is_there": str(out)}, given.json)
    except DataError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.EXIT_CODE
    return 0


def _job(path: Path) -> JobSpec:
    try:
        return from_mapping(json.loads(path.expanduser().read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise DataError("the job file cannot be read", where=str(path), got=getattr(error, "strerror", None) or str(error), expected="a resolved job file (job.json)", fix="rankdeck plan shows where it is written") from error


def _known(spec: JobSpec) -> Path | None:
    """The Hugging Face directory that the job's model came from, of those it names the first that is there."""
    for word in (spec.model.weights, spec.model.hf_config, spec.model.tokenizer):
        path = Path(word).expanduser() if word else None
        if path is not None and path.exists():
            return path if path.is_dir() else path.parent
    return None
