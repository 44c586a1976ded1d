"""The blocks of a job file as types, one class a block. Standard library only; no I/O, no meaning.

Block and field names are those of DESIGN section 4; sizes count, units are in names, ``0``, ``""`` and
``None`` mean what the field's line says. What a value has to be is for ``rules``; reading and writing is
for ``job``. Fields that only some runners heed say so: ``rules`` warns when they are set for another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["pretrain", "retrain", "sft", "lora"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "fp8"]
DataFormat = Literal["synthetic", "text", "megatron-bin", "json", "jsonl", "json-gz", "parquet", "arrow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A value that stands in no file of ours: it is read on the node at the moment the command starts."""

    from_env: str = ""
    """Name of a variable in the node's own environment."""
    from_file: str = ""
    """Path of a file on the node; its text without the last newline."""


SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|SECRET_?KEY|PRIVATE_?KEY)S?(?:_|$)", re.IGNORECASE)
"""Names of variables whose values are secrets: HF_TOKEN, OBS_SECRET_ACCESS_KEY, ...; not TOKENIZER_PATH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Name and limits. ``name`` is the job's identity and the name that a stop asks for."""

    name: str
    mode: Mode = "pretrain"
    time_limit: str = ""
    """D-HH:MM:SS, empty for none."""
    results_dir: str = ""
    seed: int = 1234
    deterministic: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things live on the nodes."""

    work: str
    """Work directory; the attempt tree is ``<work>/.rankdeck/<job>/<attempt>/<node>/``."""
    scaffold: bool = False
    """Step ``workspace`` before the launch: make S3's tree below ``work``, and say what is missing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Which nodes take part. ``nodes`` are names of the fleet file, in node order: the first is the master."""

    inventory: str = ""
    nodes: tuple[str, ...]
    spares: tuple[str, ...] = ()
    npus_per_node: int = 8
    """Ranks started on each node (nproc_per_node)."""
    master_port: int = 29500
    nic: str = ""
    """Host network interface for gloo and HCCL bootstrap; empty: found on the node by its address."""
    hardware: str = ""
    """Name of the hardware profile, for messages."""
    capabilities: tuple[str, ...] = ()
    """What the hardware can that not all can, e.g. fp8; set by the hardware profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Where the ranked command runs: on the node itself (``process``) or in a container made for it."""

    runtime: Literal["process", "docker", "podman"] = "process"
    image: str = ""
    name: str = ""
    """Empty: ``rankdeck-<job>``."""
    reuse: Literal["refuse", "reuse", "replace"] = "refuse"
    """What to do with a container of this name that is already there and not this job's."""
    keep: bool = False
    """Leave the container when the job is stopped."""
    device_access: Literal["devices", "ascend-docker-runtime", "none"] = "devices"
    """How NPUs get in: device by device, by the Ascend Docker Runtime's variable, or not at all."""
    manager_devices: tuple[str, ...] = ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc")
    driver_mounts: tuple[str, ...] = (
        "/usr/local/sbin/npu-smi:/usr/local/sbin/npu-smi", "/usr/local/dcmi:/usr/local/dcmi",
        "/usr/local/Ascend/driver:/usr/local/Ascend/driver")
    """What the devices need from the host, as host:container; all but for runtime ``devices`` ignored."""
    mounts: tuple[str, ...] = ()
    """host:container[:ro]; the work directory is mounted at its own path in any case."""
    network: str = "host"
    shm_size: str = "200g"
    cpus: int = 0
    """0: no limit."""
    memory: str = ""
    """For example 1000g; empty: no limit."""
    user: str = ""
    """User inside; empty: the image's own."""
    chown: str = ""
    """user:group that the work directory is given inside before the start, e.g. ma-user:ma-group; empty: none."""
    setup: tuple[str, ...] = ()
    """Commands run once in a new container, each logged and marked done, e.g. pip install -r requirements.txt."""
    args: tuple[str, ...] = ()
    """Further words for ``run``, before the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AscendFactory:
    """What only ``ascendfactory-cli`` wants to know."""

    dialect: Literal["v1", "v2"] = "v1"
    """v1: ``train YAML MODEL EXP``; v2: ``config --backend=... && train YAML`` (2025-09 and later)."""
    config: str = ""
    """The settings file on the nodes. v1: must be there; v2: empty lets ``config`` write one per attempt."""
    backend: str = "mindspeed-llm"
    """v2: mindspeed-llm, llamafactory, verl, mindspeed-rl, mindspeed-mm."""
    model_name: str = ""
    """e.g. qwen2-7b."""
    exp_name: str = ""
    """e.g. full-4k, lora-4k."""
    scripts_dir: str = ""
    """v1: the scripts_modellink directory (the release spells the key ``scirpts_dir``)."""
    overrides: tuple[str, ...] = ()
    """v2: further ``--key=value`` words for ``train``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How ranks are started."""

    kind: Literal["torchrun", "env-script", "ascendfactory", "script"] = "torchrun"
    python: str = "python3"
    """Interpreter that has torch, on the node or in the image."""
    entry: str = ""
    """Script of the user's; with torchrun empty: the project's own trainer."""
    args: tuple[str, ...] = ()
    workdir: str = ""
    """Directory to start in; empty: ``paths.work``."""
    trainer_dir: str = ""
    """Directory on the nodes that holds the ``trainer`` package, when ``entry`` is empty."""
    setup: tuple[str, ...] = ()
    """Shell lines run before the command in its own shell, e.g. source .../set_env.sh. These are code, not text."""
    ascendfactory: AscendFactory = field(default_factory=AscendFactory)


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where the training code is from. Recorded with the attempt; with ``to`` it is sent to every node before the start."""

    path: str = ""
    """A directory on the bastion, from the job file's directory; with ``commit`` or ``branch`` what git has of it there."""
    to: str = ""
    """Directory on the nodes that the code is to be; empty: nothing is sent."""
    repo: str = ""
    branch: str = ""
    commit: str = ""
    token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peft:
    """Adapters instead of all weights. ``rank`` and ``alpha`` default to S3's --lora-r 16 --lora-alpha 32."""

    type: Literal["none", "lora"] = "none"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: tuple[str, ...] = ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Shape of a GPT as in megatron-core's TransformerConfig, and where its files are."""

    preset: str = ""
    family: str = ""
    """qwen, llama2, llama3, glm3, ...; decides tokenizer notes and recommendations."""
    size: str = ""
    """7B, 14B, 72B, ...: MODEL_TYPE of the env-script."""
    weights: str = ""
    """Directory of Hugging Face weights on the nodes."""
    convert: bool = False
    """Step ``convert`` before the launch: weights into checkpoint.load_dir, unless they are there."""
    tokenizer: str = ""
    """Directory of the tokenizer on the nodes."""
    access_token: Secret | None = None
    num_layers: int = 2
    num_layer_list: str = ""
    """Layers of each pipeline stage, e.g. "17,20,22,21"; empty: all alike."""
    hidden_size: int = 64
    ffn_hidden_size: int = 0
    """0: megatron-core's 4 x hidden_size."""
    num_attention_heads: int = 4
    num_query_groups: int = 0
    """0: one per head (no GQA)."""
    vocab_size: int = 256
    max_position_embeddings: int = 2048
    num_experts: int = 0
    """Experts of a mixture in each layer; 0: a dense model."""
    moe_router_topk: int = 2
    moe_ffn_hidden_size: int = 0
    """Inner width of one expert; 0: ffn_hidden_size."""
    add_qkv_bias: bool = False
    untie_embeddings_and_output_weights: bool = True
    rotary_base: int = 10000
    norm_epsilon: float = 1e-5
    hf_config: str = ""
    """A Hugging Face config.json (or its directory) that gives the shape below; empty: what stands here."""
    kv_channels: int = 0
    """Width of one head; 0: hidden_size / num_attention_heads."""
    qk_layernorm: bool = False
    rotary_percent: float = 1.0
    """Share of a head's width that turns with the position (GLM: 0.5)."""
    rotary_interleaved: bool = False
    rope_scaling_factor: float = 0.0
    """Llama 3's scaling of the rotary frequencies; 0: none."""
    init_std: float = 0.02
    peft: Peft = field(default_factory=Peft)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Model-parallel sizes; data parallel is what is left of the world."""

    tensor_model_parallel_size: int = 1
    pipeline_model_parallel_size: int = 1
    context_parallel_size: int = 1
    expert_model_parallel_size: int = 1
    virtual_pipeline_model_parallel_size: int = 0
    """Model chunks of each pipeline stage (interleaved 1F1B); 0: one, not interleaved."""
    sequence_parallel: bool = False
    recompute: Literal["none", "full"] = "none"
    """full: activations of every layer are computed again in the backward pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """The loop. Sizes in samples, lengths in tokens, lr without unit."""

    iterations: int
    micro_batch_size: int = 1
    global_batch_size: int = 8
    seq_length: int = 64
    precision: Precision = "auto"
    """auto: what the device is best at."""
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    warmup_iterations: int = 0
    weight_decay: float = 0.01
    clip_grad: float = 1.0
    log_interval: int = 1
    eval_interval: int = 0
    """Iterations between validations; 0: none."""
    eval_iterations: int = 10
    exit_after_iterations: int = 0
    """Stop cleanly after this many iterations of this attempt; 0: never. For tests."""
    min_step_s: float = 0.0
    """Shortest time a step may take; the demo uses it to keep its pace on fast machines."""
    threads: int = 1
    """Intra-op CPU threads per rank."""
    timeout_s: float = 600.0
    """Process group timeout: how long a collective may wait for a peer."""
    anomaly: Literal["stop", "skip", "roll-back"] = "skip"
    """What to do with a loss or gradient that is no number, or a spike: end, leave the step out, or load the newest
    checkpoint and go on behind the data that did it."""
    anomaly_limit: int = 10
    """Anomalies in a row (roll-backs: in all) after which the run ends in any case."""
    spike_factor: float = 0.0
    """A loss above this many medians of the last spike_window losses is a spike; 0: no loss is."""
    spike_window: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is trained on, and how it was or is to be prepared.

    ``synthetic``: made from the seed; ``text``: bytes of one UTF-8 file; ``megatron-bin``: a prefix of .bin/.idx
    pairs; the others are raw samples for preprocessing.
    """

    format: DataFormat = "synthetic"
    prefix: str = ""
    valid_prefix: str = ""
    input: str = ""
    """Raw samples that preprocessing reads."""
    prepare: bool = False
    """Step ``preprocess`` before the launch: input into prefix, unless it is there."""
    seq_length: int = 0
    """Sequence length that preprocessing packed for; 0: not known."""
    json_key: str = "text"
    handler: str = ""
    """Preprocessing handler, e.g. GeneralInstructionHandler; empty: as the mode needs."""
    tokenizer_type: str = "PretrainedFromHF"
    workers: int = 8
    """Preprocessing threads."""
    pretokenized: bool = False
    """The samples are token ids already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Saving and loading. ``interval`` in iterations, 0: only at the end."""

    dir: str
    mode: Literal["manual", "auto"] = "manual"
    """auto: the runner chooses its own interval (HyperPod); then ``interval`` must be 0."""
    interval: int = 0
    keep: int = 0
    """Newest checkpoints that are kept; 0: all (Huawei's save-total-limit 0)."""
    storage: Literal["shared", "per-node"] = "shared"
    save_last: bool = True
    load_dir: str = ""
    """Where to start from when ``dir`` has no complete checkpoint; empty: from scratch."""
    load: Literal["auto", "none", "weights", "resume"] = "auto"
    """What is taken from load_dir. auto: nothing for pretrain, weights for sft and lora, all for retrain."""
    load_tp: int = 0
    """TP that the weights in load_dir were converted for; 0: not known."""
    load_pp: int = 0
    mtbf_s: float = 14400.0
    """auto, the project's trainer: mean time between failures of the whole job, which the interval is chosen by."""
    auto_resume: bool = False
    """ascendfactory: train_auto_resume. The project's trainer goes on from ``dir`` in any case."""
    async_save: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Weights for others, after or during training. Not a checkpoint: nothing can be resumed from it."""

    dir: str = ""
    """Empty: no export."""
    format: Literal["hf"] = "hf"
    at_end: bool = True
    interval: int = 0
    """Iterations between exports; 0: none on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Where a run tells how it is."""

    loss_rank: Literal["auto", "first", "last"] = "auto"
    """Which rank prints the loss. auto: last for Megatron-like runners, first for llamafactory and verl."""
    plog: bool = True
    """Ascend's process logs go into the attempt's directory."""
    tensorboard: bool = False
    tensorboard_dir: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A rule that is known not to hold, and why that is all right."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What is looked at on the nodes before anything is started."""

    level: Literal["none", "quick", "standard", "deep"] = "standard"
    """none: a launch looks at nothing; the nodes' audit trail says so."""
    waive: tuple[Waiver, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What happens when a rank is lost."""

    policy: Literal["advise", "auto", "off"] = "advise"
    in_place: int = 3
    """torchrun's own restart budget (--max-restarts)."""
    join_timeout_s: float = 120.0
    """How long the rendezvous waits for all nodes before it gives up."""
    max_no_progress: int = 3
    """Starts without a new checkpoint after which no more are tried."""
    stall_factor: float = 5.0
    """No iteration within this many median steps is a stall, but never before stall_min_s."""
    stall_min_s: float = 300.0
    startup_s: float = 1800.0
    """Time to the first iteration."""
    stop_grace_s: float = 60.0
    """Between SIGTERM and SIGKILL."""
    cordon: Literal["suggest", "auto", "off"] = "suggest"
