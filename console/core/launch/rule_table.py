"""Every rule that validation knows, with its id: the table behind docs/guide/rules.md and the waivers. Pure data.

The rules themselves are functions elsewhere; a test holds this table, the functions and the page together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One line of the page."""

    title: str
    severity: str
    """error, warning, info, or what it depends on."""
    source: str
    when: Literal["plan", "import", "nodes", "plan and nodes", "files"] = "plan"
    """plan: from the files alone; nodes: also needs what preflight saw; import: in sources that are imported."""
    waivable: bool = True


def _rule(title: str, severity: str, source: str, when: Literal["plan", "import", "nodes", "plan and nodes", "files"] = "plan", *, firm: bool = False) -> Rule:
    return Rule(title=title, severity=severity, source=source, when=when, waivable=not firm)


RULES: Mapping[str, Rule] = {
    "P1": _rule("The world, nodes x NPUs, is divisible by TP x PP x CP", "error", "S2, with Megatron's arguments.py"),
    "P2": _rule("Attention heads are divisible by TP x CP; for megatron-core alone by TP, and query groups fit TP",
                "error; TP x CP only a warning outside vendor runners", "S2, megatron-core"),
    "P3": _rule("The global batch is divisible by micro batch x DP", "error", "S2"),
    "P4": _rule("PP is the number of nodes, unless P5 recommends another", "warning", "S2"),
    "P5": _rule("Recommended TP, PP and MBS of Qwen 7B, 14B, 72B; enough microbatches to fill a pipeline", "warning", "S3"),
    "P6": _rule("Beyond 32768 tokens CP is 2 or more", "warning", "S2"),
    "P7": _rule("The sequence is no longer than the model's positions", "warning", "S2"),
    "P8": _rule("Layers are divisible by PP, or num_layer_list deals them", "error", "Megatron's arguments.py"),
    "P9": _rule("The minimal learning rate is not above the learning rate", "warning", "S2"),
    "P10": _rule("TP stays inside a node", "warning", "Rankdeck"),
    "EP1": _rule("Experts are divisible by EP, and there are some", "error", "Megatron's arguments.py"),
    "EP2": _rule("The world is divisible by TP x EP x PP", "error", "megatron-core's parallel_state"),
    "H1": _rule("High availability and dying gasps need more than one copy of the model", "warning", "MindSpeed's high_availability.md, S3"),
    "A1": _rule("LLaMA-Factory's global batch is per device x accumulation x DP", "info", "S1"),
    "V1": _rule("Sizes are positive, counts and times not negative", "error", "Rankdeck", firm=True),
    "D1": _rule("The data path is a prefix without .bin or .idx, and its files are there", "error", "S3", "plan and nodes"),
    "D2": _rule("Data is prepared for the length that is trained with", "error", "S3"),
    "D3": _rule("Handler, endings of data names and preprocessing threads fit the mode", "warning or error", "S2, S3"),
    "D4": _rule("The tokenizer's type is one that preprocessing knows", "error", "S3"),
    "D5": _rule("JSON, JSON.gz and Arrow samples are tokenised already", "error", "S4"),
    "W1": _rule("Converted weights have the TP and PP that is trained with", "error", "S3"),
    "W2": _rule("sft, lora and retrain have weights to start from; pretrain has none", "error or warning", "S3"),
    "W3": _rule("qwen.sh is given a size it knows", "error", "S3"),
    "W4": _rule("Tokenizer files that have to be edited are, and the script has a tokenizer", "warning or error", "S0, S2"),
    "M1": _rule("The mode is pretrain, retrain, sft or lora", "error", "S3", "files", firm=True),
    "M2": _rule("AscendFactory's stage is pt or sft", "error", "S2", "import"),
    "M3": _rule("What is loaded and from where go together (ckpt_load_type 0, 1, 2)", "error or warning", "S2", "plan"),
    "M4": _rule("With fast recovery and load_dir the output is empty or the same", "error; a warning while nobody has looked", "S2, modelarts_llm_train_5901109", "plan and nodes"),
    "M5": _rule("The vendor's LoRA does not go on from a checkpoint", "error", "modelarts_llm_train_5901109"),
    "M6": _rule("There are more iterations to do than are saved", "error", "S3", "nodes"),
    "M7": _rule("What resuming needs is not switched off, and the tracker names an iteration that is there", "error", "MindSpeed's checkpoint_resume.md", "plan and nodes"),
    "M8": _rule("Automatic and Megatron checkpoints are resumed with the layout they were written with", "error", "S4", "nodes"),
    "S1r": _rule("How many checkpoints will be written, when, and how large", "info", "S2"),
    "S2r": _rule("A checkpoint is written during the run", "warning", "S2"),
    "S3r": _rule("The number of checkpoints to keep is none (all), or at least two and not more than are written", "warning or error", "S2"),
    "S4r": _rule("Automatic and manual checkpoints exclude each other", "error", "S4"),
    "S5r": _rule("Zero switches checkpoints or exports off", "info", "S4"),
    "S6r": _rule("Adapters' and full checkpoints do not lie in an object store", "error", "S4"),
    "S7r": _rule("Sharded checkpoints are cut anew for another sharding degree only, not another TP, PP or CP", "error", "S4", "nodes"),
    "S8r": _rule("fp8 only on hardware that is known to do it", "error", "S4"),
    "C1": _rule("No mount hides /home/ma-user", "error", "S3"),
    "C2": _rule("npu-smi, dcmi and the driver are mounted", "error", "S3"),
    "C3": _rule("davinci_manager, devmm_svm, hisi_hdc and all davinci devices are there and free", "error", "S3", "plan and nodes"),
    "C4": _rule("An image is named, without blanks", "error", "S3", firm=True),
    "C5": _rule("Shared memory is set, several nodes use the host's network, sizes are sizes and fit the host", "warning or error", "S3", "plan and nodes"),
    "C6": _rule("ip_forward is 1, docker is there, and the node has as many NPUs as it should", "error", "S3", "nodes"),
    "C7": _rule("Paths inside a container do not begin with ~", "error", "Rankdeck", firm=True),
    "C8": _rule("No container is privileged", "warning", "Rankdeck"),
    "C9": _rule("Mounts are /host:/inside", "error", "Docker", firm=True),
    "C10": _rule("The container's name is one", "error", "Docker", firm=True),
    "C11": _rule("The Ascend Docker Runtime and --device are not mixed", "warning", "Ascend Docker Runtime"),
    "N1": _rule("Several nodes need MASTER_ADDR that is no loopback, NNODES, and each NODE_RANK once", "error", "S3", "import"),
    "N2": _rule("All variables but NODE_RANK are the same on every node", "error", "S3", "import"),
    "N3": _rule("No blank stands before or after an equals sign", "error", "S3", "import"),
    "T1": _rule("Tokens/s per device are GBS x sequence / (devices x ms) x 1000", "calculated", "S3"),
    "T2": _rule("The loss is on the last rank; on the first for LLaMA-Factory and VeRL", "calculated", "S3, modelarts_llm_train_590611"),
    "R1": _rule("The time limit is D-HH:MM:SS", "error", "S4", firm=True),
    "R2": _rule("Included files are there and in no circle, and ${...} refers to something", "error", "S4", "files", firm=True),
    "R3": _rule("A waiver names a rule that may be waived, finds something, and gives a reason", "error or warning", "Rankdeck", firm=True),
    "J1": _rule("The file is YAML, with known keys and values of their type", "error", "Rankdeck", "files", firm=True),
    "F1": _rule("No node stands twice", "error", "Rankdeck", firm=True),
    "F2": _rule("Every node is in the fleet file", "error", "Rankdeck", firm=True),
    "F3": _rule("No node is both a worker and a spare", "error", "Rankdeck", firm=True),
    "F4": _rule("Every node has the NPUs that the job wants", "error", "Rankdeck", firm=True),
    "F5": _rule("Spares of the fleet are not used as workers", "warning", "Rankdeck"),
    "F6": _rule("No two nodes have the same address", "error", "Rankdeck", firm=True),
    "F7": _rule("The master's port is a port", "error", "Rankdeck", firm=True),
    "F8": _rule("The interface of the training network is named", "warning", "HCCL's envref_07_0075"),
    "F9": _rule("The other nodes can reach each node under its address", "error", "Rankdeck", firm=True),
    "K1": _rule("The job's name can be a directory's", "error", "Rankdeck", firm=True),
    "K2": _rule("The attempt's id is one", "error", "Rankdeck", firm=True),
    "K3": _rule("The interface's name is one", "error", "Rankdeck", firm=True),
    "K4": _rule("Paths begin with / or ~/ and do not lead upwards", "error", "Rankdeck", firm=True),
    "K5": _rule("An interpreter is named", "error", "Rankdeck", firm=True),
    "L1": _rule("Runner and runtime are supported", "error", "Rankdeck", firm=True),
    "L2": _rule("Arguments have a program", "error", "Rankdeck", firm=True),
    "L3": _rule("The runner is told what it needs: a script, a model and an experiment", "error", "S2, S3", firm=True),
    "L4": _rule("What is set reaches the runner", "warning", "Rankdeck"),
    "E1": _rule("Names of variables are names", "error", "Rankdeck", firm=True),
    "E2": _rule("What the launch sets by node or from other fields is not set by hand", "error", "Rankdeck", firm=True),
    "E3": _rule("No text holds what a command line cannot carry", "error", "Rankdeck", firm=True),
    "E4": _rule("Known variables have values in their range", "error", "CANN envref, MindSpeed"),
    "E5": _rule("Settings for incidents are not left on", "warning", "CANN envref, MindSpeed"),
    "E6": _rule("What differs by node is not one value for all", "warning", "CANN envref"),
    "E7": _rule("Variables have an effect on this hardware", "warning", "CANN envref"),
    "E8": _rule("Secrets are named by place, not written down", "error", "Rankdeck"),
    "B1": _rule("The project's trainer knows precision and data format", "error", "Rankdeck", firm=True),
    "B2": _rule("Text and validation data are named", "error", "Rankdeck", firm=True),
    "B3": _rule("The project's trainer has storage that all nodes see", "error", "Rankdeck", firm=True),
    "B4": _rule("The project's trainer can cut the model so", "error", "Rankdeck", firm=True),
    "B5": _rule("The model's preset is one that there is", "error", "Rankdeck", firm=True),
    "G1": _rule("What is sent to code.to is one directory or repository, and can have that name", "error", "Rankdeck", firm=True),
    "U1": _rule("The steps that the job asks for know what they need", "error", "S3", firm=True),
    "I1": _rule("A variable or parameter is called what its reader calls it", "warning", "S3's own prose slips", "import"),
    "I2": _rule("Numbers are numbers", "error", "Rankdeck", "import"),
    "I3": _rule("ascendfactory-cli has the subcommand", "error", "S2", "import"),
    "I4": _rule("Settings are a block of parameters", "error", "S2", "import"),
    "I5": _rule("The settings have the model and the experiment", "error", "S2", "import"),
}

_WHEN = {"plan": "plan", "import": "import", "nodes": "on the nodes", "plan and nodes": "plan, more on the nodes", "files": "reading"}

_HEAD = """# Rules

What `rankdeck plan`, `launch` and `import` check, by id. An error forbids the launch; a warning wants to be looked
at. All findings come at once, each with the place in the file (`file:line:column`), what was got and expected, and
what to do next. S0 to S4 are the vendor documents that the project started from.

A rule that is known not to hold is waived in the job file, with a reason; the finding then stays in the plan as
information:

```yaml
preflight:
  waive:
    - {id: P4, reason: "measured: PP 1 is faster for 14B on two nodes"}
```

| id | rule | severity | checked | waivable | source |
|---|---|---|---|---|---|
"""


def page() -> str:
    """docs/guide/rules.md."""
    rows = [f"| {name} | {rule.title} | {rule.severity} | {_WHEN[rule.when]} | {'yes' if rule.waivable else 'no'} | {rule.source} |" for name, rule in RULES.items()]
    return _HEAD + "\n".join(rows) + "\n"
