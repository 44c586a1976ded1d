"""How a run starts, saves and goes on: modes and resuming (rules M), checkpoints (rules S), time limit (R1). Torch-free, pure.

Sources: seeds S2 (load types, saves), S3 (retrain), S4 (checkpoint kinds), Huawei's page on LoRA and fast
recovery (modelarts_llm_train_5901109: M4, M5), MindSpeed's checkpoint_resume.md (M7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.spec import batch, parallel
from trainer.spec.facts import Facts
from trainer.spec.finding import Finding, error, info, warning
from trainer.spec.job import JobSpec
from trainer.spec.layout_rules import shape_known, vendor

TIME_LIMIT = re.compile(r"(?:(?P<days>[0-9]{1,4})-)?(?P<hours>[0-9]{1,2}):(?P<minutes>[0-5][0-9]):(?P<seconds>[0-5][0-9])")
NOT_WITH_RESUME = ("--finetune", "--no-load-optim", "--no-load-rng")
REMOTE = ("s3://", "obs://", "s3a://")


def time_limit_s(text: str) -> int | None:
    """Seconds of a D-HH:MM:SS (days may be left out); None for anything else, hours beyond 23 with days among it."""
    match = TIME_LIMIT.fullmatch(text)
    if match is None or int(match["hours"]) > 23:
        return None
    return ((int(match["days"] or 0) * 24 + int(match["hours"])) * 60 + int(match["minutes"])) * 60 + int(match["seconds"])


def loads(spec: JobSpec) -> str:
    """What is taken from load_dir: none, weights or resume (ckpt_load_type 0, 1, 2)."""
    if spec.checkpoint.load != "auto":
        return spec.checkpoint.load
    wanted = {"pretrain": "none", "retrain": "resume"}.get(spec.run.mode, "weights")
    return wanted if spec.checkpoint.load_dir or converts_itself(spec) else "none"


def converts_itself(spec: JobSpec) -> bool:
    """Whether the launcher turns the weights of Hugging Face into its own by itself, below its output directory."""
    return spec.runner.kind == "ascendfactory" and spec.model.convert and bool(spec.model.weights)


def check(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    """All findings of modes, saving and loading."""
    for rule in (_loading, _resume, _saves, _kinds):
        yield from rule(spec, facts)
    if spec.run.time_limit and time_limit_s(spec.run.time_limit) is None:
        yield error("R1", ("run", "time_limit"), "not a time limit", repr(spec.run.time_limit), "D-HH:MM:SS, e.g. 6-00:00:00 or 0-12:30:00", "write it so")
    elif spec.run.time_limit and time_limit_s(spec.run.time_limit) == 0:
        yield error("R1", ("run", "time_limit"), "the job would be stopped at once", spec.run.time_limit, "more than 0 s", "leave it out for none")


def _loading(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    checkpoint, factory = spec.checkpoint, spec.runner.kind == "ascendfactory"
    path = ("checkpoint", "load_dir")
    if loads(spec) in ("weights", "resume") and not checkpoint.load_dir and not (loads(spec) == "weights" and converts_itself(spec)):
        yield error("M3", path, f"to load {'weights' if loads(spec) == 'weights' else 'weights and optimizer'} it has to be said from where",
                    "nothing", "a directory (user_converted_ckpt_path)", "set checkpoint.load_dir, or checkpoint.load to none")
    elif checkpoint.load == "none" and checkpoint.load_dir:
        yield warning("M3", path, "nothing is loaded, so this directory has no meaning", checkpoint.load_dir, "nothing",
                      "take it out, or set checkpoint.load")
    elif spec.run.mode in ("sft", "lora") and checkpoint.load == "auto" and loads(spec) == "none" and (spec.run.mode == "lora" or facts.saved_iteration is None):
        yield warning("M3", path, f"{'adapters are trained on' if spec.run.mode == 'lora' else 'answers are taught to'} weights that are drawn from the seed", "nothing",
                      "converted weights (user_converted_ckpt_path)", "set checkpoint.load_dir, or checkpoint.load to none if that is meant")
    if factory and spec.run.mode == "retrain" and loads(spec) != "resume":
        yield error("M3", ("checkpoint", "load"), "to go on with a run its optimizer has to be loaded", loads(spec), "resume (ckpt_load_type 2)",
                    "set checkpoint.load")
    if factory and checkpoint.auto_resume and checkpoint.load_dir:
        if facts.output_is_empty is False and checkpoint.load_dir.rstrip("/") != f"{checkpoint.dir.rstrip('/')}/saved_checkpoints":
            yield error("M4", ("checkpoint", "auto_resume"), "fast recovery goes before load_dir, which would be passed over in silence",
                        f"checkpoints in {checkpoint.dir}/saved_checkpoints", "an empty output directory, or load_dir naming it",
                        "choose another checkpoint.dir, or switch auto_resume off")
        elif facts.output_is_empty is None:
            yield warning("M4", ("checkpoint", "auto_resume"), "with fast recovery load_dir counts only while the output is empty",
                          checkpoint.load_dir, f"nothing in {checkpoint.dir}/saved_checkpoints", "look there before the launch")
    if vendor(spec) and spec.run.mode == "lora" and (loads(spec) == "resume" or checkpoint.auto_resume):
        yield error("M5", ("checkpoint", "auto_resume" if checkpoint.auto_resume else "load"), "the vendor's LoRA cannot go on from a checkpoint",
                    "lora with resume", "weights only", "set checkpoint.load to weights and auto_resume to false")


def _resume(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    saved = facts.saved_iteration
    if saved is not None and spec.train.iterations <= saved:
        yield error("M6", ("train", "iterations"), "the checkpoint to go on from is already there", str(spec.train.iterations),
                    f"more than the saved iteration {saved}", "raise train.iterations")
    path = ("checkpoint", "load_dir" if spec.checkpoint.load_dir else "dir")
    if loads(spec) == "resume":
        for word in (word for word in spec.runner.args if word.partition("=")[0] in NOT_WITH_RESUME):
            yield error("M7", ("runner", "args"), "this forgets what is to be gone on with", word, "a command without it", "take it out")
        if facts.tracker_iteration is not None and facts.iterations is not None and facts.tracker_iteration not in facts.iterations:
            yield error("M7", path, "the tracker names an iteration that is not there", str(facts.tracker_iteration),
                        ", ".join(map(str, facts.iterations[-4:])) or "any iteration", "write an iteration that is complete into the tracker")
    if facts.saved_layout is None:
        return
    now = {"tp": spec.parallel.tensor_model_parallel_size, "pp": spec.parallel.pipeline_model_parallel_size,
           "cp": spec.parallel.context_parallel_size, "ep": spec.parallel.expert_model_parallel_size}
    changed = {name: value for name, value in facts.saved_layout.items() if name in now and value != now[name]}
    if changed and (spec.checkpoint.mode == "auto" or facts.saved_format not in ("", "torch_dist")):
        rule = "S7r" if facts.saved_format == "fsdp" and spec.checkpoint.mode == "manual" else "M8"
        yield error(rule, ("parallel",), "the checkpoint was written with another layout and cannot be cut anew",
                    ", ".join(f"{name.upper()} {now[name]}" for name in changed), ", ".join(f"{name.upper()} {value}" for name, value in changed.items()),
                    "train with the layout it has, or convert it")


def _saves(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    checkpoint = spec.checkpoint
    saves, interval = batch.save_iterations(spec), checkpoint.interval
    size = f" of about {parallel.checkpoint_bytes(spec.model) / 1e6:.1f} MB" if shape_known(spec) else ""
    if checkpoint.mode == "auto":
        yield info("S1r", ("checkpoint", "mode"), f"the runner chooses when it saves{size and ': checkpoints' + size}")
    else:
        yield info("S1r", ("checkpoint", "interval"), f"{len(saves)} checkpoint{'' if len(saves) == 1 else 's'}{size} will be written",
                   ", ".join(map(str, saves[:4])) + (f", ... {saves[-1]}" if len(saves) > 4 else "") if saves else "none")
        # The vendor's scripts have a default of their own.
        if (interval == 0 and not vendor(spec)) or interval > spec.train.iterations:
            yield warning("S2r", ("checkpoint", "interval"), "no checkpoint is written during the run: a restart begins anew", str(interval),
                          f"1 to {spec.train.iterations}", "set an interval that one can afford to lose")
    if checkpoint.keep < 0:
        yield error("S3r", ("checkpoint", "keep"), "not a number of checkpoints", str(checkpoint.keep), "0 (all) or more", "set checkpoint.keep")
    elif checkpoint.keep == 1:
        yield warning("S3r", ("checkpoint", "keep"), "with one checkpoint there is none to fall back on while the next is written", "1",
                      "2 or more", "raise checkpoint.keep")
    elif checkpoint.mode == "manual" and checkpoint.keep > len(saves):
        yield warning("S3r", ("checkpoint", "keep"), "more are to be kept than will be written", str(checkpoint.keep), f"at most {len(saves)}",
                      "nothing is ever removed; 0 says so")


def _kinds(spec: JobSpec, facts: Facts) -> Iterator[Finding]:
    checkpoint, export = spec.checkpoint, spec.export
    if checkpoint.mode == "auto" and checkpoint.interval:
        yield error("S4r", ("checkpoint", "interval"), "automatic and manual checkpoints exclude each other", f"mode auto with interval {checkpoint.interval}",
                    "one of the two", "set interval to 0, or mode to manual")
    if checkpoint.mode == "manual" and not batch.save_iterations(spec):
        yield info("S5r", ("checkpoint", "interval"), "interval 0 without save_last switches checkpoints off")
    if export.dir and not export.at_end and not export.interval:
        yield info("S5r", ("export", "interval"), "interval 0 without at_end switches the export off")
    remote = checkpoint.dir.startswith(REMOTE)
    if remote and (spec.model.peft.type != "none" or spec.run.mode == "lora"):
        yield error("S6r", ("checkpoint", "dir"), "checkpoints of adapters cannot lie in an object store", checkpoint.dir, "a shared file system",
                    "name a directory")
    elif remote and export.dir.startswith(REMOTE):
        yield error("S6r", ("export", "dir"), "full exports cannot lie in an object store beside the checkpoints", export.dir, "a directory", "name a directory")
    if spec.train.precision == "fp8" and "fp8" not in spec.fleet.capabilities:
        yield error("S8r", ("train", "precision"), f"{spec.fleet.hardware or 'this hardware'} is not known to train in fp8", "fp8", "bf16",
                    "use bf16, or a hardware profile with capabilities: [fp8]")
