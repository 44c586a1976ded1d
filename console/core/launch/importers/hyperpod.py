"""A HyperPod ``config.yaml`` with its recipe as a job file.

Source: seed S4 and the public aws/sagemaker-hyperpod-recipes (config.yaml, recipes of hf_* and llmft_*). The
recipe stands under ``recipes`` in HyperPod's own namespace; ``${...}`` is resolved there. Checkpoint rules:
S4r auto and manual exclude each other, S5r zero disables, S6r nothing on S3 with PEFT or full export.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from console.core.launch.compose import resolve
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

IGNORED = {"hydra": "Hydra's own settings", "cluster_type": "the nodes are in the fleet file", "cluster": "the nodes are in the fleet file",
           "debug": "", "dry_run": "", "launch_json": "", "training_config": ""}

SIZES = {
    "model.tensor_model_parallel_degree": "parallel.tensor_model_parallel_size", "model.expert_model_parallel_degree": "parallel.expert_model_parallel_size",
    "model.context_parallel_degree": "parallel.context_parallel_size", "model.train_batch_size": "train.micro_batch_size",
    "model.seed": "run.seed", "model.max_context_width": "train.seq_length", "model.num_hidden_layers": "model.num_layers",
    "model.hidden_size": "model.hidden_size", "model.num_attention_heads": "model.num_attention_heads",
    "model.num_key_value_heads": "model.num_query_groups", "model.intermediate_size": "model.ffn_hidden_size", "model.vocab_size": "model.vocab_size",
    "trainer.devices": "fleet.npus_per_node", "trainer.max_steps": "train.iterations", "trainer.log_every_n_steps": "train.log_interval",
    "model.peft.rank": "model.peft.rank", "model.peft.alpha": "model.peft.alpha",
}
NUMBERS = {"model.grad_clip": "train.clip_grad", "model.optim.lr": "train.learning_rate", "model.optim.weight_decay": "train.weight_decay",
           "model.peft.dropout": "model.peft.dropout", "model.optim.sched.min_lr": "train.min_learning_rate"}
TAKEN = (*SIZES, *NUMBERS, "run.name", "run.time_limit", "run.results_dir", "run.model_type", "trainer.num_nodes", "trainer.precision",
         "exp_manager.exp_dir", "exp_manager.name", "exp_manager.create_tensorboard_logger", "exp_manager.checkpoint_dir",
         "exp_manager.resume_from_checkpoint", "model.do_finetune", "model.hf_model_name_or_path", "model.hf_access_token", "model.peft.peft_type",
         "model.fp8", "model.data.train_dir", "model.data.val_dir", "model.data.dataset_type", "model.data.use_synthetic_data", "model.model_type",
         "model.val_batch_size", "model.optim.sched.warmup_steps")


def is_config(value: Value) -> bool:
    """A HyperPod config.yaml: its defaults name a recipe."""
    return recipe_name(value) != ""


def is_recipe(value: Value) -> bool:
    """A HyperPod recipe."""
    return isinstance(value.data, dict) and "run" in value.data and ("exp_manager" in value.data or "trainer" in value.data) and "model" in value.data


def recipe_name(value: Value) -> str:
    """The recipe that a config names, e.g. training/llama/hf_llama3_8b_seq8192_gpu; empty when it names none."""
    entries = value.data.get("defaults") if isinstance(value.data, dict) else None
    for entry in entries.data if entries is not None and isinstance(entries.data, list) else []:
        if isinstance(entry.data, dict) and "recipes" in entry.data:
            return str(entry.data["recipes"].data or "")
    return ""


def read(sources: Sequence[Source]) -> list[Imported]:
    """One job out of a config, a recipe, or both."""
    findings, job = Findings(), JobMapping()
    config, recipe = Value(data={}, where=sources[0].name), Value(data={}, where=sources[0].name)
    for source in sources:
        value, problems = parse_yaml(source.text, source.name)
        findings.problems += problems
        if is_config(value):
            config = value
        elif isinstance(value.data, dict) and "recipes" in value.data and is_recipe(value.data["recipes"]):
            config, recipe = value, value.data["recipes"]
        else:
            recipe = value
    named = recipe_name(config)
    if named and not recipe.data:
        findings.report("R2", config.locate(("defaults",)), "the config's recipe was not given", got=named, expected="the recipe's file beside the config",
                        fix="Name both: rankdeck import config.yaml recipe.yaml")
    assert isinstance(config.data, dict)
    own = {key: value for key, value in config.data.items() if key != "defaults" and key not in IGNORED}
    inside = Value(data=recipe.data if isinstance(recipe.data, dict) else {}, where=recipe.where)
    whole = Value(data={**(inside.data if isinstance(inside.data, dict) else {}), **own, "recipes": inside}, where=config.where)
    plain, problems = resolve(whole)
    findings.problems += [problem for problem in problems if problem not in findings.problems]
    for key in config.data:
        if IGNORED.get(key):
            findings.leave(config.locate((key,), key=True), key, IGNORED[key])
    _Reader(job, plain, whole, findings).read(named)
    unique = {(problem.where, problem.message): problem for problem in findings.problems}
    return [Imported(kind="hyperpod", job=job.mapping(), problems=tuple(unique.values()), left=tuple(findings.left))]


class _Reader:
    def __init__(self, job: JobMapping, plain: dict[str, Any], whole: Value, findings: Findings) -> None:
        self._job, self._config, self._plain, self._whole, self._findings = job, plain, plain["recipes"], whole, findings

    def read(self, named: str) -> None:
        job = self._job
        name = self._get("run.name") or named.rpartition("/")[2] or "hyperpod"
        job.put("run.name", re.sub(r"[^\w.+@=-]", "-", str(name)))
        self._checkpoints()
        self._model()
        for table, kind in ((SIZES, int), (NUMBERS, float)):
            for source, target in table.items():
                value = self._get(source)
                if value is None:
                    continue
                number = whole(value) if kind is int else float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
                if number is None:
                    self._findings.report("I2", self._where(source), f"{source} is not a number", got=repr(value), expected="a number", fix="Fill it in")
                job.put(target, FILL_IN if number is None else number)
        nodes = self._get("trainer.num_nodes")
        job.put("fleet.nodes", [f"n{at}" for at in range(nodes if isinstance(nodes, int) and 0 < nodes <= 4096 else 1)])
        self._leave("trainer.num_nodes", "the nodes' names are in the fleet file: put them into fleet.nodes")
        if job.get("train.iterations") is None:
            job.put("train.iterations", FILL_IN)
        limit = self._get("run.time_limit")
        if limit is not None:
            job.put("run.time_limit", str(limit))
        results = self._get("run.results_dir")
        if isinstance(results, str) and results.startswith("/"):
            job.put("run.results_dir", escape(results))
        base = self._config.get("base_results_dir")
        job.put("paths.work", escape(base) if isinstance(base, str) and base.startswith("/") else FILL_IN)
        precision = str(self._get("trainer.precision") or "")
        for ours in ("bf16", "fp16", "fp32"):
            if precision.startswith((ours, ours[2:] if ours != "bf16" else ours)):
                job.put("train.precision", ours)
                break
        self._rest()

    def _checkpoints(self) -> None:
        job, get = self._job, self._get
        directory = get("exp_manager.checkpoint_dir") or (f"{get('exp_manager.exp_dir')}/checkpoints" if get("exp_manager.exp_dir") else None)
        job.put("checkpoint.dir", escape(directory) if isinstance(directory, str) else FILL_IN)
        auto = get("exp_manager.auto_checkpoint.enabled") is True
        manual = get("exp_manager.checkpoint_callback_params")
        top_k = get("exp_manager.checkpoint_callback_params.save_top_k")
        every = get("exp_manager.checkpoint_callback_params.every_n_train_steps")
        uses_manual = isinstance(manual, dict) and top_k != 0 and isinstance(every, int) and every > 0
        if auto and uses_manual:
            self._findings.report("S4r", self._where("exp_manager.auto_checkpoint.enabled"), "automatic and manual checkpoints exclude each other",
                                  got=f"auto_checkpoint and every_n_train_steps {every}", expected="one of the two",
                                  fix="The job file has the manual ones; set auto_checkpoint.enabled to False")
        job.put("checkpoint.mode", "auto" if auto and not uses_manual else "manual")
        if uses_manual:
            job.put("checkpoint.interval", every)
            if isinstance(top_k, int) and top_k > 0:
                job.put("checkpoint.keep", top_k)
            job.put("checkpoint.save_last", get("exp_manager.checkpoint_callback_params.save_last") is not False)
        elif isinstance(manual, dict) and top_k == 0:
            self._leave("exp_manager.checkpoint_callback_params.save_top_k", "0 switches sharded checkpoints off (rule S5r): no interval is set")
        monitor, order = get("exp_manager.checkpoint_callback_params.monitor"), get("exp_manager.checkpoint_callback_params.mode")
        if monitor not in (None, "step") or order not in (None, "max"):
            self._leave("exp_manager.checkpoint_callback_params.monitor", f"the newest are kept, not the best by {monitor} ({order})")
        load = get("exp_manager.resume_from_checkpoint") or get("exp_manager.checkpoint_callback_params.resume_from_checkpoint")
        if isinstance(load, str):
            job.put("checkpoint.load_dir", escape(load))
            job.put("checkpoint.load", "resume")
        export = get("exp_manager.export_full_model")
        if isinstance(export, dict):
            final = export.get("final_export_dir")
            interval = export.get("every_n_train_steps") or 0
            if interval or export.get("save_last"):
                job.put("export.dir", escape(final) if isinstance(final, str) else FILL_IN)
                job.put("export.interval", interval)
                job.put("export.at_end", export.get("save_last") is not False)
        remote = isinstance(directory, str) and directory.startswith(("s3://", "obs://"))
        if remote:
            where = self._where("exp_manager.checkpoint_dir")
            if self._get("model.peft.peft_type"):
                self._findings.report("S6r", where, "sharded checkpoints of adapters cannot lie on S3", got=str(directory),
                                      expected="a directory of a file system", fix="Set checkpoint.dir to a shared file system")
            elif isinstance(export, dict) and (export.get("every_n_train_steps") or export.get("save_last")) \
                    and not str(export.get("final_export_dir") or "").startswith("/"):
                self._findings.report("S6r", where, "full checkpoints cannot lie on S3", got=str(directory),
                                      expected="final_export_dir in a local file system", fix="Set export.dir")
            else:
                self._leave("exp_manager.checkpoint_dir", "nodes here have a file system, no object store: set checkpoint.dir to a shared directory")

    def _model(self) -> None:
        job, get = self._job, self._get
        finetune, peft = get("model.do_finetune") is True, get("model.peft.peft_type")
        lora = isinstance(peft, str) and peft.lower() in ("lora", "qlora_4bit", "qlora")
        job.put("run.mode", "lora" if lora else "sft" if finetune else "pretrain")
        if lora:
            job.put("model.peft.type", "lora")
            if peft.lower() != "lora":
                self._leave("model.peft.peft_type", "there is no quantised LoRA here: plain LoRA was taken")
        if isinstance(get("model.hf_model_name_or_path"), str):
            job.put("model.weights", escape(get("model.hf_model_name_or_path")))
            job.put("model.tokenizer", escape(get("model.hf_model_name_or_path")))
        if get("model.hf_access_token") is not None:
            job.put("model.access_token", {"from_env": "HF_TOKEN"})
            self._findings.leave(self._where("model.hf_access_token"), "hf_access_token", "a secret is named, never written: it is read from HF_TOKEN on the node")
        if isinstance(get("model.model_type"), str):
            job.put("model.family", str(get("model.model_type")).replace("_v", ""))
        if get("model.fp8") is True:
            job.put("train.precision", "fp8")
            self._leave("model.fp8", "only hardware that can do it is allowed to (rule S8r); amax settings are not carried over")
        if get("model.data.use_synthetic_data") is True:
            job.put("data.format", "synthetic")
        elif isinstance(get("model.data.train_dir"), str):
            job.put("data.format", "arrow")
            job.put("data.pretokenized", True)
            job.put("data.input", escape(get("model.data.train_dir")))
            self._leave("model.data.dataset_type", "train_dir may hold JSON, JSON.gz or Arrow, tokenised already: set data.format to what it is (rule D5)")
        warmup = get("model.optim.sched.warmup_steps")
        if isinstance(warmup, int):
            job.put("train.warmup_iterations", warmup)

    def _rest(self) -> None:
        job, config = self._job, self._config
        job.put("runner.kind", "torchrun")
        git = config.get("git")
        if isinstance(git, dict):
            for key, target in (("repo_url_or_path", "code.repo"), ("branch", "code.branch"), ("commit", "code.commit"), ("entry_script", "runner.entry")):
                if isinstance(git.get(key), str):
                    job.put(target, escape(git[key]))
            if git.get("token") is not None:
                job.put("code.token", {"from_env": "GIT_TOKEN"})
                self._findings.leave(self._whole.locate(("git", "token")), "git.token", "a secret is named, never written: it is read from GIT_TOKEN on the node")
        if job.get("runner.entry") is None:
            job.put("runner.entry", FILL_IN)
            self._findings.leave(self._whole.where, "the entry script", "HyperPod's adapter brings its own; name your training script in runner.entry")
        env = config.get("env_vars")
        if isinstance(env, dict) and env:
            where = self._whole.locate(("env_vars",), key=True)
            job.put("env", safe_env({str(key): str(value) for key, value in env.items() if value is not None}, where, self._findings))
            if any(str(key).startswith("NCCL_") for key in env):
                self._findings.leave(self._whole.locate(("env_vars",), key=True), "NCCL_* variables", "HCCL does not read them; they are kept for CUDA nodes")
        if self._get("exp_manager.create_tensorboard_logger") is True:
            job.put("logging.tensorboard", True)
        if isinstance(config.get("container"), str):
            job.put("container.runtime", "docker")
            job.put("container.image", escape(config["container"]))
        instance = config.get("instance_type")
        if instance is not None:
            self._findings.leave(self._whole.locate(("instance_type",), key=True), f"instance_type: {instance}",
                                 "choose a hardware profile of your own nodes: ascend-a2-8, ascend-a3-16 or cpu")
        job.put("defaults", [{"hardware": "ascend-a2-8"}])
        recipe = self._whole.at(("recipes",))
        if recipe is not None:
            self._unread(recipe, "")

    def _unread(self, value: Value, path: str) -> None:
        """Say of every scalar in the recipe that nothing was done with it."""
        if isinstance(value.data, dict):
            for key, inner in value.data.items():
                self._unread(inner, f"{path}.{key}" if path else key)
        elif path not in TAKEN and value.data is not None and not path.startswith((
                "exp_manager.checkpoint_callback_params.", "exp_manager.auto_checkpoint.", "exp_manager.export_full_model.")):
            self._findings.leave(value.key_where or value.where, path, "the job file has no field for it")

    def _get(self, path: str) -> Any:
        at: Any = self._plain
        for name in path.split("."):
            if not isinstance(at, dict) or name not in at:
                return None
            at = at[name]
        return at

    def _where(self, path: str) -> str:
        return self._whole.locate(("recipes", *path.split(".")), key=True)

    def _leave(self, path: str, why: str) -> None:
        self._findings.leave(self._where(path), path.rpartition(".")[2], why)
