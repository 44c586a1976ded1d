"""What is done before and after training, each alone: workspace, preprocessing, weight conversion, export. Pure.

A step is one bash script for one node, in the job's container where it has one; with storage that all nodes
share it is run once. It is safe to repeat: what is there already is left alone and said.

Sources: S3 for the tree, preprocess_data.py and util.py; ModelLink's README pages of chatglm3, llama2 and qwen
for the other loaders and the way back to Hugging Face (``mg2hg`` is their spelling). The project's own trainer
has its own commands: ``MAKERS`` is where they go, under runner kind ``torchrun``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from console.core.errors import FileError
from console.core.launch.container_rules import container_name
from console.core.launch.words import path_word, quote, words
from trainer.spec.data_rules import PACKED, data_files
from trainer.spec.job import JobSpec

STEPS = ("workspace", "preprocess", "convert", "export")
LAYOUT = "rankdeck-layout.json"
"""Written beside converted weights: what they were cut for (rule W1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What the vendor's converter wants to know of a model family."""

    loader: str
    saver: str
    tokenizer: str
    qkv_bias: bool


FAMILIES: Mapping[str, Family] = {
    "qwen": Family(loader="qwen_hf", saver="save_huggingface_qwen", tokenizer="qwen.tiktoken", qkv_bias=True),
    "llama2": Family(loader="llama2_hf", saver="save_huggingface_llama", tokenizer="tokenizer.model", qkv_bias=False),
    "llama3": Family(loader="llama2_hf", saver="save_huggingface_llama", tokenizer="tokenizer.json", qkv_bias=False),
    "glm3": Family(loader="chatglm3_hf", saver="save_huggingface_chatglm3", tokenizer="tokenizer.model", qkv_bias=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a job."""

    name: str
    title: str
    script: str
    """For bash on one node."""
    makes: tuple[str, ...]
    """Paths that have to be there when it has worked."""


def step(spec: JobSpec, name: str) -> Step:
    """The step ``name`` of a job. Raises FileError for a step there is none of, and for what the job does not say."""
    if name not in STEPS:
        raise FileError("there is no such step", where="run-step", got=name, expected=", ".join(STEPS))
    kind = "vendor" if spec.runner.kind in ("env-script", "ascendfactory") else spec.runner.kind
    make = MAKERS.get((kind, name)) or MAKERS.get(("any", name))
    if make is None:
        raise FileError(f"step {name} is not known for this runner", where="runner.kind", got=spec.runner.kind,
                        expected=" or ".join(sorted({kind for kind, step_name in MAKERS if step_name == name})))
    return make(spec)


def workspace_tree(spec: JobSpec) -> tuple[str, ...]:
    """S3's directories under the work directory, for the job's model."""
    work = spec.paths.work.rstrip("/")
    model = _model_name(spec)
    return tuple(f"{work}/{inner}" for inner in (
        "llm_train", f"processed_for_ma_input/{model}/data/pretrain", f"processed_for_ma_input/{model}/data/finetune",
        f"processed_for_ma_input/{model}/converted_weights", f"saved_dir_for_ma_output/{model}/logs", f"saved_dir_for_ma_output/{model}/lora",
        f"saved_dir_for_ma_output/{model}/sft", f"saved_dir_for_ma_output/{model}/pretrain", f"tokenizers/{model}", "training_data/pretrain",
        "training_data/finetune"))


def _workspace(spec: JobSpec) -> Step:
    """Makes the tree, and says of what has to be put there by hand what is missing."""
    tree = workspace_tree(spec)
    lines = [f"mkdir -p -- {' '.join(map(path_word, tree))}"]
    if spec.runner.workdir:
        # MindSpeed-LLM's scripts write logs/ beside themselves and do not make it (its FAQ, Q3).
        lines.append(f"[ ! -d {path_word(spec.runner.workdir)} ] || mkdir -p -- {path_word(spec.runner.workdir.rstrip('/') + '/logs')}")
    lines.append("missing=0")
    for what, path in (("the training code", spec.runner.workdir), ("the tokenizer", spec.model.tokenizer), ("the weights", spec.model.weights),
                       ("the raw data", spec.data.input)):
        if path:
            lines.append(f"[ -e {path_word(path)} ] || {{ echo {quote(f'missing: {what}, {path}')}; missing=1; }}")
    if spec.model.weights:
        lines += [f"for index in {path_word(spec.model.weights)}/*.index.json; do", '  [ -e "$index" ] || continue',
                  # Names of shards as the index has them: no JSON reader is sure to be there.
                  "  for shard in $(grep -o '\"[^\"]*\\.\\(safetensors\\|bin\\)\"' \"$index\" | tr -d '\"' | sort -u); do",
                  '    [ -s "${index%/*}/$shard" ] || { echo "missing: shard ${index%/*}/$shard, which $index names"; missing=1; }', "  done", "done"]
    lines.append('exit "$missing"')
    return Step(name="workspace", title="Make the directories, and look for what has to be in them", script=_script(spec, lines, inside=False), makes=tree)


def _preprocess(spec: JobSpec) -> Step:
    """S3's preprocess_data.py; data that is there already is left alone."""
    data = spec.data
    _need(spec, ("data.input", data.input), ("data.prefix", data.prefix), ("model.tokenizer", spec.model.tokenizer), ("runner.workdir", spec.runner.workdir))
    tuning = spec.run.mode in ("sft", "lora")
    tail = f"_{data.json_key}_document"
    prefix = data.prefix if tuning else data.prefix.removesuffix(tail)
    argv = ["python", "./tools/preprocess_data.py", "--input", data.input, "--tokenizer-name-or-path", spec.model.tokenizer, "--output-prefix", prefix,
            "--workers", str(data.workers), "--log-interval", "1000", "--tokenizer-type", data.tokenizer_type]
    handler = data.handler or ("GeneralInstructionHandler" if tuning else "")
    if handler:
        argv += ["--handler-name", handler]
    if tuning:
        argv += ["--make-vocab-size-divisible-by", "128"]
    if data.json_key != "text":
        argv += ["--json-key", data.json_key]
    argv += ["--seq-length", str(data.seq_length or spec.train.seq_length)]
    makes = tuple(f"{prefix}{middle}{suffix}" for middle in PACKED for suffix in (".bin", ".idx")) if tuning else data_files(spec) or (f"{data.prefix}.bin", f"{data.prefix}.idx")
    lines = [*_unless(makes, "the data is there already"), f"mkdir -p -- {path_word(prefix.rpartition('/')[0] or '.')}", *_code(spec), words(argv), *_check(makes)]
    return Step(name="preprocess", title="Tokenise and pack the data", script=_script(spec, lines), makes=makes)


def _convert(spec: JobSpec) -> Step:
    """S3's util.py, from Hugging Face to Megatron, with what it was cut for written beside."""
    family = _family(spec)
    target = spec.checkpoint.load_dir
    _need(spec, ("model.weights", spec.model.weights), ("checkpoint.load_dir", target), ("runner.workdir", spec.runner.workdir))
    cut = spec.parallel
    argv = ["python", "tools/checkpoint/util.py", "--model-type", "GPT", "--loader", family.loader, "--saver", "megatron",
            "--target-tensor-parallel-size", str(cut.tensor_model_parallel_size), "--target-pipeline-parallel-size", str(cut.pipeline_model_parallel_size),
            "--load-dir", spec.model.weights, "--save-dir", target,
            "--tokenizer-model", f"{(spec.model.tokenizer or spec.model.weights).rstrip('/')}/{family.tokenizer}"]
    if spec.model.num_layer_list:
        argv += ["--num-layer-list", spec.model.num_layer_list]
    if family.qkv_bias:
        argv.append("--add-qkv-bias")
    layout = json.dumps({"tp": cut.tensor_model_parallel_size, "pp": cut.pipeline_model_parallel_size, "from": spec.model.weights}, ensure_ascii=False)
    tracker, note = f"{target.rstrip('/')}/latest_checkpointed_iteration.txt", f"{target.rstrip('/')}/{LAYOUT}"
    lines = [*_unless((tracker,), "converted weights are there already"), f"mkdir -p -- {path_word(target)}", *_code(spec), words(argv), *_check((tracker,)),
             f"printf '%s\\n' {quote(layout)} > {path_word(note)}"]
    return Step(name="convert", title="Cut Hugging Face weights for the job's TP and PP", script=_script(spec, lines), makes=(tracker, note))


def _export(spec: JobSpec) -> Step:
    """Back to Hugging Face. The converter wants the original files and writes into a directory beneath them."""
    family = _family(spec)
    _need(spec, ("model.weights", spec.model.weights), ("export.dir", spec.export.dir), ("runner.workdir", spec.runner.workdir))
    argv = ["python", "tools/checkpoint/util.py", "--model-type", "GPT", "--loader", "megatron", "--saver", "megatron",
            "--save-model-type", family.saver, "--load-dir", spec.checkpoint.dir, "--target-tensor-parallel-size", "1",
            "--target-pipeline-parallel-size", "1", *(["--add-qkv-bias"] if family.qkv_bias else []), "--save-dir", spec.model.weights]
    made = f"{spec.model.weights.rstrip('/')}/mg2hg"
    lines = [f"[ ! -e {path_word(made)} ] || fail {quote(f'{made} is there already, from an earlier export; move it away')}",
             f"[ ! -e {path_word(spec.export.dir)} ] || fail {quote(f'{spec.export.dir} is there already')}", *_code(spec), words(argv), *_check((made,)),
             f"mkdir -p -- {path_word(spec.export.dir.rstrip('/').rpartition('/')[0] or '/')}", f"mv -- {path_word(made)} {path_word(spec.export.dir)}"]
    return Step(name="export", title="Turn the newest checkpoint into Hugging Face weights", script=_script(spec, lines), makes=(spec.export.dir,))


MAKERS: Mapping[tuple[str, str], Callable[[JobSpec], Step]] = {
    ("any", "workspace"): _workspace, ("vendor", "preprocess"): _preprocess, ("vendor", "convert"): _convert, ("vendor", "export"): _export}
"""(vendor or runner.kind, step) -> its maker; ``any`` where the kind has none of its own."""


def _script(spec: JobSpec, lines: Iterable[str], *, inside: bool = True) -> str:
    head = ["set -euo pipefail", "fail() { printf 'rankdeck: %s\\n' \"$*\" >&2; exit 1; }"]
    body = "\n".join([*head, *lines]) + "\n"
    if spec.container.runtime == "process" or not inside:
        return "#!/usr/bin/env bash\n# Written by Rankdeck and executed as it stands.\n" + body
    user = ["--user", spec.container.user] if spec.container.user else []
    return ("#!/usr/bin/env bash\n# Written by Rankdeck and executed as it stands.\nset -euo pipefail\n"
            f"exec {words([spec.container.runtime, 'exec', *user, container_name(spec), 'bash', '-c', body])}\n")


def _code(spec: JobSpec) -> list[str]:
    """To ModelLink, with both libraries on the path, as S3 does it."""
    code = spec.runner.workdir.rstrip("/")
    setup = ["set +u", *spec.runner.setup, "set -u"] if spec.runner.setup else []
    return [*setup, f"export PYTHONPATH=${{PYTHONPATH:-}}:{path_word(f'{code}/AscendSpeed')}:{path_word(f'{code}/ModelLink')}", f"cd -- {path_word(f'{code}/ModelLink')}"]


def _unless(paths: Iterable[str], text: str) -> list[str]:
    tests = " && ".join(f"[ -s {path_word(path)} ]" for path in paths)
    return [f"if {tests}; then echo {quote(text)}; exit 0; fi"]


def _check(paths: Iterable[str]) -> list[str]:
    return [f"[ -e {path_word(path)} ] || fail {quote(f'the command ended well, but {path} is not there')}" for path in paths]


def _family(spec: JobSpec) -> Family:
    found = FAMILIES.get(spec.model.family)
    if found is None:
        raise FileError("the vendor's converter is not known for this family", where="model.family", got=spec.model.family or "nothing",
                        expected=", ".join(FAMILIES), fix="Set model.family, or convert by hand")
    return found


def _need(spec: JobSpec, *values: tuple[str, str]) -> None:
    for name, value in values:
        if not value:
            raise FileError(f"this step needs {name}", where=name, got="nothing", fix=f"Set {name} in the job file")


def _model_name(spec: JobSpec) -> str:
    family = {"glm3": "GLM3"}.get(spec.model.family, spec.model.family.capitalize())
    return f"{family}-{spec.model.size}" if family and spec.model.size else spec.run.name
