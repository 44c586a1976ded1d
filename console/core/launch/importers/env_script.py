"""S3's launch commands as pasted: ``MASTER_ADDR=... NODE_RANK=0 ... sh scripts/qwen/qwen.sh``, one per node.

Source of names, defaults and rules: Huawei's DevServer guides for Qwen and GLM3 with AscendSpeed
(seed S3: table of parameters, "all but NODE_RANK are the same on every node"). Two of the guide's own twelve
commands break that; both kinds of slip are mended here and reported (N2, N3).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from console.core.launch.importers.imported import FILL_IN, Findings, Imported, JobMapping, Source, escape, safe_env
from console.core.launch.importers.shell_words import ASSIGNMENT, Assignment, Command, Word, parse
from trainer.spec.blocks import SECRET_NAME

FIELDS = {
    "MODEL_TYPE": "model.size", "RUN_TYPE": "run.mode", "DATASET_PATH": "data.prefix", "TOKENIZER_PATH": "model.tokenizer",
    "MODEL_PATH": "checkpoint.load_dir", "TRAIN_ITERS": "train.iterations", "MBS": "train.micro_batch_size",
    "GBS": "train.global_batch_size", "TP": "parallel.tensor_model_parallel_size", "PP": "parallel.pipeline_model_parallel_size",
    "CP": "parallel.context_parallel_size", "SEQ_LEN": "train.seq_length", "MAX_PE": "model.max_position_embeddings",
    "WORK_DIR": "paths.work", "SAVE_INTERVAL": "checkpoint.interval", "SEED": "run.seed", "MASTER_PORT": "fleet.master_port",
    "LR": "train.learning_rate", "MIN_LR": "train.min_learning_rate",
}
"""Variable of the scripts -> field of the job file. ``commands`` writes them in S3's order."""

MODES = ("pretrain", "retrain", "sft", "lora")
PER_NODE = ("MASTER_ADDR", "NNODES", "NODE_RANK")
RECIPES = ("glm3-6b", "llama2-13b", "llama2-70b", "llama2-7b", "llama3-70b", "llama3-8b", "qwen-14b", "qwen-72b", "qwen-7b")
"""Names in recipes/; a test holds the two together."""

SLIPS = {"DATA_PATH": "DATASET_PATH", "TOKENIZER_MODEL": "TOKENIZER_PATH", "NODES": "NNODES", "NUM_NODES": "NNODES", "NNODE": "NNODES",
         "RANK": "NODE_RANK", "MASTER_IP": "MASTER_ADDR", "SEQ_LENGTH": "SEQ_LEN", "TRAIN_ITER": "TRAIN_ITERS"}
"""Names that the guide's own prose uses for others, and usual ones besides."""

DEFAULTS = {"WORK_DIR": "/home/ma-user/ws", "SEQ_LEN": "4096", "GBS": "64", "TP": "8", "PP": "1", "RUN_TYPE": "pretrain"}
"""S3's own defaults, written out so that they are seen."""

_SHELLS = ("sh", "bash", "dash", "zsh")
_SCRIPT = re.compile(r"\S+\.sh")
_WORK_DIR_SAID = re.compile(r"(?:在|in |cd )\s*(/[\w./-]*/(?:AscendSpeed|ModelLink|MindSpeed-LLM)[\w.-]*)/?", re.ASCII)


@dataclass(slots=True, kw_only=True)
class Launch:
    """One command that starts a script with variables."""

    variables: dict[str, Assignment] = field(default_factory=dict)
    script: str = ""
    args: list[str] = field(default_factory=list)
    where: str = ""
    piped_into: str = ""
    findings: Findings = field(default_factory=Findings)
    """What is wrong with the text of this command alone."""

    def value(self, key: str, default: str = "") -> str:
        """The value of a variable, without the blanks round it."""
        return self.variables[key].value.strip() if key in self.variables else default

    @property
    def rank(self) -> str:
        return self.value("NODE_RANK", "0")


def launches(source: Source) -> list[Launch]:
    """All launch commands in a text, in order; blanks after ``=`` are mended and reported as N3."""
    found = []
    exported: dict[str, Assignment] = {}
    for command in parse(source.text, source.name):
        if command.words and command.words[0].text == "export":
            exported.update({one.key: one for one in command.assignments})
        else:
            found += _scan(command, exported)
    return found


def read(sources: Sequence[Source]) -> list[Imported]:
    """The jobs in the texts: each a single command, or one per node of the same launch."""
    groups: list[list[Launch]] = []
    for source in sources:
        for launch in launches(source):
            group = groups[-1] if groups else []
            nnodes = launch.value("NNODES", "1")
            joins = group and nnodes not in ("1", "") and group[0].value("NNODES", "1") == nnodes and group[0].script == launch.script
            full = group and len(group) >= (_whole(nnodes) or 1)
            if joins and not full:
                group.append(launch)
            else:
                groups.append([launch])
    setup = _setup([command for source in sources for command in parse(source.text, source.name)])
    return [_job(group, _workdir(sources, group[0]), setup) for group in groups]


def _workdir(sources: Sequence[Source], launch: Launch) -> str:
    """The code directory that the text says last before a launch."""
    name, line, column = launch.where.rsplit(":", 2)
    found = ""
    for source in sources:
        for match in _WORK_DIR_SAID.finditer(source.text):
            begin = source.text.rfind("\n", 0, match.start()) + 1
            place = (source.text.count("\n", 0, match.start()) + 1, match.start() - begin + 1)
            if source.name != name or place < (int(line), int(column)):
                found = match[1]
    return found


def _scan(command: Command, exported: Mapping[str, Assignment]) -> list[Launch]:
    """Launches among the words of one command; prose before and after is passed over."""
    items: list[Assignment | Word] = [*command.assignments, *command.words]
    found: list[Launch] = []
    ours = any(key in FIELDS or key in PER_NODE for key in exported)
    current = Launch(variables=dict(exported) if ours else {})
    at = 0
    while at < len(items):
        item = items[at]
        at += 1
        if isinstance(item, Word) and ASSIGNMENT.match(item.text):
            key, _, value = item.text.partition("=")
            item = Assignment(key=key, value=value, where=item.where, open=item.open)
        if isinstance(item, Assignment):
            following = items[at] if at < len(items) else None
            if item.value == "" and isinstance(following, Word) and following.text not in _SHELLS and not ASSIGNMENT.match(following.text) \
                    and not _SCRIPT.fullmatch(following.text):
                shown = "..." if SECRET_NAME.search(item.key) else following.text
                current.findings.report("N3", item.where, f"there is a blank after {item.key}=, so the shell gives {item.key} nothing and runs "
                                f"{shown} as a command", got=f"{item.key}= {shown}", expected=f"{item.key}={shown}",
                                fix="The job file has the value that was meant; take the blank out of the command")
                item = Assignment(key=item.key, value=following.text, where=item.where, open=following.open)
                at += 1
            current.where = current.where or item.where
            current.variables[item.key] = item
            continue
        following = items[at] if at < len(items) else None
        if current.variables and item.text in _SHELLS and isinstance(following, Word):
            at = _past_options(items, at)
            named = items[at] if at < len(items) else None
            current.script = named.text if isinstance(named, Word) else ""
            current.where = current.where or item.where
            at += 1
        elif current.variables and _SCRIPT.fullmatch(item.text):
            current.script = item.text
            current.where = current.where or item.where
        elif (known := item.text.rstrip("=")) in (*FIELDS, *PER_NODE) and isinstance(following, Word) and following.text.startswith("="):
            current.findings.report("N3", item.where, f"there is a blank before the = of {known}", got=f"{item.text} {following.text}",
                            expected=f"{known}{following.text}", fix="Take the blank out")
            current.variables[known] = Assignment(key=known, value=following.text[1:], where=item.where)
            current.where = current.where or item.where
            at += 1
            continue
        else:
            # Prose, or a command of another kind with variables before it.
            if current.variables and not any(key in FIELDS or key in PER_NODE for key in current.variables):
                current = Launch()
            continue
        while at < len(items) and isinstance(items[at], Word) and _is_argument(items[at]):
            current.args.append(items[at].text)  # type: ignore[union-attr]
            at += 1
        if any(key in FIELDS or key in PER_NODE or key in SLIPS for key in current.variables):
            current.piped_into = command.piped_into
            found.append(current)
        current = Launch(variables=dict(exported) if ours else {})
    return found


def _past_options(items: Sequence[Assignment | Word], at: int) -> int:
    """The place behind a shell's own options."""
    while at < len(items):
        item = items[at]
        if not isinstance(item, Word) or not item.text.startswith("-"):
            break
        at += 2 if item.text in ("-o", "-O") else 1
    return at


def _is_argument(item: Assignment | Word) -> bool:
    """A word of the command line, not of the prose behind it."""
    return isinstance(item, Word) and item.text.isascii() and not ASSIGNMENT.match(item.text) and item.text.strip(".") != ""


def _setup(commands: Sequence[Command]) -> list[str]:
    """``source`` lines: what the shell needs before the launch."""
    return [f"source {command.words[1].text}" for command in commands
            if len(command.words) >= 2 and command.words[0].text in ("source", ".") and not command.words[1].open
            and re.fullmatch(r"[\w./~-]+", command.words[1].text)]


def _job(group: Sequence[Launch], workdir: str, setup: Sequence[str]) -> Imported:
    findings = Findings(problems=[problem for launch in group for problem in launch.findings.problems])
    first = min(group, key=lambda launch: _whole(launch.rank) or 0)
    _rename(group, findings)
    _check_nodes(group, findings)
    values = _common(group, findings)
    job = JobMapping()
    mode = _mode(values, first, findings)
    family, size = _family(first.script), values["MODEL_TYPE"].value.strip() if "MODEL_TYPE" in values else ""
    name = "-".join(part for part in (family, size.lower(), mode) if part)
    recipe = f"{family}-{size.lower()}"
    defaults: list[object] = [{"hardware": "ascend-a2-8"}]
    if recipe in RECIPES:
        defaults.append({"recipe": recipe})
    job.put("defaults", defaults)
    job.put("run.name", re.sub(r"[^\w.+@=-]", "-", name) or "imported")
    nnodes = _whole(first.value("NNODES", "1")) or 1
    for key, default in DEFAULTS.items():
        if key not in values:
            findings.leave(first.where, key, f"the command does not say; written out is the script's default {default}")
            values[key] = Assignment(key=key, value=default, where=first.where)
    if "TRAIN_ITERS" not in values:
        values["TRAIN_ITERS"] = Assignment(key="TRAIN_ITERS", value=FILL_IN, where=first.where)
        findings.leave(first.where, "TRAIN_ITERS", "the command does not say and the script's default is not documented; fill it in")
    for key, field_name in FIELDS.items():
        if key in values and not (key == "MODEL_PATH" and mode == "pretrain"):
            job.put(field_name, _typed(key, values[key], findings))
    if "MODEL_PATH" in values and mode == "pretrain":
        findings.leave(values["MODEL_PATH"].where, "MODEL_PATH", "pretraining starts from nothing; give RUN_TYPE=retrain to go on from weights")
    if family:
        job.put("model.family", family)
    job.put("fleet.nodes", [f"n{at}" for at in range(nnodes)])
    job.put("fleet.npus_per_node", 8)
    if address := first.value("MASTER_ADDR"):
        findings.leave(first.variables["MASTER_ADDR"].where, f"MASTER_ADDR={address}",
                       "addresses are in the fleet file; the first of fleet.nodes is the master")
    findings.leave(first.where, "the nodes' names", "the commands do not have them: put those of your fleet file into fleet.nodes")
    job.put("runner.kind", "env-script")
    job.put("runner.entry", first.script)
    if first.args:
        job.put("runner.args", first.args)
    if not first.script.startswith("/"):
        job.put("runner.workdir", workdir or FILL_IN)
        if not workdir:
            findings.leave(first.where, "the directory the command is run in", "it is not in the text: fill runner.workdir in")
    if setup:
        job.put("runner.setup", list(setup))
    if first.piped_into:
        findings.leave(first.where, f"| {first.piped_into}", "the launcher keeps all output; a pipe would also hide the script's exit status")
    if prefix := job.get("data.prefix"):
        job.put("data.format", "megatron-bin")
        if isinstance(prefix, str) and prefix.endswith((".bin", ".idx")):
            findings.report("D1", values["DATASET_PATH"].where, "the data path is a prefix, without .bin or .idx", got=prefix,
                            expected=prefix[:-4], fix="The job file has it without")
            job.put("data.prefix", prefix[:-4])
    tail = f"{_title(family)}-{size}/{'pretrain' if mode == 'retrain' else mode}" if family and size else "checkpoints"
    job.put("checkpoint.dir", f"{escape(job.get('paths.work'))}/saved_dir_for_ma_output/{tail}")
    if mode == "lora":
        job.put("model.peft", {"type": "lora", "rank": 16, "alpha": 32})
    env = {key: one.value for key, one in values.items() if key not in FIELDS and key not in PER_NODE}
    if env:
        job.put("env", safe_env(env, first.where, findings))
    for one in values.values():
        if one.open and not SECRET_NAME.search(one.key):
            findings.leave(one.where, f"{one.key}={one.value}", "only the shell knows what the $ stands for; write the value itself")
    return Imported(kind="env-script", job=job.mapping(), problems=tuple(findings.problems), left=tuple(findings.left))


def _rename(group: Sequence[Launch], findings: Findings) -> None:
    """Names that are nearly ones of the script: the guide's prose slips, and slips of the finger."""
    known = (*FIELDS, *PER_NODE)
    for launch in group:
        for key in list(launch.variables):
            if key in known:
                continue
            meant = SLIPS.get(key) or next(iter(get_close_matches(key, known, n=1, cutoff=0.85)), "")
            if not meant or meant in launch.variables:
                continue
            one = launch.variables.pop(key)
            findings.report("I1", one.where, f"the script does not read {key}", got=key, expected=meant,
                            fix=f"Did you mean {meant}? The job file takes it so", warning=True)
            launch.variables[meant] = Assignment(key=meant, value=one.value, where=one.where, open=one.open)


def _check_nodes(group: Sequence[Launch], findings: Findings) -> None:
    """N1: who is which node, and where the master is."""
    nnodes = _whole(group[0].value("NNODES", "1"))
    if nnodes is None or nnodes < 1:
        findings.report("N1", group[0].variables["NNODES"].where, "NNODES is not a number of nodes", got=group[0].value("NNODES"),
                        expected="1 or more", fix="Write how many nodes take part")
        return
    if nnodes == 1:
        return
    for launch in group:
        for key in PER_NODE:
            if key not in launch.variables:
                findings.report("N1", launch.where, f"{key} is missing in a command for {nnodes} nodes", expected=f"{key}=...",
                                fix="The launch sets it itself; check that no other is missing")
        if launch.value("MASTER_ADDR") in ("localhost", "127.0.0.1", "::1"):
            findings.report("N1", launch.variables["MASTER_ADDR"].where, "the other nodes cannot reach this master",
                            got=launch.value("MASTER_ADDR"), expected="the address of node 0 in the training network",
                            fix="Give the first node its address in the fleet file")
    ranks = Counter(launch.rank for launch in group)
    for launch in group:
        rank = _whole(launch.rank)
        if rank is None or not 0 <= rank < nnodes:
            findings.report("N1", launch.variables["NODE_RANK"].where, "no such node rank", got=launch.rank, expected=f"0 to {nnodes - 1}",
                            fix="Ranks of nodes count from 0")
        elif ranks[launch.rank] > 1 and launch is not next(one for one in group if one.rank == launch.rank):
            findings.report("N1", launch.variables["NODE_RANK"].where if "NODE_RANK" in launch.variables else launch.where,
                            "two nodes have the same rank", got=f"NODE_RANK={launch.rank} twice", expected=f"0 to {nnodes - 1}, each once",
                            fix="The launch numbers nodes itself")
    missing = [str(rank) for rank in range(nnodes) if str(rank) not in ranks]
    if missing:
        findings.leave(group[0].where, f"commands of node rank {', '.join(missing)}",
                       "they are not in the text; the job is for all nodes, with the values of the ones that are")


def _common(group: Sequence[Launch], findings: Findings) -> dict[str, Assignment]:
    """The variables of all nodes; where they differ, what most nodes say, or else the first. Rule N2."""
    values: dict[str, Assignment] = {}
    keys = list(dict.fromkeys(key for launch in group for key in launch.variables))
    for key in keys:
        if key == "NODE_RANK":
            continue
        given = [launch.variables[key].value.strip() if key in launch.variables else None for launch in group]
        counts = Counter(given)
        usual = max(counts, key=lambda value: (counts[value], -given.index(value)))
        if len(counts) > 1:
            odd = next(launch for launch, value in zip(group, given, strict=True) if value != usual)
            place = odd.variables[key].where if key in odd.variables else odd.where
            hidden = SECRET_NAME.search(key) is not None
            says = ", ".join(f"{key}={'...' if hidden else value}" if value is not None else f"no {key}" for value in given)
            ranks = ", ".join(launch.rank for launch in group)
            findings.report("N2", place, f"{key} differs between the nodes; only NODE_RANK may", got=f"{says} on node ranks {ranks}",
                            expected=f"{key}={'...' if hidden else usual} on all" if usual is not None else f"no {key} anywhere",
                            fix="The job file has one value for all nodes; check that it is the right one")
        owner = next((launch for launch, value in zip(group, given, strict=True) if value == usual and key in launch.variables), None)
        owner = owner or next(launch for launch in group if key in launch.variables)
        values[key] = owner.variables[key]
    for key, one in list(values.items()):
        if one.value != one.value.strip():
            hidden = SECRET_NAME.search(key) is not None
            findings.report("N3", one.where, f"there are blanks round the value of {key}", got="" if hidden else repr(one.value), expected="" if hidden else repr(one.value.strip()),
                            fix="The job file has it without")
            values[key] = Assignment(key=key, value=one.value.strip(), where=one.where, open=one.open)
    return values


def _mode(values: dict[str, Assignment], first: Launch, findings: Findings) -> str:
    """RUN_TYPE as one of the four; another is mended to the nearest and reported (rule M1)."""
    one = values.get("RUN_TYPE", Assignment(key="RUN_TYPE", value="pretrain", where=first.where))
    if one.value in MODES:
        return one.value
    near = get_close_matches(one.value.lower(), MODES, n=1)
    findings.report("M1", one.where, "no such RUN_TYPE", got=one.value or "nothing", expected=", ".join(MODES),
                    fix=f"Did you mean {near[0]}? The job file takes it so" if near else "The job file has pretrain; mend it")
    meant = near[0] if near else MODES[0]
    values["RUN_TYPE"] = Assignment(key="RUN_TYPE", value=meant, where=one.where)
    return meant


def _typed(key: str, one: Assignment, findings: Findings) -> object:
    """The value as the job file wants it: a number where the field is one."""
    if one.value == FILL_IN:
        return FILL_IN
    if key in ("MODEL_TYPE", "RUN_TYPE", "DATASET_PATH", "TOKENIZER_PATH", "MODEL_PATH", "WORK_DIR"):
        return escape(one.value)
    number = float(one.value) if key in ("LR", "MIN_LR") and re.fullmatch(r"[0-9.]+(?:[eE][-+]?[0-9]+)?", one.value) else _whole(one.value)
    if number is None:
        findings.report("I2", one.where, f"{key} is not a number", got=one.value or "nothing", expected="a number", fix="Fill it in")
        return FILL_IN
    return number


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text.strip()) else None


def _family(script: str) -> str:
    """qwen of scripts/qwen/qwen.sh."""
    match = re.search(r"scripts/([\w.-]+)/", script) or re.search(r"([A-Za-z]+[0-9.]*)[^/]*\.sh$", script)
    return match[1].lower() if match else ""


def _title(family: str) -> str:
    return {"glm3": "GLM3"}.get(family, family.capitalize())
