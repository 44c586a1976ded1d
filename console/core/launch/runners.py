"""Who starts the ranks of one node: a line of shell words for each kind of runner. Pure.

``RUNNERS`` is the table to extend: a new runner is a case here and nowhere else.

Sources: torchrun's options are those of torch.distributed.run (torch 2.13). S3 for the env-script's variables
and their order; MindSpeed-LLM's scripts end in ``torchrun ... | tee``, so they are run with ``pipefail``, which
``SHELLOPTS`` hands down to the bashes they start themselves (a nested dash cannot: success is judged by the log).
S2 and Huawei's modelarts_llm_train_590610 for ``ascendfactory-cli``, both dialects; its settings are in ``factory``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from console.core.launch.factory import factory_words
from console.core.launch.words import DIR, Place, address, assignment, endpoint, path_word, quote
from trainer.spec.job import JobSpec
from trainer.spec.saving_rules import loads

SETTINGS = "ascendfactory.yaml"
"""Name in the attempt's directory of the settings that are made from the job (v1) or by ``config`` (v2)."""

def script_variables(spec: JobSpec, place: Place) -> dict[str, str]:
    """The env-script's variables in the order of S3's commands; empty ones are left to the script's default."""
    cut, train = spec.parallel, spec.train
    found: dict[str, str] = {}
    if len(spec.fleet.nodes) > 1:
        found |= {"MASTER_ADDR": address(place.master), "NNODES": str(len(spec.fleet.nodes)), "NODE_RANK": str(place.node_index)}
    found |= {
        "MODEL_TYPE": spec.model.size, "RUN_TYPE": spec.run.mode, "DATASET_PATH": spec.data.prefix, "TOKENIZER_PATH": spec.model.tokenizer,
        "MODEL_PATH": "" if spec.run.mode == "pretrain" else spec.checkpoint.load_dir, "TRAIN_ITERS": str(train.iterations),
        "MBS": str(train.micro_batch_size), "GBS": str(train.global_batch_size), "TP": str(cut.tensor_model_parallel_size),
        "PP": str(cut.pipeline_model_parallel_size), "CP": str(cut.context_parallel_size) if cut.context_parallel_size > 1 else "",
        "SEQ_LEN": str(train.seq_length), "SAVE_INTERVAL": str(spec.checkpoint.interval or ""), "WORK_DIR": spec.paths.work}
    return {name: value for name, value in found.items() if value}


def rank_variables(spec: JobSpec, place: Place) -> dict[str, str]:
    """What programs that start their own ranks want to know of this node; torchrun tells its ranks itself."""
    if spec.runner.kind == "torchrun":
        return {}
    found = {"MASTER_ADDR": address(place.master), "MASTER_PORT": str(spec.fleet.master_port), "NNODES": str(len(spec.fleet.nodes)),
             "NODE_RANK": str(place.node_index)}
    # One node: the scripts' own default, as in S3's single-node commands.
    if len(spec.fleet.nodes) == 1:
        found["MASTER_ADDR"] = "localhost"
    if spec.runner.kind == "script":
        found["NPROC_PER_NODE"] = str(spec.fleet.npus_per_node)
    return found


def command(spec: JobSpec, place: Place) -> list[str]:
    """The command that starts this node's ranks, as groups of shell words, one group a line."""
    return RUNNERS[spec.runner.kind](spec, place)


def _torchrun(spec: JobSpec, place: Place) -> list[str]:
    """The elastic agent over all nodes, each worker under the shim."""
    leads = place.node_index == 0
    options = [
        f"--nnodes={len(spec.fleet.nodes)}",
        f"--nproc-per-node={spec.fleet.npus_per_node}",
        f"--max-restarts={spec.recovery.in_place}",
        "--monitor-interval=0.5",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint(place.master, spec.fleet.master_port)}",
        f"--rdzv-id={place.attempt}",
        # Said, not guessed: torchrun would compare host names, and a node's address need not be one of its name's.
        f"--rdzv-conf=join_timeout={math.ceil(spec.recovery.join_timeout_s)},is_host={'true' if leads else 'false'}",
        f"--local-addr={address(place.node)}",
    ]
    # In a container the node's own interpreter is not there.
    interpreter = place.node.python if spec.container.runtime == "process" else spec.runner.python
    shim = " ".join((path_word(interpreter), "-I", f"{DIR}/shim.py", "rank", "--"))
    return [f"exec {path_word(spec.runner.python)} -m torch.distributed.run", *map(quote, options), "--no-python", shim, " ".join(_worker(spec))]


def _worker(spec: JobSpec) -> Sequence[str]:
    """What one rank executes: the user's program, or the project's trainer by its path."""
    runner = spec.runner
    if runner.entry:
        return [path_word(runner.python), "-u", path_word(runner.entry), *map(quote, runner.args)]
    program = path_word(f"{runner.trainer_dir.rstrip('/')}/trainer/__main__.py")
    return [path_word(runner.python), program, "train", "--job", f"{DIR}/job.json"]


def _env_script(spec: JobSpec, place: Place) -> list[str]:
    """S3's command, under bash with pipefail instead of sh."""
    variables = " ".join(assignment(name, value) for name, value in script_variables(spec, place).items())
    return [f"exec env SHELLOPTS=pipefail {variables}", " ".join(["bash", "-o", "pipefail", _entry(spec.runner.entry), *map(quote, spec.runner.args)])]


def _script(spec: JobSpec, place: Place) -> list[str]:
    """Anything else: a shell script under bash with pipefail, another program as it is."""
    line = [_entry(spec.runner.entry), *map(quote, spec.runner.args)]
    return [" ".join(["exec env SHELLOPTS=pipefail bash -o pipefail", *line] if spec.runner.entry.endswith(".sh") else ["exec", *line])]


def _entry(entry: str) -> str:
    # A name that begins with a dash would be read as an option.
    return path_word(f"./{entry}") if entry.startswith("-") else path_word(entry)


def _ascendfactory(spec: JobSpec, place: Place) -> list[str]:
    factory = spec.runner.ascendfactory
    settings = path_word(factory.config) if factory.config else f"{DIR}/{SETTINGS}"
    if factory.dialect == "v1":
        return [f"exec ascendfactory-cli train {settings} {quote(factory.model_name)} {quote(factory.exp_name)}", *_quoted(spec.runner.args)]
    lines = []
    if not factory.config:
        lines.append(f"ascendfactory-cli config {quote(f'--backend={factory.backend}')} {quote(f'--af_model_name={factory.model_name}')} "
                     f"{quote(f'--exp_name={factory.exp_name}')} --output_file_path={settings} && exec ascendfactory-cli train {settings}")
    else:
        lines.append(f"exec ascendfactory-cli train {settings}")
    values = rank_variables(spec, place)
    lines.append(" ".join(quote(f"--env.{name}={values[name]}") for name in ("MASTER_ADDR", "NNODES", "NODE_RANK")))
    if not factory.config:
        lines += map(quote, [f"--af_output_dir={spec.checkpoint.dir}", *factory_words(spec)])
    if loads(spec) == "resume":
        # The page writes it as two words.
        lines.append(f"--load {path_word(spec.checkpoint.load_dir)}")
    return [*lines, *_quoted(factory.overrides), *_quoted(spec.runner.args)]


def _quoted(texts: Sequence[str]) -> list[str]:
    return [" ".join(map(quote, texts))] if texts else []


RUNNERS: Mapping[str, Callable[[JobSpec, Place], list[str]]] = {
    "torchrun": _torchrun, "env-script": _env_script, "ascendfactory": _ascendfactory, "script": _script}
"""runner.kind -> the command that starts this node's ranks, ``exec`` included."""
