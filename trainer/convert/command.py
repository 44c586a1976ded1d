"""``python -m trainer convert``: its words and what it prints. Words are those of Megatron's tools/checkpoint."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from trainer.data.refusal import DataError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the command's words."""
    parser.add_argument("--load-dir", required=True, type=Path, metavar="DIR", help="Hugging Face files, a checkpoint directory, or the directory of one iteration; which it is, is found out")
    parser.add_argument("--save-dir", required=True, type=Path, metavar="DIR", help="hf: the directory itself; else DIR/release, and a tracker")
    parser.add_argument("--to", required=True, choices=("hf", "torch_dist", "torch"), help="hf: safetensors; torch_dist: for this trainer, any TP, PP and EP; torch: mp_rank files of Megatron's older scripts")
    parser.add_argument("--target-tensor-parallel-size", type=size, default=1, metavar="N")
    parser.add_argument("--target-pipeline-parallel-size", type=size, default=1, metavar="N")
    parser.add_argument("--target-expert-parallel-size", type=size, default=1, metavar="N", help="of a mixture of experts")
    parser.add_argument("--make-vocab-size-divisible-by", type=size, default=1, metavar="N", help="torch: rows are added to the vocabulary until each part is a multiple")
    parser.add_argument("--dtype", choices=("keep", "fp32", "bf16", "fp16"), default="keep")
    parser.add_argument("--max-shard-size", type=in_bytes, default="5GB", metavar="SIZE", help="hf: of one file, e.g. 5GB (default), 500MB")
    parser.add_argument("--hf-config", type=Path, metavar="DIR", help="config.json of the model, where nothing beside the checkpoint says what it is; its tokenizer files go with hf output")
    parser.add_argument("--job", type=Path, metavar="JOB.JSON", help="instead: the resolved job file of the run")
    parser.add_argument("--iteration", type=int, metavar="N", help="of a directory of checkpoints; default what the tracker names")
    parser.add_argument("--dry-run", action="store_true", help="check the source and the sizes, write nothing")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def command(given: argparse.Namespace) -> int:
    """Do it; the exit status: 0, or 3 refused."""
    from trainer.convert import weights

    try:
        model = model_of_job(given.job) if given.job else None
        source = weights.open_source(given.load_dir, model=model, config_from=given.hf_config, iteration=given.iteration)
        target = weights.Target(
            out=given.save_dir, format=given.to, tensor_model_parallel_size=given.target_tensor_parallel_size,
            pipeline_model_parallel_size=given.target_pipeline_parallel_size, expert_model_parallel_size=given.target_expert_parallel_size, make_vocab_size_divisible_by=given.make_vocab_size_divisible_by,
            dtype=given.dtype, shard_bytes=given.max_shard_size, companions=_directory(given.hf_config))
        if given.dry_run:
            weights.check(source.model, target)
            say({"source": str(given.load_dir), "source_format": source.kind, "layout": dict(source.layout), "ok": True}, given.json)
            return 0
        say(weights.as_mapping(weights.convert(source, target, made_from=str(given.load_dir))), given.json)
    except DataError as error:
        print(f"rankdeck: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.EXIT_CODE
    return 0


def model_of_job(path: Path) -> Any:
    """The model of a resolved job file, its shape filled in. Raises DataError."""
    from trainer.spec.job import from_mapping

    try:
        return shape(from_mapping(json.loads(path.expanduser().read_text("utf-8"))).model)
    except (OSError, ValueError) as error:
        raise DataError("the job file cannot be read", where=str(path), got=getattr(error, "strerror", None) or str(error), expected="a resolved job file (job.json)", fix="rankdeck plan shows where it is written") from error


def shape(model: Any) -> Any:
    """A job's model with the shape of its preset or config.json. Raises ValueError, OSError."""
    from trainer.spec import families

    model = families.preset(model)
    if not model.hf_config:
        return model
    path = Path(model.hf_config).expanduser()
    return families.from_hf(json.loads((path / "config.json" if path.is_dir() else path).read_text("utf-8")), model)


def say(told: dict[str, Any], as_json: bool) -> None:
    """Print an outcome."""
    if as_json:
        print(json.dumps(told, indent=1))  # noqa: T201
    elif "out" in told:
        print(f"{told['tensors']} tensors, {told['parameters']} parameters: {told['source_format']} in {told['source']} -> {told['format']} in {told['out']}")  # noqa: T201
        if told["companions"]:
            print(f"with {', '.join(told['companions'])}")  # noqa: T201
    elif "out_is_there" in told:
        print(f"this very checkpoint is in {told['out_is_there']} already")  # noqa: T201
    else:
        print(f"{told['source']}: {told['source_format']}, whole; the sizes go up")  # noqa: T201


def in_bytes(word: str) -> int:
    """``5GB`` in bytes. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]+) ?([KMG]B)?", word.strip(), re.IGNORECASE)
    if not match or not int(match.group(1)):
        raise argparse.ArgumentTypeError(f"{word!r} is no size such as 5GB")
    return int(match.group(1)) * _UNITS[(match.group(2) or "").upper()]


def size(word: str) -> int:
    """A whole number from 1. Raises ArgumentTypeError."""
    if not word.isdigit() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1")
    return int(word)


def _directory(path: Path | None) -> Path | None:
    return None if path is None else path if path.expanduser().is_dir() else path.parent
