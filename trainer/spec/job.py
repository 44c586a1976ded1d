"""What a job is: the resolved job file as typed blocks, read and written. Standard library only; no I/O.

``job.json`` (the resolved job file, written next to each attempt) is ``to_mapping(spec)``; the trainer and
the agents read nothing else. ``from_mapping`` takes the mapping after composition and interpolation and
reports every problem at once. The blocks themselves are in ``blocks``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from trainer.spec.blocks import (
    AscendFactory,
    Checkpoint,
    Code,
    Container,
    Data,
    Export,
    Fleet,
    Logging,
    Model,
    Parallel,
    Paths,
    Peft,
    Preflight,
    Recovery,
    Run,
    Runner,
    Secret,
    Train,
    Waiver,
)

__all__ = [
    "API_VERSION", "AscendFactory", "Checkpoint", "Code", "Container", "Data", "Export", "Fleet", "JobSpec", "Logging", "Model",
    "Parallel", "Paths", "Peft", "Preflight", "Recovery", "Run", "Runner", "Secret", "SpecError", "Train", "Waiver", "from_mapping",
    "to_mapping"]

API_VERSION = 1


class SpecError(ValueError):
    """A job that is not one. ``problems``: (path of keys, message) each, e.g. (("train", "lr"), "...")."""

    def __init__(self, problems: list[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(path) or 'job file'}: {text}" for path, text in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job, resolved. ``env`` is for every rank; per-node values are derived, never written here."""

    apiVersion: int = API_VERSION
    run: Run
    paths: Paths
    fleet: Fleet
    container: Container = field(default_factory=Container)
    runner: Runner = field(default_factory=Runner)
    code: Code = field(default_factory=Code)
    model: Model = field(default_factory=Model)
    parallel: Parallel = field(default_factory=Parallel)
    train: Train
    data: Data = field(default_factory=Data)
    checkpoint: Checkpoint
    export: Export = field(default_factory=Export)
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    logging: Logging = field(default_factory=Logging)
    preflight: Preflight = field(default_factory=Preflight)
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
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        # ``X | None`` and ``str | X``: a block is for the class, anything else for the other.
        inner = next(arg for arg in args if dataclasses.is_dataclass(arg))
        if isinstance(value, Mapping) or (str not in args and value is not None):
            return _value(inner, value, path, problems)
        return value if str not in args else _text(value, path, problems)
    if hint is Secret:
        if isinstance(value, Mapping):
            return _secret(value, path, problems)
        # Never the value: it may be the secret itself.
        problems.append((path, "got a value, expected a block with from_env or from_file"))
        return None
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, path, problems)
    if origin is Literal:
        if isinstance(value, str) and value in args:
            return value
        near = get_close_matches(str(value), [str(a) for a in args], n=1)
        allowed = ", ".join(map(str, args))
        problems.append((path, f"got {_name(value)}, expected one of {allowed}" + (f"; did you mean {near[0]!r}?" if near else "")))
    elif origin is tuple:
        if not isinstance(value, (list, tuple)):
            problems.append((path, f"got {_name(value)}, expected a list of {'texts' if args[0] is str else 'blocks'}"))
        elif args[0] is not str:
            return tuple(_value(args[0], item, (*path, str(at)), problems) for at, item in enumerate(value))
        elif all(isinstance(v, str) for v in value):
            return tuple(value)
        else:
            problems.append((path, f"got {_name(value)}, expected a list of texts"))
    elif origin is not None and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {str(k): _value(args[1], v, (*path, str(k)), problems) for k, v in value.items()}
        problems.append((path, f"got {_name(value)}, expected a block of texts"))
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    else:
        problems.append((path, f"got {_name(value)}, expected {_HINT_NAMES.get(hint, hint)}"))
    return None


def _text(value: Any, path: tuple[str, ...], problems: list[tuple[tuple[str, ...], str]]) -> str:
    """The value of an environment variable: numbers and truth values are taken as they are written."""
    if isinstance(value, (list, tuple)):
        problems.append((path, f"got {_name(value)}, expected a text, or a block with from_env or from_file"))
        return ""
    return value if isinstance(value, str) else str(value)


def _secret(value: Mapping[str, Any], path: tuple[str, ...], problems: list[tuple[tuple[str, ...], str]]) -> Any:
    """A reference to a secret; it names exactly one place."""
    found = _build(Secret, value, path, problems)
    if found is not None and bool(found.from_env) == bool(found.from_file):
        problems.append((path, "a secret names one place: either from_env or from_file"))
    return found


_HINT_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _name(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value!r}" if isinstance(value, (str, int, float, bool)) else f"a {type(value).__name__}"
