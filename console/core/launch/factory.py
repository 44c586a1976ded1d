"""What ``ascendfactory-cli`` is told of a job: the settings file of dialect v1, the words of ``train`` in v2. Pure.

It has no command for data or weights: ``train`` prepares and converts by itself what its settings name as raw, and
exports at its end where they say so. So ``data.prepare``, ``model.convert`` and ``export`` are settings here and no
steps of their own. What the two dialects cannot be told is rule L4's (``check``).

Sources: S2 for v1 (``dataset`` or ``processed_data_dir``; converted weights or those of Hugging Face);
support.huaweicloud.com/bestpractice-modelarts modelarts_llm_train_590218 says that exactly one of the two is given,
and that without ``user_converted_ckpt_path`` the weights are converted below the output directory. v2: ..._590610
(any key of the settings as ``--key=value``), ..._590619 (``preprocess_data.input`` or ``training.data-path``),
..._590616 (what a resumed run has to be told). Below ``training`` the keys are Megatron's own options; of those not
on these pages no real release has been asked.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from trainer.spec.finding import Finding, error, warning
from trainer.spec.job import JobSpec
from trainer.spec.saving_rules import converts_itself, loads

LOAD_TYPES = {"none": 0, "weights": 1, "resume": 2}
MINDSPEED = "mindspeed-llm"
"""The backend whose settings are known; the others' are left to ``overrides``."""


def prepares_itself(spec: JobSpec) -> bool:
    """Whether the launcher is given raw data, and makes of it what it reads."""
    return spec.data.prepare or not spec.data.prefix


def lacks(spec: JobSpec) -> Iterator[Finding]:
    """U1: what is not said that it needs to prepare and to convert."""
    if spec.runner.kind != "ascendfactory" or spec.runner.ascendfactory.config:
        return
    for asked, key, value in ((spec.data.prepare, ("data", "input"), spec.data.input), (spec.model.convert, ("model", "weights"), spec.model.weights)):
        if asked and not value:
            yield error("U1", key, f"ascendfactory-cli needs {'.'.join(key)} for this", "nothing", "a path on the nodes", f"set {'.'.join(key)} in the job file")


def check(spec: JobSpec) -> Iterator[Finding]:
    """L4: what would not reach it."""
    factory, runner = spec.runner.ascendfactory, ("runner", "ascendfactory")
    if spec.runner.kind != "ascendfactory":
        return
    if factory.config:
        yield warning("L4", (*runner, "config"), "the settings file decides: train, parallel, data and checkpoint of this job are checked and shown, but not handed over",
                      factory.config, "the same values there", "keep the two together, or leave config empty to have it made from the job")
        return
    if factory.dialect == "v2" and factory.backend != MINDSPEED:
        yield warning("L4", (*runner, "backend"), "what config writes decides: train, parallel and data of this job are checked and shown, but not handed over",
                      factory.backend, f"{MINDSPEED}, whose settings are known", "say in runner.ascendfactory.overrides what is to differ")
        return
    if loads(spec) == "weights" and spec.checkpoint.load_dir:
        if converts_itself(spec):
            yield warning("L4", ("checkpoint", "load_dir"), "ascendfactory-cli converts into a directory below its output", spec.checkpoint.load_dir, "nothing",
                          "take it out, or set model.convert to false when these weights are converted already")
        elif factory.dialect == "v2":
            yield warning("L4", ("checkpoint", "load_dir"), "v2 converts the weights of Hugging Face by itself; converted ones are not handed over", spec.checkpoint.load_dir,
                          "nothing", "take it out, or say in runner.ascendfactory.overrides where they are")
    if factory.dialect == "v2" and spec.export.dir:
        yield warning("L4", ("export", "dir"), "where the exported weights go is in what config writes", spec.export.dir, "nothing",
                      "take it out, or say it in runner.ascendfactory.overrides")


def settings_text(spec: JobSpec) -> str:
    """v1's settings file, made from the job: S2's parameters under base, model and experiment.

    The release reads the key ``scirpts_dir``; it is written as it is read.
    """
    factory, train, cut, how = spec.runner.ascendfactory, spec.train, spec.parallel, loads(spec)
    raw = prepares_itself(spec)
    base = {
        "scirpts_dir": factory.scripts_dir, "train_auto_resume": spec.checkpoint.auto_resume,
        "stage": "pt" if spec.run.mode in ("pretrain", "retrain") else "sft", "ckpt_load_type": LOAD_TYPES[how],
        "dataset": spec.data.input if raw else "", "processed_data_dir": "" if raw else spec.data.prefix,
        "user_converted_ckpt_path": "" if how == "none" or (how == "weights" and converts_itself(spec)) else spec.checkpoint.load_dir,
        "model_name_or_path": spec.model.weights or spec.model.tokenizer, "output_dir": spec.checkpoint.dir, "hf_save_dir": spec.export.dir,
        "convert_mg2hf_at_last": bool(spec.export.dir) and spec.export.at_end, "handler-name": spec.data.handler}
    experiment: dict[str, object] = {
        "micro-batch-size": train.micro_batch_size, "global-batch-size": train.global_batch_size,
        "tensor-model-parallel-size": cut.tensor_model_parallel_size, "pipeline-model-parallel-size": cut.pipeline_model_parallel_size,
        "context_parallel_size": cut.context_parallel_size, "SEQ_LEN": train.seq_length,
        "MAX_PE": max(spec.model.max_position_embeddings, train.seq_length), "train-iters": train.iterations, "seed": spec.run.seed}
    experiment |= _learning_rates(spec)
    if spec.checkpoint.interval:
        experiment |= {"save-interval": spec.checkpoint.interval, "save-total-limit": spec.checkpoint.keep}
    if spec.run.mode == "lora":
        experiment |= {"lora-r": spec.model.peft.rank, "lora-alpha": spec.model.peft.alpha}
    mapping = {"base": {key: value for key, value in base.items() if value != ""}, factory.model_name: {factory.exp_name: experiment}}
    return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=4096)


def factory_words(spec: JobSpec) -> list[str]:
    """v2: the job's values as words of ``train``, in place of what ``config`` has written; the operator's own ``overrides`` come instead of ours."""
    factory, train, cut, data = spec.runner.ascendfactory, spec.train, spec.parallel, spec.data
    if factory.backend != MINDSPEED:
        return []
    raw = prepares_itself(spec)
    values: dict[str, object] = {
        "preprocess_data.input": data.input if raw else "", "preprocess_data.handler-name": data.handler if raw else "",
        "training.data-path": "" if raw else data.prefix, "training.tokenizer-name-or-path": spec.model.weights or spec.model.tokenizer,
        "training.micro-batch-size": train.micro_batch_size, "training.global-batch-size": train.global_batch_size,
        "training.tensor-model-parallel-size": cut.tensor_model_parallel_size, "training.pipeline-model-parallel-size": cut.pipeline_model_parallel_size,
        "training.context-parallel-size": cut.context_parallel_size if cut.context_parallel_size > 1 else "", "training.seq-length": train.seq_length,
        "training.train-iters": train.iterations, "training.seed": spec.run.seed, "training.save-interval": spec.checkpoint.interval or "",
        **{f"training.{key}": value for key, value in _learning_rates(spec).items()}}
    if spec.run.mode == "lora":
        values |= {"training.lora-r": spec.model.peft.rank, "training.lora-alpha": spec.model.peft.alpha}
    if loads(spec) == "resume":
        values |= dict.fromkeys(("training.finetune", "training.no-load-optim", "training.no-load-rng"), "false")
    own = {word.partition("=")[0] for word in factory.overrides}
    words = ((f"--backend_config.{key}", value) for key, value in values.items() if value != "")
    return [f"{name}={value}" for name, value in words if name not in own]


def _learning_rates(spec: JobSpec) -> dict[str, float]:
    """Those that were set: Rankdeck's own defaults are for small models, the vendor's are for these."""
    plain = type(spec.train)(iterations=1)
    return {key: value for key, value, usual in (("lr", spec.train.learning_rate, plain.learning_rate),
                                                 ("min-lr", spec.train.min_learning_rate, plain.min_learning_rate)) if value != usual}
