"""What is done before and after training, each alone: workspace, preprocessing, weight conversion, export. Pure.

A step is one bash script for one node; with storage that all nodes share it is run once. It is safe to repeat:
what is there already is left alone and said. How it is carried out is ``step_plan``'s business, the words of the
project's own trainer are in ``trainer_steps``.

Sources: S3 for the tree, preprocess_data.py and util.py; ModelLink's README pages of chatglm3, llama2 and qwen
for the other loaders and the way back to Hugging Face (``mg2hg`` is their spelling). S2 has no command for any of
it but ``train`` (``factory``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from console.core.errors import FileError
from console.core.launch import factory, trainer_steps
from console.core.launch.words import path_word, quote
from trainer.spec.data_rules import PACKED, data_files
from trainer.spec.finding import Finding, error
from trainer.spec.job import JobSpec
from trainer.spec.layout_rules import vendor
from trainer.spec.trainer_rules import own_trainer

STEPS = ("workspace", "preprocess", "convert", "export", "merge-lora")
BEFORE = ("workspace", "preprocess", "convert")
"""Those that a launch carries out first where the job asks for them, in this order."""
ITS_OWN: Mapping[str, str] = {
    "preprocess": "Name the raw data in data.input, and say data.prepare: true or leave data.prefix empty",
    "convert": "Name the weights of Hugging Face in model.weights, and say model.convert: true",
    "export": "Set export.dir, with export.at_end: true"}
"""How a job says to AscendFactory what are steps elsewhere (S2: dataset, model_name_or_path, convert_mg2hf_at_last)."""
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
    lines: tuple[str, ...]
    """For bash on one node, under ``set -euo pipefail``."""
    makes: tuple[str, ...]
    """Paths that have to be there when it has worked."""
    inside: bool = True
    """In the job's kind of container, where it has one; else on the node itself."""
    devices: bool = False
    """It is given the node's NPUs, and they are locked while it runs: the vendor's tools import torch_npu."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of the job."""

    @property
    def script(self) -> str:
        """All of it as one text for bash."""
        return "\n".join([*HEAD, *self.lines]) + "\n"


HEAD = ("set -euo pipefail", "fail() { printf 'rankdeck: %s\\n' \"$*\" >&2; exit 1; }")


def asked_for(spec: JobSpec) -> tuple[str, ...]:
    """The steps that the job wants carried out before its launch."""
    # AscendFactory's one command prepares and converts by itself: that is said in its settings.
    steps = spec.runner.kind != "ascendfactory"
    wanted = {"workspace": spec.paths.scaffold, "preprocess": steps and spec.data.prepare, "convert": steps and spec.model.convert}
    return tuple(name for name in BEFORE if wanted[name])


def asked_after(spec: JobSpec) -> tuple[str, ...]:
    """The steps that the job wants carried out when it has been trained: S3's scripts do not export by themselves."""
    return ("export",) if spec.export.dir and spec.export.at_end and spec.runner.kind == "env-script" else ()


def check(spec: JobSpec) -> Iterator[Finding]:
    """What the steps that the job asks for would have to know (rule U1)."""
    yield from factory.lacks(spec)
    for name in (*asked_for(spec), *asked_after(spec)):
        try:
            step(spec, name)
        except FileError as refused:
            found = refusal(refused)
            yield found if name in BEFORE else replace(found, severity="warning", message=f"nothing will be exported: {found.message}")


def refusal(refused: FileError) -> Finding:
    """What ``step`` raised, as a finding at the key that it names."""
    return error("U1", tuple(refused.where.split(":")[0].split(".")), refused.what, refused.got, refused.expected, refused.fix)


def step(spec: JobSpec, name: str) -> Step:
    """The step ``name`` of a job. Raises FileError for a step there is none of, and for what the job does not say."""
    if name not in STEPS:
        raise FileError("there is no such step", where="run-step", got=name, expected=", ".join(STEPS))
    if spec.runner.kind == "ascendfactory" and name in ITS_OWN:
        raise FileError(f"ascendfactory-cli has no command for step {name}: its train command does this by itself", where="runner.kind", got=f"step {name}",
                        expected="the launch", fix=ITS_OWN[name])
    # A program of the user's own may still be prepared for by the project's trainer, where that is named.
    kind = "vendor" if vendor(spec) else "trainer" if own_trainer(spec) or spec.runner.trainer_dir else spec.runner.kind
    make = MAKERS.get((kind, name)) or MAKERS.get(("any", name))
    if make is None:
        raise FileError(f"step {name} is not known for this runner", where="runner.kind", got=spec.runner.kind,
                        expected="env-script, or torchrun with runner.trainer_dir")
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
    return Step(name="workspace", title="Make the directories, and look for what has to be in them", lines=tuple(lines), makes=tree, inside=False)


def _preprocess(spec: JobSpec) -> Step:
    """S3's preprocess_data.py; data that is there already is left alone."""
    data = spec.data
    _need(spec, ("data.input", data.input), ("data.prefix", data.prefix), ("model.tokenizer", spec.model.tokenizer), ("runner.workdir", spec.runner.workdir))
    tuning = spec.run.mode in ("sft", "lora")
    tail = f"_{data.json_key}_document"
    prefix = data.prefix if tuning else data.prefix.removesuffix(tail)
    argv = ["python", "./tools/preprocess_data.py", "--input", path_word(data.input), "--tokenizer-name-or-path", path_word(spec.model.tokenizer),
            "--output-prefix", path_word(prefix), "--workers", str(data.workers), "--log-interval", "1000", "--tokenizer-type", quote(data.tokenizer_type)]
    handler = data.handler or ("GeneralInstructionHandler" if tuning else "")
    if handler:
        argv += ["--handler-name", quote(handler)]
    if tuning:
        argv += ["--make-vocab-size-divisible-by", "128"]
    if data.json_key != "text":
        argv += ["--json-key", quote(data.json_key)]
    argv += ["--seq-length", str(data.seq_length or spec.train.seq_length)]
    makes = tuple(f"{prefix}{middle}{suffix}" for middle in PACKED for suffix in (".bin", ".idx")) if tuning else data_files(spec) or (f"{data.prefix}.bin", f"{data.prefix}.idx")
    lines = [*_unless(makes, "the data is there already"), f"mkdir -p -- {path_word(prefix.rpartition('/')[0] or '.')}", *_code(spec), " ".join(argv), *_check(makes)]
    return Step(name="preprocess", title="Tokenise and pack the data", lines=tuple(lines), makes=makes, devices=True)


def _convert(spec: JobSpec) -> Step:
    """S3's util.py, from Hugging Face to Megatron, with what it was cut for written beside."""
    family = _family(spec)
    target = spec.checkpoint.load_dir
    _need(spec, ("model.weights", spec.model.weights), ("checkpoint.load_dir", target), ("runner.workdir", spec.runner.workdir))
    cut = spec.parallel
    argv = ["python", "tools/checkpoint/util.py", "--model-type", "GPT", "--loader", family.loader, "--saver", "megatron",
            "--target-tensor-parallel-size", str(cut.tensor_model_parallel_size), "--target-pipeline-parallel-size", str(cut.pipeline_model_parallel_size),
            "--load-dir", path_word(spec.model.weights), "--save-dir", path_word(target),
            "--tokenizer-model", path_word(f"{(spec.model.tokenizer or spec.model.weights).rstrip('/')}/{family.tokenizer}")]
    if spec.model.num_layer_list:
        argv += ["--num-layer-list", quote(spec.model.num_layer_list)]
    if family.qkv_bias:
        argv.append("--add-qkv-bias")
    layout = json.dumps({"tp": cut.tensor_model_parallel_size, "pp": cut.pipeline_model_parallel_size, "from": spec.model.weights}, ensure_ascii=False)
    tracker, note = f"{target.rstrip('/')}/latest_checkpointed_iteration.txt", f"{target.rstrip('/')}/{LAYOUT}"
    lines = [*_unless((tracker,), "converted weights are there already"), f"mkdir -p -- {path_word(target)}", *_code(spec), " ".join(argv), *_check((tracker,)),
             f"printf '%s\\n' {quote(layout)} > {path_word(note)}"]
    return Step(name="convert", title="Cut Hugging Face weights for the job's TP and PP", lines=tuple(lines), makes=(tracker, note), devices=True)


def _export(spec: JobSpec) -> Step:
    """Back to Hugging Face. The converter wants the original files and writes into a directory beneath them."""
    family = _family(spec)
    _need(spec, ("model.weights", spec.model.weights), ("export.dir", spec.export.dir), ("runner.workdir", spec.runner.workdir))
    argv = ["python", "tools/checkpoint/util.py", "--model-type", "GPT", "--loader", "megatron", "--saver", "megatron",
            "--save-model-type", family.saver, "--load-dir", path_word(spec.checkpoint.dir), "--target-tensor-parallel-size", "1",
            "--target-pipeline-parallel-size", "1", *(["--add-qkv-bias"] if family.qkv_bias else []), "--save-dir", path_word(spec.model.weights)]
    made = f"{spec.model.weights.rstrip('/')}/mg2hg"
    lines = [f"[ ! -e {path_word(made)} ] || fail {quote(f'{made} is there already, from an earlier export; move it away')}",
             f"[ ! -e {path_word(spec.export.dir)} ] || fail {quote(f'{spec.export.dir} is there already')}", *_code(spec), " ".join(argv), *_check((made,)),
             f"mkdir -p -- {path_word(spec.export.dir.rstrip('/').rpartition('/')[0] or '/')}", f"mv -- {path_word(made)} {path_word(spec.export.dir)}"]
    return Step(name="export", title="Turn the newest checkpoint into Hugging Face weights", lines=tuple(lines), makes=(spec.export.dir,), devices=True)


def _trainers(name: str) -> Callable[[JobSpec], Step]:
    """The project's own trainer's step of that name."""
    def make(spec: JobSpec) -> Step:
        needs, title, lines, makes = trainer_steps.MAKERS[name](spec)
        _need(spec, ("runner.trainer_dir", spec.runner.trainer_dir), *needs)
        return Step(name=name, title=title, lines=tuple(lines), makes=makes, env=trainer_steps.ENVIRONMENT)

    return make


MAKERS: Mapping[tuple[str, str], Callable[[JobSpec], Step]] = {
    ("any", "workspace"): _workspace, ("vendor", "preprocess"): _preprocess, ("vendor", "convert"): _convert, ("vendor", "export"): _export,
    **{("trainer", name): _trainers(name) for name in trainer_steps.MAKERS}}
"""(vendor, trainer or runner.kind, step) -> its maker; ``any`` where the kind has none of its own."""


def _code(spec: JobSpec) -> list[str]:
    """To ModelLink, with both libraries on the path, as S3 does it."""
    code = spec.runner.workdir.rstrip("/")
    # set_env.sh and its like read variables that nobody has set.
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
