"""AscendFactory's settings and commands, both dialects, as a job file.

v1 (seed S2): ``ascendfactory-cli train YAML MODEL EXP``; the YAML has a block ``base``, one per model, and one
per experiment inside, the inner ones winning; or it is the flat table of parameters. v2 (2025-09 and later,
support.huaweicloud.com/bestpractice-modelarts/modelarts_llm_train_590610.html and ..._590619.html):
``ascendfactory-cli config --backend=... && ascendfactory-cli train YAML --env.NODE_RANK=...``; the YAML has
``backend_config.training`` and ``backend_config.preprocess_data``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from console.core.launch.document import Value
from console.core.launch.document import parse as parse_yaml
from console.core.launch.importers.imported import (
    FILL_IN,
    Findings,
    Imported,
    JobMapping,
    Source,
    escape,
    safe_env,
    whole,
)
from console.core.launch.importers.shell_words import Word, parse
from trainer.spec.blocks import SECRET_NAME

INTEGERS = {
    "micro_batch_size": "train.micro_batch_size", "global_batch_size": "train.global_batch_size",
    "tensor_model_parallel_size": "parallel.tensor_model_parallel_size", "pipeline_model_parallel_size": "parallel.pipeline_model_parallel_size",
    "context_parallel_size": "parallel.context_parallel_size", "expert_model_parallel_size": "parallel.expert_model_parallel_size",
    "seq_len": "train.seq_length", "seq_length": "train.seq_length", "cutoff_len": "train.seq_length", "max_pe": "model.max_position_embeddings",
    "max_position_embeddings": "model.max_position_embeddings", "train_iters": "train.iterations", "max_steps": "train.iterations",
    "save_interval": "checkpoint.interval", "save_steps": "checkpoint.interval", "save_total_limit": "checkpoint.keep", "seed": "run.seed",
    "lora_r": "model.peft.rank", "lora_rank": "model.peft.rank", "lora_alpha": "model.peft.alpha", "num_layers": "model.num_layers",
    "hidden_size": "model.hidden_size", "num_attention_heads": "model.num_attention_heads", "ffn_hidden_size": "model.ffn_hidden_size",
    "workers": "data.workers", "preprocessing_num_workers": "data.workers", "log_interval": "train.log_interval", "logging_steps": "train.log_interval",
}
NUMBERS = {"lr": "train.learning_rate", "learning_rate": "train.learning_rate", "min_lr": "train.min_learning_rate",
           "weight_decay": "train.weight_decay", "clip_grad": "train.clip_grad"}
TEXTS = {"dataset": "data.input", "input": "data.input", "processed_data_dir": "data.prefix", "data_path": "data.prefix",
         "user_converted_ckpt_path": "checkpoint.load_dir", "load": "checkpoint.load_dir", "output_dir": "checkpoint.dir",
         "af_output_dir": "checkpoint.dir", "hf_save_dir": "export.dir", "handler_name": "data.handler", "tokenizer_type": "data.tokenizer_type",
         "scirpts_dir": "runner.ascendfactory.scripts_dir", "scripts_dir": "runner.ascendfactory.scripts_dir"}
WEIGHTS = ("model_name_or_path", "tokenizer_name_or_path")
OTHERS = ("stage", "ckpt_load_type", "train_auto_resume", "convert_mg2hf_at_last", "mount_type", "finetune", "no_load_optim", "no_load_rng",
          "per_device_train_batch_size", "gradient_accumulation_steps", "finetuning_type", "backend", "do_train", "bf16", "fp16")
KNOWN = (*INTEGERS, *NUMBERS, *TEXTS, *WEIGHTS, *OTHERS)
LOADS = {0: "none", 1: "weights", 2: "resume"}


@dataclass(slots=True, kw_only=True)
class Call:
    """What the commands say."""

    dialect: str = ""
    settings: str = ""
    model: str = ""
    experiment: str = ""
    backend: str = ""
    workdir: str = ""
    where: str = ""
    setup: list[str] = field(default_factory=list)
    install: list[str] = field(default_factory=list)
    made: bool = False
    """The settings are written by ``config`` at each start."""
    edited: bool = False
    """A settings file was given, so it is more than what ``config`` writes."""
    overrides: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


def read(commands: Sequence[Source], settings: Sequence[Source]) -> list[Imported]:
    """One job out of the commands and the settings files that belong together."""
    findings, job = Findings(), JobMapping()
    call = _call(commands, findings)
    table: dict[str, Value] = {}
    call.edited = bool(settings)
    for source in settings:
        value, problems = parse_yaml(source.text, source.name)
        findings.problems += problems
        call.dialect = call.dialect or ("v2" if value.at(("backend_config",)) else "v1")
        call.where = call.where or value.where
        table.update(_table(value, call, findings))
    _fields(job, table, call, findings)
    for key, text in call.overrides.items():
        table[key] = Value(data=_scalar(text), where=call.where)
    if call.overrides:
        _fields(job, {_flat(key.rpartition(".")[2]): table[key] for key in call.overrides}, call, findings)
    _runner(job, call, findings)
    return [Imported(kind="ascendfactory", job=job.mapping(), problems=tuple(findings.problems), left=tuple(findings.left))]


def _call(commands: Sequence[Source], findings: Findings) -> Call:
    call = Call()
    for source in commands:
        for command in parse(source.text, source.name):
            words = command.words
            texts = [word.text for word in words]
            if "ascendfactory-cli" in texts:
                at = texts.index("ascendfactory-cli")
                call.where = call.where or words[at].where
                for one in command.assignments:
                    call.env[one.key] = one.value
                _subcommand(call, words[at + 1:], findings)
            elif texts[:1] == ["cd"] and len(texts) > 1:
                call.workdir = texts[1]
            elif texts[:1] in (["source"], ["."]) and len(texts) > 1:
                call.setup.append(f"source {texts[1]}")
            elif "install.sh" in texts:
                call.install.append(" ".join(texts))
    call.setup = list(dict.fromkeys(call.setup))
    call.install = list(dict.fromkeys(call.install))
    return call


def _subcommand(call: Call, words: Sequence[Word], findings: Findings) -> None:
    plain = [word for word in words if not word.text.startswith("--") and word.text.isascii()]
    options = {name.lstrip("-"): value for name, _, value in (word.text.partition("=") for word in words if word.text.startswith("--"))}
    kind = plain[0].text if plain else ""
    if kind == "config":
        call.dialect = "v2"
        call.backend = options.get("backend", call.backend)
        call.model, call.experiment = options.get("af_model_name", call.model), options.get("exp_name", call.experiment)
        call.settings = options.get("output_file_path", call.settings)
        call.made = True
    elif kind == "train":
        files = [word.text for word in plain[1:]]
        call.settings = files[0] if files else call.settings
        if len(files) >= 3:
            call.dialect, call.model, call.experiment = "v1", files[1], files[2]
        else:
            call.dialect = call.dialect or "v2"
        for name, value in options.items():
            if name.startswith("env."):
                call.env[name[4:]] = value
            else:
                call.overrides[name] = value
    else:
        findings.report("I3", call.where, "ascendfactory-cli has no such subcommand", got=kind or "nothing", expected="train or config",
                        fix="Did you mean train?")


def _table(value: Value, call: Call, findings: Findings) -> dict[str, Value]:
    """The parameters, flat, by normalised name; of the model and the experiment where the file has several."""
    if not isinstance(value.data, dict):
        findings.report("I4", value.where, "these are no settings", expected="a block of parameters")
        return {}
    found: dict[str, Value] = {}

    def take(block: Mapping[str, Value]) -> None:
        for key, inner in block.items():
            if not isinstance(inner.data, dict):
                found[_flat(key)] = inner
            elif key in ("backend_config", "training", "preprocess_data", "convert_ckpt_hf2mg", "convert_ckpt_mg2hf", "base"):
                take({k: v for k, v in inner.data.items() if not (key.startswith("convert_ckpt"))})

    if value.at(("backend_config",)):
        take(value.data)
        return found
    models = {key: inner.data for key, inner in value.data.items() if isinstance(inner.data, dict) and key != "base"}
    take({key: inner for key, inner in value.data.items() if not isinstance(inner.data, dict) or key == "base"})
    if models:
        call.model = _choose(call.model, list(models), "model", value.where, findings)
        block = models.get(call.model, {})
        take({key: inner for key, inner in block.items() if not isinstance(inner.data, dict)})
        experiments = {key: inner.data for key, inner in block.items() if isinstance(inner.data, dict)}
        if experiments:
            call.experiment = _choose(call.experiment, list(experiments), "experiment", value.where, findings)
            take(experiments.get(call.experiment, {}))
    return found


def _choose(given: str, there: Sequence[str], noun: str, where: str, findings: Findings) -> str:
    if given in there:
        return given
    if given:
        near = get_close_matches(given, there, n=1)
        findings.report("I5", where, f"the settings have no {noun} {given!r}", got=given, expected=", ".join(there),
                        fix=f"Did you mean {near[0]!r}?" if near else "")
        return near[0] if near else given
    if len(there) > 1:
        findings.leave(where, f"the {noun}s {', '.join(there[1:])}", f"a job is one {noun}: the first, {there[0]}, was taken; "
                       "give the ascendfactory-cli command beside the file to choose")
    return there[0]


def _fields(job: JobMapping, table: Mapping[str, Value], call: Call, findings: Findings) -> None:
    for key, value in table.items():
        data, where = value.data, value.where
        if data is None or isinstance(data, (dict, list)):
            if key == "convert_ckpt_mg2hf":
                job.put("export.at_end", False)
            continue
        if isinstance(data, str) and "${" in data:
            findings.leave(where, f"{key}: {data}", "a reference inside the settings file; write the value itself")
        if key in INTEGERS:
            number = whole(data)
            if number is None:
                findings.report("I2", where, f"{key} is not a whole number", got=repr(data), expected="a number", fix="Fill it in")
            job.put(INTEGERS[key], FILL_IN if number is None else number)
        elif key in NUMBERS:
            try:
                job.put(NUMBERS[key], float(data))
            except ValueError:
                findings.report("I2", where, f"{key} is not a number", got=repr(data), expected="a number", fix="Fill it in")
        elif key in TEXTS:
            job.put(TEXTS[key], escape(str(data)))
        elif key in WEIGHTS:
            job.put("model.weights", escape(str(data)))
            job.put("model.tokenizer", escape(str(data)))
        elif key not in OTHERS:
            near = get_close_matches(key, KNOWN, n=1, cutoff=0.8)
            if near:
                findings.report("I1", where, f"AscendFactory does not read {key}", got=key, expected=near[0], fix=f"Did you mean {near[0]}?", warning=True)
            findings.leave(where, key if SECRET_NAME.search(key) else f"{key}: {data}", "the job file has no field for it; it stays in the settings file")
    _modes(job, table, findings)
    _llamafactory(job, table, findings)


def _modes(job: JobMapping, table: Mapping[str, Value], findings: Findings) -> None:
    def plain(key: str, default: Any) -> Any:
        return table[key].data if key in table else default

    def place(key: str) -> str:
        return table[key].where if key in table else ""

    stage = plain("stage", None)
    if stage is not None and stage not in ("pt", "sft"):
        findings.report("M2", place("stage"), "no such training stage", got=repr(stage), expected="pt or sft", fix="sft is the default")
        stage = "sft"
    lora = str(plain("finetuning_type", "")) == "lora" or "lora_r" in table or "lora_rank" in table
    load: Any = plain("ckpt_load_type", None)
    if load is not None and load not in LOADS:
        findings.report("M3", place("ckpt_load_type"), "no such way to load", got=repr(load), expected="0, 1 or 2",
                        fix="0 loads nothing, 1 weights, 2 weights and optimizer")
        load = 1
    if plain("finetune", None) is False and plain("no_load_optim", None) is False:
        load = 2
    resume = plain("train_auto_resume", None)
    if resume is not None:
        if isinstance(resume, str):
            findings.report("M4", place("train_auto_resume"), "train_auto_resume is true or false", got=repr(resume), expected="true or false")
        job.put("checkpoint.auto_resume", str(resume).lower() == "true")
    if stage is not None or lora or load is not None:
        mode = "retrain" if load == 2 else "lora" if lora else "sft" if stage == "sft" else "pretrain"
        if load == 2 and (lora or stage == "sft"):
            findings.leave(place("ckpt_load_type") or place("stage"), "stage sft with ckpt_load_type 2",
                           "the job's mode is sft or lora, and checkpoint.load says resume")
            mode = "lora" if lora else "sft"
        job.put("run.mode", mode)
    if load is not None:
        job.put("checkpoint.load", LOADS[load])
    if (load == 1 or (load is None and stage == "sft")) and "model_name_or_path" in table and not {"user_converted_ckpt_path", "finetuning_type", "per_device_train_batch_size"} & set(table):
        # Type 1 is the default, and without converted weights it converts those of Hugging Face itself.
        job.put("model.convert", True)
    if lora:
        job.put("model.peft.type", "lora")
    if "hf_save_dir" in table:
        job.put("export.at_end", str(plain("convert_mg2hf_at_last", True)).lower() != "false")
    if "mount_type" in table:
        findings.leave(place("mount_type"), f"mount_type: {plain('mount_type', '')}", "ModelArts copies to and from OBS; here use hooks of stage")
    prefix = job.get("data.prefix")
    if isinstance(prefix, str) and prefix:
        job.put("data.format", "megatron-bin")


def _llamafactory(job: JobMapping, table: Mapping[str, Value], findings: Findings) -> None:
    """A1: LLaMA-Factory says the batch by device; the global one is per device x accumulation x data parallel."""
    per_device = table.get("per_device_train_batch_size")
    if per_device is None or not isinstance(per_device.data, int):
        return
    steps = table["gradient_accumulation_steps"].data if "gradient_accumulation_steps" in table else 1
    job.put("train.micro_batch_size", per_device.data)
    if isinstance(steps, int):
        size = per_device.data * steps * 8
        job.put("train.global_batch_size", size)
        findings.leave(per_device.where, f"{per_device.data} per device x {steps} accumulation steps",
                       f"the global batch is that times the data-parallel size; {size} is for one node of 8 (rule A1)")


def _runner(job: JobMapping, call: Call, findings: Findings) -> None:
    factory: dict[str, Any] = {"dialect": call.dialect or "v1"}
    if call.made and not call.edited:
        findings.leave(call.where, f"--output_file_path={call.settings}", "every attempt has settings of its own, written in its directory")
    elif call.settings:
        factory["config"] = escape(call.settings)
    elif factory["dialect"] == "v1":
        factory["config"] = FILL_IN
    if factory["dialect"] == "v2" and call.backend:
        factory["backend"] = escape(call.backend)
    factory["model_name"] = escape(call.model) or FILL_IN
    factory["exp_name"] = escape(call.experiment) or FILL_IN
    if scripts := job.get("runner.ascendfactory.scripts_dir"):
        factory["scripts_dir"] = scripts
    extra = [f"--{key}={value}" for key, value in call.overrides.items() if _flat(key.rpartition(".")[2]) not in KNOWN]
    if extra:
        factory["overrides"] = escape(extra)
    for key in ("MASTER_ADDR", "NODE_RANK"):
        if key in call.env:
            findings.leave(call.where, f"{key}={call.env[key]}", "set for each node by the launch")
    nnodes = call.env.get("NNODES", "1")
    job.put("fleet.nodes", [f"n{at}" for at in range(int(nnodes) if re.fullmatch(r"[0-9]{1,4}", nnodes) and int(nnodes) else 1)])
    findings.leave(call.where, "the nodes' names", "put those of your fleet file into fleet.nodes")
    env = {key: value for key, value in call.env.items() if key not in ("MASTER_ADDR", "NODE_RANK", "NNODES")}
    if env:
        job.put("env", safe_env(env, call.where, findings))
    job.put("runner.kind", "ascendfactory")
    job.put("runner.workdir", escape(call.workdir) or FILL_IN)
    if not call.workdir:
        findings.leave(call.where, "the AscendFactory directory", "the text has no cd to it: fill runner.workdir in")
    if call.setup:
        job.put("runner.setup", escape(call.setup))
    if call.install:
        job.put("container.setup", escape([f"cd {call.workdir} && {line}" if call.workdir else line for line in call.install]))
        findings.leave(call.where, "; ".join(call.install), "run once in a new container (container.setup); without a container run it by hand")
    job.put("runner.ascendfactory", factory)
    family, size = _family_size(call.model)
    if family:
        job.put("model.family", family)
        job.put("model.size", size)
    job.put("defaults", [{"hardware": "ascend-a2-8"}])
    name = "-".join(part for part in (call.model, call.experiment) if part) or "ascendfactory"
    job.put("run.name", re.sub(r"[^\w.+@=-]", "-", name))
    output = job.get("checkpoint.dir")
    job.put("checkpoint.dir", output or FILL_IN)
    work = str(output).rpartition("/")[0] if isinstance(output, str) and output.startswith("/") and output.count("/") > 1 else FILL_IN
    job.put("paths.work", work)
    if job.get("train.iterations") is None:
        job.put("train.iterations", FILL_IN)
        findings.leave(call.where, "train-iters", "the settings do not say; fill train.iterations in")


def _family_size(model: str) -> tuple[str, str]:
    """qwen2-7b -> qwen2, 7B."""
    match = re.fullmatch(r"(.+?)[-_](\d+(?:\.\d+)?b)(?:[-_].*)?", model.lower())
    return (match[1], match[2].upper()) if match else ("", "")


def _flat(key: str) -> str:
    return key.replace("-", "_").lower()


def _scalar(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def walk(value: Value) -> Iterator[str]:
    """All keys of a settings file, normalised; for telling what a file is."""
    if isinstance(value.data, dict):
        for key, inner in value.data.items():
            yield _flat(key)
            yield from walk(inner)
