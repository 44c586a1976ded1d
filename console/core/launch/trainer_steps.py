"""Steps of the project's own trainer: its commands before and after training, as lines of bash. Pure.

``trainer/__main__.py preprocess | convert | export | merge-lora`` refuse by themselves what is there already and
different; here only what is there and whole is passed over. None of them needs an NPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from console.core.launch.words import DIR, path_word, quote
from trainer.spec.data_rules import PACKED
from trainer.spec.job import JobSpec

JOB_FILE = "spec.json"
"""The job as the trainer reads it, in the step's directory; ``job.json`` beside it is the step's own."""
ENVIRONMENT: Mapping[str, str] = {
    # An image's torch would load torch_npu at import, which fails where no driver is mounted.
    "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
TRACKER = "latest_checkpointed_iteration.txt"

Needs: TypeAlias = tuple[tuple[str, str], ...]
Made: TypeAlias = tuple[Needs, str, list[str], tuple[str, ...]]
"""What the job has to say (key, value), a title, the lines, and the paths that they make."""


def merged_dir(spec: JobSpec) -> str:
    """Where ``merge-lora`` writes: beside the run's checkpoints, a directory that ``checkpoint.load_dir`` takes."""
    return spec.checkpoint.dir.rstrip("/") + "-merged"


def _preprocess(spec: JobSpec) -> Made:
    data, tuning = spec.data, spec.run.mode in ("sft", "lora")
    prefix = data.prefix.removesuffix(f"_{data.json_key}_document")
    line = ["--input", path_word(data.input), "--output-prefix", path_word(prefix)]
    # Without a tokenizer the vocabulary is that of bytes, as the trainer's own models have it.
    line += ["--tokenizer-name-or-path", path_word(spec.model.tokenizer)] if spec.model.tokenizer else ["--tokenizer-type", "Byte"]
    if handler := data.handler or ("GeneralInstructionHandler" if tuning else ""):
        line += ["--handler-name", quote(handler)]
    if tuning:
        line += ["--seq-length", str(data.seq_length or spec.train.seq_length)]
        makes = tuple(f"{prefix}{middle}{ending}" for middle in PACKED for ending in (".bin", ".idx"))
    else:
        if data.json_key != "text":
            line += ["--json-keys", quote(data.json_key)]
        line += ["--pretokenized", "--vocab-size", str(spec.model.vocab_size)] if data.pretokenized else ["--append-eod"]
        makes = tuple(f"{prefix}_{data.json_key}_document{ending}" for ending in (".bin", ".idx"))
    line += ["--workers", str(data.workers)]
    needs = (("data.input", data.input), ("data.prefix", data.prefix))
    return needs, "Tokenise and pack the data", [*_unless(makes, "the data is there already"), _call(spec, "preprocess", line)], makes


def _convert(spec: JobSpec) -> Made:
    cut, target = spec.parallel, spec.checkpoint.load_dir
    line = ["--load-dir", path_word(spec.model.weights), "--save-dir", path_word(target), "--to", "torch_dist",
            "--target-tensor-parallel-size", str(cut.tensor_model_parallel_size), "--target-pipeline-parallel-size", str(cut.pipeline_model_parallel_size)]
    makes = (f"{target.rstrip('/')}/{TRACKER}",)
    needs = (("model.weights", spec.model.weights), ("checkpoint.load_dir", target))
    return needs, "Turn Hugging Face weights into a checkpoint", [*_unless(makes, "converted weights are there already"), _call(spec, "convert", line)], makes


def _export(spec: JobSpec) -> Made:
    # It knows by itself whether this very checkpoint was exported before.
    line = ["--job", f"{DIR}/{JOB_FILE}", "--save-dir", path_word(spec.export.dir)]
    return (("export.dir", spec.export.dir),), "Turn the newest checkpoint into Hugging Face weights", [_call(spec, "export", line)], (spec.export.dir,)


def _merge(spec: JobSpec) -> Made:
    out = merged_dir(spec)
    makes = (f"{out}/{TRACKER}",)
    needs = (("run.mode: lora", "lora" if spec.run.mode == "lora" else ""), ("checkpoint.load_dir", spec.checkpoint.load_dir))
    line = ["--job", f"{DIR}/{JOB_FILE}", "--out", path_word(out)]
    return needs, "Add the newest adapters to the weights they were trained on", [*_unless(makes, "merged weights are there already"), _call(spec, "merge-lora", line)], makes


MAKERS: Mapping[str, Callable[[JobSpec], Made]] = {"preprocess": _preprocess, "convert": _convert, "export": _export, "merge-lora": _merge}


def _call(spec: JobSpec, command: str, line: Iterable[str]) -> str:
    """One line that runs the trainer's command by its script's path."""
    program = path_word(f"{spec.runner.trainer_dir.rstrip('/')}/trainer/__main__.py")
    setup = ["set +u", *spec.runner.setup, "set -u"] if spec.runner.setup else []
    return "\n".join([*setup, " ".join([path_word(spec.runner.python), program, command, *line])])


def _unless(paths: Iterable[str], text: str) -> list[str]:
    tests = " && ".join(f"[ -s {path_word(path)} ]" for path in paths)
    return [f"if {tests}; then echo {quote(text)}; exit 0; fi"]
