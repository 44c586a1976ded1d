"""The JSON schema of a job file, made from the blocks themselves, for editors. Pure.

``console/schema/job.schema.json`` is this, written out; a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from trainer.spec import job


def job_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a job file as it is written: before composition, so nothing is required, and
    every value may be a ``${...}`` or ``???`` instead."""
    definitions: dict[str, Any] = {}
    properties = {name: _of(hint, definitions) for name, hint in typing.get_type_hints(job.JobSpec).items()}
    properties["defaults"] = {
        "type": "array", "description": "Files this one is laid over, in order; later ones win.",
        "items": {"oneOf": [
            {"type": "string"},
            {"type": "object", "additionalProperties": False, "properties": {"hardware": {"type": "string"}, "recipe": {"type": "string"}}}]}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.invalid/rankdeck/job.schema.json",
        "title": "Rankdeck job file", "type": "object", "additionalProperties": False, "properties": properties, "$defs": definitions}


def _of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        name = typing.cast(type, hint).__name__
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _block(typing.cast(type, hint), definitions)
        return {"$ref": f"#/$defs/{name}"}
    if origin is types.UnionType:
        return {"anyOf": [{"type": "null"} if arg is type(None) else _of(arg, definitions) for arg in args]}
    if origin is Literal:
        return _or_reference({"enum": list(args)})
    if origin is tuple:
        return _or_reference({"type": "array", "items": _of(args[0], definitions)})
    if origin is not None and issubclass(origin, Mapping):
        # Numbers and truth values are taken for texts as they are written.
        return {"type": "object", "additionalProperties": {"anyOf": [{"type": ["string", "number", "boolean"]}, _of(job.Secret, definitions)]}}
    return {"type": "string"} if hint is str else _or_reference({"type": _TYPES[hint]})


def _block(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        found = _of(hints[field.name], definitions)
        if field.default is not dataclasses.MISSING and not dataclasses.is_dataclass(field.default):
            found = {**found, "default": list(field.default) if isinstance(field.default, tuple) else field.default}
        properties[field.name] = found
    return {"type": "object", "description": (cls.__doc__ or "").strip().splitlines()[0], "additionalProperties": False, "properties": properties}


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """The value itself, a ``${...}`` that becomes one, or ``???``."""
    return {"anyOf": [schema, {"type": "string", "pattern": r"\$\{|^\?\?\?$"}]}


_TYPES = {int: "integer", float: "number", bool: "boolean"}
