"""What a job is: the resolved job file as typed blocks. Standard library only; no I/O.

``job.json`` (the resolved job file, written next to each attempt) is ``to_mapping(spec)``; the trainer and
the agents read nothing else. ``from_mapping`` takes the mapping after composition and interpolation and
reports every problem at once. Block and field names are those of DESIGN section 4; sizes count, units
are in names, ``0`` and ``None`` mean what the field's line says.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

API_VERSION = 1


class SpecError(ValueError):
    """A job that is not one. ``problems``: (path of keys, message) each, e.g. (("train", "lr"), "...")."""

    def __init__(self, problems: list[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(path) or 'job file'}: {text}" for path, text in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Name and limits. ``name`` is the job's identity and the name that a stop asks for."""

    name: str
    mode: Literal["pretrain", "retrain", "sft", "lora"] = "pretrain"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """Where the ranked command runs. First light knows runtime ``process``: on the node itself."""

    runtime: Literal["process", "docker", "podman"] = "process"
    image: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """How ranks are started. First light knows ``torchrun``."""

    kind: Literal["torchrun", "env-script", "ascendfactory", "script"] = "torchrun"
    python: str = "python3"
    """Interpreter that has torch, on the node or in the image."""
    entry: str = ""
    """Script of the user's; empty: the project's own trainer."""
    args: tuple[str, ...] = ()
    workdir: str = ""
    """Directory to start in; empty: ``paths.work``."""
    trainer_dir: str = ""
    """Directory on the nodes that holds the ``trainer`` package, when ``entry`` is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Shape of a GPT as in megatron-core's TransformerConfig."""

    preset: str = ""
    num_layers: int = 2
    hidden_size: int = 64
    ffn_hidden_size: int = 0
    """0: megatron-core's 4 x hidden_size."""
    num_attention_heads: int = 4
    num_query_groups: int = 0
    """0: one per head (no GQA)."""
    vocab_size: int = 256
    max_position_embeddings: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Model-parallel sizes; data parallel is what is left of the world."""

    tensor_model_parallel_size: int = 1
    pipeline_model_parallel_size: int = 1
    context_parallel_size: int = 1
    expert_model_parallel_size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """The loop. Sizes in samples, lengths in tokens, lr without unit."""

    iterations: int
    micro_batch_size: int = 1
    global_batch_size: int = 8
    seq_length: int = 64
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-4
    warmup_iterations: int = 0
    weight_decay: float = 0.01
    clip_grad: float = 1.0
    log_interval: int = 1
    exit_after_iterations: int = 0
    """Stop cleanly after this many iterations of this attempt; 0: never. For tests."""
    min_step_s: float = 0.0
    """Shortest time a step may take; the demo uses it to keep its pace on fast machines."""
    threads: int = 1
    """Intra-op CPU threads per rank."""
    timeout_s: float = 600.0
    """Process group timeout: how long a collective may wait for a peer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What is trained on. ``synthetic``: made from the seed; ``text``: bytes of one UTF-8 file on the nodes."""

    format: Literal["synthetic", "text", "megatron-bin"] = "synthetic"
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Saving and loading. ``interval`` in iterations, 0: only at the end."""

    dir: str
    interval: int = 0
    storage: Literal["shared", "per-node"] = "shared"
    save_last: bool = True
    load_dir: str = ""
    """Where to start from when ``dir`` has no complete checkpoint; empty: from scratch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What happens when a rank is lost."""

    policy: Literal["advise", "auto", "off"] = "advise"
    in_place: int = 3
    """torchrun's own restart budget (--max-restarts)."""
    join_timeout_s: float = 120.0
    """How long the rendezvous waits for all nodes before it gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job, resolved. ``env`` is for every rank; per-node values are derived, never written here."""

    apiVersion: int = API_VERSION
    run: Run
    paths: Paths
    fleet: Fleet
    container: Container = field(default_factory=Container)
    runner: Runner = field(default_factory=Runner)
    model: Model = field(default_factory=Model)
    parallel: Parallel = field(default_factory=Parallel)
    train: Train
    data: Data = field(default_factory=Data)
    checkpoint: Checkpoint
    env: Mapping[str, str] = field(default_factory=dict)
    recovery: Recovery = field(default_factory=Recovery)


def from_mapping(mapping: Mapping[str, Any]) -> JobSpec:
    """The job in a resolved mapping (block -> field -> value).

    Raises SpecError with all problems: unknown keys (with the nearest known one), missing keys, wrong
    types. Numbers are not taken for texts, nor texts for numbers; a list is taken for a tuple.
    """
    problems: list[tuple[tuple[str, ...], str]] = []
    spec = _build(JobSpec, mapping, (), problems)
    if problems or spec is None:
        raise SpecError(problems)
    return typing.cast(JobSpec, spec)


def to_mapping(spec: Any) -> Any:
    """The spec as plain dicts, lists and scalars, in field order; ``from_mapping`` reads it back equal."""
    if dataclasses.is_dataclass(spec):
        return {f.name: to_mapping(getattr(spec, f.name)) for f in dataclasses.fields(spec)}
    if isinstance(spec, Mapping):
        return {key: to_mapping(value) for key, value in spec.items()}
    if isinstance(spec, (tuple, list)):
        return [to_mapping(value) for value in spec]
    return spec


def _build(cls: type, mapping: Any, path: tuple[str, ...], problems: list[tuple[tuple[str, ...], str]]) -> Any:
    if not isinstance(mapping, Mapping):
        problems.append((path, f"got {_name(mapping)}, expected a block of keys"))
        return None
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in mapping:
        if key not in fields:
            near = get_close_matches(str(key), fields, n=1)
            problems.append(((*path, str(key)), f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")))
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name in mapping:
            values[name] = _value(hints[name], mapping[name], (*path, name), problems)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            problems.append((path, f"key {name!r} is missing"))
    if any(p[: len(path)] == path for p, _ in problems):
        return None
    return cls(**values)


def _value(hint: Any, value: Any, path: tuple[str, ...], problems: list[tuple[tuple[str, ...], str]]) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, path, problems)
    if origin is Literal:
        if value in typing.get_args(hint):
            return value
        near = get_close_matches(str(value), [str(a) for a in typing.get_args(hint)], n=1)
        allowed = ", ".join(map(str, typing.get_args(hint)))
        problems.append((path, f"got {value!r}, expected one of {allowed}" + (f"; did you mean {near[0]!r}?" if near else "")))
    elif origin is tuple:
        if isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
        problems.append((path, f"got {_name(value)}, expected a list of texts"))
    elif origin is not None and origin is not types.UnionType and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(k): v if isinstance(v, str) else str(v) for k, v in value.items()}
        problems.append((path, f"got {_name(value)}, expected a block of texts"))
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    else:
        problems.append((path, f"got {_name(value)}, expected {_HINT_NAMES.get(hint, hint)}"))
    return None


_HINT_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _name(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value!r}" if isinstance(value, (str, int, float, bool)) else f"a {type(value).__name__}"
