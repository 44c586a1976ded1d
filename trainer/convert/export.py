"""A run's checkpoint as Hugging Face weights: at the end of training, or by ``python -m trainer export``.

A lora run's checkpoints hold adapters; they are exported with the weights they were trained on, merged.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from trainer.convert import command as converting
from trainer.data.refusal import DataError
from trainer.spec.job import JobSpec, from_mapping


def export_checkpoint(spec: JobSpec, checkpoint: Path, out: Path) -> Any:
    """Write the checkpoint of one iteration (or the newest of a directory) to ``out``; what was written.

    config.json and tokenizer files are those of ``model.weights``, ``model.hf_config`` or ``model.tokenizer``
    where a job names them, else config.json is made of the model block. Raises DataError.
    """
    from trainer.convert import weights
    from trainer.convert.lora import Merged

    try:
        model = converting.shape(spec.model)
    except (OSError, ValueError) as error:
        raise DataError("the model block cannot be understood", where="model.hf_config" if spec.model.hf_config else "model", got=str(error), fix="Mend the job file") from error
    known = _known(spec)
    config_from = known if known and (known / "config.json").is_file() else None
    if spec.run.mode == "lora" or spec.model.peft.type == "lora":
        base = weights.open_source(Path(spec.checkpoint.load_dir), model=model, config_from=config_from)
        source: Any = Merged(base, weights.located(checkpoint.expanduser(), None), alpha=float(spec.model.peft.alpha))
    else:
        source = weights.open_source(checkpoint, model=model, config_from=config_from)
    return weights.convert(source, weights.Target(out=out, format="hf", companions=known), made_from=str(checkpoint))


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
        converting.say(weights.as_mapping(export_checkpoint(spec, given.checkpoint or Path(spec.checkpoint.dir), out)), given.json)
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
