"""``rankdeck import`` and ``rankdeck schema``: files of others in, job files out."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from console import files
from console.cli.desk import put, put_json, say, speak
from console.core import i18n
from console.core.launch.importers import Imported, read
from console.core.launch.problems import problem_text


def import_(args: argparse.Namespace) -> int:
    """Write job files out of launch commands and settings. Exit status 1 when the source was faulty. Raises FileError."""
    speak(args)
    found = read(files.read_sources(args.file))
    written = _write(args.output, found) if args.output else [""] * len(found)
    ok = not any(problem.severity == "error" for one in found for problem in one.problems)
    if args.json:
        put_json({"ok": ok, "jobs": [_mapping(one, path) for one, path in zip(found, written, strict=True)]})
        return 0 if ok else 1
    for one, path in zip(found, written, strict=True):
        if path:
            say(i18n.say("{name}: written to {path}", name=one.name, path=path))
        else:
            put(("---\n" if len(found) > 1 else "") + one.text)
        for problem in one.problems:
            say("rankdeck: " + i18n.say("{severity} in {name}: {text}", severity=i18n.say(problem.severity), name=one.name, text=problem_text(problem)))
        for left in one.left:
            say(i18n.say("{name}: not carried over ({where}): {what}: {why}", name=one.name, where=left.where, what=i18n.recognised(left.what), why=i18n.recognised(left.why)))
    return 0 if ok else 1


def schema(args: argparse.Namespace) -> int:
    """Print the JSON schema of a job file, for editors, or of a command's document. Raises FileError for one there is none of."""
    from console.core.launch.schema import job_schema

    put_json(job_schema() if args.what == "job" else files.read_schema(args.what))
    return 0


def _write(output: str, found: list[Imported]) -> list[str]:
    """The files written, one a job: the name given, or for several jobs that name with each job's own."""
    paths = [output]
    if len(found) > 1:
        stem, dot, suffix = output.rpartition(".")
        stem, suffix = (stem, suffix) if dot and "/" not in suffix else (output, "yaml")
        names = [one.name for one in found]
        paths = [f"{stem}-{one.name}{f'-{names[:at].count(one.name) + 1}' if one.name in names[:at] else ''}.{suffix}" for at, one in enumerate(found)]
    for one, path in zip(found, paths, strict=True):
        files.write_new(path, one.text)
    return paths


def _mapping(one: Imported, path: str) -> dict[str, Any]:
    return {"name": one.name, "kind": one.kind, "path": path, "text": one.text, "job": dict(one.job),
            "problems": [dataclasses.asdict(problem) for problem in one.problems], "left": [dataclasses.asdict(left) for left in one.left]}
